/* The forward pass of a batch through a stage: one job of the pool. Allocates nothing. */
#include "stage_internal.h"

#include "base_assert.h"
#include "base_err.h"
#include "tensor_ops.h"
#include "tensor_pool.h"

/* Fewer multiplications for each barrier-bound block than this are done sooner by one thread. */
#define PARALLEL_PRODUCTS ((uint64_t)131072)

/* Far from the beginning some models sharpen their scores. */
static float temperature_at(const struct model_config *config, uint32_t position)
{
    uint32_t steps = position / config->temperature_length;

    if (config->temperature_scale == 0 || steps == 0)
        return 1;
    return (float)(1 + (double)config->temperature_scale * tensor_log(1.0 + steps));
}

static void list_tokens(
    struct stage *self, const struct stage_sequence *sequences, size_t sequence_count)
{
    struct stage_token *token = self->buffers.tokens;

    for (size_t i = 0; i < sequence_count; i++)
        for (uint32_t j = 0; j < sequences[i].token_count; j++)
            *token++ = (struct stage_token){&sequences[i], sequences[i].first_position + j,
                temperature_at(self->config, sequences[i].first_position + j)};
}

/* Every thread walks through all layers. */
static void run_layers(struct stage_run_context *run)
{
    struct stage *self = run->stage;

    for (run->layer = 0; run->layer < self->options.layer_count; run->layer++) {
        run->block = self->blocks[run->layer];
        run->description = model_get_layer(self->model, run->block->index);
        if (run->thread_index == 0)
            stage_unit_advise(self->blocks[(run->layer + 1) % self->options.layer_count], true);
        stage_run_block(run);
        if (run->thread_index == 0)
            stage_unit_advise(run->block, false);
    }
}

struct run_job {
    struct stage_run_context run; /* what all threads have in common */
    const void *input;
};

static void run_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct run_job *job = context;
    struct stage_run_context run = job->run;
    const struct stage_buffers *b = &run.stage->buffers;
    size_t wide = run.stage->config->embedding_length;

    run.thread_index = thread_index;
    run.thread_count = thread_count;
    run.own = thread_count > 1 && run.token_count == 1;
    /* The first thread's own is what the others would have shared. */
    run.x = run.own && thread_index > 0 ? b->own + 2 * wide * thread_index : b->x;
    run.normed = run.own && thread_index > 0 ? run.x + wide : b->normed;
    stage_embed(&run, job->input);
    run_layers(&run);
    stage_end_blocks(&run);
    if (run.stage->options.has_head)
        stage_run_head(&run);
}

/* Multiplications of all products; those of attention as if every layer saw everything. */
static uint64_t count_products(const struct stage_run_context *run,
    const struct stage_sequence *sequences, size_t sequence_count)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    uint64_t positions = 0;

    for (size_t i = 0; i < sequence_count; i++)
        positions += (uint64_t)sequences[i].token_count *
                     (sequences[i].first_position + sequences[i].token_count);
    return run->token_count * self->products_per_token +
           positions * self->options.layer_count * 2 * config->head_count * config->head_dim +
           (uint64_t)run->row_count * config->vocab_size * config->embedding_length;
}

int stage_run(struct stage *self, struct tensor_pool *pool, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    struct stage_output *ret_output, struct base_error *err)
{
    struct run_job job = {.run.stage = self, .input = tokens_or_hidden};
    struct stage_output output = {0};
    int rc = stage_check_batch(
        self, sequences, sequence_count, tokens_or_hidden, input_bytes, &job.run.token_count, err);

    if (rc != BASE_OK)
        return rc;
    base_assert(pool == NULL || tensor_pool_threads(pool) <= STAGE_THREADS_MAX);
    list_tokens(self, sequences, sequence_count);
    self->attention_plan.made = false;
    if (self->options.has_head) {
        job.run.row_count = stage_list_rows(self, sequences, sequence_count, &output.payload_bytes);
        output.rows = self->buffers.rows;
        output.row_count = job.run.row_count;
        output.payload = self->buffers.payload;
    } else {
        output.hidden = self->buffers.x;
    }
    if (pool != NULL && count_products(&job.run, sequences, sequence_count) >=
                            PARALLEL_PRODUCTS * self->options.layer_count) {
        job.run.pool = pool;
        tensor_pool_run(pool, run_share, &job);
    } else {
        run_share(&job, 0, 1);
    }
    *ret_output = output;
    return BASE_OK;
}
