#include "cli_recipe.h"

#include "gguf.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A part of a model that a mixture treats on its own. */
enum part { PART_OTHER, PART_OUTPUT, PART_VALUE, PART_QKV, PART_DOWN, PART_ATTENTION_OUTPUT };

struct cli_recipe {
    const char *name;
    uint32_t file_type;
    uint32_t type;                  /* of most matrices */
    uint32_t output;                /* of the head, or the embedding that serves as one */
    uint32_t value, value_first;    /* attn_v: of some layers, of the first ones */
    uint32_t down, down_first;      /* ffn_down: likewise */
    uint32_t down_rest;             /* ffn_down of the other layers; 0: type */
    uint32_t attention_output, qkv; /* 0: type */
    uint32_t first_share;           /* the first layers are layer_count / first_share */
};

static const struct cli_recipe recipes[] = {
    {.name = "f32", .file_type = 0, .type = GGUF_F32, .output = GGUF_F32},
    {.name = "f16", .file_type = 1, .type = GGUF_F16, .output = GGUF_F16},
    {.name = "bf16", .file_type = 32, .type = GGUF_BF16, .output = GGUF_BF16},
    {.name = "q8_0", .file_type = 7, .type = GGUF_Q8_0, .output = GGUF_Q8_0},
    {.name = "q4_0", .file_type = 2, .type = GGUF_Q4_0, .output = GGUF_Q6_K},
    {.name = "q4_1", .file_type = 3, .type = GGUF_Q4_1, .output = GGUF_Q6_K},
    {.name = "q5_0", .file_type = 8, .type = GGUF_Q5_0, .output = GGUF_Q6_K},
    {.name = "q5_1", .file_type = 9, .type = GGUF_Q5_1, .output = GGUF_Q6_K},
    {.name = "q2_k",
        .file_type = 10,
        .type = GGUF_Q2_K,
        .output = GGUF_Q6_K,
        .value = GGUF_Q4_K,
        .value_first = GGUF_Q4_K,
        .down = GGUF_Q3_K,
        .down_rest = GGUF_Q3_K,
        .attention_output = GGUF_Q3_K},
    {.name = "q3_k_s", .file_type = 11, .type = GGUF_Q3_K, .output = GGUF_Q6_K},
    {.name = "q3_k_m",
        .file_type = 12,
        .type = GGUF_Q3_K,
        .output = GGUF_Q6_K,
        .value = GGUF_Q4_K,
        .value_first = GGUF_Q5_K,
        .down = GGUF_Q4_K,
        .down_first = GGUF_Q5_K,
        .attention_output = GGUF_Q4_K,
        .qkv = GGUF_Q4_K,
        .first_share = 16},
    {.name = "q3_k_l",
        .file_type = 13,
        .type = GGUF_Q3_K,
        .output = GGUF_Q6_K,
        .value = GGUF_Q5_K,
        .value_first = GGUF_Q5_K,
        .down = GGUF_Q5_K,
        .down_rest = GGUF_Q5_K,
        .attention_output = GGUF_Q5_K},
    {.name = "q4_k_s",
        .file_type = 14,
        .type = GGUF_Q4_K,
        .output = GGUF_Q6_K,
        .value_first = GGUF_Q5_K,
        .down_first = GGUF_Q5_K,
        .first_share = 8},
    {.name = "q4_k_m",
        .file_type = 15,
        .type = GGUF_Q4_K,
        .output = GGUF_Q6_K,
        .value = GGUF_Q6_K,
        .down = GGUF_Q6_K,
        .qkv = GGUF_Q5_K},
    {.name = "q5_k_s",
        .file_type = 16,
        .type = GGUF_Q5_K,
        .output = GGUF_Q6_K,
        .down_first = GGUF_Q6_K,
        .first_share = 8},
    {.name = "q5_k_m",
        .file_type = 17,
        .type = GGUF_Q5_K,
        .output = GGUF_Q6_K,
        .value = GGUF_Q6_K,
        .down = GGUF_Q6_K,
        .qkv = GGUF_Q6_K},
    {.name = "q6_k", .file_type = 18, .type = GGUF_Q6_K, .output = GGUF_Q6_K},
    {.name = "iq4_nl",
        .file_type = 25,
        .type = GGUF_IQ4_NL,
        .output = GGUF_Q6_K,
        .value = GGUF_Q5_K,
        .value_first = GGUF_Q5_K,
        .down_first = GGUF_Q5_K,
        .first_share = 8},
    {.name = "iq4_xs",
        .file_type = 30,
        .type = GGUF_IQ4_XS,
        .output = GGUF_Q6_K,
        .value = GGUF_Q5_K,
        .value_first = GGUF_Q5_K,
        .down_first = GGUF_Q5_K,
        .first_share = 8},
    {.name = "mxfp4", .file_type = 38, .type = GGUF_MXFP4, .output = GGUF_Q8_0},
};

#define RECIPES (sizeof(recipes) / sizeof(recipes[0]))

const struct cli_recipe *cli_recipe_find(const char *name)
{
    static const char *const aliases[][2] = {
        {"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"}, {"q2_k_m", "q2_k"}};

    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcasecmp(aliases[i][0], name) == 0)
            name = aliases[i][1];
    for (size_t i = 0; i < RECIPES; i++)
        if (strcasecmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}

const char *cli_recipe_names(void)
{
    static char names[256];
    size_t used = 0;

    for (size_t i = 0; i < RECIPES && names[sizeof(names) - 2] == '\0' && used < sizeof(names); i++)
        used += (size_t)snprintf(
            names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", recipes[i].name);
    return names;
}

uint32_t cli_recipe_file_type(const struct cli_recipe *self)
{
    return self->file_type;
}

bool cli_recipe_applies(const struct gguf_tensor *tensor)
{
    static const char *const floats[] = {
        "ffn_gate_inp", "position_embd", "token_types", "rope_f", "_norm", ".bias"};

    if (tensor->dimension_count < 2 || (tensor->dimensions[1] == 1 && tensor->dimensions[2] == 1))
        return false;
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++)
        if (strstr(tensor->name, floats[i]) != NULL)
            return false;
    return true;
}

static enum part part_of(const struct gguf *model, const char *name)
{
    if (strcmp(name, "output.weight") == 0)
        return PART_OUTPUT;
    if (strcmp(name, "token_embd.weight") == 0)
        return gguf_tensor_find(model, "output.weight") == NULL ? PART_OUTPUT : PART_OTHER;
    if (strstr(name, ".attn_v.") != NULL)
        return PART_VALUE;
    if (strstr(name, ".attn_qkv.") != NULL)
        return PART_QKV;
    if (strstr(name, ".ffn_down") != NULL)
        return PART_DOWN;
    return strstr(name, ".attn_output.") != NULL ? PART_ATTENTION_OUTPUT : PART_OTHER;
}

static uint32_t layer_count(const struct gguf *model)
{
    struct gguf_string name = {0};
    char key[96];
    uint32_t count = 0;

    if (gguf_get_string(model, "general.architecture", &name, NULL) != 0)
        return 0;
    (void)snprintf(
        key, sizeof(key), "%.*s.block_count", (int)(name.bytes < 64 ? name.bytes : 64), name.data);
    (void)gguf_get_u32(model, key, &count, NULL);
    return count;
}

/* The first and the last eighth, and every third layer between. */
static bool more_bits(uint32_t layer, uint32_t count)
{
    return layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2;
}

static uint32_t mixed(
    uint32_t type, uint32_t first, uint32_t some, uint32_t rest, bool is_first, bool is_some)
{
    if (first != 0 && is_first)
        return first;
    if (some != 0 && is_some)
        return some;
    return rest != 0 ? rest : type;
}

/* Types with smaller blocks for rows that the wanted one does not fit. */
static uint32_t fitting(uint32_t type, uint64_t columns)
{
    static const uint32_t fallback[][2] = {{GGUF_Q2_K, GGUF_Q4_0}, {GGUF_Q3_K, GGUF_Q4_0},
        {GGUF_Q4_K, GGUF_Q5_0}, {GGUF_Q5_K, GGUF_Q5_1}, {GGUF_Q6_K, GGUF_Q8_0},
        {GGUF_IQ4_XS, GGUF_IQ4_NL}};
    uint32_t elements = 1, bytes = 0;

    for (size_t i = 0; columns % 256 != 0 && i < sizeof(fallback) / sizeof(fallback[0]); i++)
        if (type == fallback[i][0]) {
            type = fallback[i][1];
            break;
        }
    if (!gguf_type_block(type, &elements, &bytes) || columns % elements != 0)
        return GGUF_F16;
    return type;
}

uint32_t cli_recipe_type(
    const struct cli_recipe *self, const struct gguf *model, const struct gguf_tensor *tensor)
{
    uint32_t count = layer_count(model), type;
    unsigned layer = 0;

    if (self == NULL)
        return tensor->type;
    if (!cli_recipe_applies(tensor))
        return GGUF_F32;
    (void)sscanf(tensor->name, "blk.%5u.", &layer);
    uint32_t share = self->first_share > 0 ? self->first_share : 8;
    bool some = more_bits(layer, count), first = layer < count / share;
    switch (part_of(model, tensor->name)) {
    case PART_OUTPUT:
        type = self->output;
        break;
    case PART_VALUE:
        /* Where values have a type of their own, all layers or some get it. */
        first = self->type == GGUF_Q3_K ? layer < 2 : self->type == GGUF_Q4_K ? layer < 4 : true;
        type = mixed(
            self->type, self->value_first, self->value, 0, first, self->value_first != 0 || some);
        break;
    case PART_DOWN:
        type = mixed(self->type, self->down_first, self->down, self->down_rest, first, some);
        break;
    case PART_QKV:
        type = self->qkv != 0 ? self->qkv : self->type;
        break;
    case PART_ATTENTION_OUTPUT:
        type = self->attention_output != 0 ? self->attention_output : self->type;
        break;
    default:
        type = self->type;
        break;
    }
    return fitting(type, tensor->dimensions[0]);
}
