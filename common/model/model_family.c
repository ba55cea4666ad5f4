/* The rows: one per architecture that the forward pass can run. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

static const struct model_family families[] = {
    {.name = "llama", .rope_adjacent = true}, /* Mistral and Mixtral, too */
    {.name = "mistral3", .rope_adjacent = true},
    {.name = "qwen2"},
    {.name = "qwen2moe", .plain_experts = true},
    {.name = "qwen3", .qk_norm = MODEL_QK_HEAD},
    {.name = "qwen3moe", .qk_norm = MODEL_QK_HEAD},
    {.name = "gemma2",
        .activation = MODEL_GEGLU,
        .norm_place = MODEL_NORM_AROUND,
        .embedding_root = true,
        .attention_softcap = 50,
        .logit_softcap = 30,
        .window = 4096,
        .window_period = 2,
        .wide_scale_layers = 46},
    {.name = "gemma3",
        .activation = MODEL_GEGLU,
        .norm_place = MODEL_NORM_AROUND,
        .qk_norm = MODEL_QK_HEAD,
        .embedding_root = true,
        .local_rope = true,
        .local_rope_base = 10000,
        .window_period = 6,
        .wide_scale_layers = 62},
    {.name = "phi3"},
    {.name = "olmo2",
        .norm_place = MODEL_NORM_AFTER,
        .qk_norm = MODEL_QK_WHOLE,
        .local_rope = true,
        .window_period = 4},
    {.name = "granite", .rope_adjacent = true},
    {.name = "granitemoe", .rope_adjacent = true},
    {.name = "smollm3", .rope_adjacent = true, .no_rope_period = 4},
    {.name = "gpt-oss",
        .activation = MODEL_SWIGLU_CLAMPED,
        .sinks = true,
        .window_period = 2,
        .feed_forward_norm = "post_attention_norm"},
    {.name = "bert",
        .activation = MODEL_GELU,
        .norm_place = MODEL_NORM_SUM,
        .layer_norm = true,
        .encoder = true},
};

#define FAMILY_COUNT (sizeof(families) / sizeof(families[0]))

const struct model_family *model_family_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        if (strlen(families[i].name) == bytes && memcmp(families[i].name, name, bytes) == 0)
            return &families[i];
    return NULL;
}

void model_family_names(char *ret_text, size_t bytes)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < FAMILY_COUNT && used < bytes; i++)
        used += (size_t)snprintf(
            ret_text + used, bytes - used, "%s%s", i > 0 ? ", " : "", families[i].name);
}
