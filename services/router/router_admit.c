/* Admission: what a client asks for becomes requests, or is refused. */
#include "router_internal.h"

#include <string.h>

#include "base_alloc.h"
#include "text_chat.h"

/* What refuses any request just now; code BASE_OK: nothing. */
static struct wire_fault not_now(
    struct router *self, uint64_t client, uint64_t request_id, uint32_t choices)
{
    if (self->draining)
        return router_fault(
            BASE_UNAVAILABLE, self->options.node_id, "this router is draining: ask another one");
    if (router_request_find(self, client, request_id) != NULL)
        return router_fault(BASE_INVALID, NULL, "request id %llu is in use on this connection",
            (unsigned long long)request_id);
    if (self->unavailable.code != BASE_OK)
        return self->unavailable;
    uint32_t room = self->options.requests_waiting;
    if (choices > room && choices > 1)
        return router_fault(BASE_INVALID, self->options.node_id,
            "%u choices; this router queues %u at most", choices, room);
    uint32_t waiting = schedule_waiting_count(self->schedule);
    if (choices > self->requests_max - self->request_count || waiting > room ||
        choices > room - waiting)
        return router_fault(
            BASE_FULL, self->options.node_id, "%u requests wait already: try again later", waiting);
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

/* Queues a request whose prompt is taken. */
static struct wire_fault queue(struct router *self, struct router_request *request)
{
    if (self->plan.active) {
        struct wire_fault fault = router_request_misfit(self, request);
        if (fault.code != BASE_OK)
            return fault;
    }
    request->sequence.owner = request;
    request->sequence.arrival = ++self->arrival_newest;
    request->sequence.limit = router_request_limit(self, request);
    if (request->sequence.limit < request->prompt_count + (request->is_score ? 0u : 1u))
        return router_fault(BASE_TOO_BIG, NULL, "the prompt fills the largest context");
    if (schedule_add(self->schedule, &request->sequence) != BASE_OK)
        return router_fault(BASE_FULL, self->options.node_id, "the queue is full");
    if (self->plan.active) {
        request->granted = request->sequence.limit;
        router_request_want(self, request);
    }
    return (struct wire_fault){0};
}

/* Queues all of the requests, or refuses them as one; takes them in both cases. */
static void admit(struct router *self, uint64_t now_us, struct router_request **requests,
    uint32_t count, int rc, const struct base_error *err)
{
    struct wire_fault fault = {0};
    if (rc != BASE_OK)
        fault = router_fault(rc, NULL, "%s", err->text);
    for (uint32_t i = 0; i < count && fault.code == BASE_OK; i++)
        fault = queue(self, requests[i]);
    if (fault.code == BASE_OK) {
        memcpy(&self->requests[self->request_count], requests, count * sizeof(*requests));
        self->request_count += count;
        router_pump(self, now_us);
        return;
    }
    router_refuse(self, requests[0]->client, requests[0]->request_id, &fault);
    for (uint32_t i = 0; i < count; i++) {
        schedule_remove(self->schedule, &requests[i]->sequence);
        router_request_destroy(&requests[i]);
    }
}

static struct router_request *request_new(
    uint64_t now_us, uint64_t client, uint64_t request_id, uint32_t deadline_ms)
{
    struct router_request *request = base_alloc_zeroed(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    request->client = client;
    request->request_id = request_id;
    request->arrived_us = request->heard_us = now_us;
    request->deadline_us = deadline_ms == 0 ? 0 : now_us + (uint64_t)deadline_ms * 1000;
    return request;
}

/* The first choice of a GENERATE, whose faults are those of all. */
static int open_first(struct router *self, struct router_request *request,
    const struct wire_generate *generate, struct base_error *err)
{
    struct text_ids ids = {0};
    int rc;
    if (generate->prompt_kind == WIRE_PROMPT_IDS) {
        rc = take_prompt(request, generate->ids, generate->id_count, err);
    } else {
        rc = encode_prompt(self, generate, &ids, err);
        if (rc == BASE_OK)
            rc = take_prompt(request, ids.ids, ids.count, err);
        text_ids_release(&ids);
    }
    if (rc == BASE_OK)
        rc = router_group_new(self, generate, &request->group, err);
    if (rc != BASE_OK)
        return rc;
    request->group->choices_open = 1;
    request->sampling = request->group->sampling;
    return open_stream(self, request, generate, err);
}

static int open_next(struct router *self, struct router_request *request,
    const struct router_request *first, uint32_t choice, const struct wire_generate *generate,
    struct base_error *err)
{
    int rc = take_prompt(request, first->tokens, first->prompt_count, err);
    if (rc != BASE_OK)
        return rc;
    request->group = first->group;
    request->group->references++;
    request->group->choices_open++;
    request->choice = choice;
    request->sampling = request->group->sampling;
    request->sampling.seed += choice;
    return open_stream(self, request, generate, err);
}

void router_generate(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_generate *generate)
{
    struct router_request *requests[LIMIT_CHOICES];
    uint32_t choices = generate->choices > 1 ? generate->choices : 1, count = 0;
    struct base_error err = {0};
    int rc = BASE_OK;
    struct wire_fault fault = not_now(self, client, generate->request_id, choices);
    for (; fault.code == BASE_OK && count < choices && rc == BASE_OK; count++) {
        requests[count] = request_new(now_us, client, generate->request_id, generate->deadline_ms);
        if (requests[count] == NULL) {
            rc = base_error_set(&err, BASE_NOMEM, "no memory for a request");
            break;
        }
        rc = count == 0 ? open_first(self, requests[0], generate, &err)
                        : open_next(self, requests[count], requests[0], count, generate, &err);
        /* A prompt that cannot run is not copied for each choice. */
        if (count == 0 && rc == BASE_OK && self->plan.active &&
            router_request_misfit(self, requests[0]).code != BASE_OK)
            choices = 1;
    }
    if (fault.code == BASE_OK && count == 0)
        fault = router_fault(rc, self->options.node_id, "%s", err.text);
    if (fault.code != BASE_OK) {
        router_refuse(self, client, generate->request_id, &fault);
        return;
    }
    for (uint32_t i = 0; i < count && choices > 1; i++) {
        requests[i]->sequence.group = self->arrival_newest + 1;
        requests[i]->sequence.prefix = requests[i]->prompt_count;
    }
    admit(self, now_us, requests, count, rc, &err);
}

void router_score(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_score *score)
{
    struct wire_fault fault = not_now(self, client, score->request_id, 1);
    struct router_request *request = NULL;
    if (fault.code == BASE_OK) {
        request = request_new(now_us, client, score->request_id, score->deadline_ms);
        if (request == NULL)
            fault = router_fault(BASE_NOMEM, self->options.node_id, "no memory for a request");
    }
    if (request == NULL) {
        router_refuse(self, client, score->request_id, &fault);
        return;
    }
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
    admit(self, now_us, &request, 1, rc, &err);
}
