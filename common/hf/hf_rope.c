/* Rotary embeddings: the old and new spelling in config.json, and factors that only it has. */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf_builder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES 96
#define PI        3.14159265358979323846

struct rope {
    struct hf_object params; /* rope_parameters or rope_scaling; json NULL: neither */
    struct hf_object local;  /* of the layers with a window; json NULL: none */
    struct gguf_builder *builder;
    struct hf_config *config;
    double theta;
};

static void put_float(struct rope *self, const char *name, double value)
{
    char key[KEY_BYTES];

    (void)snprintf(key, sizeof(key), "%s.rope.%s", self->config->family->gguf, name);
    gguf_builder_f32(self->builder, key, (float)value);
}

static void put_u32(struct rope *self, const char *name, uint32_t value)
{
    char key[KEY_BYTES];

    (void)snprintf(key, sizeof(key), "%s.rope.%s", self->config->family->gguf, name);
    gguf_builder_u32(self->builder, key, value);
}

static void put_type(struct rope *self, const char *type)
{
    char key[KEY_BYTES];

    (void)snprintf(key, sizeof(key), "%s.rope.scaling.type", self->config->family->gguf);
    gguf_builder_string(self->builder, key, type);
}

static int malformed(const struct hf_object *object, const char *key, const char *what)
{
    return base_error_set(object->err, BASE_MALFORMED, "%s: rope: %s: %s", object->file, key, what);
}

/* A number above 0 of the parameters. */
static int positive(const struct rope *self, const char *key, double *value)
{
    int rc = hf_get_float(&self->params, key, value);

    return rc == BASE_OK && !(*value > 0) ? malformed(&self->params, key, "not above 0") : rc;
}

/* Llama 3: wavelengths beyond the original context are stretched, those far below it are not. */
static int read_llama3(struct rope *self)
{
    double factor = 8, low = 1, high = 4, original = 8192;
    uint32_t count = self->config->rotary_dim / 2;
    int rc = positive(self, "factor", &factor);

    if (rc == BASE_OK)
        rc = positive(self, "low_freq_factor", &low);
    if (rc == BASE_OK)
        rc = positive(self, "high_freq_factor", &high);
    if (rc == BASE_OK)
        rc = positive(self, "original_max_position_embeddings", &original);
    if (rc == BASE_OK && !(high > low))
        rc = malformed(&self->params, "high_freq_factor", "not above low_freq_factor");
    if (rc != BASE_OK)
        return rc;
    float *factors = base_alloc_array(count, sizeof(*factors));
    if (factors == NULL)
        return base_error_set(self->params.err, BASE_NOMEM, "rope: no memory");
    for (uint32_t i = 0; i < count; i++) {
        double frequency = pow(self->theta, -2.0 * i / self->config->rotary_dim);
        double wave = 2 * PI / frequency;
        double smooth = (original / wave - low) / (high - low);
        double stretch = 1 / ((1 - smooth) / factor + smooth);
        if (wave < original / high)
            stretch = 1;
        else if (wave > original / low)
            stretch = factor;
        factors[i] = (float)stretch;
    }
    self->config->rope_factors = factors;
    return BASE_OK;
}

/* A list of rotary_dim / 2 numbers above 0. */
static int read_factors(const struct rope *self, const char *key, float **ret_factors)
{
    const json_t *list = json_object_get(self->params.json, key);
    size_t count = self->config->rotary_dim / 2;

    if (json_array_size(list) != count)
        return malformed(&self->params, key, "not one number for each pair of dimensions");
    float *factors = base_alloc_array(count, sizeof(*factors));
    if (factors == NULL)
        return base_error_set(self->params.err, BASE_NOMEM, "rope: no memory");
    *ret_factors = factors;
    for (size_t i = 0; i < count; i++) {
        factors[i] = (float)json_number_value(json_array_get(list, i));
        if (!(factors[i] > 0) || !isfinite(factors[i]))
            return malformed(&self->params, key, "an element is not above 0");
    }
    return BASE_OK;
}

static int read_longrope(struct rope *self, const struct hf_object *object)
{
    uint32_t positions = self->config->max_positions;
    uint32_t original = positions;
    int rc = hf_get_u32(object, "original_max_position_embeddings", &original);

    if (rc == BASE_OK)
        rc = hf_get_u32(&self->params, "original_max_position_embeddings", &original);
    double factor = original > 0 ? (double)positions / original : 0;
    if (rc == BASE_OK)
        rc = positive(self, "factor", &factor);
    if (rc == BASE_OK && original < 2)
        rc = malformed(&self->params, "original_max_position_embeddings", "not above 1");
    double amplitude = factor > 1 ? sqrt(1 + log(factor) / log((double)original)) : 1;
    if (rc == BASE_OK)
        rc = positive(self, "attention_factor", &amplitude);
    if (rc == BASE_OK)
        rc = read_factors(self, "long_factor", &self->config->rope_long_factors);
    if (rc == BASE_OK)
        rc = read_factors(self, "short_factor", &self->config->rope_short_factors);
    put_type(self, "longrope");
    put_u32(self, "scaling.original_context_length", original);
    put_float(self, "scaling.attn_factor", amplitude);
    return rc;
}

static double yarn_scale(double factor, double multiplier)
{
    return factor <= 1 ? 1.0 : 0.1 * multiplier * log(factor) + 1.0;
}

static int read_yarn(struct rope *self)
{
    double factor = 1, fast = 32, slow = 1, scale = 0, scale_all = 0;
    uint32_t original = self->config->max_positions;
    bool truncate = true;
    char key[KEY_BYTES];
    int rc = positive(self, "factor", &factor);

    if (rc == BASE_OK)
        rc = positive(self, "beta_fast", &fast);
    if (rc == BASE_OK)
        rc = positive(self, "beta_slow", &slow);
    if (rc == BASE_OK)
        rc = hf_get_u32(&self->params, "original_max_position_embeddings", &original);
    if (rc == BASE_OK)
        rc = hf_get_bool(&self->params, "truncate", &truncate);
    if (rc == BASE_OK)
        rc = hf_get_float(&self->params, "mscale", &scale);
    if (rc == BASE_OK)
        rc = hf_get_float(&self->params, "mscale_all_dim", &scale_all);
    double usual = yarn_scale(factor, 1);
    double amplitude = scale > 0 && scale_all > 0
                           ? yarn_scale(factor, scale) / yarn_scale(factor, scale_all)
                           : usual;
    if (rc == BASE_OK)
        rc = positive(self, "attention_factor", &amplitude);
    if (rc != BASE_OK)
        return rc;
    put_type(self, "yarn");
    put_float(self, "scaling.factor", factor);
    put_u32(self, "scaling.original_context_length", original);
    put_float(self, "scaling.yarn_beta_fast", fast);
    put_float(self, "scaling.yarn_beta_slow", slow);
    /* GGUF's is a factor of the usual one. */
    if (amplitude != usual)
        put_float(self, "scaling.yarn_attn_factor", amplitude / usual);
    if (truncate)
        return BASE_OK;
    (void)snprintf(key, sizeof(key), "%s.rope.scaling.yarn_truncate", self->config->family->gguf);
    gguf_builder_bool(self->builder, key, false);
    return BASE_OK;
}

static int read_scaling(struct rope *self, const struct hf_object *object)
{
    const char *type = "default";
    double factor = 1;
    int rc = hf_get_text(&self->params, "type", &type);

    if (rc == BASE_OK)
        rc = hf_get_text(&self->params, "rope_type", &type);
    if (rc != BASE_OK || strcmp(type, "default") == 0)
        return rc;
    if (strcmp(type, "llama3") == 0)
        return read_llama3(self);
    if (strcmp(type, "yarn") == 0)
        return read_yarn(self);
    if (strcmp(type, "longrope") == 0 || strcmp(type, "su") == 0)
        return read_longrope(self, object);
    if (strcmp(type, "linear") != 0)
        return base_error_set(object->err, BASE_UNSUPPORTED,
            "%s: rope: rope_type: \"%.30s\" is not supported (supported: default, linear, llama3, "
            "yarn, longrope)",
            object->file, type);
    rc = positive(self, "factor", &factor);
    put_type(self, "linear");
    put_float(self, "scaling.factor", factor);
    return rc;
}

/* Where the parameters stand: flat, one set for each kind of layer, or the older key. */
static void find_parameters(struct rope *self, const struct hf_object *object)
{
    const json_t *found = json_object_get(object->json, "rope_parameters");
    const json_t *full = json_object_get(found, "full_attention");

    self->params = self->local = (struct hf_object){object->file, NULL, object->err};
    if (json_is_object(full)) {
        self->params.json = full;
        self->local.json = json_object_get(found, "sliding_attention");
    } else if (json_is_object(found)) {
        self->params.json = found;
    } else {
        found = json_object_get(object->json, "rope_scaling");
        self->params.json = json_is_object(found) ? found : NULL;
    }
}

static int read_local_base(struct rope *self, const struct hf_object *object)
{
    bool gemma3 = strcmp(self->config->family->gguf, "gemma3") == 0;
    double base = gemma3 ? 10000 : self->theta;
    int rc = hf_get_float(object, "rope_local_base_freq", &base);

    if (rc == BASE_OK)
        rc = hf_get_float(&self->local, "rope_theta", &base);
    if (rc == BASE_OK && !(base > 0))
        rc = malformed(object, "rope_local_base_freq", "not above 0");
    if (rc == BASE_OK && (gemma3 || base != self->theta))
        put_float(self, "freq_base_swa", base);
    return rc;
}

int hf_read_rope(
    const struct hf_object *object, struct gguf_builder *builder, struct hf_config *config)
{
    struct rope self = {.builder = builder, .config = config};
    double partial = 1;

    find_parameters(&self, object);
    self.theta = config->family->rope_theta;
    int rc = hf_get_float(object, "rope_theta", &self.theta);
    if (rc == BASE_OK)
        rc = hf_get_float(&self.params, "rope_theta", &self.theta);
    if (rc == BASE_OK)
        rc = hf_get_float(object, "partial_rotary_factor", &partial);
    if (rc == BASE_OK)
        rc = hf_get_float(&self.params, "partial_rotary_factor", &partial);
    if (rc == BASE_OK && !(self.theta > 0))
        rc = malformed(object, "rope_theta", "not above 0");
    if (rc == BASE_OK && !(partial > 0 && partial <= 1))
        rc = malformed(object, "partial_rotary_factor", "not within 0..1");
    if (rc != BASE_OK)
        return rc;
    config->rotary_dim = (uint32_t)(config->head_dim * partial);
    if (config->rotary_dim < 2 || config->rotary_dim % 2 != 0)
        return malformed(object, "head_dim", "an odd number of rotary dimensions");
    put_u32(&self, "dimension_count", config->rotary_dim);
    put_float(&self, "freq_base", self.theta);
    rc = read_local_base(&self, object);
    return rc == BASE_OK ? read_scaling(&self, object) : rc;
}
