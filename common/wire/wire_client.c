/* Client plane: what the SDK asks of a router and what it gets. */
#include "wire_internal.h"

#include "client.pb-c.h"
#include <float.h>
#include <math.h>

/* ids may be NULL: none. */
static const uint32_t *take_ids(
    struct wire_decoder *self, const Layermesh__V1__TokenIds *ids, size_t *ret_count)
{
    *ret_count = ids != NULL ? ids->n_ids : 0;
    if (ids == NULL)
        return NULL;
    return wire_take_u32s(
        self, "ids", ids->ids, ids->n_ids, LIMIT_CONTEXT_TOKENS_MAX, LIMIT_VOCAB_MAX);
}

static Layermesh__V1__TokenIds *put_ids(
    struct wire_encoder *self, const uint32_t *ids, size_t count)
{
    Layermesh__V1__TokenIds *pb = wire_put_message(self, &layermesh__v1__token_ids__descriptor);

    if (pb != NULL) {
        pb->ids = wire_put_u32s(ids);
        pb->n_ids = count;
    }
    return pb;
}

static void take_chat(
    struct wire_decoder *self, const Layermesh__V1__Chat *chat, struct wire_generate *ret)
{
    size_t left = LIMIT_PROMPT_BYTES;
    struct wire_chat_message *messages = wire_take_rows(
        self, "chat.messages", chat->n_messages, LIMIT_CHAT_MESSAGES, sizeof(*messages));

    for (size_t i = 0; messages != NULL && i < chat->n_messages; i++) {
        wire_take_text(self, "chat.messages.role", chat->messages[i]->role, messages[i].role,
            sizeof(messages[i].role));
        messages[i].content =
            wire_take_bytes(self, "chat.messages.content", &chat->messages[i]->content, left);
        left -= messages[i].content.bytes;
    }
    ret->messages = messages;
    ret->message_count = chat->n_messages;
}

static Layermesh__V1__Chat *put_chat(
    struct wire_encoder *self, const struct wire_chat_message *messages, size_t count)
{
    Layermesh__V1__Chat *pb = wire_put_message(self, &layermesh__v1__chat__descriptor);

    if (pb == NULL)
        return NULL;
    pb->messages = wire_put_rows(self, count, sizeof(*pb->messages));
    for (size_t i = 0; pb->messages != NULL && i < count; i++) {
        Layermesh__V1__ChatMessage *message =
            wire_put_message(self, &layermesh__v1__chat_message__descriptor);
        if (message == NULL)
            return pb;
        message->role = (char *)messages[i].role;
        message->content = wire_put_bytes(messages[i].content);
        pb->messages[pb->n_messages++] = message;
    }
    return pb;
}

static void take_prompt(
    struct wire_decoder *self, const Layermesh__V1__Generate *pb, struct wire_generate *ret)
{
    switch (pb->prompt_case) {
    case LAYERMESH__V1__GENERATE__PROMPT_TEXT:
        ret->prompt_kind = WIRE_PROMPT_TEXT;
        ret->text = wire_take_bytes(self, "text", &pb->text, LIMIT_PROMPT_BYTES);
        break;
    case LAYERMESH__V1__GENERATE__PROMPT_IDS:
        ret->prompt_kind = WIRE_PROMPT_IDS;
        ret->ids = take_ids(self, pb->ids, &ret->id_count);
        break;
    case LAYERMESH__V1__GENERATE__PROMPT_CHAT:
        ret->prompt_kind = WIRE_PROMPT_CHAT;
        take_chat(self, pb->chat, ret);
        break;
    default:
        wire_fail(self, BASE_MALFORMED, "prompt", "is missing");
        break;
    }
}

static void decode_generate(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Generate *pb = unpacked;
    struct wire_generate *ret = &message->generate;

    ret->request_id = pb->request_id;
    take_prompt(self, pb, ret);
    ret->max_tokens = pb->max_tokens;
    wire_take_sampling(self, pb->sampling, &ret->sampling);
    ret->stops = wire_take_strings(self, "stop", pb->stop, pb->n_stop, LIMIT_STOP_STRINGS);
    ret->stop_count = pb->n_stop;
    ret->ignore_eos = pb->ignore_eos != 0;
    ret->deadline_ms = pb->deadline_ms;
    ret->min_tokens = pb->min_tokens;
    ret->stop_ids = wire_take_u32s(
        self, "stop_ids", pb->stop_ids, pb->n_stop_ids, LIMIT_STOP_IDS, LIMIT_VOCAB_MAX);
    ret->stop_id_count = pb->n_stop_ids;
    ret->suppress = wire_take_u32s(
        self, "suppress", pb->suppress, pb->n_suppress, LIMIT_LOGIT_BIASES, LIMIT_VOCAB_MAX);
    ret->suppress_count = pb->n_suppress;
    ret->choices = wire_check_u32(self, "choices", pb->choices, 0, LIMIT_CHOICES);
}

static void put_prompt(
    struct wire_encoder *self, const struct wire_generate *from, Layermesh__V1__Generate *pb)
{
    switch (from->prompt_kind) {
    case WIRE_PROMPT_TEXT:
        pb->prompt_case = LAYERMESH__V1__GENERATE__PROMPT_TEXT;
        pb->text = wire_put_bytes(from->text);
        break;
    case WIRE_PROMPT_IDS:
        pb->prompt_case = LAYERMESH__V1__GENERATE__PROMPT_IDS;
        pb->ids = put_ids(self, from->ids, from->id_count);
        break;
    case WIRE_PROMPT_CHAT:
        pb->prompt_case = LAYERMESH__V1__GENERATE__PROMPT_CHAT;
        pb->chat = put_chat(self, from->messages, from->message_count);
        break;
    default:
        break; /* sent without a prompt, and refused by the peer */
    }
}

static void encode_generate(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_generate *from = &message->generate;
    Layermesh__V1__Generate *pb = unpacked;

    pb->request_id = from->request_id;
    put_prompt(self, from, pb);
    pb->max_tokens = from->max_tokens;
    pb->sampling = wire_put_sampling(self, &from->sampling);
    pb->stop = wire_put_strings(self, from->stops, from->stop_count, &pb->n_stop);
    pb->ignore_eos = from->ignore_eos;
    pb->deadline_ms = from->deadline_ms;
    pb->min_tokens = from->min_tokens;
    pb->stop_ids = wire_put_u32s(from->stop_ids);
    pb->n_stop_ids = from->stop_id_count;
    pb->suppress = wire_put_u32s(from->suppress);
    pb->n_suppress = from->suppress_count;
    pb->choices = from->choices;
}

static void decode_score(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Score *pb = unpacked;
    struct wire_score *ret = &message->score;

    ret->request_id = pb->request_id;
    ret->ids = take_ids(self, pb->ids, &ret->id_count);
    ret->all_positions = pb->all_positions != 0;
    ret->want_logits = pb->want_logits != 0;
    ret->want_logprobs = pb->want_logprobs != 0;
    ret->deadline_ms = pb->deadline_ms;
}

static void encode_score(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_score *from = &message->score;
    Layermesh__V1__Score *pb = unpacked;

    pb->request_id = from->request_id;
    pb->ids = put_ids(self, from->ids, from->id_count);
    pb->all_positions = from->all_positions;
    pb->want_logits = from->want_logits;
    pb->want_logprobs = from->want_logprobs;
    pb->deadline_ms = from->deadline_ms;
}

static void decode_cancel(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Cancel *pb = unpacked;

    message->cancel.request_id = pb->request_id;
    message->cancel.one_choice = pb->one_choice != 0;
    message->cancel.choice = wire_check_u32(self, "choice", pb->choice, 0, LIMIT_CHOICES - 1);
}

static void encode_cancel(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    Layermesh__V1__Cancel *pb = unpacked;

    (void)self;
    pb->request_id = message->cancel.request_id;
    pb->one_choice = message->cancel.one_choice;
    pb->choice = message->cancel.choice;
}

static void take_part(
    struct wire_decoder *self, const Layermesh__V1__TokenPart *from, struct wire_token_part *ret)
{
    ret->token_id = wire_check_u32(self, "tokens.token_id", from->token_id, 0, LIMIT_VOCAB_MAX - 1);
    ret->logprob = wire_check_float(self, "tokens.logprob", from->logprob, -INFINITY, FLT_MAX);
    struct wire_top_logprob *top =
        wire_take_rows(self, "tokens.top", from->n_top, LIMIT_TOP_LOGPROBS, sizeof(*top));
    for (size_t i = 0; top != NULL && i < from->n_top; i++) {
        top[i].token_id = wire_check_u32(
            self, "tokens.top.token_id", from->top[i]->token_id, 0, LIMIT_VOCAB_MAX - 1);
        top[i].logprob =
            wire_check_float(self, "tokens.top.logprob", from->top[i]->logprob, -INFINITY, FLT_MAX);
        top[i].piece =
            wire_take_bytes(self, "tokens.top.piece", &from->top[i]->piece, LIMIT_PIECE_BYTES);
    }
    ret->top = top;
    ret->top_count = from->n_top;
    ret->piece = wire_take_bytes(self, "tokens.piece", &from->piece, LIMIT_PIECE_BYTES);
}

static bool partial_tensor_bytes(const struct wire_message *message, uint64_t *ret_bytes)
{
    const struct wire_partial *partial = &message->partial;
    const uint64_t numbers = (uint64_t)partial->row_count * partial->vocab_size;

    if (numbers > LIMIT_TENSOR_BYTES / 4)
        return false;
    *ret_bytes = numbers * 4;
    return true;
}

static void decode_partial(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Partial *pb = unpacked;
    struct wire_partial *ret = &message->partial;
    uint64_t tensor_bytes;

    ret->request_id = pb->request_id;
    ret->sequence = pb->sequence;
    struct wire_token_part *tokens =
        wire_take_rows(self, "tokens", pb->n_tokens, LIMIT_CONTEXT_TOKENS_MAX, sizeof(*tokens));
    for (size_t i = 0; tokens != NULL && i < pb->n_tokens; i++)
        take_part(self, pb->tokens[i], &tokens[i]);
    ret->tokens = tokens;
    ret->token_count = pb->n_tokens;
    if (!wire_utf8_valid(pb->text.data, pb->text.len))
        wire_fail(self, BASE_MALFORMED, "text", "is not valid UTF-8");
    ret->text = wire_take_bytes(self, "text", &pb->text, LIMIT_CLIENT_BYTES);
    ret->first_position =
        wire_check_u32(self, "first_position", pb->first_position, 0, LIMIT_CONTEXT_TOKENS_MAX - 1);
    ret->row_count = wire_check_u32(self, "row_count", pb->row_count, 0, LIMIT_CONTEXT_TOKENS_MAX);
    ret->vocab_size = wire_check_u32(self, "vocab_size", pb->vocab_size, 0, LIMIT_VOCAB_MAX);
    if (!partial_tensor_bytes(message, &tensor_bytes))
        wire_fail(
            self, BASE_MALFORMED, "row_count", "the tensor is over %d bytes", LIMIT_TENSOR_BYTES);
    float *logprobs = wire_take_rows(
        self, "logprobs", pb->n_logprobs, LIMIT_CONTEXT_TOKENS_MAX, sizeof(*logprobs));
    for (size_t i = 0; logprobs != NULL && i < pb->n_logprobs; i++)
        logprobs[i] = wire_check_float(self, "logprobs", pb->logprobs[i], -INFINITY, FLT_MAX);
    ret->logprobs = logprobs;
    ret->logprob_count = pb->n_logprobs;
    ret->choice = wire_check_u32(self, "choice", pb->choice, 0, LIMIT_CHOICES - 1);
}

static Layermesh__V1__TokenPart *put_part(
    struct wire_encoder *self, const struct wire_token_part *from)
{
    Layermesh__V1__TokenPart *pb = wire_put_message(self, &layermesh__v1__token_part__descriptor);

    if (pb == NULL)
        return NULL;
    pb->token_id = from->token_id;
    pb->logprob = from->logprob;
    pb->piece = wire_put_bytes(from->piece);
    pb->top = wire_put_rows(self, from->top_count, sizeof(*pb->top));
    for (size_t i = 0; pb->top != NULL && i < from->top_count; i++) {
        Layermesh__V1__TopLogprob *top =
            wire_put_message(self, &layermesh__v1__top_logprob__descriptor);
        if (top == NULL)
            return pb;
        top->token_id = from->top[i].token_id;
        top->logprob = from->top[i].logprob;
        top->piece = wire_put_bytes(from->top[i].piece);
        pb->top[pb->n_top++] = top;
    }
    return pb;
}

static void encode_partial(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_partial *from = &message->partial;
    Layermesh__V1__Partial *pb = unpacked;

    pb->request_id = from->request_id;
    pb->sequence = from->sequence;
    pb->tokens = wire_put_rows(self, from->token_count, sizeof(*pb->tokens));
    for (size_t i = 0; pb->tokens != NULL && i < from->token_count; i++) {
        Layermesh__V1__TokenPart *part = put_part(self, &from->tokens[i]);
        if (part == NULL)
            return;
        pb->tokens[pb->n_tokens++] = part;
    }
    pb->text = wire_put_bytes(from->text);
    pb->first_position = from->first_position;
    pb->row_count = from->row_count;
    pb->vocab_size = from->vocab_size;
    pb->logprobs = (float *)from->logprobs;
    pb->n_logprobs = from->logprob_count;
    pb->choice = from->choice;
}

static void decode_final(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__Final *pb = unpacked;
    struct wire_final *ret = &message->final;

    ret->request_id = pb->request_id;
    ret->finish_reason = (enum wire_finish_reason)wire_check_enum(
        self, "finish_reason", (int)pb->finish_reason, WIRE_FINISH_STOP, WIRE_FINISH_ERROR);
    wire_take_fault(self, pb->error, &ret->error);
    ret->prompt_tokens = pb->prompt_tokens;
    ret->completion_tokens = pb->completion_tokens;
    ret->ttft_ms = wire_check_real(self, "ttft_ms", pb->ttft_ms, 0, DBL_MAX);
    ret->total_ms = wire_check_real(self, "total_ms", pb->total_ms, 0, DBL_MAX);
    ret->resume_count = pb->resume_count;
    ret->choice = wire_check_u32(self, "choice", pb->choice, 0, LIMIT_CHOICES - 1);
    ret->choices_open =
        wire_check_u32(self, "choices_open", pb->choices_open, 0, LIMIT_CHOICES - 1);
    ret->shared_tokens =
        wire_check_u32(self, "shared_tokens", pb->shared_tokens, 0, LIMIT_CONTEXT_TOKENS_MAX);
    ret->total_completion_tokens = pb->total_completion_tokens;
}

static void encode_final(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_final *from = &message->final;
    Layermesh__V1__Final *pb = unpacked;

    pb->request_id = from->request_id;
    pb->finish_reason = (Layermesh__V1__FinishReason)from->finish_reason;
    pb->error = wire_put_fault(self, &from->error);
    pb->prompt_tokens = from->prompt_tokens;
    pb->completion_tokens = from->completion_tokens;
    pb->ttft_ms = from->ttft_ms;
    pb->total_ms = from->total_ms;
    pb->resume_count = from->resume_count;
    pb->choice = from->choice;
    pb->choices_open = from->choices_open;
    pb->shared_tokens = from->shared_tokens;
    pb->total_completion_tokens = from->total_completion_tokens;
}

const struct wire_format wire_client_formats[] = {
    {WIRE_ROW(GENERATE, generate, LIMIT_CLIENT_BYTES)},
    {WIRE_ROW(SCORE, score, LIMIT_CLIENT_BYTES)},
    {WIRE_ROW(CANCEL, cancel, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(PARTIAL, partial, LIMIT_CLIENT_BYTES), .tensor_bytes = partial_tensor_bytes},
    {WIRE_ROW(FINAL, final, LIMIT_CONTROL_BYTES)},
};
const size_t wire_client_format_count =
    sizeof(wire_client_formats) / sizeof(wire_client_formats[0]);
