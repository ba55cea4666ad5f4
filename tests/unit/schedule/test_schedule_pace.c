#include <criterion/criterion.h>

#include "schedule_pace.h"

TestSuite(schedule_pace);

/* Steps of several sizes on stages that take fixed[i] + slope[i] * tokens, with links between. */
static struct schedule_pace learn(
    size_t stages, const double *fixed, const double *slope, double links_us)
{
    struct schedule_pace pace = {.stage_count = stages};
    uint32_t us[LIMIT_STAGES_MAX];
    for (uint32_t tokens = 1; tokens <= 12; tokens++) {
        double round_us = links_us;
        for (size_t i = 0; i < stages; i++) {
            us[i] = (uint32_t)(fixed[i] + slope[i] * tokens);
            round_us += us[i];
        }
        schedule_pace_observe(&pace, tokens, us, stages, (uint64_t)round_us);
    }
    return pace;
}

Test(schedule_pace, one_group_a_stage_until_more_is_known)
{
    struct schedule_pace pace = {.stage_count = 3};
    uint32_t us[3] = {1000, 1000, 1000};
    cr_assert_eq(schedule_pace_groups(&pace, 8), 3);
    for (int i = 0; i < 100; i++)
        schedule_pace_observe(&pace, 4, us, 3, 20000);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 3, "steps of one size have no slope");
}

Test(schedule_pace, weights_that_cost_more_than_links_are_read_once_a_stage)
{
    const double fixed[] = {16000, 16000}, slope[] = {2000, 2000};
    struct schedule_pace pace = learn(2, fixed, slope, 1000);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 2);
    pace = learn(1, fixed, slope, 1000);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 1);
    cr_assert_eq(schedule_pace_groups(&pace, 1), 1);
}

Test(schedule_pace, links_that_cost_more_than_weights_are_hidden_behind_another_group)
{
    const double fixed[] = {500, 500}, slope[] = {500, 500};
    struct schedule_pace pace = learn(2, fixed, slope, 3000);
    cr_assert_eq(schedule_pace_groups(&pace, 9), 3);
    cr_assert_eq(schedule_pace_groups(&pace, 2), 2, "no more groups than sequences");
}

Test(schedule_pace, stages_that_wait_for_a_slow_one_need_no_group_of_their_own)
{
    const double fixed[] = {16000, 1000, 1000}, slope[] = {2000, 100, 100};
    struct schedule_pace pace = learn(3, fixed, slope, 500);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 1);
}

Test(schedule_pace, a_slope_is_kept_while_all_steps_are_of_one_size_and_the_level_follows)
{
    const double fixed[] = {16000, 16000}, slope[] = {2000, 2000};
    struct schedule_pace pace = learn(2, fixed, slope, 1000);
    uint32_t us[2] = {24000, 24000};
    for (int i = 0; i < 100000; i++)
        schedule_pace_observe(&pace, 4, us, 2, 0);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 2);
    /* What was learnt about the tokens still tells that they are all the cost there is. */
    us[0] = us[1] = 8000;
    for (int i = 0; i < 1000; i++)
        schedule_pace_observe(&pace, 4, us, 2, 0);
    for (int i = 0; i < 3; i++)
        schedule_pace_observe(&pace, 4, us, 2, 60000);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 3);
}

Test(schedule_pace, stages_that_slow_each_other_down_take_turns)
{
    const double fixed[] = {8000, 8000}, slope[] = {1000, 1000};
    struct schedule_pace pace = learn(2, fixed, slope, 1000);
    for (uint32_t tokens = 1; tokens <= 8; tokens++) {
        uint32_t twice = 2 * (8000 + 1000 * tokens);
        schedule_pace_observe(&pace, tokens, (uint32_t[]){twice, twice}, 2, 0);
    }
    cr_assert_eq(schedule_pace_groups(&pace, 8), 1);
}

Test(schedule_pace, a_bad_moment_is_not_kept_for_ever)
{
    const double fixed[] = {8000, 8000}, slope[] = {1000, 1000};
    struct schedule_pace pace = learn(2, fixed, slope, 1000);
    const uint32_t slow[2] = {90000, 90000}, usual[2] = {16000, 16000};
    for (int i = 0; i < 7; i++)
        schedule_pace_observe(&pace, 4, slow, 2, 0);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 2, "first steps may be slow");
    for (int i = 0; i < 7; i++)
        schedule_pace_observe(&pace, 4, slow, 2, 0);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 1);
    for (int i = 0; i < 1000; i++)
        schedule_pace_observe(&pace, 8, usual, 2, 33000);
    cr_assert_eq(schedule_pace_groups(&pace, 8), 2, "it is tried again");
}

Test(schedule_pace, prompts_and_odd_answers_teach_nothing)
{
    const double fixed[] = {16000, 16000}, slope[] = {2000, 2000};
    struct schedule_pace pace = learn(2, fixed, slope, 1000), before = pace;
    const uint32_t us[3] = {1, 1, 1};
    schedule_pace_observe(&pace, LIMIT_BATCH_SEQUENCES_MAX + 1, us, 2, 5);
    schedule_pace_observe(&pace, 4, us, 3, 5);
    schedule_pace_observe(&pace, 0, us, 2, 5);
    cr_assert_eq(pace.links_us, before.links_us);
    cr_assert_eq(pace.stages[0].alone.mean_us, before.stages[0].alone.mean_us);
    cr_assert_eq(pace.stages[0].alone.variance, before.stages[0].alone.variance);
}
