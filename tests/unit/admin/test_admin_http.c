/* What strangers may try: each ends in a short answer or a closed connection, and the next one is
 * served. */
#include "admin_testing.h"
#include "base_limits.h"
#include "metrics.h"
#include <stdio.h>

static char answer[65536];

static void expect_alive(struct admin *admin)
{
    ask(admin, GET("/healthz"), answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK"), "%s", answer);
}

Test(admin_http, metrics_are_of_the_right_type)
{
    struct metrics *metrics;
    struct metrics_counter cell = {5};
    const struct metrics_series series = {"a_total", "A.", METRICS_COUNTER, {{0}}, &cell, false};
    struct base_error err = {0};

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(metrics_register(metrics, &series, 1, &err), BASE_OK);
    struct admin *admin = start_admin(metrics);
    ask(admin, GET("/metrics"), answer, sizeof(answer));
    cr_assert(
        strstr(answer, "200 OK") && strstr(answer, "text/plain; version=0.0.4"), "%s", answer);
    cr_assert(strstr(answer, "\na_total 5\n"), "%s", answer);
    cr_assert(
        strstr(answer, "Connection: close") || strstr(answer, "Connection: Close"), "%s", answer);
    metrics_add(&cell, 1);
    ask(admin, GET("/metrics"), answer, sizeof(answer));
    cr_assert(strstr(answer, "\na_total 6\n"), "%s", answer);
    admin_stop(&admin);
    metrics_destroy(&metrics);
}

Test(admin_http, paths_and_methods_that_are_none)
{
    struct admin *admin = start_admin(NULL);
    const char *const unknown[] = {GET("/"), GET("/metrics/"), GET("/healthz/../readyz"),
        GET("/metrics"), GET("/%00"), GET("/readyz%2f")};
    const char *const methods[] = {
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
        "DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n"};

    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        ask(admin, unknown[i], answer, sizeof(answer));
        cr_assert(strstr(answer, " 404 "), "%s: %s", unknown[i], answer);
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        ask(admin, methods[i], answer, sizeof(answer));
        cr_assert(strstr(answer, " 405 ") && strstr(answer, "Allow: GET, HEAD"), "%s", answer);
    }
    ask(admin, "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof(answer));
    cr_assert(strstr(answer, "200 OK") && strcmp(strstr(answer, "\r\n\r\n"), "\r\n\r\n") == 0, "%s",
        answer);
    expect_alive(admin);
    admin_stop(&admin);
}

Test(admin_http, requests_that_are_too_large_or_no_http)
{
    struct admin *admin = start_admin(NULL);
    static char request[4 * LIMIT_ADMIN_MEMORY_BYTES];
    size_t used = (size_t)snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nX: ");

    memset(request + used, 'a', sizeof(request) - used - 1);
    int fd = connect_to(admin);
    (void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    read_all(fd, answer, sizeof(answer));
    cr_assert_null(strstr(answer, "200 OK"), "%s", answer);
    close(fd);

    memset(request, 'a', sizeof(request) - 1);
    fd = connect_to(admin);
    (void)send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);
    read_all(fd, answer, sizeof(answer));
    cr_assert_null(strstr(answer, "200 OK"), "%s", answer);
    close(fd);

    ask(admin, "\x16\x03\x01\x02\r\n\r\n", answer, sizeof(answer));
    cr_assert_null(strstr(answer, "200 OK"), "%s", answer);
    expect_alive(admin);
    admin_stop(&admin);
}

/* Everybody who may connect does and says nothing; who comes then is served once they are put out,
 * and it is the idle limit that does it, for they stay connected. */
Test(admin_http, silent_connections_do_not_keep_others_out_for_ever, .timeout = 90)
{
    struct admin *admin = start_admin(NULL);
    int silent[LIMIT_ADMIN_CONNECTIONS + 4];
    const size_t count = sizeof(silent) / sizeof(silent[0]);

    for (size_t i = 0; i < count; i++)
        silent[i] = connect_to(admin);
    expect_alive(admin);
    read_all(silent[0], answer, sizeof(answer)); /* ends: it was closed */
    for (size_t i = 0; i < count; i++)
        close(silent[i]);
    admin_stop(&admin);
}

/* Two bytes a second are never idle; the whole must still end. */
Test(admin_http, a_client_that_dribbles_is_put_out, .timeout = 90)
{
    struct admin *admin = start_admin(NULL);
    int fd = connect_to(admin);
    const struct timeval pause = {.tv_usec = 500000};
    unsigned sent = 0;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause));
    (void)!send(fd, "GET /healthz HTTP/1.1\r\nX: ", 26, MSG_NOSIGNAL);
    while (sent < 60 && send(fd, "a", 1, MSG_NOSIGNAL) == 1) {
        char byte;
        sent++;
        if (recv(fd, &byte, 1, 0) == 0) /* closed; else half a second has passed */
            break;
    }
    cr_assert(sent >= 2 && sent < 60, "%u bytes", sent);
    close(fd);
    expect_alive(admin);
    admin_stop(&admin);
}
