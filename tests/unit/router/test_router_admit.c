#include <criterion/criterion.h>
#include <string.h>

#include "router_fixture.h"

TestSuite(router_admit);

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

Test(router_admit, prompts_that_cannot_run_are_refused)
{
    static uint32_t big[5000];
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 0, 4);
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 1, BASE_INVALID);
    request = fixture_generate(2, big, 641, 4);
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 2, BASE_TOO_BIG);
    request = fixture_generate(3, big, 640, 4);
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 3, BASE_TOO_BIG);
    uint32_t bad[2] = {1, FIXTURE_VOCAB};
    request = fixture_generate(4, bad, 2, 4);
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 4, BASE_INVALID);
    request = (struct wire_message){.kind = WIRE_GENERATE,
        .generate = {.request_id = 5,
            .prompt_kind = WIRE_PROMPT_TEXT,
            .text = {(const uint8_t *)"hello", 5}}};
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 5, BASE_INVALID);
    struct wire_logit_bias bias = {.token_id = FIXTURE_VOCAB, .bias = 1};
    request = fixture_generate(6, PROMPT, 4, 4);
    request.generate.sampling.logit_biases = &bias;
    request.generate.sampling.logit_bias_count = 1;
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 6, BASE_INVALID);
    cr_assert_eq(mesh->step_count, 0);

    fixture_plan(mesh, 2, 200);
    request = fixture_generate(7, big, 4096, 4);
    fixture_send(mesh, 1, &request);
    check_refused(mesh, 1, 7, BASE_TOO_BIG);
    fixture_destroy(mesh);
}

Test(router_admit, a_request_id_is_unique_on_its_connection_only)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 4);
    fixture_send(mesh, 1, &request);
    fixture_send(mesh, 2, &request);
    struct wire_message cancel = {.kind = WIRE_CANCEL, .cancel = {.request_id = 1}};
    fixture_send(mesh, 3, &cancel); /* nobody's */
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->id_count, 4);
    cr_assert_eq(fixture_answer_of(mesh, 2, 1)->id_count, 4);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->final_count, 1, "free again, so it is taken");
    fixture_send(mesh, 4, &request);
    fixture_send(mesh, 4, &request);
    check_refused(mesh, 4, 1, BASE_INVALID);
    fixture_destroy(mesh);
}

Test(router_admit, the_queue_is_bounded)
{
    struct router_options options = fixture_options();
    options.requests_running = 2;
    options.requests_waiting = 3;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    for (uint64_t i = 0; i < 7; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 20, 4);
        fixture_send(mesh, 1, &request);
    }
    check_refused(mesh, 1, 5, BASE_FULL);
    check_refused(mesh, 1, 6, BASE_FULL);
    fixture_run(mesh);
    for (uint64_t i = 0; i < 5; i++)
        cr_assert_eq(fixture_answer_of(mesh, 1, i)->id_count, 4);
    fixture_destroy(mesh);
}

Test(router_admit, score_must_ask_for_something)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 1);
    struct wire_message score = {
        .kind = WIRE_SCORE, .score = {.request_id = 1, .ids = PROMPT, .id_count = 20}};
    fixture_send(mesh, 1, &score);
    check_refused(mesh, 1, 1, BASE_INVALID);
    score.score = (struct wire_score){.request_id = 2, .want_logits = true};
    fixture_send(mesh, 1, &score);
    check_refused(mesh, 1, 2, BASE_INVALID);
    static uint32_t big[65];
    score.score =
        (struct wire_score){.request_id = 3, .want_logits = true, .ids = big, .id_count = 65};
    fixture_send(mesh, 1, &score);
    check_refused(mesh, 1, 3, BASE_TOO_BIG);
    score.score.request_id = 4;
    score.score.id_count = 64;
    fixture_send(mesh, 1, &score);
    fixture_run(mesh);
    cr_assert_eq(fixture_answer_of(mesh, 1, 4)->row_count, 1);
    fixture_destroy(mesh);
}
