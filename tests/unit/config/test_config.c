#include "config_testing.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static char path[] = "/tmp/test-config-XXXXXX";

static int no_model(const void *settings, struct base_error *err)
{
    (void)settings;
    return model == NULL ? base_error_set(err, BASE_INVALID, "no model") : BASE_OK;
}

static const struct config_program program = {
    "test-program", "TEST_PROGRAM_", "[OPTION]...\nTests.", no_model};

static void write_file(const char *text)
{
    int fd = mkstemp(path);

    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static bool start(int argc, const char **argv, int *ret_exit)
{
    make_table();
    return config_start(&config, &program, rows, ROW_COUNT, NULL, argc, (char **)argv, ret_exit);
}
#define START(...)                                                                                 \
    start((int)(sizeof((const char *[]){"x", __VA_ARGS__}) / sizeof(char *)),                      \
        (const char *[]){"x", __VA_ARGS__}, &status)

/* Every pair of neighbours in flag > environment > file > default. */
Test(config, the_stronger_source_wins)
{
    int status = 7;

    write_file("model: from-file\nname: from-file\nport-number: 10\ntokens: 600\ninsecure: true\n"
               "peer: [a, b]\n");
    setenv("TEST_PROGRAM_MODEL", "from-environment", 1);
    setenv("TEST_CONFIG_NAME", "from-environment", 1);
    setenv("TEST_PROGRAM_PORT_NUMBER", "20", 1);
    cr_assert(START("--config", path, "--port-number", "30", "--model=from-flag"));
    cr_assert_str_eq(model, "from-flag");
    cr_assert_str_eq(name, "from-environment");
    cr_assert_eq(port, 30);
    cr_assert_eq(tokens, 600);
    cr_assert(insecure);
    cr_assert_eq(peers.count, 2);
    cr_assert_eq(ratio, 0.25);
    config_release(&config);

    unsetenv("TEST_PROGRAM_MODEL");
    char from[64];
    snprintf(from, sizeof(from), "--config=%s", path);
    cr_assert(START("--insecure=false", from, "--peer", "c"));
    cr_assert_str_eq(model, "from-file");
    cr_assert_eq(port, 20);
    cr_assert_not(insecure);
    cr_assert(peers.count == 1 && strcmp(peers.items[0], "c") == 0);
    cr_assert_eq(status, 0);
    config_release(&config);
    unlink(path);
}

Test(config, check_says_what_is_wrong_with_status_2)
{
    int status = 7;

    cr_assert_not(START("--check"));
    cr_assert_eq(status, 2); /* no model */
    cr_assert_not(START("--check", "--model", "m"));
    cr_assert_eq(status, 0);
    cr_assert_not(START("--model", "m", "--log-level", "loud"));
    cr_assert_eq(status, 2);
    cr_assert_not(START("--model", "m", "--log-format", "xml"));
    cr_assert_eq(status, 2);
    cr_assert_not(START("--model", "m", "--config", "/nonexistent/file"));
    cr_assert_eq(status, 2);
    setenv("TEST_PROGRAM_PORT_NUMBER", "0", 1);
    cr_assert_not(START("--model", "m"));
    cr_assert_eq(status, 2);
    unsetenv("TEST_PROGRAM_PORT_NUMBER");
    cr_assert_not(START("--help"));
    cr_assert_eq(status, 0);
    cr_assert_not(START("--print-config"));
    cr_assert_eq(status, 0);
    config_release(&config);
}
