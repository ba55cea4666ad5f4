/* Metadata to sizes and switches. */
#include "model_internal.h"

#include "base_alloc.h"
#include "base_limits.h"
#include <float.h>
#include <math.h>
#include <string.h>

static int read_family(struct model *self, struct base_error *err)
{
    const char *key = "general.architecture";
    struct gguf_string name = {0};
    char names[192];
    int rc = gguf_get_string(self->file, key, &name, err);

    if (rc == BASE_NOT_FOUND)
        return model_fail_key(self, BASE_MALFORMED, key, "%s", "the key is missing");
    if (rc != BASE_OK)
        return rc;
    self->config.family = model_family_find(name.data, name.bytes);
    if (self->config.family != NULL)
        return BASE_OK;
    model_family_names(names, sizeof(names));
    return model_fail_key(self, BASE_UNSUPPORTED, key, "\"%.*s\" is not supported (supported: %s)",
        name.bytes < 40 ? (int)name.bytes : 40, name.data, names);
}

/* One number for all layers, even where the file has an array of them. */
static int read_same(struct model *self, const char *name, uint32_t otherwise, uint32_t *scratch,
    uint32_t *ret_value, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    int rc = model_read_sizes(self, name, otherwise, MODEL_SIZE_MAX, scratch, err);

    model_key(self, name, key);
    if (rc == BASE_OK && scratch[0] == 0)
        return model_fail_key(
            self, BASE_MALFORMED, key, "0 is not within 1..%" PRIu32, MODEL_SIZE_MAX);
    for (uint32_t i = 1; i < self->config.layer_count && rc == BASE_OK; i++)
        if (scratch[i] != scratch[0])
            rc = model_fail_key(self, BASE_UNSUPPORTED, key,
                "layers differ (%" PRIu32 " and %" PRIu32 "), which is not supported", scratch[0],
                scratch[i]);
    *ret_value = scratch[0];
    return rc;
}

static int read_heads(struct model *self, uint32_t *scratch, struct base_error *err)
{
    struct model_config *config = &self->config;
    uint32_t value_length = 0;
    char key[MODEL_KEY_BYTES];
    int rc =
        read_same(self, "attention.head_count", MODEL_REQUIRED, scratch, &config->head_count, err);

    if (rc == BASE_OK)
        rc = read_same(self, "attention.head_count_kv", config->head_count, scratch,
            &config->kv_head_count, err);
    if (rc != BASE_OK)
        return rc;
    model_key(self, "attention.head_count_kv", key);
    if (config->head_count % config->kv_head_count != 0)
        return model_fail_key(self, BASE_MALFORMED, key,
            "%" PRIu32 " does not divide head_count, %" PRIu32, config->kv_head_count,
            config->head_count);
    rc = model_read_size(self, "attention.key_length",
        config->embedding_length / config->head_count, MODEL_SIZE_MAX, &config->head_dim, err);
    if (rc == BASE_OK)
        rc = model_read_size(
            self, "attention.value_length", config->head_dim, MODEL_SIZE_MAX, &value_length, err);
    if (rc != BASE_OK)
        return rc;
    model_key(self, "attention.value_length", key);
    if (value_length != config->head_dim)
        return model_fail_key(self, BASE_UNSUPPORTED, key,
            "%" PRIu32 ", but key_length is %" PRIu32, value_length, config->head_dim);
    model_key(self, "attention.key_length", key);
    if ((uint64_t)config->head_count * config->head_dim > MODEL_SIZE_MAX)
        return model_fail_key(self, BASE_TOO_BIG, key, "%" PRIu32 " heads of %" PRIu32 " elements",
            config->head_count, config->head_dim);
    if (config->head_dim % 2 != 0)
        return model_fail_key(self, BASE_MALFORMED, key, "%" PRIu32 " is odd", config->head_dim);
    return BASE_OK;
}

/* Everything that is multiplied, divided or capped. */
static int read_scales(struct model *self, struct base_error *err)
{
    struct model_config *c = &self->config;
    bool wide = c->family->wide_scale_layers == c->layer_count;
    double width = wide ? (double)c->embedding_length / c->head_count : (double)c->head_dim;
    float epsilon = 1e-5f;
    struct {
        const char *name;
        float otherwise;
        float *value;
    } scales[] = {
        {"attention.scale", (float)(1.0 / sqrt(width)), &c->attention_scale},
        {"embedding_scale", c->family->embedding_root ? sqrtf((float)c->embedding_length) : 1.0f,
            &c->embedding_scale},
        {"residual_scale", 1, &c->residual_scale},
        {"logit_scale", 1, &c->logit_divisor},
        {"attention.temperature_scale", 0, &c->temperature_scale},
        {"expert_weights_scale", 1, &c->expert_scale},
        {c->family->layer_norm ? "attention.layer_norm_epsilon"
                               : "attention.layer_norm_rms_epsilon",
            epsilon, &c->norm_epsilon},
    };

    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        float value = 0; /* 0, as some files have it, means that there is none */
        int rc = model_read_float(self, scales[i].name, -FLT_MIN, &value, err);
        if (rc != BASE_OK)
            return rc;
        *scales[i].value = value > 0 ? value : scales[i].otherwise;
    }
    c->attention_softcap = c->family->attention_softcap;
    c->logit_softcap = c->family->logit_softcap;
    int rc = model_read_float(self, "attn_logit_softcapping", -FLT_MIN, &c->attention_softcap, err);
    if (rc == BASE_OK)
        rc = model_read_float(self, "final_logit_softcapping", -FLT_MIN, &c->logit_softcap, err);
    return rc;
}

static int read_experts(struct model *self, struct base_error *err)
{
    struct model_config *c = &self->config;
    char key[MODEL_KEY_BYTES];
    uint32_t gating = 0;
    int rc = model_read_count(self, "expert_count", LIMIT_EXPERTS_MAX, &c->expert_count, err);

    if (rc != BASE_OK || c->expert_count == 0)
        return rc;
    rc = model_read_size(
        self, "expert_used_count", MODEL_REQUIRED, c->expert_count, &c->expert_used_count, err);
    c->experts_renormalised = !c->family->plain_experts;
    if (rc == BASE_OK)
        rc = model_read_bool(self, "expert_weights_norm", &c->experts_renormalised, err);
    if (rc == BASE_OK)
        rc = model_read_count(self, "expert_gating_func", UINT32_MAX, &gating, err);
    /* 1: softmax, then the best. 3: the best, then softmax, which is the same renormalised. */
    model_key(self, "expert_gating_func", key);
    if (rc == BASE_OK && gating != 0 && gating != 1 && gating != 3)
        rc = model_fail_key(self, BASE_UNSUPPORTED, key,
            "%" PRIu32 " is not supported (supported: 1 and 3, softmax)", gating);
    c->experts_renormalised |= gating == 3;
    return rc;
}

static int read_feed_forward(struct model *self, uint32_t *scratch, struct base_error *err)
{
    struct model_config *c = &self->config;
    uint32_t of_expert = 0;
    char key[MODEL_KEY_BYTES];
    int rc =
        model_read_sizes(self, "feed_forward_length", MODEL_REQUIRED, MODEL_SIZE_MAX, scratch, err);

    if (rc == BASE_OK)
        rc = model_read_count(self, "expert_feed_forward_length", MODEL_SIZE_MAX, &of_expert, err);
    model_key(self, "feed_forward_length", key);
    for (uint32_t i = 0; i < c->layer_count && rc == BASE_OK; i++) {
        struct model_layer *layer = &self->layers[i + 1];
        if (scratch[i] == 0)
            rc = model_fail_key(
                self, BASE_MALFORMED, key, "layer %" PRIu32 ": 0 is not within 1..", i);
        layer->feed_forward_length = scratch[i];
        layer->expert_length = of_expert > 0 ? of_expert : scratch[i];
    }
    return rc;
}

/* Keys that are read, or say nothing that the forward pass could get wrong. */
static const char *const known_keys[] = {"block_count", "context_length", "embedding_length",
    "feed_forward_length", "vocab_size", "pooling_type", "classifier.output_labels",
    "tensor_data_layout", "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.causal", "attention.temperature_scale", "attention.scale",
    "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon", "attention.sliding_window",
    "attention.sliding_window_pattern", "attn_logit_softcapping", "final_logit_softcapping",
    "router_logit_softcapping", "embedding_scale", "residual_scale", "logit_scale",
    "rope.dimension_count", "rope.freq_base", "rope.freq_base_swa", "rope.scale_linear",
    "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length",
    "rope.scaling.attn_factor", "rope.scaling.finetuned", "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_truncate", "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_log_multiplier", "expert_count",
    "expert_used_count", "expert_feed_forward_length", "expert_shared_feed_forward_length",
    "expert_shared_count", "expert_weights_norm", "expert_weights_scale", "expert_gating_func"};

/* Keys that are fine as long as they are 0. */
static const char *const zero_keys[] = {"attention.q_lora_rank", "attention.kv_lora_rank",
    "attention.shared_kv_layers", "expert_group_count", "expert_group_used_count",
    "full_attention_interval", "leading_dense_block_count", "nextn_predict_layers",
    "ssm.state_size", "ssm.inner_size"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static bool is_listed(const char *const *names, size_t count, const char *name, size_t bytes)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(names[i]) == bytes && memcmp(names[i], name, bytes) == 0)
            return true;
    return false;
}

/* A key of the family that nobody reads: what it says could change the output. */
static int refuse_unknown_keys(const struct model *self, struct base_error *err)
{
    size_t prefix = strlen(self->config.family->name) + 1;
    struct gguf_pair pair;

    for (size_t i = 0; i < gguf_pair_count(self->file); i++) {
        char key[MODEL_KEY_BYTES];
        if (!gguf_pair_at(self->file, i, &pair) || pair.key.bytes <= prefix ||
            memcmp(pair.key.data, self->config.family->name, prefix - 1) != 0 ||
            pair.key.data[prefix - 1] != '.')
            continue;
        const char *name = pair.key.data + prefix;
        size_t bytes = pair.key.bytes - prefix;
        if (is_listed(known_keys, COUNT_OF(known_keys), name, bytes) ||
            is_listed(zero_keys, COUNT_OF(zero_keys), name, bytes))
            continue;
        size_t shown = pair.key.bytes < sizeof(key) ? pair.key.bytes : sizeof(key) - 1;
        memcpy(key, pair.key.data, shown);
        key[shown] = '\0';
        return model_fail_key(self, BASE_UNSUPPORTED, key,
            "family %s is not known to have this key, and what it says could change the output",
            self->config.family->name);
    }
    return BASE_OK;
}

/* What would change the output if it were ignored. */
static int refuse_features(const struct model *self, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    bool causal = !self->config.family->encoder;
    float cap = 0;
    int rc = refuse_unknown_keys(self, err);

    if (rc == BASE_OK)
        rc = model_read_bool(self, "attention.causal", &causal, err);
    model_key(self, "attention.causal", key);
    if (rc == BASE_OK && causal == self->config.family->encoder)
        rc = model_fail_key(self, BASE_UNSUPPORTED, key, "%s is not supported in family %s",
            causal ? "true" : "false", self->config.family->name);
    for (size_t i = 0; i < COUNT_OF(zero_keys) && rc == BASE_OK; i++) {
        uint32_t value = 0;
        model_key(self, zero_keys[i], key);
        rc = model_read_count(self, zero_keys[i], UINT32_MAX, &value, err);
        if (rc == BASE_OK && value > 0)
            rc = model_fail_key(self, BASE_UNSUPPORTED, key,
                "%" PRIu32 " is not supported in family %s", value, self->config.family->name);
    }
    if (rc == BASE_OK)
        rc = model_read_float(self, "router_logit_softcapping", -1, &cap, err);
    model_key(self, "router_logit_softcapping", key);
    if (rc == BASE_OK && cap != 0)
        rc = model_fail_key(self, BASE_UNSUPPORTED, key, "%g is not supported", (double)cap);
    return rc;
}

static int read_context(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    uint32_t max = config->family->encoder ? LIMIT_BATCH_TOKENS_MAX : LIMIT_CONTEXT_TOKENS_MAX;
    int rc = model_read_size(
        self, "context_length", MODEL_REQUIRED, UINT32_MAX, &config->context_length, err);

    if (rc == BASE_OK && config->context_length > max)
        config->context_length = max;
    return rc;
}

static int read_layers(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    uint32_t *scratch = base_alloc_zeroed(config->layer_count, sizeof(*scratch));
    int rc = BASE_OK;

    self->layers = base_alloc_zeroed(config->layer_count + 2, sizeof(*self->layers));
    if (scratch == NULL || self->layers == NULL)
        rc =
            base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(self->file)));
    if (rc == BASE_OK)
        rc = read_experts(self, err);
    if (rc == BASE_OK)
        rc = read_feed_forward(self, scratch, err);
    if (rc == BASE_OK)
        rc = read_heads(self, scratch, err);
    base_free(scratch);
    return rc;
}

int model_read_config(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    int rc = read_family(self, err);

    if (rc == BASE_OK)
        rc = refuse_features(self, err);
    if (rc == BASE_OK)
        rc = model_read_size(
            self, "block_count", MODEL_REQUIRED, LIMIT_LAYERS_MAX, &config->layer_count, err);
    if (rc == BASE_OK)
        rc = model_read_size(self, "embedding_length", MODEL_REQUIRED, MODEL_SIZE_MAX,
            &config->embedding_length, err);
    if (rc == BASE_OK)
        rc = read_context(self, err);
    if (rc == BASE_OK)
        rc = read_layers(self, err);
    if (rc == BASE_OK)
        rc = read_scales(self, err);
    return rc == BASE_OK ? model_read_ropes(self, err) : rc;
}
