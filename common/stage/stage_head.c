/* Output norm, head, and the reduction of each wanted row of logits. */
#include "stage_internal.h"

#include "tensor_matrix.h"
#include "tensor_ops.h"
#include "tensor_pool.h"
#include <string.h>

/* The output norm; encoders have none. */
static void norm_row(const struct stage *self, const float *x, float *y)
{
    if (self->head->vectors[MODEL_END_NORM] != NULL)
        stage_norm(self, self->head, MODEL_END_NORM, x, y);
    else
        memcpy(y, x, self->config->embedding_length * sizeof(float));
}

/* Lists the wanted rows and puts their norms, packed together, into buffers.normed. Returns how
 * many there are and their payload. */
static size_t gather_rows(struct stage_run_context *run, const struct stage_sequence *sequences,
    size_t sequence_count, size_t *ret_payload_bytes)
{
    struct stage *self = run->stage;
    const struct model_config *config = self->config;
    size_t wide = config->embedding_length;
    size_t count = 0;
    size_t offset = 0;
    uint32_t token = 0;

    for (size_t i = 0; i < sequence_count; token += sequences[i++].token_count) {
        const struct stage_sequence *s = &sequences[i];
        uint32_t first = stage_wants_all(s->logits) ? 0 : s->token_count - 1;
        for (uint32_t j = first; j < s->token_count && s->logits != STAGE_LOGITS_NONE; j++) {
            bool full = s->logits == STAGE_LOGITS_FULL_ALL;
            self->buffers.rows[count] = (struct stage_row){
                .sequence = (uint32_t)i,
                .position = s->first_position + j,
                .logits = full ? STAGE_LOGITS_FULL : s->logits,
                .count = (uint32_t)(stage_row_bytes(self, s->logits, s->top_count) /
                                    (s->logits == STAGE_LOGITS_TOP ? 8 : sizeof(float))),
                .offset = offset,
            };
            norm_row(
                self, self->buffers.x + (token + j) * wide, self->buffers.normed + count * wide);
            offset += stage_row_bytes(self, s->logits, s->top_count);
            count++;
        }
    }
    *ret_payload_bytes = offset;
    return count;
}

static void reduce_row(struct stage *self, struct stage_row *row, float *logits)
{
    const struct model_config *config = self->config;
    size_t vocab = config->vocab_size;
    uint8_t *payload = self->buffers.payload + row->offset;

    if (row->logits == STAGE_HIDDEN_ALL) {
        size_t index = (size_t)(row - self->buffers.rows);
        memcpy(payload, self->buffers.normed + index * config->embedding_length,
            config->embedding_length * sizeof(float));
        return;
    }
    if (config->logit_divisor != 1)
        tensor_scale(logits, vocab, 1.0f / config->logit_divisor, logits);
    if (config->logit_softcap > 0)
        tensor_softcap(logits, vocab, config->logit_softcap, logits);
    row->log_sum_exp = tensor_log_sum_exp(logits, vocab);
    if (row->logits == STAGE_LOGITS_TOP)
        tensor_top(logits, vocab, row->count, (uint32_t *)(void *)payload,
            (float *)(void *)(payload + row->count * sizeof(uint32_t)));
    else
        memcpy(payload, logits, vocab * sizeof(float));
}

static void reduce_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct stage_run_context *run = context;
    struct stage *self = run->stage;

    for (size_t i = thread_index; i < run->row_count; i += thread_count)
        reduce_row(self, &self->buffers.rows[run->row_first + i],
            self->buffers.logits + i * self->config->vocab_size);
}

/* Logits of the rows from run->row_first on, unless all of them want hidden states. */
static void multiply_rows(struct stage_run_context *run, const struct tensor_matrix *w)
{
    struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;
    bool wanted = false;

    for (size_t i = 0; i < run->row_count; i++)
        wanted |= self->buffers.rows[run->row_first + i].logits != STAGE_HIDDEN_ALL;
    if (!wanted)
        return;
    stage_prepare(run, self->buffers.normed + run->row_first * wide, run->row_count, w, NULL, NULL);
    tensor_matmul(run->pool, w, self->input, self->buffers.logits, self->config->vocab_size);
}

void stage_run_head(struct stage_run_context *run, const struct stage_sequence *sequences,
    size_t sequence_count, struct stage_output *ret_output)
{
    struct stage *self = run->stage;
    const struct stage_unit *unit = self->config->tied_output ? self->embedding : self->head;
    size_t row_count = gather_rows(run, sequences, sequence_count, &ret_output->payload_bytes);

    for (run->row_first = 0; run->row_first < row_count; run->row_first += STAGE_HEAD_ROWS) {
        size_t left = row_count - run->row_first;
        run->row_count = left < STAGE_HEAD_ROWS ? left : STAGE_HEAD_ROWS;
        multiply_rows(run, unit->matrices[MODEL_HEAD]);
        if (run->pool == NULL || run->row_count == 1)
            reduce_share(run, 0, 1);
        else
            tensor_pool_run(run->pool, reduce_share, run);
    }
    ret_output->rows = self->buffers.rows;
    ret_output->row_count = row_count;
    ret_output->payload = self->buffers.payload;
}
