#include "net_testing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct check {
    const char *endpoint;
    int code;          /* without key and --insecure */
    int code_insecure; /* with --insecure */
};

static const struct net_policy closed = {.cure = "--key FILE"},
                               insecure = {.insecure = true, .cure = "--key FILE"},
                               any_address = {.insecure = true, .any_address = true, .cure = "-"},
                               keyed = {.has_key = true, .cure = "-"};

static const struct check checks[] = {
    {"tcp://127.0.0.1:5000", BASE_DENIED, BASE_OK},
    {"tcp://127.0.0.1:*", BASE_DENIED, BASE_OK},
    {"tcp://127.255.0.9:1", BASE_DENIED, BASE_OK},
    {"tcp://[::1]:5000", BASE_DENIED, BASE_OK},
    {"tcp://[0:0::1]:5000", BASE_DENIED, BASE_OK},
    {"tcp://localhost:65535", BASE_DENIED, BASE_OK},
    {"ipc:///run/layermesh/control", BASE_OK, BASE_OK},
    {"ipc://relative", BASE_OK, BASE_OK},
    {"ipc://@abstract", BASE_OK, BASE_OK},
    {"inproc://x", BASE_OK, BASE_OK},
    {"tcp://10.0.0.1:5000", BASE_DENIED, BASE_OK},
    {"tcp://128.0.0.1:5000", BASE_DENIED, BASE_OK},
    {"tcp://126.255.255.255:5000", BASE_DENIED, BASE_OK},
    {"tcp://example.org:5000", BASE_DENIED, BASE_OK},
    {"tcp://127.0.0.1.example.org:5000", BASE_DENIED, BASE_OK},
    {"tcp://localhost.example.org:5000", BASE_DENIED, BASE_OK},
    {"tcp://127.1:5000", BASE_DENIED, BASE_OK},
    {"tcp://[fe80::1]:5000", BASE_DENIED, BASE_OK},
    {"tcp://[::ffff:10.0.0.1]:5000", BASE_DENIED, BASE_OK},
    {"tcp://*:5000", BASE_DENIED, BASE_DENIED},
    {"tcp://0.0.0.0:5000", BASE_DENIED, BASE_DENIED},
    {"tcp://[::]:5000", BASE_DENIED, BASE_DENIED},
    {"", BASE_INVALID, BASE_INVALID},
    {"127.0.0.1:5000", BASE_INVALID, BASE_INVALID},
    {"TCP://127.0.0.1:5000", BASE_INVALID, BASE_INVALID},
    {"udp://127.0.0.1:5000", BASE_INVALID, BASE_INVALID},
    {"pgm://eth0;239.0.0.1:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:0", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:65536", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:99999999999", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:5x", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1:-5", BASE_INVALID, BASE_INVALID},
    {"tcp://:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://[]:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://[127.0.0.1]:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://::1:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://eth0;127.0.0.1:5000", BASE_INVALID, BASE_INVALID},
    {"tcp://127.0.0.1/x:5000", BASE_INVALID, BASE_INVALID},
    {"ipc://", BASE_INVALID, BASE_INVALID},
    {"inproc://", BASE_INVALID, BASE_INVALID},
};

Test(net_endpoint, each_is_judged_as_the_table_says)
{
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        struct base_error err = {0};
        cr_assert_eq(net_endpoint_check(checks[i].endpoint, &closed, &err), checks[i].code,
            "%s: %s", checks[i].endpoint, err.text);
        if (checks[i].code != BASE_OK)
            cr_assert(strstr(err.text, checks[i].endpoint) != NULL, "%s", err.text);
        if (checks[i].code == BASE_DENIED) {
            cr_assert(strstr(err.text, "--insecure") != NULL, "%s", err.text);
            cr_assert(strstr(err.text, "--key FILE") != NULL, "%s", err.text);
        }
        cr_assert_eq(net_endpoint_check(checks[i].endpoint, &insecure, &err),
            checks[i].code_insecure, "%s", checks[i].endpoint);
        if (checks[i].code_insecure == BASE_DENIED)
            cr_assert(strstr(err.text, "--insecure-any-address") != NULL, "%s", err.text);
        /* A key, or both choices, open every endpoint that can be used at all. */
        const int last = checks[i].code == BASE_INVALID ? BASE_INVALID : BASE_OK;
        cr_assert_eq(net_endpoint_check(checks[i].endpoint, &any_address, NULL), last);
        cr_assert_eq(net_endpoint_check(checks[i].endpoint, &keyed, NULL), last);
    }
}

Test(net_endpoint, too_long_is_refused)
{
    char endpoint[600] = "ipc://";

    memset(endpoint + 6, 'a', 108);
    cr_assert_eq(net_endpoint_check(endpoint, &insecure, NULL), BASE_INVALID);
    endpoint[6 + 107] = 0;
    cr_assert_eq(net_endpoint_check(endpoint, &insecure, NULL), BASE_OK);
    memset(endpoint, 'a', sizeof(endpoint) - 1);
    memcpy(endpoint, "inproc://", 9);
    cr_assert_eq(net_endpoint_check(endpoint, &insecure, NULL), BASE_INVALID);
}

static char folder[] = "net-test-XXXXXX";
static char path[64], endpoint_text[80];

static void make_folder(void)
{
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/socket", folder);
    (void)snprintf(endpoint_text, sizeof(endpoint_text), "ipc://%s", path);
}

static void remove_folder(void)
{
    (void)unlink(path);
    (void)rmdir(folder);
}

Test(net_endpoint, a_path_that_is_served_stays_with_its_owner, .init = make_folder,
    .fini = remove_folder)
{
    struct net_context *context = new_context();
    struct net_socket *first = NULL, *second = NULL;
    struct base_error err = {0};
    struct stat info;

    cr_assert_eq(
        net_bind(context, NET_PLANE_CONTROL, endpoint_text, &first, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600);
    cr_assert_eq(net_bind(context, NET_PLANE_CONTROL, endpoint_text, &second, &err), BASE_DENIED);
    cr_assert_null(second);
    cr_assert(strstr(err.text, path) != NULL, "%s", err.text);

    struct net_socket *dealer = new_dealer(context, NET_PLANE_CONTROL, endpoint_text);
    cr_assert_eq(send_credit(dealer, NULL, 3), BASE_OK);
    (void)expect_credit(first, 3);
    net_close(&dealer);
    net_close(&first);
    net_context_destroy(&context);
}

Test(net_endpoint, a_path_left_by_the_dead_is_reused, .init = make_folder, .fini = remove_folder)
{
    struct net_context *context = new_context();
    struct net_socket *socket = NULL;
    struct base_error err = {0};

    /* A bound socket whose process went without unlinking it. */
    const int pid = fork();
    if (pid == 0) {
        struct net_context *other = NULL;
        _exit(net_context_new_library(&other, NULL) == BASE_OK &&
                      net_bind(other, NET_PLANE_CONTROL, endpoint_text, &socket, NULL) == BASE_OK
                  ? 0
                  : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(net_bind(context, NET_PLANE_CONTROL, endpoint_text, &socket, &err), BASE_OK, "%s",
        err.text);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_CONTROL, endpoint_text);
    cr_assert_eq(send_credit(dealer, NULL, 3), BASE_OK);
    (void)expect_credit(socket, 3);
    net_close(&dealer);
    net_close(&socket);
    net_context_destroy(&context);
}

Test(net_endpoint, a_file_is_not_removed, .init = make_folder, .fini = remove_folder)
{
    struct net_context *context = new_context();
    struct net_socket *socket = NULL;
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    (void)fclose(file);
    cr_assert_eq(net_bind(context, NET_PLANE_CONTROL, endpoint_text, &socket, NULL), BASE_DENIED);
    cr_assert_eq(access(path, F_OK), 0);
    net_context_destroy(&context);
}
