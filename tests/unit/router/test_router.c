#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "router_fixture.h"

TestSuite(router);

static const uint32_t PROMPT[40] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

static int count_kind(const struct fixture *mesh, enum wire_kind kind)
{
    int count = 0;
    for (size_t i = 0; i < mesh->coordinator_count; i++)
        count += mesh->coordinator[i].kind == kind;
    return count;
}

static void registered(struct fixture *mesh, uint64_t incarnation, uint32_t interval_ms)
{
    struct wire_message message = {.kind = WIRE_REGISTERED,
        .registered = {.protocol_version = 1,
            .heartbeat_interval_ms = interval_ms,
            .lease_ms = 2000,
            .coordinator_incarnation = incarnation}};
    router_coordinator_message(mesh->router, mesh->now_us, &message);
}

Test(router, registers_until_it_is_answered)
{
    struct router_options options = fixture_options();
    options.pid = 42;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_wait_ms(mesh, 2500);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 3);
    const struct wire_register *body = &mesh->coordinator[0].register_;
    cr_assert_eq(body->role, WIRE_ROLE_ROUTER);
    cr_assert_str_eq(body->node_id, "router-a");
    cr_assert_str_eq(body->data_endpoint, "inproc://router");
    cr_assert_eq(body->incarnation, 11);
    cr_assert_eq(body->pid, 42);
    cr_assert_eq(count_kind(mesh, WIRE_HEARTBEAT), 0);
    registered(mesh, 5, 100);
    fixture_wait_ms(mesh, 1000);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 3);
    cr_assert_eq(count_kind(mesh, WIRE_HEARTBEAT), 11);
    fixture_destroy(mesh);
}

Test(router, registers_again_with_a_coordinator_that_does_not_know_it)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 9, 4);
    fixture_wait_ms(mesh, 1);
    registered(mesh, 5, 100);
    struct wire_message error = {.kind = WIRE_ERROR, .error = {.code = BASE_NOT_FOUND}};
    router_coordinator_message(mesh->router, mesh->now_us, &error);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 2);
    cr_assert_eq(mesh->coordinator[1].register_.plan_epoch, 9, "so that epochs go on from there");
    router_coordinator_message(mesh->router, mesh->now_us, &error);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 2, "one is under way already");
    registered(mesh, 6, 100);
    struct wire_message ack = {
        .kind = WIRE_HEARTBEAT_ACK, .heartbeat_ack = {.coordinator_incarnation = 6}};
    router_coordinator_message(mesh->router, mesh->now_us, &ack);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 2);
    ack.heartbeat_ack.coordinator_incarnation = 7;
    router_coordinator_message(mesh->router, mesh->now_us, &ack);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 3);
    router_coordinator_connected(mesh->router, mesh->now_us);
    cr_assert_eq(count_kind(mesh, WIRE_REGISTER), 4);
    fixture_destroy(mesh);
}

Test(router, heartbeats_and_status_tell_what_is_running)
{
    struct router_options options = fixture_options();
    options.requests_running = 2;
    struct fixture *mesh = fixture_new(&options, NULL);
    struct wire_message query = {.kind = WIRE_ROUTER_STATUS_QUERY};
    fixture_send(mesh, 1, &query);
    cr_assert_not(mesh->status.ready);
    fixture_plan(mesh, 9, 10);
    for (uint64_t i = 0; i < 5; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 20, 4);
        fixture_send(mesh, 1, &request);
    }
    fixture_send(mesh, 1, &query);
    cr_assert_eq(mesh->status_count, 2);
    cr_assert(mesh->status.ready);
    cr_assert_eq(mesh->status.plan_epoch, 9);
    cr_assert_eq(mesh->status.requests_running, 2);
    cr_assert_eq(mesh->status.requests_waiting, 3);
    cr_assert_eq(mesh->status.kv_pages_used, 2);
    cr_assert_eq(mesh->status.kv_pages_total, 10);
    fixture_wait_ms(mesh, 1);
    registered(mesh, 5, 100);
    fixture_wait_ms(mesh, 1);
    const struct wire_heartbeat *beat = &mesh->coordinator[mesh->coordinator_count - 1].heartbeat;
    cr_assert_eq(count_kind(mesh, WIRE_HEARTBEAT), 1);
    cr_assert_eq(beat->requests_running, 2);
    cr_assert_eq(beat->requests_waiting, 3);
    cr_assert_eq(beat->plan_epoch, 9);
    fixture_run(mesh);
    fixture_send(mesh, 1, &query);
    cr_assert_eq(mesh->status.requests_running + mesh->status.requests_waiting, 0);
    fixture_destroy(mesh);
}

Test(router, messages_that_do_not_belong_here_change_nothing)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 9, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    for (int kind = 1; kind < 80; kind++) {
        struct wire_message message = {.kind = (enum wire_kind)kind};
        if (kind == WIRE_PLAN || kind == WIRE_RESULT || kind == WIRE_STEP_ERROR)
            continue;
        router_coordinator_message(mesh->router, mesh->now_us, &message);
        (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
        if (kind != WIRE_GENERATE && kind != WIRE_SCORE)
            fixture_send(mesh, 1, &message);
    }
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 1);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->id_count, 4);
    fixture_destroy(mesh);
}

Test(router, options_out_of_range_are_refused)
{
    struct router *router = NULL;
    struct router_sink sink = {0};
    struct router_options options = fixture_options();
    options.batch_tokens = 0;
    cr_assert_eq(router_new(&options, &sink, NULL, &router), BASE_INVALID);
    options = fixture_options();
    options.requests_running = LIMIT_REQUESTS_RUNNING + 1;
    cr_assert_eq(router_new(&options, &sink, NULL, &router), BASE_INVALID);
    options = fixture_options();
    options.requests_waiting = LIMIT_REQUESTS_WAITING + 1;
    cr_assert_eq(router_new(&options, &sink, NULL, &router), BASE_INVALID);
}

Test(router, every_failing_allocation_of_the_constructor_is_reported)
{
    struct router *router = NULL;
    struct router_sink sink = {0};
    struct router_options options = fixture_options();
    unsigned long n = 1;
    for (;; n++) {
        base_alloc_fail_from(n);
        int rc = router_new(&options, &sink, NULL, &router);
        base_alloc_fail_from(0);
        if (rc == BASE_OK)
            break;
        cr_assert_eq(rc, BASE_NOMEM);
        cr_assert_lt(n, 50);
    }
    cr_assert_gt(n, 3);
    router_destroy(&router);
}

/* Memory fails at every point of a request's life; the router must answer and go on. */
Test(router, failing_allocations_end_requests_not_the_router)
{
    for (unsigned long n = 1; n < 60; n++) {
        struct router_options options = fixture_options();
        struct fixture *mesh = fixture_new(&options, NULL);
        fixture_plan(mesh, 1, 10);
        struct wire_message request = fixture_generate(1, PROMPT, 20, 100);
        fixture_send(mesh, 2, &request);
        fixture_step_once(mesh);
        mesh->link_full = true; /* keeps the fixture itself from allocating */
        base_alloc_fail_from(n);
        request.generate.request_id = 2;
        fixture_send(mesh, 2, &request);
        router_tick(mesh->router, mesh->now_us);
        base_alloc_fail_from(0);
        mesh->link_full = false;
        fixture_wait_ms(mesh, 20);
        fixture_run(mesh);
        cr_assert_eq(fixture_answer_of(mesh, 2, 1)->final_count, 1);
        cr_assert_eq(fixture_answer_of(mesh, 2, 2)->final_count, 1);
        cr_assert_eq(fixture_pages_used(mesh), 0);
        fixture_destroy(mesh);
    }
}
