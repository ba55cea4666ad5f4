/* The forward pass of a batch through the blocks of a stage. Allocates nothing. */
#include "stage_internal.h"

#include "base_assert.h"
#include "base_bytes.h"
#include "base_err.h"
#include "kv.h"
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

static void multiply(struct stage_run_context *run, const struct tensor_matrix *w, float *y)
{
    tensor_matmul(run->pool, w, run->stage->input, y, tensor_matrix_rows(w));
}

/* normed = rms_norm(x) * norm */
static void norm_token(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;

    tensor_rms_norm(self->buffers.x + token * wide, run->norm, wide, self->config->norm_epsilon,
        self->buffers.normed + token * wide);
}

/* Biases, rotation, and the cache. */
static void finish_qkv(struct stage_run_context *run, uint32_t token)
{
    struct stage *self = run->stage;
    const struct model_config *config = self->config;
    const struct stage_token *t = &self->buffers.tokens[token];
    size_t q_size = (size_t)config->head_count * config->head_dim;
    size_t kv_size = (size_t)config->kv_head_count * config->head_dim;
    float *q = self->buffers.q + token * q_size;
    float *k = self->buffers.k + token * kv_size;
    float *v = self->buffers.v + token * kv_size;
    const float *cos_sin = self->buffers.cos_sin + (size_t)token * config->rotary_dim;
    float *const *biases = run->block->vectors;
    uint32_t page_tokens = self->options.page_tokens;

    if (biases[STAGE_Q_BIAS] != NULL)
        tensor_add(biases[STAGE_Q_BIAS], q_size, q);
    if (biases[STAGE_K_BIAS] != NULL)
        tensor_add(biases[STAGE_K_BIAS], kv_size, k);
    if (biases[STAGE_V_BIAS] != NULL)
        tensor_add(biases[STAGE_V_BIAS], kv_size, v);
    tensor_rope(q, config->head_count, config->head_dim, config->rotary_dim, cos_sin,
        config->family->rope_adjacent);
    tensor_rope(k, config->kv_head_count, config->head_dim, config->rotary_dim, cos_sin,
        config->family->rope_adjacent);
    kv_write(self->kv, run->layer, t->sequence->pages[t->position / page_tokens],
        t->position % page_tokens, k, v);
}

/* x += projected (+ its bias), then the norm before the feed-forward. */
static void finish_attention(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;
    float *projected = self->buffers.projected + token * wide;

    if (run->block->vectors[STAGE_ATTENTION_OUTPUT_BIAS] != NULL)
        tensor_add(run->block->vectors[STAGE_ATTENTION_OUTPUT_BIAS], wide, projected);
    tensor_add(projected, wide, self->buffers.x + token * wide);
    norm_token(run, token);
}

static void activate(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t inner = self->config->feed_forward_length;
    float *gate = self->buffers.gate + token * inner;

    tensor_silu_mul(gate, self->buffers.up + token * inner, inner, gate);
}

static void add_residual(struct stage_run_context *run, uint32_t token)
{
    const struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;

    tensor_add(self->buffers.projected + token * wide, wide, self->buffers.x + token * wide);
}

static void run_block(struct stage_run_context *run)
{
    const struct stage_buffers *b = &run->stage->buffers;
    const struct model_config *config = run->stage->config;
    struct tensor_matrix *const *w = run->block->matrices;
    size_t wide = config->embedding_length;
    size_t heads = (size_t)config->head_count * config->head_dim;
    uint32_t count = run->token_count;

    run->norm = run->block->vectors[STAGE_ATTENTION_NORM];
    stage_for_tokens(run, wide, norm_token);
    stage_prepare(run, b->normed, count, w[STAGE_Q], w[STAGE_K], w[STAGE_V]);
    multiply(run, w[STAGE_Q], b->q);
    multiply(run, w[STAGE_K], b->k);
    multiply(run, w[STAGE_V], b->v);
    stage_for_tokens(run, heads, finish_qkv);
    stage_attention(run);
    stage_prepare(run, b->attention, count, w[STAGE_ATTENTION_OUTPUT], NULL, NULL);
    multiply(run, w[STAGE_ATTENTION_OUTPUT], b->projected);
    run->norm = run->block->vectors[STAGE_FEED_FORWARD_NORM];
    stage_for_tokens(run, wide, finish_attention);
    stage_prepare(run, b->normed, count, w[STAGE_GATE], w[STAGE_UP], NULL);
    multiply(run, w[STAGE_GATE], b->gate);
    multiply(run, w[STAGE_UP], b->up);
    stage_for_tokens(run, config->feed_forward_length, activate);
    stage_prepare(run, b->gate, count, w[STAGE_DOWN], NULL, NULL);
    multiply(run, w[STAGE_DOWN], b->projected);
    stage_for_tokens(run, wide, add_residual);
}

static void list_tokens(
    struct stage *self, const struct stage_sequence *sequences, size_t sequence_count)
{
    struct stage_token *token = self->buffers.tokens;

    for (size_t i = 0; i < sequence_count; i++)
        for (uint32_t j = 0; j < sequences[i].token_count; j++)
            *token++ = (struct stage_token){&sequences[i], sequences[i].first_position + j};
}

static void load_input(struct stage *self, const uint8_t *input, uint32_t token_count)
{
    size_t wide = self->config->embedding_length;

    if (!self->options.embeds) {
        memcpy(self->buffers.x, input, token_count * wide * sizeof(float));
        return;
    }
    for (uint32_t i = 0; i < token_count; i++)
        tensor_matrix_row(self->embedding->matrices[STAGE_ENDS_MATRIX],
            base_load_u32(input + i * sizeof(uint32_t)), self->buffers.x + i * wide);
}

int stage_run(struct stage *self, struct tensor_pool *pool, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    struct stage_output *ret_output, struct base_error *err)
{
    struct stage_attention attention = stage_attention_default(self->config);
    struct stage_run_context run = {.stage = self, .pool = pool, .attention = &attention};
    int rc = stage_check_batch(
        self, sequences, sequence_count, tokens_or_hidden, input_bytes, &run.token_count, err);

    if (rc != BASE_OK)
        return rc;
    base_assert(pool == NULL || tensor_pool_threads(pool) <= STAGE_THREADS_MAX);
    list_tokens(self, sequences, sequence_count);
    load_input(self, tokens_or_hidden, run.token_count);
    /* A cosine takes about as long as sixteen multiplications. */
    stage_for_tokens(&run, (size_t)self->config->rotary_dim * 16, stage_rope_angles);
    for (run.layer = 0; run.layer < self->options.layer_count; run.layer++) {
        run.block = self->blocks[run.layer];
        run_block(&run);
    }
    *ret_output = (struct stage_output){0};
    if (self->options.has_head)
        stage_run_head(&run, sequences, sequence_count, ret_output);
    else
        ret_output->hidden = self->buffers.x;
    return BASE_OK;
}
