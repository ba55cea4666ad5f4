#include "base_clock.h"
#include "worker_link.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The other side of a link: what the next stage or the router would be. */
static struct net_context *context;
static struct net_socket *other;
static struct worker_link *link_;
static struct net_inbound inbound;
static char endpoint[LIMIT_ENDPOINT_BYTES];

static void bind_other(void)
{
    struct base_error err = {0};

    cr_assert_eq(
        net_bind(context, NET_PLANE_DATA, endpoint, &other, &err), BASE_OK, "%s", err.text);
}

static void start(bool by_credit)
{
    const struct worker_link_options options = {
        .name = "test", .context = NULL, .node_id = "me", .incarnation = 7, .by_credit = by_credit};
    struct worker_link_options with_context = options;
    struct base_error err = {0};

    cr_assert_eq(net_context_new(&context, &err), BASE_OK, "%s", err.text);
    (void)snprintf(endpoint, sizeof(endpoint), "ipc://@layermesh-test-link-%d", (int)getpid());
    bind_other();
    with_context.context = context;
    cr_assert_eq(worker_link_new(&with_context, &link_), BASE_OK);
}

static void stop(void)
{
    worker_link_destroy(&link_);
    net_close(&other);
    net_context_destroy(&context);
}

/* Services the link until the other side has a message. Returns its kind, or 0 after wait_ms. */
static int heard(uint32_t wait_ms)
{
    uint64_t until_ms = base_clock_ms() + wait_ms;

    while (base_clock_ms() < until_ms) {
        struct net_poll_item items[3] = {{.socket = other}, {.socket = worker_link_socket(link_)},
            {.socket = worker_link_socket(link_), .watch = true}};
        (void)net_poll(items, 3, 10);
        worker_link_service(link_);
        if (net_receive(other, &inbound) == BASE_OK)
            return inbound.message.kind;
    }
    return 0;
}

static void give_credit(uint64_t epoch, uint32_t count)
{
    struct wire_message credit = {.kind = WIRE_CREDIT, .credit = {.epoch = epoch, .count = count}};

    cr_assert_eq(net_send(other, &inbound.from, &credit, NULL, NULL), BASE_OK);
}

static int send_step(uint64_t epoch, uint64_t batch_id)
{
    uint32_t page = 0, hop_us = 5;
    struct wire_sequence sequence = {
        .sequence_id = 1, .token_count = 1, .pages = &page, .page_count = 1};
    struct wire_message message = {.kind = WIRE_STEP,
        .step = {.epoch = epoch,
            .batch_id = batch_id,
            .token_count = 1,
            .embedding_length = 4,
            .sequences = &sequence,
            .sequence_count = 1,
            .hop_us = &hop_us,
            .hop_count = 1}};
    struct worker_buffer *buffer = worker_buffer_new(16);

    memset(buffer->data, (int)batch_id, 16);
    int rc = worker_link_send(link_, &message, buffer);
    cr_assert_geq(atomic_load(&buffer->references), 1);
    worker_buffer_drop(&buffer);
    page = 99; /* what was borrowed is gone after the call */
    hop_us = 99;
    return rc;
}

static void assert_step(uint64_t batch_id)
{
    cr_assert_eq(heard(5000), WIRE_STEP);
    cr_assert_eq(inbound.message.step.batch_id, batch_id);
    cr_assert_eq(inbound.message.step.sequences[0].pages[0], 0);
    cr_assert_eq(inbound.message.step.hop_us[0], 5);
    cr_assert_eq(inbound.tensor_bytes, 16);
    cr_assert_eq(((const uint8_t *)inbound.tensor)[15], (uint8_t)batch_id);
    net_inbound_release(&inbound);
}

static void assert_hello(uint64_t epoch)
{
    cr_assert_eq(heard(5000), WIRE_LINK_HELLO);
    cr_assert_eq(inbound.message.link_hello.epoch, epoch);
    cr_assert_eq(inbound.message.link_hello.incarnation, 7);
    cr_assert_str_eq(inbound.message.link_hello.node_id, "me");
    net_inbound_release(&inbound);
}

/* A failed test leaves its context behind, which would keep the process for ever. */
TestSuite(worker_link, .timeout = 30);

Test(worker_link, says_hello_and_sends_as_much_as_it_has_credit)
{
    start(true);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    for (uint64_t id = 1; id <= 3; id++)
        cr_assert_eq(send_step(3, id), BASE_OK);
    assert_hello(3);
    cr_assert_eq(heard(100), 0);
    give_credit(2, 9); /* of another epoch: none */
    cr_assert_eq(heard(100), 0);
    give_credit(3, 2);
    assert_step(1);
    assert_step(2);
    cr_assert_eq(heard(100), 0);
    cr_assert(worker_link_is_waiting(link_));
    give_credit(3, 1);
    assert_step(3);
    cr_assert_not(worker_link_is_waiting(link_));
    stop();
}

Test(worker_link, without_credit_rules_it_sends_at_once)
{
    start(false);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    cr_assert_eq(send_step(3, 1), BASE_OK);
    assert_hello(3);
    assert_step(1);
    stop();
}

Test(worker_link, what_waits_is_bounded_and_leaves_in_order)
{
    uint64_t id = 1;

    start(true);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    while (send_step(3, id) == BASE_OK)
        cr_assert_lt(id++, 1000);
    cr_assert_eq(send_step(3, id), BASE_FULL);
    assert_hello(3);
    give_credit(3, 100);
    for (uint64_t sent = 1; sent <= 100; sent++)
        assert_step(sent);
    stop();
}

Test(worker_link, a_new_epoch_says_hello_again_and_drops_what_is_old)
{
    start(true);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    assert_hello(3);
    cr_assert_eq(send_step(3, 1), BASE_OK);
    worker_link_point(link_, 4, &(struct worker_hop){endpoint, ""});
    cr_assert_eq(send_step(4, 1), BASE_OK);
    assert_hello(4);
    give_credit(4, 2);
    assert_step(1);
    cr_assert_eq(heard(100), 0);
    worker_link_point(link_, 4, &(struct worker_hop){endpoint, ""}); /* nothing new */
    cr_assert_eq(heard(100), 0);
    stop();
}

Test(worker_link, a_connection_that_broke_starts_anew_without_credit)
{
    start(true);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    assert_hello(3);
    give_credit(3, 5);
    cr_assert_eq(send_step(3, 1), BASE_OK);
    assert_step(1);
    net_close(&other);
    struct net_poll_item lost = {.socket = worker_link_socket(link_), .watch = true};
    cr_assert_eq(net_poll(&lost, 1, 5000), 1);
    worker_link_service(link_);
    cr_assert_eq(send_step(3, 2), BASE_OK);
    bind_other();
    assert_hello(3);
    cr_assert_eq(heard(100), 0);
    give_credit(3, 1);
    assert_step(2);
    stop();
}

Test(worker_link, pointing_nowhere_keeps_what_waits_for_the_epoch)
{
    start(false);
    worker_link_point(link_, 3, &(struct worker_hop){"", ""});
    cr_assert_null(worker_link_socket(link_));
    cr_assert_eq(send_step(3, 1), BASE_OK);
    worker_link_service(link_);
    worker_link_point(link_, 3, &(struct worker_hop){endpoint, ""});
    assert_hello(3);
    assert_step(1);
    worker_link_point(link_, 0, NULL);
    cr_assert_null(worker_link_socket(link_));
    stop();
}
