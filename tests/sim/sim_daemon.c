/* Processes of the mesh: the real cores, with sinks into the simulated network. */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_alloc.h"
#include "base_assert.h"
#include "wire_codec.h"

/* A sink's context: which process of which run. */
struct sink_context {
    struct sim *sim;
    int process;
};

static struct sink_context contexts[SIM_PROCESSES_MAX];

static void *context_of(struct sim *self, int process)
{
    contexts[process] = (struct sink_context){self, process};
    return &contexts[process];
}

static void send_up(void *context, const struct wire_message *message)
{
    const struct sink_context *of = context;
    struct sim_process *process = of->sim->processes[of->process];
    if (process->control >= 0)
        sim_conn_send(of->sim, process->control, 0, sim_packet_of(of->sim, message, NULL, 0));
}

/* ---- coordinator ---- */

static void coordinator_send_to(void *context, uint64_t peer, const struct wire_message *message)
{
    const struct sink_context *of = context;
    if (message->kind == WIRE_PLAN && message->plan.state == WIRE_PLAN_ACTIVE &&
        message->plan.epoch > of->sim->router_newest_seen) {
        of->sim->router_newest_seen = message->plan.epoch;
        of->sim->epoch_count++;
        sim_trace(of->sim, "plan %llu active: %zu stages, %u pages, %s",
            (unsigned long long)message->plan.epoch, message->plan.stage_count,
            message->plan.page_count, message->plan.reason);
    }
    sim_conn_send(of->sim, (int)peer, 1, sim_packet_of(of->sim, message, NULL, 0));
}

void sim_start_coordinator(struct sim *self)
{
    struct sim_process *process = sim_process_new(self, SIM_COORDINATOR, 0);
    if (process == NULL)
        return;
    struct coordinator_sink sink = {
        .context = context_of(self, self->process_count - 1), .send = coordinator_send_to};
    struct coordinator_options options = self->coordinator_options;
    options.incarnation = process->incarnation;
    self->coordinator = self->process_count - 1;
    if (coordinator_new(&options, &sink, &process->coordinator) != BASE_OK)
        exit(70);
}

/* One plan per epoch: nobody alive may hold two plans of one epoch, or two different ones. */
void sim_plan_check(struct sim *self, int receiver, const struct wire_plan *plan)
{
    uint64_t hash = sim_mix(plan->state == WIRE_PLAN_UNAVAILABLE, plan->page_count);
    for (size_t i = 0; i < plan->stage_count; i++)
        hash = sim_mix(sim_mix(hash, plan->stages[i].incarnation),
            ((uint64_t)plan->stages[i].layer_first << 32) | plan->stages[i].layer_count);
    struct sim_plan_seen *seen = NULL;
    for (size_t i = 0; i < self->plan_count && seen == NULL; i++)
        if (self->plans[i].epoch == plan->epoch)
            seen = &self->plans[i];
    if (seen == NULL) {
        base_assert(self->plan_count < 256);
        seen = &self->plans[self->plan_count++];
        *seen = (struct sim_plan_seen){.epoch = plan->epoch, .hash = hash};
    }
    if (seen->hash != hash) {
        for (int i = 0; i < self->process_count; i++)
            if (self->processes[i]->alive && ((seen->receivers[i / 64] >> (i % 64)) & 1) != 0)
                sim_fail(self, "epoch %llu names two plans; %s still has the first one",
                    (unsigned long long)plan->epoch, self->processes[i]->name);
        *seen = (struct sim_plan_seen){.epoch = plan->epoch, .hash = hash};
    }
    seen->receivers[receiver / 64] |= UINT64_C(1) << (receiver % 64);
}

/* ---- router ---- */

static void router_link_first(
    void *context, uint64_t epoch, const char *endpoint, const char *public_key)
{
    const struct sink_context *of = context;
    sim_link_point(of->sim, of->process, 0, epoch, endpoint);
}

static bool router_send_step(
    void *context, const struct wire_message *message, const void *tensor, size_t bytes)
{
    const struct sink_context *of = context;
    const struct sim_link *link = &of->sim->processes[of->process]->links[0];
    if (link->conn < 0 || link->credit == 0)
        return false;
    of->sim->step_count++;
    return sim_link_send(
        of->sim, of->process, 0, sim_packet_of(of->sim, message, tensor, bytes), false);
}

static enum router_sent router_send_client(void *context, uint64_t client,
    const struct wire_message *message, const void *tensor, size_t bytes)
{
    const struct sink_context *of = context;
    enum router_sent takes = sim_client_takes(of->sim, (int)client);
    if (takes == ROUTER_SENT)
        sim_conn_send(of->sim, (int)client, 1, sim_packet_of(of->sim, message, tensor, bytes));
    return takes;
}

void sim_start_router(struct sim *self)
{
    struct sim_process *process = sim_process_new(self, SIM_ROUTER, 0);
    if (process == NULL)
        return;
    int index = self->process_count - 1;
    struct router_sink sink = {.context = context_of(self, index),
        .send_coordinator = send_up,
        .link_first_stage = router_link_first,
        .send_step = router_send_step,
        .send_client = router_send_client};
    struct router_options options;
    router_options_default(&options);
    memcpy(options.node_id, process->name, sizeof(options.node_id));
    memcpy(options.data_endpoint, process->endpoint, sizeof(options.data_endpoint));
    options.incarnation = process->incarnation;
    options.batch_tokens = (uint32_t)(4 + sim_random(self, 60));
    options.requests_running = (uint32_t)(1 + sim_random(self, 12));
    options.client_silence_ms = 6000;
    options.step_deadline_ms = 1000;
    process->links[0].by_credit = true;
    self->router = index;
    if (router_new(&options, &sink, NULL, &process->router) != BASE_OK)
        exit(70);
}

/* ---- worker ---- */

static void worker_load(
    void *context, uint64_t epoch, const struct wire_plan *plan, size_t stage_index)
{
    const struct sink_context *of = context;
    struct sim *self = of->sim;
    struct sim_process *process = self->processes[of->process];
    const struct wire_stage *stage = &plan->stages[stage_index];
    struct sim_stage *free_stage = NULL;
    for (size_t i = 0; i < 4; i++) {
        /* A newer load supersedes what was loaded for a plan that never became active. */
        if (process->stages[i].epoch != 0 &&
            process->stages[i].epoch != worker_epoch(process->worker)) {
            sim_kv_release(&process->stages[i].kv);
            process->stages[i].epoch = 0;
        }
        if (process->stages[i].epoch == 0)
            free_stage = &process->stages[i];
    }
    base_assert(free_stage != NULL);
    free_stage->epoch = epoch;
    free_stage->is_last = stage_index + 1 == plan->stage_count;
    sim_kv_init(&free_stage->kv, stage->layer_first, stage->layer_count, plan->page_count,
        sim_random(self, UINT64_MAX));
    uint64_t load_us = 1000 + sim_random(self, 200000);
    if (self->faults && sim_chance(self, 10))
        load_us += sim_random(self, 3000000);
    sim_push(self,
        (struct sim_event){.kind = SIM_EVENT_LOADED, .process = of->process, .number = epoch},
        load_us);
}

void sim_loaded(struct sim *self, int process_index, uint64_t epoch)
{
    struct sim_process *process = self->processes[process_index];
    for (size_t i = 0; i < 4; i++)
        if (process->stages[i].epoch == epoch)
            worker_loaded(process->worker, self->now_us / 1000, epoch,
                process->stages[i].kv.page_count, NULL);
}

static struct sim_stage *stage_of(struct sim_process *process, uint64_t epoch)
{
    for (size_t i = 0; i < 4; i++)
        if (process->stages[i].epoch == epoch && epoch != 0)
            return &process->stages[i];
    return NULL;
}

static void worker_activates(void *context, uint64_t epoch)
{
    const struct sink_context *of = context;
    struct sim_process *process = of->sim->processes[of->process];
    for (size_t i = 0; i < 4; i++) {
        if (process->stages[i].epoch == 0 || process->stages[i].epoch == epoch)
            continue;
        sim_kv_release(&process->stages[i].kv);
        process->stages[i].epoch = 0;
    }
    if (epoch == 0) {
        sim_link_point(of->sim, of->process, 0, 0, NULL);
        sim_link_point(of->sim, of->process, 1, 0, NULL);
    } else if (stage_of(process, epoch) == NULL) {
        sim_fail(of->sim, "%s activates a stage that was never loaded", process->name);
    }
}

static void worker_run(
    void *context, const struct wire_message *step, const void *tensor, size_t bytes)
{
    const struct sink_context *of = context;
    struct sim_process *process = of->sim->processes[of->process];
    base_assert(process->run_count < 128);
    process->runs[process->run_count++].packet = sim_packet_of(of->sim, step, tensor, bytes);
    if (process->run_count == 1)
        sim_compute_next(of->sim, of->process);
}

void sim_compute_next(struct sim *self, int process_index)
{
    struct sim_process *process = self->processes[process_index];
    if (process->run_count == 0)
        return;
    uint64_t compute_us =
        (uint64_t)((double)(2000 + sim_random(self, 20000)) / self->node_speed[process->node]);
    if (self->faults && sim_chance(self, 1))
        compute_us += sim_random(self, 1500000);
    process->run_number++;
    sim_push(self,
        (struct sim_event){
            .kind = SIM_EVENT_RAN, .process = process_index, .number = process->run_number},
        compute_us);
}

static void run_stage(struct sim *self, struct sim_process *process, struct sim_stage *stage,
    const struct wire_message *step, const void *tensor)
{
    uint64_t hashes[LIMIT_BATCH_TOKENS_MAX];
    struct worker_run_result result = {.epoch = step->step.epoch,
        .batch_id = step->step.batch_id,
        .compute_us = 1000,
        .rows = process->rows};
    const char *fault = sim_kv_run(&stage->kv, &step->step, tensor, hashes);
    if (fault != NULL)
        sim_fail(self, "%s, step %llu of epoch %llu: %s", process->name,
            (unsigned long long)step->step.batch_id, (unsigned long long)step->step.epoch, fault);
    if (stage->is_last) {
        sim_result(&step->step, hashes, SIM_VOCAB, process->rows, &result.row_count,
            &process->output, &process->output_bytes);
    } else {
        process->output_bytes = step->step.token_count * sizeof(hashes[0]);
        process->output = base_alloc(process->output_bytes + 1);
        memcpy(process->output, hashes, process->output_bytes);
    }
    worker_ran(process->worker, self->now_us / 1000, &result);
    base_free(process->output);
    process->output = NULL;
    process->output_bytes = 0;
}

void sim_ran(struct sim *self, int process_index, uint64_t number)
{
    struct sim_process *process = self->processes[process_index];
    struct wire_message step;
    struct base_arena arena;
    struct base_error err = {0};
    if (!process->alive || process->run_count == 0 || process->run_number != number)
        return;
    if (process->hangs_until_us > self->now_us) {
        sim_push(self,
            (struct sim_event){.kind = SIM_EVENT_RAN, .process = process_index, .number = number},
            process->hangs_until_us - self->now_us);
        return;
    }
    struct sim_packet packet = process->runs[0].packet;
    process->run_count--;
    memmove(process->runs, process->runs + 1, process->run_count * sizeof(process->runs[0]));
    base_arena_init(&arena, LIMIT_CLIENT_BYTES);
    if (wire_decode(packet.kind, packet.body, packet.bytes, &arena, &step, &err) != BASE_OK) {
        sim_fail(self, "a step cannot be decoded: %s", err.text);
    } else {
        struct sim_stage *stage = stage_of(process, step.step.epoch);
        if (stage != NULL) /* else the stage is gone, and nobody wants the result */
            run_stage(self, process, stage, &step, packet.tensor);
    }
    base_arena_release(&arena);
    sim_packet_release(&packet);
    sim_compute_next(self, process_index);
}

static void worker_links(
    void *context, uint64_t epoch, const struct worker_hop *next, const struct worker_hop *router)
{
    const struct sink_context *of = context;
    sim_link_point(of->sim, of->process, 0, epoch, next == NULL ? NULL : next->endpoint);
    sim_link_point(of->sim, of->process, 1, epoch, router->endpoint);
}

static void send_on(const struct sink_context *of, int slot, const struct wire_message *message)
{
    const struct sim_process *process = of->sim->processes[of->process];
    bool carries = (message->kind == WIRE_STEP && message->step.token_count > 0) ||
                   (message->kind == WIRE_RESULT && message->result.row_count > 0);
    sim_link_send(of->sim, of->process, slot,
        sim_packet_of(of->sim, message, carries ? process->output : NULL,
            carries ? process->output_bytes : 0),
        true);
}

static void worker_sends_next(void *context, const struct wire_message *message)
{
    send_on(context, 0, message);
}

static void worker_sends_router(void *context, const struct wire_message *message)
{
    send_on(context, 1, message);
}

static void worker_grants(void *context, uint64_t peer, const struct wire_message *credit)
{
    const struct sink_context *of = context;
    sim_conn_send(of->sim, (int)peer, 1, sim_packet_of(of->sim, credit, NULL, 0));
}

void sim_start_worker(struct sim *self, int node)
{
    static const struct wire_rate rate = {.weight_type = 1, .gops = 100, .gigabytes_per_s = 10};
    static struct wire_layer_cost layers[SIM_LAYERS + 2];
    if (self->node_process[node] >= 0)
        return;
    struct sim_process *process = sim_process_new(self, SIM_WORKER, node);
    if (process == NULL)
        return;
    int index = self->process_count - 1;
    for (size_t i = 0; i < SIM_LAYERS + 2; i++)
        layers[i] = (struct wire_layer_cost){.weight_type = 1,
            .weight_bytes = 1000000,
            .operations_per_token = 1000000,
            .kv_bytes_per_token = i > 0 && i <= SIM_LAYERS ? 1000 : 0};
    struct worker_options options = {.identity = {.protocol_version = WIRE_PROTOCOL_VERSION,
                                         .min_version = WIRE_PROTOCOL_MIN,
                                         .role = WIRE_ROLE_WORKER,
                                         .incarnation = process->incarnation,
                                         .pid = (uint32_t)index,
                                         .memory_bytes = self->node_memory[node],
                                         .thread_count = 1,
                                         .rates = &rate,
                                         .rate_count = 1,
                                         .model = {.fingerprint = 5,
                                             .name = "hash",
                                             .architecture = "hash",
                                             .layer_count = SIM_LAYERS,
                                             .embedding_length = SIM_EMBEDDING,
                                             .vocab_size = SIM_VOCAB,
                                             .context_length = 512,
                                             .layers = layers,
                                             .layers_count = SIM_LAYERS + 2}}};
    struct worker_sink sink = {context_of(self, index), send_up, worker_load, worker_activates,
        worker_run, worker_links, worker_sends_next, worker_sends_router, worker_grants};
    memcpy(options.identity.node_id, process->name, sizeof(process->name));
    memcpy(options.identity.data_endpoint, process->endpoint, sizeof(process->endpoint));
    process->links[0].by_credit = true;
    self->node_process[node] = index;
    if (worker_new(&options, &sink, &process->worker) != BASE_OK)
        exit(70);
    sim_push(self, (struct sim_event){.kind = SIM_EVENT_CONNECT, .process = index, .slot = -1},
        100 + sim_random(self, 50000));
}

/* ---- death ---- */

void sim_kill(struct sim *self, int process_index, bool noticed)
{
    struct sim_process *process = self->processes[process_index];
    if (!process->alive)
        return;
    process->alive = false;
    for (int i = 0; i < self->conn_count; i++)
        if (self->conns[i].open &&
            (self->conns[i].from == process_index || self->conns[i].to == process_index))
            sim_conn_break(self, i, noticed);
    if (process->kind == SIM_WORKER)
        self->node_process[process->node] = -1;
}
