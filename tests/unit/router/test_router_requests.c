#include <criterion/criterion.h>
#include <string.h>

#include "router_fixture.h"

TestSuite(router_requests);

static const uint32_t PROMPT[40] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

static void check_refused(struct fixture *mesh, uint64_t client, uint64_t request_id, int code)
{
    struct fixture_answer *answer = fixture_answer_of(mesh, client, request_id);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_ERROR);
    cr_assert_eq(answer->final.error.code, code, "%s", answer->final.error.text);
    cr_assert_neq(answer->final.error.text[0], 0);
    cr_assert_eq(answer->partial_count, 0);
}

Test(router_requests, length_is_bounded_by_pages_and_context)
{
    static uint32_t big[4095];
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 1);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 0);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->id_count, 44);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.finish_reason, WIRE_FINISH_LENGTH);
    fixture_plan(mesh, 2, 100);
    request = fixture_generate(2, big, 4090, 100);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->id_count, 6);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->final.finish_reason, WIRE_FINISH_LENGTH);
    fixture_destroy(mesh);
}

Test(router_requests, draining_finishes_what_runs_and_refuses_what_comes)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    struct wire_router_status status;
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    router_drain(mesh->router);
    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 2, BASE_UNAVAILABLE);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running, 1);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->id_count, 4);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    fixture_destroy(mesh);
}

Test(router_requests, stopping_ends_everything_with_a_reason)
{
    struct router_options options = fixture_options();
    options.requests_running = 1;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    for (uint64_t i = 0; i < 3; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 20, 40);
        fixture_send(mesh, 1, &request);
    }
    fixture_step_once(mesh);
    router_stop(mesh->router, mesh->now_us);
    for (uint64_t i = 0; i < 3; i++) {
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, i);
        cr_assert_eq(answer->final_count, 1);
        cr_assert_eq(answer->final.error.code, BASE_UNAVAILABLE);
        cr_assert_str_eq(answer->final.error.node, "router-a");
    }
    fixture_destroy(mesh);
}

Test(router_requests, cancel_frees_pages_on_the_stages)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 400);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 10; i++)
        fixture_step_once(mesh);
    struct wire_message cancel = {.kind = WIRE_CANCEL, .cancel = {.request_id = 1}};
    fixture_send(mesh, 1, &cancel);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_CANCELLED);
    cr_assert_eq(answer->final.completion_tokens, answer->id_count);
    fixture_send(mesh, 1, &cancel);
    cr_assert_eq(answer->final_count, 1);
    fixture_run(mesh);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_requests, a_deadline_ends_a_request_with_a_timeout)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 400);
    request.generate.deadline_ms = 50;
    fixture_send(mesh, 1, &request);
    fixture_wait_ms(mesh, 49);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 0);
    fixture_wait_ms(mesh, 1);
    check_refused(mesh, 1, 1, BASE_TIMEOUT);
    fixture_run(mesh);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_requests, silent_clients_lose_their_requests_pings_keep_them)
{
    struct router_options options = fixture_options();
    options.client_silence_ms = 1000;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 400);
    fixture_send(mesh, 1, &request);
    fixture_send(mesh, 2, &request);
    struct wire_message ping = {.kind = WIRE_PING};
    for (int i = 0; i < 4; i++) {
        fixture_wait_ms(mesh, 300);
        fixture_send(mesh, 2, &ping);
    }
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.finish_reason, WIRE_FINISH_CANCELLED);
    cr_assert_eq(fixture_answer_of(mesh, 2, 1)->final_count, 0);
    struct wire_router_status status;
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running, 1);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 2, 1)->final_count, 1);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_requests, a_client_that_went_away_frees_everything)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    for (uint64_t i = 0; i < 6; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 20, 100);
        fixture_send(mesh, i % 2, &request);
    }
    router_client_gone(mesh->router, mesh->now_us, 0);
    for (int i = 0; i < 5; i++)
        fixture_step_once(mesh);
    mesh->client_takes[1] = ROUTER_CLIENT_GONE; /* noticed by the next send */
    fixture_run(mesh);
    struct wire_router_status status;
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    for (uint64_t i = 0; i < 6; i++)
        cr_assert_eq(fixture_answer_of(mesh, i % 2, i)->final_count, 0);
    fixture_destroy(mesh);
}
