/* What people ask for: status of the cluster and of a router; and the bare kinds. */
#include "wire_internal.h"

#include "client.pb-c.h"
#include "control.pb-c.h"
#include <float.h>

static void take_worker(
    struct wire_decoder *self, const Layermesh__V1__WorkerRow *from, struct wire_worker_row *ret)
{
    wire_take_node(self, "workers.node_id", from->node_id, true, ret->node_id);
    ret->pid = from->pid;
    wire_take_text(self, "workers.host", from->host, ret->host, sizeof(ret->host));
    ret->state = (enum wire_worker_state)wire_check_enum(
        self, "workers.state", (int)from->state, WIRE_WORKER_SPARE, WIRE_WORKER_LOST);
    ret->has_stage = from->has_stage != 0;
    ret->layer_first =
        wire_check_u32(self, "workers.layer_first", from->layer_first, 0, LIMIT_LAYERS_MAX);
    ret->layer_count = wire_check_u32(
        self, "workers.layer_count", from->layer_count, 0, LIMIT_LAYERS_MAX - ret->layer_first);
    ret->memory_bytes = from->memory_bytes;
    ret->weight_bytes = from->weight_bytes;
    ret->kv_bytes = from->kv_bytes;
    ret->kv_pages_total =
        wire_check_u32(self, "workers.kv_pages_total", from->kv_pages_total, 0, LIMIT_PAGES_MAX);
    ret->kv_pages_used =
        wire_check_u32(self, "workers.kv_pages_used", from->kv_pages_used, 0, ret->kv_pages_total);
    ret->predicted_ms =
        wire_check_real(self, "workers.predicted_ms", from->predicted_ms, 0, DBL_MAX);
    ret->measured_ms = wire_check_real(self, "workers.measured_ms", from->measured_ms, 0, DBL_MAX);
    ret->last_progress_ms = from->last_progress_ms;
    wire_take_text(self, "workers.reason", from->reason, ret->reason, sizeof(ret->reason));
    ret->load_progress = wire_check_real(self, "workers.load_progress", from->load_progress, 0, 1);
}

static void decode_status_reply(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__StatusReply *pb = unpacked;
    struct wire_status_reply *ret = &message->status_reply;

    ret->plan_epoch = pb->plan_epoch;
    ret->plan_state =
        wire_check_enum(self, "plan_state", (int)pb->plan_state, 0, WIRE_PLAN_UNAVAILABLE);
    wire_take_text(
        self, "plan_reason", pb->plan_reason, ret->plan_reason, sizeof(ret->plan_reason));
    ret->bottleneck_ms = wire_check_real(self, "bottleneck_ms", pb->bottleneck_ms, 0, DBL_MAX);
    ret->requests_running = pb->requests_running;
    ret->requests_waiting = pb->requests_waiting;
    struct wire_worker_row *workers =
        wire_take_rows(self, "workers", pb->n_workers, LIMIT_WORKERS_MAX, sizeof(*workers));
    for (size_t i = 0; workers != NULL && i < pb->n_workers; i++)
        take_worker(self, pb->workers[i], &workers[i]);
    ret->workers = workers;
    ret->worker_count = pb->n_workers;
    wire_take_card(self, pb->model, false, &ret->model);
    ret->router_count =
        wire_check_u32(self, "router_count", pb->router_count, 0, LIMIT_ROUTERS_MAX);
    wire_take_fault(self, pb->error, &ret->error);
}

static void put_worker(const struct wire_worker_row *from, Layermesh__V1__WorkerRow *pb)
{
    pb->node_id = (char *)from->node_id;
    pb->pid = from->pid;
    pb->host = (char *)from->host;
    pb->state = (Layermesh__V1__WorkerState)from->state;
    pb->has_stage = from->has_stage;
    pb->layer_first = from->layer_first;
    pb->layer_count = from->layer_count;
    pb->memory_bytes = from->memory_bytes;
    pb->weight_bytes = from->weight_bytes;
    pb->kv_bytes = from->kv_bytes;
    pb->kv_pages_used = from->kv_pages_used;
    pb->kv_pages_total = from->kv_pages_total;
    pb->predicted_ms = from->predicted_ms;
    pb->measured_ms = from->measured_ms;
    pb->last_progress_ms = from->last_progress_ms;
    pb->reason = (char *)from->reason;
    pb->load_progress = from->load_progress;
}

static void encode_status_reply(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_status_reply *from = &message->status_reply;
    Layermesh__V1__StatusReply *pb = unpacked;

    pb->plan_epoch = from->plan_epoch;
    pb->plan_state = (Layermesh__V1__PlanState)from->plan_state;
    pb->plan_reason = (char *)from->plan_reason;
    pb->bottleneck_ms = from->bottleneck_ms;
    pb->requests_running = from->requests_running;
    pb->requests_waiting = from->requests_waiting;
    pb->workers = wire_put_rows(self, from->worker_count, sizeof(*pb->workers));
    for (size_t i = 0; pb->workers != NULL && i < from->worker_count; i++) {
        Layermesh__V1__WorkerRow *worker =
            wire_put_message(self, &layermesh__v1__worker_row__descriptor);
        if (worker == NULL)
            return;
        put_worker(&from->workers[i], worker);
        pb->workers[pb->n_workers++] = worker;
    }
    pb->model = wire_put_card(self, &from->model, false);
    pb->router_count = from->router_count;
    pb->error = wire_put_fault(self, &from->error);
}

static void decode_router_status(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    const Layermesh__V1__RouterStatus *pb = unpacked;
    struct wire_router_status *ret = &message->router_status;

    ret->ready = pb->ready != 0;
    ret->plan_epoch = pb->plan_epoch;
    ret->requests_running = pb->requests_running;
    ret->requests_waiting = pb->requests_waiting;
    ret->kv_pages_total =
        wire_check_u32(self, "kv_pages_total", pb->kv_pages_total, 0, LIMIT_PAGES_MAX);
    ret->kv_pages_used =
        wire_check_u32(self, "kv_pages_used", pb->kv_pages_used, 0, ret->kv_pages_total);
    ret->kv_pages_saved = pb->kv_pages_saved;
}

static void encode_router_status(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    const struct wire_router_status *from = &message->router_status;
    Layermesh__V1__RouterStatus *pb = unpacked;

    (void)self;
    pb->ready = from->ready;
    pb->plan_epoch = from->plan_epoch;
    pb->requests_running = from->requests_running;
    pb->requests_waiting = from->requests_waiting;
    pb->kv_pages_used = from->kv_pages_used;
    pb->kv_pages_total = from->kv_pages_total;
    pb->kv_pages_saved = from->kv_pages_saved;
}

static void decode_error(
    struct wire_decoder *self, const void *unpacked, struct wire_message *message)
{
    wire_take_fault(self, unpacked, &message->error);
}

static void encode_error(
    struct wire_encoder *self, const struct wire_message *message, void *unpacked)
{
    (void)self;
    wire_fill_fault(&message->error, unpacked);
}

const struct wire_format wire_status_formats[] = {
    {WIRE_BARE_ROW(PROBE, probe)},
    {WIRE_BARE_ROW(STATUS_QUERY, status_query)},
    {WIRE_ROW(STATUS_REPLY, status_reply, LIMIT_CONTROL_BYTES)},
    {WIRE_ROW(ERROR, error, LIMIT_CONTROL_BYTES)},
    {WIRE_BARE_ROW(PING, ping)},
    {WIRE_BARE_ROW(ROUTER_STATUS_QUERY, router_status_query)},
    {WIRE_ROW(ROUTER_STATUS, router_status, LIMIT_CONTROL_BYTES)},
};
const size_t wire_status_format_count =
    sizeof(wire_status_formats) / sizeof(wire_status_formats[0]);
