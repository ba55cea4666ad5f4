/* Numbers for connections: the core knows a peer by a number, the socket by its id. */
#ifndef WORKER_PEERS_H
#define WORKER_PEERS_H

#include "net.h"

#define WORKER_PEERS_MAX 64

/* Zeroed: empty. */
struct worker_peers {
    struct {
        struct net_peer peer;
        uint64_t number; /* 0: free */
        uint64_t used;   /* when it was asked for last */
    } rows[WORKER_PEERS_MAX];
    uint64_t last_number, clock;
};

/* Its number; the peer not heard of for longest is forgotten for a new one. */
uint64_t worker_peers_number(struct worker_peers *self, const struct net_peer *peer);
/* NULL when it was forgotten. */
const struct net_peer *worker_peers_find(const struct worker_peers *self, uint64_t number);

#endif
