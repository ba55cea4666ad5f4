/*
 * Bytes that wait for each peer of a ROUTER. libzmq bounds its queues by messages, whatever their
 * size, and does not tell what is in them; but it tells when it is done with a frame whose memory
 * is ours. Such a frame is counted from when it is made until then.
 */
#include "net_internal.h"

#include "base_alloc.h"
#include <string.h>
#include <zmq.h>

#define CHAINS 256

/* Of one peer. It outlives the table when frames are still under way. */
struct net_account {
    struct net_account *next; /* in its chain */
    struct net_peer peer;
    atomic_size_t bytes;
    atomic_uint references; /* the table's, and one for each frame */
};

struct net_unread {
    struct net_account *chains[CHAINS];
};

struct counted {
    struct net_account *account; /* a reference */
    size_t bytes;
    uint8_t data[];
};

int net_unread_new(struct net_unread **ret)
{
    *ret = base_alloc_zeroed(1, sizeof(**ret));
    return *ret == NULL ? BASE_NOMEM : BASE_OK;
}

static void drop(struct net_account *account)
{
    if (atomic_fetch_sub(&account->references, 1) == 1)
        base_free(account);
}

void net_unread_destroy(struct net_unread **self_p)
{
    struct net_unread *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < CHAINS; i++) {
        while (self->chains[i] != NULL) {
            struct net_account *first = self->chains[i];
            self->chains[i] = first->next;
            drop(first);
        }
    }
    base_free(self);
    *self_p = NULL;
}

static struct net_account **chain_of(struct net_unread *self, const struct net_peer *peer)
{
    uint64_t value = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < peer->bytes; i++)
        value = (value ^ peer->id[i]) * UINT64_C(1099511628211);
    return &self->chains[(value >> 32) % CHAINS];
}

/* The peer's account, NULL: nothing waits for it. Accounts of others that came to nothing go: there
 * are never more than connections with something to read, and those just searched. */
static struct net_account *find(struct net_account **chain, const struct net_peer *peer)
{
    struct net_account *found = NULL;

    while (*chain != NULL) {
        struct net_account *account = *chain;
        if (account->peer.bytes == peer->bytes &&
            memcmp(account->peer.id, peer->id, peer->bytes) == 0)
            found = account;
        if (account != found && atomic_load(&account->bytes) == 0) {
            *chain = account->next;
            drop(account);
        } else {
            chain = &account->next;
        }
    }
    return found;
}

size_t net_unread_bytes(struct net_unread *self, const struct net_peer *peer)
{
    const struct net_account *account = find(chain_of(self, peer), peer);

    return account == NULL ? 0 : atomic_load(&account->bytes);
}

struct net_account *net_unread_account(struct net_unread *self, const struct net_peer *peer)
{
    struct net_account **chain = chain_of(self, peer);
    struct net_account *account = find(chain, peer);

    if (account != NULL)
        return account;
    account = base_alloc_zeroed(1, sizeof(*account));
    if (account == NULL)
        return NULL;
    account->peer = *peer;
    atomic_init(&account->references, 1);
    account->next = *chain;
    *chain = account;
    return account;
}

/* Any thread. */
static void release(void *data, void *hint)
{
    struct counted *counted = hint;
    struct net_account *account = counted->account;

    (void)data;
    (void)atomic_fetch_sub(&account->bytes, counted->bytes);
    drop(account);
    base_free(counted);
}

bool net_unread_frame(
    struct net_account *account, const void *data, size_t bytes, zmq_msg_t *ret_frame)
{
    size_t whole;
    struct counted *counted =
        base_add_size(sizeof(*counted), bytes, &whole) ? base_alloc(whole) : NULL;

    if (counted == NULL)
        return false;
    counted->account = account;
    counted->bytes = bytes;
    memcpy(counted->data, data, bytes);
    if (zmq_msg_init_data(ret_frame, counted->data, bytes, release, counted) != 0) {
        base_free(counted);
        return false;
    }
    (void)atomic_fetch_add(&account->references, 1);
    (void)atomic_fetch_add(&account->bytes, bytes);
    return true;
}
