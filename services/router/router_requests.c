/* Requests: the wait for a plan, deadlines, and the one FINAL that each of them gets. */
#include "router_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base_alloc.h"

struct wire_fault router_fault(int code, const char *node, const char *format, ...)
{
    struct wire_fault fault = {.code = code};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(fault.text, sizeof(fault.text), format, args);
    va_end(args);
    if (node != NULL)
        (void)snprintf(fault.node, sizeof(fault.node), "%s", node);
    return fault;
}

/* ---- life ---- */

void router_request_destroy(struct router_request **request_p)
{
    struct router_request *request = *request_p;
    if (request == NULL)
        return;
    *request_p = NULL;
    router_outbox_release(&request->outbox);
    text_stream_destroy(&request->stream);
    router_group_release(&request->group);
    base_free(request->tokens);
    base_free(request);
}

void router_sweep(struct router *self)
{
    size_t kept = 0;
    for (size_t i = 0; i < self->request_count; i++) {
        if (self->requests[i]->dead)
            router_request_destroy(&self->requests[i]);
        else
            self->requests[kept++] = self->requests[i];
    }
    self->request_count = kept;
}

void router_count_outcome(struct router *self, enum router_outcome outcome, int code)
{
    int index = code - BASE_ERR_FIRST_ - 1;
    metrics_add(&self->metrics.outcomes[outcome], 1);
    if (code != BASE_OK && index >= 0 && index < ROUTER_CODE_COUNT)
        metrics_add(&self->metrics.errors[index], 1);
}

static void count_end(struct router *self, uint64_t now_us, const struct router_request *request)
{
    static const enum router_outcome outcomes[] = {[WIRE_FINISH_STOP] = ROUTER_OUTCOME_STOP,
        [WIRE_FINISH_LENGTH] = ROUTER_OUTCOME_LENGTH,
        [WIRE_FINISH_CANCELLED] = ROUTER_OUTCOME_CANCELLED,
        [WIRE_FINISH_ERROR] = ROUTER_OUTCOME_ERROR};
    const struct wire_final *final = &request->final;
    if (router_is_canary(request->client))
        return;
    router_count_outcome(self, outcomes[final->finish_reason], final->error.code);
    metrics_add(&self->metrics.prompt_tokens, final->prompt_tokens);
    metrics_add(&self->metrics.completion_tokens, final->completion_tokens);
    metrics_observe_us(&self->metrics.total, now_us - request->arrived_us);
}

void router_end(struct router *self, uint64_t now_us, struct router_request *request,
    enum wire_finish_reason reason, const struct wire_fault *fault)
{
    if (request->ended || request->dead)
        return;
    uint32_t shared_tokens = request->sequence.shared * LIMIT_PAGE_TOKENS;
    schedule_remove(self->schedule, &request->sequence);
    request->ended = true;
    request->final = (struct wire_final){.request_id = request->request_id,
        .finish_reason = reason,
        .prompt_tokens = request->prompt_count,
        .completion_tokens = request->sequence.length - request->prompt_count,
        .ttft_ms = request->first_token_us == 0
                       ? 0.0
                       : (double)(request->first_token_us - request->arrived_us) / 1000.0,
        .total_ms = (double)(now_us - request->arrived_us) / 1000.0,
        .resume_count = request->resume_count,
        .choice = request->choice,
        .shared_tokens = shared_tokens};
    if (request->group != NULL)
        request->group->completion_tokens += request->final.completion_tokens;
    if (reason == WIRE_FINISH_ERROR)
        request->final.error = *fault;
    count_end(self, now_us, request);
    router_flush(self, now_us, request);
}

void router_end_unread(struct router *self, uint64_t now_us, struct router_request *request,
    const struct wire_fault *fault)
{
    router_outbox_release(&request->outbox);
    if (request->ended) {
        request->final.finish_reason = WIRE_FINISH_ERROR;
        request->final.error = *fault;
        router_flush(self, now_us, request);
    } else {
        router_end(self, now_us, request, WIRE_FINISH_ERROR, fault);
    }
    request->dead = true;
}

void router_drop_client(struct router *self, uint64_t client)
{
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->client != client)
            continue;
        if (!request->ended && !request->dead)
            router_count_outcome(self, ROUTER_OUTCOME_GONE, BASE_OK);
        schedule_remove(self->schedule, &request->sequence);
        request->ended = request->dead = true;
    }
    size_t kept = 0;
    for (size_t i = 0; i < self->refusal_count; i++) {
        size_t from = (self->refusal_head + i) % ROUTER_REFUSALS_MAX;
        size_t to = (self->refusal_head + kept) % ROUTER_REFUSALS_MAX;
        if (self->refusals[from].client != client) {
            self->refusals[to] = self->refusals[from];
            kept++;
        }
    }
    self->refusal_count = kept;
}

struct router_request *router_request_of_sequence(struct router *self, uint64_t sequence_id)
{
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i]->sequence.id == sequence_id && !self->requests[i]->dead)
            return self->requests[i];
    return NULL;
}

struct router_request *router_request_find(
    struct router *self, uint64_t client, uint64_t request_id)
{
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->client == client && request->request_id == request_id && !request->dead)
            return request;
    }
    return NULL;
}

/* ---- fitting a plan ---- */

const uint32_t *router_request_banned(const struct router_request *request, size_t *ret_count)
{
    const struct router_group *group = request->group;
    bool is_early = request->sequence.length - request->prompt_count < group->min_tokens;
    *ret_count = is_early ? group->banned_count : group->ignore_eos ? group->end_count : 0;
    return group->banned;
}

void router_request_want(struct router *self, struct router_request *request)
{
    struct schedule_sequence *sequence = &request->sequence;
    uint32_t vocab = self->plan.vocab_size;
    uint32_t needed = 0;
    size_t banned_count;
    if (!request->is_score) {
        (void)router_request_banned(request, &banned_count);
        needed = text_candidates_needed(&request->sampling, request->tokens, sequence->length,
            banned_count, vocab, LIMIT_TOP_LOGITS_MAX);
        if (needed > 0 && needed < request->group->top_logprobs)
            needed = request->group->top_logprobs;
    }
    if (needed == 0 || needed > LIMIT_TOP_LOGITS_MAX || needed >= vocab) {
        request->logits = WIRE_LOGITS_FULL;
        sequence->row_bytes = vocab * 4;
    } else {
        request->logits = WIRE_LOGITS_TOP;
        request->top_count = needed;
        sequence->row_bytes = needed * 8;
    }
}

/* The plan has no room for what an earlier one granted. */
static struct wire_fault shrunk_fault(
    const struct router *self, const struct router_request *request)
{
    const struct router_plan *plan = &self->plan;
    return router_fault(BASE_UNAVAILABLE, NULL,
        "stopped at %u of up to %u tokens: plan %llu has KV pages for %llu, because %s",
        request->sequence.length, request->granted, (unsigned long long)plan->epoch,
        (unsigned long long)plan->page_count * LIMIT_PAGE_TOKENS, plan->reason);
}

struct wire_fault router_request_misfit(
    const struct router *self, const struct router_request *request)
{
    const struct router_plan *plan = &self->plan;
    uint32_t length = request->sequence.length;
    /* A score needs no room for an answer. */
    uint64_t needed = (uint64_t)request->prompt_count + (request->is_score ? 0 : 1);
    uint64_t room = (uint64_t)plan->page_count * LIMIT_PAGE_TOKENS;
    if (needed > plan->context_length)
        return router_fault(BASE_TOO_BIG, NULL,
            "the prompt has %u tokens, the model's context %u; nothing can follow it",
            request->prompt_count, plan->context_length);
    if (request->granted > 0 && (needed > room || length > room))
        return shrunk_fault(self, request);
    if (needed > room)
        return router_fault(BASE_TOO_BIG, NULL,
            "the prompt has %u tokens; the mesh has KV pages for %llu", request->prompt_count,
            (unsigned long long)room);
    for (uint32_t i = 0; i < request->prompt_count; i++)
        if (request->tokens[i] >= plan->vocab_size)
            return router_fault(BASE_INVALID, NULL, "token %u of the prompt is %u; ids end at %u",
                i, request->tokens[i], plan->vocab_size - 1);
    return (struct wire_fault){0};
}

uint32_t router_request_limit(const struct router *self, const struct router_request *request)
{
    uint64_t limit = LIMIT_CONTEXT_TOKENS_MAX;
    if (request->is_score)
        return request->prompt_count;
    uint32_t max_tokens = request->group->max_tokens;
    if (max_tokens > 0 && request->prompt_count + (uint64_t)max_tokens < limit)
        limit = request->prompt_count + (uint64_t)max_tokens;
    if (self->plan.active) {
        uint64_t room = (uint64_t)self->plan.page_count * LIMIT_PAGE_TOKENS;
        limit = limit < self->plan.context_length ? limit : self->plan.context_length;
        limit = limit < room ? limit : room;
    }
    return (uint32_t)limit;
}

void router_end_at_limit(struct router *self, uint64_t now_us, struct router_request *request)
{
    if (request->sequence.limit >= request->granted) {
        router_end(self, now_us, request, WIRE_FINISH_LENGTH, NULL);
        return;
    }
    struct wire_fault fault = shrunk_fault(self, request);
    router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
}

void router_request_fit(struct router *self, uint64_t now_us, struct router_request *request)
{
    struct wire_fault fault = router_request_misfit(self, request);
    if (fault.code != BASE_OK) {
        router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
        return;
    }
    uint32_t limit = router_request_limit(self, request);
    /* Where an answer ends by its length is settled by its first plan. */
    if (request->granted == 0)
        request->granted = limit;
    if (limit > request->granted)
        limit = request->granted;
    request->sequence.limit = limit;
    if (!request->is_score && limit <= request->sequence.length) {
        router_end_at_limit(self, now_us, request);
        return;
    }
    router_request_want(self, request);
}

/* ---- cancelling ---- */

void router_cancel(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_cancel *cancel)
{
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->client == client && request->request_id == cancel->request_id &&
            (!cancel->one_choice || request->choice == cancel->choice))
            router_end(self, now_us, request, WIRE_FINISH_CANCELLED, NULL);
    }
    router_pump(self, now_us); /* nobody found: its FINAL is on the way */
}

/* ---- time ---- */

/* When a request that waits for a plan has waited enough; UINT64_MAX: it does not wait for one. */
static uint64_t plan_wait_ends_us(const struct router *self, const struct router_request *request)
{
    if (self->plan.active || request->ended)
        return UINT64_MAX;
    uint64_t since_us =
        request->arrived_us > self->plan_lost_us ? request->arrived_us : self->plan_lost_us;
    return since_us + (uint64_t)self->options.unavailable_ms * 1000;
}

void router_requests_tick(struct router *self, uint64_t now_us)
{
    uint64_t silence_us = (uint64_t)self->options.client_silence_ms * 1000;
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        struct wire_fault fault;
        if (request->dead)
            continue;
        uint64_t unsent_us = request->outbox.unsent_since_us;
        if (now_us >= request->heard_us + silence_us) {
            router_end(self, now_us, request, WIRE_FINISH_CANCELLED, NULL);
            request->dead = true;
        } else if (unsent_us != 0 && now_us >= unsent_us + silence_us) {
            fault = router_fault(BASE_TIMEOUT, NULL,
                "the client does not read its answer: it took nothing for %u ms",
                self->options.client_silence_ms);
            router_end_unread(self, now_us, request, &fault);
        } else if (request->deadline_us != 0 && now_us >= request->deadline_us) {
            fault = router_fault(BASE_TIMEOUT, NULL, "the request's deadline of %llu ms passed",
                (unsigned long long)(request->deadline_us - request->arrived_us) / 1000);
            router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
        } else if (now_us >= plan_wait_ends_us(self, request)) {
            fault = router_fault(BASE_UNAVAILABLE, NULL,
                "no plan for %u ms: is the coordinator up, and are there workers?",
                self->options.unavailable_ms);
            router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
        }
    }
}

uint64_t router_requests_next_us(const struct router *self)
{
    uint64_t silence_us = (uint64_t)self->options.client_silence_ms * 1000;
    uint64_t next_us = UINT64_MAX;
    for (size_t i = 0; i < self->request_count; i++) {
        const struct router_request *request = self->requests[i];
        uint64_t unsent_us = request->outbox.unsent_since_us;
        uint64_t times_us[4] = {request->heard_us + silence_us,
            unsent_us != 0 ? unsent_us + silence_us : UINT64_MAX,
            request->deadline_us != 0 && !request->ended ? request->deadline_us : UINT64_MAX,
            plan_wait_ends_us(self, request)};
        for (int k = 0; k < 4; k++)
            if (times_us[k] < next_us)
                next_us = times_us[k];
    }
    return next_us;
}
