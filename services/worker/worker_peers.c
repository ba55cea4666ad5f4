#include "worker_peers.h"

#include <string.h>

uint64_t worker_peers_number(struct worker_peers *self, const struct net_peer *peer)
{
    size_t oldest = 0;

    self->clock++;
    for (size_t i = 0; i < WORKER_PEERS_MAX; i++) {
        if (self->rows[i].number != 0 && self->rows[i].peer.bytes == peer->bytes &&
            memcmp(self->rows[i].peer.id, peer->id, peer->bytes) == 0) {
            self->rows[i].used = self->clock;
            return self->rows[i].number;
        }
        if (self->rows[i].used < self->rows[oldest].used)
            oldest = i;
    }
    self->rows[oldest].peer = *peer;
    self->rows[oldest].number = ++self->last_number;
    self->rows[oldest].used = self->clock;
    return self->last_number;
}

const struct net_peer *worker_peers_find(const struct worker_peers *self, uint64_t number)
{
    for (size_t i = 0; i < WORKER_PEERS_MAX; i++) {
        if (self->rows[i].number == number && number != 0)
            return &self->rows[i].peer;
    }
    return NULL;
}
