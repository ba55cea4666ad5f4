/* Size: cost of the exact search in steps, and the local search beyond it. */
#include "base_err.h"
#include "test_plan_support.h"
#include <criterion/criterion.h>
#include <math.h>

static struct test_problem test;
static struct plan_solution solution;
static struct base_error err;

static void different_workers(size_t workers, size_t blocks, uint64_t seed)
{
    test_problem_init(&test, workers, blocks);
    for (size_t i = 0; i < workers; i++) {
        test.workers[i].rates[0].gigabytes_per_s =
            3 + (double)test_random_range(&seed, 0, 900) / 100;
        test.workers[i].rates[0].gops = 30 + (double)test_random_range(&seed, 0, 9000) / 100;
    }
}

/* No chain can be faster than all workers sharing the work without loss. */
static double relaxation_ms(void)
{
    double rate = 0;

    for (size_t i = 0; i < test.problem.worker_count; i++)
        rate += 1 / plan_stage_ms(
                        &test.problem, i, 0, (uint32_t)test.problem.layer_count - 2, true, true);
    return 1 / rate;
}

Test(plan_many, twelve_workers_and_eighty_layers_are_exact_and_cheap)
{
    different_workers(12, 80, 5);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert(solution.exact);
    cr_assert_eq(solution.stage_count, 12);
    cr_assert_lt(solution.step_count, 400000000u);
    cr_assert_geq(solution.bottleneck_ms, relaxation_ms());
}

Test(plan_many, thirteen_workers_come_close_to_the_bound)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        different_workers(13, 80, seed);
        cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
        cr_assert_not(solution.exact);
        /* Whole blocks: half a block too much on each of 13 stages of about 6. */
        cr_assert_lt(solution.bottleneck_ms, relaxation_ms() * 1.25);
    }
}

Test(plan_many, sixty_four_workers_within_the_budget)
{
    different_workers(64, 80, 9);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_lt(solution.step_count, 400000000u);
    cr_assert_leq(solution.stage_count, 64);
    cr_assert_geq(solution.bottleneck_ms, relaxation_ms());
}

Test(plan_many, local_search_keeps_the_rules)
{
    different_workers(20, 40, 3);
    for (int i = 10; i < 20; i++)
        test.workers[i].standby = true;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    for (size_t i = 0; i < solution.stage_count; i++)
        cr_assert_lt(solution.stages[i].worker, 10);
    cr_assert_eq(solution.exclusion[15], PLAN_EXCLUDED_STANDBY);
    test.problem.stage_count = 12;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 12);
    test.problem.stage_count = 3;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_eq(solution.stage_count, 3);
    for (int i = 0; i < 20; i++)
        test.workers[i].memory_bytes = 2 * MIB;
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_UNAVAILABLE);
    cr_assert(strstr(err.text, "bytes"), "%s", err.text);
}

Test(plan_many, local_search_fills_tight_memory)
{
    test_problem_init(&test, 16, 32);
    test.problem.memory_reserve = 0;
    test.problem.kv_tokens = 0;
    for (int i = 0; i < 16; i++)
        test.workers[i].memory_bytes = (i % 4 == 0 ? 5 : 3) * MIB; /* 4 or 2 layers: 40 in all */
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK, "%s", err.text);
    for (size_t i = 0; i < solution.stage_count; i++)
        cr_assert_leq(solution.stages[i].weight_bytes, 4 * MIB);
}

Test(plan_many, the_largest_model_and_a_slow_search_stay_bounded)
{
    different_workers(3, LIMIT_LAYERS_MAX, 4);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert(solution.exact);
    different_workers(14, LIMIT_LAYERS_MAX, 4);
    cr_assert_eq(plan_solve(&test.problem, &solution, &err), BASE_OK);
    cr_assert_lt(solution.bottleneck_ms, relaxation_ms() * 1.02);
}
