#include "base_alloc.h"
#include "net_testing.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Test(net_socket, wildcard_ports_are_resolved)
{
    struct net_context *context = new_context();
    struct net_socket *one = new_router(context, NET_PLANE_DATA);
    struct net_socket *two = new_router(context, NET_PLANE_DATA);

    cr_assert_eq(strncmp(net_endpoint(one), "tcp://127.0.0.1:", 16), 0);
    cr_assert_null(strchr(net_endpoint(one), '*'));
    cr_assert_str_neq(net_endpoint(one), net_endpoint(two));
    net_close(&one);
    net_close(&two);
    net_close(&two);
    net_context_destroy(&context);
}

Test(net_socket, endpoints_that_cannot_be_opened_say_so)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA), *socket = NULL;
    struct base_error err = {0};

    cr_assert_eq(net_bind(context, NET_PLANE_DATA, net_endpoint(router), &socket, &err), BASE_IO);
    cr_assert(strstr(err.text, net_endpoint(router)) != NULL, "%s", err.text);
    cr_assert_eq(
        net_bind(context, NET_PLANE_DATA, "udp://127.0.0.1:1", &socket, &err), BASE_INVALID);
    cr_assert_eq(
        net_bind(context, NET_PLANE_DATA, "ipc://no/such/folder/s", &socket, &err), BASE_IO);
    cr_assert_eq(
        net_connect(context, NET_PLANE_DATA, "tcp://127.0.0.1", NULL, &socket, &err), BASE_INVALID);
    cr_assert_null(socket);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_socket, memory_may_fail_while_opening)
{
    struct net_context *context = new_context();
    struct net_socket *socket = NULL;

    base_alloc_fail_from(1);
    cr_assert_eq(net_bind(context, NET_PLANE_DATA, "tcp://127.0.0.1:*", &socket, NULL), BASE_NOMEM);
    struct net_context *other = NULL;
    cr_assert_eq(net_context_new_library(&other, NULL), BASE_NOMEM);
    cr_assert_eq(net_context_new(&other, NULL), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(socket);
    cr_assert_null(other);
    net_context_destroy(&context);
}

/* A closed socket gives its port back in ZeroMQ's own time. */
static void bind_again(struct net_context *context, enum net_plane plane, const char *endpoint,
    struct net_socket **ret_socket)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;

    while (net_bind(context, plane, endpoint, ret_socket, NULL) != BASE_OK)
        cr_assert_lt(base_clock_ms(), end_ms);
}

/* The watch may be a moment ahead of the socket. */
static void send_credit_soon(struct net_socket *dealer, uint64_t epoch)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_poll_item item = {.socket = dealer};

    while (send_credit(dealer, NULL, epoch) != BASE_OK) {
        cr_assert_lt(base_clock_ms(), end_ms);
        (void)net_poll(&item, 1, 1);
    }
}

Test(net_socket, sending_before_a_connection_is_refused_not_queued)
{
    struct net_context *context = new_context();
    struct net_socket *router = NULL, *dealer = NULL;
    char endpoint[LIMIT_ENDPOINT_BYTES];

    /* Never bound so far: a listener that is being closed still takes connections for a moment. */
    (void)snprintf(endpoint, sizeof(endpoint), "ipc://@layermesh-test-socket-%d", (int)getpid());
    cr_assert_eq(net_connect(context, NET_PLANE_CONTROL, endpoint, NULL, &dealer, NULL), BASE_OK);
    for (uint64_t i = 0; i < 20; i++)
        cr_assert_eq(send_credit(dealer, NULL, i), BASE_AGAIN);
    cr_assert_eq(net_watch(dealer, NULL), BASE_OK);
    bind_again(context, NET_PLANE_CONTROL, endpoint, &router);
    watch_soon(dealer, 0, 1);
    send_credit_soon(dealer, 99);
    (void)expect_credit(router, 99); /* none of the twenty comes late */
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_socket, a_watch_tells_of_connections_made_and_lost)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_CONTROL);
    struct net_poll_item item = {.socket = router, .watch = true};

    cr_assert_eq(net_watch(router, NULL), BASE_OK);
    cr_assert_eq(net_watch(router, NULL), BASE_OK);
    cr_assert_eq(net_poll(&item, 1, 0), 0);
    cr_assert_eq(net_watch_take(router, NULL), 0);
    struct net_socket *one = new_dealer(context, NET_PLANE_CONTROL, net_endpoint(router));
    watch_soon(router, 0, 1);
    struct net_socket *two = new_dealer(context, NET_PLANE_CONTROL, net_endpoint(router));
    watch_soon(router, 0, 1);
    cr_assert_eq(send_credit(one, NULL, 1), BASE_OK);
    const struct net_peer gone = expect_credit(router, 1);
    net_close(&one);
    watch_soon(router, 1, 0);
    expect_refusal(router, &gone, BASE_UNREACHABLE);
    net_close(&two);
    watch_soon(router, 1, 0);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_socket, a_dealer_sees_its_router_go_and_come_back)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_DATA);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_DATA, net_endpoint(router));
    char endpoint[LIMIT_ENDPOINT_BYTES];

    (void)snprintf(endpoint, sizeof(endpoint), "%s", net_endpoint(router));
    net_close(&router);
    watch_soon(dealer, 1, 0);
    expect_refusal(dealer, NULL, BASE_AGAIN);
    bind_again(context, NET_PLANE_DATA, endpoint, &router);
    watch_soon(dealer, 0, 1);
    cr_assert_eq(send_credit(dealer, NULL, 2), BASE_OK);
    (void)expect_credit(router, 2);
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_socket, a_goodbye_leaves_before_the_socket_is_gone)
{
    struct net_context *here = new_context(), *there = NULL;
    struct net_socket *router = new_router(here, NET_PLANE_CONTROL);

    cr_assert_eq(net_context_new_library(&there, NULL), BASE_OK);
    struct net_socket *dealer = new_dealer(there, NET_PLANE_CONTROL, net_endpoint(router));
    struct wire_message goodbye = {.kind = WIRE_GOODBYE};
    (void)snprintf(goodbye.goodbye.node_id, LIMIT_NAME_BYTES, "w1");
    cr_assert_eq(net_send(dealer, NULL, &goodbye, NULL, NULL), BASE_OK);
    net_close(&dealer);
    net_context_destroy(&there);
    struct net_inbound inbound;
    receive_soon(router, &inbound);
    cr_assert_eq(inbound.message.kind, WIRE_GOODBYE);
    net_inbound_release(&inbound);
    net_close(&router);
    net_context_destroy(&here);
}
