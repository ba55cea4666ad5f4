#include "base_err.h"
#include "base_options.h"
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool verbose;
static const char *name = "none";
static uint32_t port = 5;
static uint64_t memory;
static double ratio = 1;
static struct base_option_list stops;

static const struct base_option table[] = {
    {"verbose", 'v', BASE_OPTION_FLAG, &verbose, 0, 0, NULL, "TEST_OPTION_VERBOSE", "more words"},
    {"name", 0, BASE_OPTION_STRING, &name, 0, 0, "NAME", "TEST_OPTION_NAME", "a name"},
    {"port", 'p', BASE_OPTION_U32, &port, 1, 100, "N", NULL, "a port"},
    {"memory", 0, BASE_OPTION_BYTES, &memory, 0, 0, "BYTES", NULL, "memory"},
    {"ratio", 0, BASE_OPTION_F64, &ratio, 0, 2, "X", NULL, "a ratio"},
    {"stop", 0, BASE_OPTION_LIST, &stops, 0, 0, "STR", NULL, "stop strings"},
};

static int parse(int argc, const char **argv, int stop_at_word, int *next, struct base_error *err)
{
    return base_options_parse(
        table, sizeof(table) / sizeof(table[0]), argc, (char **)argv, stop_at_word, next, err);
}
#define PARSE(stop, ...)                                                                           \
    parse((int)(sizeof((const char *[]){"x", __VA_ARGS__}) / sizeof(char *)),                      \
        (const char *[]){"x", __VA_ARGS__}, stop, &next, &err)

Test(base_options, every_type_is_read)
{
    int next = 0;
    struct base_error err = {0};

    setenv("TEST_OPTION_NAME", "from-env", 1);
    cr_assert_eq(PARSE(0, "-v", "--port=7", "--memory", "2GiB", "--ratio", "0.5", "--stop", "a",
                     "--stop", "-b", "--", "rest"),
        BASE_OK, "%s", err.text);
    cr_assert(verbose && port == 7 && memory == 2ull << 30 && ratio == 0.5);
    cr_assert(stops.count == 2 && strcmp(stops.items[1], "-b") == 0);
    cr_assert_str_eq(name, "from-env");
    cr_assert_eq(next, 12);
}

Test(base_options, a_flag_of_the_environment_is_1_or_0)
{
    int next = 0;
    struct base_error err = {0};

    setenv("TEST_OPTION_VERBOSE", "1", 1);
    cr_assert_eq(PARSE(0, "--port", "7"), BASE_OK, "%s", err.text);
    cr_assert(verbose);
    setenv("TEST_OPTION_VERBOSE", "0", 1);
    cr_assert_eq(PARSE(0, "--port", "7"), BASE_OK, "%s", err.text);
    cr_assert_not(verbose);
    cr_assert_eq(PARSE(0, "--verbose"), BASE_OK, "%s", err.text);
    cr_assert(verbose);
    setenv("TEST_OPTION_VERBOSE", "true", 1);
    cr_assert_eq(PARSE(0, "--verbose=false"), BASE_OK, "%s", err.text);
    cr_assert_not(verbose);
    setenv("TEST_OPTION_VERBOSE", "maybe", 1);
    cr_assert_eq(PARSE(0, "--port", "7"), BASE_INVALID);
    cr_assert(strstr(err.text, "TEST_OPTION_VERBOSE") && strstr(err.text, "maybe"));
}

Test(base_options, what_is_wrong_is_named)
{
    int next = 0;
    struct base_error err = {0};

    cr_assert_eq(PARSE(0, "--port", "101"), BASE_INVALID);
    cr_assert(strstr(err.text, "--port") && strstr(err.text, "101") && strstr(err.text, "100"));
    cr_assert_eq(PARSE(0, "--port", "-1"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--port", "7x"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--port"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--nope"), BASE_INVALID);
    cr_assert(strstr(err.text, "--nope"));
    cr_assert_eq(PARSE(0, "--memory", "3 parsecs"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--memory", "99999999999999TiB"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--ratio", "nan"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--verbose=yes"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "word"), BASE_INVALID);
    cr_assert_eq(PARSE(0, "--help"), BASE_CANCELLED);
    cr_assert_eq(PARSE(1, "-v", "word", "--nope"), BASE_OK);
    cr_assert_eq(next, 2);
}

Test(base_options, a_prefix_gives_every_setting_a_variable)
{
    static bool check;
    const struct base_option rows[] = {
        {"batch-tokens", 0, BASE_OPTION_U32, &port, 1, 100, "N", NULL, "tokens"},
        {"name", 0, BASE_OPTION_STRING, &name, 0, 0, "NAME", "TEST_OPTION_NAME", "a name"},
        {.name = "check", .type = BASE_OPTION_FLAG, .target = &check, .command_only = true},
    };
    const char *const wanted[] = {"LAYERMESH_X_BATCH_TOKENS", "TEST_OPTION_NAME", ""};
    char variable[64];
    struct base_error err = {0};

    for (size_t i = 0; i < 3; i++) {
        base_option_variable(&rows[i], "LAYERMESH_X_", variable, sizeof(variable));
        cr_assert_str_eq(variable, wanted[i]);
    }
    base_option_variable(&rows[0], NULL, variable, sizeof(variable));
    cr_assert_str_eq(variable, "");
    setenv("LAYERMESH_X_BATCH_TOKENS", "9", 1);
    setenv("LAYERMESH_X_CHECK", "1", 1);
    cr_assert_eq(base_options_environment(rows, 3, "LAYERMESH_X_", &err), BASE_OK, "%s", err.text);
    cr_assert(port == 9 && !check);
    setenv("LAYERMESH_X_BATCH_TOKENS", "900", 1);
    cr_assert_eq(base_options_environment(rows, 3, "LAYERMESH_X_", &err), BASE_INVALID);
    cr_assert(
        strstr(err.text, "LAYERMESH_X_BATCH_TOKENS") && strstr(err.text, "900"), "%s", err.text);
}

Test(base_options, a_stronger_source_replaces_a_list)
{
    struct base_error err = {0};
    const struct base_option *stop = base_option_find(table, 6, "stop", 4);

    cr_assert_not_null(stop);
    cr_assert_null(base_option_find(table, 6, "stop-not", 8));
    for (int i = 0; i < 2; i++)
        cr_assert_eq(base_option_set(stop, BASE_OPTION_FROM_FILE, "f", "file", &err), BASE_OK);
    cr_assert_eq(stops.count, 2);
    cr_assert_eq(
        base_option_set(stop, BASE_OPTION_FROM_COMMAND_LINE, "c", "--stop", &err), BASE_OK);
    cr_assert(stops.count == 1 && strcmp(stops.items[0], "c") == 0);
    for (int i = 1; i < BASE_OPTION_LIST_MAX; i++)
        cr_assert_eq(
            base_option_set(stop, BASE_OPTION_FROM_COMMAND_LINE, "c", "--stop", &err), BASE_OK);
    cr_assert_eq(
        base_option_set(stop, BASE_OPTION_FROM_COMMAND_LINE, "c", "--stop", &err), BASE_INVALID);
    cr_assert(strstr(err.text, "--stop"), "%s", err.text);
}
