/* Who may be used, how many stages, and what is said about the others. */
#include "base_err.h"
#include "test_plan_support.h"
#include <criterion/criterion.h>
#include <math.h>

static struct test_problem test;
static struct plan_solution solution;
static struct base_error err;

static size_t stage_of(size_t worker)
{
    for (size_t i = 0; i < solution.stage_count; i++)
        if (solution.stages[i].worker == worker)
            return i;
    return SIZE_MAX;
}

Test(plan_rules, a_standby_stays_out_while_the_others_can)
{
    test_problem_init(&test, 3, 6);
    test.workers[1].standby = true;
    test.workers[1].rates[0].gigabytes_per_s = 1000;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 2);
    cr_assert_eq(stage_of(1), SIZE_MAX);
    cr_assert_eq(solution.exclusion[1], PLAN_EXCLUDED_STANDBY);
}

Test(plan_rules, a_standby_is_used_when_memory_does_not_suffice_without_it)
{
    test_problem_init(&test, 4, 8);
    test.problem.memory_reserve = 0;
    for (int i = 0; i < 4; i++) {
        test.workers[i].memory_bytes = 8 * MIB;
        test.workers[i].standby = i > 0;
    }
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 2); /* only one of the three */
    cr_assert_neq(stage_of(0), SIZE_MAX);
    cr_assert_neq(stage_of(1), SIZE_MAX);
    cr_assert_eq(solution.exclusion[2], PLAN_EXCLUDED_STANDBY);
}

Test(plan_rules, a_standby_is_used_to_reach_the_asked_number_of_stages)
{
    test_problem_init(&test, 3, 6);
    test.workers[2].standby = true;
    test.problem.stage_count = 3;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 3);
    cr_assert_neq(stage_of(2), SIZE_MAX);
}

Test(plan_rules, the_number_of_stages_is_exact_when_possible)
{
    for (uint32_t asked = 1; asked <= 5; asked++) {
        test_problem_init(&test, 5, 10);
        test.problem.stage_count = asked;
        cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
        cr_assert_eq(solution.stage_count, asked);
        for (size_t i = 0; i < 5; i++)
            if (stage_of(i) == SIZE_MAX)
                cr_assert_eq(solution.exclusion[i], PLAN_EXCLUDED_STAGE_COUNT);
    }
}

Test(plan_rules, too_many_stages_become_as_many_as_there_are_workers_or_blocks)
{
    test_problem_init(&test, 3, 8);
    test.problem.stage_count = 7;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 3);
    test_problem_init(&test, 5, 2);
    test.problem.stage_count = 4;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 2);
}

Test(plan_rules, too_few_stages_for_the_memory_become_more)
{
    test_problem_init(&test, 4, 12);
    test.problem.memory_reserve = 0;
    for (int i = 0; i < 4; i++)
        test.workers[i].memory_bytes = 8 * MIB;
    test.problem.stage_count = 1;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 3);
}

Test(plan_rules, the_embedding_counts_for_memory_but_not_for_time)
{
    double small_ms;

    test_problem_init(&test, 1, 4);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    small_ms = solution.bottleneck_ms;
    test.layers[0].weight_bytes = 1024 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.bottleneck_ms, small_ms);
    test.layers[0].weight_bytes = 8192 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
}

Test(plan_rules, exclusions_name_their_reason)
{
    test_problem_init(&test, 4, 6);
    test.workers[0].rates[0].weight_type = 99;
    test.workers[1].memory_bytes = MIB;
    test.workers[2].rate_count = 0;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.exclusion[0], PLAN_EXCLUDED_NO_RATE);
    cr_assert_eq(solution.exclusion[1], PLAN_EXCLUDED_MEMORY);
    cr_assert_eq(solution.exclusion[2], PLAN_EXCLUDED_NO_RATE);
    cr_assert_eq(solution.exclusion[3], PLAN_USED);
    cr_assert_eq(solution.stages[0].worker, 3);
}

Test(plan_rules, a_type_that_was_not_measured_counts_at_the_slowest_rate)
{
    double before_ms;

    test_problem_init(&test, 1, 4);
    test.workers[0].rates[1] = (struct plan_rate){2, 10, 1};
    test.workers[0].rate_count = 2;
    test.layers[2].weight_type = 2;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    before_ms = solution.bottleneck_ms;
    test.layers[2].weight_type = 30;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.bottleneck_ms, before_ms);
}

Test(plan_rules, a_slow_link_bounds_the_pipeline)
{
    test_problem_init(&test, 2, 8);
    test.problem.stage_count = 2;
    test.workers[0].link_bytes_per_ms = test.workers[1].link_bytes_per_ms = 1000;
    test.workers[0].link_ms = 5;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_float_eq(solution.bottleneck_ms, 256 * 4 * 8 / 1000.0, 1e-9);
    cr_assert_gt(solution.latency_ms, 5);
}

Test(plan_rules, a_slow_link_matters_only_before_another_stage)
{
    test_problem_init(&test, 2, 8);
    test.problem.stage_count = 2;
    test.workers[0].link_bytes_per_ms = 10;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stages[1].worker, 0);
    cr_assert_lt(solution.bottleneck_ms, 100);
}

Test(plan_rules, missing_bytes_are_told)
{
    test_problem_init(&test, 2, 8);
    test.problem.memory_reserve = 0;
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = 5 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    /* 10 MiB of weights and 2 MiB of KV, two times 4 MiB of room. */
    cr_assert(strstr(err.text, "4194304 bytes are missing"), "%s", err.text);
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    cr_assert(strstr(err.text, "no worker can hold a single layer"), "%s", err.text);
    test.workers[0].rate_count = test.workers[1].rate_count = 0;
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = 100 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    cr_assert(strstr(err.text, "measured"), "%s", err.text);
}

Test(plan_rules, layers_without_a_place_are_told)
{
    test_problem_init(&test, 2, 8);
    test.problem.memory_reserve = 0;
    test.layers[5].weight_bytes = 9 * MIB; /* block 4 fits nowhere, though the sum would */
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = 10 * MIB + MIB / 8;
    test.workers[1].memory_bytes = 12 * MIB;
    test.problem.kv_tokens = 0;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    cr_assert(strstr(err.text, "missing a place"), "%s", err.text);
}

Test(plan_rules, hostile_numbers_are_refused)
{
    test_problem_init(&test, 2, 4);
    test.workers[0].rates[0].gops = NAN;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.layers[1].weight_bytes = UINT64_MAX;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.problem.kv_tokens = UINT64_MAX;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.problem.memory_reserve = 1;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.problem.worker_count = 0;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.problem.layer_count = 2;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    test_problem_init(&test, 2, 4);
    test.workers[1].link_bytes_per_ms = -1;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_INVALID);
    cr_assert(strstr(err.text, "worker 1"), "%s", err.text);
}

Test(plan_rules, the_largest_memory_there_is_does_not_overflow)
{
    test_problem_init(&test, 2, 4);
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = UINT64_MAX;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    test.problem.memory_reserve = 0;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
}
