/*
 * The handler that decides about keys (ZeroMQ's ZAP, RFC 27), and the test that it does. Closed by
 * default: a socket that libzmq cannot ask the handler about refuses (option 93 below), and a key
 * that is not admitted is refused. The domain of a socket is its plane.
 */
#include "net_internal.h"

#include "base_clock.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

#define ZAP_ENDPOINT   "inproc://zeromq.zap.01"
#define SELF_TEST_MS   10000
#define REQUEST_FRAMES 7 /* version, id, domain, address, identity, mechanism, key */
#define KEY_RAW_BYTES  32
#define FIELD_BYTES    256

/* libzmq 4.3.4 has it and Debian's header hides it among the drafts: no handler, no entry. */
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif

static const char *const domains[] = {
    [NET_PLANE_CONTROL] = "control",
    [NET_PLANE_DATA] = "data",
    [NET_PLANE_CLIENT] = "client",
};

/* Which roles have anything to say on a plane. */
static bool role_belongs(const char *domain, enum wire_role role)
{
    if (strcmp(domain, domains[NET_PLANE_CONTROL]) == 0)
        return role == WIRE_ROLE_WORKER || role == WIRE_ROLE_ROUTER || role == WIRE_ROLE_ADMIN ||
               role == WIRE_ROLE_JOIN;
    if (strcmp(domain, domains[NET_PLANE_DATA]) == 0)
        return role == WIRE_ROLE_WORKER || role == WIRE_ROLE_ROUTER;
    return strcmp(domain, domains[NET_PLANE_CLIENT]) == 0 &&
           (role == WIRE_ROLE_CLIENT || role == WIRE_ROLE_ADMIN);
}

struct request {
    char id[FIELD_BYTES];
    char domain[FIELD_BYTES];
    char address[FIELD_BYTES];
    char mechanism[FIELD_BYTES];
    uint8_t key[KEY_RAW_BYTES];
    size_t id_bytes, key_bytes;
    bool is_whole;
};

/* Reads one frame whole or cut, NUL-terminated. Returns its size, or -1 with errno. */
static int take(void *zmq, void *out, size_t capacity)
{
    zmq_msg_t frame;
    int bytes;

    (void)zmq_msg_init(&frame);
    do
        bytes = zmq_msg_recv(&frame, zmq, 0);
    while (bytes < 0 && errno == EINTR);
    if (bytes >= 0) {
        const size_t kept = (size_t)bytes < capacity ? (size_t)bytes : capacity;
        memcpy(out, zmq_msg_data(&frame), kept);
    }
    (void)zmq_msg_close(&frame);
    return bytes;
}

static bool has_more(void *zmq)
{
    int more = 0;
    size_t bytes = sizeof(more);

    return zmq_getsockopt(zmq, ZMQ_RCVMORE, &more, &bytes) == 0 && more != 0;
}

/* Returns false when the context ends. */
static bool take_request(void *zmq, struct request *ret)
{
    char version[FIELD_BYTES] = "", identity[FIELD_BYTES], surplus[1];
    struct {
        void *data;
        size_t capacity;
        int bytes;
    } fields[REQUEST_FRAMES] = {{version, FIELD_BYTES - 1}, {ret->id, FIELD_BYTES - 1},
        {ret->domain, FIELD_BYTES - 1}, {ret->address, FIELD_BYTES - 1},
        {identity, FIELD_BYTES - 1}, {ret->mechanism, FIELD_BYTES - 1}, {ret->key, KEY_RAW_BYTES}};
    size_t count = 0;

    memset(ret, 0, sizeof(*ret));
    do {
        const bool is_kept = count < REQUEST_FRAMES;
        const int bytes = take(zmq, is_kept ? fields[count].data : surplus,
            is_kept ? fields[count].capacity : sizeof(surplus));
        if (bytes < 0)
            return false;
        if (is_kept)
            fields[count].bytes = bytes;
        count++;
    } while (has_more(zmq));
    ret->id_bytes = (size_t)fields[1].bytes < FIELD_BYTES ? (size_t)fields[1].bytes : 0;
    ret->key_bytes = (size_t)fields[6].bytes;
    ret->is_whole = count == REQUEST_FRAMES && strcmp(version, "1.0") == 0;
    return true;
}

/* Z85 of the key when it is admitted, else "". */
static void judge(
    struct net_context *self, const struct request *request, char ret[LIMIT_KEY_BYTES])
{
    struct net_sender sender;
    char key[LIMIT_KEY_BYTES];

    ret[0] = 0;
    if (!request->is_whole || strcmp(request->mechanism, "CURVE") != 0 ||
        request->key_bytes != KEY_RAW_BYTES ||
        zmq_z85_encode(key, request->key, KEY_RAW_BYTES) == NULL)
        return;
    (void)pthread_mutex_lock(&self->admission.lock);
    const bool is_test = self->self_test_key[0] != 0 && strcmp(key, self->self_test_key) == 0;
    (void)pthread_mutex_unlock(&self->admission.lock);
    if (is_test || (net_admission_find(&self->admission, key, &sender) &&
                       role_belongs(request->domain, sender.role)))
        memcpy(ret, key, sizeof(key));
}

/* "400", so that the peer is told; on "300" libzmq would leave it waiting for its timeout. */
static void answer(void *zmq, const struct request *request, const char *user)
{
    const char *code = user[0] != 0 ? "200" : "400";
    const char *text = user[0] != 0 ? "OK" : "key is not admitted";
    int rc = zmq_send(zmq, "1.0", 3, ZMQ_SNDMORE);

    if (rc >= 0)
        rc = zmq_send(zmq, request->id, request->id_bytes, ZMQ_SNDMORE);
    if (rc >= 0)
        rc = zmq_send(zmq, code, strlen(code), ZMQ_SNDMORE);
    if (rc >= 0)
        rc = zmq_send(zmq, text, strlen(text), ZMQ_SNDMORE);
    if (rc >= 0)
        rc = zmq_send(zmq, user, strlen(user), ZMQ_SNDMORE);
    if (rc >= 0)
        (void)zmq_send(zmq, "", 0, 0);
}

static void *zap_main(void *context)
{
    struct net_context *self = context;
    struct request request;
    char user[LIMIT_KEY_BYTES];
    char text[FIELD_BYTES + 64];

    while (take_request(self->zap, &request)) {
        judge(self, &request, user);
        if (user[0] == 0 && !atomic_load(&self->is_testing)) {
            (void)snprintf(text, sizeof(text), "from=%.64s plane=%.16s mechanism=%.16s",
                request.address, request.domain, request.mechanism);
            net_refuse_count(self, NET_REFUSED_KEY, text);
        }
        answer(self->zap, &request, user);
    }
    (void)zmq_close(self->zap);
    return NULL;
}

int net_zap_start(struct net_context *self, struct base_error *err)
{
    const int zero = 0;
    sigset_t all, old;

    self->zap = zmq_socket(self->zmq, ZMQ_REP);
    if (self->zap == NULL || zmq_setsockopt(self->zap, ZMQ_LINGER, &zero, sizeof(zero)) != 0 ||
        zmq_bind(self->zap, ZAP_ENDPOINT) != 0)
        goto fail;
    /* Whatever the process does with signals, none is delivered to this thread. */
    sigfillset(&all);
    int code = pthread_sigmask(SIG_SETMASK, &all, &old);
    if (code == 0) {
        code = pthread_create(&self->zap_thread, NULL, zap_main, self);
        (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (code == 0) {
        self->has_zap = true;
        return BASE_OK;
    }
    errno = code;
fail:
    (void)base_error_set(err, BASE_IO, "start the handler of keys: %s", zmq_strerror(errno));
    if (self->zap != NULL)
        (void)zmq_close(self->zap);
    self->zap = NULL;
    return BASE_IO;
}

void net_zap_stop(struct net_context *self)
{
    if (!self->has_zap)
        return;
    (void)zmq_ctx_shutdown(self->zmq); /* ends its wait */
    (void)pthread_join(self->zap_thread, NULL);
    self->has_zap = false;
}

int net_curve_serve(
    const struct net_context *self, void *zmq, enum net_plane plane, struct base_error *err)
{
    const int one = 1;
    const char *domain = domains[plane];
    int enforced = 0;
    size_t bytes = sizeof(enforced);

    /* The domain must not be empty, or libzmq asks nobody and lets everybody in. */
    if (zmq_setsockopt(zmq, ZMQ_CURVE_SERVER, &one, sizeof(one)) != 0 ||
        zmq_setsockopt(zmq, ZMQ_CURVE_SECRETKEY, self->key.secret_key, LIMIT_KEY_BYTES) != 0 ||
        zmq_setsockopt(zmq, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) != 0 ||
        zmq_setsockopt(zmq, ZMQ_ZAP_ENFORCE_DOMAIN, &one, sizeof(one)) != 0 ||
        zmq_getsockopt(zmq, ZMQ_ZAP_ENFORCE_DOMAIN, &enforced, &bytes) != 0)
        return base_error_set(err, BASE_IO, "encrypt: %s", zmq_strerror(errno));
    if (enforced != 1)
        return base_error_set(
            err, BASE_INTERNAL, "libzmq does not enforce that keys are checked: not started");
    return BASE_OK;
}

int net_curve_connect(
    void *zmq, const struct net_key *own, const char *server_key, struct base_error *err)
{
    if (zmq_setsockopt(zmq, ZMQ_CURVE_SERVERKEY, server_key, LIMIT_KEY_BYTES) != 0 ||
        zmq_setsockopt(zmq, ZMQ_CURVE_PUBLICKEY, own->public_key, LIMIT_KEY_BYTES) != 0 ||
        zmq_setsockopt(zmq, ZMQ_CURVE_SECRETKEY, own->secret_key, LIMIT_KEY_BYTES) != 0)
        return base_error_set(err, BASE_IO, "encrypt: %s", zmq_strerror(errno));
    return BASE_OK;
}

/* ---- self-test ---- */

/* What became of the handshake: 1 let in, 0 refused, -1 nothing within the time. */
static int wait_for_verdict(void *monitor)
{
    const uint64_t end_ms = base_clock_ms() + SELF_TEST_MS;

    for (uint64_t now_ms; (now_ms = base_clock_ms()) < end_ms;) {
        zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
        uint8_t head[6];
        uint16_t event;
        char address[1];
        if (zmq_poll(&item, 1, (long)(end_ms - now_ms)) <= 0)
            continue;
        if (zmq_recv(monitor, head, sizeof(head), 0) != sizeof(head))
            return -1;
        (void)zmq_recv(monitor, address, sizeof(address), 0);
        memcpy(&event, head, sizeof(event));
        return event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED ? 1 : 0;
    }
    return -1;
}

/* Tries to get into a socket of ours with a key. */
static int knock(struct net_context *self, const struct net_key *key, struct base_error *err)
{
    void *server = zmq_socket(self->zmq, ZMQ_ROUTER), *client = zmq_socket(self->zmq, ZMQ_DEALER),
         *monitor = zmq_socket(self->zmq, ZMQ_PAIR);
    const int zero = 0;
    uint64_t number = 0;
    char endpoint[96], watch[96];
    int verdict = -1;

    (void)!getrandom(&number, sizeof(number), 0);
    (void)snprintf(
        endpoint, sizeof(endpoint), "ipc://@layermesh-%ld-%016" PRIx64, (long)getpid(), number);
    (void)snprintf(watch, sizeof(watch), "inproc://self-test-%016" PRIx64, number);
    if (server != NULL && client != NULL && monitor != NULL &&
        zmq_setsockopt(server, ZMQ_LINGER, &zero, sizeof(zero)) == 0 &&
        zmq_setsockopt(client, ZMQ_LINGER, &zero, sizeof(zero)) == 0 &&
        net_curve_serve(self, server, NET_PLANE_CONTROL, err) == BASE_OK &&
        net_curve_connect(client, key, self->key.public_key, err) == BASE_OK &&
        zmq_socket_monitor(client, watch,
            ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                ZMQ_EVENT_DISCONNECTED) == 0 &&
        zmq_connect(monitor, watch) == 0 && zmq_bind(server, endpoint) == 0 &&
        zmq_connect(client, endpoint) == 0)
        verdict = wait_for_verdict(monitor);
    if (client != NULL) {
        (void)zmq_socket_monitor(client, NULL, 0);
        (void)zmq_close(client);
    }
    if (monitor != NULL)
        (void)zmq_close(monitor);
    if (server != NULL)
        (void)zmq_close(server);
    return verdict;
}

static int test(struct net_context *self, struct base_error *err)
{
    struct net_key stranger;
    struct base_error why = {0};
    int rc = net_key_make(&stranger, err);

    if (rc != BASE_OK)
        return rc;
    if (knock(self, &stranger, &why) != 0)
        return base_error_set(err, BASE_INTERNAL,
            "self-test: a random key was not refused%s%s; no socket is opened",
            why.text[0] != 0 ? ": " : "", why.text);
    (void)pthread_mutex_lock(&self->admission.lock);
    memcpy(self->self_test_key, self->key.public_key, LIMIT_KEY_BYTES);
    (void)pthread_mutex_unlock(&self->admission.lock);
    const int verdict = knock(self, &self->key, &why);
    (void)pthread_mutex_lock(&self->admission.lock);
    self->self_test_key[0] = 0;
    (void)pthread_mutex_unlock(&self->admission.lock);
    if (verdict != 1)
        return base_error_set(err, BASE_INTERNAL,
            "self-test: the handler of keys does not answer%s%s; no socket is opened",
            why.text[0] != 0 ? ": " : "", why.text);
    return BASE_OK;
}

int net_zap_self_test(struct net_context *self, struct base_error *err)
{
    atomic_store(&self->is_testing, true);
    const int rc = test(self, err);
    atomic_store(&self->is_testing, false);
    return rc;
}
