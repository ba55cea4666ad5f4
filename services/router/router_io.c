#include "router_io.h"

#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "router_admin.h"
#include "router_clients.h"
#include "router_link.h"

#define RECEIVE_BURST 64   /* messages of one socket before the others have their turn */
#define POLL_MS       1000 /* longest wait, so that a clock that jumps cannot stop us */
#define LINK_RETRY_MS 10

struct router_io {
    struct router_io_options options;
    struct net_context *context; /* borrowed */
    struct router *core;
    struct net_socket *control, *clients_socket, *data;
    struct router_link link;
    struct router_clients clients;
    struct router_admin admin;
    bool coordinator_up;
    bool draining;
    uint64_t drain_until_us;
    bool stop;
};

/* ---- what the core decides ---- */

static void on_send_coordinator(void *context, const struct wire_message *message)
{
    struct router_io *self = context;
    struct base_error err = {0};
    if (message->kind == WIRE_SUSPECT)
        base_log(BASE_LOG_WARN, "suspect", "epoch=%llu batch=%llu waited_ms=%u",
            (unsigned long long)message->suspect.epoch,
            (unsigned long long)message->suspect.batch_id, message->suspect.waited_ms);
    int rc = net_send(self->control, NULL, message, NULL, &err);
    /* Without a coordinator what runs goes on; registration and heartbeats are tried again. */
    if (rc != BASE_OK && rc != BASE_AGAIN)
        base_log(BASE_LOG_WARN, "send-failed", "to=coordinator error=\"%s\"", err.text);
}

static void on_link_first_stage(
    void *context, uint64_t epoch, const char *endpoint, const char *public_key)
{
    struct router_io *self = context;
    router_link_point(&self->link, epoch, endpoint, public_key);
}

static bool on_send_step(
    void *context, const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct router_io *self = context;
    return router_link_send(&self->link, message, tensor, bytes);
}

static void log_final(uint64_t client, const struct wire_final *final)
{
    bool failed = final->finish_reason == WIRE_FINISH_ERROR;
    base_log(failed ? BASE_LOG_WARN : BASE_LOG_DEBUG, failed ? "request-failed" : "request-done",
        "client=%llu request=%llu prompt_tokens=%u completion_tokens=%u total_ms=%.1f resumed=%u "
        "code=%s node=%s error=\"%s\"",
        (unsigned long long)client, (unsigned long long) final->request_id, final->prompt_tokens,
        final->completion_tokens, final->total_ms, final->resume_count,
        failed ? base_err_name(final->error.code) : "OK", final->error.node, final->error.text);
}

static enum router_sent on_send_client(void *context, uint64_t client,
    const struct wire_message *message, const void *tensor, size_t bytes)
{
    struct router_io *self = context;
    struct net_tensor frame = {.data = tensor, .bytes = bytes};
    struct base_error err = {0};
    const struct net_peer *peer = router_clients_find(&self->clients, client);
    if (peer == NULL)
        return ROUTER_CLIENT_GONE;
    int rc = net_send(self->clients_socket, peer, message, bytes > 0 ? &frame : NULL, &err);
    if (rc == BASE_AGAIN || rc == BASE_NOMEM)
        return ROUTER_SENT_NOT;
    if (rc == BASE_OK) {
        if (message->kind == WIRE_FINAL)
            log_final(client, &message->final);
        return ROUTER_SENT;
    }
    base_log(rc == BASE_UNREACHABLE ? BASE_LOG_INFO : BASE_LOG_ERROR, "client-gone",
        "client=%llu error=\"%s\"", (unsigned long long)client, err.text);
    router_clients_forget(&self->clients, client);
    return ROUTER_CLIENT_GONE;
}

/* ---- what comes in ---- */

static void log_control(const struct wire_message *message)
{
    const struct wire_plan *plan = &message->plan;
    if (message->kind == WIRE_REGISTERED)
        base_log(BASE_LOG_INFO, "registered", "heartbeat_ms=%u",
            message->registered.heartbeat_interval_ms);
    else if (message->kind == WIRE_PLAN)
        base_log(BASE_LOG_INFO, "plan", "epoch=%llu state=%s stages=%zu pages=%u reason=\"%s\"",
            (unsigned long long)plan->epoch,
            plan->state == WIRE_PLAN_PREPARE  ? "prepare"
            : plan->state == WIRE_PLAN_ACTIVE ? "active"
                                              : "unavailable",
            plan->stage_count, plan->page_count, plan->reason);
    else if (message->kind == WIRE_ERROR)
        base_log(BASE_LOG_WARN, "coordinator-error", "code=%s error=\"%s\"",
            base_err_name(message->error.code), message->error.text);
}

static void admit(struct router_io *self, const struct wire_admission *admission)
{
    int rc = net_admit(self->context, admission->rows, admission->row_count);
    base_log(rc == BASE_OK ? BASE_LOG_INFO : BASE_LOG_ERROR, "admission",
        "serial=%llu keys=%zu code=%s", (unsigned long long)admission->serial, admission->row_count,
        rc == BASE_OK ? "OK" : base_err_name(rc));
}

static void take_control(struct router_io *self)
{
    struct net_inbound inbound = {0};
    unsigned connected = 0;
    unsigned lost = net_watch_take(self->control, &connected);
    if (lost > 0)
        base_log(BASE_LOG_WARN, "coordinator-lost", "endpoint=%s", self->options.coordinator);
    if (lost > 0 || connected > 0)
        self->coordinator_up = connected >= lost;
    if (connected > 0)
        router_coordinator_connected(self->core, base_clock_us());
    for (int i = 0; i < RECEIVE_BURST && net_receive(self->control, &inbound) == BASE_OK; i++) {
        log_control(&inbound.message);
        if (inbound.message.kind == WIRE_ADMISSION)
            admit(self, &inbound.message.admission);
        else
            router_coordinator_message(self->core, base_clock_us(), &inbound.message);
        net_inbound_release(&inbound);
    }
}

/* The last stage may send as many results as steps are in flight; each makes room for one more. */
static void grant(struct router_io *self, const struct net_peer *to, uint64_t epoch, uint32_t count)
{
    struct wire_message credit = {.kind = WIRE_CREDIT, .credit = {.epoch = epoch, .count = count}};
    struct base_error err = {0};
    (void)net_send(self->data, to, &credit, NULL, &err); /* gone: it will say hello again */
}

static void take_stage_message(struct router_io *self, const struct net_inbound *inbound)
{
    const struct wire_message *message = &inbound->message;
    /* CREDIT concerns the link that we opened; on this socket it would be forged. */
    if (message->kind == WIRE_CREDIT)
        return;
    if (!router_data_message(self->core, base_clock_us(), inbound->who.public_key, message,
            inbound->tensor, inbound->tensor_bytes)) {
        net_refuse_message(self->data, inbound, NET_REFUSED_HOP,
            "the plan in force has another key at that stage");
        return;
    }
    if (message->kind == WIRE_LINK_HELLO)
        grant(self, &inbound->from, message->link_hello.epoch, LIMIT_BATCHES_IN_FLIGHT);
    else if (message->kind == WIRE_RESULT)
        grant(self, &inbound->from, message->result.epoch, 1);
    else if (message->kind == WIRE_STEP_ERROR)
        base_log(BASE_LOG_WARN, "step-error", "epoch=%llu batch=%llu node=%s error=\"%s\"",
            (unsigned long long)message->step_error.epoch,
            (unsigned long long)message->step_error.batch_id, message->step_error.error.node,
            message->step_error.error.text);
}

static void take_data(struct router_io *self)
{
    struct net_inbound inbound = {0};
    for (int i = 0; i < RECEIVE_BURST && net_receive(self->data, &inbound) == BASE_OK; i++) {
        take_stage_message(self, &inbound);
        net_inbound_release(&inbound);
    }
}

static void take_clients(struct router_io *self)
{
    struct net_inbound inbound = {0};
    for (int i = 0; i < RECEIVE_BURST; i++) {
        if (net_receive(self->clients_socket, &inbound) != BASE_OK)
            return;
        uint64_t forgotten;
        uint64_t client = router_clients_number(&self->clients, &inbound.from, &forgotten);
        if (forgotten != 0)
            router_client_gone(self->core, base_clock_us(), forgotten);
        router_client_message(self->core, base_clock_us(), client, &inbound.message);
        net_inbound_release(&inbound);
    }
}

static void take_link(struct router_io *self)
{
    uint32_t count;
    router_link_service(&self->link, &count);
    if (count == 0)
        return;
    struct wire_message credit = {
        .kind = WIRE_CREDIT, .credit = {.epoch = self->link.epoch, .count = count}};
    (void)router_data_message(self->core, base_clock_us(), "", &credit, NULL, 0);
}

static void take_signal(struct router_io *self, int fd)
{
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    base_log(BASE_LOG_INFO, "signal", "number=%u", info.ssi_signo);
    if (self->draining) {
        self->stop = true;
        return;
    }
    self->draining = true;
    admin_set_stopping(self->admin.admin);
    self->drain_until_us = base_clock_us() + (uint64_t)(self->options.grace_s * 1e6);
    router_drain(self->core);
}

/* ---- loop ---- */

static int poll_timeout_ms(const struct router_io *self)
{
    uint64_t now_us = base_clock_us();
    uint64_t next_us = router_next_tick_us(self->core);
    if (self->draining && self->drain_until_us < next_us)
        next_us = self->drain_until_us;
    uint64_t wait_ms = next_us <= now_us ? 0 : (next_us - now_us + 999) / 1000;
    if (wait_ms > POLL_MS)
        wait_ms = POLL_MS;
    if (wait_ms > LINK_RETRY_MS && router_link_is_waiting(&self->link))
        wait_ms = LINK_RETRY_MS;
    return (int)wait_ms;
}

static bool is_done(struct router_io *self)
{
    struct wire_router_status status;
    if (self->stop)
        return true;
    if (!self->draining)
        return false;
    router_status(self->core, &status);
    return status.requests_running + status.requests_waiting == 0 ||
           base_clock_us() >= self->drain_until_us;
}

static void say_goodbye(struct router_io *self)
{
    struct wire_message message = {.kind = WIRE_GOODBYE,
        .goodbye = {.incarnation = self->options.core.incarnation, .reason = "stopped"}};
    memcpy(message.goodbye.node_id, self->options.core.node_id, LIMIT_NAME_BYTES);
    on_send_coordinator(self, &message);
}

int router_io_register(struct router_io *self, struct metrics *metrics, struct base_error *err)
{
    return router_admin_register(&self->admin, self->core, metrics, err);
}

void router_io_run(struct router_io *self, struct admin *admin)
{
    self->admin.admin = admin;
    int signal_fd = net_context_signal_fd(self->context);
    while (!is_done(self)) {
        struct net_poll_item items[7] = {{.fd = signal_fd}, {.socket = self->control},
            {.socket = self->control, .watch = true}, {.socket = self->clients_socket},
            {.socket = self->data}};
        size_t count = 5;
        if (self->link.socket != NULL) {
            items[count++].socket = self->link.socket;
            items[count].socket = self->link.socket;
            items[count++].watch = true;
        }
        (void)net_poll(items, count, poll_timeout_ms(self));
        if (items[0].ready)
            take_signal(self, signal_fd);
        take_control(self);
        take_data(self);
        take_link(self);
        take_clients(self);
        router_tick(self->core, base_clock_us());
        router_admin_update(&self->admin, self->core, base_clock_us(), self->coordinator_up);
    }
    router_stop(self->core, base_clock_us());
    say_goodbye(self);
    base_log(BASE_LOG_INFO, "stopped", "node=%s", self->options.core.node_id);
}

/* ---- life ---- */

static int open_sockets(struct router_io *self, struct base_error *err)
{
    const struct router_io_options *options = &self->options;
    int rc = net_bind(self->context, NET_PLANE_CLIENT, options->listen, &self->clients_socket, err);
    if (rc == BASE_OK)
        rc = net_bind(self->context, NET_PLANE_DATA, options->data_listen, &self->data, err);
    if (rc == BASE_OK)
        rc = net_connect(self->context, NET_PLANE_CONTROL, options->coordinator,
            options->coordinator_key, &self->control, err);
    if (rc == BASE_OK)
        rc = net_watch(self->control, err);
    return rc;
}

int router_io_new(struct net_context *context, const struct router_io_options *options,
    const struct text_tokenizer *tokenizer, struct router_io **ret, struct base_error *err)
{
    struct router_io *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "router");
    self->options = *options;
    self->context = context;
    router_link_init(&self->link, context, options->core.node_id, options->core.incarnation);
    int rc = router_clients_init(&self->clients);
    if (rc != BASE_OK)
        (void)base_error_set(err, rc, "table of clients");
    else
        rc = open_sockets(self, err);
    if (rc == BASE_OK) {
        struct router_options *core = &self->options.core;
        struct router_sink sink = {
            self, on_send_coordinator, on_link_first_stage, on_send_step, on_send_client};
        (void)snprintf(core->data_endpoint, sizeof(core->data_endpoint), "%s",
            options->advertise != NULL ? options->advertise : net_endpoint(self->data));
        rc = router_new(core, &sink, tokenizer, &self->core);
        if (rc != BASE_OK)
            (void)base_error_set(err, rc, "router: %s", base_err_text(rc));
    }
    if (rc != BASE_OK) {
        router_io_destroy(&self);
        return rc;
    }
    base_log(BASE_LOG_INFO, "listening", "endpoint=%s data=%s", net_endpoint(self->clients_socket),
        self->options.core.data_endpoint);
    *ret = self;
    return BASE_OK;
}

void router_io_destroy(struct router_io **self_p)
{
    struct router_io *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    router_destroy(&self->core);
    router_link_release(&self->link);
    net_close(&self->control);
    net_close(&self->clients_socket);
    net_close(&self->data);
    router_clients_release(&self->clients);
    base_free(self);
}
