/* Rotary angles. A frequency is rounded to f32 once, so that position times frequency is exact in
 * double: what the C library's cos and sin then return differs between machines by less than the
 * rounding to f32 can show. */
#include "stage_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "tensor_ops.h"
#include <math.h>

#define PI 3.14159265358979323846

/* The pair that turns count times within the first training's length, as a fraction. */
static double pair_of_turns(const struct model_rope *rope, uint32_t rotary_dim, float turns)
{
    double positions = (double)rope->original_length / ((double)turns * 2 * PI);

    return rotary_dim * log(positions) / (2 * log((double)rope->base));
}

/* How much of pair i's frequency is scaled: 0 for those that turn often, 1 for those that hardly
 * turn, a ramp between. */
static double yarn_share(const struct model_rope *rope, uint32_t rotary_dim, size_t i)
{
    double low = pair_of_turns(rope, rotary_dim, rope->beta_fast);
    double high = pair_of_turns(rope, rotary_dim, rope->beta_slow);

    if (rope->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, rotary_dim - 1.0);
    if (low == high)
        high += 0.001;
    return fmin(fmax(((double)i - low) / (high - low), 0), 1);
}

/* Divisors of the frequencies, or NULL. Which of longrope's two sets is a matter of the context
 * that the stage was made for, not of how long a text has become: what is in the cache stays. */
static const struct gguf_tensor *factors_of(
    const struct model_rope *rope, const struct stage_options *options)
{
    bool is_short =
        rope->scaling == MODEL_ROPE_LONG && options->context_length <= rope->original_length;

    return is_short ? rope->short_factors : rope->factors;
}

static int init_rope(
    struct stage *self, const struct model_rope *rope, float *frequencies, struct base_error *err)
{
    uint32_t dim = self->config->rotary_dim;
    const struct gguf_tensor *tensor = factors_of(rope, &self->options);
    float *factors = NULL;
    int rc = BASE_OK;

    if (tensor != NULL) {
        const struct model_part part = {tensor, 0, dim / 2};
        rc = stage_load_vector(self->model, &part, &factors, err);
    }
    for (size_t i = 0; i < dim / 2 && rc == BASE_OK; i++) {
        double factor = factors != NULL ? (double)factors[i] : 1.0;
        double frequency = pow((double)rope->base, -2.0 * (double)i / dim) / factor;
        double share = rope->scaling == MODEL_ROPE_LINEAR ? 1
                       : rope->scaling == MODEL_ROPE_YARN ? yarn_share(rope, dim, i)
                                                          : 0;
        frequency = frequency * (1 - share) + frequency / (double)rope->factor * share;
        frequencies[i] = (float)frequency;
        if (!(factor > 0) || !isfinite(factor) || !isfinite(frequencies[i]))
            rc = base_error_set(err, BASE_MALFORMED, "%s: byte %llu: %s: element %zu is %g",
                gguf_path_tail(gguf_path(model_file(self->model))),
                tensor != NULL ? (unsigned long long)tensor->file_offset : 0,
                tensor != NULL ? tensor->name : "rope frequency", i,
                tensor != NULL ? factor : frequency);
    }
    base_free(factors);
    return rc;
}

int stage_rope_init(struct stage *self, struct base_error *err)
{
    const struct model_config *config = self->config;
    size_t pairs = config->rotary_dim / 2;
    int rc = BASE_OK;

    self->frequencies = base_alloc_array(config->rope_count * pairs, sizeof(float));
    if (self->frequencies == NULL)
        return base_error_set(err, BASE_NOMEM, "stage: no memory");
    for (uint32_t r = 0; r < config->rope_count && rc == BASE_OK; r++)
        rc = init_rope(self, &config->ropes[r], self->frequencies + r * pairs, err);
    return rc;
}

void stage_rope_angles(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    uint32_t dim = self->config->rotary_dim;
    double position = (double)self->buffers.tokens[token].position;

    for (uint32_t r = 0; r < self->config->rope_count; r++) {
        size_t row = (size_t)r * self->options.batch_tokens_max + token;
        double amplitude = (double)self->config->ropes[r].amplitude;
        float *cos_sin = self->buffers.cos_sin + row * 2 * dim;
        for (uint32_t i = 0; i < dim / 2; i++) {
            double angle = position * (double)self->frequencies[r * (dim / 2) + i];
            tensor_rope_angle(cos_sin, dim, self->config->family->rope_adjacent, i,
                (float)(cos(angle) * amplitude), (float)(sin(angle) * amplitude));
        }
    }
}

const float *stage_rope_token(const struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t row = (size_t)run->description->rope * self->options.batch_tokens_max + token;

    return self->buffers.cos_sin + row * 2 * self->config->rotary_dim;
}
