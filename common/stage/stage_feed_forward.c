/* The dense feed-forward, and the activation that experts share with it. */
#include "stage_internal.h"

#include "tensor_activation.h"
#include "tensor_ops.h"

void stage_activate(const struct model_config *config, float *gate, float *up, size_t count,
    const float *gate_bias, const float *up_bias)
{
    if (gate_bias != NULL)
        tensor_add(gate_bias, count, gate);
    if (up_bias != NULL)
        tensor_add(up_bias, count, up);
    switch (config->family->activation) {
    case MODEL_SWIGLU:
        tensor_silu_mul(gate, up, count, gate);
        break;
    case MODEL_GEGLU:
        tensor_gelu_mul(gate, up, count, gate);
        break;
    case MODEL_SWIGLU_CLAMPED:
        tensor_swiglu_clamped(gate, up, count, gate);
        break;
    case MODEL_GELU:
        tensor_gelu_erf(up, count, gate);
        break;
    }
}

static void activate(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t inner = run->description->feed_forward_length;
    float *const *vectors = run->block->vectors;

    stage_activate(self->config, self->buffers.gate + token * inner,
        self->buffers.up + token * inner, inner, vectors[MODEL_GATE_BIAS], vectors[MODEL_UP_BIAS]);
}

void stage_feed_forward(struct stage_run_context *run, const float *x)
{
    const struct stage_buffers *b = &run->stage->buffers;
    struct tensor_matrix *const *w = run->block->matrices;

    stage_prepare(run, x, run->token_count, w[MODEL_UP], w[MODEL_GATE], NULL);
    if (w[MODEL_GATE] != NULL)
        stage_multiply(run, w[MODEL_GATE], b->gate);
    stage_multiply(run, w[MODEL_UP], b->up);
    stage_for_tokens(run, run->description->feed_forward_length, activate);
    stage_prepare(run, b->gate, run->token_count, w[MODEL_DOWN], NULL, NULL);
    stage_multiply(run, w[MODEL_DOWN], b->projected);
}
