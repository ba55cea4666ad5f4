#include "coordinator_io.h"
#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "coordinator_admin.h"
#include "coordinator_keys.h"
#include "coordinator_peers.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define RECEIVE_BURST 64
#define WAIT_MS_MAX   1000

/* When to probe after a connection was lost: the socket may hear of it a little later than its
 * monitor does. */
static const uint64_t probe_after_ms[] = {0, 10, 50, 200};
#define PROBE_COUNT (sizeof(probe_after_ms) / sizeof(probe_after_ms[0]))

struct coordinator_io {
    struct net_context *context; /* borrowed */
    struct net_socket *socket;
    struct coordinator *core;
    struct coordinator_keys *keys; /* NULL: no key */
    struct coordinator_peers peers;
    uint64_t gone[COORDINATOR_PEERS_MAX]; /* found unreachable within a step of the core */
    size_t gone_count;
    uint64_t lost_ms;  /* when a connection was lost last */
    size_t probe_next; /* PROBE_COUNT: none is due */
    struct coordinator_admin admin;
    uint64_t logged_epoch;
    int logged_state;
};

/* ---- what the core decides ---- */

static const char *plan_state_name(int state)
{
    switch (state) {
    case WIRE_PLAN_PREPARE:
        return "prepare";
    case WIRE_PLAN_ACTIVE:
        return "active";
    default:
        return "unavailable";
    }
}

static void log_plan(struct coordinator_io *self, const struct wire_plan *plan)
{
    if (plan->epoch < self->logged_epoch ||
        (plan->epoch == self->logged_epoch && (int)plan->state == self->logged_state))
        return;
    self->logged_epoch = plan->epoch;
    self->logged_state = (int)plan->state;
    if (plan->state == WIRE_PLAN_UNAVAILABLE)
        base_log(BASE_LOG_WARN, "plan", "epoch=%" PRIu64 " state=unavailable error=\"%s\"",
            plan->epoch, plan->error.text);
    else
        base_log(BASE_LOG_INFO, "plan",
            "epoch=%" PRIu64 " state=%s stages=%zu pages=%" PRIu32 " router=%s reason=\"%s\"",
            plan->epoch, plan_state_name((int)plan->state), plan->stage_count, plan->page_count,
            plan->router_node_id, plan->reason);
    for (size_t i = 0; plan->state == WIRE_PLAN_ACTIVE && i < plan->stage_count; i++)
        base_log(BASE_LOG_INFO, "stage",
            "epoch=%" PRIu64 " node=%s layer_first=%" PRIu32 " layer_count=%" PRIu32
            " predicted_ms=%.3g",
            plan->epoch, plan->stages[i].node_id, plan->stages[i].layer_first,
            plan->stages[i].layer_count, plan->stages[i].predicted_ms);
}

static void log_sent(struct coordinator_io *self, uint64_t peer, const struct wire_message *message)
{
    if (message->kind == WIRE_PLAN)
        log_plan(self, &message->plan);
    else if (message->kind == WIRE_ERROR)
        base_log(BASE_LOG_INFO, "refused", "peer=%" PRIu64 " node=%s code=%s error=\"%s\"", peer,
            message->error.node, base_err_name(message->error.code), message->error.text);
}

/* The core must not be called from within its own step: who is gone is told afterwards. */
static void send_to(struct coordinator_io *self, uint64_t peer, const struct wire_message *message)
{
    const struct net_peer *address = coordinator_peers_find(&self->peers, peer);
    struct base_error err = {0};
    int rc;

    if (!address)
        return;
    rc = net_send(self->socket, address, message, NULL, &err);
    if (rc == BASE_UNREACHABLE) {
        coordinator_peers_forget(&self->peers, peer);
        if (self->gone_count < COORDINATOR_PEERS_MAX)
            self->gone[self->gone_count++] = peer;
    } else if (rc != BASE_OK) {
        base_log(BASE_LOG_WARN, "send-failed", "peer=%" PRIu64 " code=%s error=\"%s\"", peer,
            base_err_name(rc), err.text);
    }
}

/* Who is let in, to a member: before the first plan in which others come to it. */
static void tell_admission(struct coordinator_io *self, const struct coordinator_peer *peer)
{
    const enum wire_role role = coordinator_keys_role(self->keys, peer->public_key);

    if (role)
        send_to(self, peer->handle, coordinator_keys_message(self->keys, role));
}

static void on_send(void *context, uint64_t peer, const struct wire_message *message)
{
    struct coordinator_io *self = context;

    log_sent(self, peer, message);
    send_to(self, peer, message);
    if (message->kind != WIRE_REGISTERED || !self->keys)
        return;
    coordinator_peers_mark(&self->peers, peer);
    for (size_t i = 0; i < COORDINATOR_PEERS_MAX; i++)
        if (self->peers.rows[i].handle == peer && peer)
            tell_admission(self, &self->peers.rows[i]);
}

static void tell_gone(struct coordinator_io *self)
{
    while (self->gone_count > 0) {
        uint64_t peer = self->gone[--self->gone_count];

        base_log(BASE_LOG_DEBUG, "peer-gone", "peer=%" PRIu64, peer);
        coordinator_peer_gone(self->core, base_clock_ms(), peer);
    }
}

/* Other keys are admitted now: whose key is not, is gone; the others are told. */
static void on_keys_changed(struct coordinator_io *self)
{
    for (size_t i = 0; i < COORDINATOR_PEERS_MAX; i++) {
        const struct coordinator_peer row = self->peers.rows[i];

        if (!row.handle || row.public_key[0] == '\0')
            continue;
        if (!coordinator_keys_role(self->keys, row.public_key)) {
            base_log(BASE_LOG_WARN, "key-ended", "peer=%" PRIu64 " member=%d", row.handle,
                (int)row.is_member);
            coordinator_peers_forget(&self->peers, row.handle);
            coordinator_peer_gone(self->core, base_clock_ms(), row.handle);
        } else if (row.is_member) {
            tell_admission(self, &row);
        }
    }
    tell_gone(self);
}

static void refresh_keys(struct coordinator_io *self)
{
    if (self->keys && coordinator_keys_refresh(self->keys, base_clock_ms()))
        on_keys_changed(self);
}

static void enrol(struct coordinator_io *self, const struct net_inbound *inbound)
{
    struct wire_message reply = {
        .kind = WIRE_ERROR, .error = {.code = BASE_DENIED, .text = "this coordinator has no keys"}};
    struct base_error err = {0};
    bool is_admitted =
        self->keys && inbound->who.role == WIRE_ROLE_JOIN &&
        coordinator_keys_enrol(self->keys, &inbound->who, &inbound->message.enrol, &reply);

    /* Admitted first, so that the newcomer finds the door open. */
    if (is_admitted)
        refresh_keys(self);
    if (net_send(self->socket, &inbound->from, &reply, NULL, &err) != BASE_OK)
        base_log(BASE_LOG_WARN, "send-failed", "to=newcomer error=\"%s\"", err.text);
}

/* ---- what comes in ---- */

static void log_received(uint64_t peer, const struct wire_message *message)
{
    if (message->kind == WIRE_REGISTER)
        base_log(BASE_LOG_INFO, "register", "peer=%" PRIu64 " node=%s role=%s pid=%" PRIu32, peer,
            message->register_.node_id,
            message->register_.role == WIRE_ROLE_ROUTER ? "router" : "worker",
            message->register_.pid);
    else if (message->kind == WIRE_SUSPECT)
        base_log(BASE_LOG_WARN, "suspect",
            "peer=%" PRIu64 " epoch=%" PRIu64 " batch=%" PRIu64 " waited_ms=%" PRIu32, peer,
            message->suspect.epoch, message->suspect.batch_id, message->suspect.waited_ms);
    else if (message->kind == WIRE_GOODBYE)
        base_log(BASE_LOG_INFO, "goodbye", "peer=%" PRIu64 " node=%s reason=\"%s\"", peer,
            message->goodbye.node_id, message->goodbye.reason);
}

static void receive(struct coordinator_io *self)
{
    for (unsigned i = 0; i < RECEIVE_BURST; i++) {
        struct net_inbound inbound;
        uint64_t peer;

        if (net_receive(self->socket, &inbound) != BASE_OK)
            return;
        if (inbound.message.kind == WIRE_ENROL) {
            enrol(self, &inbound);
            net_inbound_release(&inbound);
            continue;
        }
        peer = coordinator_peers_heard(&self->peers, &inbound.from, inbound.who.public_key);
        if (inbound.message.kind == WIRE_REGISTER)
            memcpy(inbound.message.register_.public_key, inbound.who.public_key, LIMIT_KEY_BYTES);
        log_received(peer, &inbound.message);
        coordinator_message(self->core, base_clock_ms(), peer, &inbound.message);
        net_inbound_release(&inbound);
        tell_gone(self);
    }
}

static void take_losses(struct coordinator_io *self)
{
    if (net_watch_take(self->socket, NULL) == 0)
        return;
    self->lost_ms = base_clock_ms();
    self->probe_next = 0;
}

static void probe_when_due(struct coordinator_io *self, uint64_t now_ms)
{
    if (self->probe_next == PROBE_COUNT ||
        now_ms < self->lost_ms + probe_after_ms[self->probe_next])
        return;
    self->probe_next++;
    coordinator_probe(self->core);
    tell_gone(self);
}

static int wait_ms(const struct coordinator_io *self, uint64_t now_ms)
{
    uint64_t until_ms = coordinator_next_tick_ms(self->core);

    if (self->probe_next < PROBE_COUNT &&
        self->lost_ms + probe_after_ms[self->probe_next] < until_ms)
        until_ms = self->lost_ms + probe_after_ms[self->probe_next];
    if (self->keys && coordinator_keys_next_ms(self->keys) < until_ms)
        until_ms = coordinator_keys_next_ms(self->keys);
    if (until_ms <= now_ms)
        return 0;
    return until_ms - now_ms < WAIT_MS_MAX ? (int)(until_ms - now_ms) : WAIT_MS_MAX;
}

/* ---- life ---- */

int coordinator_io_new(struct net_context *context, const char *listen, const char *keys,
    const struct coordinator_options *options, struct coordinator_io **ret, struct base_error *err)
{
    struct coordinator_io *self = base_alloc_zeroed(1, sizeof(*self));
    struct coordinator_sink sink = {.context = self, .send = on_send};
    int rc;

    if (!self)
        return base_error_set(err, BASE_NOMEM, "no memory for the coordinator");
    self->context = context;
    self->probe_next = PROBE_COUNT;
    rc = coordinator_new(options, &sink, &self->core);
    if (rc != BASE_OK)
        rc = base_error_set(err, rc, "no memory for the coordinator");
    else if (keys)
        rc = coordinator_keys_new(context, keys, &self->keys, err);
    if (rc == BASE_OK)
        rc = net_bind(context, NET_PLANE_CONTROL, listen, &self->socket, err);
    if (rc == BASE_OK)
        rc = net_watch(self->socket, err);
    if (rc != BASE_OK) {
        coordinator_io_destroy(&self);
        return rc;
    }
    *ret = self;
    return BASE_OK;
}

void coordinator_io_destroy(struct coordinator_io **self_p)
{
    struct coordinator_io *self = *self_p;

    if (!self)
        return;
    coordinator_destroy(&self->core);
    net_close(&self->socket);
    coordinator_keys_destroy(&self->keys);
    base_free(self);
    *self_p = NULL;
}

int coordinator_io_register(
    struct coordinator_io *self, struct metrics *metrics, struct base_error *err)
{
    return coordinator_admin_register(&self->admin, self->core, metrics, err);
}

void coordinator_io_run(struct coordinator_io *self, struct admin *admin)
{
    struct net_poll_item items[] = {
        {.fd = net_context_signal_fd(self->context)},
        {.socket = self->socket},
        {.socket = self->socket, .watch = true},
    };

    self->admin.admin = admin;
    base_log(BASE_LOG_INFO, "listening", "endpoint=%s", net_endpoint(self->socket));
    for (;;) {
        uint64_t now_ms = base_clock_ms();

        if (coordinator_next_tick_ms(self->core) <= now_ms) {
            coordinator_tick(self->core, now_ms);
            tell_gone(self);
        }
        probe_when_due(self, now_ms);
        coordinator_admin_update(&self->admin, self->core, now_ms);
        refresh_keys(self);
        (void)net_poll(items, sizeof(items) / sizeof(items[0]), wait_ms(self, base_clock_ms()));
        if (items[0].ready) {
            admin_set_stopping(self->admin.admin);
            base_log(BASE_LOG_INFO, "stopping", "refused_messages=%" PRIu64,
                net_refused_count(self->socket));
            return;
        }
        if (items[1].ready)
            receive(self);
        if (items[2].ready)
            take_losses(self);
    }
}
