#include "sdk_client.h"

#include "base_alloc.h"
#include "base_clock.h"
#include <stdio.h>
#include <string.h>

/* ---- what arrived ---- */

static void free_inbound(struct sdk_inbound **item_p)
{
    if (*item_p != NULL)
        net_inbound_release(&(*item_p)->inbound);
    base_free(*item_p);
    *item_p = NULL;
}

void sdk_request_fail(struct lmesh_request *self, int code, const char *format, ...)
{
    va_list arguments;

    if (self->state == SDK_ENDED || self->state == SDK_FAILED)
        return;
    self->state = SDK_FAILED;
    self->code = code;
    va_start(arguments, format);
    (void)vsnprintf(self->error.text, sizeof(self->error.text), format, arguments);
    va_end(arguments);
    base_arena_release(&self->arena);
}

static int code_of_fault(int code)
{
    switch (code) {
    case BASE_TIMEOUT:
        return LMESH_ERR_TIMEOUT;
    case BASE_FULL:
    case BASE_DENIED:
    case BASE_INVALID:
    case BASE_TOO_BIG:
    case BASE_UNSUPPORTED:
        return LMESH_ERR_REFUSED;
    case BASE_UNAVAILABLE:
    case BASE_UNREACHABLE:
    case BASE_STALE:
        return LMESH_ERR_UNAVAILABLE;
    default:
        return LMESH_ERR_FAILED;
    }
}

static void fail_from_fault(struct lmesh_request *self, const struct wire_fault *fault)
{
    const char *text = fault->text[0] != '\0' ? fault->text : base_err_text(fault->code);

    if (fault->node[0] != '\0' && strstr(text, fault->node) == NULL)
        sdk_request_fail(self, code_of_fault(fault->code), "%.200s (at %s)", text, fault->node);
    else
        sdk_request_fail(self, code_of_fault(fault->code), "%s", text);
}

static void append(struct lmesh_request *self, struct net_inbound *inbound)
{
    struct sdk_inbound *item = base_alloc_zeroed(1, sizeof(*item));
    size_t bytes = sizeof(*item) + inbound->arena.used_bytes + inbound->tensor_bytes;

    if (item == NULL || self->inbox_count >= SDK_INBOX_PARTS_MAX ||
        bytes > SDK_INBOX_BYTES_MAX - self->inbox_bytes) {
        sdk_request_fail(self, item == NULL ? LMESH_ERR_NOMEM : LMESH_ERR_FAILED,
            "%zu parts wait unread; no room for more", self->inbox_count);
        self->cancel_wanted = true;
        base_free(item);
        net_inbound_release(inbound);
        return;
    }
    item->inbound = *inbound;
    item->bytes = bytes;
    if (self->last != NULL)
        self->last->next = item;
    else
        self->first = item;
    self->last = item;
    self->inbox_count++;
    self->inbox_bytes += bytes;
}

static void take_partial(struct lmesh_request *self, struct net_inbound *inbound)
{
    const struct wire_partial *partial = &inbound->message.partial;

    if (partial->sequence == self->sequences[partial->choice]) {
        self->sequences[partial->choice]++;
        append(self, inbound);
        return;
    }
    sdk_request_fail(self, LMESH_ERR_FAILED, "part %u of the answer is missing",
        self->sequences[partial->choice]);
    self->cancel_wanted = true;
    net_inbound_release(inbound);
}

void sdk_request_take(struct lmesh_request *self, struct net_inbound *inbound)
{
    const struct wire_message *message = &inbound->message;

    if (self->state != SDK_RUNNING) {
        net_inbound_release(inbound);
        return;
    }
    bool is_first = !self->is_answered;
    self->is_answered = true;
    if (message->kind == WIRE_PARTIAL) {
        take_partial(self, inbound);
        return;
    }
    /* A request that was refused as a whole gets one FINAL for all. */
    bool is_whole = self->choices <= 1 || (is_first && message->final.choices_open == 0);
    bool is_last = message->final.choices_open == 0;
    if (message->final.finish_reason == WIRE_FINISH_ERROR && is_whole) {
        fail_from_fault(self, &message->final.error);
        net_inbound_release(inbound);
        return;
    }
    append(self, inbound);
    if (self->state == SDK_RUNNING && is_last)
        self->state = SDK_ENDED;
}

/* ---- what the caller gets ---- */

/* Borrowed from the message, which lives as long as the part. */
static const char *bytes_of(const struct wire_bytes *piece)
{
    return piece->bytes > 0 ? (const char *)piece->data : "";
}

static int convert_tokens(struct lmesh_request *self, const struct wire_partial *partial)
{
    struct lmesh_token *tokens =
        base_arena_alloc_zeroed(&self->part_arena, partial->token_count, sizeof(*tokens));
    if (tokens == NULL)
        return LMESH_ERR_NOMEM;

    for (size_t i = 0; i < partial->token_count; i++) {
        const struct wire_token_part *from = &partial->tokens[i];
        struct lmesh_top_logprob *tops =
            base_arena_alloc_zeroed(&self->part_arena, from->top_count, sizeof(*tops));
        if (tops == NULL)
            return LMESH_ERR_NOMEM;
        for (size_t j = 0; j < from->top_count; j++)
            tops[j] = (struct lmesh_top_logprob){.id = from->top[j].token_id,
                .logprob = from->top[j].logprob,
                .bytes = bytes_of(&from->top[j].piece),
                .byte_count = from->top[j].piece.bytes};
        tokens[i] = (struct lmesh_token){.id = from->token_id,
            .logprob = from->logprob,
            .tops = tops,
            .top_count = from->top_count,
            .bytes = bytes_of(&from->piece),
            .byte_count = from->piece.bytes};
    }
    self->part.tokens = tokens;
    self->part.token_count = partial->token_count;
    return LMESH_OK;
}

static int convert_partial(struct lmesh_request *self, const struct net_inbound *inbound)
{
    const struct wire_partial *partial = &inbound->message.partial;
    struct lmesh_part *part = &self->part;

    part->text = base_arena_copy(&self->part_arena,
        partial->text.data != NULL ? (const void *)partial->text.data : "", partial->text.bytes);
    if (part->text == NULL)
        return LMESH_ERR_NOMEM;
    part->text_bytes = partial->text.bytes;
    part->choice = partial->choice;
    part->error = "";
    part->first_position = partial->first_position;
    part->logprobs = partial->logprobs;
    part->logprob_count = partial->logprob_count;
    if (inbound->tensor_bytes > 0) {
        size_t floats = 0;
        if (!base_mul_size(partial->row_count, partial->vocab_size, &floats) ||
            inbound->tensor_bytes % sizeof(float) != 0 ||
            inbound->tensor_bytes / sizeof(float) != floats)
            return LMESH_ERR_FAILED;
        part->row_count = partial->row_count;
        part->vocab_size = partial->vocab_size;
        part->logits = inbound->tensor;
        /* The frame starts wherever the transport put it. */
        if ((uintptr_t)inbound->tensor % _Alignof(float) != 0)
            part->logits =
                base_arena_copy(&self->part_arena, inbound->tensor, inbound->tensor_bytes);
        if (part->logits == NULL)
            return LMESH_ERR_NOMEM;
    }
    return convert_tokens(self, partial);
}

static void convert_final(struct lmesh_request *self, const struct wire_final *final)
{
    static const enum lmesh_finish finishes[] = {[WIRE_FINISH_STOP] = LMESH_FINISH_STOP,
        [WIRE_FINISH_LENGTH] = LMESH_FINISH_LENGTH,
        [WIRE_FINISH_CANCELLED] = LMESH_FINISH_CANCELLED,
        [WIRE_FINISH_ERROR] = LMESH_FINISH_ERROR};

    self->part.text = "";
    self->part.finish = finishes[final->finish_reason];
    self->part.prompt_tokens = final->prompt_tokens;
    self->part.completion_tokens = final->completion_tokens;
    self->part.ttft_ms = final->ttft_ms;
    self->part.total_ms = final->total_ms;
    self->part.resume_count = final->resume_count;
    self->part.choice = final->choice;
    self->part.choices_open = final->choices_open;
    self->part.shared_tokens = final->shared_tokens;
    self->part.total_completion_tokens = final->total_completion_tokens;
    self->part.error = final->error.text;
    self->ended_read = final->choices_open == 0;
}

/* Moves the oldest message of the inbox into part. */
static int take_part(struct lmesh_request *self)
{
    int code = LMESH_OK;

    free_inbound(&self->current);
    self->current = self->first;
    self->first = self->current->next;
    if (self->first == NULL)
        self->last = NULL;
    self->inbox_count--;
    self->inbox_bytes -= self->current->bytes;

    base_arena_reset(&self->part_arena);
    self->part = (struct lmesh_part){0};
    const struct net_inbound *inbound = &self->current->inbound;
    if (inbound->message.kind == WIRE_FINAL)
        convert_final(self, &inbound->message.final);
    else
        code = convert_partial(self, inbound);
    return code;
}

static int give_failure(struct lmesh_request *self)
{
    if (self->client == NULL)
        return self->code;
    return sdk_client_fail(self->client, self->code, "%s", self->error.text);
}

int lmesh_next(struct lmesh_request *request, int timeout_ms, const struct lmesh_part **ret_part)
{
    uint64_t deadline_ms = sdk_deadline_ms(timeout_ms);

    if (request == NULL || ret_part == NULL)
        return LMESH_ERR_INVALID;
    for (;;) {
        if (request->first != NULL) {
            int code = take_part(request);
            if (code != LMESH_OK) {
                request->state = SDK_RUNNING; /* a part could not be read: the answer has a hole */
                sdk_request_fail(request, code, "part of the answer could not be read: %s",
                    code == LMESH_ERR_NOMEM ? "out of memory" : "its size is wrong");
                return give_failure(request);
            }
            *ret_part = &request->part;
            return LMESH_OK;
        }
        if (request->state == SDK_FAILED)
            return give_failure(request);
        if (request->ended_read)
            return sdk_client_fail(
                request->client, LMESH_ERR_INVALID, "the request has already ended");
        sdk_client_pump(request->client, request);
        if (request->first != NULL || request->state == SDK_FAILED)
            continue;
        int remaining_ms = sdk_remaining_ms(deadline_ms);
        if (remaining_ms == 0 || !sdk_client_wait(request->client, remaining_ms))
            return LMESH_ERR_AGAIN;
    }
}

int lmesh_cancel(struct lmesh_request *request)
{
    if (request == NULL || request->client == NULL)
        return LMESH_ERR_INVALID;
    if (request->state == SDK_UNSENT)
        sdk_request_fail(request, LMESH_ERR_CONNECT, "cancelled before a router at %s was reached",
            request->client->endpoint);
    if (request->state == SDK_RUNNING) {
        request->cancel_wanted = true;
        sdk_client_pump(request->client, request);
    }
    return LMESH_OK;
}

int lmesh_cancel_choice(struct lmesh_request *request, uint32_t choice)
{
    if (request == NULL || request->client == NULL)
        return LMESH_ERR_INVALID;
    if (choice >= (request->choices > 1 ? request->choices : 1))
        return sdk_client_fail(
            request->client, LMESH_ERR_INVALID, "the request has no choice %u", choice);
    if (request->choices <= 1)
        return lmesh_cancel(request);
    if (request->state == SDK_UNSENT || request->state == SDK_RUNNING) {
        request->cancel_choices[choice] = request->cancel_choice_wanted = true;
        sdk_client_pump(request->client, request);
    }
    return LMESH_OK;
}

void lmesh_request_destroy(struct lmesh_request **request)
{
    if (request == NULL || *request == NULL)
        return;
    struct lmesh_request *self = *request;

    if (self->client != NULL) {
        struct lmesh_request **link = &self->client->requests;
        const struct wire_message cancel = {
            .kind = WIRE_CANCEL, .cancel = {.request_id = self->id}};
        /* One try: where it fails, the router finds out by the silence of this client. */
        if (self->state == SDK_RUNNING || self->cancel_wanted)
            (void)net_send(self->client->socket, NULL, &cancel, NULL, NULL);
        while (*link != self)
            link = &(*link)->next;
        *link = self->next;
    }
    free_inbound(&self->current);
    while (self->first != NULL) {
        struct sdk_inbound *item = self->first;
        self->first = item->next;
        free_inbound(&item);
    }
    base_arena_release(&self->part_arena);
    base_arena_release(&self->arena);
    base_free(self);
    *request = NULL;
}
