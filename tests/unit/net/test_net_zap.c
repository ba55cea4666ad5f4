/* Encrypted sockets: who gets in, and that nobody does when something is broken. */
#include "net_internal.h"
#include "net_testing.h"
#include <string.h>
#include <zmq.h>

static struct net_key server_key, worker_key, stranger_key;
static struct net_context *context;
static struct net_socket *router;

static void make_keys(void)
{
    cr_assert_eq(net_key_make(&server_key, NULL), BASE_OK);
    cr_assert_eq(net_key_make(&worker_key, NULL), BASE_OK);
    cr_assert_eq(net_key_make(&stranger_key, NULL), BASE_OK);
}

static void admit(enum wire_role role, const char *name)
{
    struct wire_admitted row = {.role = role};

    memcpy(row.public_key, worker_key.public_key, LIMIT_KEY_BYTES);
    memcpy(row.name, name, strlen(name) + 1);
    cr_assert_eq(net_admit(context, &row, 1), BASE_OK);
}

static void start(void)
{
    struct base_error err = {0};

    make_keys();
    cr_assert_eq(net_context_new(&context, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_context_secure(context, &server_key, true, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_refusals(context, NET_REFUSED_KEY), 0, "the self-test's stranger was counted");
    admit(WIRE_ROLE_WORKER, "w-1");
    cr_assert_eq(net_bind(context, NET_PLANE_CONTROL, "tcp://127.0.0.1:*", &router, &err), BASE_OK,
        "%s", err.text);
    cr_assert(router->is_secure);
}

static void stop(void)
{
    net_close(&router);
    net_context_destroy(&context);
}

TestSuite(net_zap, .init = start, .fini = stop);

static struct net_socket *connect_as(const struct net_key *key)
{
    struct net_socket *socket = NULL;
    struct base_error err = {0};

    cr_assert_eq(net_connect_as(context, NET_PLANE_CONTROL, net_endpoint(router), key,
                     server_key.public_key, &socket, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(net_watch(socket, &err), BASE_OK);
    return socket;
}

static void send_heartbeat(struct net_socket *socket, const char *name)
{
    struct wire_message message = {
        .kind = WIRE_HEARTBEAT, .heartbeat = {.incarnation = 1, .state = WIRE_WORKER_READY}};

    (void)snprintf(message.heartbeat.node_id, LIMIT_NAME_BYTES, "%s", name);
    cr_assert_eq(net_send(socket, NULL, &message, NULL, NULL), BASE_OK);
}

/* Lets the router look until reason was counted. */
static void refused_soon(enum net_refusal reason)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_poll_item item = {.socket = router};
    struct net_inbound inbound;

    while (net_refusals(context, reason) == 0) {
        cr_assert_neq(net_receive(router, &inbound), BASE_OK, "a message was let in");
        cr_assert_lt(base_clock_ms(), end_ms, "no %s was counted", net_refusal_name(reason));
        (void)net_poll(&item, 1, 10);
    }
}

static void expect_denied(struct net_socket *socket)
{
    struct net_inbound inbound;

    receive_soon(socket, &inbound);
    cr_assert_eq(inbound.message.kind, WIRE_ERROR);
    cr_assert_eq(inbound.message.error.code, BASE_DENIED, "%s", inbound.message.error.text);
    net_inbound_release(&inbound);
}

Test(net_zap, an_admitted_key_is_known_by_its_name)
{
    struct net_socket *dealer = connect_as(&worker_key);
    struct net_inbound inbound;

    watch_soon(dealer, 0, 1);
    send_heartbeat(dealer, "w-1");
    receive_soon(router, &inbound);
    cr_assert_eq(inbound.who.role, WIRE_ROLE_WORKER);
    cr_assert_str_eq(inbound.who.name, "w-1");
    cr_assert_str_eq(inbound.who.public_key, worker_key.public_key);
    net_inbound_release(&inbound);
    net_close(&dealer);
}

static void expect_refused_entry(struct net_socket *dealer)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_poll_item item = {.socket = dealer, .watch = true};

    while (!net_was_refused(dealer)) {
        unsigned connected = 0;
        cr_assert_lt(base_clock_ms(), end_ms, "no refusal came");
        (void)net_poll(&item, 1, 100);
        (void)net_watch_take(dealer, &connected);
        cr_assert_eq(connected, 0, "it was let in");
    }
}

Test(net_zap, a_stranger_is_refused_and_counted)
{
    struct net_socket *dealer = connect_as(&stranger_key);

    expect_refused_entry(dealer);
    cr_assert_geq(net_refusals(context, NET_REFUSED_KEY), 1);
    net_close(&dealer);
}

Test(net_zap, a_role_without_business_on_a_plane_is_refused)
{
    admit(WIRE_ROLE_CLIENT, "c");
    struct net_socket *dealer = connect_as(&worker_key);

    expect_refused_entry(dealer);
    net_close(&dealer);
}

Test(net_zap, no_key_and_a_wrong_server_key_are_refused)
{
    struct net_context *plain = NULL;
    struct net_socket *dealer = NULL;

    cr_assert_eq(net_context_new_library(&plain, NULL), BASE_OK);
    net_context_allow_plain(plain);
    cr_assert_eq(
        net_connect(plain, NET_PLANE_CONTROL, net_endpoint(router), NULL, &dealer, NULL), BASE_OK);
    refused_soon(NET_REFUSED_HANDSHAKE);
    net_close(&dealer);
    net_context_destroy(&plain);

    const uint64_t before = net_refusals(context, NET_REFUSED_HANDSHAKE);
    cr_assert_eq(net_connect_as(context, NET_PLANE_CONTROL, net_endpoint(router), &worker_key,
                     stranger_key.public_key, &dealer, NULL),
        BASE_OK);
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;
    struct net_inbound inbound;
    while (net_refusals(context, NET_REFUSED_HANDSHAKE) == before) {
        cr_assert_neq(net_receive(router, &inbound), BASE_OK);
        cr_assert_lt(base_clock_ms(), end_ms);
        (void)net_poll(NULL, 0, 10);
    }
    net_close(&dealer);
}

Test(net_zap, anothers_name_is_refused)
{
    struct net_socket *dealer = connect_as(&worker_key);

    watch_soon(dealer, 0, 1);
    send_heartbeat(dealer, "w-2");
    refused_soon(NET_REFUSED_NAME);
    expect_denied(dealer);
    net_close(&dealer);
}

Test(net_zap, another_roles_message_is_refused)
{
    struct net_socket *dealer = connect_as(&worker_key);
    const struct wire_message message = {.kind = WIRE_STATUS_QUERY};

    watch_soon(dealer, 0, 1);
    cr_assert_eq(net_send(dealer, NULL, &message, NULL, NULL), BASE_OK);
    refused_soon(NET_REFUSED_ROLE);
    expect_denied(dealer);
    net_close(&dealer);
}

Test(net_zap, a_revoked_key_is_not_heard_on_its_old_connection)
{
    struct net_socket *dealer = connect_as(&worker_key);
    struct net_inbound inbound;

    watch_soon(dealer, 0, 1);
    send_heartbeat(dealer, "w-1");
    receive_soon(router, &inbound);
    net_inbound_release(&inbound);
    cr_assert_eq(net_admit(context, NULL, 0), BASE_OK);
    send_heartbeat(dealer, "w-1");
    refused_soon(NET_REFUSED_REVOKED);
    expect_denied(dealer);
    net_close(&dealer);
}

Test(net_zap, what_is_no_key_is_not_admitted)
{
    struct wire_admitted row = {.role = WIRE_ROLE_WORKER, .public_key = "short"};

    cr_assert_eq(net_admit(context, &row, 1), BASE_INVALID);
    cr_assert_eq(net_admit(context, &row, LIMIT_KEYS_MAX + 1), BASE_TOO_BIG);
}

Test(net_zap, a_tcp_connection_needs_the_servers_key)
{
    struct net_socket *dealer = NULL;
    struct base_error err = {0};

    cr_assert_eq(net_connect(context, NET_PLANE_CONTROL, net_endpoint(router), "", &dealer, &err),
        BASE_DENIED);
    cr_assert_null(dealer);
}

Test(net_zap_closed, tcp_without_a_key_is_refused)
{
    struct net_context *bare = NULL;
    struct net_socket *socket = NULL;
    struct base_error err = {0};

    cr_assert_eq(net_context_new(&bare, &err), BASE_OK);
    cr_assert_eq(
        net_bind(bare, NET_PLANE_CONTROL, "tcp://127.0.0.1:*", &socket, &err), BASE_DENIED);
    cr_assert_eq(net_connect(bare, NET_PLANE_CONTROL, "tcp://127.0.0.1:9", NULL, &socket, &err),
        BASE_DENIED);
    net_context_destroy(&bare);
}

/* The handler was never started: the test at the start must notice. */
Test(net_zap_closed, the_self_test_fails_without_the_handler)
{
    struct net_context *bare = NULL;
    struct base_error err = {0};

    make_keys();
    cr_assert_eq(net_context_new(&bare, &err), BASE_OK);
    bare->key = server_key;
    cr_assert_eq(net_zap_self_test(bare, &err), BASE_INTERNAL);
    cr_assert(strstr(err.text, "does not answer") != NULL, "%s", err.text);
    net_context_destroy(&bare);
}

static void *let_everybody_in(void *zmq)
{
    char frame[256];
    char id[256];

    for (;;) {
        int count = 0, more = 1, id_bytes = 0;
        size_t bytes = sizeof(more);
        while (more != 0) {
            const int got = zmq_recv(zmq, count == 1 ? id : frame, sizeof(frame), 0);
            if (got < 0) {
                (void)zmq_close(zmq);
                return NULL;
            }
            if (count++ == 1)
                id_bytes = got;
            (void)zmq_getsockopt(zmq, ZMQ_RCVMORE, &more, &bytes);
        }
        (void)zmq_send(zmq, "1.0", 3, ZMQ_SNDMORE);
        (void)zmq_send(zmq, id, (size_t)id_bytes, ZMQ_SNDMORE);
        (void)zmq_send(zmq, "200", 3, ZMQ_SNDMORE);
        (void)zmq_send(zmq, "OK", 2, ZMQ_SNDMORE);
        (void)zmq_send(zmq, "anybody", 7, ZMQ_SNDMORE);
        (void)zmq_send(zmq, "", 0, 0);
    }
}

/* A handler that lets everybody in: the test at the start must notice, too. */
Test(net_zap_closed, the_self_test_fails_with_an_open_handler)
{
    struct net_context *bare = NULL;
    struct base_error err = {0};
    pthread_t thread;

    make_keys();
    cr_assert_eq(net_context_new(&bare, &err), BASE_OK);
    bare->key = server_key;
    void *zmq = zmq_socket(bare->zmq, ZMQ_REP);
    cr_assert_eq(zmq_bind(zmq, "inproc://zeromq.zap.01"), 0);
    cr_assert_eq(pthread_create(&thread, NULL, let_everybody_in, zmq), 0);
    cr_assert_eq(net_zap_self_test(bare, &err), BASE_INTERNAL);
    cr_assert(strstr(err.text, "random key was not refused") != NULL, "%s", err.text);
    (void)zmq_ctx_shutdown(bare->zmq);
    (void)pthread_join(thread, NULL);
    net_context_destroy(&bare);
}

Test(net_zap_closed, keys_as_text)
{
    struct net_key key, derived = {{0}};
    char hex[NET_KEY_HEX_BYTES], back[LIMIT_KEY_BYTES];

    cr_assert_eq(net_key_make(&key, NULL), BASE_OK);
    memcpy(derived.secret_key, key.secret_key, LIMIT_KEY_BYTES);
    cr_assert_eq(net_key_derive(&derived, NULL), BASE_OK);
    cr_assert_str_eq(derived.public_key, key.public_key);
    net_key_to_hex(key.public_key, hex);
    cr_assert_eq(strlen(hex), 64);
    cr_assert(net_key_from_hex(hex, back));
    cr_assert_str_eq(back, key.public_key);
    hex[5] = 'g';
    cr_assert_not(net_key_from_hex(hex, back));
    derived.secret_key[3] = '"';
    cr_assert_eq(net_key_derive(&derived, NULL), BASE_INVALID);
    cr_assert(net_name_fits("w-*", "w-7"));
    cr_assert(net_name_fits("*", "anything"));
    cr_assert_not(net_name_fits("*", ""));
    cr_assert_not(net_name_fits("w-*", "v-7"));
    cr_assert_not(net_name_fits("w-1", "w-11"));
}
