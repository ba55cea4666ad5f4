#include "coordinator_peers.h"
#include <string.h>

static bool is_same(const struct net_peer *a, const struct net_peer *b)
{
    return a->bytes == b->bytes && memcmp(a->id, b->id, a->bytes) == 0;
}

uint64_t coordinator_peers_heard(
    struct coordinator_peers *self, const struct net_peer *address, const char *public_key)
{
    struct coordinator_peer *chosen = &self->rows[0];

    for (size_t i = 0; i < COORDINATOR_PEERS_MAX; i++) {
        struct coordinator_peer *row = &self->rows[i];

        if (row->handle && is_same(&row->address, address)) {
            row->heard = ++self->heard_last;
            return row->handle;
        }
        if (row->heard < chosen->heard)
            chosen = row; /* free rows have never been heard */
    }
    *chosen = (struct coordinator_peer){
        .handle = ++self->handle_last,
        .heard = ++self->heard_last,
        .address = *address,
    };
    memcpy(chosen->public_key, public_key, strnlen(public_key, LIMIT_KEY_BYTES - 1));
    return chosen->handle;
}

const struct net_peer *coordinator_peers_find(const struct coordinator_peers *self, uint64_t handle)
{
    for (size_t i = 0; handle && i < COORDINATOR_PEERS_MAX; i++)
        if (self->rows[i].handle == handle)
            return &self->rows[i].address;
    return NULL;
}

void coordinator_peers_mark(struct coordinator_peers *self, uint64_t handle)
{
    for (size_t i = 0; handle && i < COORDINATOR_PEERS_MAX; i++)
        if (self->rows[i].handle == handle)
            self->rows[i].is_member = true;
}

void coordinator_peers_forget(struct coordinator_peers *self, uint64_t handle)
{
    for (size_t i = 0; handle && i < COORDINATOR_PEERS_MAX; i++)
        if (self->rows[i].handle == handle)
            self->rows[i] = (struct coordinator_peer){0};
}
