/* Batches: what comes out, and what is refused before anything runs. */
#include "stage.h"

#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "tensor_ops.h"
#include "tiny_gguf.h"
#include "tiny_reference.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 48, CONTEXT = 32, BATCH = 16, PAGE = 8, PAGES = 8 };

static const struct tiny_gguf_options tiny = {.seed = 11,
    .layer_count = 2,
    .vocab_size = VOCAB,
    .biases = true,
    .rope_factors = true,
    .rope_scaling_factor = 2.0f,
    .context_length = 64};
static uint8_t *data;
static struct model *model;
static struct stage *stage;
static struct base_error err;
static struct stage_output output;

static void set_up(void)
{
    struct gguf *file = NULL;
    size_t bytes = 0;
    const struct stage_options options = {.layer_count = 2,
        .embeds = true,
        .has_head = true,
        .page_tokens = PAGE,
        .page_count = PAGES,
        .batch_tokens_max = BATCH,
        .context_length = CONTEXT};

    data = tiny_gguf_build(&tiny, &bytes);
    cr_assert_eq(gguf_open_memory(data, bytes, "tiny", &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(model_open_gguf(&file, &model, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(
        stage_load(model, &options, NULL, NULL, NULL, &stage, &err), BASE_OK, "%s", err.text);
}

static void tear_down(void)
{
    stage_destroy(&stage);
    model_close(&model);
    free(data);
}

TestSuite(stage_run, .init = set_up, .fini = tear_down);

static const uint32_t pages[] = {5, 0, 7, 2};
static const uint32_t tokens[BATCH] = {1, 40, 7, 7, 0, 47, 3, 22, 9, 15, 31, 6, 2, 11, 44, 5};

static int run(const struct stage_sequence *sequences, size_t count, size_t token_count)
{
    memset(&err, 0, sizeof(err));
    return stage_run(
        stage, NULL, sequences, count, tokens, token_count * sizeof(uint32_t), &output, &err);
}

static const float *full_row(size_t row)
{
    return (const float *)(const void *)(output.payload + output.rows[row].offset);
}

Test(stage_run, agrees_with_plain_arithmetic)
{
    const struct stage_sequence sequence = {0, 12, pages, 4, STAGE_LOGITS_FULL_ALL, 0};
    double expected[VOCAB];

    cr_assert_eq(run(&sequence, 1, 12), BASE_OK, "%s", err.text);
    cr_assert_eq(output.row_count, 12);
    for (uint32_t position = 0; position < 12; position++) {
        tiny_reference_logits(model, tokens, position + 1, expected);
        for (int i = 0; i < VOCAB; i++)
            cr_assert_float_eq(full_row(position)[i], expected[i], 2e-4, "position %u: %g, not %g",
                position, (double)full_row(position)[i], expected[i]);
    }
}

Test(stage_run, rows_that_were_asked_for)
{
    const struct stage_sequence sequences[] = {
        {0, 3, pages, 1, STAGE_LOGITS_TOP, 7},
        {0, 2, pages + 1, 1, STAGE_LOGITS_NONE, 0},
        {0, 4, pages + 2, 1, STAGE_LOGITS_FULL_ALL, 0},
        {0, 5, pages + 3, 1, STAGE_LOGITS_FULL, 0},
    };
    uint32_t ids[7];
    float values[7];

    cr_assert_eq(run(sequences, 4, 14), BASE_OK, "%s", err.text);
    cr_assert_eq(output.row_count, 1 + 0 + 4 + 1);
    cr_assert_eq(output.payload_bytes, 7 * 8 + 5 * VOCAB * 4);
    const struct stage_row *rows = output.rows;
    cr_assert(rows[0].sequence == 0 && rows[0].position == 2 && rows[0].count == 7);
    cr_assert_eq(rows[0].logits, STAGE_LOGITS_TOP);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert(rows[1 + i].sequence == 2 && rows[1 + i].position == i);
    cr_assert(rows[5].sequence == 3 && rows[5].position == 4 && rows[5].count == VOCAB);
    cr_assert_eq(rows[5].log_sum_exp, tensor_log_sum_exp(full_row(5), VOCAB));
    memcpy(ids, output.payload, sizeof(ids));
    memcpy(values, output.payload + sizeof(ids), sizeof(values));
    float lse = rows[0].log_sum_exp;
    const struct stage_sequence again = {0, 3, pages, 1, STAGE_LOGITS_FULL, 0};
    cr_assert_eq(run(&again, 1, 3), BASE_OK, "%s", err.text);
    cr_assert_eq(output.rows[0].log_sum_exp, lse);
    for (int i = 0; i < 7; i++) {
        cr_assert_eq(full_row(0)[ids[i]], values[i]);
        cr_assert(i == 0 || values[i] <= values[i - 1]);
    }
}

Test(stage_run, hidden_states_may_stand_at_any_address)
{
    struct stage *first = NULL, *last = NULL;
    struct stage_options options = *stage_get_options(stage);
    const struct stage_sequence sequence = {0, 9, pages, 4, STAGE_LOGITS_FULL, 0};
    float whole[VOCAB];
    static uint8_t moved[1 + 9 * 64 * sizeof(float)];

    cr_assert_eq(run(&sequence, 1, 9), BASE_OK);
    memcpy(whole, full_row(0), sizeof(whole));
    options.layer_count = 1;
    options.has_head = false;
    cr_assert_eq(stage_load(model, &options, stage, NULL, NULL, &first, &err), BASE_OK);
    options.layer_first = 1;
    options.has_head = true;
    options.embeds = false;
    cr_assert_eq(stage_load(model, &options, stage, NULL, NULL, &last, &err), BASE_OK);
    cr_assert_eq(
        stage_run(first, NULL, &sequence, 1, tokens, 9 * sizeof(uint32_t), &output, &err), BASE_OK);
    cr_assert_eq(output.row_count, 0);
    memcpy(moved + 1, output.hidden, sizeof(moved) - 1);
    cr_assert_eq(
        stage_run(last, NULL, &sequence, 1, moved + 1, sizeof(moved) - 1, &output, &err), BASE_OK);
    cr_assert_eq(memcmp(whole, full_row(0), sizeof(whole)), 0);
    cr_assert_eq(stage_run(last, NULL, &sequence, 1, moved, sizeof(moved), &output, &err),
        BASE_INVALID, "one byte too many");
    stage_destroy(&first);
    stage_destroy(&last);
}

static void expect_refused(
    const struct stage_sequence *sequences, size_t count, size_t token_count, const char *what)
{
    int rc = run(sequences, count, token_count);

    cr_expect_eq(rc, BASE_INVALID, "%s: %s", what, base_err_name(rc));
    cr_expect_not_null(strstr(err.text, what), "%s: %s", what, err.text);
}

Test(stage_run, batches_that_do_not_fit)
{
    const struct stage_sequence good = {0, 4, pages, 4, STAGE_LOGITS_FULL, 0};
    struct stage_sequence two[2] = {good, good};
    struct stage_sequence *bad = &two[1];

    expect_refused(two, 0, 0, "no sequences");
    bad->token_count = 0;
    expect_refused(two, 2, 4, "sequence 1: token_count");
    bad->token_count = UINT32_MAX;
    expect_refused(two, 2, 4, "sequence 1: token_count");
    bad->token_count = 13;
    expect_refused(two, 2, 17, "sequence 1: token_count: the batch");
    *bad = good;
    bad->first_position = CONTEXT - 3;
    expect_refused(two, 2, 8, "sequence 1: first_position");
    bad->first_position = UINT32_MAX;
    expect_refused(two, 2, 8, "sequence 1: first_position");
    *bad = good;
    bad->first_position = 5; /* to position 8, on a second page */
    bad->page_count = 1;
    expect_refused(two, 2, 8, "sequence 1: 1 pages");
    bad->pages = NULL;
    expect_refused(two, 2, 8, "sequence 1: 0 pages");
    const uint32_t wrong[] = {0, PAGES};
    *bad = (struct stage_sequence){5, 4, wrong, 2, STAGE_LOGITS_FULL, 0};
    expect_refused(two, 2, 8, "sequence 1: page 1 has id 8");
    *bad = good;
    bad->logits = (enum stage_logits)9;
    expect_refused(two, 2, 8, "sequence 1: logits");
    bad->logits = STAGE_LOGITS_TOP;
    expect_refused(two, 2, 8, "sequence 1: top_count 0");
    bad->top_count = VOCAB + 1;
    expect_refused(two, 2, 8, "sequence 1: top_count 49");
    expect_refused(&good, 1, 5, "input of 20 bytes");
    cr_expect_eq(run(&good, 1, 4), BASE_OK, "%s", err.text);
}

Test(stage_run, token_ids_outside_the_vocabulary)
{
    const struct stage_sequence sequences[] = {
        {0, 2, pages, 1, STAGE_LOGITS_FULL, 0}, {0, 2, pages + 1, 1, STAGE_LOGITS_FULL, 0}};
    const uint32_t bad[] = {1, 2, 3, VOCAB};

    cr_assert_eq(
        stage_run(stage, NULL, sequences, 2, bad, sizeof(bad), &output, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "sequence 1: token 1 has id 48"), "%s", err.text);
}

Test(stage_run, a_refused_batch_changes_nothing)
{
    const struct stage_sequence prompt = {0, 8, pages, 4, STAGE_LOGITS_FULL, 0};
    const struct stage_sequence next = {8, 1, pages, 4, STAGE_LOGITS_FULL, 0};
    struct stage_sequence two[2] = {{0, 8, pages, 4, STAGE_LOGITS_FULL, 0}, prompt};
    float before[VOCAB];

    cr_assert_eq(run(&prompt, 1, 8), BASE_OK);
    cr_assert_eq(run(&next, 1, 1), BASE_OK);
    memcpy(before, full_row(0), sizeof(before));
    two[1].first_position = CONTEXT;
    cr_assert_eq(run(two, 2, 16), BASE_INVALID);
    cr_assert_eq(run(&next, 1, 1), BASE_OK);
    cr_assert_eq(memcmp(before, full_row(0), sizeof(before)), 0);
}
