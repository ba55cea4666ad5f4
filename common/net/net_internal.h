/* Shared by the files of net/, included by nobody else. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "metrics.h"
#include "net.h"
#include "net_security.h"
#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

/* Sorted by key; the handler's thread and every socket's thread look into it. */
struct net_admission {
    pthread_mutex_t lock;
    struct wire_admitted *rows; /* owned */
    size_t count;
};

/* Of all sockets of a context. */
struct net_traffic {
    struct metrics_counter sent_messages, sent_bytes, send_failures;
    struct metrics_counter received_messages, received_bytes;
};

struct net_context {
    void *zmq;                /* the ZeroMQ context */
    int signal_fd;            /* -1 in a library context */
    atomic_uint socket_count; /* open sockets; ending the context waits for them for ever */
    atomic_uint watch_count;  /* watches ever made, for their names */
    bool is_plain_allowed;    /* TCP without a key */
    bool is_secure;           /* key is set; TCP is encrypted */
    bool serves;              /* sockets may be bound: the handler of keys runs */
    struct net_key key;
    struct net_admission admission;
    char self_test_key[LIMIT_KEY_BYTES]; /* under admission.lock; let in while the test runs */
    void *zap;                           /* the handler's socket, of its thread */
    pthread_t zap_thread;
    bool has_zap;
    atomic_bool is_testing; /* who is refused now is a stranger of our own making */
    atomic_uint_fast64_t refusals[NET_REFUSAL_COUNT];
    struct net_traffic traffic;
};

#define NET_HANDSHAKE_MS 5000  /* a handshake that takes longer is ended by libzmq */
#define NET_LOG_PEER_MS  60000 /* between two lines about what one peer may not say */

struct net_guard;
struct net_unread;

struct net_socket {
    struct net_context *context;
    void *zmq;
    void *monitor;   /* PAIR end of the connection events; a DEALER has it from the start, so that
                      * its first connection cannot be missed; a ROUTER once it is watched */
    bool is_watched; /* the owner takes the events; else they are forgotten with each send */
    bool is_router;
    uint64_t retry_ms;         /* DEALER: when to connect again after a refusal; 0: not due */
    bool was_refused;          /* our key, by the last handshake */
    bool is_secure;            /* a bound socket whose peers are known by their keys */
    struct net_guard *guard;   /* of a bound TCP socket; else NULL */
    struct net_unread *unread; /* of a bound socket for clients; else NULL */
    enum net_plane plane;
    uint64_t refused_count;
    unsigned failed_count;    /* handshakes that failed and whose disconnect is still to come */
    struct base_arena encode; /* reset by each send */
    char endpoint[LIMIT_ENDPOINT_BYTES];
};

/* Parts of a checked endpoint. */
enum net_scheme {
    NET_SCHEME_TCP,
    NET_SCHEME_IPC,
    NET_SCHEME_INPROC,
};

struct net_endpoint {
    enum net_scheme scheme;
    char host[LIMIT_ENDPOINT_BYTES]; /* tcp: without brackets; else what follows the scheme */
    bool is_ipv6;                    /* host stood in brackets */
};

/* Returns BASE_OK or BASE_INVALID with *err naming the endpoint. */
int net_endpoint_parse(const char *text, struct net_endpoint *ret, struct base_error *err);

/*
 * Makes an ipc path free to bind: removes what a dead process left there. Returns BASE_OK, or
 * BASE_DENIED when a live process serves it or something that is no socket lies there, BASE_IO.
 */
int net_ipc_claim(const char *path, struct base_error *err);

/* Opens the monitor. Returns BASE_OK or BASE_IO. */
int net_watch_start(struct net_socket *self, struct base_error *err);
/* Connects again when that is due. Returns how long until it is, 0: just done, -1: it is not. */
int net_watch_retry(struct net_socket *self);
/* Limits on what a peer costs (net_guard.c). Returns BASE_OK or BASE_NOMEM. */
int net_guard_new(struct net_guard **ret);
void net_guard_destroy(struct net_guard **self_p);
/* A connection was accepted, or ended; fd is its descriptor. */
void net_guard_accepted(struct net_socket *socket, int fd);
void net_guard_closed(struct net_socket *socket, int fd);
/* A frame came out of it. */
void net_guard_frame(struct net_socket *socket, int fd, size_t bytes);
/* How soon it wants to look again; -1: it need not. */
int net_guard_wait_ms(const struct net_socket *socket);
/* Now and then: ends connections that send without end. */
void net_guard_check(struct net_socket *socket);
/* Whether this peer may send one more message now. *ret_tell: it should hear that it may not. */
bool net_guard_allows(struct net_socket *socket, const struct net_peer *from,
    const struct net_sender *who, bool *ret_tell);
/* Whether the log has room for what this peer did: once in NET_LOG_PEER_MS. */
bool net_guard_may_log(
    struct net_socket *socket, const struct net_peer *from, const struct net_sender *who);
/* What waits for each peer (net_unread.c). Returns BASE_OK or BASE_NOMEM. */
int net_unread_new(struct net_unread **ret);
void net_unread_destroy(struct net_unread **self_p);
size_t net_unread_bytes(struct net_unread *self, const struct net_peer *peer);
/* The peer's account, for frames to it made before the next call here; NULL: no memory. */
struct net_account;
struct net_account *net_unread_account(struct net_unread *self, const struct net_peer *peer);
/* A frame with a copy of data, counted until libzmq is done with it. False: no memory. */
bool net_unread_frame(
    struct net_account *account, const void *data, size_t bytes, zmq_msg_t *ret_frame);
/* Counts and forgets the events of a socket whose owner does not take them. */
void net_watch_pass(struct net_socket *self);

/* Returns BASE_OK or BASE_NOMEM. */
int net_admission_init(struct net_admission *self);
void net_admission_release(struct net_admission *self);
/* Whether the key is admitted now. Any thread. */
bool net_admission_find(
    struct net_admission *self, const char *public_key, struct net_sender *ret_sender);

/* The handler of keys: its thread, and the test that it lets nobody in. */
int net_zap_start(struct net_context *self, struct base_error *err);
void net_zap_stop(struct net_context *self);
int net_zap_self_test(struct net_context *self, struct base_error *err);

/* Options of a socket that will be bound or connected over TCP, before it is. */
int net_curve_serve(
    const struct net_context *self, void *zmq, enum net_plane plane, struct base_error *err);
int net_curve_connect(
    void *zmq, const struct net_key *own, const char *server_key, struct base_error *err);

/* Whether this role may send this kind to a bound socket, and whether the names in a message are
 * the sender's own. Return BASE_OK or BASE_DENIED with *err (may be NULL) filled. */
int net_policy_kind(const struct net_sender *sender, enum wire_kind kind, struct base_error *err);
int net_policy_name(
    const struct net_sender *sender, const struct wire_message *message, struct base_error *err);

#endif
