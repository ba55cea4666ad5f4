#include <criterion/criterion.h>
#include <string.h>

#include "router_fixture.h"

TestSuite(router_plan);

static const uint32_t PROMPT[40] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

static void check_greedy(struct fixture *mesh, uint64_t request_id, size_t count, uint32_t wanted)
{
    uint32_t expected[FIXTURE_TOKENS];
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, request_id);
    fixture_greedy(PROMPT, count, wanted, expected);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->id_count, wanted);
    cr_assert_eq(memcmp(answer->ids, expected, wanted * sizeof(*expected)), 0);
}

Test(router_plan, requests_wait_for_a_plan_but_not_for_ever)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    fixture_wait_ms(mesh, 3000);
    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    fixture_wait_ms(mesh, 1100);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.error.code, BASE_UNAVAILABLE);
    fixture_plan(mesh, 1, 10);
    fixture_run(mesh);
    check_greedy(mesh, 2, 20, 4);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->final.resume_count, 0);
    fixture_destroy(mesh);
}

Test(router_plan, a_prompt_that_does_not_fit_the_first_plan_fails_then)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    uint32_t bad[2] = {1, FIXTURE_VOCAB};
    struct wire_message request = fixture_generate(1, bad, 2, 4);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 0);
    fixture_plan(mesh, 1, 10);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.error.code, BASE_INVALID);
    fixture_destroy(mesh);
}

Test(router_plan, requests_go_on_from_their_log_on_a_new_plan)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    cr_assert_eq(mesh->linked_epoch, 1);
    cr_assert_str_eq(mesh->linked_endpoint, "inproc://z");
    for (uint64_t i = 0; i < 5; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 10 + i, 50);
        fixture_send(mesh, 1, &request);
    }
    for (uint64_t epoch = 2; epoch < 9; epoch++) {
        for (uint64_t i = 0; i < epoch * 2; i++)
            fixture_step_once(mesh);
        fixture_plan_state(mesh, epoch * 2, WIRE_PLAN_PREPARE, NULL);
        fixture_step_once(mesh);
        fixture_plan(mesh, epoch * 2, (uint32_t)(3 + epoch % 5));
        cr_assert_eq(mesh->linked_epoch, epoch * 2);
    }
    fixture_run(mesh);
    for (uint64_t i = 0; i < 5; i++) {
        check_greedy(mesh, i, 10 + i, 50);
        cr_assert_eq(fixture_answer_of(mesh, 1, i)->final.resume_count > 0, true);
    }
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_plan, older_and_repeated_plans_change_nothing)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 5, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 20);
    fixture_send(mesh, 1, &request);
    fixture_step_once(mesh);
    uint64_t steps = mesh->steps_sent;
    struct wire_stage stage = {.node_id = "w", .layer_count = SIM_LAYERS, .endpoint = "inproc://o"};
    struct wire_message plan = {.kind = WIRE_PLAN,
        .plan = {.epoch = 4,
            .state = WIRE_PLAN_ACTIVE,
            .stages = &stage,
            .stage_count = 1,
            .router_node_id = "router-a",
            .page_tokens = LIMIT_PAGE_TOKENS,
            .page_count = 10,
            .context_length = 100,
            .vocab_size = FIXTURE_VOCAB}};
    router_coordinator_message(mesh->router, mesh->now_us, &plan);
    plan.plan.epoch = 5;
    router_coordinator_message(mesh->router, mesh->now_us, &plan);
    cr_assert_str_eq(mesh->linked_endpoint, "inproc://z");
    cr_assert_eq(mesh->steps_sent, steps);
    fixture_plan_state(mesh, 4, WIRE_PLAN_UNAVAILABLE, "w");
    fixture_run(mesh);
    check_greedy(mesh, 1, 10, 20);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.resume_count, 0);
    fixture_destroy(mesh);
}

Test(router_plan, unavailable_fails_everything_with_the_lost_hop_until_the_next_plan)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 20);
    fixture_send(mesh, 1, &request);
    fixture_step_once(mesh);
    fixture_plan_state(mesh, 2, WIRE_PLAN_UNAVAILABLE, "worker-q");
    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    for (uint64_t id = 1; id <= 2; id++) {
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, id);
        cr_assert_eq(answer->final_count, 1);
        cr_assert_eq(answer->final.error.code, BASE_UNAVAILABLE);
        cr_assert_str_eq(answer->final.error.node, "worker-q");
    }
    cr_assert_not(mesh->is_linked);
    fixture_plan(mesh, 3, 10);
    request.generate.request_id = 3;
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    check_greedy(mesh, 3, 10, 20);
    fixture_destroy(mesh);
}

Test(router_plan, a_smaller_plan_ends_what_does_not_fit_with_a_reason)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 200);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 100; i++)
        fixture_step_once(mesh);
    fixture_plan(mesh, 2, 1);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.error.code, BASE_UNAVAILABLE);
    cr_assert_eq(answer->id_count, 100, "what was said stays said");
    cr_assert(
        strstr(answer->final.error.text, "worker-q was lost"), "%s", answer->final.error.text);
    fixture_destroy(mesh);
}

/* A short answer under a plan with less room would pass for a whole one. */
Test(router_plan, a_smaller_plan_ends_an_answer_that_outgrows_it_with_a_reason)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 200);
    fixture_send(mesh, 1, &request);
    request = fixture_generate(2, PROMPT, 10, 60);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 10; i++)
        fixture_step_once(mesh);
    fixture_plan(mesh, 2, 2);
    fixture_run(mesh);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.error.code, BASE_UNAVAILABLE);
    cr_assert_eq(answer->id_count, 128 - 10);
    cr_assert(
        strstr(answer->final.error.text, "worker-q was lost"), "%s", answer->final.error.text);
    check_greedy(mesh, 2, 10, 60);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->final.finish_reason, WIRE_FINISH_LENGTH);
    fixture_destroy(mesh);
}

Test(router_plan, a_larger_plan_makes_no_answer_longer)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 1);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 200);
    fixture_send(mesh, 1, &request);
    fixture_step_once(mesh);
    fixture_plan(mesh, 2, 10);
    fixture_run(mesh);
    check_greedy(mesh, 1, 10, 64 - 10);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.finish_reason, WIRE_FINISH_LENGTH);
    fixture_destroy(mesh);
}

Test(router_plan, only_a_plan_for_this_router_is_served)
{
    struct router_options options = fixture_options();
    memcpy(options.node_id, "router-b", 9);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    cr_assert_not(mesh->is_linked);
    struct wire_message request = fixture_generate(1, PROMPT, 10, 20);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->step_count, 0);
    fixture_wait_ms(mesh, 4100);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.error.code, BASE_UNAVAILABLE);
    fixture_destroy(mesh);
}

Test(router_plan, a_plan_of_another_page_size_is_not_served)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    struct wire_stage stage = {.node_id = "w", .layer_count = SIM_LAYERS, .endpoint = "inproc://o"};
    struct wire_message plan = {.kind = WIRE_PLAN,
        .plan = {.epoch = 4,
            .state = WIRE_PLAN_ACTIVE,
            .stages = &stage,
            .stage_count = 1,
            .router_node_id = "router-a",
            .page_tokens = 32,
            .page_count = 10,
            .context_length = 100,
            .vocab_size = FIXTURE_VOCAB}};
    struct wire_message request = fixture_generate(1, PROMPT, 10, 20);
    fixture_send(mesh, 1, &request);
    router_coordinator_message(mesh->router, mesh->now_us, &plan);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final.error.code, BASE_INVALID);
    fixture_destroy(mesh);
}
