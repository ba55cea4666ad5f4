/* Requests: admission, the wait for a plan, and the one FINAL that each of them gets. */
#include "router_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base_alloc.h"
#include "text_chat.h"

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
    base_free(request->tokens);
    base_free(request->biases);
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

void router_end(struct router *self, uint64_t now_us, struct router_request *request,
    enum wire_finish_reason reason, const struct wire_fault *fault)
{
    if (request->ended || request->dead)
        return;
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
        .resume_count = request->resume_count};
    if (reason == WIRE_FINISH_ERROR)
        request->final.error = *fault;
    router_flush(self, now_us, request);
}

void router_drop_client(struct router *self, uint64_t client)
{
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->client != client)
            continue;
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

static struct router_request *find(struct router *self, uint64_t client, uint64_t request_id)
{
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->client == client && request->request_id == request_id && !request->dead)
            return request;
    }
    return NULL;
}

/* ---- fitting a plan ---- */

void router_request_want(struct router *self, struct router_request *request)
{
    struct schedule_sequence *sequence = &request->sequence;
    uint32_t vocab = self->plan.vocab_size;
    uint32_t needed = 0;
    if (!request->is_score)
        needed = text_candidates_needed(&request->sampling, request->tokens, sequence->length,
            request->ignore_eos ? self->end_id_count : 0, vocab, LIMIT_TOP_LOGITS_MAX);
    if (needed > 0 && needed < request->top_logprobs)
        needed = request->top_logprobs;
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

/* Whether a request can run on the plan at all. */
static struct wire_fault misfit(const struct router *self, const struct router_request *request)
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

static uint32_t limit_of(const struct router *self, const struct router_request *request)
{
    uint64_t limit = LIMIT_CONTEXT_TOKENS_MAX;
    if (request->is_score)
        return request->prompt_count;
    if (request->max_tokens > 0 && request->prompt_count + (uint64_t)request->max_tokens < limit)
        limit = request->prompt_count + (uint64_t)request->max_tokens;
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
    struct wire_fault fault = misfit(self, request);
    if (fault.code != BASE_OK) {
        router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
        return;
    }
    uint32_t limit = limit_of(self, request);
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

/* ---- admission ---- */

/* What refuses any request just now; code BASE_OK: nothing. */
static struct wire_fault not_now(struct router *self, uint64_t client, uint64_t request_id)
{
    if (self->draining)
        return router_fault(
            BASE_UNAVAILABLE, self->options.node_id, "this router is draining: ask another one");
    if (find(self, client, request_id) != NULL)
        return router_fault(BASE_INVALID, NULL, "request id %llu is in use on this connection",
            (unsigned long long)request_id);
    if (self->unavailable.code != BASE_OK)
        return self->unavailable;
    if (self->request_count >= self->requests_max ||
        schedule_waiting_count(self->schedule) >= self->options.requests_waiting)
        return router_fault(BASE_FULL, self->options.node_id,
            "%u requests wait already: try again later", self->options.requests_waiting);
    return (struct wire_fault){0};
}

static int encode_prompt(struct router *self, const struct wire_generate *generate,
    struct text_ids *ids, struct base_error *err)
{
    struct text_chat_message messages[LIMIT_CHAT_MESSAGES];
    if (self->tokenizer == NULL)
        return base_error_set(err, BASE_INVALID, "this router has no tokenizer: send token ids");
    if (generate->prompt_kind == WIRE_PROMPT_TEXT)
        return text_encode(self->tokenizer, (const char *)generate->text.data, generate->text.bytes,
            TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL, ids, err);
    if (generate->message_count > LIMIT_CHAT_MESSAGES)
        return base_error_set(err, BASE_TOO_BIG, "more than %d chat messages", LIMIT_CHAT_MESSAGES);
    for (size_t i = 0; i < generate->message_count; i++)
        messages[i] = (struct text_chat_message){.role = generate->messages[i].role,
            .content = (const char *)generate->messages[i].content.data,
            .content_bytes = generate->messages[i].content.bytes};
    return text_chat_encode(self->tokenizer, messages, generate->message_count, ids, err);
}

/* The log starts with these tokens. */
static int take_prompt(
    struct router_request *request, const uint32_t *ids, size_t count, struct base_error *err)
{
    if (count == 0)
        return base_error_set(err, BASE_INVALID, "the prompt is empty");
    if (count > LIMIT_CONTEXT_TOKENS_MAX)
        return base_error_set(err, BASE_TOO_BIG, "the prompt has %zu tokens; at most %d are taken",
            count, LIMIT_CONTEXT_TOKENS_MAX);
    /* One more, so that the common answer of a few tokens does not move it. */
    size_t capacity = count + 64;
    request->tokens = base_alloc_array(capacity, sizeof(*request->tokens));
    if (request->tokens == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for a prompt of %zu tokens", count);
    memcpy(request->tokens, ids, count * sizeof(*ids));
    request->token_capacity = (uint32_t)capacity;
    request->prompt_count = request->sequence.length = (uint32_t)count;
    return BASE_OK;
}

static int take_sampling(struct router *self, struct router_request *request,
    const struct wire_sampling *wire, struct base_error *err)
{
    request->sampling = (struct text_sampling){.temperature = wire->temperature,
        .top_k = wire->top_k,
        .top_p = wire->top_p,
        .min_p = wire->min_p,
        .repeat_penalty = wire->repeat_penalty,
        .repeat_last_n = wire->repeat_last_n,
        .presence_penalty = wire->presence_penalty,
        .frequency_penalty = wire->frequency_penalty,
        .seed = wire->seed,
        .bias_count = wire->logit_bias_count};
    request->top_logprobs = wire->top_logprobs;
    if (wire->logit_bias_count == 0)
        return BASE_OK;
    request->biases = base_alloc_array(wire->logit_bias_count, sizeof(*request->biases));
    if (request->biases == NULL)
        return base_error_set(
            err, BASE_NOMEM, "no memory for %zu logit biases", wire->logit_bias_count);
    for (size_t i = 0; i < wire->logit_bias_count; i++) {
        uint32_t id = wire->logit_biases[i].token_id;
        if (self->plan.active && id >= self->plan.vocab_size)
            return base_error_set(err, BASE_INVALID, "logit bias for token %u; ids end at %u", id,
                self->plan.vocab_size - 1);
        request->biases[i] = (struct text_logit_bias){id, wire->logit_biases[i].bias};
    }
    request->sampling.biases = request->biases;
    return BASE_OK;
}

static int open_stream(struct router *self, struct router_request *request,
    const struct wire_generate *generate, struct base_error *err)
{
    struct text_stop stops[LIMIT_STOP_STRINGS];
    size_t stop_count = generate->stop_count;
    if (self->tokenizer == NULL)
        return BASE_OK;
    if (stop_count > LIMIT_STOP_STRINGS)
        return base_error_set(err, BASE_TOO_BIG, "more than %d stop strings", LIMIT_STOP_STRINGS);
    for (size_t i = 0; i < stop_count; i++)
        stops[i] = (struct text_stop){
            .data = (const char *)generate->stops[i].data, .bytes = generate->stops[i].bytes};
    /* After a beginning-of-text token alone the answer starts a text of its own. */
    bool continues = false;
    for (uint32_t i = 0; i < request->prompt_count && !continues; i++)
        continues = request->tokens[i] < text_vocab_size(self->tokenizer) &&
                    !text_is_control(self->tokenizer, request->tokens[i]);
    if (text_stream_new(self->tokenizer, stops, stop_count, continues, &request->stream) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "no memory for the answer's text");
    return BASE_OK;
}

/* Queues a request whose prompt is taken, or refuses it; takes it in both cases. */
static void admit(struct router *self, uint64_t now_us, struct router_request **request_p, int rc,
    const struct base_error *err)
{
    struct router_request *request = *request_p;
    struct wire_fault fault = {0};
    *request_p = NULL;
    if (rc != BASE_OK)
        fault = router_fault(rc, NULL, "%s", err->text);
    else if (self->plan.active)
        fault = misfit(self, request);
    if (fault.code == BASE_OK) {
        request->sequence.owner = request;
        request->sequence.arrival = ++self->arrival_newest;
        request->sequence.limit = limit_of(self, request);
        if (request->sequence.limit < request->prompt_count + (request->is_score ? 0u : 1u))
            fault = router_fault(BASE_TOO_BIG, NULL, "the prompt fills the largest context");
        else if (schedule_add(self->schedule, &request->sequence) != BASE_OK)
            fault = router_fault(BASE_FULL, self->options.node_id, "the queue is full");
    }
    if (fault.code != BASE_OK) {
        router_refuse(self, request->client, request->request_id, &fault);
        router_request_destroy(&request);
        return;
    }
    if (self->plan.active) {
        request->granted = request->sequence.limit;
        router_request_want(self, request);
    }
    self->requests[self->request_count++] = request;
    router_pump(self, now_us);
}

static struct router_request *request_new(struct router *self, uint64_t now_us, uint64_t client,
    uint64_t request_id, uint32_t deadline_ms)
{
    struct wire_fault fault = not_now(self, client, request_id);
    struct router_request *request = NULL;
    if (fault.code == BASE_OK) {
        request = base_alloc_zeroed(1, sizeof(*request));
        if (request == NULL)
            fault = router_fault(BASE_NOMEM, self->options.node_id, "no memory for a request");
    }
    if (request == NULL) {
        router_refuse(self, client, request_id, &fault);
        return NULL;
    }
    request->client = client;
    request->request_id = request_id;
    request->arrived_us = request->heard_us = now_us;
    request->deadline_us = deadline_ms == 0 ? 0 : now_us + (uint64_t)deadline_ms * 1000;
    return request;
}

void router_generate(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_generate *generate)
{
    struct router_request *request =
        request_new(self, now_us, client, generate->request_id, generate->deadline_ms);
    if (request == NULL)
        return;
    struct base_error err = {0};
    struct text_ids ids = {0};
    int rc;
    if (generate->prompt_kind == WIRE_PROMPT_IDS) {
        rc = take_prompt(request, generate->ids, generate->id_count, &err);
    } else {
        rc = encode_prompt(self, generate, &ids, &err);
        if (rc == BASE_OK)
            rc = take_prompt(request, ids.ids, ids.count, &err);
        text_ids_release(&ids);
    }
    request->max_tokens = generate->max_tokens;
    request->ignore_eos = generate->ignore_eos;
    if (rc == BASE_OK)
        rc = take_sampling(self, request, &generate->sampling, &err);
    if (rc == BASE_OK)
        rc = open_stream(self, request, generate, &err);
    admit(self, now_us, &request, rc, &err);
}

void router_score(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_score *score)
{
    struct router_request *request =
        request_new(self, now_us, client, score->request_id, score->deadline_ms);
    if (request == NULL)
        return;
    struct base_error err = {0};
    int rc = take_prompt(request, score->ids, score->id_count, &err);
    if (rc == BASE_OK && !score->want_logits && !score->want_logprobs)
        rc = base_error_set(&err, BASE_INVALID, "a score asks for logits, logprobs or both");
    request->is_score = true;
    request->all_positions = score->all_positions;
    request->want_logits = score->want_logits;
    request->want_logprobs = score->want_logprobs;
    request->sequence.every_row =
        score->want_logprobs || (score->want_logits && score->all_positions);
    admit(self, now_us, &request, rc, &err);
}

void router_cancel(struct router *self, uint64_t now_us, uint64_t client, uint64_t request_id)
{
    struct router_request *request = find(self, client, request_id);
    if (request == NULL)
        return; /* its FINAL is on the way */
    router_end(self, now_us, request, WIRE_FINISH_CANCELLED, NULL);
    router_pump(self, now_us);
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
            fault = router_fault(BASE_TIMEOUT, NULL, "the client does not read its answer");
            router_end(self, now_us, request, WIRE_FINISH_ERROR, &fault);
            request->dead = true;
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
