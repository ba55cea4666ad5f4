#include "worker_data_io.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "base_queue.h"
#include "worker.h"
#include "worker_admin.h"
#include "worker_compute.h"
#include "worker_control_io.h"
#include "worker_link.h"
#include "worker_loader.h"
#include "worker_peers.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RECEIVE_BURST 16 /* messages taken before the other sockets are looked at */
#define RETRY_MS      20
#define POLL_MS       1000

struct worker_data {
    struct worker_data_options options;
    pthread_t thread;
    struct worker *core;
    struct net_socket *incoming;
    struct worker_link *next, *router;
    struct worker_peers peers;
    struct worker_stage *loaded;  /* loaded last and not active yet */
    struct net_inbound *current;  /* message in the core's hands; run() may take it */
    struct worker_buffer *output; /* of the run that just ended */
    bool connected;               /* to the coordinator */
    bool draining, told;          /* told: the main thread knows that we are done */
    bool stop;
};

static void notify(struct worker_data *self, enum worker_notice_kind kind, const char *text)
{
    struct worker_notice *notice = base_alloc_zeroed(1, sizeof(*notice));

    if (notice == NULL)
        return;
    notice->kind = kind;
    (void)snprintf(notice->text, sizeof(notice->text), "%s", text);
    if (base_queue_push(self->options.notices, notice) != BASE_OK)
        base_free(notice);
}

/* ---- what the core decides ---- */

static void on_send_coordinator(void *context, const struct wire_message *message)
{
    struct worker_data *self = context;
    const struct wire_stage_status *status = &message->stage_status;

    if (message->kind == WIRE_STAGE_STATUS && status->state == WIRE_STAGE_READY)
        base_log(BASE_LOG_INFO, "ready", "epoch=%llu", (unsigned long long)status->epoch);
    if (message->kind == WIRE_STAGE_STATUS && status->state == WIRE_STAGE_FAILED)
        base_log(BASE_LOG_ERROR, "load-failed", "epoch=%llu error=\"%s\"",
            (unsigned long long)status->epoch, status->error.text);
    worker_control_send(self->options.control, message);
}

static void on_load(void *context, uint64_t epoch, const struct wire_plan *plan, size_t stage_index)
{
    struct worker_data *self = context;
    const struct wire_stage *stage = &plan->stages[stage_index];
    const struct stage_options options = {.layer_first = stage->layer_first,
        .layer_count = stage->layer_count,
        .embeds = stage_index == 0,
        .has_head = stage_index + 1 == plan->stage_count,
        .page_tokens = plan->page_tokens,
        .page_count = plan->page_count,
        .batch_tokens_max = self->options.batch_tokens_max,
        .context_length = plan->context_length,
        .kv_type = self->options.identity.model.kv_type,
        .pack_cache = self->options.pack_cache,
        .fast_float = self->options.fast_float};

    base_log(BASE_LOG_INFO, "loading", "epoch=%llu stage=%zu/%zu layers=%u..%u pages=%u",
        (unsigned long long)epoch, stage_index + 1, plan->stage_count, stage->layer_first,
        stage->layer_first + stage->layer_count - 1, plan->page_count);
    int rc = worker_loader_load(self->options.loader, epoch, &options);
    if (rc != BASE_OK) {
        struct wire_fault fault = {.code = rc, .text = "the loader is busy with older plans"};
        worker_loaded(self->core, base_clock_ms(), epoch, 0, &fault);
    }
}

static void on_activate(void *context, uint64_t epoch)
{
    struct worker_data *self = context;
    struct worker_stage *stage = NULL, *old;

    if (epoch != 0 && self->loaded != NULL && worker_stage_epoch(self->loaded) == epoch) {
        stage = self->loaded;
        self->loaded = NULL;
    }
    base_log(
        BASE_LOG_INFO, epoch == 0 ? "inactive" : "active", "epoch=%llu", (unsigned long long)epoch);
    worker_compute_activate(self->options.compute, stage, &old);
    worker_loader_drop(self->options.loader, &old);
    worker_loader_drop(self->options.loader, &self->loaded);
    if (epoch == 0) {
        worker_loader_forget(self->options.loader);
        worker_link_point(self->next, 0, NULL);
        worker_link_point(self->router, 0, NULL);
    }
}

static void on_run(void *context, const struct wire_message *step, const void *tensor, size_t bytes)
{
    struct worker_data *self = context;
    struct worker_run_result result = {.epoch = step->step.epoch, .batch_id = step->step.batch_id};

    (void)tensor; /* lives in current */
    (void)bytes;
    result.error.code = worker_compute_run(self->options.compute, &self->current);
    if (result.error.code == BASE_OK)
        return;
    (void)snprintf(result.error.text, sizeof(result.error.text), "%s",
        "the compute queue is full of older steps");
    worker_ran(self->core, base_clock_ms(), &result);
}

static void on_link(
    void *context, uint64_t epoch, const struct worker_hop *next, const struct worker_hop *router)
{
    struct worker_data *self = context;

    worker_link_point(self->next, epoch, next);
    worker_link_point(self->router, epoch, router);
}

static bool carries_output(const struct wire_message *message)
{
    return (message->kind == WIRE_STEP && message->step.token_count > 0) ||
           (message->kind == WIRE_RESULT && message->result.row_count > 0);
}

static int send_on(
    struct worker_data *self, struct worker_link *link, const struct wire_message *message)
{
    return worker_link_send(link, message, carries_output(message) ? self->output : NULL);
}

static void on_send_router(void *context, const struct wire_message *message)
{
    struct worker_data *self = context;

    if (message->kind == WIRE_STEP_ERROR)
        base_log(BASE_LOG_WARN, "step-error", "epoch=%llu batch=%llu error=\"%s\"",
            (unsigned long long)message->step_error.epoch,
            (unsigned long long)message->step_error.batch_id, message->step_error.error.text);
    if (send_on(self, self->router, message) != BASE_OK)
        base_log(BASE_LOG_WARN, "message-dropped", "to=router kind=%d", (int)message->kind);
}

static void on_send_next(void *context, const struct wire_message *message)
{
    struct worker_data *self = context;
    int rc = send_on(self, self->next, message);

    if (rc == BASE_OK)
        return;
    struct wire_message error = {.kind = WIRE_STEP_ERROR,
        .step_error = {.epoch = message->step.epoch,
            .batch_id = message->step.batch_id,
            .error = {.code = rc}}};
    (void)snprintf(error.step_error.error.text, sizeof(error.step_error.error.text),
        "step %llu cannot be passed to the next stage: %s",
        (unsigned long long)message->step.batch_id, base_err_text(rc));
    (void)snprintf(
        error.step_error.error.node, LIMIT_NAME_BYTES, "%s", self->options.identity.node_id);
    on_send_router(self, &error);
}

static void on_grant(void *context, uint64_t peer, const struct wire_message *credit)
{
    struct worker_data *self = context;
    const struct net_peer *to = worker_peers_find(&self->peers, peer);
    struct base_error err = {0};

    if (to == NULL)
        return;
    int rc = net_send(self->incoming, to, credit, NULL, &err);
    if (rc != BASE_OK && rc != BASE_UNREACHABLE) /* gone: it will say hello again */
        base_log(BASE_LOG_WARN, "send-failed", "to=previous error=\"%s\"", err.text);
}

/* ---- events of the other threads ---- */

static void log_control(const struct wire_message *message)
{
    const struct wire_plan *plan = &message->plan;

    if (message->kind == WIRE_REGISTERED)
        base_log(BASE_LOG_INFO, "registered", "heartbeat_ms=%u lease_ms=%u",
            message->registered.heartbeat_interval_ms, message->registered.lease_ms);
    else if (message->kind == WIRE_PLAN)
        base_log(BASE_LOG_INFO, "plan", "epoch=%llu state=%s stages=%zu reason=\"%s\"",
            (unsigned long long)plan->epoch,
            plan->state == WIRE_PLAN_PREPARE  ? "prepare"
            : plan->state == WIRE_PLAN_ACTIVE ? "active"
                                              : "unavailable",
            plan->stage_count, plan->reason);
    else if (message->kind == WIRE_ERROR)
        base_log(BASE_LOG_WARN, "coordinator-error", "code=%s error=\"%s\"",
            base_err_name(message->error.code), message->error.text);
}

static void on_loaded(struct worker_data *self, struct worker_event *event)
{
    uint32_t pages = 0;

    if (event->stage != NULL) {
        pages = stage_get_options(worker_stage_get(event->stage))->page_count;
        worker_loader_drop(self->options.loader, &self->loaded);
        self->loaded = event->stage;
        event->stage = NULL;
    }
    worker_loaded(self->core, base_clock_ms(), event->epoch, pages,
        event->fault.code == BASE_OK ? NULL : &event->fault);
}

static void on_ran(struct worker_data *self, const struct worker_event *event)
{
    const struct worker_run_result result = {.epoch = event->epoch,
        .batch_id = event->batch_id,
        .compute_us = event->compute_us,
        .rows = event->rows,
        .row_count = event->row_count,
        .error = event->fault};

    self->output = event->output;
    worker_ran(self->core, base_clock_ms(), &result);
    self->output = NULL;
}

static void on_event(struct worker_data *self, struct worker_event *event)
{
    uint64_t now_ms = base_clock_ms();

    switch (event->kind) {
    case WORKER_EVENT_STOP:
        self->stop = true;
        break;
    case WORKER_EVENT_DRAIN:
        admin_set_stopping(self->options.admin->admin);
        self->draining = true;
        worker_drain(self->core, now_ms);
        break;
    case WORKER_EVENT_CONNECTED:
        self->connected = true;
        worker_connected(self->core, now_ms);
        break;
    case WORKER_EVENT_LOST:
        self->connected = false;
        break;
    case WORKER_EVENT_CONTROL:
        log_control(&event->inbound->message);
        worker_coordinator_message(self->core, now_ms, &event->inbound->message);
        break;
    case WORKER_EVENT_PROGRESS:
        worker_load_progress(self->core, now_ms, event->epoch, event->progress);
        break;
    case WORKER_EVENT_LOADED:
        on_loaded(self, event);
        break;
    case WORKER_EVENT_RAN:
        on_ran(self, event);
        break;
    }
}

static void take_events(struct worker_data *self)
{
    struct worker_event *event;

    while (!self->stop && (event = base_queue_pop(self->options.events)) != NULL) {
        on_event(self, event);
        worker_event_destroy(&event);
    }
}

/* Tells the main thread, once, that there is nothing left to do here. */
static void look_for_end(struct worker_data *self)
{
    const struct wire_fault *refusal = worker_refusal(self->core);

    if (self->told)
        return;
    if (refusal != NULL) {
        self->told = true;
        notify(self, WORKER_NOTICE_FAILED, refusal->text);
    } else if (worker_is_drained(self->core)) {
        self->told = true;
        notify(self, WORKER_NOTICE_DRAINED, "drained");
    } else if (self->draining && !self->connected) {
        self->told = true;
        notify(self, WORKER_NOTICE_DRAINED, "no coordinator to hand the stage over to");
    }
}

/* ---- thread ---- */

static void take_steps(struct worker_data *self)
{
    for (int i = 0; i < RECEIVE_BURST; i++) {
        self->current = base_alloc_zeroed(1, sizeof(*self->current));
        if (self->current == NULL)
            return;
        if (net_receive(self->incoming, self->current) != BASE_OK) {
            base_free(self->current);
            self->current = NULL;
            return;
        }
        const struct net_inbound *inbound = self->current;
        const struct worker_origin from = {
            worker_peers_number(&self->peers, &inbound->from), inbound->who.public_key};
        if (!worker_data_message(self->core, base_clock_ms(), &from, &inbound->message,
                inbound->tensor, inbound->tensor_bytes))
            net_refuse_message(self->incoming, inbound, NET_REFUSED_HOP,
                "the plan has another key before this worker");
        worker_inbound_destroy(&self->current);
    }
}

static int poll_timeout_ms(const struct worker_data *self)
{
    uint64_t now_ms = base_clock_ms();
    uint64_t tick_ms = worker_next_tick_ms(self->core);
    uint64_t wait_ms = tick_ms <= now_ms ? 0 : tick_ms - now_ms;

    if (wait_ms > POLL_MS)
        wait_ms = POLL_MS;
    if (wait_ms > RETRY_MS &&
        (worker_link_is_waiting(self->next) || worker_link_is_waiting(self->router)))
        wait_ms = RETRY_MS;
    return (int)wait_ms;
}

static void serve(struct worker_data *self)
{
    while (!self->stop) {
        struct net_poll_item items[6] = {
            {.fd = base_queue_fd(self->options.events)}, {.socket = self->incoming}};
        size_t count = 2;
        struct worker_link *links[2] = {self->next, self->router};
        for (size_t i = 0; i < 2; i++) {
            struct net_socket *socket = worker_link_socket(links[i]);
            if (socket != NULL) {
                items[count++].socket = socket;
                items[count].socket = socket;
                items[count++].watch = true;
            }
        }
        (void)net_poll(items, count, poll_timeout_ms(self));
        take_events(self);
        if (self->stop)
            break;
        take_steps(self);
        worker_link_service(self->next);
        worker_link_service(self->router);
        worker_tick(self->core, base_clock_ms());
        worker_admin_update(self->options.admin, self->core, base_clock_ms(), self->connected);
        look_for_end(self);
    }
}

static int open_all(struct worker_data *self, struct base_error *err)
{
    struct worker_options options = {
        .identity = self->options.identity, .metrics = &self->options.admin->cells};
    struct worker_sink sink = {self, on_send_coordinator, on_load, on_activate, on_run, on_link,
        on_send_next, on_send_router, on_grant};
    struct worker_link_options link = {.context = self->options.context,
        .node_id = self->options.identity.node_id,
        .incarnation = self->options.identity.incarnation};

    int rc =
        net_bind(self->options.context, NET_PLANE_DATA, self->options.listen, &self->incoming, err);
    if (rc != BASE_OK)
        return rc;
    (void)snprintf(options.identity.data_endpoint, LIMIT_ENDPOINT_BYTES, "%s",
        self->options.advertise != NULL ? self->options.advertise : net_endpoint(self->incoming));
    link.name = "next";
    link.by_credit = true;
    if (worker_link_new(&link, &self->next) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "link to the next stage");
    link.name = "router";
    link.by_credit = false;
    if (worker_link_new(&link, &self->router) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "link to the router");
    if (worker_new(&options, &sink, &self->core) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "worker");
    base_log(BASE_LOG_INFO, "listening", "endpoint=%s", options.identity.data_endpoint);
    return BASE_OK;
}

static void *data_main(void *context)
{
    struct worker_data *self = context;
    struct base_error err = {0};

    if (open_all(self, &err) == BASE_OK) {
        notify(self, WORKER_NOTICE_READY, "");
        serve(self);
    } else {
        notify(self, WORKER_NOTICE_FAILED, err.text);
    }
    worker_destroy(&self->core);
    worker_link_destroy(&self->next);
    worker_link_destroy(&self->router);
    net_close(&self->incoming);
    worker_stage_drop(&self->loaded);
    return NULL;
}

int worker_data_new(
    const struct worker_data_options *options, struct worker_data **ret, struct base_error *err)
{
    struct worker_data *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "data thread");
    self->options = *options;
    int error = pthread_create(&self->thread, NULL, data_main, self);
    if (error != 0) {
        base_free(self);
        return base_error_set(err, BASE_IO, "data thread: %s", strerror(error));
    }
    *ret = self;
    return BASE_OK;
}

static int push_event(struct worker_data *self, enum worker_event_kind kind)
{
    struct worker_event *event = worker_event_new(kind);

    return event == NULL ? BASE_NOMEM : worker_event_push(self->options.events, &event);
}

void worker_data_drain(struct worker_data *self)
{
    if (push_event(self, WORKER_EVENT_DRAIN) != BASE_OK)
        notify(self, WORKER_NOTICE_DRAINED, "no room to ask for a drain");
}

void worker_data_destroy(struct worker_data **self_p)
{
    struct worker_data *self = *self_p;

    if (self == NULL)
        return;
    while (push_event(self, WORKER_EVENT_STOP) != BASE_OK)
        (void)sched_yield(); /* the thread is emptying the queue */
    (void)pthread_join(self->thread, NULL);
    base_free(self);
    *self_p = NULL;
}
