/* What every test of net/ needs: waiting for a message instead of sleeping. */
#ifndef NET_TESTING_H
#define NET_TESTING_H

#include "base_clock.h"
#include "net.h"
#include <criterion/criterion.h>

#define WAIT_MS 5000

/* Waits for the next valid message of a socket. */
static inline void receive_soon(struct net_socket *socket, struct net_inbound *ret)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_poll_item item = {.socket = socket};

    while (net_receive(socket, ret) != BASE_OK) {
        const uint64_t now_ms = base_clock_ms();
        cr_assert_lt(now_ms, end_ms, "no message came");
        (void)net_poll(&item, 1, (int)(end_ms - now_ms));
    }
}

/* Waits until the watch has told of connections made and lost. */
static inline void watch_soon(struct net_socket *socket, unsigned lost, unsigned connected)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_poll_item item = {.socket = socket, .watch = true};
    unsigned lost_seen = 0, connected_seen = 0;

    while (lost_seen < lost || connected_seen < connected) {
        const uint64_t now_ms = base_clock_ms();
        unsigned made = 0;
        cr_assert_lt(now_ms, end_ms, "%u lost and %u made instead", lost_seen, connected_seen);
        (void)net_poll(&item, 1, (int)(end_ms - now_ms));
        lost_seen += net_watch_take(socket, &made);
        connected_seen += made;
    }
    cr_assert_eq(lost_seen, lost);
    cr_assert_eq(connected_seen, connected);
}

static inline struct net_context *new_context(void)
{
    struct net_context *context = NULL;
    struct base_error err = {0};

    cr_assert_eq(net_context_new(&context, &err), BASE_OK, "%s", err.text);
    net_context_allow_plain(context);
    return context;
}

static inline struct net_socket *new_router(struct net_context *context, enum net_plane plane)
{
    struct net_socket *socket = NULL;
    struct base_error err = {0};

    net_context_allow_plain(context);
    cr_assert_eq(
        net_bind(context, plane, "tcp://127.0.0.1:*", &socket, &err), BASE_OK, "%s", err.text);
    return socket;
}

/* A connected DEALER. */
static inline struct net_socket *new_dealer(
    struct net_context *context, enum net_plane plane, const char *endpoint)
{
    struct net_socket *socket = NULL;
    struct base_error err = {0};

    net_context_allow_plain(context);
    cr_assert_eq(
        net_connect(context, plane, endpoint, NULL, &socket, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_watch(socket, &err), BASE_OK, "%s", err.text);
    watch_soon(socket, 0, 1);
    return socket;
}

static inline int send_credit(struct net_socket *socket, const struct net_peer *to, uint64_t epoch)
{
    struct wire_message message = {.kind = WIRE_CREDIT};

    message.credit.epoch = epoch;
    message.credit.count = 1;
    return net_send(socket, to, &message, NULL, NULL);
}

/* A send may still be taken for a moment after the loss was told. */
static inline void expect_refusal(struct net_socket *socket, const struct net_peer *to, int code)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    int rc;

    while ((rc = send_credit(socket, to, 1)) != code) {
        cr_assert_eq(rc, BASE_OK);
        cr_assert_lt(base_clock_ms(), end_ms);
    }
}

/* Receives a credit with this epoch; returns who sent it. */
static inline struct net_peer expect_credit(struct net_socket *socket, uint64_t epoch)
{
    struct net_inbound inbound;

    receive_soon(socket, &inbound);
    const struct net_peer from = inbound.from;
    cr_assert_eq(inbound.message.kind, WIRE_CREDIT);
    cr_assert_eq(inbound.message.credit.epoch, epoch);
    net_inbound_release(&inbound);
    return from;
}

#endif
