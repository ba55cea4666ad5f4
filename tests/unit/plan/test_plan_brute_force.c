/* The solver against every chain that there is, on small random problems. */
#include "base_err.h"
#include "test_plan_support.h"
#include <criterion/criterion.h>
#include <math.h>

#define INSTANCES 3000

struct brute {
    const struct test_problem *test;
    uint32_t blocks;
    uint32_t stages_wanted; /* 0: any */
    uint32_t standby_max;
    bool used[8];
    double best_ms, best_latency_ms;
    uint32_t best_stages;
    bool found;
};

static uint64_t capacity(const struct plan_problem *problem, size_t worker)
{
    double usable = (double)problem->workers[worker].memory_bytes * (1 - problem->memory_reserve);
    uint64_t bytes = (uint64_t)usable;

    return bytes > problem->activation_bytes ? bytes - problem->activation_bytes : 0;
}

static uint64_t range_bytes(const struct brute *self, uint32_t first, uint32_t last)
{
    const struct plan_problem *problem = &self->test->problem;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < problem->layer_count; i++) {
        bool inside = (i > first && i <= last) || (i == 0 && first == 0) ||
                      (i == self->blocks + 1 && last == self->blocks);

        if (inside)
            sum += problem->layers[i].weight_bytes +
                   problem->layers[i].kv_bytes_per_token * problem->kv_tokens;
    }
    return sum;
}

static double stage_ms(
    const struct brute *self, const struct plan_problem *at, size_t j, uint32_t s, uint32_t e)
{
    return plan_stage_ms(at, j, s, e - s, s == 0, e == self->blocks);
}

static void visit(struct brute *self, uint32_t first, uint32_t stages, double slowest_ms,
    double latency_ms, uint32_t standbys)
{
    const struct plan_problem *problem = &self->test->problem;
    struct plan_problem single = *problem;

    single.batch_tokens = 1;
    if (first == self->blocks) {
        double gap = slowest_ms - self->best_ms;
        bool equal = self->found && fabs(gap) <= 1e-9 * slowest_ms;

        if (self->stages_wanted && stages != self->stages_wanted)
            return;
        if (!self->found || (!equal && gap < 0) || (equal && stages < self->best_stages) ||
            (equal && stages == self->best_stages && latency_ms < self->best_latency_ms)) {
            self->best_ms = equal ? fmin(slowest_ms, self->best_ms) : slowest_ms;
            self->best_latency_ms = latency_ms;
            self->best_stages = stages;
        }
        self->found = true;
        return;
    }
    for (size_t j = 0; j < problem->worker_count; j++) {
        const struct plan_worker *worker = &problem->workers[j];
        double row_bytes = problem->embedding_length * 4.0, bandwidth = worker->link_bytes_per_ms;

        if (self->used[j] || standbys + worker->standby > self->standby_max)
            continue;
        self->used[j] = true;
        for (uint32_t e = first + 1; e <= self->blocks; e++) {
            double ms = stage_ms(self, problem, j, first, e), hop_ms = 0, slowest;
            double latency = latency_ms + stage_ms(self, &single, j, first, e) + worker->link_ms;

            if (bandwidth > 0) {
                hop_ms = e == self->blocks ? 0 : row_bytes * problem->batch_tokens / bandwidth;
                latency += row_bytes / bandwidth;
            }
            slowest = fmax(slowest_ms, fmax(ms, hop_ms));
            if (range_bytes(self, first, e) > capacity(problem, j))
                break;
            if (self->found && slowest > self->best_ms * (1 + 1e-9))
                continue;
            visit(self, e, stages + 1, slowest, latency, standbys + worker->standby);
        }
        self->used[j] = false;
    }
}

static void random_problem(struct test_problem *ret, uint64_t *state)
{
    size_t workers = test_random_range(state, 1, 5), blocks = test_random_range(state, 1, 12);
    bool equal_blocks = test_random(state) % 3 == 0, tight = test_random(state) % 2;
    bool links = test_random(state) % 3 == 0;

    test_problem_init(ret, workers, blocks);
    for (size_t i = 0; i < blocks + 2; i++) {
        ret->layers[i].weight_type = i == 0 || test_random(state) % 2 ? 8 : 2;
        if (!equal_blocks)
            ret->layers[i].weight_bytes = test_random_range(state, 1, 8) * MIB / 2;
    }
    for (size_t j = 0; j < workers; j++) {
        struct plan_worker *worker = &ret->workers[j];

        worker->rates[0].gigabytes_per_s = (double)test_random_range(state, 1, 12);
        worker->rates[0].gops = (double)test_random_range(state, 10, 90);
        worker->rates[1] = (struct plan_rate){
            2, (double)test_random_range(state, 10, 90), (double)test_random_range(state, 1, 12)};
        worker->rate_count = test_random(state) % 8 ? 2 : 1;
        worker->slowdown = test_random(state) % 4 ? 1 : 1.7;
        if (tight)
            worker->memory_bytes = test_random_range(state, 2, 24) * MIB;
        if (links) {
            worker->link_ms = (double)test_random_range(state, 0, 3) * 0.1;
            worker->link_bytes_per_ms = (double)test_random_range(state, 0, 4) * 20000;
        }
        if (test_random(state) % 6 == 0)
            worker->standby = true;
    }
    ret->problem.stage_count =
        test_random(state) % 3 ? 0 : (uint32_t)test_random_range(state, 1, 6);
    ret->problem.batch_tokens = (uint32_t)test_random_range(state, 1, 64);
    ret->problem.stage_overhead_ms = (double)test_random_range(state, 0, 5) * 0.02;
}

static bool try_brute(struct brute *self, uint32_t stages, uint32_t standby_max)
{
    self->stages_wanted = stages;
    self->standby_max = standby_max;
    self->found = false;
    self->best_ms = INFINITY;
    visit(self, 0, 0, 0, 0, 0);
    return self->found;
}

/* Workers that can hold some block: the others do not count for the number of stages. */
static uint32_t usable_count(const struct brute *self)
{
    uint32_t count = 0;

    for (size_t j = 0; j < self->test->problem.worker_count; j++) {
        bool holds = false;

        for (uint32_t i = 0; i < self->blocks; i++)
            holds |= range_bytes(self, i, i + 1) <= capacity(&self->test->problem, j);
        count += holds;
    }
    return count;
}

static bool solve_brute(struct brute *self)
{
    uint32_t workers = (uint32_t)self->test->problem.worker_count;
    uint32_t most = usable_count(self) < self->blocks ? usable_count(self) : self->blocks;
    uint32_t asked = self->test->problem.stage_count;

    if (asked > most)
        asked = most;
    for (uint32_t z = 0; z <= workers; z++)
        if (try_brute(self, asked, z))
            return true;
    for (uint32_t count = asked; count-- > 1;)
        for (uint32_t z = 0; z <= workers; z++)
            if (try_brute(self, count, z))
                return true;
    for (uint32_t count = asked + 1; asked && count <= most; count++)
        for (uint32_t z = 0; z <= workers; z++)
            if (try_brute(self, count, z))
                return true;
    return false;
}

static void check_solution(const struct brute *brute, const struct plan_solution *solution)
{
    const struct plan_problem *problem = &brute->test->problem;
    uint32_t next = 0;
    double slowest = 0;

    for (size_t i = 0; i < solution->stage_count; i++) {
        const struct plan_stage *stage = &solution->stages[i];
        uint32_t last = stage->layer_first + stage->layer_count;

        cr_assert_eq(stage->layer_first, next);
        cr_assert_gt(stage->layer_count, 0);
        cr_assert_eq(stage->weight_bytes + stage->kv_bytes, range_bytes(brute, next, last));
        cr_assert_leq(range_bytes(brute, next, last), capacity(problem, stage->worker));
        cr_assert_eq(solution->exclusion[stage->worker], PLAN_USED);
        slowest = fmax(slowest, stage->predicted_ms);
        next = last;
    }
    cr_assert_eq(next, brute->blocks);
    cr_assert_leq(slowest, solution->bottleneck_ms * (1 + 1e-12));
    cr_assert(solution->exact);
}

Test(plan_brute_force, there_is_no_gap_on_random_problems)
{
    static struct test_problem test;
    uint64_t state = 20261124;
    unsigned feasible = 0, chains = 0;

    for (int instance = 0; instance < INSTANCES; instance++) {
        struct plan_solution solution = {0};
        struct base_error err = {0};
        struct brute brute = {.test = &test};
        bool possible;
        int rc;

        random_problem(&test, &state);
        brute.blocks = (uint32_t)(test.problem.layer_count - 2);
        possible = solve_brute(&brute);
        rc = plan_solve(&test.problem, &solution, &err);
        cr_assert_eq(
            rc, possible ? BASE_OK : BASE_UNAVAILABLE, "instance %d: %s", instance, err.text);
        if (!possible) {
            cr_assert_neq(err.text[0], '\0');
            continue;
        }
        feasible++;
        chains += solution.stage_count > 1;
        check_solution(&brute, &solution);
        cr_assert(fabs(solution.bottleneck_ms - brute.best_ms) <= 1e-9 * brute.best_ms,
            "instance %d: %.12g ms, %.12g ms is possible", instance, solution.bottleneck_ms,
            brute.best_ms);
        cr_assert_eq(solution.stage_count, brute.best_stages, "instance %d", instance);
        cr_assert(solution.latency_ms <= brute.best_latency_ms * (1 + 1e-8),
            "instance %d: latency %.12g ms, %.12g ms is possible", instance, solution.latency_ms,
            brute.best_latency_ms);
    }
    /* The instances are of use only if most can be solved and many need a chain. */
    cr_assert_gt(feasible, INSTANCES / 2);
    cr_assert_gt(chains, INSTANCES / 3);
    cr_assert_lt(feasible, INSTANCES);
}
