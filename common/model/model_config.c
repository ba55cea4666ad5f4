/* Metadata to sizes. Every message names file, byte offset and key. */
#include "model_internal.h"

#include "base_err.h"
#include "base_limits.h"
#include "gguf.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES   96
#define REQUIRED    UINT32_MAX /* in place of a default */
#define FACTOR_MIN  1e-6f      /* of rope scaling, so that its inverse is a number */
#define SIZE_MAX_32 (1u << 24) /* of one dimension; keeps products within 64 bits */

#define fail(self, code, key, format, ...)                                                         \
    base_error_set(err, code, "%s: byte %" PRIu64 ": %s: " format,                                 \
        gguf_path_tail(gguf_path((self)->file)), gguf_key_offset((self)->file, key), key,          \
        __VA_ARGS__)

static void make_key(const struct model *self, const char *name, char ret_key[KEY_BYTES])
{
    (void)snprintf(ret_key, KEY_BYTES, "%s.%s", self->config.family->name, name);
}

/* An integer within 1..max, or its default when absent. */
static int read_size(const struct model *self, const char *name, uint32_t otherwise, uint32_t max,
    uint32_t *ret_value, struct base_error *err)
{
    char key[KEY_BYTES];
    uint32_t value = otherwise;

    make_key(self, name, key);
    int rc = gguf_get_u32(self->file, key, &value, err);
    if (rc == BASE_NOT_FOUND && otherwise == REQUIRED)
        return fail(self, BASE_MALFORMED, key, "%s", "the key is missing");
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (value == 0 || value > max)
        return fail(self, BASE_MALFORMED, key, "%" PRIu32 " is not within 1..%" PRIu32, value, max);
    *ret_value = value;
    return BASE_OK;
}

/* A finite float above min, or *ret_value as it was when absent. */
static int read_float(
    const struct model *self, const char *name, float min, float *ret_value, struct base_error *err)
{
    char key[KEY_BYTES];
    float value = 0;

    make_key(self, name, key);
    int rc = gguf_get_f32(self->file, key, &value, err);
    if (rc == BASE_NOT_FOUND)
        return BASE_OK;
    if (rc != BASE_OK)
        return rc;
    if (!isfinite(value) || !(value > min))
        return fail(
            self, BASE_MALFORMED, key, "%g is not a number above %g", (double)value, (double)min);
    *ret_value = value;
    return BASE_OK;
}

static int read_family(struct model *self, struct base_error *err)
{
    const char *key = "general.architecture";
    struct gguf_string name = {0};
    char names[128];
    int rc = gguf_get_string(self->file, key, &name, err);

    if (rc == BASE_NOT_FOUND)
        return fail(self, BASE_MALFORMED, key, "%s", "the key is missing");
    if (rc != BASE_OK)
        return rc;
    self->config.family = model_family_find(name.data, name.bytes);
    if (self->config.family != NULL)
        return BASE_OK;
    model_family_names(names, sizeof(names));
    return fail(self, BASE_UNSUPPORTED, key, "\"%.*s\" is not supported (supported: %s)",
        name.bytes < 40 ? (int)name.bytes : 40, name.data, names);
}

static int read_heads(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    uint32_t value_length = 0;
    char key[KEY_BYTES];
    int rc =
        read_size(self, "attention.head_count", REQUIRED, SIZE_MAX_32, &config->head_count, err);

    if (rc == BASE_OK)
        rc = read_size(self, "attention.head_count_kv", config->head_count, SIZE_MAX_32,
            &config->kv_head_count, err);
    if (rc != BASE_OK)
        return rc;
    make_key(self, "attention.head_count_kv", key);
    if (config->head_count % config->kv_head_count != 0)
        return fail(self, BASE_MALFORMED, key, "%" PRIu32 " does not divide head_count, %" PRIu32,
            config->kv_head_count, config->head_count);
    rc = read_size(self, "attention.key_length", config->embedding_length / config->head_count,
        SIZE_MAX_32, &config->head_dim, err);
    if (rc == BASE_OK)
        rc = read_size(
            self, "attention.value_length", config->head_dim, SIZE_MAX_32, &value_length, err);
    if (rc != BASE_OK)
        return rc;
    make_key(self, "attention.value_length", key);
    if (value_length != config->head_dim)
        return fail(self, BASE_UNSUPPORTED, key, "%" PRIu32 ", but key_length is %" PRIu32,
            value_length, config->head_dim);
    make_key(self, "attention.key_length", key);
    if ((uint64_t)config->head_count * config->head_dim > SIZE_MAX_32)
        return fail(self, BASE_TOO_BIG, key, "%" PRIu32 " heads of %" PRIu32 " elements",
            config->head_count, config->head_dim);
    if (config->head_dim % 2 != 0)
        return fail(self, BASE_MALFORMED, key, "%" PRIu32 " is odd", config->head_dim);
    config->attention_scale = (float)(1.0 / sqrt((double)config->head_dim));
    return read_float(self, "attention.scale", 0, &config->attention_scale, err);
}

static int read_rope_scaling(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    struct gguf_string type = {"linear", 6};
    float factor = 1;
    char key[KEY_BYTES];

    make_key(self, "rope.scaling.type", key);
    int rc = gguf_get_string(self->file, key, &type, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    bool none = type.bytes == 4 && memcmp(type.data, "none", 4) == 0;
    if (!none && !(type.bytes == 6 && memcmp(type.data, "linear", 6) == 0))
        return fail(self, BASE_UNSUPPORTED, key,
            "\"%.*s\" is not supported (supported: none, linear, and llama-3's rope_freqs.weight)",
            type.bytes < 40 ? (int)type.bytes : 40, type.data);
    /* The older key first, so that the newer one wins. */
    rc = read_float(self, "rope.scale_linear", FACTOR_MIN, &factor, err);
    if (rc == BASE_OK)
        rc = read_float(self, "rope.scaling.factor", FACTOR_MIN, &factor, err);
    if (rc == BASE_OK)
        config->rope_scale = none ? 1.0f : 1.0f / factor;
    return rc;
}

static int read_rope(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    char key[KEY_BYTES];
    int rc = read_size(
        self, "rope.dimension_count", config->head_dim, config->head_dim, &config->rotary_dim, err);

    if (rc != BASE_OK)
        return rc;
    make_key(self, "rope.dimension_count", key);
    if (config->rotary_dim % 2 != 0)
        return fail(self, BASE_MALFORMED, key, "%" PRIu32 " is odd", config->rotary_dim);
    config->rope_base = 10000.0f;
    rc = read_float(self, "rope.freq_base", 0, &config->rope_base, err);
    return rc == BASE_OK ? read_rope_scaling(self, err) : rc;
}

/* What would change the output if it were ignored. */
static int refuse_features(const struct model *self, struct base_error *err)
{
    char key[KEY_BYTES];
    uint32_t experts = 0;
    bool causal = true;

    make_key(self, "expert_count", key);
    int rc = gguf_get_u32(self->file, key, &experts, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (experts > 0)
        return fail(self, BASE_UNSUPPORTED, key,
            "mixtures of experts are not supported (%" PRIu32 " experts)", experts);
    make_key(self, "attention.causal", key);
    rc = gguf_get_bool(self->file, key, &causal, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (!causal)
        return fail(self, BASE_UNSUPPORTED, key, "%s", "only causal attention is supported");
    return BASE_OK;
}

static int read_context(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    uint32_t window = 0;
    char key[KEY_BYTES];
    int rc = read_size(self, "context_length", REQUIRED, UINT32_MAX, &config->context_length, err);

    if (rc != BASE_OK)
        return rc;
    if (config->context_length > LIMIT_CONTEXT_TOKENS_MAX)
        config->context_length = LIMIT_CONTEXT_TOKENS_MAX;
    make_key(self, "attention.sliding_window", key);
    rc = gguf_get_u32(self->file, key, &window, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    /* Full attention is the same thing as long as the sequence fits in the window. */
    if (window > 0 && window < config->context_length)
        config->context_length = window;
    return BASE_OK;
}

int model_read_config(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    int rc = read_family(self, err);

    if (rc == BASE_OK)
        rc = refuse_features(self, err);
    if (rc == BASE_OK)
        rc = read_size(self, "block_count", REQUIRED, LIMIT_LAYERS_MAX, &config->layer_count, err);
    if (rc == BASE_OK)
        rc = read_size(
            self, "embedding_length", REQUIRED, SIZE_MAX_32, &config->embedding_length, err);
    if (rc == BASE_OK)
        rc = read_size(
            self, "feed_forward_length", REQUIRED, SIZE_MAX_32, &config->feed_forward_length, err);
    if (rc == BASE_OK)
        rc = read_context(self, err);
    if (rc == BASE_OK)
        rc = read_heads(self, err);
    if (rc == BASE_OK)
        rc = read_rope(self, err);
    config->norm_epsilon = 1e-5f;
    return rc == BASE_OK
               ? read_float(self, "attention.layer_norm_rms_epsilon", 0, &config->norm_epsilon, err)
               : rc;
}
