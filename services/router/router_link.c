#include "router_link.h"

#include <stdio.h>
#include <string.h>

#include "base_log.h"

void router_link_init(struct router_link *self, struct net_context *context, const char *node_id,
    uint64_t incarnation)
{
    *self = (struct router_link){.context = context, .incarnation = incarnation};
    (void)snprintf(self->node_id, sizeof(self->node_id), "%s", node_id);
}

void router_link_release(struct router_link *self)
{
    net_close(&self->socket);
}

static void say_hello(struct router_link *self)
{
    struct wire_message hello = {.kind = WIRE_LINK_HELLO,
        .link_hello = {.epoch = self->epoch, .incarnation = self->incarnation}};
    struct base_error err = {0};
    if (!self->connected || self->greeted)
        return;
    memcpy(hello.link_hello.node_id, self->node_id, LIMIT_NAME_BYTES);
    self->greeted = net_send(self->socket, NULL, &hello, NULL, &err) == BASE_OK;
}

void router_link_point(
    struct router_link *self, uint64_t epoch, const char *endpoint, const char *public_key)
{
    const char *where = endpoint == NULL ? "" : endpoint;
    const char *who = public_key == NULL ? "" : public_key;
    struct base_error err = {0};
    self->epoch = epoch;
    self->greeted = false;
    self->credit = 0;
    if (self->socket != NULL && strcmp(self->endpoint, where) == 0 &&
        strcmp(self->public_key, who) == 0) {
        say_hello(self);
        return;
    }
    net_close(&self->socket);
    self->connected = false;
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", where);
    (void)snprintf(self->public_key, sizeof(self->public_key), "%s", who);
    if (where[0] == 0)
        return;
    if (net_connect(self->context, NET_PLANE_DATA, self->endpoint, self->public_key, &self->socket,
            &err) != BASE_OK ||
        net_watch(self->socket, &err) != BASE_OK) {
        base_log(
            BASE_LOG_ERROR, "link-failed", "endpoint=%s error=\"%s\"", self->endpoint, err.text);
        net_close(&self->socket);
    }
}

bool router_link_send(
    struct router_link *self, const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct net_tensor frame = {.data = tensor, .bytes = bytes};
    struct base_error err = {0};
    if (self->socket == NULL || !self->connected || !self->greeted || self->credit == 0)
        return false;
    int rc = net_send(self->socket, NULL, message, bytes > 0 ? &frame : NULL, &err);
    if (rc == BASE_OK)
        self->credit--;
    else if (rc != BASE_AGAIN)
        base_log(BASE_LOG_WARN, "step-not-sent", "epoch=%llu batch=%llu error=\"%s\"",
            (unsigned long long)self->epoch, (unsigned long long)message->step.batch_id, err.text);
    return rc == BASE_OK;
}

static void take_connection_events(struct router_link *self)
{
    unsigned connected = 0;
    unsigned lost = net_watch_take(self->socket, &connected);
    if (lost == 0 && connected == 0)
        return;
    /* Connections are made and lost in turn, so the counts say how it ended. */
    self->connected = (self->connected ? 1u : 0u) + connected > lost;
    /* Hello and credit belong to a connection. */
    self->greeted = false;
    self->credit = 0;
    base_log(lost > 0 ? BASE_LOG_WARN : BASE_LOG_DEBUG, lost > 0 ? "link-lost" : "link-connected",
        "epoch=%llu endpoint=%s", (unsigned long long)self->epoch, self->endpoint);
}

void router_link_service(struct router_link *self, uint32_t *ret_credit)
{
    struct net_inbound inbound = {0};
    *ret_credit = 0;
    if (self->socket == NULL)
        return;
    take_connection_events(self);
    while (net_receive(self->socket, &inbound) == BASE_OK) {
        const struct wire_credit *credit = &inbound.message.credit;
        if (inbound.message.kind == WIRE_CREDIT && credit->epoch == self->epoch &&
            self->credit <= LIMIT_BATCHES_IN_FLIGHT) {
            self->credit += credit->count;
            *ret_credit += credit->count;
        }
        net_inbound_release(&inbound);
    }
    say_hello(self);
}

bool router_link_is_waiting(const struct router_link *self)
{
    return self->socket != NULL && self->connected && !self->greeted;
}
