#include "base_alloc.h"
#include "test_coordinator_support.h"

TestSuite(coordinator_members, .init = test_init, .fini = test_end);

static struct wire_message register_of(const char *node_id)
{
    struct wire_message message = {
        .kind = WIRE_REGISTER,
        .register_ = {.protocol_version = 1, .min_version = 1, .role = WIRE_ROLE_ROUTER},
    };

    (void)snprintf(message.register_.node_id, LIMIT_NAME_BYTES, "%s", node_id);
    (void)snprintf(message.register_.data_endpoint, LIMIT_ENDPOINT_BYTES, "inproc://x");
    return message;
}

Test(coordinator_members, a_registration_is_answered_with_terms)
{
    const struct wire_registered *registered;

    test_start();
    test_worker(1);
    registered = &test_last(1, WIRE_REGISTERED)->registered;
    cr_assert_eq(registered->protocol_version, WIRE_PROTOCOL_VERSION);
    cr_assert_eq(registered->features, WIRE_FEATURE_TOP_LOGITS);
    cr_assert_eq(registered->heartbeat_interval_ms, 500);
    cr_assert_eq(registered->lease_ms, 2000);
    cr_assert_eq(registered->coordinator_incarnation, 77);
}

Test(coordinator_members, versions_that_do_not_meet_are_refused)
{
    struct wire_message message = register_of("r");

    test_start();
    message.register_.min_version = message.register_.protocol_version = 9;
    test_deliver(5, &message);
    cr_assert_eq(test_last(5, WIRE_ERROR)->error.code, BASE_UNSUPPORTED);
    cr_assert(strstr(test_last(5, WIRE_ERROR)->error.text, "9..9"));
    cr_assert_null(test_last(5, WIRE_REGISTERED));
    message.register_.min_version = 1;
    test_deliver(5, &message);
    cr_assert_eq(test_last(5, WIRE_REGISTERED)->registered.protocol_version, 1);
}

Test(coordinator_members, a_registration_without_name_endpoint_or_card_is_refused)
{
    struct wire_message message = register_of("");

    test_start();
    test_deliver(5, &message);
    cr_assert_eq(test_last(5, WIRE_ERROR)->error.code, BASE_INVALID);
    message = register_of("x");
    message.register_.data_endpoint[0] = '\0';
    test_deliver(6, &message);
    cr_assert_eq(test_last(6, WIRE_ERROR)->error.code, BASE_INVALID);
    message = register_of("x");
    message.register_.role = WIRE_ROLE_WORKER;
    test_deliver(7, &message);
    cr_assert_eq(test_last(7, WIRE_ERROR)->error.code, BASE_INVALID);
    message = register_of("x");
    message.register_.role = WIRE_ROLE_ADMIN;
    test_deliver(8, &message);
    cr_assert_eq(test_last(8, WIRE_ERROR)->error.code, BASE_UNSUPPORTED);
    message = register_of("x");
    message.register_.plan_epoch = UINT64_MAX;
    test_deliver(9, &message);
    cr_assert_eq(test_last(9, WIRE_ERROR)->error.code, BASE_INVALID);
    cr_assert_null(test_last(0, WIRE_REGISTERED));
}

Test(coordinator_members, another_model_is_refused_naming_both)
{
    const char *text;

    test_start();
    test_worker(1);
    mesh.fingerprint = 0xbeef;
    test_worker(2);
    cr_assert_eq(test_last(2, WIRE_ERROR)->error.code, BASE_INVALID);
    text = test_last(2, WIRE_ERROR)->error.text;
    cr_assert(strstr(text, "000000000000beef"), "%s", text);
    cr_assert(strstr(text, "000000000000abcd"), "%s", text);
    /* Once nobody with the first model is left, another one is welcome. */
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    test_worker(2);
    cr_assert_not_null(test_last(2, WIRE_REGISTERED));
}

Test(coordinator_members, another_type_of_cache_is_refused_naming_the_option)
{
    const char *text;

    test_start();
    test_worker(1);
    mesh.kv_type = 8;
    test_worker(2);
    cr_assert_eq(test_last(2, WIRE_ERROR)->error.code, BASE_INVALID);
    text = test_last(2, WIRE_ERROR)->error.text;
    cr_assert(strstr(text, "type 8, this mesh as 1"), "%s", text);
    cr_assert(strstr(text, "--kv-type"), "%s", text);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    test_worker(2);
    cr_assert_not_null(test_last(2, WIRE_REGISTERED));
}

Test(coordinator_members, strangers_are_told_to_register)
{
    struct wire_message suspect = {.kind = WIRE_SUSPECT};

    test_start();
    test_heartbeat(4);
    cr_assert_eq(test_last(4, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
    test_deliver(6, &suspect);
    cr_assert_eq(test_last(6, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
    test_status_of_stage(5, 1, WIRE_STAGE_READY);
    cr_assert_eq(test_last(5, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
    cr_assert_eq(coordinator_epoch(mesh.self), 0);
}

Test(coordinator_members, a_name_that_is_not_the_connections_is_refused)
{
    struct wire_message message;

    test_start();
    test_worker(1);
    test_worker(2);
    message = test_heartbeat_of(2);
    test_deliver(1, &message);
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
    message = test_heartbeat_of(1);
    message.heartbeat.incarnation = 5;
    test_deliver(1, &message);
    cr_assert_eq(test_count(1, WIRE_ERROR), 2);
    cr_assert_eq(test_count(1, WIRE_HEARTBEAT_ACK), 0);
    /* A second name on a connection is refused, too. */
    test_register_full(1, WIRE_ROLE_WORKER, "worker-9", 9, 0);
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_INVALID);
}

Test(coordinator_members, kinds_that_do_not_belong_here_are_answered_with_an_error)
{
    enum wire_kind kinds[] = {WIRE_STEP, WIRE_GENERATE, WIRE_PLAN, WIRE_REGISTERED, WIRE_PROBE};

    test_start();
    test_worker(1);
    test_router(0);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct wire_message message = {.kind = kinds[i]};

        test_deliver(1, &message);
        cr_assert_eq(test_count(1, WIRE_ERROR), i + 1);
        cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_INVALID);
    }
    test_deliver(1, &(struct wire_message){.kind = WIRE_SUSPECT});
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_INVALID);
    /* Errors are not answered. */
    mesh.record_count = 0;
    test_deliver(1, &(struct wire_message){.kind = WIRE_ERROR});
    cr_assert_eq(mesh.record_count, 0);
}

Test(coordinator_members, heartbeats_keep_the_lease_and_silence_ends_it)
{
    test_start();
    test_worker(1);
    test_worker(2);
    test_pass(5000, (uint64_t[]){1, 0});
    cr_assert_eq(test_last(1, WIRE_HEARTBEAT_ACK)->heartbeat_ack.coordinator_incarnation, 77);
    cr_assert_neq(test_row(1)->state, WIRE_WORKER_LOST);
    cr_assert_eq(test_row(2)->state, WIRE_WORKER_LOST);
    cr_assert(strstr(test_row(2)->reason, "silent"), "%s", test_row(2)->reason);
    test_heartbeat(2);
    cr_assert_eq(test_last(2, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
    test_worker(2);
    cr_assert_neq(test_row(2)->state, WIRE_WORKER_LOST);
}

Test(coordinator_members, the_lease_ends_at_the_tick_that_was_asked_for)
{
    test_start();
    test_worker(1);
    mesh.now_ms += 2000;
    coordinator_tick(mesh.self, mesh.now_ms);
    cr_assert_neq(test_row(1)->state, WIRE_WORKER_LOST);
    cr_assert_leq(coordinator_next_tick_ms(mesh.self), mesh.now_ms + 1);
    mesh.now_ms = coordinator_next_tick_ms(mesh.self);
    coordinator_tick(mesh.self, mesh.now_ms);
    cr_assert_eq(test_row(1)->state, WIRE_WORKER_LOST);
}

Test(coordinator_members, rows_of_the_lost_go_after_a_minute)
{
    test_start();
    test_worker(1);
    test_worker(2);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    test_pass(59000, (uint64_t[]){1, 0});
    cr_assert_not_null(test_row(2));
    test_pass(2000, (uint64_t[]){1, 0});
    cr_assert_null(test_row(2));
}

Test(coordinator_members, the_same_process_on_a_new_connection_keeps_its_place)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    test_register_full(41, WIRE_ROLE_WORKER, "worker-1", 1, epoch);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    cr_assert_eq(test_plan(41)->state, WIRE_PLAN_ACTIVE);
    /* The old connection is nobody now. */
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    cr_assert_eq(coordinator_epoch(mesh.self), epoch);
    test_deliver(1, &(struct wire_message){.kind = WIRE_GOODBYE});
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_NOT_FOUND);
}

Test(coordinator_members, a_restarted_process_takes_its_name_over)
{
    uint64_t epoch;

    test_start();
    test_serve(2);
    epoch = coordinator_epoch(mesh.self);
    test_register_full(41, WIRE_ROLE_WORKER, "worker-1", 1001, 0);
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_STALE);
    cr_assert_gt(coordinator_epoch(mesh.self), epoch);
    cr_assert_eq(test_plan(41)->state, WIRE_PLAN_PREPARE);
    cr_assert(test_plan_has(test_plan(41), 1001));
    cr_assert(strstr(test_plan(41)->reason, "restarted"), "%s", test_plan(41)->reason);
    /* The old process cannot take it back. */
    test_worker(1);
    cr_assert_eq(test_last(1, WIRE_ERROR)->error.code, BASE_DENIED);
    test_check_epochs();
}

Test(coordinator_members, tables_are_bounded)
{
    test_start();
    for (uint64_t n = 1; n <= LIMIT_WORKERS_MAX + 1; n++)
        test_worker(n);
    cr_assert_eq(test_last(LIMIT_WORKERS_MAX + 1, WIRE_ERROR)->error.code, BASE_FULL);
    for (uint64_t n = 0; n <= LIMIT_ROUTERS_MAX; n++)
        test_router(n);
    cr_assert_eq(test_last(100 + LIMIT_ROUTERS_MAX, WIRE_ERROR)->error.code, BASE_FULL);
    /* A lost one makes room at once. */
    coordinator_peer_gone(mesh.self, mesh.now_ms, 3);
    test_worker(LIMIT_WORKERS_MAX + 1);
    cr_assert_not_null(test_last(LIMIT_WORKERS_MAX + 1, WIRE_REGISTERED));
}

Test(coordinator_members, probes_go_to_everybody_who_is_there)
{
    test_start();
    test_worker(1);
    test_worker(2);
    test_router(0);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    coordinator_probe(mesh.self);
    cr_assert_eq(test_count(1, WIRE_PROBE), 1);
    cr_assert_eq(test_count(2, WIRE_PROBE), 0);
    cr_assert_eq(test_count(100, WIRE_PROBE), 1);
}

Test(coordinator_members, memory_failure_at_the_start_is_an_error)
{
    struct coordinator_sink sink = {&mesh, test_send};
    struct coordinator *other = NULL;

    test_start();
    base_alloc_fail_from(1);
    cr_assert_eq(coordinator_new(&mesh.options, &sink, &other), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(other);
}
