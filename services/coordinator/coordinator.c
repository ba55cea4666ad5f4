#include "coordinator.h"
#include "base_alloc.h"
#include "coordinator_core.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void coordinator_options_default(struct coordinator_options *ret)
{
    *ret = (struct coordinator_options){
        .heartbeat_interval_ms = 500,
        .lease_ms = 2000,
        .hang_ms = 20000,
        .min_workers = 1,
        .settle_ms = 300,
        .kv_tokens = 16384,
        .batch_tokens = 8,
        .min_gain = 0.10,
        .cooldown_ms = 60000,
    };
}

int coordinator_new(const struct coordinator_options *options, const struct coordinator_sink *sink,
    struct coordinator **ret)
{
    struct coordinator *self = base_alloc_zeroed(1, sizeof(*self));

    if (!self)
        return BASE_NOMEM;
    self->options = *options;
    self->sink = *sink;
    *ret = self;
    return BASE_OK;
}

void coordinator_destroy(struct coordinator **self_p)
{
    if (!self_p)
        return;
    base_free(*self_p);
    *self_p = NULL;
}

struct coordinator_metrics *coordinator_get_metrics(struct coordinator *self)
{
    return &self->metrics;
}

uint64_t coordinator_epoch(const struct coordinator *self)
{
    return self->epoch;
}

void coordinator_send(struct coordinator *self, uint64_t peer, const struct wire_message *message)
{
    self->sink.send(self->sink.context, peer, message);
}

void coordinator_refuse(
    struct coordinator *self, uint64_t peer, int code, const char *node, const char *format, ...)
{
    struct wire_message message = {.kind = WIRE_ERROR, .error = {.code = code}};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message.error.text, sizeof(message.error.text), format, arguments);
    va_end(arguments);
    (void)snprintf(message.error.node, sizeof(message.error.node), "%s", node);
    coordinator_send(self, peer, &message);
}

void coordinator_set_cause(struct coordinator *self, const char *node, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(self->cause, sizeof(self->cause), format, arguments);
    va_end(arguments);
    (void)snprintf(self->cause_node, sizeof(self->cause_node), "%s", node);
}

static void on_heartbeat(struct coordinator *self, struct coordinator_member *member,
    const struct wire_heartbeat *heartbeat)
{
    struct wire_message message = {.kind = WIRE_HEARTBEAT_ACK};

    member->heartbeat = *heartbeat;
    member->heartbeat_ms = self->now_ms;
    if (heartbeat->plan_epoch > self->epoch && heartbeat->plan_epoch <= COORDINATOR_EPOCH_MAX)
        self->epoch = heartbeat->plan_epoch;
    message.heartbeat_ack.coordinator_incarnation = self->options.incarnation;
    message.heartbeat_ack.plan_epoch = self->epoch;
    coordinator_send(self, member->peer, &message);
    coordinator_watch_heartbeat(self, member);
}

/* Whose name a message bears. "": none. */
static bool claims_other(
    const struct coordinator_member *member, const struct wire_message *message)
{
    const char *node_id;
    uint64_t incarnation;

    switch (message->kind) {
    case WIRE_HEARTBEAT:
        node_id = message->heartbeat.node_id;
        incarnation = message->heartbeat.incarnation;
        break;
    case WIRE_STAGE_STATUS:
        node_id = message->stage_status.node_id;
        incarnation = message->stage_status.incarnation;
        break;
    case WIRE_GOODBYE:
        node_id = message->goodbye.node_id;
        incarnation = message->goodbye.incarnation;
        break;
    default:
        return false;
    }
    return strcmp(node_id, member->identity.node_id) != 0 ||
           incarnation != member->identity.incarnation;
}

static void on_member_message(struct coordinator *self, uint64_t peer,
    struct coordinator_member *member, const struct wire_message *message)
{
    bool is_router;

    if (!member) {
        coordinator_refuse(self, peer, BASE_NOT_FOUND, "",
            "this connection has not registered, or its lease ran out: register again");
        return;
    }
    if (claims_other(member, message)) {
        coordinator_refuse(self, peer, BASE_NOT_FOUND, member->identity.node_id,
            "this connection registered as %s with another name or incarnation",
            member->identity.node_id);
        return;
    }
    is_router = coordinator_is_router(self, member);
    if (is_router != (message->kind == WIRE_SUSPECT) &&
        (message->kind == WIRE_SUSPECT || message->kind == WIRE_STAGE_STATUS)) {
        coordinator_refuse(self, peer, BASE_INVALID, member->identity.node_id,
            "message kind %d does not come from a %s", (int)message->kind,
            is_router ? "router" : "worker");
        return;
    }
    switch (message->kind) {
    case WIRE_HEARTBEAT:
        on_heartbeat(self, member, &message->heartbeat);
        break;
    case WIRE_STAGE_STATUS:
        coordinator_stage_status(self, member, &message->stage_status);
        break;
    case WIRE_SUSPECT:
        metrics_add(&self->metrics.suspects, 1);
        coordinator_suspect(self, member, &message->suspect);
        break;
    default:
        coordinator_goodbye(self, member, &message->goodbye);
        break;
    }
}

void coordinator_message(
    struct coordinator *self, uint64_t now_ms, uint64_t peer, const struct wire_message *message)
{
    struct coordinator_member *member;

    self->now_ms = now_ms;
    member = coordinator_find_peer(self, peer);
    if (member)
        member->heard_ms = now_ms;
    switch (message->kind) {
    case WIRE_REGISTER:
        coordinator_register(self, peer, &message->register_);
        break;
    case WIRE_HEARTBEAT:
    case WIRE_STAGE_STATUS:
    case WIRE_SUSPECT:
    case WIRE_GOODBYE:
        on_member_message(self, peer, member, message);
        break;
    case WIRE_DRAIN:
        metrics_add(&self->metrics.drains, 1);
        coordinator_drain(self, peer, &message->drain);
        break;
    case WIRE_STATUS_QUERY:
        coordinator_status(self, peer);
        break;
    case WIRE_ERROR:
        break; /* an answer to an error could go on for ever */
    default:
        coordinator_refuse(self, peer, BASE_INVALID, "",
            "the coordinator takes no messages of kind %d", (int)message->kind);
        break;
    }
    coordinator_settle(self);
}

void coordinator_peer_gone(struct coordinator *self, uint64_t now_ms, uint64_t peer)
{
    struct coordinator_member *member;

    self->now_ms = now_ms;
    member = coordinator_find_peer(self, peer);
    if (!member)
        return;
    coordinator_lose(self, member, "its connection closed");
    coordinator_settle(self);
}

void coordinator_tick(struct coordinator *self, uint64_t now_ms)
{
    self->now_ms = now_ms;
    coordinator_expire(self);
    coordinator_drift(self);
    coordinator_settle(self);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t coordinator_next_tick_ms(const struct coordinator *self)
{
    uint64_t next_ms = coordinator_plan_next_ms(self);

    for (size_t i = 0; i < LIMIT_WORKERS_MAX + LIMIT_ROUTERS_MAX; i++) {
        const struct coordinator_member *member =
            i < LIMIT_WORKERS_MAX ? &self->workers[i] : &self->routers[i - LIMIT_WORKERS_MAX];

        if (member->used && member->live)
            next_ms = earlier(next_ms, member->heard_ms + self->options.lease_ms + 1);
        else if (member->used)
            next_ms = earlier(next_ms, member->lost_ms + COORDINATOR_LOST_ROW_MS);
    }
    return next_ms;
}

void coordinator_probe(struct coordinator *self)
{
    struct wire_message message = {.kind = WIRE_PROBE};

    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++)
        if (self->workers[i].used && self->workers[i].live)
            coordinator_send(self, self->workers[i].peer, &message);
    for (size_t i = 0; i < LIMIT_ROUTERS_MAX; i++)
        if (self->routers[i].used && self->routers[i].live)
            coordinator_send(self, self->routers[i].peer, &message);
}
