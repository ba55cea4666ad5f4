#include "admin_testing.h"
#include <stdio.h>
#include <sys/un.h>

static int listen_as_systemd(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    void *any = &address;
    socklen_t bytes = sizeof(address);
    char name[sizeof(address.sun_path) + 1];
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    /* Without a name Linux picks an abstract one. */
    cr_assert_eq(bind(fd, any, sizeof(address.sun_family)), 0);
    cr_assert_eq(getsockname(fd, any, &bytes), 0);
    snprintf(name, sizeof(name), "@%.*s", (int)(bytes - offsetof(struct sockaddr_un, sun_path) - 1),
        address.sun_path + 1);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void expect(int fd, const char *line)
{
    char text[64] = {0};

    cr_assert_gt(recv(fd, text, sizeof(text) - 1, 0), 0, "nothing instead of %s", line);
    cr_assert_str_eq(text, line);
}

Test(admin_notify, systemd_hears_of_start_health_and_end)
{
    int fd = listen_as_systemd();
    const struct admin_options options = {.listen = "off"};
    struct admin *admin = NULL;
    struct base_error err = {0};
    char pid[32];

    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("WATCHDOG_USEC", "100000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    cr_assert_eq(admin_start(&options, &admin, &err), BASE_OK, "%s", err.text);
    expect(fd, "WATCHDOG=1"); /* a start takes its time */
    setenv("WATCHDOG_PID", "1", 1);
    admin_stop(&admin);
    for (char text[64]; recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0;)
        ;

    /* That watchdog is another process's. */
    cr_assert_eq(admin_start(&options, &admin, &err), BASE_OK, "%s", err.text);
    admin_beat(admin);
    expect(fd, "READY=1");
    admin_beat(admin);
    admin_set_stopping(admin);
    expect(fd, "STOPPING=1");
    admin_stop(&admin);
    close(fd);
}
