/*
 * Mixture of experts. Tokens are gathered by expert, each expert's products run on all of its
 * tokens at once, and the weighted results are added in ascending order of experts: what a token
 * comes out as depends on its own row only, not on which other tokens chose the same expert.
 */
#include "stage_internal.h"

#include "tensor_ops.h"
#include <math.h>
#include <string.h>

/* What the pool functions of one expert need: run.token_count counts its tokens. */
struct expert_job {
    struct stage_run_context run;
    const uint32_t *tokens; /* [run.token_count] indices into chosen */
    size_t expert;
    const float *x;
};

/* The heaviest experts of a token and their weights. */
static void choose(struct stage_run_context *run, uint32_t token)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    uint32_t count = config->expert_count, used = config->expert_used_count;
    float *logits = b->router + (size_t)token * count;
    float *best = b->chosen_logits + (size_t)token * used;
    float *weights = b->chosen_weights + (size_t)token * used;
    const float *bias = run->block->vectors[MODEL_ROUTER_BIAS];
    float sum = 0;

    if (bias != NULL)
        tensor_add(bias, count, logits);
    tensor_top(logits, count, used, b->chosen + (size_t)token * used, best);
    float most = isfinite(best[0]) ? best[0] : 0.0f;
    (void)tensor_exp_row(best, used, most, weights);
    /* All experts share a weight of 1, or those that were chosen do. */
    if (!config->experts_renormalised)
        sum = tensor_exp_row(logits, count, most, logits);
    for (uint32_t i = 0; i < used && config->experts_renormalised; i++)
        sum += weights[i];
    for (uint32_t i = 0; i < used; i++)
        weights[i] = weights[i] / sum * config->expert_scale;
}

/* Lists the tokens of each expert, in order. */
static void sort_by_expert(struct stage_run_context *run)
{
    const struct stage_buffers *b = &run->stage->buffers;
    uint32_t experts = run->stage->config->expert_count;
    size_t count = (size_t)run->token_count * run->stage->config->expert_used_count;

    memset(b->expert_first, 0, (experts + 1) * sizeof(*b->expert_first));
    for (size_t i = 0; i < count; i++)
        b->expert_first[b->chosen[i] + 1]++;
    for (uint32_t e = 0; e < experts; e++)
        b->expert_first[e + 1] += b->expert_first[e];
    /* Filling moves each start to its end, which is the next one's start. */
    for (size_t i = 0; i < count; i++)
        b->expert_tokens[b->expert_first[b->chosen[i]]++] = (uint32_t)i;
    for (uint32_t e = experts; e > 0; e--)
        b->expert_first[e] = b->expert_first[e - 1];
    b->expert_first[0] = 0;
}

static size_t token_of(const struct expert_job *job, uint32_t i)
{
    return job->tokens[i] / job->run.stage->config->expert_used_count;
}

static void gather(struct stage_run_context *run, uint32_t i)
{
    const struct expert_job *job = (const struct expert_job *)run;
    size_t wide = run->stage->config->embedding_length;

    memcpy(run->stage->buffers.expert_input + i * wide, job->x + token_of(job, i) * wide,
        wide * sizeof(float));
}

static void activate(struct stage_run_context *run, uint32_t i)
{
    const struct expert_job *job = (const struct expert_job *)run;
    const struct stage_buffers *b = &run->stage->buffers;
    size_t inner = run->description->expert_length;
    float *const *biases = run->block->vectors + model_expert(MODEL_VECTORS, job->expert);

    stage_activate(run->stage->config, b->gate + i * inner, b->up + i * inner, inner,
        biases[MODEL_EXPERT_GATE], biases[MODEL_EXPERT_UP]);
}

/* projected[token] += weight * (output + bias) */
static void scatter(struct stage_run_context *run, uint32_t i)
{
    const struct expert_job *job = (const struct expert_job *)run;
    const struct stage_buffers *b = &run->stage->buffers;
    size_t wide = run->stage->config->embedding_length;
    const float *bias =
        run->block->vectors[model_expert(MODEL_VECTORS, job->expert) + MODEL_EXPERT_DOWN];
    float *output = b->expert_output + i * wide;

    if (bias != NULL)
        tensor_add(bias, wide, output);
    tensor_axpy(
        b->chosen_weights[job->tokens[i]], output, wide, b->projected + token_of(job, i) * wide);
}

static void run_expert(struct expert_job *job)
{
    struct stage_run_context *run = &job->run;
    const struct stage_buffers *b = &run->stage->buffers;
    size_t wide = run->stage->config->embedding_length;
    struct tensor_matrix *const *w =
        run->block->matrices + model_expert(MODEL_MATRICES, job->expert);

    stage_for_tokens(run, wide, gather);
    stage_prepare(
        run, b->expert_input, run->token_count, w[MODEL_EXPERT_GATE], w[MODEL_EXPERT_UP], NULL);
    stage_multiply(run, w[MODEL_EXPERT_GATE], b->gate);
    stage_multiply(run, w[MODEL_EXPERT_UP], b->up);
    stage_for_tokens(run, run->description->expert_length, activate);
    stage_prepare(run, b->gate, run->token_count, w[MODEL_EXPERT_DOWN], NULL, NULL);
    stage_multiply(run, w[MODEL_EXPERT_DOWN], b->expert_output);
    stage_for_tokens(run, wide, scatter);
}

static void activate_shared(struct stage_run_context *run, uint32_t token)
{
    const struct stage_buffers *b = &run->stage->buffers;
    size_t inner = run->description->shared_length;

    stage_activate(
        run->stage->config, b->gate + token * inner, b->up + token * inner, inner, NULL, NULL);
}

/* projected += shared expert's output, times the sigmoid of its logit where it has one. */
static void add_shared(struct stage_run_context *run, uint32_t token)
{
    const struct stage_buffers *b = &run->stage->buffers;
    size_t wide = run->stage->config->embedding_length;
    float weight = 1;

    if (run->block->matrices[MODEL_SHARED_ROUTER] != NULL)
        weight = 1.0f / (1.0f + tensor_exp(-b->router[token]));
    tensor_axpy(weight, b->expert_output + token * wide, wide, b->projected + token * wide);
}

static void run_shared(struct stage_run_context *run, const float *x)
{
    const struct stage_buffers *b = &run->stage->buffers;
    struct tensor_matrix *const *w = run->block->matrices;

    if (w[MODEL_SHARED_ROUTER] != NULL) {
        stage_prepare(run, x, run->token_count, w[MODEL_SHARED_ROUTER], NULL, NULL);
        stage_multiply(run, w[MODEL_SHARED_ROUTER], b->router);
    }
    stage_prepare(run, x, run->token_count, w[MODEL_SHARED_GATE], w[MODEL_SHARED_UP], NULL);
    stage_multiply(run, w[MODEL_SHARED_GATE], b->gate);
    stage_multiply(run, w[MODEL_SHARED_UP], b->up);
    stage_for_tokens(run, run->description->shared_length, activate_shared);
    stage_prepare(run, b->gate, run->token_count, w[MODEL_SHARED_DOWN], NULL, NULL);
    stage_multiply(run, w[MODEL_SHARED_DOWN], b->expert_output);
    stage_for_tokens(run, run->stage->config->embedding_length, add_shared);
}

void stage_experts(struct stage_run_context *run, const float *x)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    struct tensor_matrix *const *w = run->block->matrices;

    stage_prepare(run, x, run->token_count, w[MODEL_ROUTER], NULL, NULL);
    stage_multiply(run, w[MODEL_ROUTER], b->router);
    stage_for_tokens(run, config->expert_count, choose);
    sort_by_expert(run);
    memset(b->projected, 0,
        (size_t)run->token_count * config->embedding_length * sizeof(*b->projected));
    for (uint32_t e = 0; e < config->expert_count; e++) {
        struct expert_job job = {*run, b->expert_tokens + b->expert_first[e], e, x};
        job.run.token_count = b->expert_first[e + 1] - b->expert_first[e];
        if (job.run.token_count > 0)
            run_expert(&job);
    }
    if (run->description->shared_length > 0)
        run_shared(run, x);
}
