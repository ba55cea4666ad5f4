/* Runs seeds; prints the seed of the first run that broke an invariant. */
#include <stdio.h>
#include <stdlib.h>

#include "base_alloc.h"
#include "base_options.h"
#include "sim.h"

struct totals {
    uint64_t events, steps, epochs, faults, resumed, shared, done, cancelled, errors;
};

static bool run_seed(struct sim *sim, uint64_t seed, bool verbose, struct totals *totals)
{
    bool held = sim_run(sim, seed, verbose);
    if (!held)
        printf("seed %llu: %s\nrun it again: sim --seed %llu --verbose\n", (unsigned long long)seed,
            sim->failure, (unsigned long long)seed);
    totals->events += sim->event_count;
    totals->steps += sim->step_count;
    totals->epochs += sim->epoch_count;
    totals->faults += sim->fault_count;
    totals->resumed += sim->resumed_count;
    totals->shared += sim->shared_count;
    totals->done += sim->done_count;
    totals->cancelled += sim->cancelled_count;
    totals->errors += sim->error_count;
    sim_release(sim);
    return held;
}

int main(int argc, char **argv)
{
    uint64_t seed = 0, first = 1, count = 1000;
    bool verbose = false, keep_going = false;
    struct base_error err = {0};
    struct totals totals = {0};
    int next;
    const struct base_option options[] = {
        {"seed", 's', BASE_OPTION_U64, &seed, 0, 0, "N", NULL, "Run this seed only."},
        {"first", 'f', BASE_OPTION_U64, &first, 0, 0, "N", NULL, "First seed."},
        {"count", 'n', BASE_OPTION_U64, &count, 0, 0, "N", NULL, "How many seeds."},
        {"verbose", 'v', BASE_OPTION_FLAG, &verbose, 0, 0, NULL, NULL, "Tell what happens."},
        {"keep-going", 'k', BASE_OPTION_FLAG, &keep_going, 0, 0, NULL, NULL,
            "Do not stop at the first failure."},
    };
    int rc = base_options_parse(options, 5, argc, argv, 0, &next, &err);
    if (rc != BASE_OK) {
        base_options_help(options, 5, NULL, rc == BASE_CANCELLED ? stdout : stderr);
        return rc == BASE_CANCELLED ? EXIT_SUCCESS : 2;
    }
    if (seed != 0) {
        first = seed;
        count = 1;
    }
    struct sim *sim = base_alloc_zeroed(1, sizeof(*sim));
    if (sim == NULL)
        return EXIT_FAILURE;
    uint64_t failed = 0;
    for (uint64_t i = 0; i < count && (failed == 0 || keep_going); i++)
        failed += !run_seed(sim, first + i, verbose, &totals);
    printf("%llu seeds from %llu, %llu failed: %llu events, %llu steps, %llu active plans, "
           "%llu faults; %llu answers done (resumed %llu times, %llu prompt tokens taken over), "
           "%llu cancelled, %llu failed with an error\n",
        (unsigned long long)count, (unsigned long long)first, (unsigned long long)failed,
        (unsigned long long)totals.events, (unsigned long long)totals.steps,
        (unsigned long long)totals.epochs, (unsigned long long)totals.faults,
        (unsigned long long)totals.done, (unsigned long long)totals.resumed,
        (unsigned long long)totals.shared, (unsigned long long)totals.cancelled,
        (unsigned long long)totals.errors);
    base_free(sim);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
