/* Attacks of a peer that was let in. */
#include "attack.h"

#include "base_arena.h"
#include "base_clock.h"
#include "wire_codec.h"
#include "wire_samples.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#define BODY_BYTES  ((size_t)16 << 20)
#define ANSWER_MS   1500
#define FRAMES      5000
#define PIECE_BYTES 65536

/* Takes answers until none has come for a while. */
static void listen_on(struct attack *self, void *zmq)
{
    const uint64_t end_ms = base_clock_ms() + ANSWER_MS;
    const unsigned before = self->replies;

    while (base_clock_ms() < end_ms && self->replies == before && self->cut_off == 0)
        attack_wait(self, zmq, 50);
    attack_wait(self, zmq, 100);
}

/* BASE_AGAIN: no room now. */
static int send_frames(struct attack *self, void *zmq, const uint8_t *envelope, const void *body,
    size_t body_bytes, int flags)
{
    if (zmq_send(zmq, envelope, LIMIT_ENVELOPE_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return BASE_AGAIN;
    /* Once begun a message goes through: queues count whole ones. */
    (void)zmq_send(zmq, body, body_bytes, flags);
    self->sent++;
    return BASE_OK;
}

static int send_message(struct attack *self, void *zmq, const struct wire_message *message)
{
    struct base_arena arena;
    uint8_t envelope[LIMIT_ENVELOPE_BYTES], *body = NULL;
    size_t bytes = 0;
    int rc;

    base_arena_init(&arena, BODY_BYTES);
    wire_envelope_encode(message->kind, envelope);
    rc = wire_encode(message, &arena, &body, &bytes, NULL);
    if (rc == BASE_OK)
        rc = send_frames(self, zmq, envelope, body, bytes, 0);
    base_arena_release(&arena);
    return rc;
}

static void *enter(struct attack *self)
{
    void *zmq = attack_connect(self);

    /* A key that was just issued is known everywhere a moment later. */
    while (!attack_enter(self, zmq) && attack_goes_on(self)) {
        (void)zmq_poll(NULL, 0, 100);
        attack_close(self, zmq);
        zmq = attack_connect(self);
    }
    return zmq;
}

void attack_oversize(struct attack *self)
{
    static uint8_t big[LIMIT_CLIENT_BYTES + 4096];
    uint8_t envelope[LIMIT_ENVELOPE_BYTES];
    void *zmq = enter(self);

    wire_envelope_encode(WIRE_GOODBYE, envelope);
    (void)send_frames(self, zmq, envelope, big, sizeof(big), 0);
    while (attack_goes_on(self) && self->cut_off == 0)
        attack_wait(self, zmq, 50);
    attack_close(self, zmq);
}

void attack_frames(struct attack *self)
{
    void *zmq = enter(self);

    for (int i = 0; i < FRAMES; i++)
        (void)zmq_send(zmq, "\0\0\0\0\0\0\0", 8, i + 1 < FRAMES ? ZMQ_SNDMORE : 0);
    self->sent++;
    listen_on(self, zmq);
    attack_close(self, zmq);
}

/* count frames of one message. libzmq sends none before the last was given to it. */
void attack_endless(struct attack *self)
{
    static const uint8_t piece[PIECE_BYTES];
    void *zmq = enter(self);

    for (; self->sent < self->count; self->sent++)
        (void)zmq_send_const(
            zmq, piece, sizeof(piece), self->sent + 1 < self->count ? ZMQ_SNDMORE : 0);
    while (attack_goes_on(self) && self->cut_off == 0)
        attack_wait(self, zmq, 50);
    attack_close(self, zmq);
}

void attack_flood(struct attack *self)
{
    const struct wire_message message = {.kind = WIRE_PING},
                              goodbye = {.kind = WIRE_ERROR, .error = {.code = BASE_INTERNAL}};
    void *zmq = enter(self);

    while (attack_goes_on(self)) {
        if (send_message(self, zmq, self->sent % 2 == 0 ? &message : &goodbye) != BASE_OK)
            attack_wait(self, zmq, 1);
        if (self->sent % 64 == 0)
            attack_wait(self, zmq, 0);
    }
    attack_close(self, zmq);
}

/* Questions and no reading: the answers pile up on the other side. */
void attack_slow(struct attack *self)
{
    const struct wire_message question = {
        .kind = self->name != NULL && strcmp(self->name, "admin") == 0 ? WIRE_STATUS_QUERY
                                                                       : WIRE_ROUTER_STATUS_QUERY};
    void *zmq = enter(self);

    while (attack_goes_on(self)) {
        (void)send_message(self, zmq, &question);
        attack_look(self);
        (void)zmq_poll(NULL, 0, 1);
    }
    attack_close(self, zmq);
}

/* With the key of one and the name of another. */
void attack_steal(struct attack *self)
{
    struct base_arena arena;
    struct wire_message message;
    void *zmq = enter(self);

    base_arena_init(&arena, BODY_BYTES);
    wire_sample(WIRE_REGISTER, 1, &arena, &message);
    message.register_.role = WIRE_ROLE_WORKER;
    (void)snprintf(message.register_.node_id, LIMIT_NAME_BYTES, "%s", self->name);
    (void)send_message(self, zmq, &message);
    listen_on(self, zmq);
    wire_sample(WIRE_HEARTBEAT, 1, &arena, &message);
    (void)snprintf(message.heartbeat.node_id, LIMIT_NAME_BYTES, "%s", self->name);
    (void)send_message(self, zmq, &message);
    listen_on(self, zmq);
    message = (struct wire_message){.kind = WIRE_GOODBYE};
    (void)snprintf(message.goodbye.node_id, LIMIT_NAME_BYTES, "%s", self->name);
    (void)send_message(self, zmq, &message);
    listen_on(self, zmq);
    message = (struct wire_message){.kind = WIRE_DRAIN};
    (void)snprintf(message.drain.node_id, LIMIT_NAME_BYTES, "%s", self->name);
    (void)send_message(self, zmq, &message);
    listen_on(self, zmq);
    base_arena_release(&arena);
    attack_close(self, zmq);
}

void attack_roles(struct attack *self)
{
    struct base_arena arena;
    struct wire_message message;
    void *zmq = enter(self);

    for (size_t i = 0; i < WIRE_SAMPLE_KINDS && attack_goes_on(self); i++) {
        base_arena_init(&arena, BODY_BYTES);
        wire_sample(wire_sample_kinds[i], 7, &arena, &message);
        (void)send_message(self, zmq, &message);
        attack_wait(self, zmq, 20);
        base_arena_release(&arena);
    }
    listen_on(self, zmq);
    attack_close(self, zmq);
}

/*
 * Steps, results and errors of the epoch in force for the next micro-batches, in turns, as a hop
 * would send them (results only, under the name "result"): what is taken of it ends or falsifies an answer that is being written.
 */
void attack_hop(struct attack *self)
{
    const uint32_t page = 0;
    const struct wire_sequence sequence = {.sequence_id = 1, .pages = &page, .page_count = 1};
    void *zmq = enter(self);

    while (attack_goes_on(self)) {
        const uint64_t batch_id = 1 + self->sent % self->count;
        const struct wire_message messages[] = {
            {.kind = WIRE_RESULT, .result = {.epoch = self->epoch, .batch_id = batch_id}},
            {.kind = WIRE_STEP_ERROR,
                .step_error = {.epoch = self->epoch,
                    .batch_id = batch_id,
                    .error = {.code = BASE_INVALID, .text = "forged"}}},
            {.kind = WIRE_STEP,
                .step = {.epoch = self->epoch, .batch_id = batch_id, .sequences = &sequence}}};
        const size_t count = self->name != NULL && strcmp(self->name, "result") == 0 ? 1 : 3;
        for (size_t i = 0; i < count; i++)
            if (send_message(self, zmq, &messages[i]) != BASE_OK)
                attack_wait(self, zmq, 1);
        attack_wait(self, zmq, self->sent % 96 == 0 ? 1 : 0);
    }
    attack_close(self, zmq);
}

/* ---- fuzz ---- */

static void damage(struct attack *self, uint8_t *data, size_t bytes)
{
    for (uint64_t i = attack_random(self) % 8; bytes > 0 && i > 0; i--)
        data[attack_random(self) % bytes] = (uint8_t)attack_random(self);
}

/* One message: a sample of a random kind, with damage to any frame, or frames too many or few. */
static void send_damaged(struct attack *self, void *zmq)
{
    static uint8_t tensor[65536];
    struct base_arena arena;
    struct wire_message message;
    uint8_t envelope[LIMIT_ENVELOPE_BYTES], *body = NULL;
    size_t bytes = 0;
    const enum wire_kind kind = wire_sample_kinds[attack_random(self) % WIRE_SAMPLE_KINDS];
    const uint64_t how = attack_random(self) % 16;

    base_arena_init(&arena, BODY_BYTES);
    wire_sample(kind, attack_random(self) % 1000 + 1, &arena, &message);
    wire_envelope_encode(kind, envelope);
    if (wire_encode(&message, &arena, &body, &bytes, NULL) == BASE_OK && bytes < PIECE_BYTES) {
        if (how < 10)
            damage(self, body, bytes);
        if (how == 10)
            damage(self, envelope, sizeof(envelope));
        if (how == 11 && bytes > 0)
            bytes = attack_random(self) % bytes;
        const size_t extra = how == 12 ? attack_random(self) % 40 : how == 13 ? 1 : 0;
        if (how == 14)
            (void)zmq_send(zmq, body, bytes, ZMQ_DONTWAIT);
        else
            (void)send_frames(self, zmq, envelope, body, bytes, extra > 0 ? ZMQ_SNDMORE : 0);
        for (size_t i = 0; i < extra; i++)
            (void)zmq_send(
                zmq, tensor, attack_random(self) % sizeof(tensor), i + 1 < extra ? ZMQ_SNDMORE : 0);
    }
    base_arena_release(&arena);
}

void attack_fuzz(struct attack *self)
{
    while (attack_goes_on(self)) {
        void *zmq = enter(self);
        const uint64_t turns = 500 + attack_random(self) % 3000;
        self->cut_off = 0;
        for (uint64_t i = 0; i < turns && attack_goes_on(self) && self->cut_off == 0; i++) {
            zmq_pollitem_t item = {.socket = zmq, .events = ZMQ_POLLOUT};
            if (zmq_poll(&item, 1, 50) > 0)
                send_damaged(self, zmq);
            if (i % 32 == 0)
                attack_wait(self, zmq, 1);
        }
        attack_close(self, zmq);
    }
}
