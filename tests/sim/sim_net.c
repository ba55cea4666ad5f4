/* Connections: ordered, delayed, and lossy only when they break. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_alloc.h"
#include "wire_codec.h"

#define RECONNECT_US 100000u

static void *copy_of(const void *data, size_t bytes)
{
    uint8_t *copy = base_alloc(bytes + 1);
    if (copy == NULL)
        exit(70);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    return copy;
}

struct sim_packet sim_packet_of(
    struct sim *self, const struct wire_message *message, const void *tensor, size_t tensor_bytes)
{
    struct base_error err = {0};
    uint8_t *data;
    size_t bytes;
    base_arena_reset(&self->arena);
    if (wire_encode(message, &self->arena, &data, &bytes, &err) != BASE_OK) {
        sim_fail(self, "a message cannot be encoded: %s", err.text);
        return (struct sim_packet){0};
    }
    return (struct sim_packet){.kind = message->kind,
        .body = copy_of(data, bytes),
        .bytes = bytes,
        .tensor = tensor_bytes > 0 ? copy_of(tensor, tensor_bytes) : NULL,
        .tensor_bytes = tensor_bytes};
}

struct sim_packet sim_packet_copy(const struct sim_packet *packet)
{
    struct sim_packet copy = *packet;
    copy.body = copy_of(packet->body, packet->bytes);
    copy.tensor = packet->tensor == NULL ? NULL : copy_of(packet->tensor, packet->tensor_bytes);
    return copy;
}

void sim_packet_release(struct sim_packet *packet)
{
    base_free(packet->body);
    base_free(packet->tensor);
    *packet = (struct sim_packet){0};
}

/* ---- connections ---- */

int sim_connect(struct sim *self, int from, int to, enum sim_plane plane, int slot)
{
    if (self->conn_count == SIM_CONNS_MAX) {
        sim_fail(self, "more connections than the simulator has room for");
        return -1;
    }
    self->conns[self->conn_count] =
        (struct sim_conn){.from = from, .to = to, .plane = plane, .slot = slot, .open = true};
    return self->conn_count++;
}

static uint64_t delay_us(struct sim *self)
{
    return sim_chance(self, 3) ? 1000 + sim_random(self, 30000) : 50 + sim_random(self, 1500);
}

void sim_conn_send(struct sim *self, int conn_index, int direction, struct sim_packet packet)
{
    struct sim_conn *conn = &self->conns[conn_index];
    if (!conn->open || packet.body == NULL) {
        sim_packet_release(&packet);
        return;
    }
    uint64_t time_us = self->now_us + delay_us(self);
    if (time_us < conn->last_us[direction])
        time_us = conn->last_us[direction];
    conn->last_us[direction] = time_us;
    sim_push(self,
        (struct sim_event){.kind = SIM_EVENT_DELIVER,
            .conn = conn_index,
            .direction = direction,
            .packet = packet},
        time_us - self->now_us);
}

void sim_conn_break(struct sim *self, int conn_index, bool noticed)
{
    struct sim_conn *conn = &self->conns[conn_index];
    if (!conn->open)
        return;
    conn->open = false;
    sim_push(self, (struct sim_event){.kind = SIM_EVENT_LOST, .conn = conn_index},
        noticed ? 100 + sim_random(self, 20000) : 400000 + sim_random(self, 400000));
    if (noticed && conn->plane == SIM_CONTROL)
        sim_push(self, (struct sim_event){.kind = SIM_EVENT_GONE, .conn = conn_index},
            100 + sim_random(self, 40000));
}

void sim_control_connect(struct sim *self, int process_index)
{
    struct sim_process *process = self->processes[process_index];
    if (!process->alive || process->control >= 0)
        return;
    process->control = sim_connect(self, process_index, self->coordinator, SIM_CONTROL, -1);
    if (process->kind == SIM_WORKER)
        worker_connected(process->worker, self->now_us / 1000);
    else if (process->kind == SIM_ROUTER)
        router_coordinator_connected(process->router, self->now_us);
}

/* ---- links of the data plane ---- */

static int listener_of(const struct sim *self, const char *endpoint)
{
    for (int i = 0; i < self->process_count; i++)
        if (self->processes[i]->alive && strcmp(self->processes[i]->endpoint, endpoint) == 0)
            return i;
    return -1;
}

static void connect_later(struct sim *self, int process, int slot, uint64_t delay)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    sim_push(self,
        (struct sim_event){
            .kind = SIM_EVENT_CONNECT, .process = process, .slot = slot, .number = ++link->attempt},
        delay);
}

static void say_hello(struct sim *self, int process_index, struct sim_link *link)
{
    const struct sim_process *process = self->processes[process_index];
    if (link->conn < 0 || link->greeted)
        return;
    struct wire_message hello = {.kind = WIRE_LINK_HELLO,
        .link_hello = {.epoch = link->epoch, .incarnation = process->incarnation}};
    memcpy(hello.link_hello.node_id, process->name, LIMIT_NAME_BYTES);
    sim_conn_send(self, link->conn, 0, sim_packet_of(self, &hello, NULL, 0));
    link->greeted = true;
}

static void flush(struct sim *self, int process, int slot)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    say_hello(self, process, link);
    while (link->queue_count > 0 && link->conn >= 0 && (!link->by_credit || link->credit > 0)) {
        if (link->by_credit)
            link->credit--;
        sim_conn_send(self, link->conn, 0, link->queue[0]);
        link->queue_count--;
        memmove(link->queue, link->queue + 1, link->queue_count * sizeof(link->queue[0]));
    }
}

void sim_link_point(struct sim *self, int process, int slot, uint64_t epoch, const char *endpoint)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    const char *where = endpoint == NULL ? "" : endpoint;
    bool same = where[0] != 0 && strcmp(where, link->endpoint) == 0;
    link->epoch = epoch;
    link->greeted = false;
    link->credit = 0;
    for (; link->queue_count > 0; link->queue_count--)
        sim_packet_release(&link->queue[link->queue_count - 1]);
    if (!same) {
        if (link->conn >= 0)
            self->conns[link->conn].open = false; /* closed by us: what is under way is lost */
        link->conn = -1;
        link->attempt++;
        (void)snprintf(link->endpoint, sizeof(link->endpoint), "%s", where);
        if (where[0] != 0)
            connect_later(self, process, slot, 100 + sim_random(self, 3000));
    }
    flush(self, process, slot);
}

void sim_link_connect(struct sim *self, int process, int slot, uint64_t attempt)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    if (!self->processes[process]->alive || link->attempt != attempt || link->conn >= 0)
        return;
    int to = listener_of(self, link->endpoint);
    if (to < 0) {
        connect_later(self, process, slot, 2 * RECONNECT_US);
        return;
    }
    link->conn = sim_connect(self, process, to, SIM_DATA, slot);
    link->greeted = false;
    link->credit = 0;
    if (link->conn >= 0)
        flush(self, process, slot);
}

void sim_link_lost(struct sim *self, int process, int slot, int conn)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    if (link->conn != conn)
        return;
    link->conn = -1;
    link->greeted = false;
    link->credit = 0;
    connect_later(
        self, process, slot, 2000 + sim_random(self, sim_chance(self, 50) ? 10000 : RECONNECT_US));
}

bool sim_link_send(struct sim *self, int process, int slot, struct sim_packet packet, bool queue)
{
    struct sim_link *link = &self->processes[process]->links[slot];
    bool goes = link->conn >= 0 && link->queue_count == 0 && (!link->by_credit || link->credit > 0);
    if (goes) {
        say_hello(self, process, link);
        if (link->by_credit)
            link->credit--;
        sim_conn_send(self, link->conn, 0, packet);
        return true;
    }
    if (!queue || link->queue_count == 256) {
        sim_packet_release(&packet);
        return false;
    }
    link->queue[link->queue_count++] = packet;
    return true;
}

void sim_link_credit(
    struct sim *self, int process_index, int slot, const struct wire_credit *credit)
{
    struct sim_process *process = self->processes[process_index];
    struct sim_link *link = &process->links[slot];
    if (credit->epoch != link->epoch)
        return;
    link->credit += credit->count;
    flush(self, process_index, slot);
    if (process->kind == SIM_ROUTER) {
        struct wire_message message = {.kind = WIRE_CREDIT, .credit = *credit};
        (void)router_data_message(process->router, self->now_us, "", &message, NULL, 0);
    }
}

/* ---- delivery ---- */

/* The key of whoever sent it, or of a process that did not. */
static const char *key_of(const struct sim *self, const struct sim_event *event, bool is_forged)
{
    const struct sim_conn *conn = &self->conns[event->conn];
    const int sender = event->direction == 0 ? conn->from : conn->to;
    return self->processes[is_forged ? (sender + 1) % self->process_count : sender]->public_key;
}

static uint64_t epoch_of_step(const struct wire_message *message)
{
    return message->kind == WIRE_STEP ? message->step.epoch : 0;
}

/* An admitted peer says the same before, with other numbers: nothing may come of it. */
static void forge(
    struct sim *self, int index, const struct sim_event *event, const struct wire_message *message)
{
    struct sim_process *process = self->processes[index];
    struct sim_packet packet = sim_packet_copy(&event->packet);
    const struct worker_origin from = {(uint64_t)event->conn, key_of(self, event, true)};
    for (size_t i = 0; i < packet.tensor_bytes; i++)
        packet.tensor[i] ^= 0x55;
    if (process->kind == SIM_ROUTER)
        (void)router_data_message(process->router, self->now_us, from.public_key, message,
            packet.tensor, packet.tensor_bytes);
    else if (epoch_of_step(message) != 0 &&
             epoch_of_step(message) == worker_epoch(process->worker) &&
             worker_data_message(process->worker, self->now_us / 1000, &from, message,
                 packet.tensor, packet.tensor_bytes))
        sim_fail(
            self, "%s took a step from another key than that of the hop before it", process->name);
    sim_packet_release(&packet);
}

static void deliver_to_worker(
    struct sim *self, int index, const struct sim_event *event, const struct wire_message *message)
{
    struct sim_process *process = self->processes[index];
    enum sim_plane plane = self->conns[event->conn].plane;
    if (plane == SIM_DATA) {
        const struct worker_origin from = {(uint64_t)event->conn, key_of(self, event, false)};
        forge(self, index, event, message);
        if (!worker_data_message(process->worker, self->now_us / 1000, &from, message,
                event->packet.tensor, event->packet.tensor_bytes))
            sim_fail(self, "%s refused a message of the hop before it", process->name);
        return;
    }
    if (message->kind == WIRE_PLAN)
        sim_plan_check(self, index, &message->plan);
    worker_coordinator_message(process->worker, self->now_us / 1000, message);
}

static void deliver_to_router(
    struct sim *self, int index, const struct sim_event *event, const struct wire_message *message)
{
    struct sim_process *process = self->processes[index];
    switch (self->conns[event->conn].plane) {
    case SIM_DATA:
        forge(self, index, event, message);
        if (!router_data_message(process->router, self->now_us, key_of(self, event, false), message,
                event->packet.tensor, event->packet.tensor_bytes))
            sim_fail(self, "%s refused a message of a stage", process->name);
        break;
    case SIM_CLIENT_PLANE:
        router_client_message(process->router, self->now_us, (uint64_t)event->conn, message);
        break;
    case SIM_CONTROL:
        if (message->kind == WIRE_PLAN)
            sim_plan_check(self, index, &message->plan);
        router_coordinator_message(process->router, self->now_us, message);
        break;
    }
}

void sim_deliver(struct sim *self, const struct sim_event *event)
{
    const struct sim_conn *conn = &self->conns[event->conn];
    int index = event->direction == 0 ? conn->to : conn->from;
    struct sim_process *process = self->processes[index];
    struct wire_message message;
    struct base_error err = {0};
    struct base_arena arena;
    if (!conn->open || !process->alive)
        return;
    base_arena_init(&arena, LIMIT_CLIENT_BYTES * 4);
    if (wire_decode(event->packet.kind, event->packet.body, event->packet.bytes, &arena, &message,
            &err) != BASE_OK ||
        wire_tensor_check(&message, event->packet.tensor_bytes, &err) != BASE_OK) {
        sim_fail(self, "a message cannot be decoded: %s", err.text);
    } else if (conn->plane == SIM_DATA && event->direction == 1) {
        if (message.kind == WIRE_CREDIT)
            sim_link_credit(self, index, conn->slot, &message.credit);
    } else if (process->kind == SIM_COORDINATOR) {
        if (message.kind == WIRE_REGISTER)
            memcpy(message.register_.public_key, key_of(self, event, false), LIMIT_KEY_BYTES);
        coordinator_message(
            process->coordinator, self->now_us / 1000, (uint64_t)event->conn, &message);
    } else if (process->kind == SIM_WORKER) {
        deliver_to_worker(self, index, event, &message);
    } else if (process->kind == SIM_ROUTER) {
        deliver_to_router(self, index, event, &message);
    } else {
        sim_client_message(self, index, &message, event->packet.tensor);
    }
    base_arena_release(&arena);
}
