/* Shared by the files of net/, included by nobody else. */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "net.h"
#include <stdatomic.h>

struct net_context {
    void *zmq;                /* the ZeroMQ context */
    int signal_fd;            /* -1 in a library context */
    atomic_uint socket_count; /* open sockets; ending the context waits for them for ever */
    atomic_uint watch_count;  /* watches ever made, for their names */
};

struct net_socket {
    struct net_context *context;
    void *zmq;
    void *monitor;   /* PAIR end of the connection events; a DEALER has it from the start, so that
                      * its first connection cannot be missed; a ROUTER once it is watched */
    bool is_watched; /* the owner takes the events; else they are forgotten with each send */
    bool is_router;
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

#endif
