/* A router in the test's own thread: what the client sent is read, what it gets is written here. */
#ifndef FAKE_ROUTER_H
#define FAKE_ROUTER_H

#include "layermesh.h"
#include "net.h"

struct fake_router {
    struct net_context *context;
    struct net_socket *socket;
    char endpoint[LIMIT_ENDPOINT_BYTES];
    char directory[64];
    struct net_peer peer; /* of the message read last */
    struct net_inbound inbound;
    bool has_inbound;
};

/* Binds an ipc endpoint of its own. Fails the test when it cannot. */
void fake_router_open(struct fake_router *self);
void fake_router_close(struct fake_router *self);

/*
 * Waits until the client sends a message of this kind, skipping PING and status queries, and
 * returns it, borrowed until the next call. request (may be NULL) is kept moving meanwhile with
 * lmesh_next(), which must have nothing to return. Fails the test after 3 s.
 */
const struct wire_message *fake_router_expect(
    struct fake_router *self, enum wire_kind kind, struct lmesh_request *request);

/* Whether a message of this kind comes within wait_ms; others are skipped. */
bool fake_router_sees(
    struct fake_router *self, enum wire_kind kind, struct lmesh_request *request, int wait_ms);

void fake_router_send(
    struct fake_router *self, const struct wire_message *message, const void *tensor, size_t bytes);

/* One PARTIAL with one token and its text. */
void fake_router_send_token(struct fake_router *self, uint64_t request_id, uint32_t sequence,
    uint32_t token_id, const char *text);

/* FINAL; fault (may be NULL) makes it an error. */
void fake_router_send_final(struct fake_router *self, uint64_t request_id,
    enum wire_finish_reason reason, const struct wire_fault *fault);

#endif
