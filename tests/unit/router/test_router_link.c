#include <criterion/criterion.h>
#include <string.h>

#include "base_clock.h"
#include "router_link.h"

TestSuite(router_link);

#define WAIT_MS 5000u

struct pair {
    struct net_context *context;
    struct net_socket *stage;
    struct router_link link;
    struct net_inbound inbound; /* newest at the stage */
    uint32_t credited;
};

static struct pair pair_new(void)
{
    struct pair pair = {0};
    struct base_error err = {0};
    cr_assert_eq(net_context_new(&pair.context, &err), BASE_OK, "%s", err.text);
    net_context_allow_plain(pair.context);
    cr_assert_eq(
        net_bind(pair.context, NET_PLANE_DATA, "tcp://127.0.0.1:*", &pair.stage, &err), BASE_OK);
    router_link_init(&pair.link, pair.context, "router-a", 11);
    return pair;
}

static void pair_release(struct pair *self)
{
    router_link_release(&self->link);
    net_close(&self->stage);
    net_context_destroy(&self->context);
}

static void service(struct pair *self)
{
    uint32_t count;
    struct net_poll_item items[3] = {{.socket = self->stage}, {.socket = self->link.socket},
        {.socket = self->link.socket, .watch = true}};
    (void)net_poll(items, self->link.socket == NULL ? 1 : 3, 10);
    router_link_service(&self->link, &count);
    self->credited += count;
}

/* The next message at the stage. */
static enum wire_kind stage_gets(struct pair *self)
{
    uint64_t end_ms = base_clock_ms() + WAIT_MS;
    while (base_clock_ms() < end_ms) {
        service(self);
        if (net_receive(self->stage, &self->inbound) == BASE_OK) {
            enum wire_kind kind = self->inbound.message.kind;
            if (kind == WIRE_LINK_HELLO)
                cr_assert_eq(self->inbound.message.link_hello.epoch, self->link.epoch);
            net_inbound_release(&self->inbound);
            return kind;
        }
    }
    return 0;
}

static void give_credit(struct pair *self, uint64_t epoch, uint32_t count)
{
    struct wire_message credit = {.kind = WIRE_CREDIT, .credit = {.epoch = epoch, .count = count}};
    struct base_error err = {0};
    cr_assert_eq(net_send(self->stage, &self->inbound.from, &credit, NULL, &err), BASE_OK);
}

static void wait_for_credit(struct pair *self, uint32_t count)
{
    uint64_t end_ms = base_clock_ms() + WAIT_MS;
    while (self->credited < count && base_clock_ms() < end_ms)
        service(self);
    cr_assert_eq(self->credited, count);
}

static bool send_step(struct pair *self, uint64_t epoch)
{
    struct wire_message step = {.kind = WIRE_STEP, .step = {.epoch = epoch, .batch_id = 1}};
    return router_link_send(&self->link, &step, NULL, 0);
}

Test(router_link, greets_then_sends_as_much_as_it_has_credit_for)
{
    struct pair pair = pair_new();
    cr_assert_not(send_step(&pair, 3), "it points nowhere");
    router_link_point(&pair.link, 3, net_endpoint(pair.stage), NULL);
    cr_assert_not(send_step(&pair, 3));
    cr_assert_eq(stage_gets(&pair), WIRE_LINK_HELLO);
    cr_assert_not(send_step(&pair, 3), "no credit yet");
    give_credit(&pair, 2, 9); /* of another epoch */
    give_credit(&pair, 3, 2);
    wait_for_credit(&pair, 2);
    cr_assert(send_step(&pair, 3));
    cr_assert(send_step(&pair, 3));
    cr_assert_not(send_step(&pair, 3));
    cr_assert_eq(stage_gets(&pair), WIRE_STEP);
    cr_assert_eq(stage_gets(&pair), WIRE_STEP);
    pair_release(&pair);
}

Test(router_link, a_new_epoch_greets_again_and_keeps_no_credit)
{
    struct pair pair = pair_new();
    router_link_point(&pair.link, 3, net_endpoint(pair.stage), NULL);
    cr_assert_eq(stage_gets(&pair), WIRE_LINK_HELLO);
    give_credit(&pair, 3, 2);
    wait_for_credit(&pair, 2);
    router_link_point(&pair.link, 4, net_endpoint(pair.stage), NULL);
    cr_assert_not(send_step(&pair, 4));
    cr_assert_eq(stage_gets(&pair), WIRE_LINK_HELLO);
    give_credit(&pair, 4, 1);
    wait_for_credit(&pair, 3);
    cr_assert(send_step(&pair, 4));
    router_link_point(&pair.link, 4, NULL, NULL);
    cr_assert_null(pair.link.socket);
    cr_assert_not(send_step(&pair, 4));
    pair_release(&pair);
}

Test(router_link, a_connection_that_comes_back_starts_without_credit)
{
    struct pair pair = pair_new();
    struct base_error err = {0};
    char endpoint[LIMIT_ENDPOINT_BYTES];
    router_link_point(&pair.link, 3, net_endpoint(pair.stage), NULL);
    cr_assert_eq(stage_gets(&pair), WIRE_LINK_HELLO);
    give_credit(&pair, 3, 2);
    wait_for_credit(&pair, 2);
    memcpy(endpoint, net_endpoint(pair.stage), strlen(net_endpoint(pair.stage)) + 1);
    net_close(&pair.stage);
    uint64_t end_ms = base_clock_ms() + WAIT_MS;
    while (pair.link.connected && base_clock_ms() < end_ms) {
        uint32_t count;
        struct net_poll_item item = {.socket = pair.link.socket, .watch = true};
        (void)net_poll(&item, 1, 10);
        router_link_service(&pair.link, &count);
    }
    cr_assert_not(send_step(&pair, 3));
    int rc = BASE_IO;
    while (rc != BASE_OK && base_clock_ms() < end_ms)
        rc = net_bind(pair.context, NET_PLANE_DATA, endpoint, &pair.stage, &err);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_eq(stage_gets(&pair), WIRE_LINK_HELLO);
    cr_assert_not(send_step(&pair, 3));
    pair_release(&pair);
}
