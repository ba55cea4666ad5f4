#include "base_arena.h"
#include "test_coordinator_support.h"
#include "wire_codec.h"

TestSuite(coordinator_plan, .init = test_init, .fini = test_end);

Test(coordinator_plan, the_first_plan_waits_for_workers_and_for_them_to_settle)
{
    mesh.options.min_workers = 2;
    test_start();
    test_router(0);
    test_worker(1);
    test_pass(1000, (uint64_t[]){1, 100, 0});
    cr_assert_null(test_last(0, WIRE_PLAN));
    test_worker(2);
    test_pass(250, (uint64_t[]){1, 2, 100, 0});
    cr_assert_null(test_last(0, WIRE_PLAN));
    test_pass(50, (uint64_t[]){1, 2, 100, 0});
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE);
    cr_assert_eq(test_plan(1)->stage_count, 2);
}

Test(coordinator_plan, prepare_then_ready_then_active)
{
    struct wire_plan plan;
    uint32_t next = 0;

    test_start();
    test_router(0);
    for (uint64_t n = 1; n <= 3; n++)
        test_worker(n);
    cr_assert_eq(coordinator_next_tick_ms(mesh.self), mesh.now_ms + 300);
    test_pass(300, NULL);
    plan = *test_plan(2);
    cr_assert_eq(plan.state, WIRE_PLAN_PREPARE);
    cr_assert_eq(plan.stage_count, 3);
    cr_assert_eq(plan.fingerprint, 0xabcd);
    cr_assert_eq(plan.page_tokens, LIMIT_PAGE_TOKENS);
    cr_assert_eq(plan.page_count, 1024 / LIMIT_PAGE_TOKENS);
    cr_assert_eq(plan.context_length, 1024);
    cr_assert_str_eq(plan.router_endpoint, "inproc://router-0-100");
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(plan.stages[i].layer_first, next);
        next += plan.stages[i].layer_count;
    }
    cr_assert_eq(next, BLOCKS);
    test_status_of_stage(1, plan.epoch, WIRE_STAGE_READY);
    test_status_of_stage(2, plan.epoch, WIRE_STAGE_LOADING);
    test_status_of_stage(3, plan.epoch, WIRE_STAGE_READY);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_PREPARE);
    test_status_of_stage(2, plan.epoch - 1, WIRE_STAGE_READY); /* stale */
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_PREPARE);
    test_status_of_stage(2, plan.epoch, WIRE_STAGE_READY);
    for (uint64_t n = 1; n <= 3; n++) {
        cr_assert_eq(test_plan(n)->state, WIRE_PLAN_ACTIVE);
        cr_assert_eq(test_plan(n)->epoch, plan.epoch);
    }
    /* The router is told last, when every stage knows. */
    cr_assert_eq(mesh.records[mesh.record_count - 1].peer, 100);
    cr_assert_eq(mesh.records[mesh.record_count - 1].message.plan.state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}

Test(coordinator_plan, plans_pass_the_decoder_of_their_receivers)
{
    test_start();
    test_serve(3);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    for (size_t i = 0; i < mesh.record_count; i++) {
        struct base_arena arena;
        struct wire_message decoded;
        const struct wire_message *message = &mesh.records[i].message;
        struct base_error err = {0};
        uint8_t *data;
        size_t bytes;

        base_arena_init(&arena, LIMIT_UNPACK_BYTES_MIN * 16);
        cr_assert_eq(wire_encode(message, &arena, &data, &bytes, &err), BASE_OK, "%s", err.text);
        cr_assert_eq(wire_decode(message->kind, data, bytes, &arena, &decoded, &err), BASE_OK, "%s",
            err.text);
        base_arena_release(&arena);
    }
}

Test(coordinator_plan, epochs_go_above_what_anybody_has_seen)
{
    test_start();
    test_register_full(1, WIRE_ROLE_WORKER, "worker-1", 1, 41);
    test_register_full(100, WIRE_ROLE_ROUTER, "router-0", 100, 57);
    test_pass(300, NULL);
    cr_assert_eq(test_plan(1)->epoch, 58);
}

Test(coordinator_plan, a_lost_stage_is_replaced_at_once)
{
    uint64_t epoch;

    mesh.options.cooldown_ms = 1000000;
    test_start();
    test_serve(3);
    epoch = coordinator_epoch(mesh.self);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE);
    cr_assert_eq(test_plan(1)->epoch, epoch + 1);
    cr_assert_not(test_plan_has(test_plan(1), 2));
    cr_assert(strstr(test_plan(1)->reason, "worker-2 with layers"), "%s", test_plan(1)->reason);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(test_plan(100)->stage_count, 2);
    test_check_epochs();
}

static const struct wire_stage *stage_of(const struct wire_plan *plan, const char *node_id)
{
    for (size_t i = 0; i < plan->stage_count; i++)
        if (strcmp(plan->stages[i].node_id, node_id) == 0)
            return &plan->stages[i];
    return NULL;
}

Test(coordinator_plan, a_spare_takes_the_lost_layers_and_the_others_keep_theirs)
{
    struct wire_plan before;

    /* Registered first and a little faster, the spare would be given the first stage. */
    mesh.options.stage_count = 3;
    test_start();
    mesh.standby = true;
    mesh.gigabytes_per_s = 10.4;
    test_worker(9);
    mesh.standby = false;
    mesh.gigabytes_per_s = 10;
    test_serve(3);
    before = *test_plan(100);
    cr_assert_null(stage_of(&before, "worker-9"));
    const struct wire_stage lost = *stage_of(&before, "worker-2");
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    const struct wire_plan *after = test_plan(1);
    cr_assert_eq(after->stage_count, 3);
    cr_assert_eq(stage_of(after, "worker-9")->layer_first, lost.layer_first);
    cr_assert_eq(stage_of(after, "worker-9")->layer_count, lost.layer_count);
    cr_assert_str_eq(stage_of(after, "worker-9")->endpoint, "inproc://worker-9-9");
    cr_assert_str_eq(
        stage_of(after, "worker-9")->public_key, "worker-9xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    for (const char *const *name = (const char *[]){"worker-1", "worker-3", NULL}; *name; name++) {
        cr_assert_eq(stage_of(after, *name)->layer_first, stage_of(&before, *name)->layer_first);
        cr_assert_eq(stage_of(after, *name)->layer_count, stage_of(&before, *name)->layer_count);
    }
    test_check_epochs();
}

Test(coordinator_plan, a_spare_that_is_much_better_elsewhere_goes_there)
{
    /* Three equal workers; the spare is four times as fast: more layers are worth the move. */
    mesh.options.stage_count = 3;
    mesh.options.batch_tokens = 1; /* bound by bandwidth */
    test_start();
    mesh.standby = true;
    mesh.gigabytes_per_s = 40;
    test_worker(9);
    mesh.standby = false;
    mesh.gigabytes_per_s = 10;
    test_serve(3);
    const uint32_t held = stage_of(test_plan(100), "worker-2")->layer_count;
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    cr_assert_gt(stage_of(test_plan(1), "worker-9")->layer_count, held);
    test_check_epochs();
}

Test(coordinator_plan, a_worker_lost_while_loading_is_replaced_at_once)
{
    uint64_t epoch;

    test_start();
    test_router(0);
    test_worker(1);
    test_worker(2);
    test_pass(300, NULL);
    epoch = test_plan(1)->epoch;
    test_status_of_stage(1, epoch, WIRE_STAGE_READY);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    cr_assert_eq(test_plan(1)->epoch, epoch + 1);
    cr_assert_eq(test_plan(1)->stage_count, 1);
    test_status_of_stage(1, epoch, WIRE_STAGE_READY); /* of the old plan */
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_PREPARE);
    test_status_of_stage(1, epoch + 1, WIRE_STAGE_READY);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
}

Test(coordinator_plan, a_spare_takes_over)
{
    mesh.options.stage_count = 2;
    test_start();
    mesh.standby = true;
    test_worker(3);
    mesh.standby = false;
    test_serve(2);
    cr_assert_not(test_plan_has(test_plan(100), 3));
    cr_assert(strstr(test_row(3)->reason, "standby"), "%s", test_row(3)->reason);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    cr_assert(test_plan_has(test_plan(100), 3));
    cr_assert_eq(test_plan(100)->stage_count, 2);
}

Test(coordinator_plan, no_placement_names_the_loss_and_a_join_cures_it)
{
    struct wire_plan plan;
    uint64_t layers_first;
    char expected[64];

    mesh.memory_bytes = 36 * MIB; /* 40 MiB of weights: two are needed */
    test_start();
    test_serve(2);
    plan = *test_plan(100);
    layers_first =
        test_stage_worker(&plan, 0) == 2 ? plan.stages[0].layer_first : plan.stages[1].layer_first;
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    plan = *test_plan(100);
    cr_assert_eq(plan.state, WIRE_PLAN_UNAVAILABLE);
    cr_assert_eq(plan.error.code, BASE_UNAVAILABLE);
    (void)snprintf(expected, sizeof(expected), "worker-2 with layers %d..", (int)layers_first);
    cr_assert(strstr(plan.error.text, expected), "%s", plan.error.text);
    cr_assert(strstr(plan.error.text, "remaining"), "%s", plan.error.text);
    cr_assert(strstr(plan.error.text, "bytes"), "%s", plan.error.text);
    cr_assert_str_eq(plan.error.node, "worker-2");
    (void)test_row(1);
    cr_assert_eq(mesh.status.plan_state, WIRE_PLAN_UNAVAILABLE);
    cr_assert_eq(mesh.status.error.code, BASE_UNAVAILABLE);
    /* A router that comes now learns it, too. */
    test_router(0);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_UNAVAILABLE);
    test_worker(3);
    cr_assert_eq(test_plan(3)->state, WIRE_PLAN_PREPARE);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}

Test(coordinator_plan, kv_is_halved_until_it_fits)
{
    mesh.options.kv_tokens = 65536;
    mesh.memory_bytes = 80 * MIB; /* 40 MiB of weights, 8 KiB of KV a position, buffers */
    test_start();
    test_serve(1);
    cr_assert_eq(test_plan(100)->page_count, 4096 / LIMIT_PAGE_TOKENS);
    cr_assert_eq(test_plan(100)->context_length, 4096);
}

Test(coordinator_plan, kv_does_not_go_below_its_floor)
{
    mesh.options.kv_tokens = 65536;
    mesh.memory_bytes = 46 * MIB;
    test_start();
    test_router(0);
    test_worker(1);
    test_pass(300, (uint64_t[]){100, 0});
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_UNAVAILABLE);
    cr_assert(
        strstr(test_plan(100)->error.text, "512 KV positions"), "%s", test_plan(100)->error.text);
}

Test(coordinator_plan, a_router_that_comes_late_gets_a_plan_of_its_own)
{
    uint64_t epoch;

    test_start();
    test_worker(1);
    test_worker(2);
    test_pass(300, NULL);
    epoch = test_plan(1)->epoch;
    cr_assert_str_eq(test_plan(1)->router_endpoint, "");
    test_all_ready();
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE); /* held: nobody to serve */
    test_router(0);
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE);
    cr_assert_gt(test_plan(1)->epoch, epoch);
    cr_assert_str_eq(test_plan(1)->router_endpoint, "inproc://router-0-100");
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}

Test(coordinator_plan, a_router_that_comes_while_workers_load_does_not_start_them_again)
{
    uint64_t epoch;

    test_start();
    test_worker(1);
    test_pass(300, NULL);
    epoch = test_plan(1)->epoch;
    test_router(0);
    cr_assert_eq(test_plan(1)->epoch, epoch);
    test_status_of_stage(1, epoch, WIRE_STAGE_READY);
    cr_assert_gt(test_plan(1)->epoch, epoch);
}

Test(coordinator_plan, only_one_router_is_active_and_the_next_takes_over)
{
    struct wire_plan before, after;

    test_start();
    test_serve(2);
    test_router(1);
    cr_assert_null(test_last(101, WIRE_PLAN));
    before = *test_plan(100);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 100);
    test_all_ready();
    after = *test_plan(101);
    cr_assert_eq(after.state, WIRE_PLAN_ACTIVE);
    cr_assert_gt(after.epoch, before.epoch);
    cr_assert_str_eq(after.router_node_id, "router-1");
    for (size_t i = 0; i < after.stage_count; i++)
        cr_assert_eq(after.stages[i].layer_first, before.stages[i].layer_first);
    test_check_epochs();
}

Test(coordinator_plan, a_router_that_reconnects_gets_the_plan_in_force_again)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    mesh.record_count = 0;
    test_register_full(150, WIRE_ROLE_ROUTER, "router-0", 100, epoch);
    cr_assert_eq(test_plan(150)->state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(test_plan(150)->epoch, epoch);
    /* A new process of that name needs new links. */
    test_register_full(151, WIRE_ROLE_ROUTER, "router-0", 555, 0);
    cr_assert_gt(coordinator_epoch(mesh.self), epoch);
    test_all_ready();
    cr_assert_eq(test_plan(151)->state, WIRE_PLAN_ACTIVE);
}

Test(coordinator_plan, a_stage_that_fails_is_excluded_until_it_registers_again)
{
    uint64_t epoch;

    test_start();
    test_router(0);
    for (uint64_t n = 1; n <= 3; n++)
        test_worker(n);
    test_pass(300, NULL);
    epoch = test_plan(1)->epoch;
    test_status_of_stage(2, epoch, WIRE_STAGE_FAILED);
    cr_assert_gt(test_plan(1)->epoch, epoch);
    cr_assert_not(test_plan_has(test_plan(1), 2));
    cr_assert(strstr(test_plan(1)->reason, "disk on fire"), "%s", test_plan(1)->reason);
    cr_assert(strstr(test_row(2)->reason, "disk on fire"), "%s", test_row(2)->reason);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_pass(10000, (uint64_t[]){1, 2, 3, 100, 0});
    cr_assert_not(test_plan_has(test_plan(1), 2));
    test_worker(2);
    cr_assert(test_plan_has(test_plan(1), 2));
}

Test(coordinator_plan, a_failure_while_the_old_plan_serves_does_not_stop_it)
{
    uint64_t epoch;

    test_start();
    test_serve(1);
    epoch = test_plan(100)->epoch;
    test_worker(2); /* gain: half the layers each */
    cr_assert_eq(test_plan(2)->state, WIRE_PLAN_PREPARE);
    test_status_of_stage(2, test_plan(2)->epoch, WIRE_STAGE_FAILED);
    (void)test_row(1);
    cr_assert_eq(mesh.status.plan_state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(mesh.status.plan_epoch, epoch);
    /* And a stage that fails in service is replaced. */
    test_worker(2);
    test_status_of_stage(1, epoch, WIRE_STAGE_FAILED);
    cr_assert_eq(test_plan(2)->stage_count, 1);
    cr_assert(test_plan_has(test_plan(2), 2));
}

Test(coordinator_plan, a_load_without_progress_has_failed)
{
    uint64_t epoch;

    test_start();
    test_router(0);
    test_worker(1);
    test_worker(2);
    test_pass(300, NULL);
    epoch = test_plan(1)->epoch;
    test_status_of_stage(1, epoch, WIRE_STAGE_READY);
    test_pass(59000, (uint64_t[]){1, 2, 100, 0});
    cr_assert_eq(test_plan(1)->epoch, epoch);
    test_pass(2000, (uint64_t[]){1, 2, 100, 0});
    cr_assert_gt(test_plan(1)->epoch, epoch);
    cr_assert_not(test_plan_has(test_plan(1), 2));
}

Test(coordinator_plan, a_plan_that_got_lost_is_sent_again)
{
    struct wire_message heartbeat;
    size_t count;

    test_start();
    test_router(0);
    test_worker(1);
    test_pass(300, NULL);
    count = test_count(1, WIRE_PLAN);
    heartbeat = test_heartbeat_of(1);
    heartbeat.heartbeat.plan_epoch = 0;
    mesh.now_ms += 1100;
    test_deliver(1, &heartbeat);
    cr_assert_eq(test_count(1, WIRE_PLAN), count + 1);
    test_deliver(1, &heartbeat);
    cr_assert_eq(test_count(1, WIRE_PLAN), count + 1); /* not at every heartbeat */
    /* The worker has it, but its READY got lost: asked again. */
    mesh.now_ms += 1100;
    test_heartbeat(1);
    cr_assert_eq(test_count(1, WIRE_PLAN), count + 2);
    test_all_ready();
    count = test_count(100, WIRE_PLAN);
    heartbeat = test_heartbeat_of(100);
    heartbeat.heartbeat.plan_epoch = 0;
    mesh.now_ms += 1100;
    test_deliver(100, &heartbeat);
    cr_assert_eq(test_count(100, WIRE_PLAN), count + 1);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    mesh.now_ms += 1100;
    test_heartbeat(100);
    test_heartbeat(1);
    cr_assert_eq(test_count(100, WIRE_PLAN), count + 1);
}

Test(coordinator_plan, a_join_with_gain_replaces_the_plan_while_the_old_one_serves)
{
    uint64_t epoch;

    test_start();
    test_serve(1);
    epoch = test_plan(100)->epoch;
    test_worker(2);
    cr_assert_eq(test_plan(2)->state, WIRE_PLAN_PREPARE);
    cr_assert_eq(test_plan(2)->stage_count, 2);
    cr_assert(strstr(test_plan(2)->reason, "worker-2 joined"), "%s", test_plan(2)->reason);
    (void)test_row(1);
    cr_assert_eq(mesh.status.plan_epoch, epoch);
    cr_assert_eq(mesh.status.plan_state, WIRE_PLAN_ACTIVE);
    test_all_ready();
    cr_assert_gt(test_plan(100)->epoch, epoch);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
}

Test(coordinator_plan, a_join_without_gain_changes_nothing_and_is_told_why)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    mesh.gigabytes_per_s = 0.01;
    test_worker(3);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    cr_assert_eq(test_row(3)->state, WIRE_WORKER_SPARE);
    cr_assert(strstr(test_row(3)->reason, "slowest stage would not get faster"), "%s",
        test_row(3)->reason);
}

Test(coordinator_plan, a_gain_below_the_minimum_is_not_taken)
{
    uint64_t epoch;

    mesh.options.min_gain = 0.9;
    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    test_worker(3);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    cr_assert(strstr(test_row(3)->reason, "gain of 90 %"), "%s", test_row(3)->reason);
}

Test(coordinator_plan, voluntary_changes_cool_down_and_are_made_up_for)
{
    uint64_t peers[] = {1, 2, 3, 100, 0}, epoch;

    test_start();
    test_serve(1);
    test_worker(2);
    test_all_ready();
    epoch = coordinator_epoch(mesh.self);
    test_worker(3);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    test_pass(59000, peers);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    test_pass(1000, peers);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch + 1);
    cr_assert_eq(test_plan(3)->stage_count, 3);
}

Test(coordinator_plan, losing_a_worker_of_the_coming_plan_only_keeps_the_old_one)
{
    uint64_t epoch;

    test_start();
    test_serve(1);
    epoch = test_plan(100)->epoch;
    test_worker(2);
    cr_assert_eq(test_plan(1)->state, WIRE_PLAN_PREPARE);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    (void)test_row(1);
    cr_assert_eq(mesh.status.plan_epoch, epoch);
    cr_assert_eq(mesh.status.plan_state, WIRE_PLAN_ACTIVE);
    cr_assert_eq(test_row(1)->state, WIRE_WORKER_READY);
}

Test(coordinator_plan, the_asked_number_of_stages_is_restored_by_a_join)
{
    mesh.options.stage_count = 2;
    mesh.options.min_gain = 0.99;
    test_start();
    test_serve(2);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    test_all_ready();
    cr_assert_eq(test_plan(100)->stage_count, 1);
    test_worker(3);
    test_all_ready();
    cr_assert_eq(test_plan(100)->stage_count, 2);
}

Test(coordinator_plan, everybody_lost_is_unavailable_and_recovers)
{
    test_start();
    test_serve(2);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_UNAVAILABLE);
    mesh.fingerprint = 0x1234; /* the mesh is empty: another model may come */
    test_worker(5);
    cr_assert_eq(test_plan(5)->fingerprint, 0x1234);
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
    test_check_epochs();
}
