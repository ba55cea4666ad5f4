/* config.json to GGUF's metadata. */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf_builder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES   96
#define SIZE_MAX_32 (1u << 24) /* of one dimension; keeps products within 64 bits */

/* What the functions here share. The first failure stays in rc, and the others do nothing. */
struct reader {
    struct hf_object object; /* the text config */
    struct gguf_builder *builder;
    struct hf_config *config;
    int rc;
};

static const char *make_key(const struct reader *self, const char *name, char ret_key[KEY_BYTES])
{
    (void)snprintf(ret_key, KEY_BYTES, "%s.%s", self->config->family->gguf, name);
    return ret_key;
}

static void put_u32(struct reader *self, const char *name, uint32_t value)
{
    char key[KEY_BYTES];

    if (self->rc == BASE_OK)
        gguf_builder_u32(self->builder, make_key(self, name, key), value);
}

static void put_float(struct reader *self, const char *name, double value)
{
    char key[KEY_BYTES];

    if (self->rc == BASE_OK)
        gguf_builder_f32(self->builder, make_key(self, name, key), (float)value);
}

static void put_bool(struct reader *self, const char *name, bool value)
{
    char key[KEY_BYTES];

    if (self->rc == BASE_OK)
        gguf_builder_bool(self->builder, make_key(self, name, key), value);
}

/* A size within 1..max; otherwise 0: it must be there. */
static uint32_t get_size(struct reader *self, const char *key, uint32_t otherwise, uint32_t max)
{
    uint32_t value = otherwise;

    if (self->rc != BASE_OK)
        return 0;
    self->rc = hf_get_u32(&self->object, key, &value);
    if (self->rc == BASE_OK && value == 0 && !hf_has(&self->object, key))
        self->rc = base_error_set(
            self->object.err, BASE_MALFORMED, "%s: %s: the key is missing", self->object.file, key);
    else if (self->rc == BASE_OK && (value == 0 || value > max))
        self->rc = base_error_set(self->object.err, BASE_MALFORMED,
            "%s: %s: %u is not within 1..%u", self->object.file, key, value, max);
    return self->rc == BASE_OK ? value : 0;
}

static uint32_t get_u32(struct reader *self, const char *key, uint32_t otherwise)
{
    uint32_t value = otherwise;

    if (self->rc == BASE_OK)
        self->rc = hf_get_u32(&self->object, key, &value);
    return value;
}

static double get_float(struct reader *self, const char *key, double otherwise)
{
    double value = otherwise;

    if (self->rc == BASE_OK)
        self->rc = hf_get_float(&self->object, key, &value);
    return value;
}

static bool get_bool(struct reader *self, const char *key, bool otherwise)
{
    bool value = otherwise;

    if (self->rc == BASE_OK)
        self->rc = hf_get_bool(&self->object, key, &value);
    return value;
}

static void refuse(struct reader *self, const char *key, const char *what)
{
    if (self->rc == BASE_OK)
        self->rc = base_error_set(
            self->object.err, BASE_UNSUPPORTED, "%s: %s: %s", self->object.file, key, what);
}

static void read_sizes(struct reader *self)
{
    struct hf_config *c = self->config;
    const struct hf_family *f = c->family;

    c->hidden_size = get_size(self, "hidden_size", f->hidden_size, SIZE_MAX_32);
    c->layer_count = get_size(self, "num_hidden_layers", f->layer_count, LIMIT_LAYERS_MAX);
    c->head_count = get_size(self, "num_attention_heads", f->head_count, SIZE_MAX_32);
    c->intermediate_size = get_size(self, "intermediate_size", f->intermediate_size, SIZE_MAX_32);
    c->max_positions = get_size(self, "max_position_embeddings", f->max_positions, UINT32_MAX);
    if (self->rc != BASE_OK)
        return;
    /* null, other than absent, means one for each head. */
    bool said = json_object_get(self->object.json, "num_key_value_heads") != NULL;
    c->kv_head_count = get_size(self, "num_key_value_heads",
        said || f->kv_head_count == 0 ? c->head_count : f->kv_head_count, SIZE_MAX_32);
    c->head_dim = get_size(self, "head_dim",
        f->head_dim > 0 ? f->head_dim : c->hidden_size / c->head_count, SIZE_MAX_32);
    put_u32(self, "context_length", c->max_positions);
    put_u32(self, "embedding_length", c->hidden_size);
    put_u32(self, "block_count", c->layer_count);
    put_u32(self, "feed_forward_length", c->intermediate_size);
    put_u32(self, "attention.head_count", c->head_count);
    if (f->style == HF_STYLE_BERT)
        return;
    put_u32(self, "attention.head_count_kv", c->kv_head_count);
    put_u32(self, "attention.key_length", c->head_dim);
    put_u32(self, "attention.value_length", c->head_dim);
}

static void read_scales(struct reader *self)
{
    const struct hf_family *f = self->config->family;
    const char *epsilon = f->layer_norm ? "layer_norm_eps" : "rms_norm_eps";
    static const struct {
        const char *config, *gguf;
    } granite[] = {
        {"attention_multiplier", "attention.scale"},
        {"embedding_multiplier", "embedding_scale"},
        {"residual_multiplier", "residual_scale"},
        {"logits_scaling", "logit_scale"},
    };

    put_float(self,
        f->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon",
        get_float(self, epsilon, f->norm_epsilon));
    for (size_t i = 0; i < 4 && strncmp(f->gguf, "granite", 7) == 0; i++)
        put_float(self, granite[i].gguf, get_float(self, granite[i].config, 1));
    if (f->query_scalar == 0)
        return;
    double scalar = get_float(self, "query_pre_attn_scalar", f->query_scalar);
    if (self->rc == BASE_OK && !(scalar > 0))
        self->rc = base_error_set(self->object.err, BASE_MALFORMED,
            "%s: query_pre_attn_scalar: not above 0", self->object.file);
    put_float(self, "attention.scale", 1.0 / sqrt(scalar));
    /* null means that there is none; the key's absence would mean the family's own. */
    bool said = json_object_get(self->object.json, "attn_logit_softcapping") != NULL;
    double cap = get_float(self, "attn_logit_softcapping", said ? 0 : f->attention_softcap);
    if (cap > 0 || f->attention_softcap > 0)
        put_float(self, "attn_logit_softcapping", cap);
    said = json_object_get(self->object.json, "final_logit_softcapping") != NULL;
    cap = get_float(self, "final_logit_softcapping", said ? 0 : f->logit_softcap);
    if (cap > 0 || f->logit_softcap > 0)
        put_float(self, "final_logit_softcapping", cap);
}

static void read_experts(struct reader *self)
{
    struct hf_config *c = self->config;
    bool qwen = strncmp(c->family->gguf, "qwen", 4) == 0;
    bool gpt_oss = c->family->style == HF_STYLE_GPT_OSS;
    bool mixtral = strcmp(c->family->model_type, "mixtral") == 0 ||
                   strcmp(c->family->model_type, "granitemoe") == 0;

    if (!gpt_oss && !mixtral && !(qwen && strstr(c->family->gguf, "moe") != NULL))
        return;
    const char *key = hf_has(&self->object, "num_experts") ? "num_experts" : "num_local_experts";
    c->expert_count = get_size(self, key, 0, LIMIT_MODEL_EXPERTS);
    put_u32(self, "expert_count", c->expert_count);
    put_u32(self, "expert_used_count",
        get_size(self, "num_experts_per_tok",
            gpt_oss   ? 4
            : mixtral ? 2
                      : 0,
            c->expert_count));
    if (gpt_oss)
        put_u32(self, "expert_feed_forward_length", c->intermediate_size);
    if (!qwen)
        return;
    put_u32(self, "expert_feed_forward_length",
        get_size(self, "moe_intermediate_size", 0, SIZE_MAX_32));
    put_bool(self, "expert_weights_norm", get_bool(self, "norm_topk_prob", false));
    if (hf_has(&self->object, "shared_expert_intermediate_size"))
        put_u32(self, "expert_shared_feed_forward_length",
            get_size(self, "shared_expert_intermediate_size", 0, SIZE_MAX_32));
}

/* Which layers have a window, by layer_types; false: there is no such list. */
static bool listed_windows(struct reader *self, uint8_t *windowed)
{
    const json_t *list = json_object_get(self->object.json, "layer_types");

    if (!json_is_array(list))
        return false;
    if (json_array_size(list) != self->config->layer_count) {
        self->rc = base_error_set(self->object.err, BASE_MALFORMED,
            "%s: layer_types: %zu elements for %u layers", self->object.file, json_array_size(list),
            self->config->layer_count);
        return true;
    }
    for (size_t i = 0; i < self->config->layer_count; i++) {
        const char *type = json_string_value(json_array_get(list, i));
        windowed[i] = type != NULL && strcmp(type, "sliding_attention") == 0;
        if (!windowed[i] && (type == NULL || strcmp(type, "full_attention") != 0))
            refuse(self, "layer_types", "only full_attention and sliding_attention are supported");
    }
    return true;
}

/* The same by the older keys. */
static void implied_windows(struct reader *self, uint8_t *windowed)
{
    const struct hf_family *f = self->config->family;
    uint32_t period = f->window_period;
    uint32_t from = 0;

    period = get_u32(self, "sliding_window_pattern", period);
    period = get_u32(self, "_sliding_window_pattern", period);
    if (strncmp(f->gguf, "qwen", 4) == 0)
        from = get_u32(self, "max_window_layers", 28);
    for (uint32_t i = 0; i < self->config->layer_count; i++)
        windowed[i] = i >= from && (period == 0 || (i + 1) % period != 0);
}

static void put_windows(struct reader *self, uint32_t window, uint8_t *windowed)
{
    uint32_t count = self->config->layer_count;
    uint32_t period = self->config->family->window_period;
    char key[KEY_BYTES];
    bool implied = true;
    bool any = false;

    for (uint32_t i = 0; i < count; i++) {
        bool usual = period == 0 || (i + 1) % period != 0;
        implied = implied && usual == (windowed[i] != 0);
        any = any || windowed[i] != 0;
    }
    /* A key that is absent would mean the family's own. */
    put_u32(self, "attention.sliding_window", any ? window : 0);
    if (any && !implied && self->rc == BASE_OK)
        gguf_builder_array(self->builder, make_key(self, "attention.sliding_window_pattern", key),
            GGUF_VALUE_BOOL, count, windowed);
}

static void read_windows(struct reader *self)
{
    const struct hf_family *f = self->config->family;
    bool said = json_object_get(self->object.json, "sliding_window") != NULL;
    uint32_t window = get_u32(self, "sliding_window", said ? 0 : f->window);
    bool used = get_bool(self, "use_sliding_window",
        f->window > 0 || f->window_period > 0 ||
            (strncmp(f->gguf, "qwen", 4) != 0 && strcmp(f->gguf, "smollm3") != 0));

    if (self->rc != BASE_OK || f->style == HF_STYLE_BERT)
        return;
    /* What has no window anywhere needs no key, but for families that imply one. */
    if ((window == 0 || !used) && f->window_period == 0)
        return;
    uint8_t *windowed = base_alloc_zeroed(self->config->layer_count, 1);
    if (windowed == NULL) {
        self->rc = base_error_set(self->object.err, BASE_NOMEM, "config.json: no memory");
        return;
    }
    if (window > 0 && used && !listed_windows(self, windowed))
        implied_windows(self, windowed);
    if (self->rc == BASE_OK)
        put_windows(self, window, windowed);
    base_free(windowed);
}

/* Smollm3's layers without rope are implied in GGUF: every fourth. */
static void check_no_rope(struct reader *self)
{
    const json_t *list = json_object_get(self->object.json, "no_rope_layers");

    if (strcmp(self->config->family->gguf, "smollm3") != 0)
        return;
    if (get_u32(self, "no_rope_layer_interval", 4) != 4 && !json_is_array(list))
        refuse(self, "no_rope_layer_interval", "only 4 is supported");
    for (size_t i = 0; json_is_array(list) && i < json_array_size(list); i++)
        if (json_integer_value(json_array_get(list, i)) != ((i + 1) % 4 != 0))
            refuse(self, "no_rope_layers", "only every fourth layer without rope is supported");
}

/* What would change the output if it were ignored. */
static void check_features(struct reader *self)
{
    const char *activation = self->config->family->activation;
    const char *position = "absolute";

    for (int i = 0; i < 2 && self->rc == BASE_OK; i++) {
        const char *key = i == 0 ? "hidden_activation" : "hidden_act";
        const char *found = activation;
        self->rc = hf_get_text(&self->object, key, &found);
        bool same = self->rc == BASE_OK && strcmp(found, activation) == 0;
        /* Gemma's files say "gelu" in the old key and mean the other. */
        if (self->rc == BASE_OK && !same &&
            !(self->config->family->style == HF_STYLE_GEMMA && i == 1))
            self->rc = base_error_set(self->object.err, BASE_UNSUPPORTED,
                "%s: %s: \"%.40s\" is not supported in %s (supported: %s)", self->object.file, key,
                found, self->config->family->model_type, activation);
    }
    if (self->rc == BASE_OK)
        self->rc = hf_get_text(&self->object, "position_embedding_type", &position);
    if (self->rc == BASE_OK && strcmp(position, "absolute") != 0)
        refuse(self, "position_embedding_type", "only absolute is supported");
    if (get_bool(self, "use_bidirectional_attention", false))
        refuse(self, "use_bidirectional_attention", "true is not supported");
    check_no_rope(self);
}

static void read_labels(struct reader *self)
{
    const json_t *labels = json_object_get(self->object.json, "id2label");
    size_t count = json_object_size(labels);
    char key[KEY_BYTES];

    if (!self->config->classifier || count == 0 || count > LIMIT_MODEL_CLASSES ||
        self->rc != BASE_OK)
        return;
    gguf_builder_strings(self->builder, make_key(self, "classifier.output_labels", key), count);
    for (size_t i = 0; i < count; i++) {
        char id[24];
        (void)snprintf(id, sizeof(id), "%zu", i);
        const char *label = json_string_value(json_object_get(labels, id));
        label = label != NULL ? label : id;
        gguf_builder_element(self->builder, label, strlen(label));
    }
}

static void read_bert(struct reader *self)
{
    if (self->config->family->style != HF_STYLE_BERT)
        return;
    put_bool(self, "attention.causal", false);
    if (self->rc == BASE_OK)
        gguf_builder_u32(
            self->builder, "tokenizer.ggml.token_type_count", get_u32(self, "type_vocab_size", 2));
    read_labels(self);
}

static int refuse_quantized(
    const json_t *root, const struct hf_family *family, struct base_error *err)
{
    const json_t *quantization = json_object_get(root, "quantization_config");
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));

    if (!json_is_object(quantization))
        return BASE_OK;
    if (method != NULL && strcmp(method, "mxfp4") == 0 && family->style == HF_STYLE_GPT_OSS)
        return BASE_OK;
    return base_error_set(err, BASE_UNSUPPORTED,
        "config.json: quantization_config: \"%.30s\" is not supported (supported: none, and mxfp4 "
        "in gpt_oss; take the original weights and quantize those)",
        method != NULL ? method : "unknown");
}

static bool has_classes(const json_t *root)
{
    const char *name = json_string_value(json_array_get(json_object_get(root, "architectures"), 0));

    return name != NULL && strstr(name, "ForSequenceClassification") != NULL;
}

int hf_read_config(const json_t *root, struct gguf_builder *builder, struct hf_config *ret_config,
    struct base_error *err)
{
    const json_t *text = json_object_get(root, "text_config");
    struct hf_object whole = {"config.json", root, err};
    struct reader self = {
        {"config.json", json_is_object(text) ? text : root, err}, builder, ret_config, BASE_OK};

    *ret_config = (struct hf_config){0};
    self.rc = hf_family_find(&whole, &ret_config->family, err);
    if (self.rc == BASE_OK)
        self.rc = refuse_quantized(root, ret_config->family, err);
    if (self.rc != BASE_OK)
        return self.rc;
    gguf_builder_string(builder, "general.architecture", ret_config->family->gguf);
    gguf_builder_string(builder, "general.type", "model");
    ret_config->classifier = has_classes(root);
    ret_config->tied = get_bool(&self, "tie_word_embeddings", ret_config->family->tied);
    if (json_is_object(text) && self.rc == BASE_OK)
        self.rc = hf_get_bool(&whole, "tie_word_embeddings", &ret_config->tied);
    read_sizes(&self);
    check_features(&self);
    read_scales(&self);
    read_experts(&self);
    read_windows(&self);
    read_bert(&self);
    if (self.rc == BASE_OK && ret_config->family->style != HF_STYLE_BERT)
        self.rc = hf_read_rope(&self.object, builder, ret_config);
    return self.rc;
}

void hf_config_release(struct hf_config *self)
{
    base_free(self->rope_factors);
    base_free(self->rope_long_factors);
    base_free(self->rope_short_factors);
    *self = (struct hf_config){0};
}
