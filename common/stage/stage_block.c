/* One block: attention, feed-forward, and the norms and sums around them. Which of them there are
 * is seen from the block's vectors and from the model's description. */
#include "stage_internal.h"

/* normed = norm(x), where the block has that norm. Returns what the sub-layer's products take. */
static void norm_token(struct stage_run_context *run, enum model_vector which, uint32_t token)
{
    size_t at = token * (size_t)run->stage->config->embedding_length;

    if (run->block->vectors[which] != NULL)
        stage_norm(run->stage, run->block, which, run->x + at, run->normed + at);
    tensor_activations_prepare(&run->outer, token, 0, run->outer.column_count);
}

/* What a sub-layer takes is ready once its tokens have been through norm_token(). */
static const float *set_outer(struct stage_run_context *run, enum model_vector norm, uint32_t forms)
{
    const float *x = run->block->vectors[norm] != NULL ? run->normed : run->x;

    stage_set_outer(run, x, run->token_count, forms);
    return x;
}

static void begin_attention(struct stage_run_context *run, uint32_t token)
{
    if (run->previous != NULL)
        stage_add_branch(run, run->previous, STAGE_BRANCH_FEED_FORWARD, token);
    norm_token(run, MODEL_ATTENTION_NORM, token);
}

static void begin_feed_forward(struct stage_run_context *run, uint32_t token)
{
    stage_add_branch(run, run->block, STAGE_BRANCH_ATTENTION, token);
    norm_token(run, MODEL_FEED_FORWARD_NORM, token);
}

static void run_attention(struct stage_run_context *run)
{
    struct tensor_matrix *const *w = run->block->matrices;
    const struct stage_product output = {w[MODEL_ATTENTION_OUTPUT], run->stage->buffers.projected};

    (void)set_outer(run, MODEL_ATTENTION_NORM,
        stage_forms(w[MODEL_Q]) | stage_forms(w[MODEL_K]) | stage_forms(w[MODEL_V]));
    stage_for_tokens(run, begin_attention);
    stage_tokens_done(run);
    stage_run_heads(run);
    stage_barrier(run);
    stage_attention(run, output.w);
    stage_barrier(run);
    stage_multiply(run, &output, 1, &run->inner);
    stage_barrier(run);
}

static void run_feed_forward(struct stage_run_context *run)
{
    struct tensor_matrix *const *w = run->block->matrices;
    bool experts = run->description->expert_count > 0;
    const float *x = set_outer(run, MODEL_FEED_FORWARD_NORM,
        experts ? stage_forms(w[MODEL_ROUTER])
                : stage_forms(w[MODEL_GATE]) | stage_forms(w[MODEL_UP]));

    stage_for_tokens(run, begin_feed_forward);
    stage_tokens_done(run);
    if (experts)
        stage_experts(run, x);
    else
        stage_feed_forward(run);
    stage_barrier(run);
}

void stage_run_block(struct stage_run_context *run)
{
    const struct model_config *config = run->stage->config;

    run->attention = (struct stage_attention){
        .scale = config->attention_scale,
        .softcap = config->attention_softcap,
        .window = run->description->window,
        .causal = !config->family->encoder,
        .sinks = run->block->vectors[MODEL_SINKS],
    };
    run_attention(run);
    run_feed_forward(run);
    run->previous = run->block;
}

static void end_token(struct stage_run_context *run, uint32_t token)
{
    stage_add_branch(run, run->previous, STAGE_BRANCH_FEED_FORWARD, token);
}

void stage_end_blocks(struct stage_run_context *run)
{
    stage_for_tokens(run, end_token);
    stage_tokens_done(run);
}
