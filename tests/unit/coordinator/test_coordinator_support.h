/* A coordinator in virtual time with peers made of helpers, and a record of all it sends. */
#ifndef TEST_COORDINATOR_SUPPORT_H
#define TEST_COORDINATOR_SUPPORT_H

#include "coordinator.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MIB         UINT64_C(1048576)
#define RECORDS_MAX 4096
#define BLOCKS      8

struct test_record {
    uint64_t peer;
    struct wire_message message;
    struct wire_stage stages[8];
};

struct test_mesh {
    struct coordinator_options options;
    struct coordinator *self;
    uint64_t now_ms;
    struct test_record records[RECORDS_MAX];
    size_t record_count;
    struct wire_worker_row rows[LIMIT_WORKERS_MAX]; /* of the last status reply */
    struct wire_status_reply status;
    struct wire_layer_cost layers[BLOCKS + 2];
    uint64_t memory_bytes; /* of the next worker that registers */
    double gigabytes_per_s;
    bool standby;
    uint64_t fingerprint;
    uint32_t kv_type;
};

static struct test_mesh mesh;

static inline void test_send(void *context, uint64_t peer, const struct wire_message *message)
{
    struct test_mesh *self = context;
    struct test_record *record;

    cr_assert_lt(self->record_count, RECORDS_MAX);
    record = &self->records[self->record_count++];
    record->peer = peer;
    record->message = *message;
    if (message->kind == WIRE_PLAN) {
        cr_assert_leq(message->plan.stage_count, 8);
        for (size_t i = 0; i < message->plan.stage_count; i++)
            record->stages[i] = message->plan.stages[i];
        record->message.plan.stages = record->stages;
    }
    if (message->kind == WIRE_STATUS_REPLY) {
        self->status = message->status_reply;
        for (size_t i = 0; i < message->status_reply.worker_count; i++)
            self->rows[i] = message->status_reply.workers[i];
        self->status.workers = self->rows;
    }
}

/* Options first: mesh.options may be changed before test_start(). */
static inline void test_init(void)
{
    memset(&mesh, 0, sizeof(mesh));
    coordinator_options_default(&mesh.options);
    mesh.options.incarnation = 77;
    mesh.options.kv_tokens = 1024;
    mesh.now_ms = 1000;
    mesh.memory_bytes = 1024 * MIB;
    mesh.gigabytes_per_s = 10;
    mesh.fingerprint = 0xabcd;
    mesh.kv_type = 1;
    for (size_t i = 0; i < BLOCKS + 2; i++)
        mesh.layers[i] = (struct wire_layer_cost){
            .weight_type = 8,
            .weight_bytes = 4 * MIB,
            .operations_per_token = 8 * MIB,
            .kv_bytes_per_token = i == 0 || i == BLOCKS + 1 ? 0 : 1024,
        };
}

static inline void test_start(void)
{
    struct coordinator_sink sink = {&mesh, test_send};

    cr_assert_eq(coordinator_new(&mesh.options, &sink, &mesh.self), BASE_OK);
}

static inline void test_end(void)
{
    coordinator_destroy(&mesh.self);
    cr_assert_null(mesh.self);
}

static inline void test_deliver(uint64_t peer, const struct wire_message *message)
{
    coordinator_message(mesh.self, mesh.now_ms, peer, message);
}

static inline void test_register_full(
    uint64_t peer, enum wire_role role, const char *node_id, uint64_t incarnation, uint64_t epoch)
{
    struct wire_rate rate = {
        .weight_type = 8, .gops = 100, .gigabytes_per_s = mesh.gigabytes_per_s};
    struct wire_message message = {
        .kind = WIRE_REGISTER,
        .register_ =
            {
                .protocol_version = WIRE_PROTOCOL_VERSION,
                .min_version = WIRE_PROTOCOL_MIN,
                .features = WIRE_FEATURE_TOP_LOGITS | 1024,
                .role = role,
                .incarnation = incarnation,
                .memory_bytes = mesh.memory_bytes,
                .rates = &rate,
                .rate_count = 1,
                .standby = mesh.standby,
                .plan_epoch = epoch,
            },
    };

    (void)snprintf(message.register_.node_id, LIMIT_NAME_BYTES, "%s", node_id);
    (void)snprintf(message.register_.data_endpoint, LIMIT_ENDPOINT_BYTES, "inproc://%s-%d", node_id,
        (int)incarnation);
    memset(message.register_.public_key, 'x', LIMIT_KEY_BYTES - 1);
    memcpy(message.register_.public_key, node_id, strlen(node_id));
    if (role == WIRE_ROLE_WORKER) {
        message.register_.model = (struct wire_model_card){
            .fingerprint = mesh.fingerprint,
            .kv_type = mesh.kv_type,
            .layer_count = BLOCKS,
            .embedding_length = 64,
            .vocab_size = 1000,
            .context_length = 4096,
            .layers = mesh.layers,
            .layers_count = BLOCKS + 2,
        };
        (void)snprintf(message.register_.model.name, LIMIT_HOST_BYTES, "tiny");
    }
    test_deliver(peer, &message);
}

/* Worker n speaks from peer n as "worker-n", routers from peer 100 on. */
static inline void test_worker(uint64_t n)
{
    char node_id[LIMIT_NAME_BYTES];

    (void)snprintf(node_id, sizeof(node_id), "worker-%d", (int)n);
    test_register_full(n, WIRE_ROLE_WORKER, node_id, n, 0);
}

static inline void test_router(uint64_t n)
{
    char node_id[LIMIT_NAME_BYTES];

    (void)snprintf(node_id, sizeof(node_id), "router-%d", (int)n);
    test_register_full(100 + n, WIRE_ROLE_ROUTER, node_id, 100 + n, 0);
}

static inline struct wire_message test_heartbeat_of(uint64_t n)
{
    struct wire_message message = {
        .kind = WIRE_HEARTBEAT,
        .heartbeat = {.incarnation = n, .state = WIRE_WORKER_READY},
    };

    (void)snprintf(message.heartbeat.node_id, LIMIT_NAME_BYTES,
        n >= 100 ? "router-%d" : "worker-%d", (int)(n >= 100 ? n - 100 : n));
    message.heartbeat.plan_epoch = coordinator_epoch(mesh.self);
    return message;
}

static inline void test_heartbeat(uint64_t n)
{
    struct wire_message message = test_heartbeat_of(n);

    test_deliver(n, &message);
}

static inline void test_status_of_stage(uint64_t n, uint64_t epoch, enum wire_stage_state state)
{
    struct wire_message message = {
        .kind = WIRE_STAGE_STATUS,
        .stage_status = {.incarnation = n, .epoch = epoch, .state = state},
    };

    (void)snprintf(message.stage_status.node_id, LIMIT_NAME_BYTES, "worker-%d", (int)n);
    if (state == WIRE_STAGE_FAILED) {
        message.stage_status.error.code = BASE_IO;
        (void)snprintf(message.stage_status.error.text, BASE_ERROR_TEXT_BYTES, "disk on fire");
    }
    test_deliver(n, &message);
}

/* Lets time pass in ticks, with heartbeats of the peers in the list (0 ends it). */
static inline void test_pass(uint64_t milliseconds, const uint64_t *peers)
{
    uint64_t end_ms = mesh.now_ms + milliseconds;

    while (mesh.now_ms < end_ms) {
        mesh.now_ms += end_ms - mesh.now_ms < 250 ? end_ms - mesh.now_ms : 250;
        for (const uint64_t *peer = peers; peer && *peer; peer++)
            test_heartbeat(*peer);
        coordinator_tick(mesh.self, mesh.now_ms);
    }
}

/* The last message of a kind to a peer (0: to anybody); NULL: none. */
static inline const struct wire_message *test_last(uint64_t peer, enum wire_kind kind)
{
    for (size_t i = mesh.record_count; i-- > 0;)
        if ((!peer || mesh.records[i].peer == peer) && mesh.records[i].message.kind == kind)
            return &mesh.records[i].message;
    return NULL;
}

static inline size_t test_count(uint64_t peer, enum wire_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < mesh.record_count; i++)
        count += mesh.records[i].peer == peer && mesh.records[i].message.kind == kind;
    return count;
}

static inline const struct wire_plan *test_plan(uint64_t peer)
{
    const struct wire_message *message = test_last(peer, WIRE_PLAN);

    cr_assert_not_null(message);
    return &message->plan;
}

/* The worker number that holds stage i of a plan. */
static inline uint64_t test_stage_worker(const struct wire_plan *plan, size_t i)
{
    cr_assert_lt(i, plan->stage_count);
    return plan->stages[i].incarnation % 1000;
}

static inline bool test_plan_has(const struct wire_plan *plan, uint64_t n)
{
    for (size_t i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].incarnation == n)
            return true;
    return false;
}

/* All workers of the plan that is being prepared are ready. */
static inline void test_all_ready(void)
{
    struct wire_plan plan = test_last(0, WIRE_PLAN)->plan;
    struct wire_stage stages[8];

    cr_assert_eq(plan.state, WIRE_PLAN_PREPARE);
    memcpy(stages, plan.stages, plan.stage_count * sizeof(stages[0]));
    for (size_t i = 0; i < plan.stage_count; i++)
        test_status_of_stage(stages[i].incarnation, plan.epoch, WIRE_STAGE_READY);
}

/* Router and workers 1..count, the first plan active. */
static inline void test_serve(uint64_t count)
{
    test_router(0);
    for (uint64_t n = 1; n <= count; n++)
        test_worker(n);
    test_pass(mesh.options.settle_ms, (uint64_t[]){100, 0});
    test_all_ready();
    cr_assert_eq(test_plan(100)->state, WIRE_PLAN_ACTIVE);
}

static inline const struct wire_worker_row *test_row(uint64_t n)
{
    struct wire_message query = {.kind = WIRE_STATUS_QUERY};
    char node_id[LIMIT_NAME_BYTES];

    (void)snprintf(node_id, sizeof(node_id), "worker-%d", (int)n);
    test_deliver(999, &query);
    for (size_t i = 0; i < mesh.status.worker_count; i++)
        if (strcmp(mesh.rows[i].node_id, node_id) == 0)
            return &mesh.rows[i];
    return NULL;
}

/* One plan per epoch: equal epochs are equal plans. */
static inline void test_check_epochs(void)
{
    for (size_t i = 0; i < mesh.record_count; i++) {
        const struct wire_plan *a = &mesh.records[i].message.plan;

        if (mesh.records[i].message.kind != WIRE_PLAN)
            continue;
        for (size_t j = 0; j < i; j++) {
            const struct wire_plan *b = &mesh.records[j].message.plan;

            if (mesh.records[j].message.kind != WIRE_PLAN || a->epoch != b->epoch)
                continue;
            cr_assert_eq(a->stage_count, b->stage_count);
            cr_assert_eq(a->page_count, b->page_count);
            cr_assert_str_eq(a->router_endpoint, b->router_endpoint);
            for (size_t k = 0; k < a->stage_count; k++) {
                cr_assert_eq(a->stages[k].incarnation, b->stages[k].incarnation);
                cr_assert_eq(a->stages[k].layer_first, b->stages[k].layer_first);
            }
        }
    }
}

#endif
