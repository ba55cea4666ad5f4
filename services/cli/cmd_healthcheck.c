/* A probe without a shell and without curl: one GET of a daemon's admin port. */
#include "cli_command.h"

#include "base_clock.h"
#include "base_err.h"
#include "base_limits.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES 4096

struct probe {
    const char *admin; /* HOST:PORT */
    bool ready;
    uint32_t timeout_ms;
    uint64_t until_ms;
    char host[LIMIT_HOST_BYTES], port[8], path[64];
    char answer[ANSWER_BYTES];
};

/* "127.0.0.1:7401", "[::1]:7401" */
static bool split_address(struct probe *self, const char *address, size_t bytes)
{
    const char *colon = memrchr(address, ':', bytes);
    size_t host_bytes = colon != NULL ? (size_t)(colon - address) : 0;
    size_t port_bytes = bytes - host_bytes - 1;

    if (host_bytes > 2 && address[0] == '[' && address[host_bytes - 1] == ']') {
        address++;
        host_bytes -= 2;
    }
    if (colon == NULL || host_bytes == 0 || host_bytes >= sizeof(self->host) || port_bytes == 0 ||
        port_bytes >= sizeof(self->port) || strspn(colon + 1, "0123456789") < port_bytes)
        return false;
    memcpy(self->host, address, host_bytes);
    self->host[host_bytes] = '\0';
    memcpy(self->port, colon + 1, port_bytes);
    self->port[port_bytes] = '\0';
    return true;
}

/* "http://127.0.0.1:7401/readyz" */
static bool split_url(struct probe *self, const char *url)
{
    if (strncmp(url, "http://", 7) != 0)
        return false;
    url += 7;
    size_t bytes = strcspn(url, "/");
    const char *path = url[bytes] != '\0' ? url + bytes : "/healthz";
    /* What would end the request line is no path. */
    if (strlen(path) >= sizeof(self->path) || strpbrk(path, " \r\n") != NULL)
        return false;
    (void)snprintf(self->path, sizeof(self->path), "%s", path);
    return split_address(self, url, bytes);
}

/* Waits for events on fd until the time is up. */
static bool wait_for(const struct probe *self, int fd, short events)
{
    struct pollfd item = {.fd = fd, .events = events};
    uint64_t now_ms;

    while ((now_ms = base_clock_ms()) < self->until_ms)
        if (poll(&item, 1, (int)(self->until_ms - now_ms)) > 0)
            return true;
    return false;
}

static int open_connection(struct probe *self, struct base_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(self->host, self->port, &hints, &found), fd = -1;
    socklen_t bytes = sizeof(error);

    if (error != 0) {
        (void)base_error_set(err, BASE_INVALID, "%s: %s", self->host, gai_strerror(error));
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = 0;
    if (fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS))
        error = errno;
    else if (!wait_for(self, fd, POLLOUT))
        error = ETIMEDOUT;
    else
        (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    freeaddrinfo(found);
    if (error == 0)
        return fd;
    (void)base_error_set(err, BASE_IO, "%s:%s: %s", self->host, self->port, strerror(error));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* Sends the request and reads the answer to its end. */
static int exchange(struct probe *self, int fd, struct base_error *err)
{
    char request[LIMIT_HOST_BYTES + 160];
    int length = snprintf(request, sizeof(request),
        "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", self->path, self->host);
    size_t used = 0;

    if (send(fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        return base_error_set(err, BASE_IO, "%s:%s: %s", self->host, self->port, strerror(errno));
    while (used + 1 < sizeof(self->answer)) {
        if (!wait_for(self, fd, POLLIN))
            return base_error_set(err, BASE_TIMEOUT, "%s:%s: no answer within %u ms", self->host,
                self->port, self->timeout_ms);
        ssize_t more = recv(fd, self->answer + used, sizeof(self->answer) - used - 1, 0);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            break;
        used += (size_t)more;
    }
    self->answer[used] = '\0';
    return BASE_OK;
}

/* Prints the first line of the body; 200 is well. */
static int judge(const struct cli_command *command, const struct probe *self)
{
    const char *body = strstr(self->answer, "\r\n\r\n");
    const char *status = strchr(self->answer, ' ');

    if (strncmp(self->answer, "HTTP/1.", 7) != 0 || body == NULL || status == NULL)
        return cli_fail(command, "%s:%s does not speak HTTP", self->host, self->port);
    body += 4;
    int length = (int)strcspn(body, "\r\n");
    if (strncmp(status, " 200", 4) != 0)
        return cli_fail(command, "%s: %.3s %.*s", self->path, status + 1, length, body);
    (void)printf("%.*s\n", length, body);
    return cli_finish(command);
}

int cmd_healthcheck(const struct cli_command *command, int argc, char **argv)
{
    struct probe probe = {.timeout_ms = 2000};
    const struct base_option rows[] = {
        {"admin", 0, BASE_OPTION_STRING, &probe.admin, 0, 0, "HOST:PORT", "LAYERMESH_ADMIN",
            "admin port of a daemon"},
        {"ready", 0, BASE_OPTION_FLAG, &probe.ready, 0, 0, NULL, NULL,
            "ask whether it does its work, not only whether it lives"},
        {"timeout-ms", 0, BASE_OPTION_U32, &probe.timeout_ms, 1, 60000, "MS", NULL, "longest wait"},
    };
    struct base_error err = {0};
    int next = 0, exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, rows, sizeof(rows) / sizeof(rows[0]), argc, argv, &next, &exit_status))
        return exit_status;
    (void)snprintf(probe.path, sizeof(probe.path), "%s", probe.ready ? "/readyz" : "/healthz");
    if (next + 1 < argc || (next == argc && probe.admin == NULL))
        return cli_usage(command, "one URL, or --admin HOST:PORT");
    bool is_valid = next < argc ? split_url(&probe, argv[next])
                                : split_address(&probe, probe.admin, strlen(probe.admin));
    if (!is_valid)
        return cli_usage(command, "'%s' is no address", next < argc ? argv[next] : probe.admin);
    probe.until_ms = base_clock_ms() + probe.timeout_ms;
    int fd = open_connection(&probe, &err);
    if (fd < 0)
        return cli_fail(command, "%s", err.text);
    int rc = exchange(&probe, fd, &err);
    (void)close(fd);
    return rc == BASE_OK ? judge(command, &probe) : cli_fail(command, "%s", err.text);
}
