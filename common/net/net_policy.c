/*
 * Which role may send which kind to a socket that we have bound, and which names it may use. What
 * comes the other way needs no table: a DEALER talks to the one whose key it asked for.
 */
#include "net_internal.h"

#include "wire_codec.h"
#include <string.h>

#define MAY(role)  (1u << WIRE_ROLE_##role)
#define ANY_ROLE   UINT32_MAX
#define KIND_COUNT 72

/* 0: nobody, the kind only comes from bound sockets. */
static const uint32_t senders[KIND_COUNT] = {
    [WIRE_REGISTER] = MAY(WORKER) | MAY(ROUTER),
    [WIRE_HEARTBEAT] = MAY(WORKER) | MAY(ROUTER),
    [WIRE_STAGE_STATUS] = MAY(WORKER),
    [WIRE_SUSPECT] = MAY(ROUTER),
    [WIRE_DRAIN] = MAY(ADMIN) | MAY(WORKER),
    [WIRE_GOODBYE] = MAY(WORKER) | MAY(ROUTER),
    [WIRE_STATUS_QUERY] = MAY(ADMIN),
    [WIRE_ERROR] = ANY_ROLE,
    [WIRE_ENROL] = MAY(JOIN),
    [WIRE_STEP] = MAY(WORKER) | MAY(ROUTER),
    [WIRE_RESULT] = MAY(WORKER),
    [WIRE_STEP_ERROR] = MAY(WORKER),
    [WIRE_LINK_HELLO] = MAY(WORKER) | MAY(ROUTER),
    [WIRE_GENERATE] = MAY(CLIENT) | MAY(ADMIN),
    [WIRE_SCORE] = MAY(CLIENT) | MAY(ADMIN),
    [WIRE_CANCEL] = MAY(CLIENT) | MAY(ADMIN),
    [WIRE_PING] = MAY(CLIENT) | MAY(ADMIN),
    [WIRE_ROUTER_STATUS_QUERY] = MAY(CLIENT) | MAY(ADMIN),
};

int net_policy_kind(const struct net_sender *sender, enum wire_kind kind, struct base_error *err)
{
    const uint32_t mask = (unsigned)kind < KIND_COUNT ? senders[kind] : 0;

    if (sender->role == 0 || (mask & 1u << sender->role) != 0)
        return BASE_OK;
    return base_error_set(err, BASE_DENIED, "%s may not be sent by a %s (%s)", wire_kind_name(kind),
        net_role_name(sender->role), sender->name);
}

/* The name that the sender claims as its own; NULL: none. */
static const char *claimed_name(const struct net_sender *sender, const struct wire_message *message)
{
    switch (message->kind) {
    case WIRE_REGISTER:
        return message->register_.node_id;
    case WIRE_HEARTBEAT:
        return message->heartbeat.node_id;
    case WIRE_STAGE_STATUS:
        return message->stage_status.node_id;
    case WIRE_GOODBYE:
        return message->goodbye.node_id;
    case WIRE_LINK_HELLO:
        return message->link_hello.node_id;
    case WIRE_DRAIN: /* a worker asks for itself, an admin for anybody */
        return sender->role == WIRE_ROLE_WORKER ? message->drain.node_id : NULL;
    default:
        return NULL;
    }
}

int net_policy_name(
    const struct net_sender *sender, const struct wire_message *message, struct base_error *err)
{
    if (sender->role == 0)
        return BASE_OK;
    if (message->kind == WIRE_REGISTER && message->register_.role != sender->role)
        return base_error_set(err, BASE_DENIED, "the key of %s is for a %s, not for a %s",
            sender->name, net_role_name(sender->role), net_role_name(message->register_.role));
    const char *name = claimed_name(sender, message);
    if (name == NULL || net_name_fits(sender->name, name))
        return BASE_OK;
    return base_error_set(err, BASE_DENIED, "%s: the key of %s may not speak for %s",
        wire_kind_name(message->kind), sender->name, name);
}
