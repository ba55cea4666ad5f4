#include "cli_admin.h"

#include "base_clock.h"
#include "keys.h"
#include <string.h>

#define ASK_AGAIN_MS 50
#define REFUSED_MS   1000 /* a key that was just issued may not be known there yet */

int cli_admin_open(struct cli_admin *self, struct base_error *err)
{
    const char *key = net_endpoint_is_tcp(self->coordinator) ? self->key : NULL;
    const struct net_policy policy = {key != NULL, self->insecure, false, "--key FILE"};
    struct keys_identity identity = {.role = (enum wire_role)0};
    int rc = net_endpoint_check(self->coordinator, &policy, err);

    if (rc == BASE_OK)
        rc = net_context_new_library(&self->context, err);
    if (rc == BASE_OK)
        rc =
            keys_secure(self->context, key, WIRE_ROLE_ADMIN, false, self->insecure, &identity, err);
    if (rc == BASE_OK)
        rc = net_connect(self->context, NET_PLANE_CONTROL, self->coordinator,
            identity.coordinator_key, &self->socket, err);
    if (rc == BASE_OK)
        rc = net_watch(self->socket, err);
    return rc;
}

static void drop_reply(struct cli_admin *self)
{
    if (self->has_reply)
        net_inbound_release(&self->reply);
    self->has_reply = false;
}

void cli_admin_close(struct cli_admin *self)
{
    drop_reply(self);
    net_close(&self->socket);
    net_context_destroy(&self->context);
}

bool cli_admin_ask(struct cli_admin *self)
{
    const struct wire_message question = {.kind = WIRE_STATUS_QUERY};

    return net_send(self->socket, NULL, &question, NULL, NULL) == BASE_OK;
}

const struct wire_status_reply *cli_admin_take(struct cli_admin *self)
{
    drop_reply(self);
    while (net_receive(self->socket, &self->reply) == BASE_OK) {
        self->has_reply = true;
        if (self->reply.message.kind == WIRE_STATUS_REPLY)
            return &self->reply.message.status_reply;
        if (self->reply.message.kind == WIRE_ERROR)
            (void)base_error_set(&self->refusal, self->reply.message.error.code, "%s",
                self->reply.message.error.text);
        drop_reply(self);
    }
    return NULL;
}

const struct wire_status_reply *cli_admin_query(struct cli_admin *self, struct base_error *err)
{
    uint64_t started_ms = base_clock_ms();
    bool is_asked = false;

    for (;;) {
        if (!is_asked)
            is_asked = cli_admin_ask(self);
        const struct wire_status_reply *reply = cli_admin_take(self);
        if (reply != NULL)
            return reply;
        if (self->refusal.code != BASE_OK) {
            *err = self->refusal;
            return NULL;
        }
        if (net_was_refused(self->socket) && base_clock_ms() - started_ms >= REFUSED_MS) {
            (void)base_error_set(err, BASE_DENIED,
                "the coordinator at %s does not admit the key %s", self->coordinator, self->key);
            return NULL;
        }
        uint64_t waited_ms = base_clock_ms() - started_ms;
        if (waited_ms >= self->timeout_ms) {
            (void)base_error_set(err, BASE_TIMEOUT, "%s %s within %u ms",
                is_asked ? "no answer from the coordinator at" : "no coordinator at",
                self->coordinator, self->timeout_ms);
            return NULL;
        }
        int slice_ms = (int)(self->timeout_ms - waited_ms);
        if (!is_asked && slice_ms > ASK_AGAIN_MS)
            slice_ms = ASK_AGAIN_MS;
        struct net_poll_item items[] = {
            {.socket = self->socket}, {.socket = self->socket, .watch = true}};
        (void)net_poll(items, 2, slice_ms);
        if (net_watch_take(self->socket, NULL) > 0)
            is_asked = false; /* the question went down with the connection */
    }
}

const struct wire_status_reply *cli_admin_fetch(
    struct cli_admin *self, const struct cli_command *command, int *ret_exit)
{
    struct base_error err = {0};
    const struct wire_status_reply *reply = NULL;

    if (self->coordinator == NULL) {
        *ret_exit = cli_usage(
            command, "no coordinator given: set LAYERMESH_COORDINATOR or use --coordinator");
        return NULL;
    }
    if (cli_admin_open(self, &err) == BASE_OK)
        reply = cli_admin_query(self, &err);
    if (reply == NULL)
        *ret_exit = cli_fail(command, "%s", err.text);
    return reply;
}

const char *cli_worker_state_name(enum wire_worker_state state)
{
    static const char *const names[] = {[WIRE_WORKER_SPARE] = "spare",
        [WIRE_WORKER_LOADING] = "loading",
        [WIRE_WORKER_READY] = "ready",
        [WIRE_WORKER_DRAINING] = "draining",
        [WIRE_WORKER_LOST] = "lost"};

    return names[state];
}
