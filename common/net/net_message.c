/* Frames of one message, out and in. */
#include "net_internal.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_log.h"
#include "wire_codec.h"
#include <errno.h>
#include <string.h>
#include <zmq.h>

/* Envelope, body, tensor. */
#define FRAMES_MAX 3
/* Bad messages dropped by one receive before the caller gets its turn again. */
#define REFUSED_PER_RECEIVE 64

/* Frames of one message, with the routing id in front on a ROUTER. */
struct parts {
    zmq_msg_t frames[1 + FRAMES_MAX];
    size_t count;
};

static void parts_close(struct parts *self)
{
    for (size_t i = 0; i < self->count; i++)
        (void)zmq_msg_close(&self->frames[i]);
    self->count = 0;
}

/* ---- sending ---- */

static bool parts_add(struct parts *self, const void *data, size_t bytes)
{
    zmq_msg_t *frame = &self->frames[self->count];

    if (zmq_msg_init_size(frame, bytes) != 0)
        return false;
    if (bytes > 0)
        memcpy(zmq_msg_data(frame), data, bytes);
    self->count++;
    return true;
}

static void tensor_release(const struct net_tensor *tensor)
{
    if (tensor != NULL && tensor->release != NULL)
        tensor->release((void *)tensor->data, tensor->hint);
}

/* As parts_add(), in the account of the peer that has one. */
static bool parts_add_for(
    struct parts *self, struct net_account *account, const void *data, size_t bytes)
{
    if (account == NULL || bytes == 0)
        return parts_add(self, data, bytes);
    if (!net_unread_frame(account, data, bytes, &self->frames[self->count]))
        return false;
    self->count++;
    return true;
}

/* Takes the tensor: its release() is called here on failure, else when the frame goes. */
static bool parts_add_tensor(struct parts *self, const struct net_tensor *tensor)
{
    if (tensor->release == NULL)
        return parts_add(self, tensor->data, tensor->bytes);
    if (zmq_msg_init_data(&self->frames[self->count], (void *)tensor->data, tensor->bytes,
            tensor->release, tensor->hint) != 0) {
        tensor_release(tensor);
        return false;
    }
    self->count++;
    return true;
}

static int send_code(int code)
{
    switch (code) {
    case EAGAIN:
    case EINTR:
        return BASE_AGAIN;
    case EHOSTUNREACH:
        return BASE_UNREACHABLE;
    case ENOMEM:
        return BASE_NOMEM;
    default:
        return BASE_IO;
    }
}

/*
 * When the connection ends between two frames, the rest is still handed over up to the last:
 * ZeroMQ drops frames until it has seen a last one, and would otherwise drop the next message's.
 */
static int parts_send(struct parts *self, void *zmq)
{
    int rc = BASE_OK;

    for (size_t i = 0; i < self->count; i++) {
        const int more = i + 1 < self->count ? ZMQ_SNDMORE : 0;
        if (zmq_msg_send(&self->frames[i], zmq, ZMQ_DONTWAIT | more) >= 0)
            continue;
        rc = send_code(errno);
        if (i == 0)
            break;
    }
    return rc;
}

/* Takes tensor. */
static int send_body(struct net_socket *self, const struct net_peer *to, enum wire_kind kind,
    const uint8_t *body, size_t body_bytes, const struct net_tensor *tensor)
{
    struct parts parts = {.count = 0};
    uint8_t envelope[LIMIT_ENVELOPE_BYTES];
    const size_t tensor_bytes = tensor != NULL ? tensor->bytes : 0;
    struct net_account *account =
        self->unread != NULL ? net_unread_account(self->unread, to) : NULL;

    wire_envelope_encode(kind, envelope);
    bool is_whole = (self->unread == NULL || account != NULL) &&
                    (to == NULL || parts_add(&parts, to->id, to->bytes)) &&
                    parts_add(&parts, envelope, sizeof(envelope)) &&
                    parts_add_for(&parts, account, body, body_bytes);
    if (is_whole && tensor != NULL && account == NULL) {
        is_whole = parts_add_tensor(&parts, tensor);
    } else {
        is_whole = is_whole &&
                   (tensor == NULL || parts_add_for(&parts, account, tensor->data, tensor->bytes));
        tensor_release(tensor);
    }
    const int rc = is_whole ? parts_send(&parts, self->zmq) : BASE_NOMEM;
    struct net_traffic *traffic = &self->context->traffic;
    metrics_add(rc == BASE_OK ? &traffic->sent_messages : &traffic->send_failures, 1);
    if (rc == BASE_OK)
        metrics_add(&traffic->sent_bytes, sizeof(envelope) + body_bytes + tensor_bytes);
    parts_close(&parts);
    return rc;
}

int net_send(struct net_socket *self, const struct net_peer *to, const struct wire_message *message,
    const struct net_tensor *tensor, struct base_error *err)
{
    uint8_t *body = NULL;
    size_t body_bytes = 0;

    base_assert((to != NULL) == self->is_router);
    net_watch_pass(self);
    base_arena_reset(&self->encode);
    int rc = wire_tensor_check(message, tensor != NULL ? tensor->bytes : 0, err);
    if (rc == BASE_OK)
        rc = wire_encode(message, &self->encode, &body, &body_bytes, err);
    if (rc != BASE_OK) {
        tensor_release(tensor);
        return rc;
    }
    /* Answers wait for who does not read; what says that they end, and why, does not. */
    if (self->unread != NULL && message->kind == WIRE_PARTIAL &&
        net_unread_bytes(self->unread, to) >= LIMIT_UNREAD_QUEUE_BYTES) {
        tensor_release(tensor);
        metrics_add(&self->context->traffic.send_failures, 1);
        return base_error_set(err, BASE_AGAIN, "send %s on %s: %d bytes wait for that peer",
            wire_kind_name(message->kind), self->endpoint, LIMIT_UNREAD_QUEUE_BYTES);
    }
    if (tensor != NULL && tensor->bytes == 0) {
        tensor_release(tensor);
        tensor = NULL;
    }
    rc = send_body(self, to, message->kind, body, body_bytes, tensor);
    if (rc != BASE_OK)
        (void)base_error_set(err, rc, "send %s on %s: %s", wire_kind_name(message->kind),
            self->endpoint, base_err_text(rc));
    return rc;
}

/* ---- receiving ---- */

/*
 * Reads one whole message. Frames beyond frame_max are taken from the socket and forgotten one by
 * one. Returns how many frames it had; 0: nothing is waiting.
 */
static size_t parts_receive(struct parts *self, struct net_socket *socket, size_t frame_max)
{
    void *zmq = socket->zmq;
    zmq_msg_t surplus;
    size_t total = 0;
    bool more = true;

    while (more) {
        const bool is_kept = self->count < frame_max;
        zmq_msg_t *frame = is_kept ? &self->frames[self->count] : &surplus;
        int bytes;
        (void)zmq_msg_init(frame);
        do
            bytes = zmq_msg_recv(frame, zmq, ZMQ_DONTWAIT);
        while (bytes < 0 && errno == EINTR);
        more = bytes >= 0 && zmq_msg_more(frame) != 0;
        if (bytes >= 0 && socket->guard != NULL)
            net_guard_frame(socket, zmq_msg_get(frame, ZMQ_SRCFD), (size_t)bytes);
        if (bytes >= 0)
            total++;
        if (bytes >= 0 && is_kept)
            self->count++;
        else
            (void)zmq_msg_close(frame);
    }
    return total;
}

/* Moves the tensor frame to the heap, where the message's receiver keeps it. */
static int keep_tensor(zmq_msg_t *frame, struct net_inbound *ret, struct base_error *err)
{
    if (zmq_msg_size(frame) == 0)
        return BASE_OK;
    zmq_msg_t *kept = base_alloc(sizeof(*kept));
    if (kept == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for a tensor frame");
    (void)zmq_msg_init(kept);
    (void)zmq_msg_move(kept, frame);
    ret->transport = kept;
    ret->tensor = zmq_msg_data(kept);
    ret->tensor_bytes = zmq_msg_size(kept);
    return BASE_OK;
}

static size_t decode_bytes_max(size_t body_bytes)
{
    const size_t bytes = body_bytes * LIMIT_UNPACK_FACTOR;
    return bytes > LIMIT_UNPACK_BYTES_MIN ? bytes : LIMIT_UNPACK_BYTES_MIN;
}

/* Why a message was not taken, as it is counted and as its sender is told. */
struct reason {
    enum net_refusal refusal;
    bool is_silent; /* it is not told: it was told of one like it */
    struct base_error err;
};

/*
 * Whose message this is, by the key of its connection as the set of keys stands now. libzmq 4.3.4
 * has the key on every frame but the first, which the routing id is.
 */
static int identify(
    struct net_socket *self, zmq_msg_t *envelope, struct net_sender *ret, struct reason *why)
{
    if (!self->is_secure)
        return BASE_OK;
    const char *key = zmq_msg_gets(envelope, "User-Id");
    if (key != NULL && net_admission_find(&self->context->admission, key, ret))
        return BASE_OK;
    why->refusal = NET_REFUSED_REVOKED;
    return base_error_set(&why->err, BASE_DENIED, "this key is not admitted any more");
}

/* frames: envelope, body, perhaps a tensor. On failure *ret is to be released all the same. */
static int decode_frames(
    zmq_msg_t *frames, size_t count, struct net_inbound *ret, struct reason *why)
{
    struct base_error *err = &why->err;
    enum wire_kind kind;

    why->refusal = NET_REFUSED_MALFORMED;
    int rc = wire_envelope_decode(zmq_msg_data(&frames[0]), zmq_msg_size(&frames[0]), &kind, err);
    if (rc != BASE_OK)
        return rc;
    rc = net_policy_kind(&ret->who, kind, err);
    if (rc != BASE_OK) {
        why->refusal = NET_REFUSED_ROLE;
        return rc;
    }
    if (count == FRAMES_MAX && !wire_kind_has_tensor(kind))
        return base_error_set(err, BASE_MALFORMED, "%s: has no tensor frame", wire_kind_name(kind));
    const size_t body_bytes = zmq_msg_size(&frames[1]);
    base_arena_init(&ret->arena, decode_bytes_max(body_bytes));
    rc = wire_decode(kind, zmq_msg_data(&frames[1]), body_bytes, &ret->arena, &ret->message, err);
    if (rc == BASE_OK)
        rc = wire_tensor_check(
            &ret->message, count == FRAMES_MAX ? zmq_msg_size(&frames[2]) : 0, err);
    if (rc == BASE_OK) {
        rc = net_policy_name(&ret->who, &ret->message, err);
        if (rc != BASE_OK)
            why->refusal = NET_REFUSED_NAME;
    }
    if (rc == BASE_OK && count == FRAMES_MAX)
        rc = keep_tensor(&frames[2], ret, err);
    return rc;
}

/* Who sent it: the connection, and the key. */
static int take_sender(
    struct net_socket *self, struct parts *parts, struct net_inbound *ret, struct reason *why)
{
    const size_t bytes = zmq_msg_size(&parts->frames[0]);

    if (bytes > NET_PEER_BYTES_MAX) {
        why->refusal = NET_REFUSED_FRAMES;
        return base_error_set(&why->err, BASE_MALFORMED, "routing id of %zu bytes", bytes);
    }
    ret->from.bytes = (uint8_t)bytes;
    memcpy(ret->from.id, zmq_msg_data(&parts->frames[0]), bytes);
    if (parts->count > 1)
        return identify(self, &parts->frames[1], &ret->who, why);
    return BASE_OK;
}

static void count_received(struct net_socket *self, const struct parts *parts, size_t id_count)
{
    uint64_t bytes = 0;

    for (size_t i = id_count; i < parts->count; i++)
        bytes += zmq_msg_size(&parts->frames[i]);
    metrics_add(&self->context->traffic.received_messages, 1);
    metrics_add(&self->context->traffic.received_bytes, bytes);
}

/* Takes one message of any kind. Returns BASE_OK, BASE_AGAIN, or why it is refused. */
static int receive_one(struct net_socket *self, struct net_inbound *ret, struct reason *why)
{
    const size_t id_count = self->is_router ? 1 : 0;
    struct parts parts = {.count = 0};
    const size_t total = parts_receive(&parts, self, id_count + FRAMES_MAX);
    bool is_told = false;
    int rc = BASE_OK;

    if (total == 0)
        return BASE_AGAIN;
    *ret = (struct net_inbound){.transport = NULL};
    count_received(self, &parts, id_count);
    if (self->is_router)
        rc = take_sender(self, &parts, ret, why);
    if (rc == BASE_OK && self->guard != NULL &&
        !net_guard_allows(self, &ret->from, &ret->who, &is_told)) {
        why->refusal = NET_REFUSED_RATE;
        why->is_silent = !is_told;
        rc = base_error_set(&why->err, BASE_DENIED, "more messages than one peer may send");
    }
    if (rc == BASE_OK && (total < id_count + 2 || total > id_count + FRAMES_MAX)) {
        why->refusal = NET_REFUSED_FRAMES;
        rc = base_error_set(&why->err, BASE_MALFORMED, "message of %zu frames", total - id_count);
    }
    if (rc == BASE_OK)
        rc = decode_frames(&parts.frames[id_count], total - id_count, ret, why);
    if (rc != BASE_OK)
        net_inbound_release(ret);
    parts_close(&parts);
    return rc;
}

/*
 * Tells a peer of ours why its message was refused, so that it need not wait for an answer that
 * never comes. Only a ROUTER answers, so two peers cannot refuse each other's refusals for ever.
 */
static void tell_refusal(
    struct net_socket *self, const struct net_peer *from, const struct base_error *err)
{
    struct wire_message message = {.kind = WIRE_ERROR, .error = {.code = err->code}};

    if (!self->is_router || self->plane == NET_PLANE_DATA || from->bytes == 0)
        return;
    memcpy(message.error.text, err->text, sizeof(message.error.text));
    (void)net_send(self, from, &message, NULL, NULL);
}

int net_receive(struct net_socket *self, struct net_inbound *ret)
{
    net_watch_pass(self);
    for (int i = 0; i < REFUSED_PER_RECEIVE; i++) {
        struct net_inbound inbound;
        struct reason why = {.refusal = NET_REFUSED_MALFORMED};
        const int rc = receive_one(self, &inbound, &why);
        if (rc == BASE_OK)
            *ret = inbound;
        if (rc == BASE_OK || rc == BASE_AGAIN)
            return rc;
        self->refused_count++;
        net_refuse_count(self->context, why.refusal, why.err.text);
        if (!why.is_silent)
            tell_refusal(self, &inbound.from, &why.err);
    }
    return BASE_AGAIN;
}

void net_refuse_message(struct net_socket *self, const struct net_inbound *inbound,
    enum net_refusal reason, const char *text)
{
    const struct net_sender *who = &inbound->who;

    self->refused_count++;
    (void)atomic_fetch_add(&self->context->refusals[reason], 1);
    if (self->guard != NULL && net_guard_may_log(self, &inbound->from, who))
        base_log(BASE_LOG_WARN, "refused", "reason=%s kind=%s role=%s name=%s text=\"%s\"",
            net_refusal_name(reason), wire_kind_name(inbound->message.kind),
            net_role_name(who->role), who->name, text);
}

void net_inbound_release(struct net_inbound *self)
{
    zmq_msg_t *kept = self->transport;

    if (kept != NULL) {
        (void)zmq_msg_close(kept);
        base_free(kept);
    }
    base_arena_release(&self->arena);
    self->transport = NULL;
    self->tensor = NULL;
    self->tensor_bytes = 0;
}
