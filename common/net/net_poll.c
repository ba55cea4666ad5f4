#include "net_internal.h"

#include "base_assert.h"
#include <errno.h>
#include <zmq.h>

#define ITEMS_MAX 64

/* -1: for ever. */
static int sooner(int a, int b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

int net_poll(struct net_poll_item *items, size_t item_count, int timeout_ms)
{
    zmq_pollitem_t waited[ITEMS_MAX];

    base_assert(item_count <= ITEMS_MAX);
    for (size_t i = 0; i < item_count; i++) {
        waited[i] = (zmq_pollitem_t){.fd = items[i].fd, .events = ZMQ_POLLIN};
        if (items[i].socket != NULL) {
            waited[i].socket = items[i].watch ? items[i].socket->monitor : items[i].socket->zmq;
            base_assert(!items[i].watch || items[i].socket->is_watched);
            timeout_ms = sooner(timeout_ms, net_watch_retry(items[i].socket));
            if (items[i].socket->guard != NULL)
                timeout_ms = sooner(timeout_ms, net_guard_wait_ms(items[i].socket));
        }
        items[i].ready = false;
    }
    /* Below 0: a signal came. Nothing is ready then, and the caller looks at the clock. */
    const int count = zmq_poll(waited, (int)item_count, timeout_ms);
    for (size_t i = 0; i < item_count; i++) {
        items[i].ready = count > 0 && waited[i].revents != 0;
        if (items[i].socket != NULL && items[i].socket->guard != NULL)
            net_guard_check(items[i].socket);
    }
    return count > 0 ? count : 0;
}
