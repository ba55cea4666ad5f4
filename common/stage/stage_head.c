/* Output norm, head, and the reduction of each wanted row of logits. */
#include "stage_internal.h"

#include "tensor_matrix.h"
#include "tensor_ops.h"
#include "tensor_pool.h"
#include <string.h>

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
        uint32_t first = s->logits == STAGE_LOGITS_FULL_ALL ? 0 : s->token_count - 1;
        for (uint32_t j = first; j < s->token_count && s->logits != STAGE_LOGITS_NONE; j++) {
            bool top = s->logits == STAGE_LOGITS_TOP;
            self->buffers.rows[count] = (struct stage_row){
                .sequence = (uint32_t)i,
                .position = s->first_position + j,
                .logits = top ? STAGE_LOGITS_TOP : STAGE_LOGITS_FULL,
                .count = top ? s->top_count : config->vocab_size,
                .offset = offset,
            };
            tensor_rms_norm(self->buffers.x + (token + j) * wide,
                self->head->vectors[STAGE_ATTENTION_NORM], wide, config->norm_epsilon,
                self->buffers.normed + count * wide);
            offset += stage_row_bytes(self, s->logits, s->top_count);
            count++;
        }
    }
    *ret_payload_bytes = offset;
    return count;
}

static void reduce_row(struct stage *self, struct stage_row *row, const float *logits)
{
    size_t vocab = self->config->vocab_size;
    uint8_t *payload = self->buffers.payload + row->offset;

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

void stage_run_head(struct stage_run_context *run, const struct stage_sequence *sequences,
    size_t sequence_count, struct stage_output *ret_output)
{
    struct stage *self = run->stage;
    size_t wide = self->config->embedding_length;
    size_t vocab = self->config->vocab_size;
    const struct stage_unit *unit = self->config->tied_output ? self->embedding : self->head;
    const struct tensor_matrix *w = unit->matrices[STAGE_ENDS_MATRIX];
    size_t row_count = gather_rows(run, sequences, sequence_count, &ret_output->payload_bytes);

    for (run->row_first = 0; run->row_first < row_count; run->row_first += STAGE_HEAD_ROWS) {
        size_t left = row_count - run->row_first;
        run->row_count = left < STAGE_HEAD_ROWS ? left : STAGE_HEAD_ROWS;
        stage_prepare(
            run, self->buffers.normed + run->row_first * wide, run->row_count, w, NULL, NULL);
        tensor_matmul(run->pool, w, self->input, self->buffers.logits, vocab);
        if (run->pool == NULL || run->row_count == 1)
            reduce_share(run, 0, 1);
        else
            tensor_pool_run(run->pool, reduce_share, run);
    }
    ret_output->rows = self->buffers.rows;
    ret_output->row_count = row_count;
    ret_output->payload = self->buffers.payload;
}
