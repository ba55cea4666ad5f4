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

/* Positions [first, end) that a token sees. */
struct span {
    uint32_t first, end;
};

static struct span seen_by(const struct stage_attention *a, const struct stage_token *token)
{
    uint32_t length = token->sequence->first_position + token->sequence->token_count;
    struct span span = {0, a->causal ? token->position + 1 : length};

    if (a->window == 0)
        return span;
    uint32_t before = a->causal ? a->window - 1 : a->window / 2;
    if (token->position > before)
        span.first = token->position - before;
    if (!a->causal && length - 1 - token->position > before)
        span.end = token->position + before + 1;
    return span;
}

/* score[j] = scale * q . k[j] over the positions of a span */
static void score_positions(const struct stage_run_context *run, const struct stage_token *token,
    struct span span, uint32_t kv_head, const float *q, float *scores)
{
    const struct stage *self = run->stage;
    uint32_t page_tokens = self->options.page_tokens;
    uint32_t dim = self->config->head_dim;

    for (uint32_t p = span.first; p < span.end; p++) {
        uint32_t page = token->sequence->pages[p / page_tokens];
        const float *keys = kv_keys(self->kv, run->layer, page, kv_head);
        *scores++ =
            tensor_dot(q, keys + (size_t)(p % page_tokens) * dim, dim) * run->attention->scale;
    }
}

/* y = sum_j weight[j] * v[j] */
static void sum_values(const struct stage_run_context *run, const struct stage_token *token,
    struct span span, uint32_t kv_head, const float *weights, float *y)
{
    const struct stage *self = run->stage;
    uint32_t page_tokens = self->options.page_tokens;
    uint32_t dim = self->config->head_dim;

    memset(y, 0, dim * sizeof(float));
    for (uint32_t p = span.first; p < span.end; p++) {
        uint32_t page = token->sequence->pages[p / page_tokens];
        const float *values = kv_values(self->kv, run->layer, page, kv_head);
        tensor_axpy(*weights++, values + (size_t)(p % page_tokens) * dim, dim, y);
    }
}

static void attend(
    const struct stage_run_context *run, uint32_t token_index, uint32_t head, float *scores)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    const struct stage_attention *a = run->attention;
    const struct stage_token *token = &self->buffers.tokens[token_index];
    uint32_t kv_head = head / (config->head_count / config->kv_head_count);
    size_t offset = ((size_t)token_index * config->head_count + head) * config->head_dim;
    float *y = self->buffers.attention + offset;
    struct span span = seen_by(a, token);
    size_t count = span.end - span.first;

    score_positions(run, token, span, kv_head, self->buffers.q + offset, scores);
    if (a->softcap > 0)
        tensor_softcap(scores, count, a->softcap, scores);
    float max = tensor_max(scores, count);
    if (a->sinks != NULL && a->sinks[head] > max)
        max = a->sinks[head];
    /* Only weights that overflow get here; the result is no number either way. */
    max = isfinite(max) ? max : 0.0f;
    float sum = tensor_exp_row(scores, count, max, scores);
    if (a->sinks != NULL)
        sum += tensor_exp(a->sinks[head] - max);
    sum_values(run, token, span, kv_head, scores, y);
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
