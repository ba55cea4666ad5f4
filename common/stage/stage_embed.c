/* Where a run begins: rows of the embedding, or of the stage before, and the angles of the rope. */
#include "stage_internal.h"

#include "base_bytes.h"
#include "tensor_ops.h"
#include <string.h>

/* The row of a token's id, and what else the family adds to it. */
static void embed(const struct stage *self, const uint8_t *ids, size_t token)
{
    const struct model_config *config = self->config;
    const struct stage_unit *unit = self->embedding;
    const struct stage_token *t = &self->buffers.tokens[token];
    size_t wide = config->embedding_length;
    float *x = self->buffers.x + token * wide;

    tensor_matrix_row(
        unit->matrices[MODEL_EMBEDDING], base_load_u32(ids + token * sizeof(uint32_t)), x);
    if (config->embedding_scale != 1)
        tensor_scale(x, wide, config->embedding_scale, x);
    if (unit->matrices[MODEL_POSITIONS] != NULL) {
        float *row = self->buffers.projected + token * wide;
        tensor_matrix_row(unit->matrices[MODEL_POSITIONS], t->position, row);
        tensor_add(row, wide, x);
    }
    bool second = t->sequence->second_text > 0 && t->position >= t->sequence->second_text;
    const float *type = unit->vectors[second ? MODEL_SECOND_TYPE : MODEL_TOKEN_TYPE];
    if (type != NULL)
        tensor_add(type, wide, x);
    if (unit->vectors[MODEL_END_NORM] != NULL)
        stage_norm(self, unit, MODEL_END_NORM, x, x);
}

void stage_embed(struct stage_run_context *run, const uint8_t *input)
{
    struct stage *self = run->stage;
    size_t wide = self->config->embedding_length, first, last;

    stage_split(run, run->token_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        if (self->options.embeds)
            embed(self, input, i);
        else
            memcpy(
                self->buffers.x + i * wide, input + i * wide * sizeof(float), wide * sizeof(float));
        if (!self->config->family->encoder)
            stage_rope_angles(run, (uint32_t)i);
    }
    stage_barrier(run);
    if (run->x != self->buffers.x)
        memcpy(run->x, self->buffers.x, wide * sizeof(float));
}
