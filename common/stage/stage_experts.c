/*
 * Mixture of experts. Tokens are gathered by expert, each expert's products run on all of its
 * tokens at once, and the weighted results are added in ascending order of experts: what a token
 * comes out as depends on its own row only, not on which other tokens chose the same expert.
 *
 * Two phases an expert: its gate, then its down product. While the second reads inner, the next
 * expert's tokens are gathered in outer.
 */
#include "stage_internal.h"

#include "tensor_ops.h"
#include <math.h>
#include <string.h>

/* The heaviest experts of a token and their weights. */
static void choose(const struct stage_run_context *run, size_t token)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    uint32_t count = config->expert_count, used = config->expert_used_count;
    float *logits = b->router + token * count;
    float *best = b->chosen_logits + token * used;
    float *weights = b->chosen_weights + token * used;
    const float *bias = run->block->vectors[MODEL_ROUTER_BIAS];
    float sum = 0;

    if (bias != NULL)
        tensor_add(bias, count, logits);
    tensor_top(logits, count, used, b->chosen + token * used, best);
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
static void sort_by_expert(const struct stage_run_context *run)
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

/* Tokens that go through one expert; or, of the expert that all share, every token. */
struct expert {
    struct stage_gate gate;
    const struct tensor_matrix *down;
    const float *down_bias; /* NULL: there is none */
    uint32_t token_count;
    const uint32_t *tokens; /* [token_count] indices into chosen; NULL: shared */
};

static struct expert expert_of(const struct stage_run_context *run, size_t index)
{
    const struct stage_buffers *b = &run->stage->buffers;
    struct tensor_matrix *const *w = run->block->matrices + model_expert(MODEL_MATRICES, index);
    float *const *biases = run->block->vectors + model_expert(MODEL_VECTORS, index);

    return (struct expert){
        .gate = {.gate = w[MODEL_EXPERT_GATE],
            .up = w[MODEL_EXPERT_UP],
            .down = w[MODEL_EXPERT_DOWN],
            .gate_bias = biases[MODEL_EXPERT_GATE],
            .up_bias = biases[MODEL_EXPERT_UP],
            .length = run->description->expert_length},
        .down = w[MODEL_EXPERT_DOWN],
        .down_bias = biases[MODEL_EXPERT_DOWN],
        .token_count = b->expert_first[index + 1] - b->expert_first[index],
        .tokens = b->expert_tokens + b->expert_first[index],
    };
}

static struct expert shared_expert(const struct stage_run_context *run)
{
    struct tensor_matrix *const *w = run->block->matrices;

    return (struct expert){
        .gate = {.gate = w[MODEL_SHARED_GATE],
            .up = w[MODEL_SHARED_UP],
            .down = w[MODEL_SHARED_DOWN],
            .length = run->description->shared_length},
        .down = w[MODEL_SHARED_DOWN],
        .token_count = run->token_count,
    };
}

static size_t token_of(const struct stage_run_context *run, const struct expert *expert, size_t i)
{
    return expert->tokens == NULL ? i : expert->tokens[i] / run->stage->config->expert_used_count;
}

/* The rows of x that an expert takes, next to each other and prepared. */
static void gather(struct stage_run_context *run, const struct expert *expert, const float *x)
{
    size_t wide = run->stage->config->embedding_length, first = 0, last = expert->token_count;
    float *rows = run->stage->buffers.expert_input;
    uint32_t forms = stage_forms(expert->gate.gate) | stage_forms(expert->gate.up);

    if (expert->tokens == NULL)
        forms |= stage_forms(run->block->matrices[MODEL_SHARED_ROUTER]);
    if (run->token_count == 1) { /* every expert takes the same */
        if ((forms & ~run->outer.forms) == 0)
            return;
        forms |= run->outer.forms;
    }
    bool copies = run->token_count > 1 && expert->tokens != NULL;
    stage_set_outer(run, copies ? rows : x, expert->token_count, forms);
    if (!run->own)
        stage_split(run, expert->token_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        if (copies)
            memcpy(rows + i * wide, x + token_of(run, expert, i) * wide, wide * sizeof(*rows));
        tensor_activations_prepare(&run->outer, i, 0, wide);
    }
}

/* Columns [first, last) of projected[token] += weight * (output + bias) */
static void scatter(const struct stage_run_context *run, const struct expert *expert, size_t i,
    size_t first, size_t last)
{
    const struct stage_buffers *b = &run->stage->buffers;
    size_t wide = run->stage->config->embedding_length, token = token_of(run, expert, i);
    float *output = b->expert_output + i * wide + first;
    float weight = 1;

    if (expert->tokens != NULL)
        weight = b->chosen_weights[expert->tokens[i]];
    else if (run->block->matrices[MODEL_SHARED_ROUTER] != NULL)
        weight = 1.0f / (1.0f + tensor_exp(-b->router[token]));
    if (expert->down_bias != NULL)
        tensor_add(expert->down_bias + first, last - first, output);
    tensor_axpy(weight, output, last - first, b->projected + token * wide + first);
}

/* The columns of all tokens that are this thread's, which are so for every expert. */
static void run_down(struct stage_run_context *run, const struct expert *expert)
{
    size_t wide = run->stage->config->embedding_length, first, last;

    stage_split(run, (wide + TENSOR_ROW_GROUP - 1) / TENSOR_ROW_GROUP, &first, &last);
    first *= TENSOR_ROW_GROUP;
    last = last * TENSOR_ROW_GROUP < wide ? last * TENSOR_ROW_GROUP : wide;
    if (first >= last)
        return;
    tensor_matmul_rows(
        expert->down, &run->inner, first, last, run->stage->buffers.expert_output, wide);
    for (size_t i = 0; i < expert->token_count; i++)
        scatter(run, expert, i, first, last);
}

/* The expert behind index that tokens go through, the shared one at last. False: none is left. */
static bool next_expert(
    const struct stage_run_context *run, uint32_t *index, struct expert *ret_expert)
{
    uint32_t count = run->stage->config->expert_count;

    for (; *index < count; ++*index) {
        *ret_expert = expert_of(run, *index);
        if (ret_expert->token_count > 0) {
            ++*index;
            return true;
        }
    }
    if (*index > count || run->description->shared_length == 0)
        return false;
    *ret_expert = shared_expert(run);
    ++*index;
    return true;
}

/* Which experts each token goes through. */
static void run_router(struct stage_run_context *run)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct stage_product router = {run->block->matrices[MODEL_ROUTER], b->router};
    size_t wide = run->stage->config->embedding_length, first, last;

    stage_multiply(run, &router, 1, &run->outer);
    stage_barrier(run);
    stage_split(run, run->token_count, &first, &last);
    for (size_t i = first; i < last; i++)
        choose(run, i);
    memset(b->projected + first * wide, 0, (last - first) * wide * sizeof(*b->projected));
    stage_barrier(run);
    if (run->thread_index == 0)
        sort_by_expert(run);
    stage_barrier(run);
}

void stage_experts(struct stage_run_context *run, const float *x)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct stage_product router = {run->block->matrices[MODEL_SHARED_ROUTER], b->router};
    struct expert expert, next;
    uint32_t index = 0;

    run_router(run);
    bool more = next_expert(run, &index, &next);
    if (more)
        gather(run, &next, x);
    while (more) {
        expert = next;
        stage_barrier(run);
        stage_run_gate(run, &expert.gate);
        if (expert.tokens == NULL && router.w != NULL)
            stage_multiply(run, &router, 1, &run->outer);
        stage_barrier(run);
        run_down(run, &expert);
        more = next_expert(run, &index, &next);
        if (more)
            gather(run, &next, x);
    }
}
