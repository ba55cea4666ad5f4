/*
 * The link to the first stage: a DEALER, the hello of an epoch, and the credits that the stage
 * gave. Steps go out only while there is credit; nothing is queued here, because the core keeps
 * what was not sent.
 */
#ifndef ROUTER_LINK_H
#define ROUTER_LINK_H

#include "net.h"

struct router_link {
    struct net_context *context; /* borrowed */
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    struct net_socket *socket; /* NULL: points nowhere */
    char endpoint[LIMIT_ENDPOINT_BYTES];
    char public_key[LIMIT_KEY_BYTES];
    uint64_t epoch;
    bool connected;
    bool greeted; /* the hello of this epoch went out on this connection */
    uint32_t credit;
};

void router_link_init(struct router_link *self, struct net_context *context, const char *node_id,
    uint64_t incarnation);
void router_link_release(struct router_link *self);

/* endpoint NULL: nowhere. public_key: of who serves there; NULL or "": it is plain. A connection to
 * the same endpoint and key is kept; credit never is. */
void router_link_point(
    struct router_link *self, uint64_t epoch, const char *endpoint, const char *public_key);

/* false: no connection, no credit, or no room; try again when something came in. */
bool router_link_send(
    struct router_link *self, const struct wire_message *message, const void *tensor, size_t bytes);

/* The socket or its watch is readable, or time passed. *ret_credit: sum of new credit. */
void router_link_service(struct router_link *self, uint32_t *ret_credit);

/* Whether a hello is still to be sent, with nothing to wait for but time. */
bool router_link_is_waiting(const struct router_link *self);

#endif
