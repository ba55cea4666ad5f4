/*
 * Attention over the paged cache: keys and values of the batch are stored, then each query row (a
 * head of a token) attends. Heads that share keys and values, and neighbouring tokens of one
 * sequence, go over the same pages together. How rows are put together, and which thread takes
 * what, cannot change a bit: see tensor_attention.h.
 */
#include "stage_internal.h"

#include "base_assert.h"
#include "kv.h"
#include "tensor_attention.h"
#include "tensor_pool.h"
#include <string.h>

/* Fewer multiplications than this finish sooner on the caller than a pool is woken. */
#define PARALLEL_PRODUCTS 32768u
/* Rows that stay together while they go over the splits: each split is read from memory once. */
#define BLOCK_ROWS (4 * TENSOR_ATTENTION_ROWS)
/* Tokens whose keys and values one thread stores: sixteen share cache lines. */
#define STORE_TOKENS 64u
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

size_t stage_attention_scratch_floats(const struct tensor_attention_layout *layout)
{
    return tensor_attention_scratch_floats(layout) +
           (size_t)(TENSOR_ATTENTION_ROWS + BLOCK_ROWS) * tensor_attention_state_floats(layout);
}

/* One run of stage_attention(). */
struct attention_job {
    const struct stage_run_context *run;
    struct tensor_pool *pool; /* NULL: the caller alone */
    struct tensor_attention_layout layout;
    uint32_t group; /* heads that share keys and values */
    uint32_t block_count;
    uint32_t slot_count;
    bool by_split; /* splits are tasks, and results are merged afterwards */
    uint32_t task_count;
    atomic_uint *next_task;
};

static void store_task(const struct attention_job *job, uint32_t task)
{
    const struct stage *self = job->run->stage;
    const struct model_config *config = self->config;
    uint32_t kv_head = task % config->kv_head_count;
    uint32_t first = task / config->kv_head_count * STORE_TOKENS;
    uint32_t left = job->run->token_count - first;
    uint32_t page_tokens = self->options.page_tokens;

    for (uint32_t i = first; i < first + (left < STORE_TOKENS ? left : STORE_TOKENS); i++) {
        const struct stage_token *t = &self->buffers.tokens[i];
        size_t offset = ((size_t)i * config->kv_head_count + kv_head) * config->head_dim;
        kv_write(self->kv, job->run->layer, kv_head, t->sequence->pages[t->position / page_tokens],
            t->position % page_tokens, self->buffers.k + offset, self->buffers.v + offset);
    }
}

static void store_share(
    const struct attention_job *job, uint32_t thread_index, uint32_t thread_count)
{
    uint32_t blocks = (job->run->token_count + STORE_TOKENS - 1) / STORE_TOKENS;
    uint32_t tasks = blocks * job->run->stage->config->kv_head_count;

    for (uint32_t i = thread_index; i < tasks; i += thread_count)
        store_task(job, i);
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

static struct tensor_attention_row row_of(const struct attention_job *job,
    const struct stage_attention_block *block, uint32_t kv_head, uint32_t index)
{
    const struct stage *self = job->run->stage;
    uint32_t row = block->row_first + index;
    uint32_t token = row / job->group, head = kv_head * job->group + row % job->group;
    struct tensor_attention_row r = {
        .q = self->buffers.q + ((size_t)(block->token + token) * self->config->head_count + head) *
                                   self->config->head_dim};

    seen_by(job->run->attention, block->sequence, block->sequence->first_position + token, &r.first,
        &r.end);
    return r;
}

/* The blocks of the batch, and which splits each sees. */
static uint64_t list_blocks(struct attention_job *job)
{
    const struct stage *self = job->run->stage;
    struct stage_attention_block *blocks = self->buffers.attention_blocks;
    uint64_t positions = 0;

    for (uint32_t token = 0; token < job->run->token_count;) {
        const struct stage_sequence *sequence = self->buffers.tokens[token].sequence;
        uint32_t rows = sequence->token_count * job->group;
        for (uint32_t first = 0; first < rows; first += BLOCK_ROWS) {
            uint32_t count = rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS;
            struct stage_attention_block block = {
                .sequence = sequence, .token = token, .row_first = first, .row_count = count};
            struct tensor_attention_row low = row_of(job, &block, 0, 0);
            struct tensor_attention_row high = row_of(job, &block, 0, count - 1);
            block.split_first = low.first / TENSOR_ATTENTION_SPLIT;
            block.split_count = (high.end - 1) / TENSOR_ATTENTION_SPLIT + 1 - block.split_first;
            block.slot = job->slot_count;
            job->slot_count += block.split_count * count * self->config->kv_head_count;
            positions += (uint64_t)(high.end - low.first) * count;
            blocks[job->block_count++] = block;
        }
        token += sequence->token_count;
    }
    return positions * self->config->kv_head_count;
}

static struct tensor_attention_cache cache_of(
    const struct attention_job *job, const struct stage_attention_block *block, uint32_t kv_head)
{
    struct tensor_attention_cache cache = kv_view(job->run->stage->kv, job->run->layer, kv_head);

    cache.pages = block->sequence->pages;
    cache.position_count = block->sequence->first_position + block->sequence->token_count;
    cache.scale = job->run->attention->scale;
    cache.softcap = job->run->attention->softcap;
    return cache;
}

/* Rows [first, first + *ret_count) of a block as a tile. */
static uint32_t list_rows(const struct attention_job *job,
    const struct stage_attention_block *block, uint32_t kv_head, uint32_t first,
    struct tensor_attention_row rows[TENSOR_ATTENTION_ROWS])
{
    uint32_t left = block->row_count - first;
    uint32_t count = left < TENSOR_ATTENTION_ROWS ? left : TENSOR_ATTENTION_ROWS;

    for (uint32_t r = 0; r < count; r++)
        rows[r] = row_of(job, block, kv_head, first + r);
    return count;
}

static void finish_row(const struct attention_job *job, const struct stage_attention_block *block,
    uint32_t kv_head, uint32_t index, float *state)
{
    const struct stage *self = job->run->stage;
    uint32_t row = block->row_first + index;
    uint32_t head = kv_head * job->group + row % job->group;
    size_t at = (size_t)(block->token + row / job->group) * self->config->head_count + head;
    const float *sinks = job->run->attention->sinks;

    tensor_attention_finish(&job->layout, state, sinks != NULL ? &sinks[head] : NULL,
        self->buffers.attention + at * self->config->head_dim);
}

/* A block and head from its first split to its last. */
static void whole_task(const struct attention_job *job, uint32_t task, float *scratch)
{
    uint32_t kv_heads = job->run->stage->config->kv_head_count;
    const struct stage_attention_block *block =
        &job->run->stage->buffers.attention_blocks[job->block_count - 1 - task / kv_heads];
    struct tensor_attention_cache cache = cache_of(job, block, task % kv_heads);
    struct tensor_attention_row rows[TENSOR_ATTENTION_ROWS];
    size_t state_floats = tensor_attention_state_floats(&job->layout);
    float *partials = scratch + tensor_attention_scratch_floats(&job->layout);
    float *states = partials + TENSOR_ATTENTION_ROWS * state_floats;

    for (uint32_t r = 0; r < block->row_count; r++)
        tensor_attention_begin(&job->layout, states + r * state_floats);
    for (uint32_t s = 0; s < block->split_count; s++)
        for (uint32_t first = 0; first < block->row_count; first += TENSOR_ATTENTION_ROWS) {
            uint32_t count = list_rows(job, block, task % kv_heads, first, rows);
            tensor_attention_split(&cache, rows, count, block->split_first + s, partials, scratch);
            for (uint32_t r = 0; r < count; r++)
                tensor_attention_merge(
                    &job->layout, states + (first + r) * state_floats, partials + r * state_floats);
        }
    for (uint32_t r = 0; r < block->row_count; r++)
        finish_row(job, block, task % kv_heads, r, states + r * state_floats);
}

/* Partial results of one head of a block: [row][split]. */
static float *slots_of(
    const struct attention_job *job, const struct stage_attention_block *block, uint32_t kv_head)
{
    size_t slot = block->slot + (size_t)kv_head * block->row_count * block->split_count;

    return job->run->stage->buffers.partials + slot * tensor_attention_state_floats(&job->layout);
}

/* One split of a block and head. */
static void split_task(const struct attention_job *job, uint32_t task, float *scratch)
{
    uint32_t kv_heads = job->run->stage->config->kv_head_count;
    const struct stage_attention_block *block = job->run->stage->buffers.attention_blocks;
    size_t state_floats = tensor_attention_state_floats(&job->layout);
    float *partials = scratch + tensor_attention_scratch_floats(&job->layout);
    struct tensor_attention_row rows[TENSOR_ATTENTION_ROWS];

    for (; task >= block->split_count * kv_heads; block++)
        task -= block->split_count * kv_heads;
    uint32_t kv_head = task / block->split_count, split = task % block->split_count;
    struct tensor_attention_cache cache = cache_of(job, block, kv_head);
    float *slots = slots_of(job, block, kv_head);
    for (uint32_t first = 0; first < block->row_count; first += TENSOR_ATTENTION_ROWS) {
        uint32_t count = list_rows(job, block, kv_head, first, rows);
        tensor_attention_split(&cache, rows, count, block->split_first + split, partials, scratch);
        for (uint32_t r = 0; r < count; r++)
            memcpy(slots + ((first + r) * block->split_count + split) * state_floats,
                partials + r * state_floats, state_floats * sizeof(float));
    }
}

static void attend_share(const struct attention_job *job, uint32_t thread_index)
{
    float *scratch = job->run->stage->buffers.attention_scratch +
                     thread_index * stage_attention_scratch_floats(&job->layout);
    uint32_t task;

    while ((task = atomic_fetch_add_explicit(job->next_task, 1, memory_order_relaxed)) <
           job->task_count) {
        if (job->by_split)
            split_task(job, task, scratch);
        else
            whole_task(job, task, scratch);
    }
}

static void merge_share(
    const struct attention_job *job, uint32_t thread_index, uint32_t thread_count)
{
    const struct stage_attention_block *blocks = job->run->stage->buffers.attention_blocks;
    size_t state_floats = tensor_attention_state_floats(&job->layout);
    float *state = job->run->stage->buffers.attention_scratch +
                   thread_index * stage_attention_scratch_floats(&job->layout);
    uint32_t kv_heads = job->run->stage->config->kv_head_count;

    for (uint32_t i = thread_index; i < job->block_count * kv_heads; i += thread_count) {
        const struct stage_attention_block *block = &blocks[i / kv_heads];
        const float *slots = slots_of(job, block, i % kv_heads);
        for (uint32_t r = 0; r < block->row_count; r++) {
            tensor_attention_begin(&job->layout, state);
            for (uint32_t s = 0; s < block->split_count; s++, slots += state_floats)
                tensor_attention_merge(&job->layout, state, slots);
            finish_row(job, block, i % kv_heads, r, state);
        }
    }
}

/* Barriers keep what is dependent apart, so that the pool is woken once. */
static void all_phases(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct attention_job *job = context;

    store_share(job, thread_index, thread_count);
    tensor_pool_barrier(job->pool);
    attend_share(job, thread_index);
    if (job->by_split) {
        tensor_pool_barrier(job->pool);
        merge_share(job, thread_index, thread_count);
    }
}

/* Splits become tasks where there are few tasks otherwise, and room for what they give. */
static void plan_tasks(struct attention_job *job, uint32_t thread_count)
{
    const struct stage *self = job->run->stage;
    uint32_t kv_heads = self->config->kv_head_count, tasks = 0;

    for (uint32_t i = 0; i < job->block_count; i++)
        tasks += self->buffers.attention_blocks[i].split_count * kv_heads;
    job->task_count = job->block_count * kv_heads;
    job->by_split = thread_count > 1 && job->task_count < TASKS_PER_THREAD * thread_count &&
                    tasks > job->task_count &&
                    job->slot_count <= stage_attention_slots(self->config, &self->options);
    if (job->by_split)
        job->task_count = tasks;
}

void stage_attention(struct stage_run_context *run)
{
    const struct model_config *config = run->stage->config;
    atomic_uint next_task = 0;
    struct attention_job job = {.run = run,
        .layout = kv_view(run->stage->kv, run->layer, 0).layout,
        .group = config->head_count / config->kv_head_count,
        .next_task = &next_task};
    uint64_t positions = list_blocks(&job);
    struct tensor_pool *pool = positions * config->head_dim < PARALLEL_PRODUCTS ? NULL : run->pool;

    plan_tasks(&job, pool == NULL ? 1 : tensor_pool_threads(pool));
    job.pool = pool;
    if (pool == NULL)
        all_phases(&job, 0, 1);
    else
        tensor_pool_run(pool, all_phases, &job);
}
