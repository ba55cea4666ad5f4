/* Tiny models are understood; models that do not add up are refused by name. */
#include "model.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "tensor_matrix.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *data;
static size_t bytes;
static struct gguf *file;
static struct model *model;
static struct base_error err;

static int open_built(void)
{
    memset(&err, 0, sizeof(err));
    int rc = gguf_open_memory(data, bytes, "tiny.gguf", &file, &err);
    return rc == BASE_OK ? model_open_gguf(&file, &model, &err) : rc;
}

static int open_tiny(const struct tiny_gguf_options *options)
{
    data = tiny_gguf_build(options, &bytes);
    return open_built();
}

static void close_all(void)
{
    model_close(&model);
    gguf_close(&file);
    free(data);
    data = NULL;
}

TestSuite(model, .fini = close_all);

Test(model, sizes)
{
    struct tiny_gguf_options options = {.weight_type = TENSOR_Q8_0,
        .layer_count = 3,
        .head_count = 4,
        .kv_head_count = 2,
        .vocab_size = 96,
        .biases = true};

    cr_assert_eq(open_tiny(&options), BASE_OK, "%s", err.text);
    cr_assert_null(file, "taken by the model");
    const struct model_config *c = model_get_config(model);
    cr_assert_str_eq(c->family->name, "llama");
    cr_assert(c->family->rope_adjacent);
    cr_assert_eq(c->layer_count, 3);
    cr_assert_eq(c->embedding_length, 64);
    cr_assert_eq(c->feed_forward_length, 96);
    cr_assert_eq(c->head_count, 4);
    cr_assert_eq(c->kv_head_count, 2);
    cr_assert_eq(c->head_dim, 16);
    cr_assert_eq(c->rotary_dim, 16);
    cr_assert_eq(c->vocab_size, 96);
    cr_assert_eq(c->context_length, 256);
    cr_assert_eq(c->rope_count, 1);
    cr_assert_eq(c->ropes[0].factor, 1.0f);
    cr_assert_eq(c->attention_scale, 0.25f);
    cr_assert_not(c->tied_output);
    const struct model_layer *third = model_get_layer(model, 3);
    cr_assert_str_eq(third->matrices[MODEL_DOWN].tensor->name, "blk.2.ffn_down.weight");
    cr_assert_eq(third->matrices[MODEL_DOWN].count, 64);
    cr_assert_eq(third->vectors[MODEL_K_BIAS].count, 32);
    cr_assert_eq(third->rope, 0);
    cr_assert_null(c->ropes[0].factors);
    cr_assert_not_null(model_get_layer(model, 4)->matrices[MODEL_HEAD].tensor);
    cr_assert_null(model_get_layer(model, 5));
}

Test(model, tied_with_factors_and_linear_scaling)
{
    struct tiny_gguf_options options = {
        .tied = true, .rope_factors = true, .rope_scaling_factor = 4.0f};

    cr_assert_eq(open_tiny(&options), BASE_OK, "%s", err.text);
    cr_assert(model_get_config(model)->tied_output);
    cr_assert_null(model_get_layer(model, 3)->matrices[MODEL_HEAD].tensor);
    cr_assert_eq(model_get_config(model)->ropes[0].factors->dimensions[0], 8);
    cr_assert_eq(model_get_config(model)->ropes[0].factor, 4.0f);
    cr_assert_null(model_get_layer(model, 1)->vectors[MODEL_Q_BIAS].tensor);
}

Test(model, costs)
{
    struct tiny_gguf_options options = {.weight_type = TENSOR_Q8_0};
    struct model_layer_cost cost;

    cr_assert_eq(open_tiny(&options), BASE_OK, "%s", err.text);
    model_layer_cost(model, 0, TENSOR_F32, &cost);
    cr_assert_eq(cost.weight_type, TENSOR_Q8_0);
    cr_assert_eq(cost.weight_bytes, tensor_matrix_bytes(TENSOR_Q8_0, 64, 64));
    cr_assert_eq(cost.kv_bytes_per_token, 0);
    model_layer_cost(model, 1, TENSOR_F32, &cost);
    /* q 64x64, k and v 32x64, output 64x64, gate and up 96x64, down 64x96 */
    cr_assert_eq(cost.operations_per_token, 2u * (64 * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 3));
    cr_assert_eq(cost.kv_bytes_per_token, 2 * 2 * 16 * 4);
    model_layer_cost(model, 1, TENSOR_Q8_0, &cost);
    cr_assert_eq(cost.kv_bytes_per_token, 2 * 2 * (16 + 4));
    model_layer_cost(model, 1, TENSOR_F16, &cost);
    cr_assert_eq(cost.kv_bytes_per_token, 2 * 2 * 16 * 2);
    cr_assert_eq(cost.weight_type, TENSOR_Q8_0);
    cr_assert_eq(cost.weight_bytes,
        (64u * 64 * 2 + 32 * 64 * 2 + 96 * 64 * 3) / 32 * 34 + 2 * 64 * sizeof(float));
    model_layer_cost(model, 3, TENSOR_F32, &cost);
    cr_assert_eq(cost.operations_per_token, 2u * 64 * 64);
    cr_assert_eq(cost.weight_bytes, 64u * 64 / 32 * 34 + 64 * sizeof(float));
    model_layer_cost(model, 4, TENSOR_F32, &cost);
    cr_assert_eq(cost.weight_bytes, 0);
}

static void expect_refused(
    const struct tiny_gguf_options *options, int code, const char *what, const char *why)
{
    int rc = open_tiny(options);

    cr_expect_eq(rc, code, "%s: got %s: %s", what, base_err_name(rc), err.text);
    cr_expect_eq(strncmp(err.text, "tiny.gguf: byte ", 16), 0, "%s", err.text);
    cr_expect_not_null(strstr(err.text, what), "%s", err.text);
    cr_expect_not_null(strstr(err.text, why), "%s", err.text);
    cr_expect_null(model);
    cr_expect_not_null(file, "stays the caller's");
    close_all();
}

Test(model, features_that_are_not_there)
{
    struct tiny_gguf_options options = {.extra_key = "llama.expert_group_count", .extra_value = 8};

    expect_refused(&options, BASE_UNSUPPORTED, "llama.expert_group_count", "8");
    options.extra_key = "llama.attention.new_kind";
    expect_refused(&options, BASE_UNSUPPORTED, "llama.attention.new_kind", "could change");
    options.extra_key = "llama.expert_count";
    expect_refused(&options, BASE_MALFORMED, "llama.expert_used_count", "missing");
    options.extra_key = "llama.rope.scaling.type";
    options.extra_text = "su";
    expect_refused(&options, BASE_UNSUPPORTED, "llama.rope.scaling.type", "\"su\"");
    options.extra_text = "none";
    cr_expect_eq(open_tiny(&options), BASE_OK, "%s", err.text);
    close_all();
    options.extra_key = "llama.attention.scale";
    expect_refused(&options, BASE_MALFORMED, "llama.attention.scale", "string");
}

Test(model, window_does_not_cap_the_context)
{
    struct tiny_gguf_options options = {
        .extra_key = "llama.attention.sliding_window", .extra_value = 40};

    cr_assert_eq(open_tiny(&options), BASE_OK, "%s", err.text);
    cr_assert_eq(model_get_config(model)->context_length, 256);
    cr_assert_eq(model_get_layer(model, 1)->window, 40);
    cr_assert_eq(model_get_layer(model, 2)->window, 40);
}

/* Replaces text where it stands first; lengths must agree. */
static void patch(const char *text, const char *with)
{
    uint8_t *found = memmem(data, bytes, text, strlen(text));

    cr_assert_not_null(found, "%s", text);
    cr_assert_eq(strlen(text), strlen(with));
    memcpy(found, with, strlen(with));
}

/* Sets the value of an integer key. */
static void patch_u32(const char *key, uint32_t value)
{
    uint8_t *found = memmem(data, bytes, key, strlen(key));

    cr_assert_not_null(found, "%s", key);
    memcpy(found + strlen(key) + 4, &value, sizeof(value));
}

static void expect_patched(int code, const char *what, const char *why)
{
    int rc = open_built();

    cr_expect_eq(rc, code, "%s: got %s: %s", what, base_err_name(rc), err.text);
    cr_expect_eq(strncmp(err.text, "tiny.gguf: byte ", 16), 0, "%s", err.text);
    cr_expect_not_null(strstr(err.text, what), "%s", err.text);
    cr_expect_not_null(strstr(err.text, why), "%s", err.text);
    close_all();
}

Test(model, metadata_that_does_not_add_up)
{
    const struct tiny_gguf_options options = {.seed = 3};
    const struct {
        const char *key;
        uint32_t value;
        const char *why;
    } cases[] = {
        {"llama.block_count", 0, "0 is not within"},
        {"llama.block_count", 2000, "2000 is not within"},
        {"llama.embedding_length", 0, "0 is not within"},
        {"llama.feed_forward_length", UINT32_MAX, "is not within"},
        {"llama.context_length", 0, "0 is not within"},
        {"llama.attention.head_count", 0, "0 is not within"},
        {"llama.attention.head_count_kv", 3, "does not divide"},
        {"llama.attention.key_length", 15, "value_length"},
        {"llama.rope.dimension_count", 15, "odd"},
        {"llama.rope.dimension_count", 18, "is not within 1..16"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        data = tiny_gguf_build(&options, &bytes);
        patch_u32(cases[i].key, cases[i].value);
        int rc = open_built();
        cr_expect(rc == BASE_MALFORMED || rc == BASE_UNSUPPORTED, "%s: %s", cases[i].key,
            base_err_name(rc));
        cr_expect_eq(strncmp(err.text, "tiny.gguf: byte ", 16), 0, "%s", err.text);
        cr_expect(strstr(err.text, cases[i].why) != NULL, "%s: %s", cases[i].key, err.text);
        close_all();
    }
    data = tiny_gguf_build(&options, &bytes);
    patch("llama.context_length", "lama..context_length");
    expect_patched(BASE_MALFORMED, "llama.context_length", "missing");
}

Test(model, family_that_is_not_known)
{
    struct tiny_gguf_options options = {.seed = 3};
    uint8_t *value;

    data = tiny_gguf_build(&options, &bytes);
    value = memmem(data, bytes, "general.architecture", 20);
    memcpy(value + 20 + 4 + 8, "gemma", 5);
    expect_patched(
        BASE_UNSUPPORTED, "general.architecture", "\"gemma\" is not supported (supported: llama");
}

Test(model, tensors_that_do_not_add_up)
{
    const struct tiny_gguf_options options = {.seed = 3};

    data = tiny_gguf_build(&options, &bytes);
    patch("blk.1.ffn_up.weight", "blk.1.ffn_xx.weight");
    expect_patched(BASE_MALFORMED, "blk.1.ffn_up.weight", "missing");
    data = tiny_gguf_build(&options, &bytes);
    patch("output.weight", "outbut.weight"); /* of blk.0.attn_output.weight */
    expect_patched(BASE_MALFORMED, "blk.0.attn_output.weight", "missing");
    data = tiny_gguf_build(&options, &bytes);
    patch_u32("llama.feed_forward_length", 128);
    expect_patched(BASE_MALFORMED, "blk.0.ffn_gate.weight", "shape [64, 96, 1, 1]");
    data = tiny_gguf_build(&options, &bytes);
    patch_u32("llama.block_count", 1);
    expect_patched(BASE_UNSUPPORTED, "blk.1.attn_norm.weight", "no use");
    data = tiny_gguf_build(&options, &bytes);
    /* Name, dimension count, one dimension, then the type: I32 has no kernels. */
    uint8_t *name = memmem(data, bytes, "output_norm.weight", 18);
    const uint32_t integers = 26;
    memcpy(name + 18 + 4 + 8, &integers, sizeof(integers));
    expect_patched(BASE_UNSUPPORTED, "output_norm.weight", "I32");
}

Test(model, allocation_failures)
{
    const struct tiny_gguf_options options = {.seed = 3};
    unsigned long failed = 0;
    int rc;

    data = tiny_gguf_build(&options, &bytes);
    do {
        base_alloc_fail_from(++failed);
        rc = open_built();
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
        if (rc != BASE_OK)
            gguf_close(&file);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 5);
}
