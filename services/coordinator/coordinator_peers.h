/*
 * The handles under which the core knows connections. Bounded: when the table is full, the peer
 * that was silent longest loses its handle; if it still lives, it is asked to register again.
 */
#ifndef COORDINATOR_PEERS_H
#define COORDINATOR_PEERS_H

#include "net.h"

#define COORDINATOR_PEERS_MAX 256

struct coordinator_peer {
    uint64_t handle; /* 0: free; never used again */
    uint64_t heard;  /* order of the last message */
    struct net_peer address;
    bool is_member;                   /* registered: it is told who is admitted */
    char public_key[LIMIT_KEY_BYTES]; /* of the connection; "": plain */
};

struct coordinator_peers {
    struct coordinator_peer rows[COORDINATOR_PEERS_MAX];
    uint64_t handle_last, heard_last;
};

/* The handle of a connection that sent something; a new one for a new connection. public_key: that
 * the connection proved to have. */
uint64_t coordinator_peers_heard(
    struct coordinator_peers *self, const struct net_peer *address, const char *public_key);

/* NULL: no such handle. Borrowed until the next change. */
const struct net_peer *coordinator_peers_find(
    const struct coordinator_peers *self, uint64_t handle);

/* From now on it is a member. */
void coordinator_peers_mark(struct coordinator_peers *self, uint64_t handle);

void coordinator_peers_forget(struct coordinator_peers *self, uint64_t handle);

#endif
