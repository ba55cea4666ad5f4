/* Rotary embeddings and windows: what there is, and which layer has which. */
#include "model_internal.h"

#include "base_alloc.h"
#include "base_limits.h"
#include <math.h>
#include <string.h>

#define FACTOR_MIN 1e-6f /* so that its inverse is a number */

static const char *const scaling_names[] = {
    [MODEL_ROPE_PLAIN] = "none",
    [MODEL_ROPE_LINEAR] = "linear",
    [MODEL_ROPE_YARN] = "yarn",
    [MODEL_ROPE_LONG] = "longrope",
};

static int read_scaling(
    struct model *self, enum model_rope_scaling *ret_scaling, struct base_error *err)
{
    struct gguf_string name = {"linear", 6};
    char key[MODEL_KEY_BYTES];

    model_key(self, "rope.scaling.type", key);
    int rc = gguf_get_string(self->file, key, &name, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    /* Files of longrope have these and no key. */
    if (rc == BASE_NOT_FOUND && gguf_tensor_find(self->file, "rope_factors_long.weight") != NULL) {
        *ret_scaling = MODEL_ROPE_LONG;
        return BASE_OK;
    }
    for (size_t i = 0; i < sizeof(scaling_names) / sizeof(scaling_names[0]); i++)
        if (strlen(scaling_names[i]) == name.bytes &&
            memcmp(scaling_names[i], name.data, name.bytes) == 0) {
            *ret_scaling = (enum model_rope_scaling)i;
            return BASE_OK;
        }
    return model_fail_key(self, BASE_UNSUPPORTED, key,
        "\"%.*s\" is not supported (supported: none, linear, yarn, longrope, and llama-3's "
        "rope_freqs.weight)",
        name.bytes < 40 ? (int)name.bytes : 40, name.data);
}

/* 1 + 0.1 ln(factor), by which yarn makes attention sharper. */
static float yarn_amplitude(float factor, float multiplier)
{
    return factor <= 1 ? 1.0f : (float)(1.0 + 0.1 * (double)multiplier * log((double)factor));
}

static int read_yarn(struct model *self, struct model_rope *rope, struct base_error *err)
{
    float extrapolation = 1, own_amplitude = 1, multiplier = 0;
    char key[MODEL_KEY_BYTES];
    int rc = model_read_float(self, "rope.scaling.yarn_beta_fast", 0, &rope->beta_fast, err);

    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scaling.yarn_beta_slow", 0, &rope->beta_slow, err);
    if (rc == BASE_OK)
        rc = model_read_bool(self, "rope.scaling.yarn_truncate", &rope->truncate, err);
    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scaling.yarn_ext_factor", -2, &extrapolation, err);
    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scaling.yarn_attn_factor", 0, &own_amplitude, err);
    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scaling.yarn_log_multiplier", -1, &multiplier, err);
    if (rc != BASE_OK)
        return rc;
    model_key(self, "rope.scaling.yarn_ext_factor", key);
    if (extrapolation != 1)
        return model_fail_key(
            self, BASE_UNSUPPORTED, key, "%g (supported: 1)", (double)extrapolation);
    rope->amplitude *= own_amplitude * yarn_amplitude(rope->factor, 1);
    if (multiplier != 0) /* the share that such models put into their scores instead */
        rope->amplitude /= yarn_amplitude(rope->factor, multiplier);
    return BASE_OK;
}

/* Longrope's file says its amplitude; else it follows from how far the context was stretched. */
static void default_long_amplitude(const struct model_config *config, struct model_rope *rope)
{
    double stretch = (double)config->context_length / (double)rope->original_length;

    if (stretch > 1 && rope->original_length > 1)
        rope->amplitude = (float)sqrt(1 + log(stretch) / log((double)rope->original_length));
}

static int read_rope(struct model *self, struct model_rope *rope, struct base_error *err)
{
    const struct model_config *config = &self->config;
    int rc;

    *rope = (struct model_rope){.base = 10000,
        .factor = 1,
        .beta_fast = 32,
        .beta_slow = 1,
        .truncate = true,
        .amplitude = 1};
    rc = model_read_float(self, "rope.freq_base", 0, &rope->base, err);
    if (rc == BASE_OK)
        rc = read_scaling(self, &rope->scaling, err);
    /* The older key first, so that the newer one wins. */
    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scale_linear", FACTOR_MIN, &rope->factor, err);
    if (rc == BASE_OK)
        rc = model_read_float(self, "rope.scaling.factor", FACTOR_MIN, &rope->factor, err);
    if (rc == BASE_OK)
        rc = model_read_size(self, "rope.scaling.original_context_length", config->context_length,
            UINT32_MAX, &rope->original_length, err);
    if (rc == BASE_OK && rope->scaling == MODEL_ROPE_LONG)
        default_long_amplitude(config, rope);
    if (rc == BASE_OK && rope->scaling >= MODEL_ROPE_YARN)
        rc = model_read_float(self, "rope.scaling.attn_factor", 0, &rope->amplitude, err);
    if (rc == BASE_OK && rope->scaling == MODEL_ROPE_YARN)
        rc = read_yarn(self, rope, err);
    return rc;
}

/* A period, or a flag for each layer; true: the layer has the window. */
static int read_pattern(struct model *self, bool *windowed, struct base_error *err)
{
    const struct model_config *config = &self->config;
    uint32_t period = config->family->window_period;
    char key[MODEL_KEY_BYTES];
    struct gguf_array array;
    int rc = BASE_OK;

    model_key(self, "attention.sliding_window_pattern", key);
    if (gguf_get_array(self->file, key, &array, NULL) != BASE_OK) {
        /* 0 and absent are the family's own. */
        uint32_t found = 0;
        rc = model_read_count(
            self, "attention.sliding_window_pattern", LIMIT_LAYERS_MAX, &found, err);
        period = found > 0 ? found : period;
        for (uint32_t i = 0; i < config->layer_count; i++)
            windowed[i] = period == 0 || i % period < period - 1;
        return rc;
    }
    for (uint32_t i = 0; i < config->layer_count; i++) {
        int64_t flag = 0;
        if (array.count != config->layer_count || !gguf_array_next_i64(&array, &flag))
            return model_fail_key(self, BASE_MALFORMED, key,
                "%" PRIu64 " elements, not one flag for each of %" PRIu32 " layers", array.count,
                config->layer_count);
        windowed[i] = flag != 0;
    }
    return BASE_OK;
}

static int read_windows(struct model *self, bool *windowed, struct base_error *err)
{
    const struct model_family *family = self->config.family;
    uint32_t window = 0;
    char key[MODEL_KEY_BYTES];

    model_key(self, "attention.sliding_window", key);
    int rc = gguf_get_u32(self->file, key, &window, err);
    if (rc == BASE_NOT_FOUND)
        window = family->window;
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    rc = read_pattern(self, windowed, err);
    for (uint32_t i = 0; i < self->config.layer_count; i++) {
        struct model_layer *layer = &self->layers[i + 1];
        uint32_t no_rope = family->no_rope_period;
        windowed[i] = windowed[i] && window > 0;
        layer->window = windowed[i] ? window : 0;
        layer->rope = windowed[i] && self->config.rope_count > 1 ? 1 : 0;
        if (family->encoder || (no_rope > 0 && (i + 1) % no_rope == 0))
            layer->rope = MODEL_ROPE_NONE;
    }
    return rc;
}

static int read_local_rope(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    const struct model_family *family = config->family;

    if (!family->local_rope)
        return BASE_OK;
    config->ropes[1] = (struct model_rope){
        .base = family->local_rope_base > 0 ? family->local_rope_base : config->ropes[0].base,
        .factor = 1,
        .amplitude = 1};
    config->rope_count = 2;
    return model_read_float(self, "rope.freq_base_swa", 0, &config->ropes[1].base, err);
}

int model_read_ropes(struct model *self, struct base_error *err)
{
    struct model_config *config = &self->config;
    char key[MODEL_KEY_BYTES];
    int rc = model_read_size(
        self, "rope.dimension_count", config->head_dim, config->head_dim, &config->rotary_dim, err);

    if (rc != BASE_OK)
        return rc;
    model_key(self, "rope.dimension_count", key);
    if (config->rotary_dim % 2 != 0)
        return model_fail_key(self, BASE_MALFORMED, key, "%" PRIu32 " is odd", config->rotary_dim);
    config->rope_count = 1;
    rc = read_rope(self, &config->ropes[0], err);
    if (rc == BASE_OK)
        rc = read_local_rope(self, err);
    config->temperature_length = config->ropes[0].original_length;
    if (rc != BASE_OK)
        return rc;
    bool *windowed = base_alloc_zeroed(config->layer_count, sizeof(*windowed));
    if (windowed == NULL)
        return base_error_set(
            err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(self->file)));
    rc = read_windows(self, windowed, err);
    base_free(windowed);
    return rc;
}
