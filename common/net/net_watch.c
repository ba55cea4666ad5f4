/* Connections made and lost, as ZeroMQ's monitor tells them. */
#include "net_internal.h"

#include "base_assert.h"
#include "base_clock.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

/* What settle() waits, whatever it sees. */
#define SETTLE_MS 3
/* Between a refusal and the next try. */
#define RETRY_MS 200

#define WATCHED_EVENTS                                                                             \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |                        \
        ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |                    \
        ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPTED)

int net_watch_start(struct net_socket *self, struct base_error *err)
{
    char name[64];
    const int zero = 0; /* RCVHWM: ZeroMQ's thread waits when the queue of events is full */

    (void)snprintf(name, sizeof(name), "inproc://net-watch-%u",
        atomic_fetch_add(&self->context->watch_count, 1));
    void *monitor = zmq_socket(self->context->zmq, ZMQ_PAIR);
    if (monitor == NULL || zmq_setsockopt(monitor, ZMQ_LINGER, &zero, sizeof(zero)) != 0 ||
        zmq_setsockopt(monitor, ZMQ_RCVHWM, &zero, sizeof(zero)) != 0 ||
        zmq_socket_monitor(self->zmq, name, WATCHED_EVENTS) != 0)
        goto fail;
    if (zmq_connect(monitor, name) != 0) {
        (void)zmq_socket_monitor(self->zmq, NULL, 0);
        goto fail;
    }
    self->monitor = monitor;
    return BASE_OK;
fail:
    (void)base_error_set(err, BASE_IO, "watch %s: %s", self->endpoint, zmq_strerror(errno));
    if (monitor != NULL)
        (void)zmq_close(monitor);
    return BASE_IO;
}

int net_watch(struct net_socket *self, struct base_error *err)
{
    const int rc = self->monitor != NULL ? BASE_OK : net_watch_start(self, err);

    self->is_watched = rc == BASE_OK;
    return rc;
}

/* One event: its number in two bytes and a value, then a frame with the address. 0: none. */
static unsigned take_event(void *monitor, int *ret_value)
{
    uint8_t head[6];
    uint16_t event;
    int32_t value;
    char address[1];

    const int bytes = zmq_recv(monitor, head, sizeof(head), ZMQ_DONTWAIT);
    if (bytes < 0)
        return 0;
    (void)zmq_recv(monitor, address, sizeof(address), ZMQ_DONTWAIT);
    if (bytes != sizeof(head))
        return 0;
    memcpy(&event, head, sizeof(event));
    memcpy(&value, head + sizeof(event), sizeof(value));
    *ret_value = value;
    return event;
}

/*
 * ZeroMQ tells of a lost connection a moment before sends to it fail; between the two lie two
 * exchanges of its thread with the socket, which go on only while the socket is used.
 */
static void settle(struct net_socket *self)
{
    const uint64_t end_ms = base_clock_ms() + SETTLE_MS;
    struct pollfd item = {.events = POLLIN};
    size_t bytes = sizeof(item.fd);

    if (zmq_getsockopt(self->zmq, ZMQ_FD, &item.fd, &bytes) != 0)
        return;
    for (uint64_t now_ms; (now_ms = base_clock_ms()) < end_ms;) {
        int events;
        bytes = sizeof(events);
        (void)zmq_getsockopt(self->zmq, ZMQ_EVENTS, &events, &bytes);
        (void)poll(&item, 1, (int)(end_ms - now_ms));
    }
}

/* Forgets or counts what has happened. Returns connections lost. */
static unsigned take_events(struct net_socket *self, unsigned *ret_connected)
{
    unsigned lost = 0;
    int value = 0;

    *ret_connected = 0;
    for (unsigned event; (event = take_event(self->monitor, &value)) != 0;) {
        if (self->guard != NULL && event == ZMQ_EVENT_DISCONNECTED)
            net_guard_closed(self, value);
        if (event == ZMQ_EVENT_ACCEPTED) {
            if (self->guard != NULL)
                net_guard_accepted(self, value);
            continue;
        }
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            ++*ret_connected;
        else if (event != ZMQ_EVENT_DISCONNECTED)
            self->failed_count++;
        else if (self->failed_count > 0)
            self->failed_count--; /* was never a connection for us */
        else
            lost++;
        if (event != ZMQ_EVENT_DISCONNECTED)
            self->was_refused = event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        if (!self->is_router && (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
                                    event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL))
            self->retry_ms = base_clock_ms() + RETRY_MS;
        /* One with a key that is not admitted is counted by the handler of keys. */
        if (self->is_secure && (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL ||
                                   event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL))
            net_refuse_count(self->context, NET_REFUSED_HANDSHAKE, self->endpoint);
    }
    return lost;
}

/*
 * After a refusal libzmq 4.3.4 never tries again by itself; but a key may be admitted a moment later,
 * since the news of it and its bearer come on different ways.
 */
int net_watch_retry(struct net_socket *self)
{
    const uint64_t now_ms = base_clock_ms();

    if (self->retry_ms == 0)
        return -1;
    if (now_ms < self->retry_ms)
        return (int)(self->retry_ms - now_ms);
    self->retry_ms = 0;
    (void)zmq_disconnect(self->zmq, self->endpoint);
    if (zmq_connect(self->zmq, self->endpoint) != 0)
        self->retry_ms = now_ms + RETRY_MS;
    return 0;
}

bool net_was_refused(const struct net_socket *self)
{
    return self->was_refused;
}

void net_watch_pass(struct net_socket *self)
{
    unsigned connected;

    if (self->monitor != NULL && !self->is_watched)
        (void)take_events(self, &connected);
    if (self->guard != NULL)
        net_guard_check(self);
}

unsigned net_watch_take(struct net_socket *self, unsigned *ret_connected)
{
    unsigned connected = 0;

    base_assert(self->monitor != NULL);
    const unsigned lost = take_events(self, &connected);
    if (lost > 0)
        settle(self);
    if (ret_connected != NULL)
        *ret_connected = connected;
    return lost;
}
