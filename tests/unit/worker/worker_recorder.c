#include "worker_recorder.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct recorder_call *add(struct recorder *self, enum recorder_kind kind)
{
    cr_assert_lt(self->count, RECORDER_MAX);
    struct recorder_call *call = &self->calls[self->count++];
    memset(call, 0, sizeof(*call));
    call->kind = kind;
    return call;
}

static struct recorder_call *add_message(
    struct recorder *self, enum recorder_kind kind, const struct wire_message *message)
{
    struct recorder_call *call = add(self, kind);

    call->message_kind = message->kind;
    call->message = *message;
    if (message->kind == WIRE_STEP) {
        const struct wire_step *step = &message->step;
        call->epoch = step->epoch;
        call->batch_id = step->batch_id;
        call->last_hop_us = step->hop_count > 0 ? step->hop_us[step->hop_count - 1] : 0;
        call->first_page = step->sequence_count > 0 ? step->sequences[0].pages[0] : 0;
    } else if (message->kind == WIRE_RESULT) {
        const struct wire_result *result = &message->result;
        call->epoch = result->epoch;
        call->batch_id = result->batch_id;
        call->last_hop_us = result->hop_us[result->hop_count - 1];
    } else if (message->kind == WIRE_STEP_ERROR) {
        call->epoch = message->step_error.epoch;
        call->batch_id = message->step_error.batch_id;
    }
    return call;
}

static void on_coordinator(void *context, const struct wire_message *message)
{
    add_message(context, RECORDER_COORDINATOR, message);
}

static void on_load(void *context, uint64_t epoch, const struct wire_plan *plan, size_t stage_index)
{
    struct recorder_call *call = add(context, RECORDER_LOAD);

    cr_assert_str_eq(plan->stages[stage_index].node_id, "me");
    call->epoch = epoch;
    call->stage_index = stage_index;
}

static void on_activate(void *context, uint64_t epoch)
{
    add(context, RECORDER_ACTIVATE)->epoch = epoch;
}

static void on_run(void *context, const struct wire_message *step, const void *tensor, size_t bytes)
{
    (void)tensor;
    (void)bytes;
    add_message(context, RECORDER_RUN, step);
}

static void on_link(
    void *context, uint64_t epoch, const struct worker_hop *next, const struct worker_hop *router)
{
    struct recorder_call *call = add(context, RECORDER_LINK);

    call->epoch = epoch;
    (void)snprintf(call->next, sizeof(call->next), "%s", next ? next->endpoint : "-");
    (void)snprintf(call->router, sizeof(call->router), "%s", router->endpoint);
}

static void on_next(void *context, const struct wire_message *message)
{
    add_message(context, RECORDER_NEXT, message);
}

static void on_router(void *context, const struct wire_message *message)
{
    add_message(context, RECORDER_ROUTER, message);
}

static void on_grant(void *context, uint64_t peer, const struct wire_message *credit)
{
    struct recorder_call *call = add_message(context, RECORDER_GRANT, credit);

    call->peer = peer;
    call->epoch = credit->credit.epoch;
}

void recorder_start(struct recorder *self)
{
    static const struct wire_layer_cost layers[RECORDER_LAYERS + 2];
    struct worker_options options = {.identity = {
                                         .protocol_version = WIRE_PROTOCOL_VERSION,
                                         .min_version = WIRE_PROTOCOL_MIN,
                                         .role = WIRE_ROLE_WORKER,
                                         .node_id = "me",
                                         .incarnation = 7,
                                         .data_endpoint = "tcp://127.0.0.1:7007",
                                         .model = {.fingerprint = 99,
                                             .layer_count = RECORDER_LAYERS,
                                             .embedding_length = RECORDER_WIDTH,
                                             .vocab_size = 32,
                                             .context_length = 512,
                                             .layers = layers,
                                             .layers_count = RECORDER_LAYERS + 2},
                                     }};
    struct worker_sink sink = {
        self, on_coordinator, on_load, on_activate, on_run, on_link, on_next, on_router, on_grant};

    memset(self, 0, sizeof(*self));
    cr_assert_eq(worker_new(&options, &sink, &self->worker), BASE_OK);
}

void recorder_stop(struct recorder *self)
{
    worker_destroy(&self->worker);
    cr_assert_null(self->worker);
}

void recorder_register(struct recorder *self, uint64_t now_ms)
{
    struct wire_message registered = {.kind = WIRE_REGISTERED,
        .registered = {.protocol_version = 1,
            .heartbeat_interval_ms = 500,
            .lease_ms = 2000,
            .coordinator_incarnation = 11}};

    worker_connected(self->worker, now_ms);
    worker_coordinator_message(self->worker, now_ms, &registered);
    recorder_clear(self);
}

void recorder_clear(struct recorder *self)
{
    self->count = 0;
}

size_t recorder_count(const struct recorder *self, enum recorder_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < self->count; i++)
        count += self->calls[i].kind == kind;
    return count;
}

const struct recorder_call *recorder_last(const struct recorder *self, enum recorder_kind kind)
{
    for (size_t i = self->count; i > 0; i--) {
        if (self->calls[i - 1].kind == kind)
            return &self->calls[i - 1];
    }
    return NULL;
}

void recorder_key(const char *node, char ret_key[LIMIT_KEY_BYTES])
{
    memset(ret_key, 'k', LIMIT_KEY_BYTES - 1);
    memcpy(ret_key, node, strlen(node));
    ret_key[LIMIT_KEY_BYTES - 1] = 0;
}

void recorder_plan(struct recorder *self, uint64_t now_ms, uint64_t epoch,
    enum wire_plan_state state, size_t stage_count, size_t index)
{
    struct wire_stage stages[LIMIT_STAGES_MAX] = {0};
    struct wire_message message = {.kind = WIRE_PLAN,
        .plan = {.epoch = epoch,
            .state = state,
            .fingerprint = 99,
            .stages = stages,
            .stage_count = stage_count,
            .router_node_id = "router",
            .router_endpoint = "tcp://127.0.0.1:9000",
            .page_tokens = 64,
            .page_count = RECORDER_PAGES,
            .context_length = 512,
            .embedding_length = RECORDER_WIDTH,
            .vocab_size = 32}};

    if (self->has_keys)
        recorder_key("router", message.plan.router_public_key);
    for (size_t i = 0; i < stage_count; i++) {
        (void)snprintf(stages[i].node_id, sizeof(stages[i].node_id), i == index ? "me" : "w%zu", i);
        (void)snprintf(
            stages[i].endpoint, sizeof(stages[i].endpoint), "tcp://127.0.0.1:%zu", 100 + i);
        if (self->has_keys)
            recorder_key(stages[i].node_id, stages[i].public_key);
        stages[i].incarnation = i == index ? 7 : 50 + i;
        stages[i].layer_first = (uint32_t)(i * RECORDER_LAYERS / stage_count);
        stages[i].layer_count =
            (uint32_t)((i + 1) * RECORDER_LAYERS / stage_count) - stages[i].layer_first;
    }
    worker_coordinator_message(self->worker, now_ms, &message);
}

void recorder_hello(
    struct recorder *self, uint64_t peer, uint64_t epoch, const char *node, uint64_t incarnation)
{
    struct wire_message message = {
        .kind = WIRE_LINK_HELLO, .link_hello = {.epoch = epoch, .incarnation = incarnation}};

    (void)snprintf(message.link_hello.node_id, LIMIT_NAME_BYTES, "%s", node);
    const struct worker_origin from = {peer, self->sender_key};
    self->is_taken = worker_data_message(self->worker, 0, &from, &message, NULL, 0);
}

void recorder_serve(struct recorder *self, uint64_t epoch, size_t stage_count, size_t index)
{
    char node[LIMIT_NAME_BYTES];

    recorder_plan(self, 0, epoch, WIRE_PLAN_PREPARE, stage_count, index);
    worker_loaded(self->worker, 0, epoch, RECORDER_PAGES, NULL);
    recorder_plan(self, 0, epoch, WIRE_PLAN_ACTIVE, stage_count, index);
    cr_assert_eq(worker_epoch(self->worker), epoch);
    if (index == 0) {
        recorder_hello(self, 5, epoch, "router", 1);
    } else {
        (void)snprintf(node, sizeof(node), "w%zu", index - 1);
        recorder_hello(self, 5, epoch, node, 50 + index - 1);
    }
    recorder_clear(self);
}

void recorder_step(struct recorder *self, uint64_t now_ms, const struct recorder_step *step)
{
    static const uint8_t tensor[LIMIT_BATCH_TOKENS_MAX * RECORDER_WIDTH * 4];
    uint32_t pages[16];
    struct wire_sequence sequence = {.sequence_id = 1,
        .first_position = step->first_position,
        .token_count = step->token_count,
        .pages = pages,
        .page_count = (step->first_position + step->token_count + 63) / 64};
    struct wire_message message = {.kind = WIRE_STEP,
        .step = {.epoch = step->epoch,
            .batch_id = step->batch_id,
            .token_count = step->token_count,
            .embedding_length = step->embedding_length,
            .sequences = &sequence,
            .sequence_count = step->token_count > 0 ? 1 : 0,
            .released_pages = step->released,
            .released_page_count = step->released_count}};
    size_t bytes =
        (size_t)step->token_count * (step->embedding_length > 0 ? step->embedding_length : 1) * 4;

    cr_assert_leq(sequence.page_count, 16);
    for (size_t i = 0; i < sequence.page_count; i++)
        pages[i] = step->first_page + (uint32_t)i;
    const struct worker_origin from = {step->peer == 0 ? 5 : step->peer, self->sender_key};
    self->is_taken = worker_data_message(self->worker, now_ms, &from, &message, tensor,
        step->tensor_bytes > 0 ? step->tensor_bytes : bytes);
    memset(pages, 0xff, sizeof(pages)); /* what was borrowed is gone after the call */
}

void recorder_ran(struct recorder *self, uint64_t now_ms, uint64_t epoch, uint64_t batch_id)
{
    struct worker_run_result result = {.epoch = epoch, .batch_id = batch_id, .compute_us = 4000};

    worker_ran(self->worker, now_ms, &result);
}
