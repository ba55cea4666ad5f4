/* Contexts of several splits: chunks, threads and types of cache. */
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "stage.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include "tiny_mesh.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 1100, VOCAB = 64, PAGE = 64, PAGES = (TOKENS + PAGE - 1) / PAGE };

static uint8_t *data;
static struct model *model;
static struct base_error err;

static void open_tiny(void)
{
    const struct tiny_gguf_options options = {.layer_count = 2,
        .vocab_size = VOCAB,
        .context_length = TOKENS,
        .head_count = 8,
        .kv_head_count = 2};
    struct gguf *file = NULL;
    size_t bytes = 0;

    data = tiny_gguf_build(&options, &bytes);
    cr_assert_eq(gguf_open_memory(data, bytes, "tiny", &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(model_open_gguf(&file, &model, &err), BASE_OK, "%s", err.text);
}

static void close_all(void)
{
    model_close(&model);
    free(data);
}

TestSuite(stage_attention, .init = open_tiny, .fini = close_all);

/* Logits of the last token after the prompt was run in chunks, the last decode_count one by one. */
static void run_chunks(
    uint32_t kv_type, uint32_t threads, uint32_t chunk, uint32_t decode_count, float *logits)
{
    const struct tiny_mesh_options options = {.threads = threads,
        .page_tokens = PAGE,
        .page_count = PAGES,
        .batch_tokens_max = 512,
        .kv_type = kv_type};
    struct tiny_mesh mesh;
    struct stage_output output;
    uint32_t tokens[TOKENS], pages[PAGES];

    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = i * i % 61;
    for (uint32_t i = 0; i < PAGES; i++)
        pages[i] = PAGES - 1 - i;
    cr_assert_eq(tiny_mesh_init(model, &options, &mesh, &err), BASE_OK, "%s", err.text);
    for (uint32_t at = 0, count; at < TOKENS; at += count) {
        uint32_t left = TOKENS - decode_count > at ? TOKENS - decode_count - at : 1;
        count = left < chunk ? left : chunk;
        struct stage_sequence batch = {at, count, pages, PAGES, STAGE_LOGITS_FULL, 0};
        cr_assert_eq(tiny_mesh_run(&mesh, &batch, 1, tokens + at, count, &output, &err), BASE_OK,
            "%s", err.text);
    }
    memcpy(logits, tiny_mesh_logits(&output, 0), VOCAB * sizeof(float));
    tiny_mesh_release(&mesh);
}

Test(stage_attention, chunks_threads_and_splits_do_not_change_a_bit)
{
    static const uint32_t types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};
    float expected[VOCAB], logits[VOCAB];

    for (size_t i = 0; i < 3; i++) {
        run_chunks(types[i], 1, 512, 0, expected);
        cr_assert(isfinite(expected[0]));
        run_chunks(types[i], 3, 512, 0, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0, "three threads");
        run_chunks(types[i], 4, 333, 40, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0, "decoded at the end");
        run_chunks(types[i], 2, 7, 1, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0, "small chunks");
    }
}

/* Logits are of the order of 1. The bounds are what f16 and int8 may cost in the whole model. */
Test(stage_attention, rounding_of_keys_and_values_shows_little)
{
    float exact[VOCAB], half[VOCAB], byte[VOCAB];
    float half_error = 0, byte_error = 0;

    run_chunks(TENSOR_F32, 2, 512, 0, exact);
    run_chunks(TENSOR_F16, 2, 512, 0, half);
    run_chunks(TENSOR_Q8_0, 2, 512, 0, byte);
    for (uint32_t i = 0; i < VOCAB; i++) {
        half_error = fmaxf(half_error, fabsf(half[i] - exact[i]));
        byte_error = fmaxf(byte_error, fabsf(byte[i] - exact[i]));
    }
    cr_expect_lt(half_error, 2e-3f, "%g", (double)half_error);
    cr_expect_lt(byte_error, 3e-2f, "%g", (double)byte_error);
    cr_expect(half_error > 0 && byte_error > half_error);
}
