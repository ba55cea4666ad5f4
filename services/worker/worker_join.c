#include "worker_join.h"

#include "base_clock.h"
#include "base_log.h"
#include "net.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ASK_AGAIN_MS 500
#define REFUSED_MS   2000 /* a token that is seconds old may not be known there yet */

bool worker_join_usual_path(const char *node_id, char ret_path[KEYS_PATH_BYTES])
{
    const char *home = getenv("HOME");

    if (home == NULL || home[0] == 0)
        return false;
    const int length = snprintf(ret_path, KEYS_PATH_BYTES, "%s/.layermesh/%s.key", home, node_id);
    return length > 0 && length < KEYS_PATH_BYTES;
}

/* The folder of path, made when it is not there. */
static int make_folder(const char *path, struct base_error *err)
{
    char folder[KEYS_PATH_BYTES];
    const char *slash = strrchr(path, '/');

    if (slash == NULL || slash == path)
        return BASE_OK;
    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    if (mkdir(folder, S_IRWXU) != 0 && errno != EEXIST)
        return base_error_set(err, BASE_IO, "%s: %s", folder, strerror(errno));
    return BASE_OK;
}

/* The key to enrol: on disk before it is shown to anybody, so that it cannot be lost when the
 * coordinator has admitted it. */
static int pending_key(const char *pending, const struct keys_token *token, const char *node_id,
    struct keys_identity *ret, struct base_error *err)
{
    int rc = keys_identity_read(pending, ret, err);

    if (rc == BASE_OK && strcmp(ret->name, node_id) == 0 &&
        strcmp(ret->coordinator_key, token->coordinator_key) == 0)
        return BASE_OK;
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    *ret = (struct keys_identity){.role = WIRE_ROLE_WORKER};
    memcpy(ret->name, node_id, strlen(node_id) + 1);
    memcpy(ret->coordinator_key, token->coordinator_key, LIMIT_KEY_BYTES);
    memcpy(ret->coordinator, token->coordinator, LIMIT_ENDPOINT_BYTES);
    rc = net_key_make(&ret->key, err);
    if (rc == BASE_OK)
        rc = make_folder(pending, err);
    if (rc == BASE_OK)
        rc = keys_identity_write(pending, ret, true, err);
    return rc;
}

/* Takes what has come. BASE_AGAIN: nothing that decides. */
static int take_answer(
    struct net_socket *socket, struct keys_identity *identity, struct base_error *err)
{
    struct net_inbound inbound;
    int rc = BASE_AGAIN;

    while (rc == BASE_AGAIN && net_receive(socket, &inbound) == BASE_OK) {
        const struct wire_message *message = &inbound.message;
        if (message->kind == WIRE_ENROLLED) {
            identity->role = message->enrolled.role;
            memcpy(identity->router_key, message->enrolled.router_public_key, LIMIT_KEY_BYTES);
            rc = BASE_OK;
        } else if (message->kind == WIRE_ERROR && message->error.code != BASE_AGAIN) {
            rc = base_error_set(err, message->error.code, "%s", message->error.text);
        }
        net_inbound_release(&inbound);
    }
    return rc;
}

/* Asks until there is an answer. */
static int enrol(struct net_context *context, struct net_socket *socket,
    struct keys_identity *identity, struct base_error *err)
{
    struct wire_message message = {.kind = WIRE_ENROL};
    const uint64_t end_ms = base_clock_ms() + WORKER_JOIN_MS;
    uint64_t ask_ms = 0, refused_ms = 0;
    int rc = BASE_AGAIN;

    memcpy(message.enrol.node_id, identity->name, LIMIT_NAME_BYTES);
    memcpy(message.enrol.public_key, identity->key.public_key, LIMIT_KEY_BYTES);
    while (rc == BASE_AGAIN) {
        struct net_poll_item items[] = {{.socket = socket}, {.socket = socket, .watch = true},
            {.fd = net_context_signal_fd(context)}};
        const uint64_t now_ms = base_clock_ms();
        if (now_ms >= end_ms)
            return base_error_set(err, BASE_TIMEOUT, "no answer from %s within %u ms",
                identity->coordinator, WORKER_JOIN_MS);
        if (now_ms >= ask_ms && net_send(socket, NULL, &message, NULL, NULL) == BASE_OK)
            ask_ms = now_ms + ASK_AGAIN_MS;
        (void)net_poll(items, 3, ask_ms > now_ms ? (int)(ask_ms - now_ms) : 20);
        if (items[2].ready)
            return base_error_set(err, BASE_CANCELLED, "a signal came");
        if (net_watch_take(socket, NULL) > 0)
            ask_ms = 0;
        rc = take_answer(socket, identity, err);
        if (net_was_refused(socket) && refused_ms == 0)
            refused_ms = base_clock_ms();
        if (rc == BASE_AGAIN && net_was_refused(socket) &&
            base_clock_ms() - refused_ms >= REFUSED_MS)
            return base_error_set(err, BASE_DENIED,
                "the join token was used, has expired or was revoked, says %s",
                identity->coordinator);
    }
    return rc;
}

int worker_join(struct net_context *context, const struct keys_token *token, const char *node_id,
    const char *path, struct base_error *err)
{
    char pending[KEYS_PATH_BYTES];
    struct keys_identity identity;
    struct net_socket *socket = NULL;
    const int length = snprintf(pending, sizeof(pending), "%s.pending", path);

    if (length < 0 || (size_t)length >= sizeof(pending))
        return base_error_set(err, BASE_INVALID, "%.40s...: path too long", path);
    int rc = pending_key(pending, token, node_id, &identity, err);
    if (rc == BASE_OK)
        rc = net_connect_as(context, NET_PLANE_CONTROL, token->coordinator, &token->key,
            token->coordinator_key, &socket, err);
    if (rc == BASE_OK)
        rc = net_watch(socket, err);
    if (rc == BASE_OK)
        rc = enrol(context, socket, &identity, err);
    net_close(&socket);
    if (rc == BASE_OK)
        rc = keys_identity_expect(&identity, path, WIRE_ROLE_WORKER, err);
    if (rc == BASE_OK)
        rc = keys_identity_write(path, &identity, false, err);
    if (rc == BASE_OK) {
        (void)unlink(pending);
        base_log(BASE_LOG_INFO, "enrolled", "node=%s key=%s", node_id, path);
    }
    keys_identity_forget(&identity);
    return rc;
}
