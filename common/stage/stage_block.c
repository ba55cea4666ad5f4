/* One block: attention, feed-forward, and the norms and sums around them. Which of them there are
 * is seen from the block's vectors and from the model's description. */
#include "stage_internal.h"

#include "tensor_ops.h"

/* normed = norm(x) before attention */
static void norm_token(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t at = token * (size_t)self->config->embedding_length;

    stage_norm(
        self, run->block, MODEL_ATTENTION_NORM, self->buffers.x + at, self->buffers.normed + at);
}

/* RMSNorm of heads, one by one or all at once. */
static void norm_heads(
    const struct model_config *config, const float *weight, uint32_t head_count, float *x)
{
    size_t size = config->head_dim;

    if (weight == NULL)
        return;
    if (config->family->qk_norm == MODEL_QK_WHOLE) {
        size *= head_count;
        head_count = 1;
    }
    for (uint32_t i = 0; i < head_count; i++, x += size)
        tensor_rms_norm(x, weight, size, config->norm_epsilon, x);
}

static void add_bias(const float *bias, size_t count, float *y)
{
    if (bias != NULL)
        tensor_add(bias, count, y);
}

/* Biases, norms and rotation. */
static void finish_qkv(struct stage_run_context *run, uint32_t token)
{
    struct stage *self = run->stage;
    const struct model_config *config = self->config;
    size_t q_size = (size_t)config->head_count * config->head_dim;
    size_t kv_size = (size_t)config->kv_head_count * config->head_dim;
    float *q = self->buffers.q + token * q_size;
    float *k = self->buffers.k + token * kv_size;
    float *v = self->buffers.v + token * kv_size;
    float *const *vectors = run->block->vectors;

    add_bias(vectors[MODEL_Q_BIAS], q_size, q);
    add_bias(vectors[MODEL_K_BIAS], kv_size, k);
    add_bias(vectors[MODEL_V_BIAS], kv_size, v);
    norm_heads(config, vectors[MODEL_Q_NORM], config->head_count, q);
    norm_heads(config, vectors[MODEL_K_NORM], config->kv_head_count, k);
    if (self->buffers.tokens[token].temperature != 1)
        tensor_scale(q, q_size, self->buffers.tokens[token].temperature, q);
    if (run->description->rope != MODEL_ROPE_NONE) {
        const float *cos_sin = stage_rope_token(run, token);
        bool adjacent = config->family->rope_adjacent;
        tensor_rope(q, config->head_count, config->head_dim, config->rotary_dim, cos_sin, adjacent);
        tensor_rope(
            k, config->kv_head_count, config->head_dim, config->rotary_dim, cos_sin, adjacent);
    }
}

/* x += scale * norm(projected + bias), then the norm of the sum, as far as the block has them. */
static void add_branch(struct stage_run_context *run, uint32_t token, enum model_vector bias,
    enum model_vector post_norm, enum model_vector sum_norm)
{
    const struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;
    float *const *vectors = run->block->vectors;
    float *projected = self->buffers.projected + token * wide;
    float *x = self->buffers.x + token * wide;

    add_bias(vectors[bias], wide, projected);
    if (vectors[post_norm] != NULL)
        stage_norm(self, run->block, post_norm, projected, projected);
    if (self->config->residual_scale != 1)
        tensor_scale(projected, wide, self->config->residual_scale, projected);
    tensor_add(projected, wide, x);
    if (vectors[sum_norm] != NULL)
        stage_norm(self, run->block, sum_norm, x, x);
}

/* The residual stream behind attention, and the norm before the feed-forward. */
static void finish_attention(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t at = token * (size_t)self->config->embedding_length;

    add_branch(run, token, MODEL_ATTENTION_OUTPUT_BIAS, MODEL_ATTENTION_POST_NORM,
        MODEL_ATTENTION_SUM_NORM);
    if (run->block->vectors[MODEL_FEED_FORWARD_NORM] != NULL)
        stage_norm(self, run->block, MODEL_FEED_FORWARD_NORM, self->buffers.x + at,
            self->buffers.normed + at);
}

static void finish_feed_forward(struct stage_run_context *run, uint32_t token)
{
    add_branch(
        run, token, MODEL_DOWN_BIAS, MODEL_FEED_FORWARD_POST_NORM, MODEL_FEED_FORWARD_SUM_NORM);
}

static void run_attention(struct stage_run_context *run)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    struct tensor_matrix *const *w = run->block->matrices;
    const float *x = b->x;

    if (run->block->vectors[MODEL_ATTENTION_NORM] != NULL) {
        stage_for_tokens(run, config->embedding_length, norm_token);
        x = b->normed;
    }
    stage_prepare(run, x, run->token_count, w[MODEL_Q], w[MODEL_K], w[MODEL_V]);
    stage_multiply(run, w[MODEL_Q], b->q);
    stage_multiply(run, w[MODEL_K], b->k);
    stage_multiply(run, w[MODEL_V], b->v);
    stage_for_tokens(run, (size_t)config->head_count * config->head_dim, finish_qkv);
    stage_attention(run);
    stage_prepare(run, b->attention, run->token_count, w[MODEL_ATTENTION_OUTPUT], NULL, NULL);
    stage_multiply(run, w[MODEL_ATTENTION_OUTPUT], b->projected);
    stage_for_tokens(run, config->embedding_length, finish_attention);
}

void stage_run_block(struct stage_run_context *run)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    const struct stage_attention attention = {
        .scale = config->attention_scale,
        .softcap = config->attention_softcap,
        .window = run->description->window,
        .causal = !config->family->encoder,
        .sinks = run->block->vectors[MODEL_SINKS],
    };

    run->attention = &attention;
    run_attention(run);
    const float *x = run->block->vectors[MODEL_FEED_FORWARD_NORM] != NULL ? b->normed : b->x;
    if (run->description->expert_count > 0)
        stage_experts(run, x);
    else
        stage_feed_forward(run, x);
    stage_for_tokens(run, config->embedding_length, finish_feed_forward);
    run->attention = NULL;
}
