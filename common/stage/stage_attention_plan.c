/*
 * How the attention of a batch is cut into tasks. Heads that share keys and values, and neighbouring
 * tokens of one sequence, go over the same pages together. How rows are put together, and which
 * thread takes what, cannot change a bit: see tensor_attention.h.
 */
#include "stage_internal.h"

/* Rows that stay together while they go over the splits: each split is read from memory once. */
#define BLOCK_ROWS STAGE_ATTENTION_BLOCK_ROWS
/* With fewer tasks for each thread than this, splits are tasks of their own. */
#define TASKS_PER_THREAD 4u

uint32_t stage_attention_blocks_max(const struct model_config *config, uint32_t tokens)
{
    uint32_t group = config->head_count / config->kv_head_count;

    return tokens * (group / BLOCK_ROWS + 2);
}

/* Splits of the longest sequence that one sequence can have partial results of in memory. */
uint32_t stage_attention_slots(
    const struct model_config *config, const struct stage_options *options)
{
    return config->head_count * (options->context_length / TENSOR_ATTENTION_SPLIT + 2);
}

/* Positions [first, end) that a token of a sequence sees. */
static void seen_by(const struct stage_attention *a, const struct stage_sequence *sequence,
    uint32_t position, uint32_t *ret_first, uint32_t *ret_end)
{
    uint32_t length = sequence->first_position + sequence->token_count;
    uint32_t before = a->causal ? a->window - 1 : a->window / 2;

    *ret_first = 0;
    *ret_end = a->causal ? position + 1 : length;
    if (a->window == 0)
        return;
    if (position > before)
        *ret_first = position - before;
    if (!a->causal && length - 1 - position > before)
        *ret_end = position + before + 1;
}

struct tensor_attention_row stage_attention_row(const struct stage_run_context *run,
    const struct stage_attention_block *block, uint32_t kv_head, uint32_t index)
{
    const struct stage *self = run->stage;
    uint32_t group = self->config->head_count / self->config->kv_head_count;
    uint32_t row = block->row_first + index;
    uint32_t token = row / group, head = kv_head * group + row % group;
    struct tensor_attention_row r = {
        .q = self->buffers.q + ((size_t)(block->token + token) * self->config->head_count + head) *
                                   self->config->head_dim};

    seen_by(&run->attention, block->sequence, block->sequence->first_position + token, &r.first,
        &r.end);
    return r;
}

/* The blocks of the batch, and which splits each sees. Returns how many splits that is. */
static uint32_t list_blocks(const struct stage_run_context *run, struct stage_attention_plan *plan)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    struct stage_attention_block *blocks = self->buffers.attention_blocks;
    uint32_t group = config->head_count / config->kv_head_count, splits = 0;

    for (uint32_t token = 0; token < run->token_count;) {
        const struct stage_sequence *sequence = self->buffers.tokens[token].sequence;
        uint32_t rows = sequence->token_count * group;
        for (uint32_t first = 0; first < rows; first += BLOCK_ROWS) {
            uint32_t count = rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS;
            struct stage_attention_block block = {
                .sequence = sequence, .token = token, .row_first = first, .row_count = count};
            struct tensor_attention_row low = stage_attention_row(run, &block, 0, 0);
            struct tensor_attention_row high = stage_attention_row(run, &block, 0, count - 1);
            block.split_first = low.first / TENSOR_ATTENTION_SPLIT;
            block.split_count = (high.end - 1) / TENSOR_ATTENTION_SPLIT + 1 - block.split_first;
            block.slot = plan->slot_count;
            plan->slot_count += block.split_count * count * config->kv_head_count;
            splits += block.split_count;
            plan->whole_tokens = plan->whole_tokens && first % group == 0 && count % group == 0;
            blocks[plan->block_count++] = block;
        }
        token += sequence->token_count;
    }
    return splits;
}

/* Splits become tasks where there are few tasks otherwise, and room for what they give. */
void stage_attention_make_plan(const struct stage_run_context *run)
{
    const struct stage *self = run->stage;
    struct stage_attention_plan *plan = &run->stage->attention_plan;
    uint32_t kv_heads = self->config->kv_head_count;

    atomic_store_explicit(&plan->next_task, 0, memory_order_relaxed);
    if (plan->made && plan->window == run->attention.window)
        return;
    plan->made = true;
    plan->window = run->attention.window;
    plan->block_count = plan->slot_count = 0;
    plan->whole_tokens = true;
    uint32_t tasks = list_blocks(run, plan) * kv_heads;
    plan->task_count = plan->block_count * kv_heads;
    plan->by_split = run->thread_count > 1 &&
                     plan->task_count < TASKS_PER_THREAD * run->thread_count &&
                     tasks > plan->task_count &&
                     plan->slot_count <= stage_attention_slots(self->config, &self->options);
    if (plan->by_split)
        plan->task_count = tasks;
}
