#include "test_coordinator_support.h"

TestSuite(coordinator_drain, .init = test_init, .fini = test_end);

static void drain(uint64_t peer, uint64_t n)
{
    struct wire_message message = {.kind = WIRE_DRAIN};

    (void)snprintf(message.drain.node_id, LIMIT_NAME_BYTES, "worker-%d", (int)n);
    test_deliver(peer, &message);
}

static void goodbye(uint64_t n)
{
    struct wire_message message = {.kind = WIRE_GOODBYE, .goodbye = {.incarnation = n}};

    (void)snprintf(message.goodbye.node_id, LIMIT_NAME_BYTES, "worker-%d", (int)n);
    (void)snprintf(message.goodbye.reason, LIMIT_HOST_BYTES, "told to stop");
    test_deliver(n, &message);
}

Test(coordinator_drain, the_old_plan_serves_until_the_new_one_is_ready)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    drain(2, 2);
    cr_assert_null(test_last(2, WIRE_DRAIN));
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE);
    cr_assert_not(test_plan_has(test_plan(1), 2));
    (void)test_row(2);
    cr_assert_eq(mesh.status.plan_epoch, epoch);
    cr_assert_eq(mesh.status.plan_state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(test_row(2)->state, WIRE_WORKER_DRAINING);
    test_all_ready();
    cr_assert_str_eq(test_last(2, WIRE_DRAIN)->drain.node_id, "worker-2");
    cr_assert_eq(test_count(2, WIRE_DRAIN), 1);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    goodbye(2);
    cr_assert_null(test_row(2)); /* nobody was lost */
    cr_assert_eq(test_plan(100)->epoch, coordinator_epoch(mesh.self));
}

Test(coordinator_drain, an_admin_may_ask_and_is_answered)
{
    test_start();
    test_serve(2);
    drain(999, 1);
    cr_assert_null(test_last(999, WIRE_DRAIN));
    test_all_ready();
    cr_assert_not_null(test_last(1, WIRE_DRAIN));
    cr_assert_not_null(test_last(999, WIRE_DRAIN));
    drain(999, 44);
    cr_assert_eq(test_last(999, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
}

Test(coordinator_drain, a_worker_without_a_stage_leaves_at_once)
{
    uint64_t epoch;

    mesh.options.stage_count = 1;
    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    drain(2, test_plan_has(test_plan(100), 1) ? 2 : 1);
    cr_assert_not_null(test_last(0, WIRE_DRAIN));
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
}

Test(coordinator_drain, who_cannot_be_spared_stays)
{
    uint64_t epoch;

    mesh.memory_bytes = 36 * MIB;
    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    drain(999, 2);
    cr_assert_eq(test_last(999, WIRE_ERROR)->error.code, BASE_UNAVAILABLE);
    cr_assert(strstr(test_last(999, WIRE_ERROR)->error.text, "worker-2 cannot be spared"));
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    cr_assert_eq(test_row(2)->state, WIRE_WORKER_READY);
    cr_assert_null(test_last(2, WIRE_DRAIN));
    drain(2, 2);
    cr_assert_eq(test_last(2, WIRE_ERROR)->error.code, BASE_UNAVAILABLE);
}

Test(coordinator_drain, who_wants_to_leave_may_when_somebody_has_joined)
{
    struct wire_message heartbeat;

    mesh.memory_bytes = 36 * MIB;
    test_start();
    test_serve(2);
    drain(2, 2);
    heartbeat = test_heartbeat_of(2);
    heartbeat.heartbeat.state = WIRE_WORKER_DRAINING;
    mesh.now_ms += 500;
    test_deliver(2, &heartbeat);
    cr_assert_eq(test_count(2, WIRE_ERROR), 1); /* nothing has changed: not tried again */
    mesh.now_ms += 500;
    mesh.options.min_gain = 0.99;
    test_worker(3);
    if (test_plan(3)->state == WIRE_PLAN_PREPARE)
        test_all_ready(); /* it may have been worth a change by itself */
    heartbeat.heartbeat.plan_epoch = coordinator_epoch(mesh.self);
    test_deliver(2, &heartbeat);
    test_all_ready();
    cr_assert_not(test_plan_has(test_plan(100), 2));
    cr_assert_not_null(test_last(2, WIRE_DRAIN));
}

Test(coordinator_drain, losing_a_worker_while_another_drains_keeps_the_mesh_alive)
{
    mesh.memory_bytes = 36 * MIB;
    test_start();
    test_serve(3);
    drain(999, 3);
    test_all_ready();
    cr_assert_not_null(test_last(3, WIRE_DRAIN));
    test_worker(4);
    drain(999, 2); /* 1 and 4 are to take over */
    cr_assert_eq(test_plan(4)->state, WIRE_PLAN_PREPARE);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    cr_assert_eq(test_last(999, WIRE_ERROR)->error.code, BASE_UNAVAILABLE);
    cr_assert(test_plan_has(test_plan(4), 2));
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}

Test(coordinator_drain, a_goodbye_of_a_stage_is_a_loss)
{
    test_start();
    test_serve(2);
    goodbye(1);
    cr_assert_eq(test_plan(2)->state, WIRE_PLAN_PREPARE);
    cr_assert_not(test_plan_has(test_plan(2), 1));
    cr_assert(strstr(test_plan(2)->reason, "goodbye: told to stop"), "%s", test_plan(2)->reason);
    cr_assert_eq(test_row(1)->state, WIRE_WORKER_LOST);
}

Test(coordinator_drain, a_goodbye_of_a_router_makes_room_for_the_next)
{
    struct wire_message message = {.kind = WIRE_GOODBYE, .goodbye = {.incarnation = 100}};

    test_start();
    test_serve(2);
    test_router(1);
    (void)snprintf(message.goodbye.node_id, LIMIT_NAME_BYTES, "router-0");
    test_deliver(100, &message);
    test_all_ready();
    cr_assert_eq(test_plan(101)->state, WIRE_PLAN_ACTIVE);
}
