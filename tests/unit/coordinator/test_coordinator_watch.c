#include "test_coordinator_support.h"

TestSuite(coordinator_watch, .init = test_init, .fini = test_end);

static void suspect(uint64_t epoch, uint64_t batch_id, uint32_t waited_ms)
{
    struct wire_message message = {.kind = WIRE_SUSPECT,
        .suspect = {.epoch = epoch, .batch_id = batch_id, .waited_ms = waited_ms}};

    test_deliver(100, &message);
}

/* What worker n says about its work. */
static void beat(uint64_t n, uint64_t last_batch_id, uint32_t busy_ms, double step_ms)
{
    struct wire_message message = test_heartbeat_of(n);

    message.heartbeat.last_batch_id = last_batch_id;
    message.heartbeat.busy_ms = busy_ms;
    message.heartbeat.step_ms = step_ms;
    test_deliver(n, &message);
}

Test(coordinator_watch, a_hanging_stage_is_replaced_and_comes_back_when_it_moves)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    beat(1, 7, 20000, 1);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    beat(1, 7, 20001, 1);
    cr_assert_gt(coordinator_epoch(mesh.self), epoch);
    cr_assert_not(test_plan_has(test_plan(2), 1));
    cr_assert_eq(test_row(1)->state, WIRE_WORKER_LOST);
    cr_assert(strstr(test_row(1)->reason, "hangs"), "%s", test_row(1)->reason);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(test_plan(100)->stage_count, 1);
    beat(1, 7, 20501, 1);
    cr_assert_eq(test_row(1)->state, WIRE_WORKER_LOST);
    beat(1, 8, 0, 1); /* it moved: a join like any other */
    cr_assert(test_plan_has(test_plan(2), 1));
    cr_assert_neq(test_row(1)->state, WIRE_WORKER_LOST);
}

Test(coordinator_watch, a_hang_without_a_replacement_is_unavailable)
{
    test_start();
    test_serve(1);
    beat(1, 7, 30000, 1);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_UNAVAILABLE);
    cr_assert(strstr(test_plan(100)->error.text, "worker-1 with layers 0..7"), "%s",
        test_plan(100)->error.text);
    beat(1, 8, 0, 1);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
}

Test(coordinator_watch, a_suspect_of_another_epoch_or_router_is_ignored)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    test_router(1);
    epoch = coordinator_epoch(mesh.self);
    beat(1, 0, 0, 0);
    beat(2, 0, 0, 0);
    suspect(epoch - 1, 5, 3000);
    suspect(epoch + 1, 5, 3000);
    test_deliver(101,
        &(struct wire_message){.kind = WIRE_SUSPECT, .suspect = {.epoch = epoch, .batch_id = 5}});
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
}

Test(coordinator_watch, a_lost_micro_batch_gives_a_new_epoch_with_the_same_stages)
{
    struct wire_plan before;
    struct wire_stage stages[2];

    test_start();
    test_serve(2);
    before = *test_plan(100);
    memcpy(stages, before.stages, sizeof(stages));
    beat(1, 9, 0, 0);
    beat(2, 9, 0, 0);
    suspect(before.epoch, 9, 3000); /* all have finished it: lost on the way back */
    cr_assert_eq(test_plan(1)->epoch, before.epoch + 1);
    cr_assert(strstr(test_plan(1)->reason, "the way back"), "%s", test_plan(1)->reason);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(test_plan(1)->stages[i].incarnation, stages[i].incarnation);
        cr_assert_eq(test_plan(1)->stages[i].layer_first, stages[i].layer_first);
    }
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}

Test(coordinator_watch, new_epochs_for_lost_micro_batches_are_bounded)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    beat(1, 9, 0, 0);
    beat(2, 9, 0, 0);
    suspect(epoch, 9, 3000);
    test_all_ready();
    suspect(epoch + 1, 9, 3000);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch + 1);
    test_pass(2000, (uint64_t[]){1, 2, 100, 0});
    suspect(epoch + 1, 9, 3000);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch + 2);
}

Test(coordinator_watch, a_stage_that_computes_is_waited_for)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    beat(1, 4, 6000, 0);
    beat(2, 4, 6000, 0);
    suspect(epoch, 5, 6500);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    suspect(epoch, 5, 20001);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch + 1);
}

Test(coordinator_watch, a_silent_culprit_is_lost_before_its_lease_ends)
{
    uint64_t epoch, first, second;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    first = test_stage_worker(test_plan(100), 0);
    second = test_stage_worker(test_plan(100), 1);
    beat(first, 9, 0, 0);
    beat(second, 3, 0, 0);
    test_pass(1500, (uint64_t[]){100, 0});
    beat(first, 9, 0, 0);
    suspect(epoch, 5, 3000);
    cr_assert_gt(coordinator_epoch(mesh.self), epoch);
    cr_assert_not(test_plan_has(test_plan(first), second));
    cr_assert(strstr(test_plan(first)->reason, "silent"), "%s", test_plan(first)->reason);
    test_heartbeat(second); /* it was only asleep */
    cr_assert_eq(test_last(second, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
}

/* Stages take their predicted time times a factor, until time is over or a plan is made. */
static void run_with(double factor_of_1, double factor_of_2, uint64_t milliseconds)
{
    uint64_t end_ms = mesh.now_ms + milliseconds, epoch = coordinator_epoch(mesh.self);

    while (mesh.now_ms < end_ms && coordinator_epoch(mesh.self) == epoch) {
        double predicted_1 = test_row(1)->predicted_ms, predicted_2 = test_row(2)->predicted_ms;

        mesh.record_count = 0;
        mesh.now_ms += 500;
        test_heartbeat(100);
        beat(1, 1, 0, predicted_1 * factor_of_1);
        beat(2, 1, 0, predicted_2 * factor_of_2);
        coordinator_tick(mesh.self, mesh.now_ms);
    }
}

Test(coordinator_watch, a_worker_that_is_slower_than_predicted_gets_fewer_layers)
{
    uint64_t epoch;
    uint32_t before;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    before = test_row(2)->layer_count;
    run_with(1, 3, 29500);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch); /* not three rounds yet */
    run_with(1, 3, 1000);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch + 1);
    test_all_ready();
    cr_assert_lt(test_row(2)->layer_count, before);
}

Test(coordinator_watch, all_stages_slower_alike_is_no_drift)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    run_with(3, 3.3, 60000);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
}

Test(coordinator_watch, an_idle_pipeline_does_not_drift)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    run_with(0, 0, 60000);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
}
