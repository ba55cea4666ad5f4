/* The HTTP side. The library runs on the admin thread only and starts none of its own. */
#include "admin_internal.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "metrics.h"
#include "metrics_process.h"
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define TEXT_TYPE    "text/plain; charset=utf-8"

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status,
    struct MHD_Response *response, const char *type)
{
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_line(
    struct MHD_Connection *connection, unsigned status, const char *text)
{
    char line[ADMIN_TEXT_BYTES + 1];

    (void)snprintf(line, sizeof(line), "%s\n", text);
    return answer(connection, status,
        MHD_create_response_from_buffer(strlen(line), line, MHD_RESPMEM_MUST_COPY), TEXT_TYPE);
}

static enum MHD_Result answer_metrics(struct admin *self, struct MHD_Connection *connection)
{
    char *text = NULL;
    size_t bytes = 0;

    if (self->options.process != NULL)
        metrics_process_update(self->options.process);
    int rc = metrics_text(self->options.metrics, &text, &bytes);
    if (rc != BASE_OK)
        return answer_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, base_err_text(rc));
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback(bytes, text, base_free);
    if (response == NULL)
        base_free(text);
    return answer(connection, MHD_HTTP_OK, response, METRICS_TYPE);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
    const char *method, const char *version, const char *upload_data, size_t *upload_bytes,
    void **request)
{
    struct admin *self = context;
    char text[ADMIN_TEXT_BYTES];

    (void)version;
    (void)upload_data;
    (void)upload_bytes;
    (void)request;
    /* Answered before any body is read: a body is nothing to us, and the connection ends. */
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
    if (strcmp(url, "/healthz") == 0) {
        bool healthy = admin_is_healthy(self, text, sizeof(text));
        return answer_line(connection, healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
    }
    if (strcmp(url, "/readyz") == 0) {
        bool ready = admin_is_ready(self, text, sizeof(text));
        return answer_line(connection, ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, text);
    }
    if (strcmp(url, "/metrics") == 0 && self->options.metrics != NULL)
        return answer_metrics(self, connection);
    return answer_line(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

/* ---- connections ---- */

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
    enum MHD_ConnectionNotificationCode what)
{
    struct admin *self = context;
    void *wanted = what == MHD_CONNECTION_NOTIFY_STARTED ? NULL : connection;

    (void)socket_context;
    for (size_t i = 0; i < LIMIT_ADMIN_CONNECTIONS; i++) {
        struct admin_connection *row = &self->connections[i];
        if (row->handle != wanted)
            continue;
        *row = (struct admin_connection){0};
        if (what == MHD_CONNECTION_NOTIFY_STARTED) {
            const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
            row->handle = connection;
            row->fd = info != NULL ? info->connect_fd : -1;
            row->since_ms = base_clock_ms();
        }
        return;
    }
}

/* The library bounds how long a connection says nothing, not how long it says little. */
static void end_overdue(struct admin *self)
{
    uint64_t now_ms = base_clock_ms();
    uint64_t total_ms = self->options.total_ms != 0 ? self->options.total_ms : LIMIT_ADMIN_TOTAL_MS;

    for (size_t i = 0; i < LIMIT_ADMIN_CONNECTIONS; i++) {
        const struct admin_connection *row = &self->connections[i];
        if (row->handle != NULL && row->fd >= 0 && now_ms - row->since_ms > total_ms)
            (void)shutdown(row->fd, SHUT_RDWR);
    }
}

/* ---- life ---- */

int admin_http_new(struct admin *self, struct base_error *err)
{
    unsigned idle_s = self->options.idle_s != 0 ? self->options.idle_s : LIMIT_ADMIN_IDLE_S;

    self->http = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, self,
        MHD_OPTION_LISTEN_SOCKET, self->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)LIMIT_ADMIN_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, idle_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)LIMIT_ADMIN_MEMORY_BYTES,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, self, MHD_OPTION_END);
    if (self->http == NULL)
        return base_error_set(
            err, BASE_IO, "admin port %s: the HTTP server did not start", self->address);
    self->listen_fd = -1;
    return BASE_OK;
}

void admin_http_destroy(struct admin *self)
{
    if (self->http != NULL)
        MHD_stop_daemon(self->http);
    self->http = NULL;
}

int admin_http_fd(const struct admin *self)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(self->http, MHD_DAEMON_INFO_EPOLL_FD);

    return info != NULL ? info->epoll_fd : -1;
}

void admin_http_run(struct admin *self)
{
    end_overdue(self);
    (void)MHD_run(self->http);
}

int admin_http_timeout_ms(const struct admin *self)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms = 0;

    /* Never for ever: a full house takes guests again in the turn after some have left. */
    if (MHD_get_timeout(self->http, &timeout_ms) == MHD_YES && timeout_ms < ADMIN_TURN_MS)
        return (int)timeout_ms;
    return ADMIN_TURN_MS;
}
