/* The family's norm, and what a sub-layer adds to the residual stream. */
#include "stage_internal.h"

#include "tensor_ops.h"
#include <string.h>

void stage_norm(const struct stage *self, const struct stage_unit *unit, enum model_vector which,
    const float *x, float *y)
{
    const struct model_config *config = self->config;
    size_t wide = config->embedding_length;

    if (config->family->layer_norm)
        tensor_layer_norm(
            x, unit->vectors[which], unit->vectors[which + 1], wide, config->norm_epsilon, y);
    else
        tensor_rms_norm(x, unit->vectors[which], wide, config->norm_epsilon, y);
}

static const struct {
    enum model_vector bias, post_norm, sum_norm;
} branches[] = {
    [STAGE_BRANCH_ATTENTION] = {MODEL_ATTENTION_OUTPUT_BIAS, MODEL_ATTENTION_POST_NORM,
        MODEL_ATTENTION_SUM_NORM},
    [STAGE_BRANCH_FEED_FORWARD] = {MODEL_DOWN_BIAS, MODEL_FEED_FORWARD_POST_NORM,
        MODEL_FEED_FORWARD_SUM_NORM},
};

void stage_add_branch(struct stage_run_context *run, const struct stage_unit *unit,
    enum stage_branch branch, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;
    const float *bias = unit->vectors[branches[branch].bias];
    bool post_norm = unit->vectors[branches[branch].post_norm] != NULL;
    float scale = self->config->residual_scale;
    const float *added = self->buffers.projected + token * wide;
    float *changed = run->normed + token * wide; /* other threads may read projected, too */
    float *x = run->x + token * wide;

    if (bias != NULL || post_norm || scale != 1) {
        memcpy(changed, added, wide * sizeof(*changed));
        if (bias != NULL)
            tensor_add(bias, wide, changed);
        if (post_norm)
            stage_norm(self, unit, branches[branch].post_norm, changed, changed);
        if (scale != 1)
            tensor_scale(changed, wide, scale, changed);
        added = changed;
    }
    tensor_add(added, wide, x);
    if (unit->vectors[branches[branch].sum_norm] != NULL)
        stage_norm(self, unit, branches[branch].sum_norm, x, x);
}
