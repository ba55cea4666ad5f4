#include "base_alloc.h"
#include "net_testing.h"
#include "wire_codec.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <zmq.h>

static atomic_int released;

static void count_release(void *data, void *hint)
{
    (void)data;
    atomic_fetch_add((atomic_int *)hint, 1);
}

/* A step of token_count tokens of one sequence. */
static struct wire_message step_of(
    uint32_t token_count, struct wire_sequence *sequence, const uint32_t *pages)
{
    struct wire_message message = {.kind = WIRE_STEP};

    *sequence = (struct wire_sequence){.token_count = token_count, .pages = pages};
    sequence->page_count = (token_count + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS;
    message.step.token_count = token_count;
    message.step.sequences = sequence;
    message.step.sequence_count = token_count > 0 ? 1 : 0;
    return message;
}

/* The last reference may be dropped by ZeroMQ's thread a moment after the receiver's release. */
static void expect_released(int count)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;

    while (atomic_load(&released) != count)
        cr_assert_lt(base_clock_ms(), end_ms, "%d instead", atomic_load(&released));
}

Test(net_message, travels_both_ways_with_and_without_tensor)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_DATA, net_endpoint(router));
    static const uint32_t pages[] = {7};
    const uint32_t ids[] = {11, 22, 33};
    struct wire_sequence sequence;
    struct wire_message step = step_of(3, &sequence, pages);
    struct net_tensor tensor = {.data = ids, .bytes = sizeof(ids)};
    struct net_inbound inbound;

    cr_assert_eq(send_credit(dealer, NULL, 5), BASE_OK);
    const struct net_peer peer = expect_credit(router, 5);
    cr_assert_gt(peer.bytes, 0);
    for (int round = 0; round < 2; round++) {
        if (round == 1) {
            tensor.release = count_release;
            tensor.hint = &released;
        }
        cr_assert_eq(net_send(dealer, NULL, &step, &tensor, NULL), BASE_OK);
        receive_soon(router, &inbound);
        cr_assert_eq(inbound.message.kind, WIRE_STEP);
        cr_assert_eq(inbound.message.step.sequences[0].pages[0], 7);
        cr_assert_eq(inbound.tensor_bytes, sizeof(ids));
        cr_assert_eq(memcmp(inbound.tensor, ids, sizeof(ids)), 0);
        cr_assert_eq(inbound.from.bytes, peer.bytes);
        cr_assert_eq(memcmp(inbound.from.id, peer.id, peer.bytes), 0);
        net_inbound_release(&inbound);
        cr_assert_eq(net_send(router, &peer, &step, &tensor, NULL), BASE_OK);
        receive_soon(dealer, &inbound);
        cr_assert_eq(memcmp(inbound.tensor, ids, sizeof(ids)), 0);
        cr_assert_eq(inbound.from.bytes, 0);
        net_inbound_release(&inbound);
    }
    expect_released(2);
    cr_assert_eq(net_receive(router, &inbound), BASE_AGAIN);
    cr_assert_eq(net_refused_count(router) + net_refused_count(dealer), 0);
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_message, a_step_without_tokens_has_no_tensor)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_DATA, net_endpoint(router));
    struct wire_sequence sequence;
    struct wire_message step = step_of(0, &sequence, NULL);
    const struct net_tensor empty = {.data = "", .release = count_release, .hint = &released};
    struct net_inbound inbound;

    cr_assert_eq(net_send(dealer, NULL, &step, NULL, NULL), BASE_OK);
    cr_assert_eq(net_send(dealer, NULL, &step, &empty, NULL), BASE_OK);
    cr_assert_eq(atomic_load(&released), 1);
    for (int i = 0; i < 2; i++) {
        receive_soon(router, &inbound);
        cr_assert_null(inbound.tensor);
        cr_assert_eq(inbound.tensor_bytes, 0);
        net_inbound_release(&inbound);
    }
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_message, a_tensor_is_released_once_whatever_happens)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA), *nobody = NULL;
    struct net_peer stranger = {.bytes = 5, .id = {0, 1, 2, 3, 4}};
    static const uint32_t pages[] = {1};
    static const uint32_t id = 9;
    struct wire_sequence sequence;
    struct wire_message step = step_of(1, &sequence, pages);
    struct net_tensor tensor = {
        .data = &id, .bytes = 4, .release = count_release, .hint = &released};
    struct base_error err = {0};

    cr_assert_eq(net_send(router, &stranger, &step, &tensor, &err), BASE_UNREACHABLE);
    cr_assert(strstr(err.text, "STEP") != NULL, "%s", err.text);
    expect_released(1);
    cr_assert_eq(
        net_connect(context, NET_PLANE_DATA, "tcp://127.0.0.1:1", NULL, &nobody, NULL), BASE_OK);
    cr_assert_eq(net_send(nobody, NULL, &step, &tensor, NULL), BASE_AGAIN);
    expect_released(2);
    tensor.bytes = 3; /* does not belong to this step */
    cr_assert_eq(net_send(nobody, NULL, &step, &tensor, NULL), BASE_MALFORMED);
    expect_released(3);
    tensor.bytes = 4;
    base_alloc_fail_from(1);
    cr_assert_eq(net_send(nobody, NULL, &step, &tensor, NULL), BASE_NOMEM);
    base_alloc_fail_from(0);
    expect_released(4);
    net_close(&nobody);
    net_close(&router);
    net_context_destroy(&context);
    expect_released(4);
}

Test(net_message, tensors_still_queued_are_released_at_the_end)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_DATA, net_endpoint(router));
    static const uint32_t pages[] = {1};
    static const uint32_t id = 9;
    struct wire_sequence sequence;
    struct wire_message step = step_of(1, &sequence, pages);
    const struct net_tensor tensor = {
        .data = &id, .bytes = 4, .release = count_release, .hint = &released};
    int sent = 0;

    while (net_send(dealer, NULL, &step, &tensor, NULL) == BASE_OK)
        sent++;
    cr_assert_gt(sent, 0);
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
    cr_assert_eq(atomic_load(&released), sent + 1);
}

/* ---- frames that no net_send() made ---- */

struct raw {
    struct net_context *context;
    struct net_socket *router;
    void *zmq, *dealer;
};

static struct raw raw_open(enum net_plane plane)
{
    struct raw self = {.context = new_context()};
    const int zero = 0;

    self.router = new_router(self.context, plane);
    self.zmq = zmq_ctx_new();
    self.dealer = zmq_socket(self.zmq, ZMQ_DEALER);
    (void)zmq_setsockopt(self.dealer, ZMQ_LINGER, &zero, sizeof(zero));
    cr_assert_eq(zmq_connect(self.dealer, net_endpoint(self.router)), 0);
    return self;
}

static void raw_close(struct raw *self)
{
    (void)zmq_close(self->dealer);
    (void)zmq_ctx_term(self->zmq);
    net_close(&self->router);
    net_context_destroy(&self->context);
}

static void raw_frame(const struct raw *self, const void *data, size_t bytes, bool more)
{
    cr_assert_eq(
        zmq_send(self->dealer, data, bytes, more ? ZMQ_SNDMORE : 0), (int)bytes, "%d", zmq_errno());
}

static const uint8_t credit_envelope[] = {'L', 'M', 1, WIRE_CREDIT, 0, 0, 0, 0};
static const uint8_t step_envelope[] = {'L', 'M', 1, WIRE_STEP, 0, 0, 0, 0};
static const uint8_t credit_body[] = {0x08, 77, 0x10, 1};

/* A good message comes through, and exactly refused were dropped before it. */
static void expect_good_after(const struct raw *self, uint64_t refused)
{
    raw_frame(self, credit_envelope, 8, true);
    raw_frame(self, credit_body, sizeof(credit_body), false);
    (void)expect_credit(self->router, 77);
    cr_assert_eq(net_refused_count(self->router), refused);
}

Test(net_message, bad_frames_are_dropped_and_counted)
{
    struct raw raw = raw_open(NET_PLANE_DATA);
    uint64_t refused = 0;
    uint8_t envelope[9] = {0};

    raw_frame(&raw, "x", 1, false); /* one frame */
    expect_good_after(&raw, ++refused);
    raw_frame(&raw, "", 0, false);
    expect_good_after(&raw, ++refused);
    memcpy(envelope, credit_envelope, 8);
    envelope[0] = 'X'; /* magic */
    raw_frame(&raw, envelope, 8, true);
    raw_frame(&raw, credit_body, sizeof(credit_body), false);
    expect_good_after(&raw, ++refused);
    envelope[0] = 'L';
    envelope[2] = 9; /* version */
    raw_frame(&raw, envelope, 8, true);
    raw_frame(&raw, credit_body, sizeof(credit_body), false);
    expect_good_after(&raw, ++refused);
    envelope[2] = 1;
    envelope[3] = 200; /* kind */
    raw_frame(&raw, envelope, 8, true);
    raw_frame(&raw, credit_body, sizeof(credit_body), false);
    expect_good_after(&raw, ++refused);
    envelope[3] = WIRE_CREDIT;
    raw_frame(&raw, envelope, 9, true); /* envelope too long */
    raw_frame(&raw, credit_body, sizeof(credit_body), false);
    expect_good_after(&raw, ++refused);
    raw_frame(&raw, credit_envelope, 8, true);
    raw_frame(&raw, "\x08", 1, false); /* body cut */
    expect_good_after(&raw, ++refused);
    raw_close(&raw);
}

Test(net_message, a_refused_peer_is_told_why_except_on_the_data_plane)
{
    static const uint8_t generate_envelope[] = {'L', 'M', 1, WIRE_GENERATE, 0, 0, 0, 0};
    struct raw raw = raw_open(NET_PLANE_CLIENT);
    struct base_arena arena;
    struct wire_message reply;
    struct base_error err = {0};
    char frames[2][1024];

    raw_frame(&raw, generate_envelope, 8, true);
    raw_frame(&raw, "\x08", 1, false);
    expect_good_after(&raw, 1);
    cr_assert_eq(zmq_recv(raw.dealer, frames[0], sizeof(frames[0]), 0), LIMIT_ENVELOPE_BYTES);
    int bytes = zmq_recv(raw.dealer, frames[1], sizeof(frames[1]), 0);
    cr_assert_gt(bytes, 0);
    cr_assert_eq(frames[0][3], WIRE_ERROR);
    base_arena_init(&arena, LIMIT_UNPACK_BYTES_MIN);
    cr_assert_eq(
        wire_decode(WIRE_ERROR, (const uint8_t *)frames[1], (size_t)bytes, &arena, &reply, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(reply.error.code, BASE_MALFORMED);
    cr_assert_not_null(strstr(reply.error.text, "GENERATE"), "%s", reply.error.text);
    base_arena_release(&arena);
    raw_close(&raw);

    raw = raw_open(NET_PLANE_DATA);
    raw_frame(&raw, step_envelope, 8, false);
    expect_good_after(&raw, 1);
    cr_assert_eq(zmq_recv(raw.dealer, frames[0], sizeof(frames[0]), ZMQ_DONTWAIT), -1);
    raw_close(&raw);
}

Test(net_message, tensors_that_do_not_belong_are_dropped)
{
    struct raw raw = raw_open(NET_PLANE_DATA);

    raw_frame(&raw, credit_envelope, 8, true); /* a credit has none */
    raw_frame(&raw, credit_body, sizeof(credit_body), true);
    raw_frame(&raw, "1234", 4, false);
    expect_good_after(&raw, 1);
    raw_frame(&raw, credit_envelope, 8, true); /* not even an empty one */
    raw_frame(&raw, credit_body, sizeof(credit_body), true);
    raw_frame(&raw, "", 0, false);
    expect_good_after(&raw, 2);
    raw_frame(&raw, step_envelope, 8, true); /* an empty step with a tensor */
    raw_frame(&raw, "", 0, true);
    raw_frame(&raw, "1234", 4, false);
    expect_good_after(&raw, 3);
    raw_frame(&raw, step_envelope, 8, true); /* one token, but five bytes */
    raw_frame(&raw, "\x18\x01\x2a\x05\x18\x01\x22\x01\x00", 9, true);
    raw_frame(&raw, "12345", 5, false);
    expect_good_after(&raw, 4);
    raw_frame(&raw, step_envelope, 8, true); /* one token and none */
    raw_frame(&raw, "\x18\x01\x2a\x05\x18\x01\x22\x01\x00", 9, false);
    expect_good_after(&raw, 5);
    raw_close(&raw);
}

Test(net_message, five_thousand_frames_are_one_refusal)
{
    struct raw raw = raw_open(NET_PLANE_DATA);

    raw_frame(&raw, credit_envelope, 8, true);
    for (int i = 0; i < 5000; i++)
        raw_frame(&raw, "1234567890", 10, true);
    raw_frame(&raw, "", 0, false);
    expect_good_after(&raw, 1);
    raw_frame(&raw, step_envelope, 8, true); /* four */
    raw_frame(&raw, "", 0, true);
    raw_frame(&raw, "", 0, true);
    raw_frame(&raw, "", 0, false);
    expect_good_after(&raw, 2);
    raw_close(&raw);
}

Test(net_message, a_body_over_the_cap_of_its_kind_is_dropped)
{
    struct raw raw = raw_open(NET_PLANE_DATA);
    uint8_t *big = base_alloc_zeroed(1, LIMIT_STEP_BYTES + 1);

    raw_frame(&raw, credit_envelope, 8, true);
    raw_frame(&raw, big, LIMIT_CONTROL_BYTES + 1, false);
    expect_good_after(&raw, 1);
    raw_frame(&raw, step_envelope, 8, true);
    raw_frame(&raw, big, LIMIT_STEP_BYTES + 1, false);
    expect_good_after(&raw, 2);
    base_free(big);
    raw_close(&raw);
}

Test(net_message, a_frame_over_the_cap_of_the_plane_ends_the_connection)
{
    struct raw raw = raw_open(NET_PLANE_CONTROL);
    uint8_t *big = base_alloc_zeroed(1, LIMIT_CONTROL_BYTES + 1);

    cr_assert_eq(net_watch(raw.router, NULL), BASE_OK);
    expect_good_after(&raw, 0);
    (void)net_watch_take(raw.router, NULL);
    raw_frame(&raw, credit_envelope, 8, true);
    raw_frame(&raw, big, LIMIT_CONTROL_BYTES + 1, false);
    watch_soon(raw.router, 1, 1); /* and the peer connects anew */
    expect_good_after(&raw, 0);
    base_free(big);
    raw_close(&raw);
}

Test(net_message, a_flood_of_bad_messages_does_not_keep_the_caller)
{
    struct raw raw = raw_open(NET_PLANE_DATA);
    struct net_inbound inbound;
    struct net_poll_item item = {.socket = raw.router};
    unsigned turns = 0;

    for (int i = 0; i < 150; i++)
        raw_frame(&raw, "x", 1, false);
    raw_frame(&raw, credit_envelope, 8, true);
    raw_frame(&raw, credit_body, sizeof(credit_body), false);
    while (net_receive(raw.router, &inbound) == BASE_AGAIN) {
        cr_assert_eq(net_poll(&item, 1, WAIT_MS), 1);
        turns++;
    }
    cr_assert_geq(turns, 2);
    cr_assert_eq(net_refused_count(raw.router), 150);
    net_inbound_release(&inbound);
    raw_close(&raw);
}

Test(net_message, a_routing_id_that_is_too_long_is_dropped)
{
    struct raw raw = raw_open(NET_PLANE_DATA);
    char id[NET_PEER_BYTES_MAX + 1];
    const int zero = 0;

    memset(id, 'i', sizeof(id));
    void *second = zmq_socket(raw.zmq, ZMQ_DEALER);
    (void)zmq_setsockopt(second, ZMQ_LINGER, &zero, sizeof(zero));
    cr_assert_eq(zmq_setsockopt(second, ZMQ_ROUTING_ID, id, sizeof(id)), 0);
    cr_assert_eq(zmq_connect(second, net_endpoint(raw.router)), 0);
    cr_assert_eq(zmq_send(second, credit_envelope, 8, ZMQ_SNDMORE), 8);
    cr_assert_eq(zmq_send(second, credit_body, sizeof(credit_body), 0), (int)sizeof(credit_body));
    struct net_poll_item item = {.socket = raw.router};
    struct net_inbound inbound;
    cr_assert_eq(net_poll(&item, 1, WAIT_MS), 1);
    cr_assert_eq(net_receive(raw.router, &inbound), BASE_AGAIN);
    expect_good_after(&raw, 1);
    (void)zmq_close(second);
    raw_close(&raw);
}

Test(net_message, memory_may_fail_while_receiving)
{
    struct raw raw = raw_open(NET_PLANE_DATA);
    struct net_poll_item item = {.socket = raw.router};
    struct net_inbound inbound;

    raw_frame(&raw, step_envelope, 8, true);
    raw_frame(&raw, "\x18\x01\x2a\x05\x18\x01\x22\x01\x00", 9, true);
    raw_frame(&raw, "1234", 4, false);
    cr_assert_eq(net_poll(&item, 1, WAIT_MS), 1);
    base_alloc_fail_from(1);
    cr_assert_eq(net_receive(raw.router, &inbound), BASE_AGAIN);
    base_alloc_fail_from(0);
    expect_good_after(&raw, 1);
    raw_close(&raw);
}

/* ---- nothing is lost under credits ---- */

#define MANY  100000u
#define CHUNK 64u

struct sender {
    struct net_context *context;
    const char *endpoint;
    unsigned refused_sends;
};

static void *send_many(void *data)
{
    struct sender *self = data;
    struct net_socket *dealer = NULL;
    struct net_inbound inbound;
    unsigned credits = 0;

    (void)net_connect(self->context, NET_PLANE_DATA, self->endpoint, NULL, &dealer, NULL);
    (void)net_watch(dealer, NULL);
    watch_soon(dealer, 0, 1);
    /* The first says hello and is not counted. */
    (void)send_credit(dealer, NULL, UINT64_MAX);
    for (uint64_t next = 0; next < MANY;) {
        while (credits == 0) {
            receive_soon(dealer, &inbound);
            credits += inbound.message.credit.count;
            net_inbound_release(&inbound);
        }
        if (send_credit(dealer, NULL, next) == BASE_OK)
            next++;
        else
            self->refused_sends++;
        credits--;
    }
    /* Stay until everything was read: linger is 0 on this plane. */
    uint64_t epoch = 0;
    while (epoch != UINT64_MAX) {
        receive_soon(dealer, &inbound);
        epoch = inbound.message.credit.epoch;
        net_inbound_release(&inbound);
    }
    net_close(&dealer);
    return NULL;
}

Test(net_message, none_of_many_is_lost_while_credits_bound_them)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA);
    struct sender sender = {.context = context, .endpoint = net_endpoint(router)};
    struct wire_message grant = {.kind = WIRE_CREDIT};
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, send_many, &sender), 0);
    const struct net_peer peer = expect_credit(router, UINT64_MAX);
    grant.credit.count = 2 * CHUNK;
    cr_assert_eq(net_send(router, &peer, &grant, NULL, NULL), BASE_OK);
    grant.credit.count = CHUNK;
    for (uint64_t i = 0; i < MANY; i++) {
        (void)expect_credit(router, i);
        if ((i + 1) % CHUNK == 0)
            cr_assert_eq(net_send(router, &peer, &grant, NULL, NULL), BASE_OK);
    }
    grant.credit.epoch = UINT64_MAX;
    cr_assert_eq(net_send(router, &peer, &grant, NULL, NULL), BASE_OK);
    (void)pthread_join(thread, NULL);
    cr_assert_eq(sender.refused_sends, 0);
    cr_assert_eq(net_refused_count(router), 0);
    net_close(&router);
    net_context_destroy(&context);
}
