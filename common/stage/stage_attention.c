/*
 * Attention over the paged cache: each query row (a head of a token) attends to what is stored.
 */
#include "stage_internal.h"

#include "kv.h"
#include <string.h>

#define BLOCK_ROWS STAGE_ATTENTION_BLOCK_ROWS

size_t stage_attention_scratch_floats(const struct tensor_attention_layout *layout)
{
    return tensor_attention_scratch_floats(layout) +
           (size_t)(TENSOR_ATTENTION_ROWS + BLOCK_ROWS) * tensor_attention_state_floats(layout);
}

/* One thread's part of one layer's attention. */
struct attention_job {
    const struct stage_run_context *run;
    struct stage_attention_plan *plan;
    struct tensor_attention_layout layout;
    uint32_t group; /* heads that share keys and values */
    bool prepares;  /* what a task gives of a token is a whole number of blocks of activations */
};

static struct tensor_attention_cache cache_of(
    const struct attention_job *job, const struct stage_attention_block *block, uint32_t kv_head)
{
    struct tensor_attention_cache cache = kv_view(job->run->stage->kv, job->run->layer, kv_head);

    cache.pages = block->sequence->pages;
    cache.position_count = block->sequence->first_position + block->sequence->token_count;
    cache.scale = job->run->attention.scale;
    cache.softcap = job->run->attention.softcap;
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
        rows[r] = stage_attention_row(job->run, block, kv_head, first + r);
    return count;
}

static void finish_row(const struct attention_job *job, const struct stage_attention_block *block,
    uint32_t kv_head, uint32_t index, float *state)
{
    const struct stage *self = job->run->stage;
    uint32_t row = block->row_first + index;
    uint32_t head = kv_head * job->group + row % job->group;
    size_t at = (size_t)(block->token + row / job->group) * self->config->head_count + head;
    const float *sinks = job->run->attention.sinks;

    tensor_attention_finish(&job->layout, state, sinks != NULL ? &sinks[head] : NULL,
        self->buffers.attention + at * self->config->head_dim);
}

/* The results of a block, behind finish_row() for each, become activations. */
static void prepare_block(
    const struct attention_job *job, const struct stage_attention_block *block, uint32_t kv_head)
{
    size_t columns = (size_t)job->group * job->run->stage->config->head_dim;
    uint32_t first = block->token + block->row_first / job->group;

    for (uint32_t i = 0; i < block->row_count / job->group && job->prepares; i++)
        tensor_activations_prepare(&job->run->inner, first + i, kv_head * columns, columns);
}

/* A block and head from its first split to its last. */
static void whole_task(const struct attention_job *job, uint32_t task, float *scratch)
{
    uint32_t kv_heads = job->run->stage->config->kv_head_count;
    const struct stage_attention_block *block =
        &job->run->stage->buffers.attention_blocks[job->plan->block_count - 1 - task / kv_heads];
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
    prepare_block(job, block, task % kv_heads);
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

static void attend_share(const struct attention_job *job)
{
    float *scratch = job->run->stage->buffers.attention_scratch +
                     job->run->thread_index * stage_attention_scratch_floats(&job->layout);
    uint32_t task;

    while ((task = atomic_fetch_add_explicit(&job->plan->next_task, 1, memory_order_relaxed)) <
           job->plan->task_count) {
        if (job->plan->by_split)
            split_task(job, task, scratch);
        else
            whole_task(job, task, scratch);
    }
}

static void merge_share(const struct attention_job *job)
{
    const struct stage_attention_block *blocks = job->run->stage->buffers.attention_blocks;
    size_t state_floats = tensor_attention_state_floats(&job->layout);
    float *state = job->run->stage->buffers.attention_scratch +
                   job->run->thread_index * stage_attention_scratch_floats(&job->layout);
    uint32_t kv_heads = job->run->stage->config->kv_head_count;

    uint32_t tasks = job->plan->block_count * kv_heads;

    for (uint32_t i = job->run->thread_index; i < tasks; i += job->run->thread_count) {
        const struct stage_attention_block *block = &blocks[i / kv_heads];
        const float *slots = slots_of(job, block, i % kv_heads);
        for (uint32_t r = 0; r < block->row_count; r++) {
            tensor_attention_begin(&job->layout, state);
            for (uint32_t s = 0; s < block->split_count; s++, slots += state_floats)
                tensor_attention_merge(&job->layout, state, slots);
            finish_row(job, block, i % kv_heads, r, state);
        }
        prepare_block(job, block, i % kv_heads);
    }
}

void stage_attention(struct stage_run_context *run, const struct tensor_matrix *w)
{
    const struct model_config *config = run->stage->config;
    size_t columns = (size_t)config->head_count * config->head_dim;
    uint32_t forms = stage_forms(w);
    uint32_t group = config->head_count / config->kv_head_count;
    struct stage_attention_plan *plan = &run->stage->attention_plan;
    const struct attention_job job = {.run = run,
        .plan = plan,
        .layout = kv_view(run->stage->kv, run->layer, 0).layout,
        .group = group,
        .prepares =
            plan->whole_tokens && (size_t)group * config->head_dim % stage_form_unit(forms) == 0};

    stage_set_inner(run, run->stage->buffers.attention, run->token_count, columns, forms);
    attend_share(&job);
    if (plan->by_split) {
        stage_barrier(run);
        merge_share(&job);
    }
    if (!job.prepares) {
        stage_barrier(run);
        stage_prepare(run, &run->inner);
    }
}
