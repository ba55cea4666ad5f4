#include "router_clients.h"

#include <string.h>

#include "base_alloc.h"

int router_clients_init(struct router_clients *self)
{
    *self = (struct router_clients){0};
    self->rows = base_alloc_zeroed(ROUTER_CLIENTS_MAX, sizeof(*self->rows));
    return self->rows == NULL ? BASE_NOMEM : BASE_OK;
}

void router_clients_release(struct router_clients *self)
{
    base_free(self->rows);
    self->rows = NULL;
}

uint64_t router_clients_number(
    struct router_clients *self, const struct net_peer *peer, uint64_t *ret_forgotten)
{
    size_t oldest = 0;
    *ret_forgotten = 0;
    self->clock++;
    for (size_t i = 0; i < ROUTER_CLIENTS_MAX; i++) {
        struct router_client_row *row = &self->rows[i];
        if (row->number != 0 && row->peer.bytes == peer->bytes &&
            memcmp(row->peer.id, peer->id, peer->bytes) == 0) {
            row->used = self->clock;
            return row->number;
        }
        if (row->used < self->rows[oldest].used)
            oldest = i;
    }
    *ret_forgotten = self->rows[oldest].number;
    self->rows[oldest] =
        (struct router_client_row){.peer = *peer, .number = ++self->newest, .used = self->clock};
    return self->newest;
}

static struct router_client_row *row_of(const struct router_clients *self, uint64_t number)
{
    for (size_t i = 0; i < ROUTER_CLIENTS_MAX; i++)
        if (self->rows[i].number == number && number != 0)
            return &self->rows[i];
    return NULL;
}

const struct net_peer *router_clients_find(const struct router_clients *self, uint64_t number)
{
    struct router_client_row *row = row_of(self, number);
    return row == NULL ? NULL : &row->peer;
}

void router_clients_forget(struct router_clients *self, uint64_t number)
{
    struct router_client_row *row = row_of(self, number);
    if (row != NULL)
        *row = (struct router_client_row){0};
}
