/* The rows: one per model type that config.json may name. Numbers are the defaults of
 * transformers' configuration classes, which config.json files leave out. */
#include "hf_internal.h"

#include "base_err.h"
#include <stdio.h>
#include <string.h>

static const struct hf_family families[] = {
    {.model_type = "llama",
        .gguf = "llama",
        .rope_adjacent = true,
        .activation = "silu",
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "mistral",
        .gguf = "llama",
        .rope_adjacent = true,
        .activation = "silu",
        .kv_head_count = 8,
        .window = 4096,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "mixtral",
        .gguf = "llama",
        .rope_adjacent = true,
        .activation = "silu",
        .kv_head_count = 8,
        .norm_epsilon = 1e-5,
        .rope_theta = 1e6},
    {.model_type = "qwen2",
        .gguf = "qwen2",
        .activation = "silu",
        .kv_head_count = 32,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "qwen2_moe",
        .gguf = "qwen2moe",
        .activation = "silu",
        .kv_head_count = 16,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "qwen3",
        .gguf = "qwen3",
        .activation = "silu",
        .kv_head_count = 32,
        .head_dim = 128,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "qwen3_moe",
        .gguf = "qwen3moe",
        .activation = "silu",
        .kv_head_count = 4,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "gemma2",
        .gguf = "gemma2",
        .style = HF_STYLE_GEMMA,
        .tied = true,
        .activation = "gelu_pytorch_tanh",
        .kv_head_count = 4,
        .head_dim = 256,
        .window = 4096,
        .window_period = 2,
        .norm_epsilon = 1e-6,
        .rope_theta = 10000,
        .attention_softcap = 50,
        .logit_softcap = 30,
        .query_scalar = 256},
    {.model_type = "gemma3_text",
        .gguf = "gemma3",
        .style = HF_STYLE_GEMMA,
        .tied = true,
        .activation = "gelu_pytorch_tanh",
        .kv_head_count = 4,
        .head_dim = 256,
        .window = 4096,
        .window_period = 6,
        .norm_epsilon = 1e-6,
        .rope_theta = 1e6,
        .query_scalar = 256,
        .hidden_size = 2304,
        .intermediate_size = 9216,
        .layer_count = 26,
        .head_count = 8,
        .max_positions = 131072},
    {.model_type = "phi3",
        .gguf = "phi3",
        .activation = "silu",
        .norm_epsilon = 1e-5,
        .rope_theta = 10000},
    {.model_type = "olmo2",
        .gguf = "olmo2",
        .style = HF_STYLE_POST,
        .activation = "silu",
        .norm_epsilon = 1e-5,
        .rope_theta = 10000},
    {.model_type = "olmo3",
        .gguf = "olmo2",
        .style = HF_STYLE_POST,
        .activation = "silu",
        .window = 4096,
        .window_period = 4,
        .norm_epsilon = 1e-5,
        .rope_theta = 10000},
    {.model_type = "granite",
        .gguf = "granite",
        .rope_adjacent = true,
        .activation = "silu",
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "granitemoe",
        .gguf = "granitemoe",
        .rope_adjacent = true,
        .activation = "silu",
        .norm_epsilon = 1e-6,
        .rope_theta = 10000},
    {.model_type = "smollm3",
        .gguf = "smollm3",
        .rope_adjacent = true,
        .tied = true,
        .activation = "silu",
        .kv_head_count = 4,
        .norm_epsilon = 1e-6,
        .rope_theta = 2e6},
    {.model_type = "gpt_oss",
        .gguf = "gpt-oss",
        .style = HF_STYLE_GPT_OSS,
        .activation = "silu",
        .kv_head_count = 8,
        .head_dim = 64,
        .window = 128,
        .window_period = 2,
        .norm_epsilon = 1e-5,
        .rope_theta = 150000},
    {.model_type = "bert",
        .gguf = "bert",
        .style = HF_STYLE_BERT,
        .layer_norm = true,
        .activation = "gelu",
        .norm_epsilon = 1e-12},
};

#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

/* Architectures by their last part: what stands on the trunk. */
static bool known_head(const char *architecture, const char *model_type)
{
    static const char *const heads[] = {"ForCausalLM", "LMHeadModel", "Model"};
    size_t length = strlen(architecture);

    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        size_t tail = strlen(heads[i]);
        if (length > tail && strcmp(architecture + length - tail, heads[i]) == 0)
            return true;
    }
    if (strcmp(model_type, "bert") == 0)
        return strcmp(architecture, "BertForSequenceClassification") == 0 ||
               strcmp(architecture, "BertForMaskedLM") == 0;
    return strcmp(architecture, "Gemma3ForConditionalGeneration") == 0;
}

static int unsupported(
    const struct hf_object *config, const char *key, const char *found, struct base_error *err)
{
    char names[200];
    size_t used = 0;

    for (size_t i = 0; i < FAMILY_COUNT && used < sizeof(names); i++)
        used += (size_t)snprintf(
            names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", families[i].model_type);
    return base_error_set(err, BASE_UNSUPPORTED,
        "%s: %s: \"%.40s\" is not supported (supported: %s)", config->file, key, found, names);
}

int hf_family_find(
    const struct hf_object *config, const struct hf_family **ret_family, struct base_error *err)
{
    const char *type = NULL;
    const json_t *list = json_object_get(config->json, "architectures");
    const char *architecture = json_string_value(json_array_get(list, 0));
    int rc = hf_get_text(config, "model_type", &type);

    if (rc != BASE_OK)
        return rc;
    if (type == NULL)
        return base_error_set(
            err, BASE_MALFORMED, "%s: model_type: the key is missing", config->file);
    /* A multimodal model's text part has its own type. */
    if (strcmp(type, "gemma3") == 0)
        type = "gemma3_text";
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (strcmp(families[i].model_type, type) != 0)
            continue;
        if (architecture != NULL && !known_head(architecture, type))
            return unsupported(config, "architectures", architecture, err);
        *ret_family = &families[i];
        return BASE_OK;
    }
    return unsupported(config, "model_type", type, err);
}
