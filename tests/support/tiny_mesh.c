#include "tiny_mesh.h"

#include "base_err.h"
#include "model.h"
#include "tensor_pool.h"
#include <string.h>

static int load_stage(struct tiny_mesh *self, struct model *model,
    const struct tiny_mesh_options *options, uint32_t first, uint32_t end, struct base_error *err)
{
    const struct model_config *config = model_get_config(model);
    struct stage_options stage = {
        .layer_first = first,
        .layer_count = end - first,
        .embeds = first == 0,
        .has_head = end == config->layer_count,
        .page_tokens = options->page_tokens,
        .page_count = options->page_count,
        .batch_tokens_max = options->batch_tokens_max,
        .context_length =
            options->context_length > 0 ? options->context_length : config->context_length,
        .fast_float = options->fast_float,
        .kv_type = options->kv_type,
    };

    int rc = stage_load(model, &stage, NULL, NULL, NULL, &self->stages[self->stage_count], err);
    if (rc == BASE_OK)
        self->stage_count++;
    return rc;
}

int tiny_mesh_init(struct model *model, const struct tiny_mesh_options *options,
    struct tiny_mesh *ret_mesh, struct base_error *err)
{
    struct tiny_mesh self = {
        .hidden_bytes = model_get_config(model)->embedding_length * sizeof(float)};
    uint32_t layer_count = model_get_config(model)->layer_count;
    uint32_t first = 0;
    int rc = tensor_pool_new(options->threads, &self.pool);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "pool of %u threads", options->threads);
    for (uint32_t end = 1; end <= layer_count && rc == BASE_OK; end++) {
        if (end < layer_count && (options->cuts >> (end - 1) & 1) == 0)
            continue;
        rc = load_stage(&self, model, options, first, end, err);
        first = end;
    }
    if (rc == BASE_OK)
        *ret_mesh = self;
    else
        tiny_mesh_release(&self);
    return rc;
}

void tiny_mesh_release(struct tiny_mesh *self)
{
    for (uint32_t i = 0; i < self->stage_count; i++)
        stage_destroy(&self->stages[i]);
    tensor_pool_destroy(&self->pool);
    memset(self, 0, sizeof(*self));
}

int tiny_mesh_run(struct tiny_mesh *self, const struct stage_sequence *sequences,
    size_t sequence_count, const uint32_t *tokens, size_t token_count,
    struct stage_output *ret_output, struct base_error *err)
{
    const void *input = tokens;
    size_t input_bytes = token_count * sizeof(*tokens);
    int rc = BASE_OK;

    for (uint32_t i = 0; i < self->stage_count && rc == BASE_OK; i++) {
        rc = stage_run(self->stages[i], self->pool, sequences, sequence_count, input, input_bytes,
            ret_output, err);
        if (rc == BASE_OK && i + 1 < self->stage_count) {
            input = ret_output->hidden;
            input_bytes = token_count * self->hidden_bytes;
        }
    }
    return rc;
}

const float *tiny_mesh_logits(const struct stage_output *output, size_t row)
{
    return (const float *)(const void *)(output->payload + output->rows[row].offset);
}
