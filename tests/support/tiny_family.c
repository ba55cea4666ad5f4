/* The tensors of a layer and the metadata of each family. */
#include "tiny_builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QK_PLAIN = 0, QK_HEAD, QK_WHOLE };

struct tiny_family {
    const char *name;
    const char *architecture; /* NULL: name */
    bool no_before;           /* norms before the sub-layers are missing */
    bool after;               /* norms of what they add */
    bool encoder;             /* LayerNorms of the sums, positions, no gate, no head */
    bool fused;               /* q, k and v in one tensor; gate and up likewise */
    bool qkv_biases;
    bool output_bias;
    bool experts;
    bool single_experts; /* one tensor for each */
    bool expert_biases;  /* and of their router */
    bool shared;         /* an expert for all, behind a gate */
    bool sinks;
    bool scales; /* Granite's four */
    int qk_norm;
    uint32_t window;
    float softcap;               /* of scores; of logits half of it */
    float partial;               /* share of a head that turns; 0: all */
    float temperature;           /* of scores far from the beginning */
    const char *scaling;         /* of rope: "yarn", "longrope" */
    const char *norm_before_ffn; /* NULL: "ffn_norm" */
};

static const struct tiny_family families[] = {
    {.name = "llama"},
    {.name = "llama-yarn", .architecture = "llama", .scaling = "yarn"},
    {.name = "mistral", .architecture = "llama", .window = 13},
    {.name = "mistral3", .temperature = 0.3f, .scaling = "yarn"},
    {.name = "mixtral", .architecture = "llama", .experts = true, .single_experts = true},
    {.name = "qwen2", .qkv_biases = true},
    {.name = "qwen2moe", .qkv_biases = true, .experts = true, .shared = true},
    {.name = "qwen3", .qk_norm = QK_HEAD},
    {.name = "qwen3moe", .qk_norm = QK_HEAD, .experts = true},
    {.name = "gemma2", .after = true, .window = 11, .softcap = 3},
    {.name = "gemma3", .after = true, .qk_norm = QK_HEAD, .window = 9},
    {.name = "phi3", .fused = true, .partial = 0.5f},
    {.name = "phi3-long", .architecture = "phi3", .fused = true, .scaling = "longrope"},
    {.name = "olmo2", .no_before = true, .after = true, .qk_norm = QK_WHOLE},
    {.name = "granite", .scales = true},
    {.name = "granitemoe", .scales = true, .experts = true},
    {.name = "smollm3"},
    {.name = "gpt-oss",
        .qkv_biases = true,
        .output_bias = true,
        .experts = true,
        .expert_biases = true,
        .sinks = true,
        .window = 10,
        .scaling = "yarn",
        .norm_before_ffn = "post_attention_norm"},
    {.name = "bert", .no_before = true, .encoder = true, .qkv_biases = true, .output_bias = true},
};

const char *const tiny_gguf_families[] = {"llama", "llama-yarn", "mistral", "mistral3", "mixtral",
    "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma2", "gemma3", "phi3", "phi3-long", "olmo2",
    "granite", "granitemoe", "smollm3", "gpt-oss", "bert", NULL};

const struct tiny_family *tiny_family_find(const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i].name, name) == 0)
            return &families[i];
    (void)fprintf(stderr, "tiny models have no family %s\n", name);
    exit(1);
}

const char *tiny_family_architecture(const struct tiny_family *family)
{
    return family->architecture != NULL ? family->architecture : family->name;
}

bool tiny_family_encodes(const struct tiny_family *family)
{
    return family->encoder;
}

uint32_t tiny_family_rotary(const struct tiny_family *family, uint32_t head_dim)
{
    float share = family->partial > 0 ? family->partial : 1;

    return (uint32_t)((float)head_dim * share) / 2 * 2;
}

bool tiny_family_longrope(const struct tiny_family *family)
{
    return family->scaling != NULL && strcmp(family->scaling, "longrope") == 0;
}

/* "blk.LAYER.NAME" */
static const char *layer_name(uint32_t layer, const char *name)
{
    static char full[64];

    (void)snprintf(full, sizeof(full), "blk.%u.%s", layer, name);
    return full;
}

static void vector(
    struct tiny_builder *self, uint32_t layer, const char *name, uint64_t count, float base)
{
    tiny_add_vector(self, layer_name(layer, name), count, 0, base);
}

static void matrix(
    struct tiny_builder *self, uint32_t layer, const char *name, uint64_t columns, uint64_t rows)
{
    tiny_add_matrix(self, layer_name(layer, name), columns, rows, 1, self->options.weight_limit);
}

static void norm(struct tiny_builder *self, uint32_t layer, const char *name, bool bias)
{
    char full[48];

    (void)snprintf(full, sizeof(full), "%s.weight", name);
    vector(self, layer, full, self->options.embedding_length, 1);
    (void)snprintf(full, sizeof(full), "%s.bias", name);
    if (bias)
        vector(self, layer, full, self->options.embedding_length, 0);
}

static void add_norms(struct tiny_builder *self, uint32_t layer)
{
    const struct tiny_family *f = self->family;

    if (!f->no_before) {
        norm(self, layer, "attn_norm", false);
        norm(self, layer, f->norm_before_ffn != NULL ? f->norm_before_ffn : "ffn_norm", false);
    }
    if (f->after) {
        norm(self, layer, "post_attention_norm", false);
        norm(self, layer, "post_ffw_norm", false);
    }
    if (f->encoder) {
        norm(self, layer, "attn_output_norm", true);
        norm(self, layer, "layer_output_norm", true);
    }
}

static void add_attention(struct tiny_builder *self, uint32_t layer)
{
    const struct tiny_gguf_options *o = &self->options;
    const struct tiny_family *f = self->family;
    uint32_t wide = o->embedding_length;
    uint32_t q_rows = o->head_count * o->head_dim, kv_rows = o->kv_head_count * o->head_dim;

    if (f->fused) {
        matrix(self, layer, "attn_qkv.weight", wide, q_rows + 2 * kv_rows);
        if (o->biases)
            vector(self, layer, "attn_qkv.bias", q_rows + 2 * kv_rows, 0);
    } else {
        matrix(self, layer, "attn_q.weight", wide, q_rows);
        matrix(self, layer, "attn_k.weight", wide, kv_rows);
        matrix(self, layer, "attn_v.weight", wide, kv_rows);
        if (o->biases || f->qkv_biases) {
            vector(self, layer, "attn_q.bias", q_rows, 0);
            vector(self, layer, "attn_k.bias", kv_rows, 0);
            vector(self, layer, "attn_v.bias", kv_rows, 0);
        }
    }
    matrix(self, layer, "attn_output.weight", q_rows, wide);
    if (o->biases || f->output_bias)
        vector(self, layer, "attn_output.bias", wide, 0);
    if (f->qk_norm != QK_PLAIN) {
        bool whole = f->qk_norm == QK_WHOLE;
        vector(self, layer, "attn_q_norm.weight", whole ? q_rows : o->head_dim, 1);
        vector(self, layer, "attn_k_norm.weight", whole ? kv_rows : o->head_dim, 1);
    }
    if (f->sinks)
        vector(self, layer, "attn_sinks.weight", o->head_count, 0.5f);
}

/* Three matrices of each expert: one tensor for all experts, or one for each. */
static void add_expert_matrices(
    struct tiny_builder *self, uint32_t layer, const char *name, uint64_t columns, uint64_t rows)
{
    uint32_t count = self->options.expert_count;
    char full[48];

    for (uint32_t e = 0; self->family->single_experts && e < count; e++) {
        (void)snprintf(full, sizeof(full), "ffn_%s.%u.weight", name, e);
        matrix(self, layer, full, columns, rows);
    }
    (void)snprintf(full, sizeof(full), "ffn_%s_exps.weight", name);
    if (!self->family->single_experts)
        tiny_add_matrix(
            self, layer_name(layer, full), columns, rows, count, self->options.weight_limit);
    (void)snprintf(full, sizeof(full), "ffn_%s_exps.bias", name);
    if (self->family->expert_biases)
        tiny_add_vector(self, layer_name(layer, full), rows, count, 0);
}

static void add_experts(struct tiny_builder *self, uint32_t layer)
{
    const struct tiny_gguf_options *o = &self->options;
    uint32_t wide = o->embedding_length, inner = o->feed_forward;

    /* Routers stay in F32 in real files. */
    tiny_add_vector(self, layer_name(layer, "ffn_gate_inp.weight"), wide, o->expert_count, 0);
    if (self->family->expert_biases)
        vector(self, layer, "ffn_gate_inp.bias", o->expert_count, 0);
    add_expert_matrices(self, layer, "gate", wide, inner);
    add_expert_matrices(self, layer, "up", wide, inner);
    add_expert_matrices(self, layer, "down", inner, wide);
    if (self->family->shared) {
        matrix(self, layer, "ffn_gate_shexp.weight", wide, inner);
        matrix(self, layer, "ffn_up_shexp.weight", wide, inner);
        matrix(self, layer, "ffn_down_shexp.weight", inner, wide);
        vector(self, layer, "ffn_gate_inp_shexp.weight", wide, 0);
    }
}

static void add_dense(struct tiny_builder *self, uint32_t layer)
{
    uint32_t wide = self->options.embedding_length, inner = self->options.feed_forward;
    const struct tiny_family *f = self->family;

    if (!f->fused && !f->encoder)
        matrix(self, layer, "ffn_gate.weight", wide, inner);
    matrix(self, layer, "ffn_up.weight", wide, f->fused ? 2 * inner : inner);
    matrix(self, layer, "ffn_down.weight", inner, wide);
    if (f->encoder) {
        vector(self, layer, "ffn_up.bias", inner, 0);
        vector(self, layer, "ffn_down.bias", wide, 0);
    }
}

void tiny_add_layer(struct tiny_builder *self, uint32_t layer)
{
    add_norms(self, layer);
    add_attention(self, layer);
    if (self->family->experts)
        add_experts(self, layer);
    else
        add_dense(self, layer);
}

static const char *key(const struct tiny_builder *self, const char *name)
{
    static char full[96];

    (void)snprintf(full, sizeof(full), "%s.%s", tiny_family_architecture(self->family), name);
    return full;
}

static void put_f32(struct tiny_builder *self, const char *name, float value)
{
    tiny_put_key_f32(&self->entries, key(self, name), value);
    self->entry_count++;
}

static void put_u32(struct tiny_builder *self, const char *name, uint32_t value)
{
    tiny_put_key_u32(&self->entries, key(self, name), value);
    self->entry_count++;
}

static void put_scaling(struct tiny_builder *self, const char *type, float factor)
{
    tiny_put_key_string(&self->entries, key(self, "rope.scaling.type"), type);
    self->entry_count++;
    put_f32(self, "rope.scaling.factor", factor);
}

void tiny_add_family_entries(struct tiny_builder *self)
{
    const struct tiny_gguf_options *o = &self->options;
    const struct tiny_family *f = self->family;

    put_u32(self, "rope.dimension_count", tiny_family_rotary(f, o->head_dim));
    put_f32(self, f->encoder ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        1e-5f);
    if (f->window > 0)
        put_u32(self, "attention.sliding_window", f->window);
    if (f->softcap > 0) {
        put_f32(self, "attn_logit_softcapping", f->softcap);
        put_f32(self, "final_logit_softcapping", f->softcap / 2);
    }
    if (f->experts) {
        put_u32(self, "expert_count", o->expert_count);
        put_u32(self, "expert_used_count", (o->expert_count + 1) / 2);
    }
    if (f->scales) {
        put_f32(self, "attention.scale", 0.1f);
        put_f32(self, "embedding_scale", 2);
        put_f32(self, "residual_scale", 0.5f);
        put_f32(self, "logit_scale", 3);
    }
    if (f->temperature > 0)
        put_f32(self, "attention.temperature_scale", f->temperature);
    if (f->encoder) {
        tiny_put_key_bool(&self->entries, key(self, "attention.causal"), false);
        self->entry_count++;
    }
    if (f->scaling != NULL) {
        put_scaling(self, f->scaling, 4);
        put_u32(self, "rope.scaling.original_context_length", 32);
    } else if (o->rope_scaling_factor != 0) {
        put_scaling(self, "linear", o->rope_scaling_factor);
    }
}
