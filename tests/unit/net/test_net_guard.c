/* What a peer may cost: connections that stay silent, bytes without a message, messages a second. */
#include "net_internal.h"
#include "net_testing.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct net_context *context;
static struct net_socket guarded;

static void start(void)
{
    context = new_context();
    guarded = (struct net_socket){.context = context,
        .is_router = true,
        .plane = NET_PLANE_CONTROL,
        .endpoint = "tcp://here"};
    cr_assert_eq(net_guard_new(&guarded.guard), BASE_OK);
}

static void stop(void)
{
    net_guard_destroy(&guarded.guard);
    cr_assert_null(guarded.guard);
    net_context_destroy(&context);
}

TestSuite(net_guard, .init = start, .fini = stop);

static struct net_sender sender_of(enum wire_role role, const char *name)
{
    struct net_sender who = {.role = role};

    memset(who.public_key, 'k', LIMIT_KEY_BYTES - 1);
    memcpy(who.public_key, name, strlen(name));
    memcpy(who.name, name, strlen(name) + 1);
    return who;
}

static struct net_peer peer_of(uint8_t number)
{
    return (struct net_peer){.bytes = 5, .id = {0, number, 2, 3, 4}};
}

/* ---- connections ---- */

struct wire {
    int ours, theirs;
};

static struct wire wire_open(void)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    return (struct wire){fds[0], fds[1]};
}

static void wire_close(const struct wire *self)
{
    (void)close(self->ours);
    (void)close(self->theirs);
}

/* Whether the guard ended it, as the other side sees it. */
static bool was_cut(const struct wire *self)
{
    char byte;

    return recv(self->theirs, &byte, 1, MSG_DONTWAIT) == 0;
}

/* One connection more than may be silent; the first of them does as told. Returns its fate. */
static bool first_is_cut(bool speaks, bool closes)
{
    struct wire wires[LIMIT_HALF_OPEN + 1];
    bool is_cut;

    for (size_t i = 0; i <= LIMIT_HALF_OPEN; i++) {
        wires[i] = wire_open();
        net_guard_accepted(&guarded, wires[i].ours);
        if (i == 0 && speaks)
            net_guard_frame(&guarded, wires[0].ours, 1);
        if (i == 0 && closes)
            net_guard_closed(&guarded, wires[0].ours);
        if (i < LIMIT_HALF_OPEN)
            cr_assert_not(was_cut(&wires[0]), "cut when %zu were there", i + 1);
    }
    is_cut = was_cut(&wires[0]);
    for (size_t i = 1; i <= LIMIT_HALF_OPEN; i++)
        cr_assert_not(was_cut(&wires[i]), "a newer one, %zu, was cut", i);
    for (size_t i = 0; i <= LIMIT_HALF_OPEN; i++)
        wire_close(&wires[i]);
    return is_cut;
}

Test(net_guard, the_oldest_of_too_many_silent_connections_goes)
{
    cr_assert(first_is_cut(false, false));
    cr_assert_eq(net_refusals(context, NET_REFUSED_HALF_OPEN), 1);
}

Test(net_guard, who_has_spoken_stays)
{
    cr_assert_not(first_is_cut(true, false));
    cr_assert_eq(net_refusals(context, NET_REFUSED_HALF_OPEN), 0);
}

/* Its descriptor may be somebody else's by now. */
Test(net_guard, who_left_is_not_cut_again)
{
    cr_assert_not(first_is_cut(false, true));
    cr_assert_eq(net_refusals(context, NET_REFUSED_HALF_OPEN), 0);
}

Test(net_guard, descriptors_that_cannot_be_are_left_alone)
{
    const int odd[] = {-1, 1 << 20};

    for (size_t i = 0; i < 2; i++) {
        net_guard_accepted(&guarded, odd[i]);
        net_guard_frame(&guarded, odd[i], 1);
        net_guard_closed(&guarded, odd[i]);
    }
    cr_assert_eq(net_guard_wait_ms(&guarded), -1);
    net_guard_check(&guarded);
}

Test(net_guard, it_looks_while_anybody_is_there)
{
    struct wire wire = wire_open();

    cr_assert_eq(net_guard_wait_ms(&guarded), -1);
    net_guard_accepted(&guarded, wire.ours);
    net_guard_accepted(&guarded, wire.ours); /* told twice */
    cr_assert_gt(net_guard_wait_ms(&guarded), 0);
    net_guard_closed(&guarded, wire.ours);
    net_guard_closed(&guarded, wire.ours);
    cr_assert_eq(net_guard_wait_ms(&guarded), -1);
    wire_close(&wire);
}

/* ---- bytes that are no message ---- */

static struct wire tcp_open(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t bytes = sizeof(address);
    struct wire wire;
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_eq(bind(listener, (const void *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(getsockname(listener, (void *)&address, &bytes), 0);
    wire.theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(wire.theirs, (const void *)&address, sizeof(address)), 0);
    wire.ours = accept(listener, NULL, NULL);
    cr_assert_geq(wire.ours, 0);
    (void)close(listener);
    return wire;
}

/* Sends so many bytes through it and takes them out, as libzmq does with a message not yet whole. */
static void pass(const struct wire *wire, size_t bytes)
{
    static char data[65536];

    for (size_t at = 0; at < bytes;) {
        const ssize_t sent = send(wire->theirs, data, sizeof(data), 0);
        cr_assert_gt(sent, 0);
        at += (size_t)sent;
        for (ssize_t taken = 0; taken < sent;) {
            const ssize_t got = recv(wire->ours, data, sizeof(data), 0);
            cr_assert_gt(got, 0);
            taken += got;
        }
    }
}

Test(net_guard, bytes_that_form_no_message_end_the_connection)
{
    const struct wire wire = tcp_open();

    net_guard_accepted(&guarded, wire.ours);
    pass(&wire, LIMIT_BACKLOG_BYTES + 65536);
    net_guard_check(&guarded);
    cr_assert(was_cut(&wire));
    cr_assert_eq(net_refusals(context, NET_REFUSED_BACKLOG), 1);
    cr_assert_eq(net_guard_wait_ms(&guarded), -1, "what was cut is looked after");
    wire_close(&wire);
}

Test(net_guard, bytes_that_came_out_as_frames_do_not_count)
{
    const struct wire wire = tcp_open();

    net_guard_accepted(&guarded, wire.ours);
    pass(&wire, LIMIT_BACKLOG_BYTES + 65536);
    net_guard_frame(&guarded, wire.ours, 131072);
    net_guard_check(&guarded);
    cr_assert_not(was_cut(&wire));
    wire_close(&wire);
}

/* Frames are counted with the most that the transport may add to them: a peer of many small ones
 * must not have saved that up for one without end. */
Test(net_guard, no_credit_is_saved_up)
{
    const struct wire wire = tcp_open();
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;

    net_guard_accepted(&guarded, wire.ours);
    pass(&wire, 65536);
    net_guard_frame(&guarded, wire.ours, 2 * (size_t)LIMIT_BACKLOG_BYTES);
    net_guard_check(&guarded);
    cr_assert_not(was_cut(&wire));
    pass(&wire, LIMIT_BACKLOG_BYTES + 65536);
    while (!was_cut(&wire)) {
        cr_assert_lt(base_clock_ms(), end_ms, "it goes on for ever");
        net_guard_check(&guarded); /* which looks now and then */
    }
    wire_close(&wire);
}

/* ---- messages a second ---- */

/* How many of a burst are let through. */
static unsigned burst_of(const struct net_peer *from, const struct net_sender *who, bool *ret_tell)
{
    unsigned count = 0;

    while (net_guard_allows(&guarded, from, who, ret_tell))
        cr_assert_lt(++count, 100u * LIMIT_CONTROL_RATE, "there is no bound");
    return count;
}

Test(net_guard, a_burst_is_bounded_and_its_sender_told_once)
{
    const struct net_peer peer = peer_of(1);
    const struct net_sender who = sender_of(WIRE_ROLE_WORKER, "w-1");
    bool is_told = false, is_told_again = true;

    cr_assert_geq(burst_of(&peer, &who, &is_told), 2 * LIMIT_CONTROL_RATE);
    cr_assert(is_told);
    while (net_guard_allows(&guarded, &peer, &who, &is_told_again))
        ; /* what a moment has brought meanwhile */
    cr_assert_not(is_told_again);
}

Test(net_guard, a_key_has_one_bucket_and_others_have_theirs)
{
    const struct net_sender one = sender_of(WIRE_ROLE_WORKER, "w-1"),
                            other = sender_of(WIRE_ROLE_WORKER, "w-2");
    const struct net_peer first = peer_of(1), second = peer_of(2);
    bool is_told;

    (void)burst_of(&first, &one, &is_told);
    cr_assert_lt(burst_of(&second, &one, &is_told), LIMIT_CONTROL_RATE, "a second connection paid");
    cr_assert_geq(burst_of(&first, &other, &is_told), 2 * LIMIT_CONTROL_RATE);
}

Test(net_guard, plain_connections_have_a_bucket_each)
{
    const struct net_sender nobody = {.role = (enum wire_role)0};
    const struct net_peer first = peer_of(1), second = peer_of(2);
    bool is_told;

    (void)burst_of(&first, &nobody, &is_told);
    cr_assert_geq(burst_of(&second, &nobody, &is_told), 2 * LIMIT_CONTROL_RATE);
}

/* More peers than there is room for: each new one can send, and nothing breaks. */
Test(net_guard, ten_thousand_peers_can_send)
{
    const struct net_sender nobody = {.role = (enum wire_role)0};
    bool is_told;

    for (unsigned i = 0; i < 10000; i++) {
        struct net_peer peer = peer_of((uint8_t)i);
        peer.id[2] = (uint8_t)(i >> 8);
        cr_assert(net_guard_allows(&guarded, &peer, &nobody, &is_told));
    }
}

/* ---- the log ---- */

Test(net_guard, the_log_hears_of_each_peer_once)
{
    const struct net_sender one = sender_of(WIRE_ROLE_WORKER, "w-1"),
                            other = sender_of(WIRE_ROLE_WORKER, "w-2");
    const struct net_peer first = peer_of(1), second = peer_of(2);

    cr_assert(net_guard_may_log(&guarded, &first, &one));
    cr_assert_not(net_guard_may_log(&guarded, &first, &one));
    cr_assert_not(net_guard_may_log(&guarded, &second, &one), "one key, two connections");
    cr_assert(net_guard_may_log(&guarded, &second, &other));
}

Test(net_guard, a_message_out_of_place_is_counted_each_time)
{
    struct net_inbound inbound = {.from = peer_of(1), .who = sender_of(WIRE_ROLE_WORKER, "w-1")};

    inbound.message.kind = WIRE_RESULT;
    for (int i = 0; i < 3; i++)
        net_refuse_message(&guarded, &inbound, NET_REFUSED_HOP, "test");
    cr_assert_eq(net_refusals(context, NET_REFUSED_HOP), 3);
    cr_assert_eq(net_refused_count(&guarded), 3);
    cr_assert_not(net_guard_may_log(&guarded, &inbound.from, &inbound.who), "it was not logged");
}
