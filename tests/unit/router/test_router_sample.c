#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base_alloc.h"
#include "base_bytes.h"
#include "gguf.h"
#include "router_fixture.h"
#include "text_sampler.h"
#include "text_tokenizer.h"

TestSuite(router_sample);

static const uint32_t PROMPT[64] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};

/* What sampling from full rows gives, without any cluster. */
static void sample_alone(
    const struct text_sampling *sampling, size_t count, uint32_t wanted, uint32_t *ret)
{
    uint32_t log[256];
    uint64_t hashes[256];
    struct text_candidate candidates[FIXTURE_VOCAB];
    memcpy(log, PROMPT, count * 4);
    for (uint32_t i = 0; i < wanted; i++) {
        sim_log_hashes(log, (uint32_t)count, hashes);
        for (uint32_t id = 0; id < FIXTURE_VOCAB; id++)
            candidates[id] = (struct text_candidate){id, sim_logit(hashes[count - 1], id)};
        ret[i] = text_sample(sampling, candidates, FIXTURE_VOCAB, log, count, NULL, 0, count);
        log[count++] = ret[i];
    }
}

Test(router_sample, seeded_sampling_is_a_function_of_log_and_seed)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    struct wire_sampling wire[4] = {{.temperature = 0.8f, .seed = 1},
        {.temperature = 1.5f, .top_k = 8, .seed = 2},
        {.temperature = 1.0f, .top_p = 0.9f, .min_p = 0.01f, .seed = 3},
        {.temperature = 1.0f, .top_k = 5, .repeat_penalty = 1.3f, .seed = 4}};
    for (uint64_t i = 0; i < 4; i++) {
        struct wire_message request = fixture_generate(i, PROMPT, 20, 60);
        request.generate.sampling = wire[i];
        fixture_send(mesh, 1, &request);
    }
    for (int i = 0; i < 30; i++)
        fixture_step_once(mesh);
    fixture_plan(mesh, 2, 20);
    fixture_run(mesh);
    for (uint64_t i = 0; i < 4; i++) {
        struct text_sampling sampling = {.temperature = wire[i].temperature,
            .top_k = wire[i].top_k,
            .top_p = wire[i].top_p,
            .min_p = wire[i].min_p,
            .repeat_penalty = wire[i].repeat_penalty,
            .seed = wire[i].seed};
        uint32_t expected[60];
        sample_alone(&sampling, 20, 60, expected);
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, i);
        cr_assert_eq(answer->id_count, 60);
        cr_assert_eq(memcmp(answer->ids, expected, sizeof(expected)), 0, "request %llu",
            (unsigned long long)i);
    }
    fixture_destroy(mesh);
}

Test(router_sample, greedy_asks_for_as_few_logits_as_it_needs)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    struct wire_message request = fixture_generate(1, PROMPT, 20, 3);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->steps[0].step.sequences[0].logits, WIRE_LOGITS_TOP);
    cr_assert_eq(mesh->steps[0].step.sequences[0].top_count, 1);
    fixture_run(mesh);
    request.generate.request_id = 2;
    request.generate.sampling.top_logprobs = 5;
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->steps[0].step.sequences[0].top_count, 5);
    fixture_run(mesh);
    request.generate.request_id = 3;
    request.generate.sampling.temperature = 1.0f;
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->steps[0].step.sequences[0].logits, WIRE_LOGITS_FULL);
    fixture_run(mesh);

    uint64_t hashes[64];
    sim_log_hashes(PROMPT, 20, hashes);
    for (uint64_t id = 2; id <= 3; id++) {
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, id);
        cr_assert_eq(answer->top_count, 5);
        for (size_t k = 1; k < 5; k++)
            cr_assert_leq(answer->top[k].logprob, answer->top[k - 1].logprob);
        float expected =
            sim_logit(hashes[19], answer->ids[0]) - sim_log_sum_exp(hashes[19], FIXTURE_VOCAB);
        cr_assert_eq(answer->logprobs[0], expected);
    }
    cr_assert_eq(
        fixture_answer_of(mesh, 1, 2)->top[0].token_id, fixture_answer_of(mesh, 1, 2)->ids[2]);
    fixture_destroy(mesh);
}

Test(router_sample, score_of_the_last_position_and_logprobs)
{
    struct router_options options = fixture_options();
    options.batch_tokens = 7;
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 20);
    struct wire_message score = {.kind = WIRE_SCORE,
        .score = {.request_id = 1, .ids = PROMPT, .id_count = 40, .want_logits = true}};
    fixture_send(mesh, 1, &score);
    score.score.request_id = 2;
    score.score.want_logprobs = true;
    fixture_send(mesh, 1, &score);
    for (int i = 0; i < 4; i++)
        fixture_step_once(mesh);
    fixture_plan(mesh, 2, 20); /* what was scored is not told twice */
    fixture_run(mesh);
    uint64_t hashes[64];
    sim_log_hashes(PROMPT, 40, hashes);
    for (uint64_t r = 1; r <= 2; r++) {
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, r);
        cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_STOP);
        cr_assert_eq(answer->final.prompt_tokens, 40);
        cr_assert_eq(answer->final.completion_tokens, 0);
        cr_assert_eq(answer->row_count, 1);
        cr_assert_eq(answer->first_row, 39);
        for (uint32_t id = 0; id < FIXTURE_VOCAB; id++)
            cr_assert_eq(answer->logits[id], sim_logit(hashes[39], id));
    }
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->score_count, 0);
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 2);
    cr_assert_eq(answer->score_count, 39);
    for (uint32_t p = 1; p < 40; p++) {
        float expected =
            sim_logit(hashes[p - 1], PROMPT[p]) - sim_log_sum_exp(hashes[p - 1], FIXTURE_VOCAB);
        cr_assert_eq(answer->scores[p], expected);
    }
    fixture_destroy(mesh);
}

/* A stage that answers nonsense: 0 as it should be, else one thing wrong. */
static void answer_wrongly(struct fixture *mesh, int how)
{
    while (mesh->steps[0].step.sequence_count == 0)
        fixture_step_once(mesh); /* it only releases pages */
    const struct wire_step *step = &mesh->steps[0].step;
    uint32_t count = how == 1 ? 2 : how == 2 ? 0 : 1;
    uint8_t tensor[64] = {0};
    base_store_u32(tensor, how == 3 ? FIXTURE_VOCAB : 4);
    base_store_f32(tensor + 4, how == 4 ? NAN : how == 5 ? INFINITY : 1.0f);
    struct wire_row_result rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] =
            (struct wire_row_result){.sequence_id = step->sequences[0].sequence_id + (how == 6),
                .position = 19 + (how == 7),
                .logits = how == 8 ? WIRE_LOGITS_FULL : WIRE_LOGITS_TOP,
                .count = count,
                .log_sum_exp = how == 9 ? NAN : 2.0f};
    struct wire_message message = {.kind = WIRE_RESULT,
        .result = {.epoch = step->epoch,
            .batch_id = step->batch_id,
            .rows = rows,
            .row_count = how == 10   ? 0
                         : how == 11 ? 2
                                     : 1}};
    size_t bytes = how == 12 ? 4 : how == 13 ? 12 : 8;
    fixture_lose(mesh);
    (void)router_data_message(
        mesh->router, mesh->now_us, "", &message, how == 14 ? NULL : tensor, how == 14 ? 0 : bytes);
}

Test(router_sample, nonsense_from_a_stage_is_refused_with_its_name)
{
    for (int how = 1; how <= 14; how++) {
        struct router_options options = fixture_options();
        struct fixture *mesh = fixture_new(&options, NULL);
        fixture_plan(mesh, 1, 20);
        struct wire_message request = fixture_generate(1, PROMPT, 20, 1);
        fixture_send(mesh, 1, &request);
        answer_wrongly(mesh, how);
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
        cr_assert_eq(answer->id_count, 0, "way %d was believed", how);
        cr_assert_eq(answer->final_count, 0, "one more attempt");
        cr_assert_eq(mesh->step_count, 1);
        answer_wrongly(mesh, how);
        cr_assert_eq(answer->final_count, 1);
        cr_assert_eq(answer->final.error.code, BASE_MALFORMED);
        cr_assert_str_eq(answer->final.error.node, "worker-z");
        request.generate.request_id = 2;
        fixture_send(mesh, 1, &request);
        answer_wrongly(mesh, 0);
        cr_assert_eq(fixture_answer_of(mesh, 1, 2)->ids[0], 4);
        cr_assert_eq(fixture_answer_of(mesh, 1, 2)->logprobs[0], -1.0f);
        fixture_destroy(mesh);
    }
}

/* ---- text, with the demo model's tokenizer ---- */

static struct text_tokenizer *open_tokenizer(void)
{
    struct gguf *file = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};
    cr_assert_eq(gguf_open(DEMO_MODEL, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(text_tokenizer_open(file, &tokenizer, &err), BASE_OK, "%s", err.text);
    gguf_close(&file);
    return tokenizer;
}

/* The stage says next what the test wants: the token gets the only large logit. */
static void say(struct fixture *mesh, uint32_t id)
{
    const struct wire_step *step = &mesh->steps[0].step;
    const struct wire_sequence *sequence = &step->sequences[0];
    cr_assert_eq(sequence->logits, WIRE_LOGITS_TOP);
    uint32_t count = sequence->top_count;
    uint8_t *tensor = base_alloc_zeroed(count, 8);
    for (uint32_t i = 0; i < count; i++) {
        base_store_u32(tensor + i * 4, (id + i) % mesh->vocab_size);
        base_store_f32(tensor + (count + i) * 4, 9.0f - (float)i);
    }
    struct wire_row_result row = {.sequence_id = sequence->sequence_id,
        .position = sequence->first_position + sequence->token_count - 1,
        .logits = WIRE_LOGITS_TOP,
        .count = count,
        .log_sum_exp = 9.5f};
    struct wire_message message = {.kind = WIRE_RESULT,
        .result = {.epoch = step->epoch, .batch_id = step->batch_id, .rows = &row, .row_count = 1}};
    fixture_lose(mesh);
    (void)router_data_message(mesh->router, mesh->now_us, "", &message, tensor, (size_t)count * 8);
    base_free(tensor);
}

struct text_case {
    const char *stop;
    bool ignore_eos;
    uint32_t max_tokens;
};

/* Lets the stage say " a b c" and the end token; returns how many tokens were asked for. */
static size_t speak(
    struct fixture *mesh, const struct text_tokenizer *tokenizer, const struct text_case *of)
{
    struct wire_bytes stop = {(const uint8_t *)of->stop, of->stop == NULL ? 0 : strlen(of->stop)};
    struct wire_message request = {.kind = WIRE_GENERATE,
        .generate = {.request_id = 1,
            .prompt_kind = WIRE_PROMPT_TEXT,
            .text = {(const uint8_t *)"Once upon", 9},
            .max_tokens = of->max_tokens,
            .stops = &stop,
            .stop_count = of->stop != NULL,
            .ignore_eos = of->ignore_eos}};
    struct text_ids ids = {0};
    struct base_error err = {0};
    const char text[] = " a time there was a fox";
    cr_assert_eq(text_encode(tokenizer, text, sizeof(text) - 1, 0, &ids, &err), BASE_OK);
    fixture_send(mesh, 1, &request);
    size_t said = 0;
    while (mesh->step_count > 0 && mesh->steps[0].step.sequence_count > 0 && said < ids.count)
        say(mesh, ids.ids[said++]);
    if (mesh->step_count > 0 && mesh->steps[0].step.sequence_count > 0)
        say(mesh, (uint32_t)text_eos_id(tokenizer));
    text_ids_release(&ids);
    return said;
}

Test(router_sample, text_ends_with_the_end_token_which_is_counted_but_not_shown)
{
    struct text_tokenizer *tokenizer = open_tokenizer();
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    size_t said = speak(mesh, tokenizer, &(struct text_case){.max_tokens = 50});
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_STOP);
    cr_assert_str_eq(answer->text, " a time there was a fox");
    cr_assert_eq(answer->id_count, said + 1);
    cr_assert_eq(answer->ids[said], (uint32_t)text_eos_id(tokenizer));
    cr_assert_eq(answer->final.completion_tokens, said + 1);
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}

Test(router_sample, a_stop_string_ends_the_text_before_it)
{
    struct text_tokenizer *tokenizer = open_tokenizer();
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    speak(mesh, tokenizer, &(struct text_case){.stop = "ere w", .max_tokens = 50});
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_STOP);
    cr_assert_str_eq(answer->text, " a time th");
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}

Test(router_sample, text_held_back_for_a_stop_string_comes_at_the_end)
{
    struct text_tokenizer *tokenizer = open_tokenizer();
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    size_t said = speak(mesh, tokenizer, &(struct text_case){.stop = "foxes", .max_tokens = 50});
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_str_eq(answer->text, " a time there was a fox");
    fixture_destroy(mesh);

    mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    speak(mesh, tokenizer, &(struct text_case){.stop = "foxes", .max_tokens = (uint32_t)said});
    answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_LENGTH);
    cr_assert_str_eq(answer->text, " a time there was a fox");
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}

Test(router_sample, ignored_end_tokens_are_never_chosen)
{
    struct text_tokenizer *tokenizer = open_tokenizer();
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    size_t said = speak(mesh, tokenizer, &(struct text_case){.ignore_eos = true, .max_tokens = 50});
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
    cr_assert_eq(answer->final_count, 0);
    cr_assert_eq(answer->id_count, said + 1);
    cr_assert_not(text_is_end(tokenizer, answer->ids[said]));
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}

Test(router_sample, chat_is_rendered_and_bad_roles_are_refused)
{
    struct text_tokenizer *tokenizer = open_tokenizer();
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    struct wire_chat_message said = {
        .role = "user", .content = {(const uint8_t *)"Who are you?", 12}};
    struct wire_message request = {.kind = WIRE_GENERATE,
        .generate = {.request_id = 1,
            .prompt_kind = WIRE_PROMPT_CHAT,
            .messages = &said,
            .message_count = 1,
            .max_tokens = 3}};
    fixture_send(mesh, 1, &request);
    /* As models/demo/expected.json has it. */
    const uint32_t ids[12] = {1, 279, 201, 641, 380, 375, 33, 2, 201, 1, 278, 201};
    cr_assert_eq(mesh->step_count, 1);
    cr_assert_eq(mesh->steps[0].step.token_count, 12);
    cr_assert_eq(memcmp(mesh->steps[0].tokens, ids, sizeof(ids)), 0);
    memcpy(said.role, "wizard", 7);
    request.generate.request_id = 2;
    fixture_send(mesh, 1, &request);
    cr_assert_eq(fixture_answer_of(mesh, 1, 2)->final.error.code, BASE_INVALID);
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}
