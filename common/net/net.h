/*
 * ROUTER and DEALER endpoints that carry wire messages. Knows frames and connections,
 * not tensors or plans. A socket belongs to the thread that opened it, from open to close.
 *
 * Options are set here once for all daemons (design: practice notes in README.md):
 * CURVE on every TCP socket (net_security.h), LINGER, IMMEDIATE=1 on DEALERs, ROUTER_MANDATORY=1, DONTWAIT sends, MAXMSGSIZE,
 * reconnect back-off, TCP keepalive; no ZMTP heartbeat and no TCP_MAXRT anywhere.
 */
#ifndef NET_H
#define NET_H

#include "base_arena.h"
#include "net_security.h"
#include "wire_message.h"

#define NET_PEER_BYTES_MAX 32

struct net_context;
struct net_socket;

/* The connection a ROUTER got a message from; the transport's own id, chosen by us at random. */
struct net_peer {
    uint8_t bytes;
    uint8_t id[NET_PEER_BYTES_MAX];
};

enum net_plane {
    NET_PLANE_CONTROL, /* small messages, linger 500 ms so that a goodbye leaves */
    NET_PLANE_DATA,    /* tensors, linger 0 */
    NET_PLANE_CLIENT,
};

/*
 * First call of a daemon's main thread: blocks SIGINT, SIGTERM, SIGHUP and SIGPIPE for all
 * threads, switches CZMQ's handlers off, makes the one ZeroMQ context. Returns BASE_OK,
 * BASE_NOMEM or BASE_IO.
 */
int net_context_new(struct net_context **ret_context, struct base_error *err);

/* For code that lives in another's process: as net_context_new(), but signal masks and handlers
 * stay as they are; there is no net_context_signal_fd() (-1). */
int net_context_new_library(struct net_context **ret_context, struct base_error *err);

/* After every socket is closed. Frees and nulls. */
void net_context_destroy(struct net_context **self_p);

/* A descriptor that polls readable when SIGINT or SIGTERM came (signalfd), to be read by the thread
 * that made the context: signals that threads of libraries catch are passed to it. */
int net_context_signal_fd(const struct net_context *self);

/* What the operator has chosen for TCP. */
struct net_policy {
    bool has_key;     /* every TCP socket is encrypted */
    bool insecure;    /* --insecure: plain TCP is allowed when there is no key... */
    bool any_address; /* --insecure-any-address: ...also on a wildcard address */
    const char *cure; /* how to give a key, for messages: "--key FILE" */
};

/*
 * Whether an endpoint may be used: scheme tcp, ipc or inproc; tcp only with a key, or plain with
 * insecure; plain on a wildcard address only with any_address too. Returns BASE_OK or BASE_DENIED /
 * BASE_INVALID with *err naming the endpoint and the cure.
 */
int net_endpoint_check(
    const char *endpoint, const struct net_policy *policy, struct base_error *err);

/* Whether it is reached over TCP, so that keys matter. */
bool net_endpoint_is_tcp(const char *endpoint);

/*
 * Opens a ROUTER bound to endpoint ("tcp://127.0.0.1:*" picks a port; an ipc path that another
 * live process has bound is refused). *ret_socket is closed with net_close().
 */
int net_bind(struct net_context *context, enum net_plane plane, const char *endpoint,
    struct net_socket **ret_socket, struct base_error *err);

/*
 * Opens a DEALER that keeps connecting to endpoint; connecting is asynchronous. server_key: the
 * public key of who must be there, for tcp in a context with a key; else not looked at, NULL or "".
 * BASE_DENIED: tcp, and the key is not known, or plain TCP is not allowed.
 */
int net_connect(struct net_context *context, enum net_plane plane, const char *endpoint,
    const char *server_key, struct net_socket **ret_socket, struct base_error *err);

/* As net_connect() with a key that is not the context's; own is read during the call. */
int net_connect_as(struct net_context *context, enum net_plane plane, const char *endpoint,
    const struct net_key *own, const char *server_key, struct net_socket **ret_socket,
    struct base_error *err);

/* Closes, frees and nulls. Accepts a pointer to NULL. */
void net_close(struct net_socket **self_p);

/* The endpoint as bound, wildcards resolved. Borrowed from the socket. */
const char *net_endpoint(const struct net_socket *self);

/* A raw frame beside a message. release() is called exactly once, from any thread, when the
 * transport no longer needs data, whether net_send() succeeded or not; NULL: data is copied. */
struct net_tensor {
    const void *data;
    size_t bytes;
    void (*release)(void *data, void *hint);
    void *hint;
};

/*
 * Sends without waiting. to: required on a ROUTER, NULL on a DEALER. tensor: NULL when the
 * message has none. Returns BASE_OK (queued, no more), BASE_AGAIN (no connection yet, queue
 * full, or, on a client plane's ROUTER, a PARTIAL to a peer for which LIMIT_UNREAD_QUEUE_BYTES wait
 * in this process already), BASE_UNREACHABLE (ROUTER: that peer is gone), BASE_TOO_BIG, BASE_NOMEM; BASE_MALFORMED
 * when tensor is not of the size that message describes, BASE_IO. A message queued for a
 * connection that then ends is gone without a word.
 */
int net_send(struct net_socket *self, const struct net_peer *to, const struct wire_message *message,
    const struct net_tensor *tensor, struct base_error *err);

/* One received message; release it before the next receive on a small budget. */
struct net_inbound {
    struct net_peer from;  /* ROUTER only */
    struct net_sender who; /* ROUTER only; role 0 on a plain socket */
    struct wire_message message;
    const void *tensor; /* tensor frame, unaligned, or NULL; valid until release */
    size_t tensor_bytes;
    struct base_arena arena; /* owns what message points to */
    void *transport;         /* owns the tensor frame */
};

/*
 * Takes the next valid message; messages that are malformed, of unexpected frame count, too big,
 * of unknown kind, or that their sender's key may not send (net_security.h: revoked, another role,
 * another's name) are counted and dropped here; a ROUTER of the control or
 * client plane answers them with WIRE_ERROR, so that the sender need not wait for nothing. Returns
 * BASE_OK with *ret to be released by net_inbound_release(), or BASE_AGAIN when nothing is waiting.
 */
int net_receive(struct net_socket *self, struct net_inbound *ret);
void net_inbound_release(struct net_inbound *self);

/* Counts a message that was received and then found out of place; logs it once a minute for each
 * peer. */
void net_refuse_message(struct net_socket *self, const struct net_inbound *inbound,
    enum net_refusal reason, const char *text);

/* Messages dropped on this socket since it was opened. */
uint64_t net_refused_count(const struct net_socket *self);

/*
 * Connection events. Once watched, the socket's watch becomes readable when a connection of it
 * was made or lost; net_watch_take() returns how many were lost since the last call, *ret_connected
 * (may be NULL) how many were made. A DEALER's first connection is told even if it was made before
 * net_watch(). After a loss net_watch_take() waits 3 ms, so that sends to that peer fail by then
 * (nearly always: on a busy host one may still be taken and vanish). inproc has no events.
 */
int net_watch(struct net_socket *self, struct base_error *err);
unsigned net_watch_take(struct net_socket *self, unsigned *ret_connected);

/* Whether the last try to connect ended in the handshake: our key is not admitted there, or who is
 * there is not whose key we expect. As the watch was taken last; trying goes on. */
bool net_was_refused(const struct net_socket *self);

/* One thing to wait for: a socket, the watch of a socket, or a descriptor. */
struct net_poll_item {
    struct net_socket *socket; /* NULL: fd */
    bool watch;                /* wait for the socket's connection events instead */
    int fd;
    bool ready; /* out: readable */
};

/*
 * Waits until an item is readable, timeout_ms passed (-1: for ever) or a signal came. Returns
 * the number of ready items. At most 64 items.
 */
int net_poll(struct net_poll_item *items, size_t item_count, int timeout_ms);

#endif
