/*
 * Queries, keys and values. Where heads can be dealt evenly a thread computes, finishes and stores
 * the heads that are its own without waiting for others.
 */
#include "stage_internal.h"

#include "kv.h"
#include "tensor_ops.h"

/* Tokens whose keys and values one thread stores: sixteen share cache lines. */
#define STORE_TOKENS 64u

static uint32_t group_of(const struct model_config *config)
{
    return config->head_count / config->kv_head_count;
}

/* RMSNorm of each head. */
static void norm_heads(
    const struct model_config *config, const float *weight, uint32_t head_count, float *x)
{
    for (uint32_t i = 0; i < head_count && weight != NULL; i++, x += config->head_dim)
        tensor_rms_norm(x, weight, config->head_dim, config->norm_epsilon, x);
}

/* RMSNorm of all heads of a token as one. */
static void norm_token(struct stage_run_context *run, uint32_t token)
{
    const struct model_config *config = run->stage->config;
    float *const *vectors = run->block->vectors;
    size_t q_size = (size_t)config->head_count * config->head_dim;
    size_t kv_size = (size_t)config->kv_head_count * config->head_dim;
    float *q = run->stage->buffers.q + token * q_size;
    float *k = run->stage->buffers.k + token * kv_size;

    if (vectors[MODEL_Q_BIAS] != NULL)
        tensor_add(vectors[MODEL_Q_BIAS], q_size, q);
    if (vectors[MODEL_K_BIAS] != NULL)
        tensor_add(vectors[MODEL_K_BIAS], kv_size, k);
    if (vectors[MODEL_Q_NORM] != NULL)
        tensor_rms_norm(q, vectors[MODEL_Q_NORM], q_size, config->norm_epsilon, q);
    if (vectors[MODEL_K_NORM] != NULL)
        tensor_rms_norm(k, vectors[MODEL_K_NORM], kv_size, config->norm_epsilon, k);
}

/* Bias and norm of some heads that lie side by side, unless norm_token() did them. */
static void finish_heads(const struct stage_run_context *run, enum model_vector bias,
    const float *norm, uint32_t head_first, uint32_t head_count, float *x)
{
    const struct model_config *config = run->stage->config;
    const float *biases = run->block->vectors[bias];

    if (biases != NULL)
        tensor_add(biases + (size_t)head_first * config->head_dim,
            (size_t)head_count * config->head_dim, x);
    norm_heads(config, norm, head_count, x);
}

static void rotate(
    const struct stage_run_context *run, uint32_t token, uint32_t head_count, float *x)
{
    const struct model_config *config = run->stage->config;

    if (run->description->rope != MODEL_ROPE_NONE)
        tensor_rope(x, head_count, config->head_dim, config->rotary_dim,
            stage_rope_token(run, token), config->family->rope_adjacent);
}

/* One head of keys and values of a token, with the queries that share it. */
static void finish_token(const struct stage_run_context *run, uint32_t kv_head, uint32_t token)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    const struct stage_token *t = &self->buffers.tokens[token];
    float *const *vectors = run->block->vectors;
    bool whole = config->family->qk_norm == MODEL_QK_WHOLE;
    uint32_t group = group_of(config), page_tokens = self->options.page_tokens;
    size_t head = (size_t)token * config->kv_head_count + kv_head;
    float *q = self->buffers.q + head * group * config->head_dim;
    float *k = self->buffers.k + head * config->head_dim;
    float *v = self->buffers.v + head * config->head_dim;

    if (!whole) {
        finish_heads(run, MODEL_Q_BIAS, vectors[MODEL_Q_NORM], kv_head * group, group, q);
        finish_heads(run, MODEL_K_BIAS, vectors[MODEL_K_NORM], kv_head, 1, k);
    }
    finish_heads(run, MODEL_V_BIAS, NULL, kv_head, 1, v);
    if (t->temperature != 1)
        tensor_scale(q, (size_t)group * config->head_dim, t->temperature, q);
    rotate(run, token, group, q);
    rotate(run, token, 1, k);
    kv_write(self->kv, run->layer, kv_head, t->sequence->pages[t->position / page_tokens],
        t->position % page_tokens, k, v);
}

/* This thread's heads and tokens. */
static void finish_share(const struct stage_run_context *run)
{
    uint32_t blocks = (run->token_count + STORE_TOKENS - 1) / STORE_TOKENS;
    size_t first, last;

    /* A head's blocks follow each other: a thread that has whole heads has them here, too. */
    stage_split(run, (size_t)blocks * run->stage->config->kv_head_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        uint32_t token = (uint32_t)(i % blocks) * STORE_TOKENS;
        uint32_t left = run->token_count - token;
        uint32_t end = token + (left < STORE_TOKENS ? left : STORE_TOKENS);
        for (; token < end; token++)
            finish_token(run, (uint32_t)(i / blocks), token);
    }
}

/* Rows of this thread's heads, of which there are so many to one of keys. */
static void multiply_heads(const struct stage_run_context *run, const struct tensor_matrix *w,
    uint32_t heads_to_one, float *y)
{
    const struct model_config *config = run->stage->config;
    size_t rows = (size_t)heads_to_one * config->head_dim, first, last;

    stage_split(run, config->kv_head_count, &first, &last);
    tensor_matmul_rows(w, &run->outer, first * rows, last * rows, y, tensor_matrix_rows(w));
}

void stage_run_heads(struct stage_run_context *run)
{
    const struct model_config *config = run->stage->config;
    const struct stage_buffers *b = &run->stage->buffers;
    struct tensor_matrix *const *w = run->block->matrices;
    const struct stage_product products[] = {
        {w[MODEL_Q], b->q}, {w[MODEL_K], b->k}, {w[MODEL_V], b->v}};
    bool whole = config->family->qk_norm == MODEL_QK_WHOLE;

    if (run->thread_index == 0)
        stage_attention_make_plan(run);
    if (!whole && config->kv_head_count % run->thread_count == 0 &&
        config->head_dim % TENSOR_ROW_GROUP == 0) {
        multiply_heads(run, w[MODEL_Q], group_of(config), b->q);
        multiply_heads(run, w[MODEL_K], 1, b->k);
        multiply_heads(run, w[MODEL_V], 1, b->v);
    } else {
        stage_multiply(run, products, 3, &run->outer);
        stage_barrier(run);
    }
    if (whole) {
        size_t first, last;
        stage_split(run, run->token_count, &first, &last);
        for (size_t i = first; i < last; i++)
            norm_token(run, (uint32_t)i);
        stage_barrier(run);
    }
    finish_share(run);
}
