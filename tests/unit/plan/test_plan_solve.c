#include "base_alloc.h"
#include "base_err.h"
#include "test_plan_support.h"
#include <criterion/criterion.h>
#include <math.h>

static struct test_problem test;
static struct plan_solution solution;
static struct base_error err;

Test(plan_solve, one_worker_holds_everything)
{
    test_problem_init(&test, 1, 4);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 1);
    cr_assert_eq(solution.stages[0].layer_count, 4);
    cr_assert_eq(solution.stages[0].weight_bytes, 6 * MIB);
    cr_assert_eq(solution.stages[0].kv_bytes, 4 * 256 * 1024);
    cr_assert_lt(solution.without_ms[0], 0);
    cr_assert(solution.exact);
}

Test(plan_solve, one_worker_is_enough_when_hops_cost_more_than_they_save)
{
    test_problem_init(&test, 3, 6);
    for (int i = 0; i < 3; i++)
        test.workers[i].link_bytes_per_ms = 100; /* 82 ms a hop */
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 1);
    cr_assert_eq(solution.stages[0].worker, 0);
    cr_assert_eq(solution.exclusion[1], PLAN_EXCLUDED_SLOWER);
    cr_assert_eq(solution.exclusion[2], PLAN_EXCLUDED_SLOWER);
}

Test(plan_solve, a_pair_of_two_to_one_gets_layers_two_to_one)
{
    test_problem_init(&test, 2, 30);
    test.workers[1].rates[0].gops *= 2;
    test.workers[1].rates[0].gigabytes_per_s *= 2;
    test.problem.stage_overhead_ms = 0;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 2);
    for (size_t i = 0; i < 2; i++) {
        uint32_t expected = solution.stages[i].worker == 1 ? 20 : 10;

        cr_assert_geq(solution.stages[i].layer_count + 1, expected);
        cr_assert_leq(solution.stages[i].layer_count, expected + 1);
    }
}

Test(plan_solve, a_measured_slowdown_moves_layers_away)
{
    test_problem_init(&test, 2, 20);
    test.problem.stage_overhead_ms = 0;
    test.workers[0].slowdown = 3;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    for (size_t i = 0; i < 2; i++) {
        if (solution.stages[i].worker == 0)
            cr_assert_leq(solution.stages[i].layer_count, 6);
        else
            cr_assert_geq(solution.stages[i].layer_count, 14);
    }
}

Test(plan_solve, equal_workers_stand_in_index_order)
{
    test_problem_init(&test, 4, 8);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(solution.stages[i].worker, i);
        /* The head is a ninth of the work: nobody needs more than three blocks. */
        cr_assert_leq(solution.stages[i].layer_count, 3);
    }
}

Test(plan_solve, equal_input_gives_equal_output)
{
    static struct plan_solution again;
    uint64_t state = 7;

    for (int round = 0; round < 50; round++) {
        test_problem_init(&test, 6, 16);
        for (int i = 0; i < 6; i++)
            test.workers[i].rates[0].gigabytes_per_s = (double)test_random_range(&state, 2, 4);
        cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
        cr_assert_eq(plan_solve(&test.problem, &again, &err), BASE_OK);
        cr_assert_eq(memcmp(&solution, &again, sizeof(solution)), 0);
    }
}

Test(plan_solve, memory_is_counted_to_the_byte)
{
    uint64_t need;

    test_problem_init(&test, 1, 3);
    test.problem.memory_reserve = 0;
    need = 5 * MIB + 3 * 256 * 1024 + test.problem.activation_bytes;
    test.workers[0].memory_bytes = need;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    test.workers[0].memory_bytes = need - 1;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    cr_assert(strstr(err.text, "1 bytes are missing"), "%s", err.text);
    test.workers[0].memory_bytes = need;
    test.problem.memory_reserve = 0.08;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    test.workers[0].memory_bytes = (uint64_t)((double)need / 0.92) + 2;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
}

Test(plan_solve, more_kv_positions_need_more_workers)
{
    test_problem_init(&test, 2, 8);
    test.problem.memory_reserve = 0;
    test.problem.stage_count = 1;
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = 14 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 1);
    test.problem.kv_tokens = 4096;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 2);
    test.problem.kv_tokens = 65536;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
}

Test(plan_solve, without_tells_what_each_worker_is_worth)
{
    static struct plan_solution other;
    struct plan_worker kept[3];

    test_problem_init(&test, 3, 12);
    test.workers[1].rates[0].gigabytes_per_s = 7;
    test.workers[2].rates[0].gigabytes_per_s = 4;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    memcpy(kept, test.workers, sizeof(kept));
    for (size_t i = 0; i < 3; i++) {
        memcpy(test.workers, kept, sizeof(kept));
        test.workers[i] = kept[2];
        test.problem.worker_count = 2;
        cr_assert_eq(plan_solve(&test.problem, &other, &err), BASE_OK);
        cr_assert_geq(solution.without_ms[i], other.bottleneck_ms * (1 - 1e-9));
        cr_assert_leq(solution.without_ms[i], other.bottleneck_ms * 1.011);
        cr_assert_geq(solution.without_ms[i], solution.bottleneck_ms);
    }
}

Test(plan_solve, a_worker_that_cannot_be_spared_says_so)
{
    test_problem_init(&test, 2, 8);
    test.problem.memory_reserve = 0;
    test.workers[0].memory_bytes = test.workers[1].memory_bytes = 8 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_lt(solution.without_ms[0], 0);
    cr_assert_lt(solution.without_ms[1], 0);
}

Test(plan_solve, running_out_of_memory_is_an_error)
{
    int rc = BASE_NOMEM;

    test_problem_init(&test, 3, 6);
    for (unsigned long n = 1; rc == BASE_NOMEM; n++) {
        cr_assert_lt(n, 200);
        base_alloc_fail_from(n);
        rc = plan_solve(&test.problem, &solution, &err);
        base_alloc_fail_from(0);
    }
    cr_assert_eq(rc, BASE_OK);
}
