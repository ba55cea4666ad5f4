#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "gguf.h"
#include "router_fixture.h"
#include "text_sampler.h"
#include "text_tokenizer.h"

TestSuite(router_group);

#define CHOICES 5u
#define WANTED  40u
#define PROMPT  150u

static void fill_prompt(uint32_t *prompt)
{
    for (uint32_t i = 0; i < PROMPT; i++)
        prompt[i] = (i * 17 + i / 7) % FIXTURE_VOCAB;
}

static const struct wire_sampling SEEDED = {.temperature = 1.2f,
    .top_k = 20,
    .typical_p = 0.9f,
    .dry_multiplier = 0.5f,
    .xtc_probability = 0.5f,
    .seed = UINT64_MAX - 1};

static struct wire_message request_of(uint64_t id, const uint32_t *prompt, uint32_t choices)
{
    struct wire_message request = fixture_generate(id, prompt, PROMPT, WANTED);
    request.generate.sampling = SEEDED;
    request.generate.choices = choices;
    return request;
}

/* What single requests with the seeds of the choices get. */
static void singles(uint32_t ret[CHOICES][WANTED])
{
    struct router_options options = fixture_options();
    uint32_t prompt[PROMPT];
    fill_prompt(prompt);
    for (uint32_t i = 0; i < CHOICES; i++) {
        struct fixture *mesh = fixture_new(&options, NULL);
        fixture_plan(mesh, 1, 20);
        struct wire_message request = request_of(1, prompt, 1);
        request.generate.sampling.seed += i;
        fixture_send(mesh, 1, &request);
        fixture_run(mesh);
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
        cr_assert_eq(answer->id_count, WANTED);
        cr_assert_eq(answer->final.choices_open, 0);
        cr_assert_eq(answer->final.shared_tokens, 0);
        memcpy(ret[i], answer->ids, sizeof(ret[i]));
        fixture_destroy(mesh);
    }
}

/* All choices have the tokens that they should have, and the request ended once. */
static void check_choices(struct fixture *mesh, uint64_t id, uint32_t expected[CHOICES][WANTED])
{
    uint32_t ends = 0, total = 0;
    for (uint32_t i = 0; i < CHOICES; i++) {
        struct fixture_answer *answer = fixture_choice_of(mesh, 1, id, i);
        cr_assert_eq(answer->final_count, 1, "choice %u", i);
        cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_LENGTH);
        cr_assert_eq(answer->final.prompt_tokens, PROMPT);
        cr_assert_eq(answer->final.completion_tokens, WANTED);
        cr_assert_eq(answer->id_count, WANTED);
        cr_assert_eq(memcmp(answer->ids, expected[i], sizeof(expected[i])), 0, "choice %u", i);
        ends += answer->final.choices_open == 0;
        if (answer->final.choices_open == 0)
            total = answer->final.total_completion_tokens;
    }
    cr_assert_eq(ends, 1);
    cr_assert_eq(total, CHOICES * WANTED);
    cr_assert_eq(fixture_pages_used(mesh), 0);
}

Test(router_group, choices_are_what_single_requests_get_and_share_their_prompt)
{
    struct router_options options = fixture_options();
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT], saved = 0, used = 0;
    struct wire_router_status status;
    fill_prompt(prompt);
    singles(expected);
    cr_assert_neq(memcmp(expected[0], expected[1], sizeof(expected[0])), 0);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 100);
    struct wire_message request = request_of(7, prompt, CHOICES);
    fixture_send(mesh, 1, &request);
    uint64_t tokens = 0;
    for (bool runs = true; runs;) {
        for (size_t i = 0; i < mesh->step_count; i++)
            tokens += i + 1 == mesh->step_count ? mesh->steps[i].step.token_count : 0;
        router_status(mesh->router, &status);
        saved = status.kv_pages_saved > saved ? status.kv_pages_saved : saved;
        used = status.kv_pages_used > used ? status.kv_pages_used : used;
        runs = fixture_step_once(mesh);
    }
    check_choices(mesh, 7, expected);
    cr_assert_eq(saved, (CHOICES - 1) * 2);
    cr_assert_eq(used, 2 + CHOICES, "two shared pages, and one for each");
    for (uint32_t i = 0; i < CHOICES; i++)
        cr_assert_eq(
            fixture_choice_of(mesh, 1, 7, i)->final.shared_tokens, i == 0 ? 0 : 128, "%u", i);
    router_status(mesh->router, &status);
    cr_assert_eq(status.kv_pages_used + status.kv_pages_saved, 0);
    fixture_destroy(mesh);
}

/* A new plan, or a lost step, after so many steps: nothing is different, and the prompt is shared
 * again. */
Test(router_group, choices_survive_plans_and_lost_steps_anywhere)
{
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    fill_prompt(prompt);
    singles(expected);
    for (int at = 0; at < 40; at++) {
        for (int kind = 0; kind < 2; kind++) {
            struct router_options options = fixture_options();
            options.batch_tokens = 48;
            struct fixture *mesh = fixture_new(&options, NULL);
            fixture_plan(mesh, 1, 100);
            struct wire_message request = request_of(7, prompt, CHOICES);
            fixture_send(mesh, 1, &request);
            for (int i = 0; i < at; i++)
                fixture_step_once(mesh);
            if (kind == 0)
                fixture_plan(mesh, 2, 100);
            else if (mesh->step_count > 1)
                fixture_lose(mesh); /* seen when the next one returns */
            fixture_run(mesh);
            check_choices(mesh, 7, expected);
            uint32_t shared = 0;
            for (uint32_t i = 0; i < CHOICES; i++)
                shared += fixture_choice_of(mesh, 1, 7, i)->final.shared_tokens;
            cr_assert_geq(shared, (CHOICES - 1) * 128, "after %d steps", at);
            fixture_destroy(mesh);
        }
    }
}

/* Too few pages for all at once: some give way and start again. */
Test(router_group, choices_take_turns_when_pages_are_few)
{
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    fill_prompt(prompt);
    singles(expected);
    for (uint32_t pages = 3; pages < 9; pages++) {
        struct fixture *mesh = fixture_new(&options, NULL);
        fixture_plan(mesh, 1, pages);
        struct wire_message request = request_of(7, prompt, CHOICES);
        fixture_send(mesh, 1, &request);
        fixture_run(mesh);
        check_choices(mesh, 7, expected);
        fixture_destroy(mesh);
    }
}

Test(router_group, one_choice_is_cancelled_or_all_of_them)
{
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    fill_prompt(prompt);
    singles(expected);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 100);
    struct wire_message request = request_of(7, prompt, CHOICES);
    struct wire_message cancel = {
        .kind = WIRE_CANCEL, .cancel = {.request_id = 7, .one_choice = true, .choice = 0}};
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 12; i++)
        fixture_step_once(mesh);
    fixture_send(mesh, 1, &cancel);
    cr_assert_eq(fixture_answer_of(mesh, 1, 7)->final.finish_reason, WIRE_FINISH_CANCELLED);
    cr_assert_eq(fixture_answer_of(mesh, 1, 7)->final.choices_open, CHOICES - 1);
    fixture_run(mesh);
    for (uint32_t i = 1; i < CHOICES; i++)
        cr_assert_eq(memcmp(fixture_choice_of(mesh, 1, 7, i)->ids, expected[i], WANTED * 4), 0);

    request.generate.request_id = 8;
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 12; i++)
        fixture_step_once(mesh);
    cancel.cancel = (struct wire_cancel){.request_id = 8};
    fixture_send(mesh, 1, &cancel);
    for (uint32_t i = 0; i < CHOICES; i++) {
        struct fixture_answer *answer = fixture_choice_of(mesh, 1, 8, i);
        cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_CANCELLED);
        cr_assert_eq(answer->final.choices_open, CHOICES - 1 - i);
    }
    fixture_run(mesh);
    cr_assert_eq(fixture_pages_used(mesh), 0);
    fixture_destroy(mesh);
}

/* The FINALs count down in the order in which they leave, whatever the order of the ends. */
Test(router_group, a_slow_client_still_gets_one_last_final)
{
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    fill_prompt(prompt);
    singles(expected);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 100);
    struct wire_message request = request_of(7, prompt, CHOICES);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 20; i++)
        fixture_step_once(mesh);
    mesh->client_takes[1] = ROUTER_SENT_NOT;
    fixture_run(mesh);
    mesh->client_takes[1] = ROUTER_SENT;
    fixture_wait_ms(mesh, 20);
    check_choices(mesh, 7, expected);
    fixture_destroy(mesh);
}

/* All choices of a request or none get into the queue. */
Test(router_group, choices_are_refused_as_one)
{
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    options.requests_waiting = 6;
    options.requests_running = 2;
    fill_prompt(prompt);
    struct fixture *mesh = fixture_new(&options, NULL);
    const int codes[] = {BASE_OK, BASE_FULL, BASE_INVALID, BASE_OK};
    const uint32_t choices[] = {CHOICES, CHOICES, 7, 1};
    for (uint64_t i = 0; i < 4; i++) {
        struct wire_message request = request_of(i, prompt, choices[i]);
        fixture_send(mesh, 1, &request);
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, i);
        cr_assert_eq(answer->final_count, codes[i] != BASE_OK);
        cr_assert_eq(answer->final.error.code, codes[i], "%s", answer->final.error.text);
        cr_assert_eq(answer->final.choices_open, 0);
    }
    struct wire_router_status status;
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_waiting, CHOICES + 1);
    fixture_plan(mesh, 1, 20);
    fixture_run(mesh);
    for (uint32_t i = 0; i < CHOICES; i++)
        cr_assert_eq(fixture_choice_of(mesh, 1, 0, i)->id_count, WANTED);
    struct wire_message request = request_of(9, prompt, 3);
    request.generate.suppress = (const uint32_t[]){FIXTURE_VOCAB};
    request.generate.suppress_count = 1;
    fixture_send(mesh, 1, &request);
    cr_assert_eq(fixture_answer_of(mesh, 1, 9)->final.error.code, BASE_INVALID);
    cr_assert_eq(fixture_choice_of(mesh, 1, 9, 1)->final_count, 0, "one answer for all");
    fixture_destroy(mesh);
}

Test(router_group, stop_ids_end_a_choice_and_min_tokens_and_suppress_ban)
{
    static uint32_t plain[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    fill_prompt(prompt);
    singles(plain);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 100);
    struct wire_message request = request_of(1, prompt, CHOICES);
    request.generate.stop_ids = &plain[0][10];
    request.generate.stop_id_count = 1;
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    size_t stopped = 0;
    for (uint32_t i = 0; i < CHOICES; i++) {
        struct fixture_answer *answer = fixture_choice_of(mesh, 1, 1, i);
        size_t end = 0;
        while (end < WANTED && plain[i][end] != plain[0][10])
            end++;
        cr_assert_eq(answer->id_count, end < WANTED ? end + 1 : WANTED, "choice %u", i);
        cr_assert_eq(
            answer->final.finish_reason, end < WANTED ? WIRE_FINISH_STOP : WIRE_FINISH_LENGTH);
        stopped += end < WANTED;
    }
    cr_assert_gt(stopped, 0);

    request.generate.request_id = 2;
    request.generate.min_tokens = 30;
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    for (uint32_t i = 0; i < CHOICES; i++) {
        struct fixture_answer *answer = fixture_choice_of(mesh, 1, 2, i);
        cr_assert_geq(answer->id_count, 30);
        for (size_t k = 0; k < 30; k++)
            cr_assert_neq(answer->ids[k], plain[0][10]);
    }
    request.generate.request_id = 3;
    request.generate.min_tokens = 0;
    request.generate.stop_id_count = 0;
    request.generate.suppress = &plain[0][10];
    request.generate.suppress_count = 1;
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    for (uint32_t i = 0; i < CHOICES; i++)
        for (size_t k = 0; k < WANTED; k++)
            cr_assert_neq(fixture_choice_of(mesh, 1, 3, i)->ids[k], plain[0][10]);
    fixture_destroy(mesh);
}

Test(router_group, pieces_are_the_bytes_of_the_tokens)
{
    struct gguf *file = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};
    struct router_options options = fixture_options();
    cr_assert_eq(gguf_open(DEMO_MODEL, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(text_tokenizer_open(file, &tokenizer, &err), BASE_OK, "%s", err.text);
    gguf_close(&file);
    struct fixture *mesh = fixture_new(&options, tokenizer);
    mesh->vocab_size = (uint32_t)text_vocab_size(tokenizer);
    fixture_plan(mesh, 1, 20);
    for (uint64_t id = 1; id <= 2; id++) {
        struct wire_message request =
            fixture_generate(id, (const uint32_t[]){300, 400, 500}, 3, 12);
        request.generate.ignore_eos = true;
        request.generate.sampling.top_logprobs = 20;
        request.generate.sampling.token_bytes = id == 2;
        fixture_send(mesh, 1, &request);
        fixture_run(mesh);
    }
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 2);
    char expected[1024];
    size_t expected_bytes = 0;
    for (size_t i = 0; i < answer->id_count; i++) {
        size_t bytes;
        const char *piece = text_piece(tokenizer, answer->ids[i], &bytes);
        memcpy(expected + expected_bytes, piece, bytes);
        expected_bytes += bytes;
    }
    cr_assert_eq(fixture_answer_of(mesh, 1, 1)->piece_bytes, 0, "only when asked for");
    cr_assert_gt(expected_bytes, 0);
    cr_assert_eq(answer->piece_bytes, expected_bytes);
    cr_assert_eq(memcmp(answer->pieces, expected, expected_bytes), 0);
    cr_assert_eq(answer->top_count, 20);
    size_t bytes;
    (void)text_piece(tokenizer, answer->top[3].token_id, &bytes);
    cr_assert_eq(answer->top[3].piece.bytes, bytes);
    fixture_destroy(mesh);
    text_tokenizer_close(&tokenizer);
}

/* Many requests with many choices on few places and pages, some cancelled, the plan lost in between:
 * all end once, and who asks for one answer does not wait for those who ask for many. */
Test(router_group, a_crowd_of_choices_is_served_in_bounds)
{
    static uint32_t expected[CHOICES][WANTED];
    uint32_t prompt[PROMPT];
    struct router_options options = fixture_options();
    struct wire_router_status status;
    options.requests_running = 16;
    options.requests_waiting = 120;
    fill_prompt(prompt);
    singles(expected);
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 60);
    struct wire_message request = request_of(0, prompt, 100);
    fixture_send(mesh, 2, &request);
    for (int i = 0; i < 12; i++)
        fixture_step_once(mesh);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running, 8, "half of the places, also when nobody else asks");
    for (uint64_t id = 1; id <= 3; id++) {
        request = request_of(id, prompt, CHOICES);
        fixture_send(mesh, 1, &request);
    }
    for (int i = 0; i < 400 && fixture_choice_of(mesh, 1, 1, 0)->final_count == 0; i++) {
        fixture_step_once(mesh);
        router_status(mesh->router, &status);
        cr_assert_leq(status.requests_running, 16);
        if (i == 60)
            fixture_plan(mesh, 2, 50);
    }
    cr_assert_eq(fixture_choice_of(mesh, 1, 1, 0)->final_count, 1);
    size_t over = 0;
    for (uint32_t i = 0; i < 100; i++)
        over += fixture_choice_of(mesh, 2, 0, i)->final_count;
    cr_assert_lt(over, 50, "most of the large request still waits");
    struct wire_message cancel = {.kind = WIRE_CANCEL, .cancel = {.request_id = 0}};
    fixture_send(mesh, 2, &cancel);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(fixture_choice_of(mesh, 2, 0, i)->final_count, 1);
    fixture_run(mesh);
    for (uint64_t id = 1; id <= 3; id++)
        check_choices(mesh, id, expected);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    cr_assert_eq(status.kv_pages_used + status.kv_pages_saved, 0);
    fixture_destroy(mesh);
}

Test(router_group, failing_allocations_are_survived)
{
    struct router_options options = fixture_options();
    uint32_t prompt[PROMPT];
    fill_prompt(prompt);
    for (unsigned long n = 1; n < 40; n++) {
        struct fixture *mesh = fixture_new(&options, NULL);
        fixture_plan(mesh, 1, 20);
        struct wire_logit_bias bias = {.token_id = 3, .bias = -1};
        struct wire_message request = request_of(1, prompt, 3);
        request.generate.sampling.logit_biases = &bias;
        request.generate.sampling.logit_bias_count = 1;
        request.generate.stop_ids = (const uint32_t[]){4};
        request.generate.stop_id_count = 1;
        base_alloc_fail_from(n);
        mesh->link_full = true; /* the fixture's own memory is not what is tested */
        fixture_send(mesh, 1, &request);
        base_alloc_fail_from(0);
        mesh->link_full = false;
        fixture_wait_ms(mesh, 20);
        fixture_run(mesh);
        struct fixture_answer *answer = fixture_answer_of(mesh, 1, 1);
        cr_assert_eq(answer->final_count, 1);
        if (answer->final.finish_reason == WIRE_FINISH_ERROR)
            cr_assert_eq(answer->final.error.code, BASE_NOMEM);
        fixture_destroy(mesh);
    }
}
