#include "sdk_client.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "keys.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *lmesh_version(void)
{
    return LAYERMESH_VERSION;
}

const char *lmesh_client_error(const struct lmesh_client *client)
{
    if (client == NULL)
        return base_err_text(BASE_NOMEM);
    return client->error.text;
}

int sdk_client_fail(struct lmesh_client *self, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(self->error.text, sizeof(self->error.text), format, arguments);
    va_end(arguments);
    return code;
}

/* Only for the comparison with "1": any other value is a typing error and stays closed. */
static bool is_insecure_allowed(void)
{
    const char *value = getenv("LAYERMESH_INSECURE");

    return value != NULL && strcmp(value, "1") == 0;
}

/* The context with its key, when there is one. router_key: of the router, "" without a key. */
static int open_context(
    struct lmesh_client *self, const char *key, char *router_key, struct base_error *err)
{
    struct keys_identity identity;
    int rc = net_context_new_library(&self->context, err);

    router_key[0] = 0;
    if (rc != BASE_OK)
        return rc;
    if (key == NULL) {
        if (is_insecure_allowed())
            net_context_allow_plain(self->context);
        return BASE_OK;
    }
    rc = keys_identity_read(key, &identity, err);
    if (rc != BASE_OK)
        return rc;
    if (identity.role != WIRE_ROLE_ADMIN)
        rc = keys_identity_expect(&identity, key, WIRE_ROLE_CLIENT, err);
    if (rc == BASE_OK && identity.router_key[0] == 0)
        rc = base_error_set(err, BASE_INVALID, "%s: does not name the key of a router", key);
    if (rc == BASE_OK)
        rc = net_context_secure(self->context, &identity.key, false, err);
    memcpy(router_key, identity.router_key, LIMIT_KEY_BYTES);
    keys_identity_forget(&identity);
    return rc;
}

static int open_socket(struct lmesh_client *self, const char *endpoint, const char *key)
{
    struct base_error err = {0};
    char router_key[LIMIT_KEY_BYTES];

    if (endpoint == NULL)
        endpoint = getenv("LAYERMESH_ROUTER");
    if (endpoint == NULL || endpoint[0] == '\0')
        return sdk_client_fail(
            self, LMESH_ERR_INVALID, "no router given: LAYERMESH_ROUTER is not set");
    if (strlen(endpoint) >= sizeof(self->endpoint))
        return sdk_client_fail(self, LMESH_ERR_INVALID, "router endpoint is longer than %zu bytes",
            sizeof(self->endpoint) - 1);
    (void)snprintf(self->endpoint, sizeof(self->endpoint), "%s", endpoint);

    if (key == NULL)
        key = getenv("LAYERMESH_KEY");
    if (!net_endpoint_is_tcp(endpoint) || (key != NULL && key[0] == 0))
        key = NULL; /* a socket of this host is guarded by its file */
    const struct net_policy policy = {
        key != NULL, is_insecure_allowed(), false, "LAYERMESH_KEY=FILE"};
    if (net_endpoint_check(endpoint, &policy, &err) != BASE_OK)
        return sdk_client_fail(self, LMESH_ERR_INVALID, "%s", err.text);
    int rc = open_context(self, key, router_key, &err);
    if (rc == BASE_OK)
        rc =
            net_connect(self->context, NET_PLANE_CLIENT, endpoint, router_key, &self->socket, &err);
    if (rc == BASE_OK)
        rc = net_watch(self->socket, &err);
    if (rc == BASE_OK)
        return LMESH_OK;
    return sdk_client_fail(
        self, rc == BASE_NOMEM ? LMESH_ERR_NOMEM : LMESH_ERR_CONNECT, "%s", err.text);
}

int lmesh_client_new(const char *endpoint, struct lmesh_client **ret_client)
{
    return lmesh_client_new_with_key(endpoint, NULL, ret_client);
}

int lmesh_client_new_with_key(
    const char *endpoint, const char *key_file, struct lmesh_client **ret_client)
{
    struct lmesh_client *self = base_alloc_zeroed(1, sizeof(*self));

    if (ret_client == NULL) {
        base_free(self);
        return LMESH_ERR_INVALID;
    }
    *ret_client = self;
    if (self == NULL)
        return LMESH_ERR_NOMEM;
    return open_socket(self, endpoint, key_file);
}

void lmesh_client_destroy(struct lmesh_client **client)
{
    if (client == NULL || *client == NULL)
        return;
    struct lmesh_client *self = *client;

    for (struct lmesh_request *request = self->requests; request != NULL; request = request->next) {
        sdk_request_fail(request, LMESH_ERR_INVALID, "the client was destroyed");
        request->client = NULL;
    }
    net_close(&self->socket);
    net_context_destroy(&self->context);
    base_free(self);
    *client = NULL;
}

/* ---- sending ---- */

static bool is_any_running(const struct lmesh_client *self)
{
    for (const struct lmesh_request *request = self->requests; request != NULL;
         request = request->next)
        if (request->state == SDK_RUNNING)
            return true;
    return false;
}

static void send_request(struct lmesh_client *self, struct lmesh_request *request)
{
    struct base_error err = {0};
    int rc = net_send(self->socket, NULL, &request->message, NULL, &err);

    if (rc == BASE_OK) {
        request->state = SDK_RUNNING;
        base_arena_release(&request->arena);
    } else if (rc == BASE_TOO_BIG) {
        sdk_request_fail(request, LMESH_ERR_REFUSED, "%s", err.text);
    } else if (rc != BASE_AGAIN && rc != BASE_UNREACHABLE) {
        sdk_request_fail(request, LMESH_ERR_FAILED, "%s", err.text);
    } else if (base_clock_ms() - request->created_ms >= SDK_CONNECT_MS) {
        sdk_request_fail(request, LMESH_ERR_CONNECT, "no router answered at %s within %d ms%s",
            self->endpoint, SDK_CONNECT_MS,
            net_was_refused(self->socket) ? ": it does not admit our key" : "");
    }
}

static void send_cancel(struct lmesh_client *self, struct lmesh_request *request)
{
    struct wire_message message = {.kind = WIRE_CANCEL, .cancel = {.request_id = request->id}};

    if (request->state != SDK_RUNNING ||
        net_send(self->socket, NULL, &message, NULL, NULL) == BASE_OK)
        request->cancel_wanted = false;
}

/* CANCELs of single choices; those that find no room are tried again. */
static void send_choice_cancels(struct lmesh_client *self, struct lmesh_request *request)
{
    for (uint32_t i = 0; i < request->choices; i++) {
        struct wire_message message = {.kind = WIRE_CANCEL,
            .cancel = {.request_id = request->id, .one_choice = true, .choice = i}};
        if (!request->cancel_choices[i])
            continue;
        if (request->state == SDK_RUNNING &&
            net_send(self->socket, NULL, &message, NULL, NULL) != BASE_OK)
            return;
        request->cancel_choices[i] = false;
    }
    request->cancel_choice_wanted = false;
}

/* PING keeps our requests alive at the router; the status query makes the router show that it is
 * alive too, which PING, having no answer, cannot. */
static void send_signs_of_life(struct lmesh_client *self)
{
    uint64_t now_ms = base_clock_ms();

    if (now_ms - self->ping_ms < SDK_PING_MS || !is_any_running(self))
        return;
    const struct wire_message ping = {.kind = WIRE_PING};
    const struct wire_message question = {.kind = WIRE_ROUTER_STATUS_QUERY};
    if (net_send(self->socket, NULL, &ping, NULL, NULL) == BASE_OK)
        self->ping_ms = now_ms;
    if (self->question_ms == 0) {
        (void)net_send(self->socket, NULL, &question, NULL, NULL);
        self->question_ms = now_ms; /* sent or not: no answer is no answer */
    }
}

/* ---- receiving ---- */

/* A message of ours was not understood; which one is not said, so all that got no answer yet end. */
static void fail_unanswered(struct lmesh_client *self, const struct wire_fault *fault)
{
    for (struct lmesh_request *request = self->requests; request != NULL; request = request->next)
        if (request->state == SDK_RUNNING && !request->is_answered)
            sdk_request_fail(request, LMESH_ERR_REFUSED, "router at %s refused a message: %s",
                self->endpoint, fault->text);
}

/* Takes *inbound over. */
static void dispatch(struct lmesh_client *self, struct net_inbound *inbound)
{
    const struct wire_message *message = &inbound->message;
    uint64_t request_id = 0;

    self->question_ms = 0;
    if (message->kind == WIRE_PARTIAL) {
        request_id = message->partial.request_id;
    } else if (message->kind == WIRE_FINAL) {
        request_id = message->final.request_id;
    } else {
        if (message->kind == WIRE_ROUTER_STATUS) {
            self->status = message->router_status;
            self->status_count++;
        } else if (message->kind == WIRE_ERROR) {
            fail_unanswered(self, &message->error);
        }
        net_inbound_release(inbound);
        return;
    }
    for (struct lmesh_request *request = self->requests; request != NULL; request = request->next) {
        if (request->id == request_id) {
            sdk_request_take(request, inbound);
            return;
        }
    }
    net_inbound_release(inbound); /* the request was destroyed meanwhile */
}

static void fail_running(struct lmesh_client *self, const char *what)
{
    for (struct lmesh_request *request = self->requests; request != NULL; request = request->next)
        if (request->state == SDK_RUNNING)
            sdk_request_fail(
                request, LMESH_ERR_UNAVAILABLE, "router at %s %s", self->endpoint, what);
    self->question_ms = 0;
}

void sdk_client_pump(struct lmesh_client *self, const struct lmesh_request *reader)
{
    /* Asked before the messages are taken: what arrived ahead of a loss is still delivered. */
    bool is_lost = net_watch_take(self->socket, NULL) > 0;
    struct net_inbound inbound;

    for (struct lmesh_request *request = self->requests; request != NULL; request = request->next) {
        if (request->state == SDK_UNSENT)
            send_request(self, request);
        if (request->cancel_wanted)
            send_cancel(self, request);
        if (request->cancel_choice_wanted && request->state != SDK_UNSENT)
            send_choice_cancels(self, request);
    }
    send_signs_of_life(self);
    while (net_receive(self->socket, &inbound) == BASE_OK) {
        dispatch(self, &inbound);
        /* After a loss all has to be read, to tell what ended from what was lost. */
        if (reader != NULL && reader->first != NULL && !is_lost)
            return;
    }
    if (is_lost)
        fail_running(self, "closed the connection");
    else if (self->question_ms != 0 && base_clock_ms() - self->question_ms >= SDK_SILENCE_MS)
        fail_running(self, "does not answer");
}

/* ---- waiting ---- */

uint64_t sdk_deadline_ms(int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : base_clock_ms() + (uint64_t)timeout_ms;
}

int sdk_remaining_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = base_clock_ms();

    if (deadline_ms == UINT64_MAX)
        return -1;
    if (deadline_ms <= now_ms)
        return 0;
    return deadline_ms - now_ms > INT_MAX ? INT_MAX : (int)(deadline_ms - now_ms);
}

bool sdk_client_wait(struct lmesh_client *self, int timeout_ms)
{
    struct net_poll_item items[] = {
        {.socket = self->socket}, {.socket = self->socket, .watch = true}};
    int slice_ms = SDK_PING_MS;
    uint64_t started_ms = base_clock_ms();

    for (const struct lmesh_request *request = self->requests; request != NULL;
         request = request->next)
        if (request->state == SDK_UNSENT || request->cancel_wanted || request->cancel_choice_wanted)
            slice_ms = SDK_RETRY_MS;
    if (timeout_ms >= 0 && timeout_ms < slice_ms)
        slice_ms = timeout_ms;
    return net_poll(items, 2, slice_ms) > 0 ||
           base_clock_ms() - started_ms + 1 >= (uint64_t)slice_ms;
}

/* ---- status ---- */

int lmesh_status(struct lmesh_client *client, int timeout_ms, struct lmesh_status *ret_status)
{
    const struct wire_message question = {.kind = WIRE_ROUTER_STATUS_QUERY};
    uint64_t deadline_ms = sdk_deadline_ms(timeout_ms);
    bool is_sent = false;

    if (client == NULL || client->socket == NULL || ret_status == NULL)
        return LMESH_ERR_INVALID;
    uint64_t count = client->status_count;
    for (;;) {
        if (!is_sent)
            is_sent = net_send(client->socket, NULL, &question, NULL, NULL) == BASE_OK;
        sdk_client_pump(client, NULL);
        if (client->status_count != count) {
            *ret_status = (struct lmesh_status){.ready = client->status.ready,
                .plan_epoch = client->status.plan_epoch,
                .requests_running = client->status.requests_running,
                .requests_waiting = client->status.requests_waiting,
                .kv_pages_used = client->status.kv_pages_used,
                .kv_pages_total = client->status.kv_pages_total,
                .kv_pages_saved = client->status.kv_pages_saved};
            return LMESH_OK;
        }
        int remaining_ms = sdk_remaining_ms(deadline_ms);
        if (remaining_ms == 0 && !is_sent)
            return sdk_client_fail(
                client, LMESH_ERR_CONNECT, "no router answered at %s", client->endpoint);
        if (remaining_ms == 0)
            return sdk_client_fail(
                client, LMESH_ERR_TIMEOUT, "router at %s does not answer", client->endpoint);
        if (!is_sent && (remaining_ms < 0 || remaining_ms > SDK_RETRY_MS))
            remaining_ms = SDK_RETRY_MS;
        if (!sdk_client_wait(client, remaining_ms))
            return sdk_client_fail(client, LMESH_ERR_AGAIN, "interrupted by a signal");
    }
}
