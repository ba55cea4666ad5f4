/* What waits for a client that does not read: so many bytes, and its messages no more. */
#include "net_internal.h"
#include "net_testing.h"
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define TEXT_BYTES (1 << 20)

static struct net_context *context;
static struct net_socket *router;
static void *clients[4]; /* closed at the end, or the context would wait for them */
static size_t client_count;
static char text[TEXT_BYTES];
static float logits[TEXT_BYTES / sizeof(float)];

static void start(void)
{
    context = new_context();
    memset(text, 'a', sizeof(text));
}

static void stop(void)
{
    for (size_t i = 0; i < client_count; i++)
        (void)zmq_close(clients[i]);
    net_close(&router);
    net_context_destroy(&context);
}

TestSuite(net_unread, .init = start, .fini = stop);

/* A client that takes nothing until asked to: its own queue and the kernel's are small. */
static void *lazy_client(struct net_peer *ret_peer)
{
    const int one = 1, small = 4096, zero = 0, wait_ms = WAIT_MS;
    void *zmq = zmq_socket(context->zmq, ZMQ_DEALER);
    const uint8_t envelope[] = {'L', 'M', 1, WIRE_PING, 0, 0, 0, 0};
    struct net_inbound inbound;

    cr_assert_eq(zmq_setsockopt(zmq, ZMQ_RCVHWM, &one, sizeof(one)), 0);
    cr_assert_eq(zmq_setsockopt(zmq, ZMQ_RCVBUF, &small, sizeof(small)), 0);
    cr_assert_eq(zmq_setsockopt(zmq, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    cr_assert_eq(zmq_setsockopt(zmq, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)), 0);
    clients[client_count++] = zmq;
    cr_assert_eq(zmq_connect(zmq, net_endpoint(router)), 0);
    cr_assert_eq(zmq_send(zmq, envelope, sizeof(envelope), ZMQ_SNDMORE), sizeof(envelope));
    cr_assert_eq(zmq_send(zmq, "", 0, 0), 0);
    receive_soon(router, &inbound);
    *ret_peer = inbound.from;
    net_inbound_release(&inbound);
    return zmq;
}

/* Takes one message; returns its kind. */
static int take(void *zmq)
{
    uint8_t envelope[LIMIT_ENVELOPE_BYTES];
    int more = 1;
    size_t bytes = sizeof(more);

    cr_assert_eq(zmq_recv(zmq, envelope, sizeof(envelope), 0), sizeof(envelope));
    while (zmq_getsockopt(zmq, ZMQ_RCVMORE, &more, &bytes) == 0 && more != 0)
        cr_assert_geq(zmq_recv(zmq, NULL, 0, 0), 0);
    return envelope[3];
}

static int send_text(const struct net_peer *to)
{
    const struct wire_message message = {
        .kind = WIRE_PARTIAL, .partial = {.text = {(const uint8_t *)text, sizeof(text)}}};

    return net_send(router, to, &message, NULL, NULL);
}

static int send_logits(const struct net_peer *to)
{
    const uint32_t vocab = sizeof(logits) / sizeof(float);
    const struct wire_message message = {
        .kind = WIRE_PARTIAL, .partial = {.row_count = 1, .vocab_size = vocab}};
    const struct net_tensor tensor = {.data = logits, .bytes = sizeof(logits)};

    return net_send(router, to, &message, &tensor, NULL);
}

/* Sends until there is no room. Returns how many went; about 1 MiB each. */
static unsigned fill(const struct net_peer *to, int (*send)(const struct net_peer *to))
{
    unsigned count = 0;
    int rc;

    while ((rc = send(to)) == BASE_OK)
        cr_assert_lt(++count, 200, "%u MiB wait, and there is no end", count);
    cr_assert_eq(rc, BASE_AGAIN);
    cr_assert_geq(count, LIMIT_UNREAD_QUEUE_BYTES / TEXT_BYTES);
    return count;
}

static void expect_bound(int (*send)(const struct net_peer *to))
{
    struct net_peer peer, other;
    const struct wire_message final = {.kind = WIRE_FINAL,
        .final = {
            .request_id = 1, .finish_reason = WIRE_FINISH_ERROR, .error = {.code = BASE_FULL}}};

    router = new_router(context, NET_PLANE_CLIENT);
    void *client = lazy_client(&peer), *reader = lazy_client(&other);
    const unsigned count = fill(&peer, send);
    cr_assert_leq(
        net_unread_bytes(router->unread, &peer), LIMIT_UNREAD_QUEUE_BYTES + 2 * TEXT_BYTES);
    /* It is told why no more comes, and others are not held up. */
    cr_assert_eq(net_send(router, &peer, &final, NULL, NULL), BASE_OK);
    cr_assert_eq(net_unread_bytes(router->unread, &other), 0);
    cr_assert_eq(send(&other), BASE_OK);
    cr_assert_eq(take(reader), WIRE_PARTIAL);
    /* It reads after all: all that was taken comes, the end, and there is room again. */
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(take(client), WIRE_PARTIAL);
    cr_assert_eq(take(client), WIRE_FINAL);
    cr_assert_eq(send(&peer), BASE_OK);
    cr_assert_eq(take(client), WIRE_PARTIAL);
}

Test(net_unread, text_that_is_not_read_is_bounded)
{
    expect_bound(send_text);
}

Test(net_unread, logits_that_are_not_read_are_bounded)
{
    expect_bound(send_logits);
}

/* What is under way when a client ends, or the socket, is forgotten with it. */
Test(net_unread, nothing_is_left_of_who_is_gone)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_peer peer;
    struct net_inbound inbound;

    router = new_router(context, NET_PLANE_CLIENT);
    void *client = lazy_client(&peer);
    (void)fill(&peer, send_text);
    (void)zmq_close(client);
    client_count = 0;
    while (net_unread_bytes(router->unread, &peer) != 0) {
        cr_assert_lt(base_clock_ms(), end_ms, "bytes of a client that is gone are counted");
        cr_assert_neq(net_receive(router, &inbound), BASE_OK); /* libzmq learns of it here */
        (void)net_poll(NULL, 0, 5);
    }
    (void)lazy_client(&peer);
    (void)fill(&peer, send_text);
}

static atomic_int released;

static void count_release(void *data, void *hint)
{
    (void)data;
    (void)hint;
    (void)atomic_fetch_add(&released, 1);
}

/* As everywhere: exactly once, whether the message went or not. */
Test(net_unread, a_tensor_is_released_once)
{
    struct net_peer peer;
    const uint32_t vocab = sizeof(logits) / sizeof(float);
    const struct wire_message message = {
        .kind = WIRE_PARTIAL, .partial = {.row_count = 1, .vocab_size = vocab}};
    const struct net_tensor tensor = {
        .data = logits, .bytes = sizeof(logits), .release = count_release};
    int count = 0, rc;

    router = new_router(context, NET_PLANE_CLIENT);
    (void)lazy_client(&peer);
    do {
        rc = net_send(router, &peer, &message, &tensor, NULL);
        cr_assert_eq(atomic_load(&released), ++count);
    } while (rc == BASE_OK && count < 200);
    cr_assert_eq(rc, BASE_AGAIN);
}

/* Planes without clients keep their queues by messages and credits. */
Test(net_unread, other_planes_are_not_counted)
{
    router = new_router(context, NET_PLANE_CONTROL);
    cr_assert_null(router->unread);
}
