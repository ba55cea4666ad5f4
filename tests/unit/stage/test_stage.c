/* Loading, sharing, costs. */
#include "stage.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *data;
static struct model *model;
static struct base_error err;

static void open_tiny(const struct tiny_gguf_options *options)
{
    struct gguf *file = NULL;
    size_t bytes = 0;

    data = tiny_gguf_build(options, &bytes);
    cr_assert_eq(gguf_open_memory(data, bytes, "tiny", &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(model_open_gguf(&file, &model, &err), BASE_OK, "%s", err.text);
}

static void close_all(void)
{
    model_close(&model);
    free(data);
}

TestSuite(stage, .fini = close_all);

/* The whole model as one stage. */
static struct stage_options whole(void)
{
    return (struct stage_options){
        .layer_count = model_get_config(model)->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = 8,
        .page_count = 4,
        .batch_tokens_max = 16,
        .context_length = 32,
    };
}

static struct stage *load(const struct stage_options *options, const struct stage *previous)
{
    struct stage *stage = NULL;

    cr_assert_eq(
        stage_load(model, options, previous, NULL, NULL, &stage, &err), BASE_OK, "%s", err.text);
    return stage;
}

static void expect_options_refused(struct stage_options options, const char *what)
{
    struct stage *stage = NULL;
    uint64_t bytes = 0;

    memset(&err, 0, sizeof(err));
    cr_expect_eq(stage_load(model, &options, NULL, NULL, NULL, &stage, &err), BASE_INVALID);
    cr_expect_not_null(strstr(err.text, what), "%s: %s", what, err.text);
    cr_expect_null(stage);
    cr_expect_eq(stage_cost(model, &options, &bytes, &bytes, &bytes), BASE_INVALID);
}

Test(stage, options_that_do_not_fit_the_model)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 3, .context_length = 64});
    struct stage_options o = whole();

    o.layer_first = 3;
    expect_options_refused(o, "layer_first");
    o = whole();
    o.layer_count = 4;
    expect_options_refused(o, "layer_count");
    o.layer_count = 0;
    expect_options_refused(o, "layer_count");
    o.layer_count = 2;
    expect_options_refused(o, "has the head");
    o.layer_first = 1;
    expect_options_refused(o, "embeds");
    o.layer_first = UINT32_MAX;
    expect_options_refused(o, "layer_first");
    o = whole();
    o.page_tokens = 12;
    expect_options_refused(o, "page_tokens");
    o.page_tokens = 0;
    expect_options_refused(o, "page_tokens");
    o = whole();
    o.page_count = 0;
    expect_options_refused(o, "page_count");
    o = whole();
    o.batch_tokens_max = 100000;
    expect_options_refused(o, "batch_tokens_max");
    o = whole();
    o.context_length = 65;
    expect_options_refused(o, "context_length");
}

Test(stage, cost_counts_what_is_held)
{
    open_tiny(
        &(struct tiny_gguf_options){.weight_type = TENSOR_Q8_0, .layer_count = 3, .tied = true});
    struct stage_options o = whole();
    struct model_layer_cost cost;
    uint64_t weights = 0, kv = 0, activations = 0, expected = 0;

    cr_assert_eq(stage_cost(model, &o, &weights, &kv, &activations), BASE_OK);
    for (uint32_t i = 0; i <= 3; i++) {
        model_layer_cost(model, i, TENSOR_F32, &cost);
        expected += cost.weight_bytes;
    }
    /* Tied: the head is the embedding, and only its norm comes on top. */
    cr_assert_eq(weights, expected + 64 * sizeof(float));
    cr_assert_eq(kv, 2u * 3 * 2 * 16 * sizeof(float) * 8 * 4);
    cr_assert_gt(activations, 16u * 64 * sizeof(float));
    o.layer_first = 1;
    o.layer_count = 1;
    o.embeds = o.has_head = false;
    cr_assert_eq(stage_cost(model, &o, &weights, &kv, &activations), BASE_OK);
    model_layer_cost(model, 2, TENSOR_F32, &cost);
    cr_assert_eq(weights, cost.weight_bytes);
    cr_assert_eq(kv, 2u * 2 * 16 * sizeof(float) * 8 * 4);
}

struct watcher {
    double last;
    unsigned calls;
    unsigned stop_after;
};

static bool watch(void *context, double progress)
{
    struct watcher *watcher = context;

    cr_expect(progress >= watcher->last && progress <= 1.0);
    watcher->last = progress;
    return ++watcher->calls != watcher->stop_after;
}

Test(stage, progress_and_cancel)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 2});
    struct stage_options o = whole();
    struct watcher watcher = {0};
    struct stage *stage = NULL;

    cr_assert_eq(stage_load(model, &o, NULL, watch, &watcher, &stage, &err), BASE_OK);
    cr_assert_eq(watcher.calls, 2 + 7 * 2, "one for each matrix");
    cr_assert_gt(watcher.last, 0.9);
    stage_destroy(&stage);
    for (unsigned i = 1; i <= 2 + 7 * 2; i++) {
        watcher = (struct watcher){.stop_after = i};
        cr_assert_eq(stage_load(model, &o, NULL, watch, &watcher, &stage, &err), BASE_CANCELLED);
        cr_assert_null(stage);
    }
}

/* Runs one sequence of tokens on the pages 0, 1, ...; logits of the last into out. */
static void run_last(struct stage *stage, const uint32_t *tokens, uint32_t count, float *out)
{
    const uint32_t pages[] = {0, 1, 2, 3};
    struct stage_sequence sequence = {0, count, pages, 4, STAGE_LOGITS_FULL, 0};
    struct stage_output output;

    cr_assert_eq(
        stage_run(stage, NULL, &sequence, 1, tokens, count * sizeof(*tokens), &output, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(output.row_count, 1);
    cr_assert_eq(output.rows[0].position, count - 1);
    memcpy(out, output.payload + output.rows[0].offset, output.rows[0].count * sizeof(float));
}

Test(stage, layers_are_shared_with_the_previous_stage)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 3, .vocab_size = 32});
    struct stage_options o = whole();
    struct watcher watcher = {0};
    const uint32_t tokens[] = {3, 1, 4, 1, 5};
    float before[32], after[32];
    struct stage *first = load(&o, NULL);
    struct stage *second = NULL;

    run_last(first, tokens, 5, before);
    cr_assert_eq(stage_load(model, &o, first, watch, &watcher, &second, &err), BASE_OK);
    cr_assert_eq(watcher.calls, 0, "nothing was read again");
    stage_destroy(&first); /* the shared weights stay */
    run_last(second, tokens, 5, after);
    cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    /* Half of it is there already. */
    o.layer_first = 1;
    o.layer_count = 2;
    o.embeds = false;
    cr_assert_eq(stage_load(model, &o, second, watch, &watcher, &first, &err), BASE_OK);
    cr_assert_eq(watcher.calls, 0);
    stage_destroy(&second);
    o = whole();
    cr_assert_eq(stage_load(model, &o, first, watch, &watcher, &second, &err), BASE_OK);
    cr_assert_eq(watcher.calls, 1 + 7, "the embedding and the first block");
    run_last(second, tokens, 5, after);
    cr_assert_eq(memcmp(before, after, sizeof(before)), 0);
    stage_destroy(&first);
    stage_destroy(&second);
}

Test(stage, other_packing_is_not_shared)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 1});
    struct stage_options o = whole();
    struct watcher watcher = {0};
    struct stage *first = load(&o, NULL);
    struct stage *second = NULL;

    o.fast_float = true;
    cr_assert_eq(stage_load(model, &o, first, watch, &watcher, &second, &err), BASE_OK);
    cr_assert_gt(watcher.calls, 0);
    stage_destroy(&first);
    stage_destroy(&second);
}

Test(stage, fast_float_is_close)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 2, .vocab_size = 32});
    struct stage_options o = whole();
    uint32_t tokens[16];
    float exact[32], fast[32];

    for (uint32_t i = 0; i < 16; i++)
        tokens[i] = i * 7 % 32;
    struct stage *stage = load(&o, NULL);
    run_last(stage, tokens, 16, exact);
    stage_destroy(&stage);
    o.fast_float = true;
    stage = load(&o, NULL);
    run_last(stage, tokens, 16, fast);
    stage_destroy(&stage);
    for (int i = 0; i < 32; i++)
        cr_assert_float_eq(exact[i], fast[i], 1e-3f);
}

Test(stage, rope_factors_must_be_numbers)
{
    struct tiny_gguf_options tiny = {.rope_factors = true};
    struct gguf *file = NULL;
    struct stage *stage = NULL;
    size_t bytes = 0;
    const float zero = 0.0f;

    open_tiny(&tiny);
    size_t offset = (size_t)(model_get_config(model)->ropes[0].factors->data - data);
    close_all();
    data = tiny_gguf_build(&tiny, &bytes);
    memcpy(data + offset + 4, &zero, sizeof(zero));
    cr_assert_eq(gguf_open_memory(data, bytes, "tiny", &file, &err), BASE_OK);
    cr_assert_eq(model_open_gguf(&file, &model, &err), BASE_OK);
    struct stage_options o = whole();
    cr_assert_eq(stage_load(model, &o, NULL, NULL, NULL, &stage, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "rope_freqs.weight: element 1"), "%s", err.text);
}

Test(stage, allocation_failures)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 2});
    struct stage_options o = whole();
    struct stage *stage = NULL;
    unsigned long failed = 0;
    int rc;

    do {
        base_alloc_fail_from(++failed);
        rc = stage_load(model, &o, NULL, NULL, NULL, &stage, &err);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM, "%s", err.text);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 20);
    stage_destroy(&stage);
}

Test(stage, running_allocates_nothing)
{
    open_tiny(&(struct tiny_gguf_options){.layer_count = 2, .vocab_size = 32});
    struct stage_options o = whole();
    struct stage *stage = load(&o, NULL);
    const uint32_t tokens[] = {3, 1, 4, 1, 5};
    float out[32];

    base_alloc_fail_from(1);
    run_last(stage, tokens, 5, out);
    base_alloc_fail_from(0);
    cr_assert(isfinite(out[0]));
    stage_destroy(&stage);
}
