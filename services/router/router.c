#include "router.h"

#include <stdio.h>
#include <string.h>

#include "base_alloc.h"
#include "router_internal.h"

#define HEARTBEAT_DEFAULT_MS 500u
#define HEARTBEAT_MIN_MS     10u
#define HEARTBEAT_MAX_MS     60000u
#define REGISTER_RETRY_US    1000000u
#define RETRY_US             10000u /* of what a full queue did not take */
/* Refused FINALs apart, requests whose answer is not read yet count as well. */
#define REQUESTS_UNREAD 64u

void router_options_default(struct router_options *ret)
{
    *ret = (struct router_options){.batch_tokens = 96,
        .requests_running = 64,
        .requests_waiting = 256,
        .client_silence_ms = 10000,
        .step_deadline_ms = 3000,
        .unread_bytes = LIMIT_UNREAD_BYTES,
        .unavailable_ms = 4000};
}

/* The ids that end generation, looked up once. */
static int find_end_ids(struct router *self)
{
    size_t count = 0, vocab = self->tokenizer == NULL ? 0 : text_vocab_size(self->tokenizer);
    for (size_t id = 0; id < vocab; id++)
        count += text_is_end(self->tokenizer, (uint32_t)id);
    if (count == 0)
        return BASE_OK;
    self->end_ids = base_alloc_array(count, sizeof(*self->end_ids));
    if (self->end_ids == NULL)
        return BASE_NOMEM;
    for (size_t id = 0; id < vocab; id++)
        if (text_is_end(self->tokenizer, (uint32_t)id))
            self->end_ids[self->end_id_count++] = (uint32_t)id;
    return BASE_OK;
}

int router_new(const struct router_options *options, const struct router_sink *sink,
    const struct text_tokenizer *tokenizer, struct router **ret)
{
    if (options->requests_waiting > LIMIT_REQUESTS_WAITING)
        return BASE_INVALID;
    struct router *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    self->options = *options;
    self->sink = *sink;
    self->metrics.between_tokens.bounds_us = metrics_bounds_step;
    self->metrics.round.bounds_us = metrics_bounds_step;
    for (size_t i = 0; i < LIMIT_STAGES_MAX; i++)
        self->metrics.hops[i].bounds_us = metrics_bounds_step;
    self->tokenizer = tokenizer;
    self->heartbeat_interval_ms = HEARTBEAT_DEFAULT_MS;
    struct schedule_options schedule_options = {.batch_tokens = options->batch_tokens,
        .running_max = options->requests_running,
        .waiting_max = options->requests_waiting + options->requests_running,
        .result_bytes = ROUTER_RESULT_BYTES};
    int rc = schedule_new(&schedule_options, &self->schedule);
    if (rc == BASE_OK)
        rc = find_end_ids(self);
    self->requests_max =
        (size_t)options->requests_running + options->requests_waiting + REQUESTS_UNREAD;
    self->requests = base_alloc_zeroed(self->requests_max, sizeof(*self->requests));
    self->refusals = base_alloc_zeroed(ROUTER_REFUSALS_MAX, sizeof(*self->refusals));
    self->batches = base_alloc_zeroed(LIMIT_BATCHES_IN_FLIGHT, sizeof(*self->batches));
    if (rc == BASE_OK &&
        (self->requests == NULL || self->refusals == NULL || self->batches == NULL))
        rc = BASE_NOMEM;
    if (rc != BASE_OK) {
        router_destroy(&self);
        return rc;
    }
    *ret = self;
    return BASE_OK;
}

void router_destroy(struct router **self_p)
{
    struct router *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    schedule_destroy(&self->schedule);
    for (size_t i = 0; i < self->request_count; i++)
        router_request_destroy(&self->requests[i]);
    router_batches_forget(self);
    base_free(self->requests);
    base_free(self->refusals);
    base_free(self->batches);
    base_free(self->end_ids);
    base_free(self->dry_breakers);
    base_free(self->scratch);
    base_free(self);
}

/* ---- coordinator ---- */

static void send_register(struct router *self, uint64_t now_us)
{
    struct wire_message message = {.kind = WIRE_REGISTER,
        .register_ = {.protocol_version = WIRE_PROTOCOL_VERSION,
            .min_version = WIRE_PROTOCOL_MIN,
            .features = WIRE_FEATURE_TOP_LOGITS,
            .role = WIRE_ROLE_ROUTER,
            .incarnation = self->options.incarnation,
            .pid = self->options.pid,
            .plan_epoch = self->epoch_seen}};
    struct wire_register *body = &message.register_;
    memcpy(body->node_id, self->options.node_id, sizeof(body->node_id));
    memcpy(body->host, self->options.host, sizeof(body->host));
    memcpy(body->data_endpoint, self->options.data_endpoint, sizeof(body->data_endpoint));
    self->registered = false;
    self->register_at_us = now_us + REGISTER_RETRY_US;
    self->sink.send_coordinator(self->sink.context, &message);
}

static void send_heartbeat(struct router *self, uint64_t now_us)
{
    struct wire_router_status status;
    router_status(self, &status);
    struct wire_message message = {.kind = WIRE_HEARTBEAT,
        .heartbeat = {.incarnation = self->options.incarnation,
            .plan_epoch = self->epoch_seen,
            .state = self->draining ? WIRE_WORKER_DRAINING : WIRE_WORKER_READY,
            .last_progress_ms = (now_us - self->progress_us) / 1000,
            .queue_depth = (uint32_t)self->batch_count,
            .kv_pages_used = status.kv_pages_used,
            .kv_pages_total = status.kv_pages_total,
            .step_ms = self->batch_us / 1000.0,
            .last_batch_id = self->batch_id_newest,
            .requests_running = status.requests_running,
            .requests_waiting = status.requests_waiting}};
    memcpy(message.heartbeat.node_id, self->options.node_id, LIMIT_NAME_BYTES);
    self->heartbeat_at_us = now_us + (uint64_t)self->heartbeat_interval_ms * 1000;
    self->sink.send_coordinator(self->sink.context, &message);
}

static void on_registered(
    struct router *self, uint64_t now_us, const struct wire_registered *registered)
{
    uint32_t interval_ms = registered->heartbeat_interval_ms;
    if (interval_ms == 0)
        interval_ms = HEARTBEAT_DEFAULT_MS;
    if (interval_ms < HEARTBEAT_MIN_MS)
        interval_ms = HEARTBEAT_MIN_MS;
    if (interval_ms > HEARTBEAT_MAX_MS)
        interval_ms = HEARTBEAT_MAX_MS;
    self->registered = true;
    self->coordinator_incarnation = registered->coordinator_incarnation;
    self->heartbeat_interval_ms = interval_ms;
    self->heartbeat_at_us = now_us;
}

void router_coordinator_connected(struct router *self, uint64_t now_us)
{
    self->now_us = now_us;
    send_register(self, now_us);
}

void router_coordinator_message(
    struct router *self, uint64_t now_us, const struct wire_message *message)
{
    self->now_us = now_us;
    self->coordinator_heard_us = now_us;
    switch (message->kind) {
    case WIRE_REGISTERED:
        on_registered(self, now_us, &message->registered);
        break;
    case WIRE_HEARTBEAT_ACK:
        /* Another incarnation is another coordinator, which knows nothing of us. */
        if (self->registered &&
            message->heartbeat_ack.coordinator_incarnation != self->coordinator_incarnation)
            send_register(self, now_us);
        break;
    case WIRE_ERROR:
        if (message->error.code == BASE_NOT_FOUND || message->error.code == BASE_STALE)
            if (self->registered)
                send_register(self, now_us);
        break;
    case WIRE_PLAN:
        router_plan_message(self, now_us, &message->plan);
        router_sweep(self);
        break;
    default: /* PROBE needs no answer; others are not for routers */
        break;
    }
}

/* ---- stages ---- */

bool router_data_message(struct router *self, uint64_t now_us, const char *public_key,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes)
{
    self->now_us = now_us;
    if (!router_plan_lets_say(self, public_key, message))
        return false;
    switch (message->kind) {
    case WIRE_RESULT:
        router_result(self, now_us, &message->result, tensor, tensor_bytes);
        break;
    case WIRE_STEP_ERROR:
        router_step_error(self, now_us, &message->step_error);
        break;
    case WIRE_CREDIT:
        router_pump(self, now_us);
        break;
    default: /* LINK_HELLO is the io layer's; others do not belong here */
        break;
    }
    router_sweep(self);
    return true;
}

/* ---- clients ---- */

static void send_status(struct router *self, uint64_t client)
{
    struct wire_message message = {.kind = WIRE_ROUTER_STATUS};
    router_status(self, &message.router_status);
    if (router_send_client(self, client, &message, NULL, 0) == ROUTER_CLIENT_GONE)
        router_drop_client(self, client);
}

void router_client_message(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_message *message)
{
    self->now_us = now_us;
    for (size_t i = 0; i < self->request_count; i++)
        if (self->requests[i]->client == client)
            self->requests[i]->heard_us = now_us;
    switch (message->kind) {
    case WIRE_GENERATE:
        router_generate(self, now_us, client, &message->generate);
        break;
    case WIRE_SCORE:
        router_score(self, now_us, client, &message->score);
        break;
    case WIRE_CANCEL:
        router_cancel(self, now_us, client, &message->cancel);
        break;
    case WIRE_ROUTER_STATUS_QUERY:
        send_status(self, client);
        break;
    default: /* PING: being heard is all it is for */
        break;
    }
    router_sweep(self);
}

void router_client_gone(struct router *self, uint64_t now_us, uint64_t client)
{
    self->now_us = now_us;
    router_drop_client(self, client);
    router_pump(self, now_us);
    router_sweep(self);
}

/* ---- time ---- */

void router_tick(struct router *self, uint64_t now_us)
{
    self->now_us = now_us;
    if (!self->registered && now_us >= self->register_at_us)
        send_register(self, now_us);
    if (self->registered && now_us >= self->heartbeat_at_us)
        send_heartbeat(self, now_us);
    router_flush_all(self, now_us);
    router_requests_tick(self, now_us);
    router_batches_tick(self, now_us);
    router_canary_tick(self, now_us);
    router_sweep(self);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t router_next_tick_us(const struct router *self)
{
    uint64_t next_us = self->registered ? self->heartbeat_at_us : self->register_at_us;
    next_us = earlier(next_us, router_requests_next_us(self));
    next_us = earlier(next_us, router_batches_next_us(self));
    next_us = earlier(next_us, router_canary_next_us(self));
    if (self->link_full || router_has_unsent(self))
        next_us = earlier(next_us, self->now_us + RETRY_US);
    if (self->hold_until_us > self->now_us)
        next_us = earlier(next_us, self->hold_until_us);
    return next_us;
}

/* ---- state ---- */

void router_drain(struct router *self)
{
    self->draining = true;
}

void router_stop(struct router *self, uint64_t now_us)
{
    struct wire_fault fault =
        router_fault(BASE_UNAVAILABLE, self->options.node_id, "this router was stopped");
    self->now_us = now_us;
    self->draining = true;
    for (size_t i = 0; i < self->request_count; i++)
        router_end(self, now_us, self->requests[i], WIRE_FINISH_ERROR, &fault);
    router_sweep(self);
}

struct router_metrics *router_get_metrics(struct router *self)
{
    return &self->metrics;
}

void router_status(const struct router *self, struct wire_router_status *ret)
{
    const struct schedule_pages *pages = schedule_get_pages(self->schedule);
    uint32_t running = schedule_running_count(self->schedule);
    uint32_t count = (uint32_t)self->request_count;
    for (size_t i = 0; i < self->request_count && self->canary_open; i++)
        if (router_is_canary(self->requests[i]->client)) {
            count--;
            running -= self->requests[i]->sequence.state == SCHEDULE_RUNNING;
        }
    *ret = (struct wire_router_status){.ready = self->plan.active,
        .plan_epoch = self->plan.active ? self->plan.epoch : self->epoch_seen,
        .requests_running = running,
        /* One whose answer is not sent yet is not over. */
        .requests_waiting = count - running};
    if (pages != NULL) {
        ret->kv_pages_total = schedule_pages_total(pages);
        ret->kv_pages_used = ret->kv_pages_total - schedule_pages_free(pages);
        ret->kv_pages_saved = schedule_pages_saved(pages);
    }
}
