/*
 * What a peer may cost before it has said anything sensible: messages per second, connections that
 * never finish their handshake, bytes of a message that never ends. libzmq bounds none of these:
 * MAXMSGSIZE is per frame, queue limits count whole messages. A connection is ended by shutting its
 * descriptor down, which libzmq then finds closed by the peer.
 */
#include "net_internal.h"

#include "base_alloc.h"
#include "base_clock.h"
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DESCRIPTORS_MAX    8192 /* connections with higher ones are not looked after */
#define BUCKETS            1024
#define PROBES             8
#define CHECK_MS           100
#define TOLD_MS            1000
#define FRAME_OVERHEAD_MAX 64 /* ZMTP and CURVE, of one frame */
#define MILLI              1000u

struct connection {
    bool is_open, has_spoken;
    uint64_t number; /* descriptors are used again */
    uint64_t accepted_ms;
    uint64_t delivered; /* bytes that we read as frames */
};

struct bucket {
    uint64_t peer;  /* hash; 0: free */
    uint64_t milli; /* thousandths of a message that are left */
    uint64_t at_ms;
    uint64_t told_ms;   /* when the peer last heard of it */
    uint64_t logged_ms; /* when the log last did; 0: never */
};

struct recent {
    int fd;
    uint64_t number; /* 0: free */
};

struct net_guard {
    struct connection *connections; /* owned [DESCRIPTORS_MAX], by descriptor */
    int highest;                    /* descriptor that was ever open here */
    uint64_t accepted_count;
    struct recent recent[LIMIT_HALF_OPEN]; /* accepted last, a ring */
    size_t recent_next;
    size_t open_count; /* of connections that are looked after */
    uint64_t checked_ms;
    struct bucket buckets[BUCKETS];
};

static const struct {
    uint32_t per_second, burst;
    uint64_t backlog_bytes;
} limits[] = {
    [NET_PLANE_CONTROL] = {LIMIT_CONTROL_RATE, 2 * LIMIT_CONTROL_RATE, LIMIT_BACKLOG_BYTES},
    [NET_PLANE_DATA] = {LIMIT_DATA_RATE, 2 * LIMIT_DATA_RATE, LIMIT_BACKLOG_DATA_BYTES},
    [NET_PLANE_CLIENT] = {LIMIT_CLIENT_RATE, 2 * LIMIT_CLIENT_RATE, LIMIT_BACKLOG_BYTES},
};

int net_guard_new(struct net_guard **ret)
{
    struct net_guard *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->connections = base_alloc_zeroed(DESCRIPTORS_MAX, sizeof(*self->connections));
    if (self->connections == NULL) {
        base_free(self);
        return BASE_NOMEM;
    }
    *ret = self;
    return BASE_OK;
}

void net_guard_destroy(struct net_guard **self_p)
{
    struct net_guard *self = *self_p;

    if (self == NULL)
        return;
    base_free(self->connections);
    base_free(self);
    *self_p = NULL;
}

static struct connection *connection_of(const struct net_guard *self, int fd)
{
    return fd >= 0 && fd < DESCRIPTORS_MAX ? &self->connections[fd] : NULL;
}

static void cut(struct net_socket *socket, int fd, enum net_refusal reason)
{
    (void)shutdown(fd, SHUT_RDWR);
    net_refuse_count(socket->context, reason, socket->endpoint);
}

/* ---- connections ---- */

/*
 * The newest LIMIT_HALF_OPEN connections may be silent; when one more comes, the oldest of them is
 * ended if it is still in its handshake. So who floods us with connections pushes out his own: an
 * honest peer has spoken long before.
 */
void net_guard_accepted(struct net_socket *socket, int fd)
{
    struct net_guard *self = socket->guard;
    struct connection *connection = connection_of(self, fd);
    const uint64_t now_ms = base_clock_ms();

    if (connection == NULL)
        return;
    struct recent *slot = &self->recent[self->recent_next];
    const struct connection *oldest = connection_of(self, slot->fd);
    if (slot->number != 0 && oldest->number == slot->number && oldest->is_open &&
        !oldest->has_spoken && now_ms - oldest->accepted_ms < NET_HANDSHAKE_MS)
        cut(socket, slot->fd, NET_REFUSED_HALF_OPEN);
    self->open_count += !connection->is_open;
    *connection = (struct connection){
        .is_open = true, .number = ++self->accepted_count, .accepted_ms = now_ms};
    *slot = (struct recent){.fd = fd, .number = connection->number};
    self->recent_next = (self->recent_next + 1) % LIMIT_HALF_OPEN;
    if (fd > self->highest)
        self->highest = fd;
}

void net_guard_closed(struct net_socket *socket, int fd)
{
    struct connection *connection = connection_of(socket->guard, fd);

    if (connection == NULL || !connection->is_open)
        return;
    connection->is_open = false;
    socket->guard->open_count--;
}

void net_guard_frame(struct net_socket *socket, int fd, size_t bytes)
{
    struct connection *connection = connection_of(socket->guard, fd);

    if (connection == NULL)
        return;
    connection->has_spoken = true;
    connection->delivered += bytes + FRAME_OVERHEAD_MAX;
}

/* Bytes that the kernel took for us on a connection and that have not come out as frames. */
static uint64_t backlog(struct connection *connection, int fd)
{
    struct tcp_info info;
    socklen_t bytes = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0 ||
        bytes < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received))
        return 0;
    /* The overhead was counted at its most: no credit may be saved up from that. */
    if (connection->delivered > info.tcpi_bytes_received)
        connection->delivered = info.tcpi_bytes_received;
    return info.tcpi_bytes_received - connection->delivered;
}

int net_guard_wait_ms(const struct net_socket *socket)
{
    return socket->guard->open_count > 0 ? CHECK_MS : -1;
}

void net_guard_check(struct net_socket *socket)
{
    struct net_guard *self = socket->guard;
    const uint64_t now_ms = base_clock_ms();

    if (now_ms - self->checked_ms < CHECK_MS)
        return;
    self->checked_ms = now_ms;
    for (int fd = 0; fd <= self->highest; fd++) {
        struct connection *connection = &self->connections[fd];
        if (!connection->is_open || backlog(connection, fd) <= limits[socket->plane].backlog_bytes)
            continue;
        connection->is_open = false;
        self->open_count--;
        cut(socket, fd, NET_REFUSED_BACKLOG);
    }
}

/* ---- messages per second ---- */

static uint64_t hash(const uint8_t *data, size_t bytes)
{
    uint64_t value = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < bytes; i++)
        value = (value ^ data[i]) * UINT64_C(1099511628211);
    return value | 1;
}

/* The peer's bucket; a new one is full. When there is no room, who was silent longest loses his. */
static struct bucket *bucket_of(
    struct net_guard *self, uint64_t peer, uint64_t now_ms, uint64_t full_milli)
{
    struct bucket *oldest = NULL;

    for (size_t i = 0; i < PROBES; i++) {
        struct bucket *bucket = &self->buckets[((peer >> 7) + i) % BUCKETS];
        if (bucket->peer == peer)
            return bucket;
        if (oldest == NULL || bucket->at_ms < oldest->at_ms)
            oldest = bucket;
    }
    *oldest = (struct bucket){.peer = peer, .milli = full_milli, .at_ms = now_ms};
    return oldest;
}

/* One key has one bucket, however many connections it makes. */
static struct bucket *bucket_of_sender(struct net_socket *socket, const struct net_peer *from,
    const struct net_sender *who, uint64_t now_ms)
{
    const uint64_t peer = who->role != 0
                              ? hash((const uint8_t *)who->public_key, LIMIT_KEY_BYTES - 1)
                              : hash(from->id, from->bytes);

    return bucket_of(socket->guard, peer, now_ms, (uint64_t)limits[socket->plane].burst * MILLI);
}

bool net_guard_may_log(
    struct net_socket *socket, const struct net_peer *from, const struct net_sender *who)
{
    const uint64_t now_ms = base_clock_ms();
    struct bucket *bucket = bucket_of_sender(socket, from, who, now_ms);

    if (bucket->logged_ms != 0 && now_ms - bucket->logged_ms < NET_LOG_PEER_MS)
        return false;
    bucket->logged_ms = now_ms;
    return true;
}

bool net_guard_allows(struct net_socket *socket, const struct net_peer *from,
    const struct net_sender *who, bool *ret_tell)
{
    const uint64_t full_milli = (uint64_t)limits[socket->plane].burst * MILLI;
    const uint64_t now_ms = base_clock_ms();
    struct bucket *bucket = bucket_of_sender(socket, from, who, now_ms);

    bucket->milli += (now_ms - bucket->at_ms) * limits[socket->plane].per_second;
    bucket->at_ms = now_ms;
    if (bucket->milli > full_milli)
        bucket->milli = full_milli;
    *ret_tell = false;
    if (bucket->milli >= MILLI) {
        bucket->milli -= MILLI;
        return true;
    }
    if (now_ms - bucket->told_ms >= TOLD_MS) {
        bucket->told_ms = now_ms;
        *ret_tell = true;
    }
    return false;
}
