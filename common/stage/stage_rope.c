/* Rotary angles. A frequency is rounded to f32 once, so that position times frequency is exact in
 * double: what the C library's cos and sin then return differs between machines by less than the
 * rounding to f32 can show. */
#include "stage_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include <math.h>

int stage_rope_init(struct stage *self, struct base_error *err)
{
    const struct model_config *config = self->config;
    const struct gguf_tensor *factors = model_rope_factors(self->model);
    size_t count = config->rotary_dim / 2;

    /* Holds the factors until each is replaced by its frequency. */
    if (factors != NULL) {
        int rc = stage_load_vector(self->model, factors, &self->frequencies, err);
        if (rc != BASE_OK)
            return rc;
    } else {
        self->frequencies = base_alloc_array(count, sizeof(float));
        if (self->frequencies == NULL)
            return base_error_set(err, BASE_NOMEM, "stage: no memory");
    }
    for (size_t i = 0; i < count; i++) {
        float factor = factors != NULL ? self->frequencies[i] : 1.0f;
        double exponent = -2.0 * (double)i / (double)config->rotary_dim;
        double frequency = pow((double)config->rope_base, exponent) * (double)config->rope_scale;
        self->frequencies[i] = (float)(frequency / (double)factor);
        if (!(factor > 0) || !isfinite(factor) || !isfinite(self->frequencies[i]))
            return base_error_set(err, BASE_MALFORMED, "%s: byte %llu: %s: element %zu is %g",
                gguf_path_tail(gguf_path(model_file(self->model))),
                factors != NULL ? (unsigned long long)factors->file_offset : 0,
                factors != NULL ? factors->name : "rope frequency", i, (double)factor);
    }
    return BASE_OK;
}

void stage_rope_angles(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    uint32_t dim = self->config->rotary_dim;
    float *cos_sin = self->buffers.cos_sin + (size_t)token * dim;
    double position = (double)self->buffers.tokens[token].position;

    for (uint32_t i = 0; i < dim / 2; i++) {
        double angle = position * (double)self->frequencies[i];
        cos_sin[2 * i] = (float)cos(angle);
        cos_sin[2 * i + 1] = (float)sin(angle);
    }
}
