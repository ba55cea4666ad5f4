/* Data plane: headers of the tensors that travel between stages. */
#include "wire_internal.h"

#include "data.pb-c.h"
#include <float.h>

#define EMBEDDING_MAX (LIMIT_TENSOR_BYTES / 4)
#define CREDITS_MAX   (LIMIT_BATCHES_IN_FLIGHT * 2)

static void take_sequence(
    struct wire_decoder *self, const Layermesh__V1__Sequence *from, struct wire_sequence *ret)
{
    ret->sequence_id = from->sequence_id;
    ret->first_position = wire_check_u32(
        self, "sequences.first_position", from->first_position, 0, LIMIT_CONTEXT_TOKENS_MAX - 1);
    ret->token_count =
        wire_check_u32(self, "sequences.token_count", from->token_count, 1, LIMIT_BATCH_TOKENS_MAX);
    const uint32_t end = ret->first_position + ret->token_count;
    if (end > LIMIT_CONTEXT_TOKENS_MAX)
        wire_fail(self, BASE_MALFORMED, "sequences.token_count", "position %u is over the limit %d",
            end - 1, LIMIT_CONTEXT_TOKENS_MAX - 1);
    ret->pages = wire_take_u32s(self, "sequences.pages", from->pages, from->n_pages,
        LIMIT_PAGES_PER_SEQUENCE, LIMIT_PAGES_MAX);
    ret->page_count = from->n_pages;
    if (from->n_pages < (end + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS)
        wire_fail(self, BASE_MALFORMED, "sequences.pages", "%zu pages do not hold %u positions",
            from->n_pages, end);
    ret->logits = (enum wire_logits_mode)wire_check_enum(
        self, "sequences.logits", (int)from->logits, WIRE_LOGITS_NONE, WIRE_LOGITS_FULL_ALL);
    ret->top_count = wire_check_u32(self, "sequences.top_count", from->top_count,
        ret->logits == WIRE_LOGITS_TOP ? 1 : 0, LIMIT_TOP_LOGITS_MAX);
}

static const uint32_t *take_hops(
    struct wire_decoder *self, const uint32_t *hop_us, size_t hop_count)
{
    return wire_take_u32s(self, "hop_us", hop_us, hop_count, LIMIT_STAGES_MAX, 0);
}

static bool step_tensor_bytes(const struct wire_message *message, uint64_t *ret_bytes)
{
    const struct wire_step *step = &message->step;
    const uint64_t row = step->embedding_length == 0 ? 1 : step->embedding_length;

    /* Both factors have 32 bits: their product cannot overflow 64. */
    *ret_bytes = (uint64_t)step->token_count * row;
    if (*ret_bytes > LIMIT_TENSOR_BYTES / 4)
        return false;
    *ret_bytes *= 4;
    return true;
}

static void decode_step(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Step *pb = unpacked;
    struct wire_step *ret = &message->step;
    uint64_t tokens = 0, tensor_bytes;

    ret->epoch = pb->epoch;
    ret->batch_id = pb->batch_id;
    ret->token_count =
        wire_check_u32(self, "token_count", pb->token_count, 0, LIMIT_BATCH_TOKENS_MAX);
    ret->embedding_length =
        wire_check_u32(self, "embedding_length", pb->embedding_length, 0, EMBEDDING_MAX);
    struct wire_sequence *sequences = wire_take_rows(
        self, "sequences", pb->n_sequences, LIMIT_BATCH_SEQUENCES_MAX, sizeof(*sequences));
    for (size_t i = 0; sequences != NULL && i < pb->n_sequences; i++) {
        take_sequence(self, pb->sequences[i], &sequences[i]);
        tokens += sequences[i].token_count;
    }
    if (tokens != ret->token_count)
        wire_fail(self, BASE_MALFORMED, "token_count", "%u, but the sequences have %llu",
            ret->token_count, (unsigned long long)tokens);
    ret->sequences = sequences;
    ret->sequence_count = pb->n_sequences;
    ret->released_pages = wire_take_u32s(self, "released_pages", pb->released_pages,
        pb->n_released_pages, LIMIT_RELEASES_PER_STEP, LIMIT_PAGES_MAX);
    ret->released_page_count = pb->n_released_pages;
    ret->hop_us = take_hops(self, pb->hop_us, pb->n_hop_us);
    ret->hop_count = pb->n_hop_us;
    if (!step_tensor_bytes(message, &tensor_bytes))
        wire_fail(self, BASE_MALFORMED, "embedding_length", "the tensor is over %d bytes",
            LIMIT_TENSOR_BYTES);
}

static void encode_step(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_step *from = &message->step;
    Layermesh__V1__Step *pb = unpacked;

    pb->epoch = from->epoch;
    pb->batch_id = from->batch_id;
    pb->token_count = from->token_count;
    pb->embedding_length = from->embedding_length;
    pb->sequences = wire_put_rows(self, from->sequence_count, sizeof(*pb->sequences));
    for (size_t i = 0; pb->sequences != NULL && i < from->sequence_count; i++) {
        Layermesh__V1__Sequence *sequence =
            wire_put_message(self, &layermesh__v1__sequence__descriptor);
        if (sequence == NULL)
            return;
        sequence->sequence_id = from->sequences[i].sequence_id;
        sequence->first_position = from->sequences[i].first_position;
        sequence->token_count = from->sequences[i].token_count;
        sequence->pages = wire_put_u32s(from->sequences[i].pages);
        sequence->n_pages = from->sequences[i].page_count;
        sequence->logits = (Layermesh__V1__LogitsMode)from->sequences[i].logits;
        sequence->top_count = from->sequences[i].top_count;
        pb->sequences[pb->n_sequences++] = sequence;
    }
    pb->released_pages = wire_put_u32s(from->released_pages);
    pb->n_released_pages = from->released_page_count;
    pb->hop_us = wire_put_u32s(from->hop_us);
    pb->n_hop_us = from->hop_count;
}

static bool result_tensor_bytes(const struct wire_message *message, uint64_t *ret_bytes)
{
    const struct wire_result *result = &message->result;
    uint64_t bytes = 0;

    for (size_t i = 0; i < result->row_count; i++) {
        const uint64_t each = result->rows[i].logits == WIRE_LOGITS_TOP ? 8 : 4;
        bytes += each * result->rows[i].count;
        if (bytes > LIMIT_TENSOR_BYTES)
            return false;
    }
    *ret_bytes = bytes;
    return true;
}

static void decode_result(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Result *pb = unpacked;
    struct wire_result *ret = &message->result;
    uint64_t tensor_bytes;

    ret->epoch = pb->epoch;
    ret->batch_id = pb->batch_id;
    struct wire_row_result *rows =
        wire_take_rows(self, "rows", pb->n_rows, LIMIT_BATCH_TOKENS_MAX, sizeof(*rows));
    for (size_t i = 0; rows != NULL && i < pb->n_rows; i++) {
        const Layermesh__V1__RowResult *from = pb->rows[i];
        rows[i].sequence_id = from->sequence_id;
        rows[i].position =
            wire_check_u32(self, "rows.position", from->position, 0, LIMIT_CONTEXT_TOKENS_MAX - 1);
        rows[i].logits = (enum wire_logits_mode)wire_check_enum(
            self, "rows.logits", (int)from->logits, WIRE_LOGITS_TOP, WIRE_LOGITS_FULL);
        rows[i].count = wire_check_u32(self, "rows.count", from->count, 1,
            rows[i].logits == WIRE_LOGITS_TOP ? LIMIT_TOP_LOGITS_MAX : LIMIT_VOCAB_MAX);
        rows[i].log_sum_exp =
            wire_check_float(self, "rows.log_sum_exp", from->log_sum_exp, -FLT_MAX, FLT_MAX);
    }
    ret->rows = rows;
    ret->row_count = pb->n_rows;
    ret->hop_us = take_hops(self, pb->hop_us, pb->n_hop_us);
    ret->hop_count = pb->n_hop_us;
    if (self->rc == BASE_OK && !result_tensor_bytes(message, &tensor_bytes))
        wire_fail(self, BASE_MALFORMED, "rows", "the tensor is over %d bytes", LIMIT_TENSOR_BYTES);
}

static void encode_result(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_result *from = &message->result;
    Layermesh__V1__Result *pb = unpacked;

    pb->epoch = from->epoch;
    pb->batch_id = from->batch_id;
    pb->rows = wire_put_rows(self, from->row_count, sizeof(*pb->rows));
    for (size_t i = 0; pb->rows != NULL && i < from->row_count; i++) {
        Layermesh__V1__RowResult *row =
            wire_put_message(self, &layermesh__v1__row_result__descriptor);
        if (row == NULL)
            return;
        row->sequence_id = from->rows[i].sequence_id;
        row->position = from->rows[i].position;
        row->logits = (Layermesh__V1__LogitsMode)from->rows[i].logits;
        row->count = from->rows[i].count;
        row->log_sum_exp = from->rows[i].log_sum_exp;
        pb->rows[pb->n_rows++] = row;
    }
    pb->hop_us = wire_put_u32s(from->hop_us);
    pb->n_hop_us = from->hop_count;
}

static void decode_step_error(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__StepError *pb = unpacked;

    message->step_error.epoch = pb->epoch;
    message->step_error.batch_id = pb->batch_id;
    wire_take_fault(self, pb->error, &message->step_error.error);
    if (message->step_error.error.code == BASE_OK)
        wire_fail(self, BASE_MALFORMED, "error", "is missing");
}

static void encode_step_error(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__StepError *pb = unpacked;

    pb->epoch = message->step_error.epoch;
    pb->batch_id = message->step_error.batch_id;
    pb->error = wire_put_fault(self, &message->step_error.error);
}

static void decode_link_hello(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__LinkHello *pb = unpacked;

    message->link_hello.epoch = pb->epoch;
    wire_take_node(self, "node_id", pb->node_id, true, message->link_hello.node_id);
    message->link_hello.incarnation = pb->incarnation;
}

static void encode_link_hello(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__LinkHello *pb = unpacked;

    (void)self;
    pb->epoch = message->link_hello.epoch;
    pb->node_id = (char *)message->link_hello.node_id;
    pb->incarnation = message->link_hello.incarnation;
}

static void decode_credit(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Credit *pb = unpacked;

    message->credit.epoch = pb->epoch;
    message->credit.count = wire_check_u32(self, "count", pb->count, 1, CREDITS_MAX);
}

static void encode_credit(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Credit *pb = unpacked;

    (void)self;
    pb->epoch = message->credit.epoch;
    pb->count = message->credit.count;
}

const struct wire_format wire_data_formats[] = {
    {WIRE_ROW(STEP, step, LIMIT_STEP_BYTES), .tensor_bytes = step_tensor_bytes},
    {WIRE_ROW(RESULT, result, LIMIT_STEP_BYTES), .tensor_bytes = result_tensor_bytes},
    {WIRE_ROW(STEP_ERROR, step_error, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(LINK_HELLO, link_hello, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(CREDIT, credit, LIMIT_CONTROL_BYTES)},
};
const size_t wire_data_format_count = sizeof(wire_data_formats) / sizeof(wire_data_formats[0]);
