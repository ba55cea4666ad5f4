/* One run: events in order of virtual time, invariants after each of them. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_alloc.h"

#define PROBE_US 30000000u /* a last request, after everything is well again */
#define QUIET_US 4000000u

void sim_fail(struct sim *self, const char *format, ...)
{
    va_list args;
    if (self->failure[0] != 0)
        return;
    va_start(args, format);
    int length =
        snprintf(self->failure, sizeof(self->failure), "at %.3f s: ", (double)self->now_us / 1e6);
    (void)vsnprintf(self->failure + length, sizeof(self->failure) - (size_t)length, format, args);
    va_end(args);
}

void sim_trace(struct sim *self, const char *format, ...)
{
    va_list args;
    if (!self->verbose)
        return;
    va_start(args, format);
    printf("%10.3f ", (double)self->now_us / 1e6);
    (void)vprintf(format, args);
    printf("\n");
    va_end(args);
}

uint64_t sim_random(struct sim *self, uint64_t bound)
{
    self->random++;
    return bound == 0 ? 0 : sim_mix(self->seed, self->random) % bound;
}

bool sim_chance(struct sim *self, uint32_t percent)
{
    return sim_random(self, 100) < percent;
}

/* ---- events ---- */

static bool is_earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->time_us < b->time_us || (a->time_us == b->time_us && a->order < b->order);
}

static void heap_push(struct sim *self, struct sim_event event)
{
    if (self->heap_count == self->heap_capacity) {
        size_t capacity = self->heap_capacity < 256 ? 256 : self->heap_capacity * 2;
        struct sim_event *heap = base_realloc_array(self->heap, capacity, sizeof(*heap));
        if (heap == NULL)
            exit(70);
        self->heap = heap;
        self->heap_capacity = capacity;
    }
    size_t at = self->heap_count++;
    for (; at > 0 && is_earlier(&event, &self->heap[(at - 1) / 2]); at = (at - 1) / 2)
        self->heap[at] = self->heap[(at - 1) / 2];
    self->heap[at] = event;
}

static struct sim_event heap_pop(struct sim *self)
{
    struct sim_event first = self->heap[0], last = self->heap[--self->heap_count];
    size_t at = 0;
    for (size_t child; (child = at * 2 + 1) < self->heap_count; at = child) {
        if (child + 1 < self->heap_count && is_earlier(&self->heap[child + 1], &self->heap[child]))
            child++;
        if (!is_earlier(&self->heap[child], &last))
            break;
        self->heap[at] = self->heap[child];
    }
    self->heap[at] = last;
    return first;
}

void sim_push(struct sim *self, struct sim_event event, uint64_t delay_us)
{
    event.time_us = self->now_us + delay_us;
    event.order = ++self->order;
    heap_push(self, event);
}

/* ---- processes ---- */

struct sim_process *sim_process_new(struct sim *self, enum sim_kind kind, int node)
{
    static const char *const names[] = {"coordinator", "router", "worker", "client"};
    if (self->process_count == SIM_PROCESSES_MAX) {
        sim_fail(self, "more processes than the simulator has room for");
        return NULL;
    }
    struct sim_process *process = base_alloc_zeroed(1, sizeof(*process));
    if (process == NULL)
        exit(70);
    process->kind = kind;
    process->node = node;
    process->alive = true;
    process->incarnation = sim_mix(self->seed, (uint64_t)self->process_count + 77) | 1;
    process->control = -1;
    process->links[0].conn = process->links[1].conn = -1;
    (void)snprintf(process->name, sizeof(process->name), "%s-%d", names[kind], node);
    (void)snprintf(process->endpoint, sizeof(process->endpoint), "inproc://%s-%d", names[kind],
        self->process_count);
    (void)snprintf(
        process->public_key, sizeof(process->public_key), "key-%036d", self->process_count);
    self->processes[self->process_count++] = process;
    return process;
}

static uint64_t tick_at_us(const struct sim_process *process)
{
    uint64_t next_us = UINT64_MAX;
    if (!process->alive)
        return UINT64_MAX;
    if (process->coordinator != NULL)
        next_us = coordinator_next_tick_ms(process->coordinator);
    else if (process->worker != NULL)
        next_us = worker_next_tick_ms(process->worker);
    else if (process->router != NULL)
        return router_next_tick_us(process->router);
    return next_us >= UINT64_MAX / 1000 ? UINT64_MAX : next_us * 1000;
}

/* When it is to tick; never twice in one moment, and not while it is stopped. */
static uint64_t due_us(const struct sim_process *process)
{
    uint64_t next_us = tick_at_us(process);
    if (next_us == UINT64_MAX)
        return next_us;
    if (next_us <= process->ticked_us)
        next_us = process->ticked_us + 1000;
    return next_us < process->frozen_until_us ? process->frozen_until_us : next_us;
}

void sim_at(struct sim *self, int index)
{
    struct sim_process *process = self->processes[index];
    process->ticked_us = self->now_us;
    if (process->coordinator != NULL)
        coordinator_tick(process->coordinator, self->now_us / 1000);
    else if (process->worker != NULL)
        worker_tick(process->worker, self->now_us / 1000);
    else if (process->router != NULL)
        router_tick(process->router, self->now_us);
}

/* ---- one event ---- */

/* Until when the event has to wait because its receiver is stopped or cut off. */
static uint64_t held_until_us(const struct sim *self, const struct sim_event *event)
{
    int process = event->process;
    uint64_t held_us = 0;
    if (event->kind == SIM_EVENT_DELIVER) {
        const struct sim_conn *conn = &self->conns[event->conn];
        process = event->direction == 0 ? conn->to : conn->from;
        held_us = conn->held_until_us;
    } else if (event->kind != SIM_EVENT_RAN && event->kind != SIM_EVENT_LOADED &&
               event->kind != SIM_EVENT_CONNECT) {
        return 0;
    }
    uint64_t frozen_us = self->processes[process]->frozen_until_us;
    return frozen_us > held_us ? frozen_us : held_us;
}

static void on_lost(struct sim *self, int conn_index)
{
    const struct sim_conn *conn = &self->conns[conn_index];
    struct sim_process *process = self->processes[conn->from];
    if (!process->alive)
        return;
    if (conn->plane == SIM_DATA) {
        sim_link_lost(self, conn->from, conn->slot, conn_index);
    } else if (conn->plane == SIM_CONTROL && process->control == conn_index) {
        process->control = -1;
        sim_push(self,
            (struct sim_event){.kind = SIM_EVENT_CONNECT, .process = conn->from, .slot = -1},
            50000 + sim_random(self, 200000));
    }
}

static void on_gone(struct sim *self, int conn_index)
{
    const struct sim_conn *conn = &self->conns[conn_index];
    struct sim_process *process = self->processes[conn->to];
    if (process->alive && process->coordinator != NULL)
        coordinator_peer_gone(process->coordinator, self->now_us / 1000, (uint64_t)conn_index);
}

static void handle(struct sim *self, struct sim_event *event)
{
    switch (event->kind) {
    case SIM_EVENT_DELIVER:
        sim_deliver(self, event);
        break;
    case SIM_EVENT_CONNECT:
        if (event->slot < 0)
            sim_control_connect(self, event->process);
        else
            sim_link_connect(self, event->process, event->slot, event->number);
        break;
    case SIM_EVENT_LOST:
        on_lost(self, event->conn);
        break;
    case SIM_EVENT_GONE:
        on_gone(self, event->conn);
        break;
    case SIM_EVENT_RAN:
        sim_ran(self, event->process, event->number);
        break;
    case SIM_EVENT_LOADED:
        if (self->processes[event->process]->alive)
            sim_loaded(self, event->process, event->number);
        break;
    case SIM_EVENT_FAULT:
        sim_fault(self);
        break;
    case SIM_EVENT_START:
        sim_start_worker(self, (int)event->number);
        break;
    case SIM_EVENT_REQUEST:
        sim_request_send(self, event->number);
        break;
    case SIM_EVENT_CANCEL:
        sim_request_cancel(self, event->number);
        break;
    case SIM_EVENT_PING:
        sim_client_ping(self, event->process);
        break;
    case SIM_EVENT_HEAL:
        sim_heal(self);
        break;
    }
}

/* The next event or tick. */
static void step(struct sim *self)
{
    int next = -1;
    uint64_t next_us = self->heap_count > 0 ? self->heap[0].time_us : UINT64_MAX;
    for (int i = 0; i < self->process_count; i++) {
        if (!self->processes[i]->alive)
            continue;
        uint64_t at_us = due_us(self->processes[i]);
        if (at_us < next_us) {
            next_us = at_us;
            next = i;
        }
    }
    if (next_us > self->now_us)
        self->now_us = next_us;
    self->event_count++;
    if (next >= 0) {
        sim_at(self, next);
        return;
    }
    struct sim_event event = heap_pop(self);
    uint64_t held_us = held_until_us(self, &event);
    if (held_us > self->now_us) {
        event.time_us = held_us; /* with its old place in the order */
        heap_push(self, event);
        return;
    }
    handle(self, &event);
    sim_packet_release(&event.packet);
}

/* ---- a run ---- */

/* Index of the last request. */
static size_t sim_probe(const struct sim *self)
{
    return self->request_count - self->requests[self->request_count - 1].choices;
}

static void set_up(struct sim *self)
{
    struct coordinator_options *options = &self->coordinator_options;
    coordinator_options_default(options);
    options->hang_ms = 4000;
    options->cooldown_ms = 5000;
    options->kv_tokens = 512 * (1 + sim_random(self, 3));
    options->stage_count = (uint32_t)sim_random(self, 5);
    options->min_workers = (uint32_t)(1 + sim_random(self, 2));
    self->node_count = (uint32_t)(2 + sim_random(self, SIM_NODES - 1));
    for (uint32_t i = 0; i < SIM_NODES; i++) {
        self->node_process[i] = -1;
        /* All layers and 512 positions of KV take some 13 MB: half the nodes hold them alone. */
        self->node_memory[i] = 6000000 + sim_random(self, 16) * 1000000;
        self->node_speed[i] = 0.5 + (double)sim_random(self, 4);
    }
    self->faults = !sim_chance(self, 10);
    if (!self->faults)
        self->node_memory[0] = 64000000;
    sim_start_coordinator(self);
    sim_start_router(self);
    sim_push(self,
        (struct sim_event){.kind = SIM_EVENT_CONNECT, .process = self->router, .slot = -1},
        sim_random(self, 100000));
    for (uint32_t i = 0; i < self->node_count; i++)
        if (i < 2 || sim_chance(self, 70))
            sim_push(self, (struct sim_event){.kind = SIM_EVENT_START, .number = i},
                sim_random(self, 300000));
    sim_start_clients(self);
    uint64_t requests = 2 + sim_random(self, SIM_PROMPTS_MAX - 3);
    for (uint64_t i = 0; i < requests; i++)
        sim_request_plan(self, 1000000 + sim_random(self, 9000000));
    if (self->faults)
        sim_faults_plan(self);
    sim_push(self, (struct sim_event){.kind = SIM_EVENT_HEAL}, SIM_HEAL_US);
    sim_request_plan(self, PROBE_US);
    for (size_t i = sim_probe(self); i < self->request_count; i++) {
        self->requests[i].client = self->clients[SIM_CLIENTS - 1];
        self->requests[i].is_score = false;
    }
}

/* After the last request: nobody may hold a page, and nothing may be under way for ever. */
static void check_quiet(struct sim *self)
{
    struct wire_router_status status;
    router_status(self->processes[self->router]->router, &status);
    if (status.requests_running + status.requests_waiting != 0 || status.kv_pages_used != 0)
        sim_fail(self, "the router still has %u requests and %u pages",
            status.requests_running + status.requests_waiting, status.kv_pages_used);
    if (status.kv_pages_saved != 0)
        sim_fail(self, "nobody holds pages, but %u are shared", status.kv_pages_saved);
    for (int i = 0; i < self->process_count; i++) {
        const struct sim_process *process = self->processes[i];
        if (process->alive && process->worker != NULL && worker_pages_used(process->worker) != 0)
            sim_fail(
                self, "%s still holds %u pages", process->name, worker_pages_used(process->worker));
    }
}

/* Whether all nodes together can hold the model at all. */
static bool probe_has_to_succeed(const struct sim *self)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < self->node_count; i++)
        bytes += self->node_memory[i];
    return bytes >= 40000000;
}

bool sim_run(struct sim *self, uint64_t seed, bool verbose)
{
    *self = (struct sim){.seed = seed, .verbose = verbose};
    base_arena_init(&self->arena, LIMIT_CLIENT_BYTES * 2);
    set_up(self);
    uint64_t quiet_us = 0;
    while (self->failure[0] == 0) {
        step(self);
        if (!sim_requests_done(self))
            quiet_us = 0;
        else if (quiet_us == 0)
            quiet_us = self->now_us + QUIET_US;
        else if (self->now_us >= quiet_us)
            break;
        sim_requests_watch(self);
    }
    if (self->failure[0] == 0)
        check_quiet(self);
    if (self->failure[0] == 0)
        sim_requests_check(self);
    const struct sim_request *probe = &self->requests[sim_probe(self)];
    if (self->failure[0] == 0 && probe->final.finish_reason == WIRE_FINISH_ERROR &&
        probe_has_to_succeed(self))
        sim_fail(self, "the mesh did not recover: %s", probe->final.error.text);
    return self->failure[0] == 0;
}

void sim_release(struct sim *self)
{
    for (int i = 0; i < self->process_count; i++) {
        struct sim_process *process = self->processes[i];
        coordinator_destroy(&process->coordinator);
        router_destroy(&process->router);
        worker_destroy(&process->worker);
        for (size_t k = 0; k < 4; k++)
            sim_kv_release(&process->stages[k].kv);
        for (size_t k = 0; k < process->run_count; k++)
            sim_packet_release(&process->runs[k].packet);
        for (size_t k = 0; k < 2; k++)
            for (size_t n = 0; n < process->links[k].queue_count; n++)
                sim_packet_release(&process->links[k].queue[n]);
        base_free(process);
    }
    for (size_t i = 0; i < self->heap_count; i++)
        sim_packet_release(&self->heap[i].packet);
    base_free(self->heap);
    base_arena_release(&self->arena);
}
