/* Answers: sent at once when the client takes them, else kept in order and in bounds. */
#include "router_internal.h"

#include <string.h>

#include "base_alloc.h"

/* ---- the outbox ---- */

void router_outbox_release(struct router_outbox *self)
{
    while (self->first_score != NULL) {
        struct router_score_part *part = self->first_score;
        self->first_score = part->next;
        base_free(part);
    }
    base_free(self->tokens);
    base_free(self->tops);
    base_free(self->text);
    *self = (struct router_outbox){0};
}

/* The array with room for `more` items behind count, moved if need be; NULL: it is as it was. */
static void *reserve(void *array, size_t *capacity, size_t count, size_t more, size_t item_bytes)
{
    size_t needed;
    if (!base_add_size(count, more, &needed))
        return NULL;
    if (array != NULL && needed <= *capacity)
        return array;
    size_t grown = *capacity < 16 ? 16 : *capacity * 2;
    if (grown < needed)
        grown = needed;
    void *moved = base_realloc_array(array, grown, item_bytes);
    if (moved != NULL)
        *capacity = grown;
    return moved;
}

int router_emit_token(struct router_request *request, const struct wire_token_part *token,
    const char *text, size_t text_bytes)
{
    struct router_outbox *outbox = &request->outbox;
    size_t top_count = token != NULL ? token->top_count : 0;
    char *all_text =
        reserve(outbox->text, &outbox->text_capacity, outbox->text_bytes, text_bytes, 1);
    if (all_text == NULL)
        return BASE_NOMEM;
    outbox->text = all_text;
    struct wire_token_part *tokens = reserve(outbox->tokens, &outbox->token_capacity,
        outbox->token_count, token != NULL, sizeof(*tokens));
    if (tokens == NULL)
        return BASE_NOMEM;
    outbox->tokens = tokens;
    struct wire_top_logprob *tops =
        reserve(outbox->tops, &outbox->top_capacity, outbox->top_count, top_count, sizeof(*tops));
    if (tops == NULL)
        return BASE_NOMEM;
    outbox->tops = tops;
    if (text_bytes > 0)
        memcpy(outbox->text + outbox->text_bytes, text, text_bytes);
    outbox->text_bytes += text_bytes;
    if (token == NULL)
        return BASE_OK;
    outbox->tokens[outbox->token_count] = *token;
    outbox->tokens[outbox->token_count++].top = NULL;
    if (token->top_count > 0)
        memcpy(
            outbox->tops + outbox->top_count, token->top, token->top_count * sizeof(*outbox->tops));
    outbox->top_count += token->top_count;
    return BASE_OK;
}

/* ---- sending ---- */

/* What a token adds to a text; borrowed from the tokenizer. */
static struct wire_bytes piece_of(const struct router *self, uint32_t id)
{
    struct wire_bytes piece = {0};
    if (self->tokenizer == NULL || id >= text_vocab_size(self->tokenizer))
        return piece;
    piece.data = (const uint8_t *)text_piece(self->tokenizer, id, &piece.bytes);
    if (piece.bytes > LIMIT_PIECE_BYTES)
        piece.bytes = LIMIT_PIECE_BYTES;
    return piece;
}

static enum router_sent send_tokens(struct router *self, struct router_request *request)
{
    struct router_outbox *outbox = &request->outbox;
    size_t top_index = 0;
    for (size_t i = 0; i < outbox->token_count; i++) {
        outbox->tokens[i].top = outbox->tokens[i].top_count > 0 ? outbox->tops + top_index : NULL;
        top_index += outbox->tokens[i].top_count;
        if (request->group->token_bytes)
            outbox->tokens[i].piece = piece_of(self, outbox->tokens[i].token_id);
    }
    for (size_t i = 0; i < outbox->top_count && request->group->token_bytes; i++)
        outbox->tops[i].piece = piece_of(self, outbox->tops[i].token_id);
    struct wire_message message = {.kind = WIRE_PARTIAL,
        .partial = {.request_id = request->request_id,
            .sequence = request->partial_sequence,
            .tokens = outbox->tokens,
            .token_count = outbox->token_count,
            .choice = request->choice,
            .text = {(const uint8_t *)outbox->text, outbox->text_bytes}}};
    enum router_sent sent = router_send_client(self, request->client, &message, NULL, 0);
    if (sent == ROUTER_SENT) {
        request->partial_sequence++;
        outbox->token_count = outbox->top_count = outbox->text_bytes = 0;
        outbox->unsent_since_us = 0;
    }
    return sent;
}

static enum router_sent send_score(
    struct router *self, struct router_request *request, const struct router_score_part *part)
{
    bool has_tensor = part->row_count > 0;
    size_t bytes = (size_t)part->row_count * self->plan.vocab_size * sizeof(float);
    struct wire_message message = {.kind = WIRE_PARTIAL,
        .partial = {.request_id = request->request_id,
            .sequence = request->partial_sequence,
            .first_position = part->first_position,
            .row_count = part->row_count,
            .vocab_size = has_tensor ? self->plan.vocab_size : 0,
            .logprobs = part->logprobs,
            .logprob_count = part->logprob_count}};
    enum router_sent sent = router_send_client(
        self, request->client, &message, has_tensor ? part->tensor : NULL, has_tensor ? bytes : 0);
    if (sent == ROUTER_SENT) {
        request->partial_sequence++;
        request->outbox.unsent_since_us = 0; /* it reads, if slowly */
    }
    return sent;
}

/* Sends all that is kept. ROUTER_SENT: nothing is left. */
static enum router_sent send_outbox(struct router *self, struct router_request *request)
{
    struct router_outbox *outbox = &request->outbox;
    enum router_sent sent = ROUTER_SENT;
    if (outbox->token_count > 0 || outbox->text_bytes > 0)
        sent = send_tokens(self, request);
    while (sent == ROUTER_SENT && outbox->first_score != NULL) {
        struct router_score_part *part = outbox->first_score;
        sent = send_score(self, request, part);
        if (sent != ROUTER_SENT)
            break;
        outbox->first_score = part->next;
        outbox->score_count--;
        outbox->score_bytes -= part->bytes;
        base_free(part);
    }
    if (outbox->first_score == NULL)
        outbox->last_score = NULL;
    return sent;
}

static size_t outbox_bytes(const struct router_outbox *self)
{
    return self->text_bytes + self->token_count * sizeof(*self->tokens) +
           self->top_count * sizeof(*self->tops) + self->score_bytes;
}

/* Whether more is kept for that client than may be. */
static bool is_over_limit(const struct router *self, uint64_t client)
{
    size_t bytes = 0;
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i]->client == client)
            bytes += outbox_bytes(&self->requests[i]->outbox);
    return bytes > self->options.unread_bytes;
}

/* Keeps the books after an attempt to send. */
static void sent_so_far(
    struct router *self, uint64_t now_us, struct router_request *request, enum router_sent sent)
{
    struct router_outbox *outbox = &request->outbox;
    if (sent == ROUTER_CLIENT_GONE) {
        router_drop_client(self, request->client);
        return;
    }
    if (sent == ROUTER_SENT)
        outbox->unsent_since_us = 0;
    else if (outbox->unsent_since_us == 0)
        outbox->unsent_since_us = now_us > 0 ? now_us : 1;
    if (sent == ROUTER_SENT_NOT && outbox_bytes(outbox) > 0 &&
        is_over_limit(self, request->client)) {
        const struct wire_fault fault = router_fault(BASE_FULL, NULL,
            "the client does not read its answers: over %zu bytes of them wait",
            self->options.unread_bytes);
        router_end_unread(self, now_us, request, &fault);
        return;
    }
    request->sequence.paused = outbox->token_count >= ROUTER_UNREAD_TOKENS_MAX ||
                               outbox->score_count >= ROUTER_UNREAD_SCORES_MAX;
}

void router_flush(struct router *self, uint64_t now_us, struct router_request *request)
{
    if (request->dead)
        return;
    enum router_sent sent = send_outbox(self, request);
    if (sent == ROUTER_SENT && request->ended) {
        struct wire_message message = {.kind = WIRE_FINAL, .final = request->final};
        struct router_group *group = request->group;
        if (group != NULL) {
            message.final.choices_open = group->choices_open - 1;
            message.final.total_completion_tokens = group->completion_tokens;
        }
        sent = router_send_client(self, request->client, &message, NULL, 0);
        if (sent == ROUTER_SENT) {
            request->dead = true;
            if (group != NULL)
                group->choices_open--;
        }
    }
    sent_so_far(self, now_us, request, sent);
}

static struct router_score_part *score_copy(
    const struct router_score_part *part, size_t tensor_bytes)
{
    size_t logprob_bytes = part->logprob_count * sizeof(float);
    size_t bytes = sizeof(struct router_score_part) + logprob_bytes + tensor_bytes;
    struct router_score_part *copy = base_alloc(bytes);
    if (copy == NULL)
        return NULL;
    *copy = *part;
    copy->bytes = bytes;
    copy->next = NULL;
    copy->logprobs = (float *)(copy + 1);
    copy->tensor = (uint8_t *)(copy->logprobs + part->logprob_count);
    if (logprob_bytes > 0)
        memcpy(copy->logprobs, part->logprobs, logprob_bytes);
    if (tensor_bytes > 0)
        memcpy(copy->tensor, part->tensor, tensor_bytes);
    return copy;
}

int router_emit_score(struct router *self, uint64_t now_us, struct router_request *request,
    const struct router_score_part *part)
{
    struct router_outbox *outbox = &request->outbox;
    enum router_sent sent = ROUTER_SENT_NOT;
    if (request->dead || request->ended)
        return BASE_OK;
    if (outbox->first_score == NULL)
        sent = send_score(self, request, part);
    if (sent == ROUTER_SENT_NOT) {
        struct router_score_part *copy =
            score_copy(part, (size_t)part->row_count * self->plan.vocab_size * sizeof(float));
        if (copy == NULL)
            return BASE_NOMEM;
        if (outbox->last_score != NULL)
            outbox->last_score->next = copy;
        else
            outbox->first_score = copy;
        outbox->last_score = copy;
        outbox->score_count++;
        outbox->score_bytes += copy->bytes;
    }
    sent_so_far(self, now_us, request, sent);
    return BASE_OK;
}

/* ---- refusals ---- */

static enum router_sent send_refusal(struct router *self, const struct router_refusal *refusal)
{
    struct wire_message message = {.kind = WIRE_FINAL, .final = refusal->final};
    return router_send_client(self, refusal->client, &message, NULL, 0);
}

void router_refuse(
    struct router *self, uint64_t client, uint64_t request_id, const struct wire_fault *fault)
{
    struct router_refusal refusal = {.client = client,
        .final = {.request_id = request_id, .finish_reason = WIRE_FINISH_ERROR, .error = *fault}};
    enum router_sent sent = send_refusal(self, &refusal);
    if (!router_is_canary(client))
        router_count_outcome(self, ROUTER_OUTCOME_REFUSED, fault->code);
    if (sent == ROUTER_CLIENT_GONE)
        router_drop_client(self, client);
    if (sent != ROUTER_SENT_NOT || self->refusal_count == ROUTER_REFUSALS_MAX)
        return; /* one that floods us and does not read gets no answer to the last of it */
    size_t index = (self->refusal_head + self->refusal_count++) % ROUTER_REFUSALS_MAX;
    self->refusals[index] = refusal;
}

static void flush_refusals(struct router *self)
{
    /* Each is tried once; those that do not go keep their order. */
    size_t count = self->refusal_count;
    for (size_t i = 0; i < count && self->refusal_count > 0; i++) {
        struct router_refusal refusal = self->refusals[self->refusal_head];
        self->refusal_head = (self->refusal_head + 1) % ROUTER_REFUSALS_MAX;
        self->refusal_count--;
        enum router_sent sent = send_refusal(self, &refusal);
        if (sent == ROUTER_CLIENT_GONE) {
            router_drop_client(self, refusal.client);
            return; /* the ring has changed; the next tick goes on */
        }
        if (sent == ROUTER_SENT_NOT)
            self->refusals[(self->refusal_head + self->refusal_count++) % ROUTER_REFUSALS_MAX] =
                refusal;
    }
}

void router_flush_all(struct router *self, uint64_t now_us)
{
    flush_refusals(self);
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i]->outbox.unsent_since_us != 0)
            router_flush(self, now_us, self->requests[i]);
}

bool router_has_unsent(const struct router *self)
{
    if (self->refusal_count > 0)
        return true;
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i]->outbox.unsent_since_us != 0)
            return true;
    return false;
}
