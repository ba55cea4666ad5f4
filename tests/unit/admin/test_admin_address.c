#include "admin_testing.h"
#include <stdio.h>

Test(admin_address, forms_that_are_taken_and_forms_that_are_not)
{
    const char *const good[] = {
        "off", "auto", "127.0.0.1:0", "localhost:7401", "[::1]:7401", "0.0.0.0:65535"};
    const char *const bad[] = {"", "on", "7401", ":7401", "127.0.0.1", "127.0.0.1:", "[::1]",
        "::1:7401", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1: 1", "127.0.0.1:1x",
        "example.org:80", "[::1:7401", "127.0.0.1:000001"};
    struct base_error err = {0};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_assert_eq(admin_listen_check(good[i], &err), BASE_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(admin_listen_check(bad[i], &err), BASE_INVALID, "%s", bad[i]);
        cr_assert(strstr(err.text, "HOST:PORT"), "%s", err.text);
    }
}

Test(admin_address, auto_takes_its_usual_port_or_another_one_of_loopback)
{
    struct admin *first = start_admin(NULL), *second = NULL, *third = NULL;
    uint16_t port = (uint16_t)strtoul(strrchr(admin_address(first), ':') + 1, NULL, 10);
    struct admin_options options = {.listen = "auto", .usual_port = port};
    struct base_error err = {0};

    cr_assert_eq(admin_start(&options, &second, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(strncmp(admin_address(second), "127.0.0.1:", 10), 0);
    cr_assert_str_neq(admin_address(second), admin_address(first));

    /* An address that was named is not exchanged for another. */
    options.listen = admin_address(first);
    cr_assert_eq(admin_start(&options, &third, &err), BASE_IO);
    cr_assert(strstr(err.text, admin_address(first)), "%s", err.text);
    cr_assert_null(third);
    admin_stop(&second);
    admin_stop(&first);
}

Test(admin_address, loopback_of_ipv6)
{
    const struct admin_options options = {.listen = "[::1]:0"};
    struct admin *admin = NULL;
    struct base_error err = {0};
    int rc = admin_start(&options, &admin, &err);

    if (rc != BASE_OK) { /* a machine without IPv6 */
        cr_assert_eq(rc, BASE_IO);
        cr_skip_test("no IPv6 here: %s", err.text);
    }
    cr_assert_eq(strncmp(admin_address(admin), "[::1]:", 6), 0, "%s", admin_address(admin));
    admin_stop(&admin);
}
