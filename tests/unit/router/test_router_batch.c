#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "router_fixture.h"

TestSuite(router_batch);

static const uint32_t PROMPT[200] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

static void check_greedy(struct fixture *mesh, uint64_t client, uint64_t request_id,
    const uint32_t *ids, size_t count, uint32_t wanted)
{
    uint32_t expected[FIXTURE_TOKENS];
    struct fixture_answer *answer = fixture_answer_of(mesh, client, request_id);
    fixture_greedy(ids, count, wanted, expected);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_LENGTH);
    cr_assert_eq(answer->id_count, wanted);
    for (uint32_t i = 0; i < wanted; i++)
        cr_assert_eq(answer->ids[i], expected[i], "token %u of request %llu", i,
            (unsigned long long)request_id);
    cr_assert_eq(answer->final.completion_tokens, wanted);
    cr_assert_eq(answer->final.prompt_tokens, count);
}

Test(router_batch, one_request_runs_to_its_length_and_gives_its_pages_back)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(7, PROMPT, 20, 60);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    check_greedy(mesh, 1, 7, PROMPT, 20, 60);
    cr_assert_eq(fixture_pages_used(mesh), 0, "an empty step told the stages");
    fixture_destroy(mesh);
}

Test(router_batch, chunks_of_a_long_prompt_are_in_flight_together)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(7, PROMPT, 200, 5);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->step_count, 2, "one stage: two micro-batches in flight");
    cr_assert_eq(mesh->steps[0].step.token_count, 96);
    cr_assert_eq(mesh->steps[0].step.sequences[0].logits, WIRE_LOGITS_NONE);
    cr_assert_eq(mesh->steps[1].step.sequences[0].first_position, 96);
    cr_assert_eq(mesh->steps[1].step.batch_id, mesh->steps[0].step.batch_id + 1);
    fixture_run(mesh);
    check_greedy(mesh, 1, 7, PROMPT, 200, 5);
    fixture_destroy(mesh);
}

Test(router_batch, one_stage_decodes_all_sequences_in_one_micro_batch)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 16);
    for (uint32_t i = 0; i < 8; i++) {
        struct wire_message request = fixture_generate(i, PROMPT + i, 5, 10);
        fixture_send(mesh, 1, &request);
    }
    /* The prompts of the first two came as two micro-batches; they end up in one group. */
    for (int i = 0; i < 6; i++)
        cr_assert(fixture_step_once(mesh));
    cr_assert_eq(mesh->step_count, 1);
    cr_assert_eq(mesh->steps[0].step.sequence_count, 8);
    fixture_run(mesh);
    for (uint32_t i = 0; i < 8; i++)
        check_greedy(mesh, 1, i, PROMPT + i, 5, 10);
    fixture_destroy(mesh);
}

Test(router_batch, many_requests_give_what_each_gives_alone)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 12); /* too few for all: some give way */
    for (uint32_t i = 0; i < 32; i++) {
        struct wire_message request =
            fixture_generate(i, PROMPT + i, 5 + (i * 37) % 150, 10 + (i * 13) % 90);
        fixture_send(mesh, i % 4, &request);
    }
    fixture_run(mesh);
    for (uint32_t i = 0; i < 32; i++)
        check_greedy(mesh, i % 4, i, PROMPT + i, 5 + (i * 37) % 150, 10 + (i * 13) % 90);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_batch, a_full_link_is_tried_again_by_the_clock)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    mesh->link_full = true;
    struct wire_message request = fixture_generate(7, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->step_count, 0);
    mesh->link_full = false;
    fixture_wait_ms(mesh, 20);
    cr_assert_eq(mesh->step_count, 1);
    fixture_run(mesh);
    check_greedy(mesh, 1, 7, PROMPT, 20, 4);
    fixture_destroy(mesh);
}

Test(router_batch, a_step_lost_before_others_is_noticed_and_repeated)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(7, PROMPT, 200, 8);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->step_count, 2);
    fixture_lose(mesh);
    fixture_run(mesh);
    check_greedy(mesh, 1, 7, PROMPT, 200, 8);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_batch, releases_in_a_lost_step_are_told_again)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 1);
    fixture_send(mesh, 1, &request);
    fixture_step_once(mesh);
    cr_assert_eq(mesh->step_count, 1);
    cr_assert_eq(mesh->steps[0].step.sequence_count, 0);
    fixture_lose(mesh);
    cr_assert_eq(fixture_pages_used(mesh), 1);
    request = fixture_generate(2, PROMPT, 100, 3);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    check_greedy(mesh, 1, 2, PROMPT, 100, 3);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_batch, a_late_step_makes_its_stage_suspect_again_and_again)
{
    struct router_options options = fixture_options();
    options.client_silence_ms = 100000;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 3, 8);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    fixture_wait_ms(mesh, 2999);
    for (size_t i = 0; i < mesh->coordinator_count; i++)
        cr_assert_neq(mesh->coordinator[i].kind, WIRE_SUSPECT);
    fixture_wait_ms(mesh, 3100);
    int suspects = 0;
    for (size_t i = 0; i < mesh->coordinator_count; i++) {
        if (mesh->coordinator[i].kind != WIRE_SUSPECT)
            continue;
        suspects++;
        cr_assert_eq(mesh->coordinator[i].suspect.epoch, 3);
        cr_assert_eq(mesh->coordinator[i].suspect.batch_id, mesh->steps[0].step.batch_id);
        cr_assert_geq(mesh->coordinator[i].suspect.waited_ms, 3000);
    }
    cr_assert_eq(suspects, 2);
    fixture_run(mesh);
    check_greedy(mesh, 1, 1, PROMPT, 20, 4);
    fixture_destroy(mesh);
}

Test(router_batch, a_step_that_never_returns_is_repeated_and_then_given_up)
{
    struct router_options options = fixture_options();
    options.client_silence_ms = 100000;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 3, 8);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    fixture_lose(mesh);
    fixture_wait_ms(mesh, 9100);
    cr_assert_eq(mesh->step_count, 0, "the coordinator may still find out what happened");
    fixture_wait_ms(mesh, 3100);
    cr_assert_eq(mesh->step_count, 1, "but it is silent: sent again");
    fixture_run(mesh);
    check_greedy(mesh, 1, 1, PROMPT, 20, 4);

    request = fixture_generate(2, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 100; i++) {
        while (mesh->step_count > 0)
            fixture_lose(mesh);
        fixture_wait_ms(mesh, 500);
    }
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 2);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_ERROR);
    cr_assert_eq(answer->final.error.code, BASE_TIMEOUT);
    fixture_destroy(mesh);
}

static void step_error(struct fixture *mesh, int code)
{
    struct wire_message message = {.kind = WIRE_STEP_ERROR,
        .step_error = {.epoch = mesh->steps[0].step.epoch,
            .batch_id = mesh->steps[0].step.batch_id,
            .error = {.code = code, .text = "why", .node = "worker-z"}}};
    fixture_lose(mesh);
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
}

Test(router_batch, a_stage_that_is_not_ready_is_asked_again)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 100);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 20; i++) {
        step_error(mesh, BASE_STALE);
        cr_assert_eq(mesh->step_count, 0, "not at once");
        fixture_wait_ms(mesh, 60);
        cr_assert_eq(mesh->step_count, 1);
    }
    fixture_run(mesh);
    check_greedy(mesh, 1, 1, PROMPT, 20, 4);
    fixture_destroy(mesh);
}

Test(router_batch, an_invalid_step_fails_its_requests_at_the_second_time_only)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    step_error(mesh, BASE_INVALID);
    cr_assert_eq(mesh->step_count, 1);
    fixture_run(mesh);
    check_greedy(mesh, 1, 1, PROMPT, 20, 4);

    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    step_error(mesh, BASE_INVALID);
    step_error(mesh, BASE_INVALID);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 2);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.error.code, BASE_INVALID);
    cr_assert_str_eq(answer->final.error.node, "worker-z");
    bool told = false;
    for (size_t i = 0; i < mesh->coordinator_count; i++)
        told = told || mesh->coordinator[i].kind == WIRE_SUSPECT;
    cr_assert(told);
    fixture_destroy(mesh);
}

Test(router_batch, errors_and_results_of_other_epochs_and_batches_are_ignored)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 5, 8);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    struct wire_message message = {.kind = WIRE_STEP_ERROR,
        .step_error = {.epoch = 4, .batch_id = 1, .error = {.code = BASE_INVALID}}};
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
    message.step_error.epoch = 5;
    message.step_error.batch_id = 999;
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
    message = (struct wire_message){.kind = WIRE_RESULT, .result = {.epoch = 5, .batch_id = 99}};
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
    message.result = (struct wire_result){.epoch = 4, .batch_id = 1};
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, NULL, 0);
    cr_assert_eq(mesh->step_count, 1);
    fixture_run(mesh);
    check_greedy(mesh, 1, 1, PROMPT, 20, 4);
    fixture_destroy(mesh);
}
