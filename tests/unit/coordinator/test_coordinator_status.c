#include "base_arena.h"
#include "test_coordinator_support.h"
#include "wire_codec.h"

TestSuite(coordinator_status, .init = test_init, .fini = test_end);

Test(coordinator_status, before_any_plan_it_says_what_is_awaited)
{
    mesh.options.min_workers = 3;
    test_start();
    test_worker(1);
    (void)test_row(1);
    cr_assert_eq(mesh.status.plan_epoch, 0);
    cr_assert_eq(mesh.status.plan_state, 0);
    cr_assert(strstr(mesh.status.plan_reason, "1 of at least 3"), "%s", mesh.status.plan_reason);
    cr_assert_eq(mesh.rows[0].state, WIRE_WORKER_SPARE);
    cr_assert_eq(mesh.status.model.fingerprint, 0xabcd);
    cr_assert_eq(mesh.status.model.layers_count, 0);
}

Test(coordinator_status, rows_tell_layers_bytes_times_and_reasons)
{
    struct wire_message heartbeat;
    const struct wire_worker_row *row;

    mesh.options.stage_count = 2;
    test_start();
    mesh.standby = true;
    test_worker(3);
    mesh.standby = false;
    test_router(0);
    test_worker(1);
    test_worker(2);
    test_pass(300, (uint64_t[]){100, 0});
    row = test_row(1);
    cr_assert_eq(row->state, WIRE_WORKER_LOADING);
    cr_assert(row->has_stage);
    test_all_ready();
    heartbeat = test_heartbeat_of(1);
    heartbeat.heartbeat.step_ms = 4.5;
    heartbeat.heartbeat.kv_pages_used = 3;
    heartbeat.heartbeat.kv_pages_total = 16;
    heartbeat.heartbeat.last_progress_ms = 20;
    test_deliver(1, &heartbeat);
    mesh.now_ms += 30;
    row = test_row(1);
    cr_assert_eq(row->state, WIRE_WORKER_READY);
    cr_assert(row->has_stage);
    cr_assert_gt(row->layer_count, 0);
    cr_assert_gt(row->weight_bytes, 4 * MIB);
    cr_assert_eq(row->kv_bytes, row->layer_count * 1024 * 1024);
    cr_assert_gt(row->predicted_ms, 0);
    cr_assert_float_eq(row->measured_ms, 4.5, 1e-12);
    double planned_ms = row->predicted_ms;
    cr_assert_eq(row->kv_pages_used, 3);
    cr_assert_eq(row->last_progress_ms, 50);
    cr_assert(strstr(row->reason, "without it the slowest would take"), "%s", row->reason);
    row = test_row(3);
    cr_assert_eq(row->state, WIRE_WORKER_SPARE);
    cr_assert_not(row->has_stage);
    cr_assert_eq(mesh.status.worker_count, 3);
    /* The prediction is for steps of the size that were measured, once there are any. */
    heartbeat.heartbeat.step_tokens = 1;
    heartbeat.heartbeat.step_context = 10;
    test_deliver(1, &heartbeat);
    row = test_row(1);
    cr_assert_gt(row->predicted_ms, 0);
    cr_assert_lt(row->predicted_ms, planned_ms);

    cr_assert_eq(mesh.status.router_count, 1);
    cr_assert_gt(mesh.status.bottleneck_ms, 0);

    /* Pages are those of a stage: what the dead one last said does not stay. */
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    row = test_row(1);
    cr_assert_eq(row->state, WIRE_WORKER_LOST);
    cr_assert_eq(row->kv_pages_used, 0);
    cr_assert_eq(row->kv_pages_total, 0);
}

Test(coordinator_status, a_worker_that_cannot_be_spared_and_one_too_small_are_told_so)
{
    mesh.memory_bytes = 36 * MIB;
    test_start();
    test_router(0);
    test_worker(1);
    test_worker(2);
    mesh.memory_bytes = MIB;
    test_worker(3);
    test_pass(300, (uint64_t[]){100, 0});
    cr_assert(
        strstr(test_row(1)->reason, "without it no placement exists"), "%s", test_row(1)->reason);
    cr_assert(strstr(test_row(3)->reason, "memory cannot hold"), "%s", test_row(3)->reason);
}

Test(coordinator_status, requests_come_from_the_active_router)
{
    struct wire_message heartbeat;

    test_start();
    test_serve(1);
    heartbeat = test_heartbeat_of(100);
    heartbeat.heartbeat.requests_running = 4;
    heartbeat.heartbeat.requests_waiting = 9;
    test_deliver(100, &heartbeat);
    (void)test_row(1);
    cr_assert_eq(mesh.status.requests_running, 4);
    cr_assert_eq(mesh.status.requests_waiting, 9);
}

Test(coordinator_status, a_full_mesh_fits_one_control_message)
{
    struct base_arena arena;
    struct wire_message decoded;
    struct base_error err = {0};
    uint8_t *data;
    size_t bytes;

    test_start();
    for (uint64_t n = 1; n <= LIMIT_WORKERS_MAX; n++)
        test_worker(n);
    cr_assert_not_null(test_row(64));
    cr_assert_eq(mesh.status.worker_count, LIMIT_WORKERS_MAX);
    base_arena_init(&arena, (size_t)LIMIT_CONTROL_BYTES * LIMIT_UNPACK_FACTOR);
    cr_assert_eq(wire_encode(test_last(999, WIRE_STATUS_REPLY), &arena, &data, &bytes, &err),
        BASE_OK, "%s", err.text);
    cr_assert_leq(bytes, LIMIT_CONTROL_BYTES);
    cr_assert_eq(wire_decode(WIRE_STATUS_REPLY, data, bytes, &arena, &decoded, &err), BASE_OK, "%s",
        err.text);
    base_arena_release(&arena);
}
