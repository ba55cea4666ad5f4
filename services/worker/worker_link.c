#include "worker_link.h"

#include "base_alloc.h"
#include "base_log.h"
#include <stdio.h>
#include <string.h>

#define QUEUE_MAX (2 * LIMIT_BATCHES_IN_FLIGHT)

struct waiting {
    struct base_arena arena; /* owns what message points to */
    struct wire_message message;
    struct worker_buffer *buffer;
};

struct worker_link {
    struct worker_link_options options;
    struct net_socket *socket;
    char endpoint[LIMIT_ENDPOINT_BYTES];
    char public_key[LIMIT_KEY_BYTES];
    uint64_t epoch;
    bool connected;
    bool greeted; /* the hello of this epoch went out on this connection */
    uint32_t credit;
    struct waiting *queue[QUEUE_MAX]; /* ring */
    size_t head, count;
};

int worker_link_new(const struct worker_link_options *options, struct worker_link **ret)
{
    struct worker_link *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->options = *options;
    *ret = self;
    return BASE_OK;
}

/* ---- what waits ---- */

static void waiting_destroy(struct waiting *waiting)
{
    if (waiting == NULL)
        return;
    worker_buffer_drop(&waiting->buffer);
    base_arena_release(&waiting->arena);
    base_free(waiting);
}

static struct waiting *pop(struct worker_link *self)
{
    struct waiting *first = self->queue[self->head];

    self->head = (self->head + 1) % QUEUE_MAX;
    self->count--;
    return first;
}

static uint64_t epoch_of(const struct wire_message *message)
{
    return message->kind == WIRE_STEP     ? message->step.epoch
           : message->kind == WIRE_RESULT ? message->result.epoch
                                          : message->step_error.epoch;
}

static bool copy_step(struct base_arena *arena, struct wire_step *step)
{
    struct wire_sequence *sequences =
        base_arena_copy(arena, step->sequences, step->sequence_count * sizeof(*sequences));

    step->sequences = sequences;
    step->released_pages = base_arena_copy(
        arena, step->released_pages, step->released_page_count * sizeof(*step->released_pages));
    step->hop_us = base_arena_copy(arena, step->hop_us, step->hop_count * sizeof(*step->hop_us));
    if (sequences == NULL || step->released_pages == NULL || step->hop_us == NULL)
        return false;
    for (size_t i = 0; i < step->sequence_count; i++) {
        sequences[i].pages = base_arena_copy(
            arena, sequences[i].pages, sequences[i].page_count * sizeof(*sequences[i].pages));
        if (sequences[i].pages == NULL)
            return false;
    }
    return true;
}

static bool copy_result(struct base_arena *arena, struct wire_result *result)
{
    result->rows = base_arena_copy(arena, result->rows, result->row_count * sizeof(*result->rows));
    result->hop_us =
        base_arena_copy(arena, result->hop_us, result->hop_count * sizeof(*result->hop_us));
    return result->rows != NULL && result->hop_us != NULL;
}

static struct waiting *waiting_new(const struct wire_message *message, struct worker_buffer *buffer)
{
    struct waiting *waiting = base_alloc_zeroed(1, sizeof(*waiting));

    if (waiting == NULL)
        return NULL;
    base_arena_init(&waiting->arena, 2 * LIMIT_STEP_BYTES);
    waiting->message = *message;
    if ((message->kind == WIRE_STEP && !copy_step(&waiting->arena, &waiting->message.step)) ||
        (message->kind == WIRE_RESULT && !copy_result(&waiting->arena, &waiting->message.result))) {
        waiting_destroy(waiting);
        return NULL;
    }
    if (buffer != NULL)
        waiting->buffer = worker_buffer_hold(buffer);
    return waiting;
}

/* ---- sending ---- */

static void release_buffer(void *data, void *hint)
{
    struct worker_buffer *buffer = hint;

    (void)data;
    worker_buffer_drop(&buffer);
}

static int transmit(
    struct worker_link *self, const struct wire_message *message, struct worker_buffer *buffer)
{
    struct net_tensor tensor = {0};
    struct base_error err = {0};

    if (buffer != NULL) {
        worker_buffer_hold(buffer);
        tensor = (struct net_tensor){buffer->data, buffer->bytes, release_buffer, buffer};
    }
    int rc = net_send(self->socket, NULL, message, buffer == NULL ? NULL : &tensor, &err);
    if (rc != BASE_OK && rc != BASE_AGAIN)
        base_log(BASE_LOG_WARN, "send-failed", "link=%s epoch=%llu error=\"%s\"",
            self->options.name, (unsigned long long)self->epoch, err.text);
    return rc;
}

/* Whether a STEP or RESULT may go out now; says hello first when that is due. */
static bool may_send(struct worker_link *self)
{
    /* Before the watch says so, a message may still vanish into the connection that just broke. */
    if (!self->connected)
        return false;
    if (!self->greeted) {
        struct wire_message hello = {.kind = WIRE_LINK_HELLO,
            .link_hello = {.epoch = self->epoch, .incarnation = self->options.incarnation}};
        (void)snprintf(hello.link_hello.node_id, LIMIT_NAME_BYTES, "%s", self->options.node_id);
        self->greeted = transmit(self, &hello, NULL) == BASE_OK;
    }
    return self->greeted && (!self->options.by_credit || self->credit > 0);
}

/* BASE_AGAIN: has to wait. Anything else is final. */
static int send_now(
    struct worker_link *self, const struct wire_message *message, struct worker_buffer *buffer)
{
    if (!may_send(self))
        return BASE_AGAIN;
    int rc = transmit(self, message, buffer);
    if (rc == BASE_OK && self->options.by_credit)
        self->credit--;
    return rc;
}

static void flush(struct worker_link *self)
{
    (void)may_send(self); /* the hello goes out though nothing waits */
    while (self->count > 0) {
        const struct waiting *first = self->queue[self->head];
        if (send_now(self, &first->message, first->buffer) == BASE_AGAIN)
            return;
        waiting_destroy(pop(self));
    }
}

int worker_link_send(
    struct worker_link *self, const struct wire_message *message, struct worker_buffer *buffer)
{
    if (self->count == 0) {
        int rc = send_now(self, message, buffer);
        if (rc != BASE_AGAIN)
            return rc;
    }
    if (self->count == QUEUE_MAX)
        return BASE_FULL;
    struct waiting *waiting = waiting_new(message, buffer);
    if (waiting == NULL)
        return BASE_NOMEM;
    self->queue[(self->head + self->count++) % QUEUE_MAX] = waiting;
    return BASE_OK;
}

/* ---- connection ---- */

static void drop_other_epochs(struct worker_link *self)
{
    for (size_t left = self->count; left > 0; left--) {
        struct waiting *first = pop(self);
        if (epoch_of(&first->message) == self->epoch)
            self->queue[(self->head + self->count++) % QUEUE_MAX] = first;
        else
            waiting_destroy(first);
    }
}

static void open_socket(struct worker_link *self)
{
    struct base_error err = {0};

    if (net_connect(self->options.context, NET_PLANE_DATA, self->endpoint, self->public_key,
            &self->socket, &err) != BASE_OK ||
        net_watch(self->socket, &err) != BASE_OK) {
        base_log(BASE_LOG_ERROR, "link-failed", "link=%s endpoint=%s error=\"%s\"",
            self->options.name, self->endpoint, err.text);
        net_close(&self->socket);
    }
}

void worker_link_point(struct worker_link *self, uint64_t epoch, const struct worker_hop *hop)
{
    const char *where = hop == NULL ? "" : hop->endpoint;
    const char *who = hop == NULL ? "" : hop->public_key;
    bool same_place = self->socket != NULL && strcmp(self->endpoint, where) == 0 &&
                      strcmp(self->public_key, who) == 0;

    if (same_place && epoch == self->epoch)
        return;
    self->epoch = epoch;
    self->greeted = false;
    self->credit = 0;
    drop_other_epochs(self);
    if (!same_place) {
        net_close(&self->socket);
        self->connected = false;
        (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", where);
        (void)snprintf(self->public_key, sizeof(self->public_key), "%s", who);
        if (self->endpoint[0] != 0)
            open_socket(self);
    }
    flush(self);
}

void worker_link_destroy(struct worker_link **self_p)
{
    struct worker_link *self = *self_p;

    if (self == NULL)
        return;
    net_close(&self->socket);
    while (self->count > 0)
        waiting_destroy(pop(self));
    base_free(self);
    *self_p = NULL;
}

struct net_socket *worker_link_socket(const struct worker_link *self)
{
    return self->socket;
}

static void take_connection_events(struct worker_link *self)
{
    unsigned connected = 0;
    unsigned lost = net_watch_take(self->socket, &connected);

    if (lost == 0 && connected == 0)
        return;
    /* Connections are made and lost in turn, so the counts say how it ended. */
    self->connected = (self->connected ? 1 : 0) + connected > lost;
    /* Hello and credit belong to a connection. */
    self->greeted = false;
    self->credit = 0;
    base_log(lost > 0 ? BASE_LOG_WARN : BASE_LOG_DEBUG, lost > 0 ? "link-lost" : "link-connected",
        "link=%s epoch=%llu endpoint=%s", self->options.name, (unsigned long long)self->epoch,
        self->endpoint);
}

static void take_credits(struct worker_link *self)
{
    struct net_inbound inbound = {0};

    while (net_receive(self->socket, &inbound) == BASE_OK) {
        const struct wire_credit *credit = &inbound.message.credit;
        if (inbound.message.kind == WIRE_CREDIT && credit->epoch == self->epoch &&
            self->credit <= LIMIT_BATCHES_IN_FLIGHT)
            self->credit += credit->count;
        net_inbound_release(&inbound);
    }
}

void worker_link_service(struct worker_link *self)
{
    if (self->socket == NULL)
        return;
    take_connection_events(self);
    take_credits(self);
    flush(self);
}

bool worker_link_is_waiting(const struct worker_link *self)
{
    return self->connected && (!self->greeted || self->count > 0);
}
