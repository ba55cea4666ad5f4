/* systemd's protocol: datagrams of NAME=value lines to the socket that NOTIFY_SOCKET names. */
#include "admin_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void admin_notify(const char *line)
{
    const char *path = getenv("NOTIFY_SOCKET");
    union {
        struct sockaddr any;
        struct sockaddr_un local;
    } address = {.local = {.sun_family = AF_UNIX}};
    size_t length = path != NULL ? strlen(path) : 0;

    if (length < 2 || (path[0] != '/' && path[0] != '@') || length > sizeof(address.local.sun_path))
        return;
    memcpy(address.local.sun_path, path, length);
    if (path[0] == '@') /* an abstract socket */
        address.local.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Without it the service goes on all the same; systemd says what it missed. */
    (void)!sendto(fd, line, strlen(line), MSG_NOSIGNAL, &address.any,
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    (void)close(fd);
}

uint64_t admin_notify_interval_ms(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (us == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    uint64_t interval_ms = strtoull(us, NULL, 10) / 2000;
    return interval_ms == 0 || interval_ms > 1800000 ? 0 : interval_ms;
}
