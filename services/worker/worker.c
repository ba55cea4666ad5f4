#include "worker.h"

#include "base_alloc.h"
#include "worker_internal.h"
#include <stdio.h>
#include <string.h>

#define HEARTBEAT_DEFAULT_MS 500u
#define HEARTBEAT_MIN_MS     10u
#define HEARTBEAT_MAX_MS     60000u
#define REGISTER_RETRY_MS    2000u

int worker_new(
    const struct worker_options *options, const struct worker_sink *sink, struct worker **ret)
{
    struct worker *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->options = *options;
    self->metrics = options->metrics != NULL ? options->metrics : &self->own_metrics;
    self->sink = *sink;
    self->heartbeat_interval_ms = HEARTBEAT_DEFAULT_MS;
    for (size_t i = 0; i < WORKER_STEPS_MAX; i++)
        base_arena_init(&self->entries[i].arena, 2 * LIMIT_STEP_BYTES);
    *ret = self;
    return BASE_OK;
}

void worker_destroy(struct worker **self_p)
{
    struct worker *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < WORKER_STEPS_MAX; i++)
        base_arena_release(&self->entries[i].arena);
    worker_slot_destroy(&self->pending);
    worker_slot_destroy(&self->serving);
    base_free(self);
    *self_p = NULL;
}

void worker_send_coordinator(struct worker *self, const struct wire_message *message)
{
    self->sink.send_coordinator(self->sink.context, message);
}

/* ---- membership ---- */

static void send_register(struct worker *self, uint64_t now_ms)
{
    struct wire_message message = {.kind = WIRE_REGISTER, .register_ = self->options.identity};

    message.register_.plan_epoch = self->newest_epoch;
    self->membership = WORKER_REGISTERING;
    self->register_at_ms = now_ms + REGISTER_RETRY_MS;
    worker_send_coordinator(self, &message);
}

static void send_drain(struct worker *self)
{
    struct wire_message message = {.kind = WIRE_DRAIN};

    memcpy(message.drain.node_id, self->options.identity.node_id, LIMIT_NAME_BYTES);
    worker_send_coordinator(self, &message);
}

void worker_connected(struct worker *self, uint64_t now_ms)
{
    if (self->drained || self->membership == WORKER_REFUSED)
        return;
    if (self->membership == WORKER_UNREGISTERED)
        self->last_progress_ms = now_ms;
    send_register(self, now_ms);
}

static void on_registered(
    struct worker *self, uint64_t now_ms, const struct wire_registered *registered)
{
    uint32_t interval = registered->heartbeat_interval_ms;

    if (self->membership != WORKER_REGISTERING)
        return;
    self->membership = WORKER_REGISTERED;
    self->coordinator_incarnation = registered->coordinator_incarnation;
    if (interval == 0)
        interval = HEARTBEAT_DEFAULT_MS;
    if (interval < HEARTBEAT_MIN_MS)
        interval = HEARTBEAT_MIN_MS;
    if (interval > HEARTBEAT_MAX_MS)
        interval = HEARTBEAT_MAX_MS;
    self->heartbeat_interval_ms = interval;
    self->heartbeat_at_ms = now_ms; /* tells at once what is held here */
    /* What was said before the connection broke may not have arrived. */
    if (self->pending != NULL)
        worker_send_status(self, now_ms);
    if (self->draining)
        send_drain(self);
}

static void on_error(struct worker *self, uint64_t now_ms, const struct wire_fault *error)
{
    switch (error->code) {
    case BASE_NOT_FOUND:
    case BASE_STALE:
        /* Also the answer to a heartbeat that crossed our registration: that one is under way. */
        if (self->membership == WORKER_REGISTERED)
            send_register(self, now_ms);
        break;
    case BASE_UNSUPPORTED:
    case BASE_INVALID:
    case BASE_DENIED:
        if (self->membership == WORKER_REGISTERING) {
            self->membership = WORKER_REFUSED;
            self->refusal = *error;
        } else if (self->membership == WORKER_REGISTERED && error->code == BASE_DENIED) {
            /* Our key may have been revoked: the answer to a registration says so. */
            send_register(self, now_ms);
        }
        break;
    default: /* tried again by the clock */
        break;
    }
}

const struct wire_fault *worker_refusal(const struct worker *self)
{
    return self->membership == WORKER_REFUSED ? &self->refusal : NULL;
}

/* ---- heartbeats ---- */

static enum wire_worker_state state_of(const struct worker *self)
{
    if (self->draining)
        return WIRE_WORKER_DRAINING;
    if (self->serving != NULL)
        return WIRE_WORKER_READY;
    if (self->pending == NULL || self->pending->state == WORKER_LOAD_FAILED)
        return WIRE_WORKER_SPARE;
    return self->pending->state == WORKER_LOAD_READY ? WIRE_WORKER_READY : WIRE_WORKER_LOADING;
}

static void send_heartbeat(struct worker *self, uint64_t now_ms)
{
    struct wire_message message = {.kind = WIRE_HEARTBEAT};
    struct wire_heartbeat *heartbeat = &message.heartbeat;

    memcpy(heartbeat->node_id, self->options.identity.node_id, LIMIT_NAME_BYTES);
    heartbeat->incarnation = self->options.identity.incarnation;
    heartbeat->plan_epoch = self->newest_epoch;
    heartbeat->state = state_of(self);
    heartbeat->last_progress_ms = now_ms - self->last_progress_ms;
    if (self->entry_count > 0) {
        uint64_t busy_ms = now_ms - self->head_since_ms;
        /* At least 1: 0 says idle. */
        heartbeat->busy_ms = busy_ms == 0           ? 1
                             : busy_ms > UINT32_MAX ? UINT32_MAX
                                                    : (uint32_t)busy_ms;
    }
    heartbeat->queue_depth = (uint32_t)self->entry_count;
    const struct worker_slot *slot = self->serving != NULL ? self->serving : self->pending;
    if (slot != NULL) {
        heartbeat->kv_pages_used = slot->pages_used;
        heartbeat->kv_pages_total = slot->kv_pages_total;
    }
    heartbeat->step_ms = self->step_ms;
    heartbeat->step_tokens = self->step_tokens;
    heartbeat->step_context = self->step_context;
    heartbeat->last_batch_id = self->last_finished_id;
    worker_send_coordinator(self, &message);
    self->heartbeat_at_ms = now_ms + self->heartbeat_interval_ms;
}

void worker_beat(struct worker *self, uint64_t now_ms)
{
    if (self->membership == WORKER_REGISTERED)
        send_heartbeat(self, now_ms);
}

void worker_tick(struct worker *self, uint64_t now_ms)
{
    if (self->drained)
        return;
    if (self->membership == WORKER_REGISTERING && now_ms >= self->register_at_ms)
        send_register(self, now_ms);
    if (self->membership == WORKER_REGISTERED && now_ms >= self->heartbeat_at_ms)
        send_heartbeat(self, now_ms);
}

uint64_t worker_next_tick_ms(const struct worker *self)
{
    if (self->drained)
        return UINT64_MAX;
    if (self->membership == WORKER_REGISTERING)
        return self->register_at_ms;
    return self->membership == WORKER_REGISTERED ? self->heartbeat_at_ms : UINT64_MAX;
}

/* ---- drain ---- */

void worker_finish_drain(struct worker *self, const char *reason)
{
    struct wire_message message = {.kind = WIRE_GOODBYE};

    if (self->drained)
        return;
    self->draining = true;
    self->drained = true;
    memcpy(message.goodbye.node_id, self->options.identity.node_id, LIMIT_NAME_BYTES);
    message.goodbye.incarnation = self->options.identity.incarnation;
    (void)snprintf(message.goodbye.reason, LIMIT_HOST_BYTES, "%s", reason);
    worker_send_coordinator(self, &message);
}

void worker_drain(struct worker *self, uint64_t now_ms)
{
    (void)now_ms;
    if (self->draining)
        return;
    self->draining = true;
    if (self->serving == NULL && self->pending == NULL)
        worker_finish_drain(self, "drained: held no stage");
    else if (self->membership == WORKER_REGISTERED)
        send_drain(self); /* else once registered */
}

bool worker_is_drained(const struct worker *self)
{
    return self->drained;
}

/* ---- events ---- */

void worker_coordinator_message(
    struct worker *self, uint64_t now_ms, const struct wire_message *message)
{
    if (self->drained || self->membership == WORKER_REFUSED)
        return;
    switch (message->kind) {
    case WIRE_REGISTERED:
        on_registered(self, now_ms, &message->registered);
        break;
    case WIRE_HEARTBEAT_ACK:
        /* Another incarnation is another coordinator, which knows nothing of us. */
        if (self->membership == WORKER_REGISTERED &&
            message->heartbeat_ack.coordinator_incarnation != self->coordinator_incarnation)
            send_register(self, now_ms);
        break;
    case WIRE_ERROR:
        on_error(self, now_ms, &message->error);
        break;
    case WIRE_PLAN:
        worker_plan_message(self, now_ms, &message->plan);
        break;
    case WIRE_DRAIN:
        if (strcmp(message->drain.node_id, self->options.identity.node_id) == 0)
            worker_finish_drain(self, "drained");
        break;
    default: /* PROBE needs no answer; others are not for workers */
        break;
    }
}

bool worker_is_ready(const struct worker *self, char *ret_text, size_t text_bytes)
{
    const struct worker_slot *slot = self->serving != NULL ? self->serving : self->pending;
    const struct wire_stage *stage = slot != NULL ? &slot->plan.stages[slot->index] : NULL;
    bool is_registered = self->membership == WORKER_REGISTERED;

    if (self->membership == WORKER_REFUSED)
        (void)snprintf(ret_text, text_bytes, "refused: %s", self->refusal.text);
    else if (self->draining)
        (void)snprintf(ret_text, text_bytes, "draining");
    else if (self->serving != NULL)
        (void)snprintf(ret_text, text_bytes, "serving layers %u..%u of epoch %llu%s",
            stage->layer_first, stage->layer_first + stage->layer_count - 1,
            (unsigned long long)slot->plan.epoch, is_registered ? "" : ", without a coordinator");
    else if (slot != NULL && slot->state == WORKER_LOAD_FAILED)
        (void)snprintf(ret_text, text_bytes, "load failed: %s", slot->error.text);
    else if (slot != NULL)
        (void)snprintf(ret_text, text_bytes, "loading layers %u..%u of epoch %llu: %.0f %%",
            stage->layer_first, stage->layer_first + stage->layer_count - 1,
            (unsigned long long)slot->plan.epoch, 100 * slot->progress);
    else
        (void)snprintf(
            ret_text, text_bytes, "%s", is_registered ? "spare: no stage" : "not registered yet");
    if (self->membership == WORKER_REFUSED || self->draining)
        return false;
    return self->serving != NULL || (slot == NULL && is_registered);
}

void worker_gauges(const struct worker *self, struct worker_metrics *metrics)
{
    const struct worker_slot *slot = self->serving;

    metrics_set(&metrics->queued, (double)self->entry_count);
    metrics_set(&metrics->credits, slot != NULL ? slot->upstream_left : 0);
    metrics_set(&metrics->pages_total, slot != NULL ? slot->kv_pages_total : 0);
    metrics_set(&metrics->pages_used, slot != NULL ? slot->pages_used : 0);
    metrics_set(&metrics->epoch, slot != NULL ? (double)slot->plan.epoch : 0);
    metrics_set(&metrics->layers, slot != NULL ? slot->plan.stages[slot->index].layer_count : 0);
}

uint64_t worker_epoch(const struct worker *self)
{
    return self->serving == NULL ? 0 : self->serving->plan.epoch;
}

uint32_t worker_pages_used(const struct worker *self)
{
    return self->serving == NULL ? 0 : self->serving->pages_used;
}
