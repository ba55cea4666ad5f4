#include "bench_run.h"

#include "base_err.h"
#include <criterion/criterion.h>

static struct bench_run *open_demo(uint32_t sequences, uint32_t positions)
{
    const struct bench_run_options options = {
        .thread_count = 1, .sequence_count = sequences, .positions = positions};
    struct base_error err = {0};
    struct bench_run *run = NULL;

    cr_assert_eq(bench_run_open(DEMO_MODEL, &options, &run, &err), BASE_OK, "%s", err.text);
    return run;
}

Test(bench_run, prefill_and_decode_run)
{
    struct bench_run *run = open_demo(3, 600);
    struct base_error err = {0};
    double seconds = 0;

    cr_assert_eq(bench_run_prefill(run, 2, 0, 550, &seconds, &err), BASE_OK, "%s", err.text);
    cr_assert_gt(seconds, 0);
    seconds = 0;
    cr_assert_eq(bench_run_decode(run, 3, 550, 4, &seconds, &err), BASE_OK, "%s", err.text);
    cr_assert_gt(seconds, 0);
    bench_run_close(&run);
    cr_assert_null(run);
}

Test(bench_run, beyond_its_positions_is_an_error)
{
    struct bench_run *run = open_demo(1, 64);
    struct base_error err = {0};
    double seconds = 0;

    cr_assert_eq(bench_run_prefill(run, 0, 0, 65, &seconds, &err), BASE_INVALID);
    bench_run_close(&run);
}

Test(bench_run, costs_count_every_layer)
{
    struct bench_run *run = open_demo(1, 64);
    struct bench_run_costs costs;

    bench_run_get_costs(run, &costs);
    /* An 8-bit weight is 34 bytes for 32 and two operations. */
    double bytes = (double)costs.weight_bytes;
    double products = (double)(costs.operations_per_token + costs.operations_per_logit_row) / 2;
    cr_assert(
        bytes > products * 34 / 32 && bytes < products * 34 / 32 * 1.01, "%g %g", bytes, products);
    cr_assert_gt(costs.kv_bytes_per_position, 0);
    bench_run_close(&run);
}

Test(bench_run, bad_options_and_files_are_errors)
{
    struct bench_run_options options = {.thread_count = 1, .positions = 64};
    struct base_error err = {0};
    struct bench_run *run = NULL;

    cr_assert_eq(bench_run_open(DEMO_MODEL, &options, &run, &err), BASE_INVALID);
    options.sequence_count = 1;
    cr_assert_neq(bench_run_open("/nonexistent.gguf", &options, &run, &err), BASE_OK);
    cr_assert_null(run);
}
