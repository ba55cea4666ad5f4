/* Where the admin port listens. */
#include "admin_internal.h"

#include "base_err.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t bytes;
};

static void address_v4(struct address *ret, struct in_addr host, uint16_t port)
{
    *ret = (struct address){.bytes = sizeof(ret->v4)};
    ret->v4 =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = host};
}

static bool parse_host(const char *host, uint16_t port, struct address *ret)
{
    struct in_addr v4;
    struct in6_addr v6;
    size_t length = strlen(host);

    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4) == 1) {
        address_v4(ret, v4, port);
        return true;
    }
    char inner[INET6_ADDRSTRLEN];
    if (length < 4 || host[0] != '[' || host[length - 1] != ']' || length - 2 >= sizeof(inner))
        return false;
    memcpy(inner, host + 1, length - 2);
    inner[length - 2] = '\0';
    if (inet_pton(AF_INET6, inner, &v6) != 1)
        return false;
    *ret = (struct address){.bytes = sizeof(ret->v6)};
    ret->v6 =
        (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = v6};
    return true;
}

static int parse(const char *listen, struct address *ret, struct base_error *err)
{
    char host[64];
    const char *colon = strrchr(listen, ':');
    char *end = NULL;

    if (colon != NULL && (size_t)(colon - listen) < sizeof(host)) {
        memcpy(host, listen, (size_t)(colon - listen));
        host[colon - listen] = '\0';
        bool has_digits = colon[1] >= '0' && colon[1] <= '9' && strlen(colon + 1) <= 5;
        unsigned long port = has_digits ? strtoul(colon + 1, &end, 10) : 0;
        if (has_digits && *end == '\0' && port <= 65535 && parse_host(host, (uint16_t)port, ret))
            return BASE_OK;
    }
    return base_error_set(err, BASE_INVALID,
        "admin port '%s': off, auto or HOST:PORT, with an IPv4 address, [IPv6 address] or "
        "localhost",
        listen);
}

int admin_listen_check(const char *listen, struct base_error *err)
{
    struct address address;

    if (strcmp(listen, "off") == 0 || strcmp(listen, "auto") == 0)
        return BASE_OK;
    return parse(listen, &address, err);
}

static int open_socket(const struct address *address, int *ret_fd)
{
    const int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return errno;
    if (address->any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, &address->any, address->bytes) == 0 && listen(fd, BACKLOG) == 0) {
        *ret_fd = fd;
        return 0;
    }
    int error = errno;
    (void)close(fd);
    return error;
}

static void name_of(int fd, char *ret_address, size_t address_bytes)
{
    struct address bound = {.bytes = sizeof(bound.v6)};
    char host[INET6_ADDRSTRLEN] = "?";

    (void)getsockname(fd, &bound.any, &bound.bytes);
    if (bound.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &bound.v6.sin6_addr, host, sizeof(host));
        (void)snprintf(ret_address, address_bytes, "[%s]:%u", host, ntohs(bound.v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &bound.v4.sin_addr, host, sizeof(host));
        (void)snprintf(ret_address, address_bytes, "%s:%u", host, ntohs(bound.v4.sin_port));
    }
}

int admin_listen(const char *listen, uint16_t usual_port, int *ret_fd, char *ret_address,
    size_t address_bytes, struct base_error *err)
{
    struct address address;
    int fd = -1, error;

    ret_address[0] = '\0';
    if (strcmp(listen, "off") == 0)
        return BASE_OK;
    if (strcmp(listen, "auto") == 0) {
        const struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
        address_v4(&address, loopback, usual_port);
        error = open_socket(&address, &fd);
        if (error == EADDRINUSE) {
            address_v4(&address, loopback, 0);
            error = open_socket(&address, &fd);
        }
    } else {
        int rc = parse(listen, &address, err);
        if (rc != BASE_OK)
            return rc;
        error = open_socket(&address, &fd);
    }
    if (error != 0)
        return base_error_set(err, BASE_IO, "admin port %s: %s", listen, strerror(error));
    name_of(fd, ret_address, address_bytes);
    *ret_fd = fd;
    return BASE_OK;
}
