/* An admin port on loopback and a client that says exactly what it is told to. */
#ifndef ADMIN_TESTING_H
#define ADMIN_TESTING_H

#include "admin.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline struct admin *start_admin(const struct metrics *metrics)
{
    const struct admin_options options = {
        .listen = "127.0.0.1:0", .metrics = metrics, .idle_s = 1, .total_ms = 2500};
    struct admin *admin = NULL;
    struct base_error err = {0};

    cr_assert_eq(admin_start(&options, &admin, &err), BASE_OK, "%s", err.text);
    return admin;
}

static inline int connect_to(const struct admin *admin)
{
    const char *colon = strrchr(admin_address(admin), ':');
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const void *where = &address;
    const struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert(fd >= 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    cr_assert_eq(connect(fd, where, sizeof(address)), 0);
    return fd;
}

/* Reads until the other side closes. */
static inline void read_all(int fd, char *ret, size_t bytes)
{
    size_t used = 0;
    ssize_t more;

    while (used + 1 < bytes && (more = recv(fd, ret + used, bytes - used - 1, 0)) > 0)
        used += (size_t)more;
    ret[used] = '\0';
}

static inline void ask(const struct admin *admin, const char *request, char *ret, size_t bytes)
{
    int fd = connect_to(admin);

    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    read_all(fd, ret, bytes);
    close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

#endif
