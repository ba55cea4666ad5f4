/* An outgoing link: a DEALER to the next stage or to the router, what waits for it, and the
 * credits that the other side gave. Data thread only. */
#ifndef WORKER_LINK_H
#define WORKER_LINK_H

#include "worker.h"
#include "worker_event.h"

struct worker_link;

struct worker_link_options {
    const char *name;            /* for the log: "next", "router" */
    struct net_context *context; /* borrowed */
    const char *node_id;         /* who we are, for LINK_HELLO; borrowed */
    uint64_t incarnation;
    bool by_credit; /* STEP: waits for CREDIT. The router takes results at once: it has asked
                     * for them, so they are bounded by its own micro-batches in flight */
};

/* Returns BASE_OK or BASE_NOMEM. */
int worker_link_new(const struct worker_link_options *options, struct worker_link **ret);
void worker_link_destroy(struct worker_link **self_p);

/*
 * Points the link at hop for epoch; NULL or an endpoint "": nowhere. What waits of other epochs is
 * dropped. A link that points there already is left alone.
 */
void worker_link_point(struct worker_link *self, uint64_t epoch, const struct worker_hop *hop);

/* Sends now or as soon as the other side is there and gave credit. message is copied when it must
 * wait, buffer (may be NULL) is held. Returns BASE_OK, BASE_FULL or BASE_NOMEM. */
int worker_link_send(
    struct worker_link *self, const struct wire_message *message, struct worker_buffer *buffer);

/* For net_poll(), itself and its watch; NULL when it points nowhere. */
struct net_socket *worker_link_socket(const struct worker_link *self);

/* The socket or its watch is readable, or time passed. */
void worker_link_service(struct worker_link *self);

/* Whether it has to be serviced soon though nothing may become readable. */
bool worker_link_is_waiting(const struct worker_link *self);

#endif
