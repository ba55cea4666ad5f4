/* The forward pass of a batch through a stage. Allocates nothing. */
#include "stage_internal.h"

#include "base_assert.h"
#include "base_bytes.h"
#include "base_err.h"
#include "tensor_matrix.h"
#include "tensor_ops.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <string.h>

/* Fewer values than this are done sooner by one thread than a pool is woken. */
#define PARALLEL_VALUES 16384u

struct token_job {
    struct stage_run_context *run;
    stage_token_fn *fn;
};

static void token_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct token_job *job = context;

    for (uint32_t i = thread_index; i < job->run->token_count; i += thread_count)
        job->fn(job->run, i);
}

void stage_for_tokens(struct stage_run_context *run, size_t values_per_token, stage_token_fn *fn)
{
    struct token_job job = {run, fn};

    if (run->pool == NULL || run->token_count * values_per_token < PARALLEL_VALUES)
        token_share(&job, 0, 1);
    else
        tensor_pool_run(run->pool, token_share, &job);
}

static uint32_t form_for(const struct tensor_matrix *w)
{
    return w == NULL ? 0 : tensor_form_of(tensor_matrix_type(w));
}

void stage_prepare(struct stage_run_context *run, const float *x, size_t count,
    const struct tensor_matrix *a, const struct tensor_matrix *b, const struct tensor_matrix *c)
{
    tensor_input_prepare_forms(run->stage->input, x, count, tensor_matrix_columns(a),
        form_for(a) | form_for(b) | form_for(c), run->pool);
}

void stage_multiply(struct stage_run_context *run, const struct tensor_matrix *w, float *y)
{
    tensor_matmul(run->pool, w, run->stage->input, y, tensor_matrix_rows(w));
}

void stage_norm(const struct stage *self, const struct stage_unit *unit, enum model_vector which,
    const float *x, float *y)
{
    const struct model_config *config = self->config;
    size_t wide = config->embedding_length;

    if (config->family->layer_norm)
        tensor_layer_norm(
            x, unit->vectors[which], unit->vectors[which + 1], wide, config->norm_epsilon, y);
    else
        tensor_rms_norm(x, unit->vectors[which], wide, config->norm_epsilon, y);
}

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

/* The row of a token's id, and what else the family adds to it. */
static void embed(struct stage_run_context *run, const uint8_t *ids, uint32_t token)
{
    const struct stage *self = run->stage;
    const struct model_config *config = self->config;
    const struct stage_unit *unit = self->embedding;
    size_t wide = config->embedding_length;
    float *x = self->buffers.x + token * wide;

    tensor_matrix_row(
        unit->matrices[MODEL_EMBEDDING], base_load_u32(ids + token * sizeof(uint32_t)), x);
    if (config->embedding_scale != 1)
        tensor_scale(x, wide, config->embedding_scale, x);
    if (unit->matrices[MODEL_POSITIONS] != NULL) {
        float *row = self->buffers.projected + token * wide;
        tensor_matrix_row(
            unit->matrices[MODEL_POSITIONS], self->buffers.tokens[token].position, row);
        tensor_add(row, wide, x);
    }
    const struct stage_token *t = &self->buffers.tokens[token];
    bool second = t->sequence->second_text > 0 && t->position >= t->sequence->second_text;
    const float *type = unit->vectors[second ? MODEL_SECOND_TYPE : MODEL_TOKEN_TYPE];
    if (type != NULL)
        tensor_add(type, wide, x);
    if (unit->vectors[MODEL_END_NORM] != NULL)
        stage_norm(self, unit, MODEL_END_NORM, x, x);
}

static void load_input(struct stage_run_context *run, const uint8_t *input)
{
    struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;

    if (!self->options.embeds)
        memcpy(self->buffers.x, input, run->token_count * wide * sizeof(float));
    for (uint32_t i = 0; self->options.embeds && i < run->token_count; i++)
        embed(run, input, i);
}

int stage_run(struct stage *self, struct tensor_pool *pool, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    struct stage_output *ret_output, struct base_error *err)
{
    struct stage_run_context run = {.stage = self, .pool = pool};
    int rc = stage_check_batch(
        self, sequences, sequence_count, tokens_or_hidden, input_bytes, &run.token_count, err);

    if (rc != BASE_OK)
        return rc;
    base_assert(pool == NULL || tensor_pool_threads(pool) <= STAGE_THREADS_MAX);
    list_tokens(self, sequences, sequence_count);
    load_input(&run, tokens_or_hidden);
    /* A cosine takes about as long as sixteen multiplications. */
    if (!self->config->family->encoder)
        stage_for_tokens(&run, (size_t)self->config->rotary_dim * 16, stage_rope_angles);
    for (run.layer = 0; run.layer < self->options.layer_count; run.layer++) {
        run.block = self->blocks[run.layer];
        run.description = model_get_layer(self->model, run.block->index);
        stage_unit_advise(self->blocks[(run.layer + 1) % self->options.layer_count], true);
        stage_run_block(&run);
        stage_unit_advise(run.block, false);
    }
    *ret_output = (struct stage_output){0};
    if (self->options.has_head)
        stage_run_head(&run, sequences, sequence_count, ret_output);
    else
        ret_output->hidden = self->buffers.x;
    return BASE_OK;
}
