/* Output norm, head, and the reduction of each wanted row of logits. */
#include "stage_internal.h"

#include "tensor_ops.h"
#include <string.h>

/* The output norm; encoders have none. */
static void norm_row(const struct stage *self, const float *x, float *y)
{
    if (self->head->vectors[MODEL_END_NORM] != NULL)
        stage_norm(self, self->head, MODEL_END_NORM, x, y);
    else
        memcpy(y, x, self->config->embedding_length * sizeof(float));
}

size_t stage_list_rows(struct stage *self, const struct stage_sequence *sequences,
    size_t sequence_count, size_t *ret_payload_bytes)
{
    size_t count = 0;
    size_t offset = 0;
    uint32_t token = 0;

    for (size_t i = 0; i < sequence_count; token += sequences[i++].token_count) {
        const struct stage_sequence *s = &sequences[i];
        uint32_t first = stage_wants_all(s->logits) ? 0 : s->token_count - 1;
        for (uint32_t j = first; j < s->token_count && s->logits != STAGE_LOGITS_NONE; j++) {
            bool full = s->logits == STAGE_LOGITS_FULL_ALL;
            self->buffers.row_tokens[count] = token + j;
            self->buffers.rows[count++] = (struct stage_row){
                .sequence = (uint32_t)i,
                .position = s->first_position + j,
                .logits = full ? STAGE_LOGITS_FULL : s->logits,
                .count = (uint32_t)(stage_row_bytes(self, s->logits, s->top_count) /
                                    (s->logits == STAGE_LOGITS_TOP ? 8 : sizeof(float))),
                .offset = offset,
            };
            offset += stage_row_bytes(self, s->logits, s->top_count);
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

/* Rows [row_first, row_first + row_count), which is at most STAGE_HEAD_ROWS: norms, packed
 * together, then logits unless all of them want hidden states, then what was asked for. */
static void run_rows(struct stage_run_context *run, const struct tensor_matrix *w, size_t row_first,
    size_t row_count)
{
    struct stage *self = run->stage;
    const struct stage_row *rows = self->buffers.rows + row_first;
    size_t wide = self->config->embedding_length, first = 0, last = row_count;
    const struct stage_product head = {w, self->buffers.logits};
    bool wanted = false;

    for (size_t i = 0; i < row_count; i++)
        wanted |= rows[i].logits != STAGE_HIDDEN_ALL;
    /* normed is not read until all that is in x is there: its rows are other ones. */
    stage_set_outer(run, run->normed + row_first * wide, row_count, stage_forms(w));
    if (!run->own)
        stage_split(run, row_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t row = row_first + i;
        norm_row(self, run->x + self->buffers.row_tokens[row] * wide, run->normed + row * wide);
        if (wanted)
            tensor_activations_prepare(&run->outer, i, 0, wide);
    }
    stage_tokens_done(run);
    if (wanted) {
        stage_multiply(run, &head, 1, &run->outer);
        stage_barrier(run);
    }
    stage_split(run, row_count, &first, &last);
    for (size_t i = first; i < last; i++)
        reduce_row(self, &self->buffers.rows[row_first + i],
            self->buffers.logits + i * self->config->vocab_size);
    stage_barrier(run); /* logits, and what was prepared, are free again */
}

void stage_run_head(struct stage_run_context *run)
{
    struct stage *self = run->stage;
    const struct stage_unit *unit = self->config->tied_output ? self->embedding : self->head;

    for (size_t first = 0; first < run->row_count; first += STAGE_HEAD_ROWS) {
        size_t left = run->row_count - first;
        run_rows(run, unit->matrices[MODEL_HEAD], first,
            left < STAGE_HEAD_ROWS ? left : STAGE_HEAD_ROWS);
    }
}
