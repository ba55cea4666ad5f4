/* Numbers for client connections: the core knows a client by a number, the socket by its id. */
#ifndef ROUTER_CLIENTS_H
#define ROUTER_CLIENTS_H

#include "net.h"

#define ROUTER_CLIENTS_MAX 2048

struct router_client_row {
    struct net_peer peer;
    uint64_t number; /* 0: free */
    uint64_t used;   /* when it was heard last */
};

struct router_clients {
    struct router_client_row *rows; /* owned [ROUTER_CLIENTS_MAX] */
    uint64_t newest, clock;
};

/* Returns BASE_OK or BASE_NOMEM. */
int router_clients_init(struct router_clients *self);
void router_clients_release(struct router_clients *self);

/* Its number; when all rows are taken, the client not heard of for longest is forgotten, and
 * *ret_forgotten is its number (else 0). */
uint64_t router_clients_number(
    struct router_clients *self, const struct net_peer *peer, uint64_t *ret_forgotten);
/* NULL when it was forgotten. */
const struct net_peer *router_clients_find(const struct router_clients *self, uint64_t number);
void router_clients_forget(struct router_clients *self, uint64_t number);

#endif
