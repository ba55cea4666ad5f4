/* config.json to metadata: spellings, what is left out, and what is refused. */
#include "gguf_builder.h"
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SIZES                                                                                      \
    "\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":4,"                        \
    "\"intermediate_size\":96,\"max_position_embeddings\":512"

static struct gguf *file;
static uint8_t *header;
static struct hf_config config;

static int read_config(const char *text, struct base_error *err)
{
    struct gguf_builder *builder = NULL;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    size_t bytes = 0;

    cr_assert_not_null(json, "%s", text);
    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    int rc = hf_read_config(json, builder, &config, err);
    if (rc == BASE_OK) {
        cr_assert_eq(gguf_builder_header(builder, NULL, &header, &bytes, err), BASE_OK);
        cr_assert_eq(gguf_open_memory(header, bytes, "config", &file, err), BASE_OK);
    } else {
        hf_config_release(&config);
    }
    json_decref(json);
    gguf_builder_destroy(&builder);
    return rc;
}

static void open_config(const char *text)
{
    struct base_error err = {0};

    cr_assert_eq(read_config(text, &err), BASE_OK, "%s: %s", text, err.text);
}

static void close_config(void)
{
    gguf_close(&file);
    base_free(header);
    header = NULL;
    hf_config_release(&config);
}

static void expect_refused(const char *text, int code, const char *why)
{
    struct base_error err = {0};
    int rc = read_config(text, &err);

    cr_expect_eq(rc, code, "%s: %s %s", text, base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, why), "%s: %s", text, err.text);
    if (rc == BASE_OK)
        close_config();
}

static uint32_t u32(const char *key)
{
    uint32_t value = UINT32_MAX;

    (void)gguf_get_u32(file, key, &value, NULL);
    return value;
}

static float f32(const char *key)
{
    float value = -1;

    (void)gguf_get_f32(file, key, &value, NULL);
    return value;
}

Test(hf_config, defaults_of_the_family)
{
    open_config("{\"model_type\":\"llama\"," SIZES "}");
    cr_expect_eq(u32("llama.attention.head_count_kv"), 4);
    cr_expect_eq(u32("llama.attention.key_length"), 16);
    cr_expect_eq(u32("llama.attention.sliding_window"), UINT32_MAX);
    cr_expect_eq(f32("llama.attention.layer_norm_rms_epsilon"), 1e-6f);
    cr_expect_eq(f32("llama.rope.freq_base"), 10000.0f);
    cr_expect_not(config.tied);
    close_config();
    open_config("{\"model_type\":\"mistral\"," SIZES ",\"num_key_value_heads\":2}");
    cr_expect_eq(u32("llama.attention.sliding_window"), 4096);
    close_config();
    open_config("{\"model_type\":\"mistral\"," SIZES
                ",\"num_key_value_heads\":null,\"sliding_window\":null}");
    cr_expect_eq(u32("llama.attention.sliding_window"), UINT32_MAX);
    cr_expect_eq(u32("llama.attention.head_count_kv"), 4, "null: one for each head");
    close_config();
    open_config("{\"model_type\":\"gemma2\"," SIZES ",\"attn_logit_softcapping\":null}");
    cr_expect(config.tied);
    cr_expect_eq(u32("gemma2.attention.key_length"), 256);
    cr_expect_eq(f32("gemma2.attn_logit_softcapping"), 0.0f, "null: none");
    cr_expect_eq(f32("gemma2.final_logit_softcapping"), 30.0f, "absent: the family's");
    cr_expect_eq(f32("gemma2.attention.scale"), 0.0625f);
    close_config();
}

Test(hf_config, text_part_of_a_multimodal_model)
{
    open_config("{\"model_type\":\"gemma3\",\"architectures\":[\"Gemma3ForConditionalGeneration\"],"
                "\"text_config\":{\"model_type\":\"gemma3_text\",\"hidden_size\":2560,"
                "\"intermediate_size\":10240,\"num_hidden_layers\":34,\"sliding_window\":1024,"
                "\"rope_scaling\":{\"factor\":8.0,\"rope_type\":\"linear\"}}}");
    cr_expect_eq(u32("gemma3.embedding_length"), 2560);
    cr_expect_eq(u32("gemma3.attention.head_count"), 8);
    cr_expect_eq(u32("gemma3.attention.head_count_kv"), 4);
    cr_expect_eq(u32("gemma3.context_length"), 131072);
    cr_expect_eq(u32("gemma3.attention.sliding_window"), 1024);
    cr_expect_eq(f32("gemma3.rope.freq_base"), 1e6f);
    cr_expect_eq(f32("gemma3.rope.freq_base_swa"), 1e4f);
    cr_expect_eq(f32("gemma3.rope.scaling.factor"), 8.0f);
    close_config();
}

/* Flags of attention.sliding_window_pattern as digits, or "none". */
static const char *pattern(const char *key)
{
    static char text[64];
    struct gguf_array array;
    int64_t flag = 0;
    size_t count = 0;

    if (gguf_get_array(file, key, &array, NULL) != BASE_OK)
        return "none";
    while (count < 60 && gguf_array_next_i64(&array, &flag))
        text[count++] = flag != 0 ? '1' : '0';
    text[count] = '\0';
    return text;
}

Test(hf_config, windows)
{
    open_config("{\"model_type\":\"qwen2\"," SIZES
                ",\"sliding_window\":32,\"use_sliding_window\":true,\"max_window_layers\":3}");
    cr_expect_eq(u32("qwen2.attention.sliding_window"), 32);
    cr_expect_str_eq(pattern("qwen2.attention.sliding_window_pattern"), "0001");
    close_config();
    open_config("{\"model_type\":\"qwen2\"," SIZES ",\"sliding_window\":32}");
    cr_expect_eq(u32("qwen2.attention.sliding_window"), UINT32_MAX, "not used unless it says so");
    close_config();
    open_config("{\"model_type\":\"gpt_oss\"," SIZES ",\"num_local_experts\":4}");
    cr_expect_eq(u32("gpt-oss.attention.sliding_window"), 128);
    cr_expect_str_eq(pattern("gpt-oss.attention.sliding_window_pattern"), "none", "as implied");
    close_config();
    open_config("{\"model_type\":\"gpt_oss\"," SIZES ",\"num_local_experts\":4,\"layer_types\":["
                "\"full_attention\",\"sliding_attention\",\"full_attention\",\"full_attention\"]}");
    cr_expect_str_eq(pattern("gpt-oss.attention.sliding_window_pattern"), "0100");
    close_config();
    open_config(
        "{\"model_type\":\"gpt_oss\"," SIZES ",\"num_local_experts\":4,\"sliding_window\":null}");
    cr_expect_eq(u32("gpt-oss.attention.sliding_window"), 0, "said, since absent means 128");
    close_config();
}

Test(hf_config, rope)
{
    open_config("{\"model_type\":\"llama\"," SIZES ",\"rope_theta\":500000,\"rope_scaling\":{"
                "\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,"
                "\"high_freq_factor\":4,\"original_max_position_embeddings\":64}}");
    cr_expect_eq(f32("llama.rope.freq_base"), 5e5f);
    cr_assert_not_null(config.rope_factors);
    cr_expect_eq(config.rope_factors[0], 1.0f, "short waves stay");
    cr_expect_eq(config.rope_factors[7], 8.0f, "long waves are stretched");
    close_config();
    open_config("{\"model_type\":\"qwen2\"," SIZES ",\"rope_scaling\":{\"type\":\"yarn\","
                "\"factor\":4,\"original_max_position_embeddings\":128,\"truncate\":false,"
                "\"attention_factor\":1}}");
    cr_expect_eq(u32("qwen2.rope.scaling.original_context_length"), 128);
    cr_expect_eq(f32("qwen2.rope.scaling.factor"), 4.0f);
    cr_expect_float_eq(
        (double)f32("qwen2.rope.scaling.yarn_attn_factor"), 1 / (0.1 * log(4) + 1), 1e-6);
    cr_expect_eq(gguf_get_bool(file, "qwen2.rope.scaling.yarn_truncate", &(bool){true}, NULL), 0);
    close_config();
    open_config("{\"model_type\":\"phi3\"," SIZES ",\"original_max_position_embeddings\":128,"
                "\"partial_rotary_factor\":0.25,\"rope_scaling\":{\"type\":\"su\","
                "\"long_factor\":[1,2],\"short_factor\":[3,4]}}");
    cr_expect_eq(u32("phi3.rope.dimension_count"), 4);
    cr_expect_eq(config.rope_long_factors[1], 2.0f);
    cr_expect_eq(config.rope_short_factors[0], 3.0f);
    cr_expect_float_eq(
        (double)f32("phi3.rope.scaling.attn_factor"), sqrt(1 + log(4) / log(128)), 1e-6);
    close_config();
}

Test(hf_config, refused)
{
    expect_refused("{\"model_type\":\"mamba\"}", BASE_UNSUPPORTED, "supported: llama, mistral");
    expect_refused("{}", BASE_MALFORMED, "model_type");
    expect_refused("{\"model_type\":\"qwen3\",\"architectures\":"
                   "[\"Qwen3ForSequenceClassification\"]," SIZES "}",
        BASE_UNSUPPORTED, "Qwen3ForSequenceClassification");
    expect_refused("{\"model_type\":\"llama\"}", BASE_MALFORMED, "hidden_size: the key is missing");
    expect_refused(
        "{\"model_type\":\"llama\",\"hidden_size\":0}", BASE_MALFORMED, "hidden_size: 0 is not");
    expect_refused("{\"model_type\":\"llama\",\"hidden_size\":\"64\"}", BASE_MALFORMED,
        "hidden_size: not an integer");
    const char *const methods[] = {"fp8", "awq", "gptq", "bitsandbytes", "mxfp4"};
    for (size_t i = 0; i < 5; i++) {
        char text[400];
        (void)snprintf(text, sizeof(text),
            "{\"model_type\":\"llama\"," SIZES
            ",\"quantization_config\":{\"quant_method\":\"%s\"}}",
            methods[i]);
        expect_refused(text, BASE_UNSUPPORTED, methods[i]);
    }
    expect_refused(
        "{\"model_type\":\"llama\"," SIZES ",\"hidden_act\":\"relu\"}", BASE_UNSUPPORTED, "relu");
    expect_refused("{\"model_type\":\"llama\"," SIZES
                   ",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}",
        BASE_UNSUPPORTED, "dynamic");
    expect_refused("{\"model_type\":\"llama\"," SIZES
                   ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}",
        BASE_MALFORMED, "factor: not above 0");
    expect_refused("{\"model_type\":\"phi3\"," SIZES ",\"rope_scaling\":{\"type\":\"longrope\","
                   "\"long_factor\":[1],\"short_factor\":[1]}}",
        BASE_MALFORMED, "long_factor");
    expect_refused(
        "{\"model_type\":\"llama\"," SIZES ",\"rope_theta\":-1}", BASE_MALFORMED, "rope_theta");
    expect_refused(
        "{\"model_type\":\"llama\"," SIZES ",\"head_dim\":3}", BASE_MALFORMED, "head_dim");
    expect_refused("{\"model_type\":\"gemma2\"," SIZES ",\"layer_types\":[\"full_attention\"]}",
        BASE_MALFORMED, "layer_types");
    expect_refused("{\"model_type\":\"smollm3\"," SIZES ",\"no_rope_layers\":[1,0,1,1]}",
        BASE_UNSUPPORTED, "no_rope_layers");
    expect_refused("{\"model_type\":\"qwen3_moe\"," SIZES "}", BASE_MALFORMED, "num_local_experts");
    expect_refused("{\"model_type\":\"qwen3_moe\"," SIZES
                   ",\"num_experts\":4,\"num_experts_per_tok\":5}",
        BASE_MALFORMED, "num_experts_per_tok");
}
