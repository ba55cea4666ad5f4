#include "base_alloc.h"
#include "text_penalty.h"
#include "text_stream.h"
#include "text_test.h"
#include <math.h>
#include <string.h>

TestSuite(text_penalty);

#define VOCAB 40

/* The longest repeat that each token would go on with, by trying all places. */
static void naive_dry(const struct text_sampling *s, const uint32_t *history, size_t count,
    size_t allowed, uint32_t *ret_lengths)
{
    size_t start = s->dry_last_n > 0 && s->dry_last_n < count ? count - s->dry_last_n : 0;

    memset(ret_lengths, 0, VOCAB * sizeof(*ret_lengths));
    for (size_t end = start + 1; end < count; end++) { /* history[end] would come again */
        size_t length = 0;
        while (length < end - start && history[end - 1 - length] == history[count - 1 - length]) {
            uint32_t id = history[count - 1 - length];
            if (s->dry_breakers != NULL && (s->dry_breakers[id / 8] >> (id % 8) & 1) != 0)
                break;
            length++;
        }
        if (length >= allowed && length > ret_lengths[history[end]])
            ret_lengths[history[end]] = (uint32_t)length;
    }
}

Test(text_penalty, dry_is_what_a_naive_search_finds)
{
    uint64_t state = 3;
    int penalised = 0;

    for (int round = 0; round < 2000; round++) {
        uint32_t history[150], lengths[VOCAB];
        uint8_t breakers[VOCAB / 8] = {0};
        struct text_candidate candidates[VOCAB];
        size_t count = text_test_random(&state) % 150;
        uint32_t variety = 2 + text_test_random(&state) % 10;
        struct text_sampling s = {.dry_multiplier = 0.5f + (float)(round % 3),
            .dry_base = round % 5 == 0 ? 0 : 1.2f,
            .dry_allowed_length = text_test_random(&state) % 5,
            .dry_last_n = round % 4 == 0 ? text_test_random(&state) % 120 : 0};

        for (size_t i = 0; i < count; i++)
            history[i] = text_test_random(&state) % variety;
        if (round % 2 == 0) {
            breakers[0] = (uint8_t)(1u << (text_test_random(&state) % 8));
            s.dry_breakers = breakers;
            s.dry_breaker_ids = VOCAB;
        }
        for (uint32_t id = 0; id < VOCAB; id++)
            candidates[id] = (struct text_candidate){id, 1};
        size_t allowed = s.dry_allowed_length > 0 ? s.dry_allowed_length : 2;
        double base = s.dry_base > 0 ? (double)s.dry_base : 1.75;
        naive_dry(&s, history, count, allowed, lengths);
        text_penalty_apply(&s, candidates, VOCAB, history, count, NULL, 0);
        size_t lowered = 0;
        for (uint32_t id = 0; id < VOCAB; id++) {
            double expected = 1;
            if (lengths[id] > 0)
                expected -= (double)s.dry_multiplier * pow(base, lengths[id] - (double)allowed);
            cr_assert_float_eq((double)candidates[id].logit, expected, 1e-5 * fabs(expected),
                "id %u, round %d", id, round);
            lowered += lengths[id] > 0;
        }
        bool lifts;
        cr_assert_leq(lowered, text_penalty_lowered(&s, history, count, &lifts));
        cr_assert_not(lifts);
        penalised += lowered > 0;
    }
    cr_assert_gt(penalised, 500);
}

/* A repeat of thousands of tokens takes no longer per token than a short one, and stays finite. */
Test(text_penalty, dry_of_one_letter_for_ever)
{
    static uint32_t history[20000];
    struct text_candidate candidates[] = {{0, 5}, {1, 4}};
    struct text_sampling s = {.dry_multiplier = 1};
    bool lifts;

    for (int i = 0; i < 200; i++) {
        candidates[0].logit = 5;
        text_penalty_apply(&s, candidates, 2, history, 20000, NULL, 0);
    }
    cr_assert_lt(candidates[0].logit, -1e29f);
    cr_assert(isfinite(candidates[0].logit));
    cr_assert_eq(candidates[1].logit, 4);
    cr_assert_leq(text_penalty_lowered(&s, history, 20000, &lifts), TEXT_DRY_WINDOW);
}

/* Bias, then penalties, then bans: in that order they give these numbers. */
Test(text_penalty, order_of_bias_and_penalties)
{
    static const struct text_logit_bias biases[] = {{0, 3}, {1, INFINITY}, {2, NAN}};
    const uint32_t history[] = {0, 0, 1}, banned[] = {1};
    struct text_candidate candidates[] = {{2, 1}, {1, 1}, {0, -1}};
    struct text_sampling s = {.biases = biases,
        .bias_count = 3,
        .repeat_penalty = 2,
        .frequency_penalty = 0.25f,
        .presence_penalty = 0.125f};

    text_penalty_apply(&s, candidates, 3, history, 3, banned, 1);
    cr_assert_eq(candidates[0].id, 0);
    cr_assert_eq(candidates[0].logit, (-1.0f + 3.0f) / 2 - (2 * 0.25f + 0.125f));
    cr_assert_eq(candidates[1].logit, -INFINITY, "a ban is stronger than any bias");
    cr_assert_eq(candidates[2].logit, -INFINITY, "not a number");
}

/* A token breaks a repeat when its text contains one of the strings, wherever. */
Test(text_penalty, breakers_are_found_in_the_text_of_tokens)
{
    struct text_tokenizer *tokenizer = text_test_bpe("gpt-2");
    const struct text_stop own[] = {{"e", 1}, {"lo", 2}};

    for (int which = 0; which < 2; which++) {
        uint8_t *bits = NULL;
        size_t breakers = 0;
        cr_assert_eq(text_dry_breakers_new(tokenizer, own, which == 0 ? 0 : 2, &bits), BASE_OK);
        for (uint32_t id = 0; id < text_vocab_size(tokenizer); id++) {
            char text[256] = "";
            size_t bytes;
            const char *piece = text_piece(tokenizer, id, &bytes);
            cr_assert_lt(bytes, sizeof(text));
            memcpy(text, piece, bytes);
            bool expected = which == 0 ? strpbrk(text, "\n:\"*") != NULL
                                       : strchr(text, 'e') != NULL || strstr(text, "lo") != NULL;
            cr_assert_eq((bits[id / 8] >> (id % 8) & 1) != 0, expected, "id %u, '%s'", id, text);
            breakers += expected;
        }
        cr_assert_gt(breakers, 0);
        base_free(bits);
    }
    text_tokenizer_close(&tokenizer);
}
