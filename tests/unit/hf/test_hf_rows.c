/* Rows of every operation on small tensors whose bytes are known, and names that do not fit. */
#include "hf_folder.h"
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "tensor_type.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *data;
static struct hf_weights *weights;
static struct hf_outputs outputs;

static int map(
    const struct hf_config *config, const char *header, size_t data_bytes, struct base_error *err)
{
    size_t bytes = 0;

    data = hf_folder_weights(header, data_bytes, &bytes);
    cr_assert_eq(hf_weights_open_memory(data, bytes, "w", &weights, err), BASE_OK, "%s", err->text);
    return hf_map_tensors(weights, config, &outputs, err);
}

static void unmap(void)
{
    hf_outputs_release(&outputs);
    hf_weights_close(&weights);
    free(data);
}

static struct hf_config config_of(const char *model_type)
{
    struct hf_config config = {
        .layer_count = 2, .head_count = 2, .kv_head_count = 1, .expert_count = 2, .rotary_dim = 4};
    char text[100];
    struct base_error err = {0};

    (void)snprintf(text, sizeof(text), "{\"model_type\":\"%s\"}", model_type);
    json_t *json = json_loads(text, 0, NULL);
    struct hf_object object = {"c", json, &err};
    cr_assert_eq(hf_family_find(&object, &config.family, &err), BASE_OK, "%s", err.text);
    json_decref(json);
    return config;
}

static const struct hf_output *find(const char *name)
{
    for (size_t i = 0; i < outputs.count; i++)
        if (strcmp(outputs.items[i].name, name) == 0)
            return &outputs.items[i];
    cr_assert_fail("%s is missing", name);
    return NULL;
}

static const uint8_t *read(const char *name, uint64_t first, uint64_t count, uint8_t *buffer)
{
    struct base_error err = {0};
    const uint8_t *rows = NULL;

    cr_assert_eq(hf_read_rows(find(name), first, count, buffer, &rows, &err), BASE_OK);
    return rows;
}

Test(hf_rows, permuted_plain_and_norms)
{
    struct hf_config config = config_of("llama");
    struct base_error err = {0};
    uint8_t buffer[64];
    float norm[2];

    /* q: 2 heads of 4 rows of 2 f16, k: 1 head. */
    int rc = map(&config,
        "{\"model.layers.1.self_attn.q_proj.weight\":"
        "{\"dtype\":\"F16\",\"shape\":[8,2],\"data_offsets\":[0,32]},"
        "\"model.layers.1.self_attn.v_proj.weight\":"
        "{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[32,40]},"
        "\"model.norm.weight\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[40,44]}}",
        44, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    const uint8_t *q = read("blk.1.attn_q.weight", 0, 8, buffer);
    const uint8_t order[] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (size_t i = 0; i < 8; i++)
        cr_expect_eq(q[4 * i], 4 * order[i], "row %zu", i);
    q = read("blk.1.attn_q.weight", 5, 1, buffer);
    cr_expect_eq(q[0], 24);
    const uint8_t *v = read("blk.1.attn_v.weight", 1, 1, buffer);
    cr_expect_eq(v, hf_weights_find(weights, "model.layers.1.self_attn.v_proj.weight")->data + 4,
        "straight from the file");
    cr_expect_eq(find("blk.1.attn_v.weight")->type, GGUF_BF16);
    cr_expect_eq(find("output_norm.weight")->type, GGUF_F32);
    memcpy(norm, read("output_norm.weight", 0, 1, buffer), sizeof(norm));
    cr_expect_eq(norm[1], tensor_bf16_to_f32(42 | 43 << 8));
    unmap();
}

Test(hf_rows, gemma_norms_are_one_more)
{
    struct hf_config config = config_of("gemma2");
    struct base_error err = {0};
    uint8_t buffer[64];
    float norm;

    int rc = map(&config,
        "{\"model.layers.0.post_attention_layernorm.weight\":"
        "{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
        4, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    memcpy(&norm, read("blk.0.post_attention_norm.weight", 0, 1, buffer), sizeof(norm));
    cr_expect_eq(norm, 1.0f, "tiny number plus one");
    unmap();
}

Test(hf_rows, experts_are_stacked)
{
    struct hf_config config = config_of("mixtral");
    struct base_error err = {0};
    uint8_t buffer[64];

    /* 2 experts of [1, 2] f16. */
    int rc = map(&config,
        "{\"model.layers.0.block_sparse_moe.experts.1.w1.weight\":"
        "{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]},"
        "\"model.layers.0.block_sparse_moe.experts.0.w1.weight\":"
        "{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[4,8]}}",
        8, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    const struct hf_output *gate = find("blk.0.ffn_gate_exps.weight");
    cr_expect_eq(gate->dimension_count, 3);
    cr_expect_eq(gate->dimensions[2], 2);
    const uint8_t *rows = read("blk.0.ffn_gate_exps.weight", 0, 2, buffer);
    cr_expect_eq(rows[0], 4);
    cr_expect_eq(rows[4], 0);
    unmap();
}

Test(hf_rows, gpt_oss_floats)
{
    struct hf_config config = config_of("gpt_oss");
    struct base_error err = {0};
    uint8_t buffer[64];

    /* [2 experts, in 2, out 4] bf16: element (e, i, o) begins with byte 2 * (8 e + 4 i + o). */
    int rc = map(&config,
        "{\"model.layers.0.mlp.experts.gate_up_proj\":"
        "{\"dtype\":\"BF16\",\"shape\":[2,2,4],\"data_offsets\":[0,32]},"
        "\"model.layers.0.mlp.experts.gate_up_proj_bias\":"
        "{\"dtype\":\"BF16\",\"shape\":[2,4],\"data_offsets\":[32,48]}}",
        48, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    /* Row 1 of expert 1 of up: column 3. */
    const uint8_t *row = read("blk.0.ffn_up_exps.weight", 3, 1, buffer);
    cr_expect_eq(row[0], 2 * (8 + 3));
    cr_expect_eq(row[2], 2 * (8 + 4 + 3));
    row = read("blk.0.ffn_gate_exps.weight", 0, 1, buffer);
    cr_expect_eq(row[0], 0);
    cr_expect_eq(row[2], 8);
    float bias[2];
    memcpy(bias, read("blk.0.ffn_up_exps.bias", 1, 1, buffer), sizeof(bias));
    cr_expect_eq(bias[1], tensor_bf16_to_f32((uint16_t)(46 | 47 << 8)));
    unmap();
}

Test(hf_rows, gpt_oss_blocks)
{
    struct hf_config config = config_of("gpt_oss");
    struct base_error err = {0};
    uint8_t buffer[64];

    /* [1 expert, 4 rows, 1 block, 16]; scales behind them. */
    config.expert_count = 1;
    int rc = map(&config,
        "{\"model.layers.0.mlp.experts.gate_up_proj_blocks\":"
        "{\"dtype\":\"U8\",\"shape\":[1,4,1,16],\"data_offsets\":[0,64]},"
        "\"model.layers.0.mlp.experts.gate_up_proj_scales\":"
        "{\"dtype\":\"U8\",\"shape\":[1,4,1],\"data_offsets\":[64,68]}}",
        68, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    const struct hf_output *up = find("blk.0.ffn_up_exps.weight");
    cr_expect_eq(up->type, GGUF_MXFP4);
    cr_expect_eq(up->dimensions[0], 32);
    cr_expect_eq(up->dimensions[1], 2);
    /* Row 1 of up is row 3 of the source: bytes 48..63, two neighbours in each. */
    const uint8_t *block = read("blk.0.ffn_up_exps.weight", 1, 1, buffer);
    cr_expect_eq(block[0], 67, "its scale");
    for (int j = 0; j < 16; j++) {
        int low = (48 + j / 2) >> j % 2 * 4 & 15;
        int high = (48 + 8 + j / 2) >> j % 2 * 4 & 15;
        cr_expect_eq(block[1 + j], low | high << 4, "byte %d", j);
    }
    unmap();
}

static void expect_refused(const char *model_type, const char *name, const char *rest, size_t bytes,
    int code, const char *why)
{
    struct hf_config config = config_of(model_type);
    struct base_error err = {0};
    char header[400];

    (void)snprintf(header, sizeof(header), "{\"%s\":{%s}}", name, rest);
    int rc = map(&config, header, bytes, &err);
    cr_expect_eq(rc, code, "%s: %s: %s", header, base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, why), "%s: %s", header, err.text);
    cr_expect_not_null(strstr(err.text, name), "%s: %s", header, err.text);
    unmap();
}

Test(hf_rows, refused)
{
    const char *floats = "\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]";

    expect_refused("llama", "model.layers.0.mystery.weight", floats, 8, BASE_UNSUPPORTED, "no use");
    expect_refused("llama", "model.layers.2.mlp.up_proj.weight", floats, 8, BASE_UNSUPPORTED,
        "no use"); /* there are two layers */
    expect_refused("llama", "vision_tower.x.weight", floats, 8, BASE_UNSUPPORTED, "no use");
    expect_refused("llama", "model.layers.0.mlp.up_proj.weight",
        "\"dtype\":\"F8_E4M3\",\"shape\":[1,2],\"data_offsets\":[0,2]", 2, BASE_UNSUPPORTED,
        "F8_E4M3");
    expect_refused("llama", "model.layers.0.mlp.up_proj.weight",
        "\"dtype\":\"F32\",\"shape\":[0,2],\"data_offsets\":[0,0]", 0, BASE_MALFORMED, "0 bytes");
    expect_refused(
        "llama", "model.layers.0.self_attn.q_proj.weight", floats, 8, BASE_MALFORMED, "heads");
    expect_refused("mixtral", "model.layers.0.block_sparse_moe.experts.2.w1.weight", floats, 8,
        BASE_MALFORMED, "experts");
    expect_refused("gpt_oss", "model.layers.0.mlp.experts.down_proj_blocks",
        "\"dtype\":\"U8\",\"shape\":[1,1,1,16],\"data_offsets\":[0,16]", 16, BASE_MALFORMED,
        "scales");
}

Test(hf_rows, missing_expert)
{
    struct hf_config config = config_of("mixtral");
    struct base_error err = {0};

    int rc = map(&config,
        "{\"model.layers.0.block_sparse_moe.experts.1.w1.weight\":"
        "{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[0,4]}}",
        4, &err);
    cr_assert_eq(rc, BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "expert 0 is missing"), "%s", err.text);
    unmap();
}

Test(hf_rows, allocation_failures)
{
    struct hf_config config = config_of("gpt_oss");
    struct base_error err = {0};
    unsigned long failed = 0;
    size_t bytes = 0;
    int rc;

    data = hf_folder_weights("{\"model.layers.0.mlp.experts.gate_up_proj\":"
                             "{\"dtype\":\"BF16\",\"shape\":[2,2,4],\"data_offsets\":[0,32]}}",
        32, &bytes);
    cr_assert_eq(hf_weights_open_memory(data, bytes, "w", &weights, &err), BASE_OK);
    do {
        base_alloc_fail_from(++failed);
        rc = hf_map_tensors(weights, &config, &outputs, NULL);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
        hf_outputs_release(&outputs);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 2);
    unmap();
}
