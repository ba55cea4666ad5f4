/*
 * Attention over the paged cache. One (token, head) is one task from start to end, and its sums
 * run over positions in ascending order, so that neither threads nor page ids nor what else is in
 * the batch can change a bit.
 */
#include "stage_internal.h"

#include "kv.h"
#include "tensor_ops.h"
#include "tensor_pool.h"
#include <math.h>
#include <string.h>

/* Fewer multiplications than this finish sooner on the caller than a pool is woken. */
#define PARALLEL_PRODUCTS 32768u

/* score[j] = scale * q . k[j] over all positions up to the token's own. */
static void score_positions(const struct stage_run_context *run, const struct stage_token *token,
    uint32_t kv_head, const float *q, float *scores)
{
    const struct stage *self = run->stage;
    uint32_t page_tokens = self->options.page_tokens;
    uint32_t dim = self->config->head_dim;

    for (uint32_t first = 0; first <= token->position; first += page_tokens) {
        uint32_t page = token->sequence->pages[first / page_tokens];
        const float *keys = kv_keys(self->kv, run->layer, page, kv_head);
        uint32_t left = token->position - first + 1;
        for (uint32_t i = 0; i < page_tokens && i < left; i++)
            scores[first + i] =
                tensor_dot(q, keys + (size_t)i * dim, dim) * self->config->attention_scale;
    }
}

/* y = sum_j weight[j] * v[j] */
static void sum_values(const struct stage_run_context *run, const struct stage_token *token,
    uint32_t kv_head, const float *weights, float *y)
{
    const struct stage *self = run->stage;
    uint32_t page_tokens = self->options.page_tokens;
    uint32_t dim = self->config->head_dim;

    memset(y, 0, dim * sizeof(float));
    for (uint32_t first = 0; first <= token->position; first += page_tokens) {
        uint32_t page = token->sequence->pages[first / page_tokens];
        const float *values = kv_values(self->kv, run->layer, page, kv_head);
        uint32_t left = token->position - first + 1;
        for (uint32_t i = 0; i < page_tokens && i < left; i++)
            tensor_axpy(weights[first + i], values + (size_t)i * dim, dim, y);
    }
}

static void attend(
    const struct stage_run_context *run, uint32_t token_index, uint32_t head, float *scores)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    const struct stage_token *token = &self->buffers.tokens[token_index];
    uint32_t kv_head = head / (config->head_count / config->kv_head_count);
    size_t offset = ((size_t)token_index * config->head_count + head) * config->head_dim;
    float *y = self->buffers.attention + offset;
    size_t count = (size_t)token->position + 1;

    score_positions(run, token, kv_head, self->buffers.q + offset, scores);
    float max = tensor_max(scores, count);
    /* Only weights that overflow get here; the result is no number either way. */
    float sum = tensor_exp_row(scores, count, isfinite(max) ? max : 0.0f, scores);
    sum_values(run, token, kv_head, scores, y);
    for (uint32_t i = 0; i < config->head_dim; i++)
        y[i] /= sum;
}

/* Tasks in turn, not in blocks: later tokens of a prompt have more to attend to. */
static void attend_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct stage_run_context *run = context;
    uint32_t heads = run->stage->config->head_count;
    float *scores =
        run->stage->buffers.scores + (size_t)thread_index * run->stage->options.context_length;

    for (uint64_t i = thread_index; i < (uint64_t)run->token_count * heads; i += thread_count)
        attend(run, (uint32_t)(i / heads), (uint32_t)(i % heads), scores);
}

void stage_attention(struct stage_run_context *run)
{
    const struct model_config *config = run->stage->config;
    uint64_t positions = 0;

    for (uint32_t i = 0; i < run->token_count; i++)
        positions += run->stage->buffers.tokens[i].position + 1u;
    if (run->pool == NULL || positions * config->head_count * config->head_dim < PARALLEL_PRODUCTS)
        attend_share(run, 0, 1);
    else
        tensor_pool_run(run->pool, attend_share, run);
}
