#include "net_internal.h"

#include "base_alloc.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <zmq.h>

#define CONNECT_TIMEOUT_MS 3000
#define RECONNECT_MS       50
#define RECONNECT_MS_MAX   2000
#define LINGER_MS          500
/* All messages under credit, and the credits. Twice that: ZeroMQ learns that a message was read
 * half a queue at a time, so a queue may look full while it is half empty. */
#define DATA_MESSAGES_MAX (2 * (2 * LIMIT_BATCHES_IN_FLIGHT + 64))
#define MESSAGES_MAX      1000
#define ENCODE_BYTES_MAX  ((size_t)2 * LIMIT_CLIENT_BYTES)

struct option {
    int name;
    int value;
};

static int set_options(void *zmq, const struct option *options, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (zmq_setsockopt(zmq, options[i].name, &options[i].value, sizeof(int)) != 0)
            return -1;
    }
    return 0;
}

/* The largest frame that a peer may send us; a larger one costs it the connection. */
static int64_t frame_bytes_max(enum net_plane plane, bool is_router)
{
    if (plane == NET_PLANE_CONTROL)
        return LIMIT_CONTROL_BYTES;
    if (plane == NET_PLANE_CLIENT && is_router)
        return LIMIT_CLIENT_BYTES;
    return LIMIT_TENSOR_BYTES;
}

/* Every option of every socket. No ZMTP heartbeat and no TCP_MAXRT: both drop accepted messages
 * when a reader stalls. */
static int configure(const struct net_socket *self, bool is_ipv6)
{
    const int messages = self->plane == NET_PLANE_DATA ? DATA_MESSAGES_MAX : MESSAGES_MAX;
    const struct option options[] = {
        {ZMQ_LINGER, self->plane == NET_PLANE_DATA ? 0 : LINGER_MS},
        {ZMQ_SNDHWM, messages},
        {ZMQ_RCVHWM, messages},
        {ZMQ_HANDSHAKE_IVL, NET_HANDSHAKE_MS},
        {ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS},
        {ZMQ_RECONNECT_IVL, RECONNECT_MS},
        {ZMQ_RECONNECT_IVL_MAX, RECONNECT_MS_MAX},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 30},
        {ZMQ_TCP_KEEPALIVE_INTVL, 10},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
        {ZMQ_IPV6, is_ipv6 ? 1 : 0},
        /* ROUTER: an unreachable peer is an error. DEALER: nothing is queued for a dead peer. */
        {self->is_router ? ZMQ_ROUTER_MANDATORY : ZMQ_IMMEDIATE, 1},
    };
    const int64_t bytes = frame_bytes_max(self->plane, self->is_router);

    if (set_options(self->zmq, options, sizeof(options) / sizeof(options[0])) != 0)
        return -1;
    return zmq_setsockopt(self->zmq, ZMQ_MAXMSGSIZE, &bytes, sizeof(bytes));
}

static int bind_socket(struct net_socket *self, const char *endpoint,
    const struct net_endpoint *parsed, struct base_error *err)
{
    /* An abstract socket and a name that ZeroMQ picks cannot be in anyone's way. */
    const bool is_path = parsed->scheme == NET_SCHEME_IPC && parsed->host[0] != '@' &&
                         strcmp(parsed->host, "*") != 0;
    size_t bytes = sizeof(self->endpoint);

    if (is_path) {
        /* ZeroMQ itself would take the path away from a live process without a word. */
        const int rc = net_ipc_claim(parsed->host, err);
        if (rc != BASE_OK)
            return rc;
    }
    if (zmq_bind(self->zmq, endpoint) != 0)
        return base_error_set(err, BASE_IO, "bind %s: %s", endpoint, zmq_strerror(errno));
    if (is_path && chmod(parsed->host, S_IRUSR | S_IWUSR) != 0)
        return base_error_set(err, BASE_IO, "bind %s: %s", endpoint, strerror(errno));
    if (zmq_getsockopt(self->zmq, ZMQ_LAST_ENDPOINT, self->endpoint, &bytes) != 0)
        return base_error_set(err, BASE_IO, "bind %s: %s", endpoint, zmq_strerror(errno));
    return BASE_OK;
}

/* What a DEALER on TCP shows and expects. */
struct credentials {
    const struct net_key *own;
    const char *server_key; /* NULL or "": not known */
};

/* Encrypts, or makes sure that this need not be. */
static int protect(struct net_socket *self, enum net_scheme scheme, const char *endpoint,
    const struct credentials *credentials, struct base_error *err)
{
    const struct net_context *context = self->context;
    const struct net_key *own = credentials->own;

    if (scheme != NET_SCHEME_TCP)
        return BASE_OK;
    if (own == NULL && context->is_secure)
        own = &context->key;
    if (own == NULL && context->is_plain_allowed)
        return BASE_OK;
    if (own == NULL || (self->is_router && !context->serves))
        return base_error_set(err, BASE_DENIED, "%s: TCP without a key", endpoint);
    if (self->is_router) {
        self->is_secure = true;
        return net_curve_serve(context, self->zmq, self->plane, err);
    }
    if (credentials->server_key == NULL || credentials->server_key[0] == 0)
        return base_error_set(
            err, BASE_DENIED, "%s: the public key of who serves there is not known", endpoint);
    return net_curve_connect(self->zmq, own, credentials->server_key, err);
}

static int open_socket(struct net_context *context, enum net_plane plane, bool is_router,
    const char *endpoint, const struct credentials *credentials, struct net_socket **ret_socket,
    struct base_error *err)
{
    struct net_endpoint parsed;
    int rc = net_endpoint_parse(endpoint, &parsed, err);

    if (rc != BASE_OK)
        return rc;
    struct net_socket *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "open %s: no memory", endpoint);
    self->context = context;
    self->plane = plane;
    self->is_router = is_router;
    base_arena_init(&self->encode, ENCODE_BYTES_MAX);
    self->zmq = zmq_socket(context->zmq, is_router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (self->zmq == NULL) {
        rc = base_error_set(err, BASE_IO, "open %s: %s", endpoint, zmq_strerror(errno));
        goto fail;
    }
    atomic_fetch_add(&context->socket_count, 1);
    if (configure(self, parsed.is_ipv6) != 0) {
        rc = base_error_set(err, BASE_IO, "set up %s: %s", endpoint, zmq_strerror(errno));
        goto fail;
    }
    rc = protect(self, parsed.scheme, endpoint, credentials, err);
    if (rc != BASE_OK)
        goto fail;
    if (is_router) {
        if (parsed.scheme == NET_SCHEME_TCP) {
            /* Who comes is looked after from the start. */
            if (net_guard_new(&self->guard) != BASE_OK)
                rc = base_error_set(err, BASE_NOMEM, "open %s: no memory", endpoint);
            else
                rc = net_watch_start(self, err);
        }
        if (rc == BASE_OK && plane == NET_PLANE_CLIENT && net_unread_new(&self->unread) != BASE_OK)
            rc = base_error_set(err, BASE_NOMEM, "open %s: no memory", endpoint);
        if (rc == BASE_OK)
            rc = bind_socket(self, endpoint, &parsed, err);
    } else {
        memcpy(self->endpoint, endpoint, strlen(endpoint) + 1);
        rc = net_watch_start(self, err);
        if (rc == BASE_OK && zmq_connect(self->zmq, endpoint) != 0)
            rc = base_error_set(err, BASE_IO, "connect %s: %s", endpoint, zmq_strerror(errno));
    }
    if (rc != BASE_OK)
        goto fail;
    *ret_socket = self;
    return BASE_OK;
fail:
    net_close(&self);
    return rc;
}

int net_bind(struct net_context *context, enum net_plane plane, const char *endpoint,
    struct net_socket **ret_socket, struct base_error *err)
{
    const struct credentials none = {NULL, NULL};

    return open_socket(context, plane, true, endpoint, &none, ret_socket, err);
}

int net_connect(struct net_context *context, enum net_plane plane, const char *endpoint,
    const char *server_key, struct net_socket **ret_socket, struct base_error *err)
{
    const struct credentials credentials = {NULL, server_key};

    return open_socket(context, plane, false, endpoint, &credentials, ret_socket, err);
}

int net_connect_as(struct net_context *context, enum net_plane plane, const char *endpoint,
    const struct net_key *own, const char *server_key, struct net_socket **ret_socket,
    struct base_error *err)
{
    const struct credentials credentials = {own, server_key};

    return open_socket(context, plane, false, endpoint, &credentials, ret_socket, err);
}

void net_close(struct net_socket **self_p)
{
    struct net_socket *self = *self_p;

    if (self == NULL)
        return;
    if (self->monitor != NULL) {
        (void)zmq_socket_monitor(self->zmq, NULL, 0);
        (void)zmq_close(self->monitor);
    }
    if (self->zmq != NULL) {
        (void)zmq_close(self->zmq);
        atomic_fetch_sub(&self->context->socket_count, 1);
    }
    net_guard_destroy(&self->guard);
    net_unread_destroy(&self->unread);
    base_arena_release(&self->encode);
    base_free(self);
    *self_p = NULL;
}

const char *net_endpoint(const struct net_socket *self)
{
    return self->endpoint;
}

uint64_t net_refused_count(const struct net_socket *self)
{
    return self->refused_count;
}
