#include "cli_peer_bench.h"

#include "base_err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int parse(const char *text, double *ret_speed, struct base_error *err)
{
    return cli_peer_bench_parse(text, strlen(text), ret_speed, err);
}

Test(cli_peer_bench, speed_is_read_from_the_only_row)
{
    struct base_error err = {0};
    double speed = 0;

    cr_assert_eq(parse("[{\"n_prompt\":512,\"avg_ts\":71.25}]", &speed, &err), BASE_OK);
    cr_assert_eq(speed, 71.25);
}

Test(cli_peer_bench, other_output_is_refused)
{
    static const char *const texts[] = {"", "[]", "{\"avg_ts\":3}", "[{\"avg_ts\":0}]",
        "[{\"avg_ts\":\"3\"}]", "[{\"avg_ts\":1},{\"avg_ts\":2}]", "[{\"avg_ts\":1}", "error: no"};
    struct base_error err = {0};
    double speed = 0;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_eq(parse(texts[i], &speed, &err), BASE_MALFORMED, "%s", texts[i]);
    cr_assert_eq(speed, 0);
}

Test(cli_peer_bench, a_child_is_run_and_its_failure_told)
{
    struct cli_peer_bench peer = {.program = "/nonexistent/bench", .model = "m"};
    struct base_error err = {0};
    double speed = 0;

    cr_assert_eq(cli_peer_bench_run(&peer, &speed, &err), BASE_IO);
    cr_assert(strstr(err.text, "/nonexistent/bench") != NULL, "%s", err.text);
    peer.program = "false";
    cr_assert_eq(cli_peer_bench_run(&peer, &speed, &err), BASE_IO);
    cr_assert(strstr(err.text, "status 1") != NULL, "%s", err.text);
    peer.program = "true"; /* prints nothing */
    cr_assert_eq(cli_peer_bench_run(&peer, &speed, &err), BASE_MALFORMED);
}

static int parse_batched(const char *text, double *ret_speed, struct base_error *err)
{
    return cli_peer_batched_parse(text, strlen(text), 4, 16, 32, ret_speed, err);
}

Test(cli_peer_bench, batched_speed_is_read_between_other_lines)
{
    struct base_error err = {0};
    double speed = 0;
    int rc = parse_batched("\nnot a row {\n"
                           "{\"n_kv\": 192, \"pp\": 16, \"tg\": 32, \"pl\": 4, \"speed_pp\": 9.5, "
                           "\"speed_tg\": 76.5}\n\n",
        &speed, &err);

    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_eq(speed, 76.5);
}

Test(cli_peer_bench, other_batched_output_is_refused)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "0 rows"},
        {"main: n_kv_max = 16\n", "0 rows"}, /* what did not fit was passed by */
        {"[{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_tg\":7}]\n", "0 rows"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_tg\":7}\n{\"pp\":16}\n", "2 rows"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_", "not of 4"}, /* cut */
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_pp\":nan,\"speed_tg\":7}\n", "not of 4"},
        {"{\"pp\":16,\"tg\":32,\"pl\":16,\"speed_tg\":7}\n", "not of 4"},
        {"{\"pp\":1,\"tg\":32,\"pl\":4,\"speed_tg\":7}\n", "16 tokens"},
        {"{\"pp\":16,\"tg\":3,\"pl\":4,\"speed_tg\":7}\n", "32 steps"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4}\n", "speed_tg"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_tg\":0}\n", "speed_tg"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_tg\":-7}\n", "speed_tg"},
        {"{\"pp\":16,\"tg\":32,\"pl\":4,\"speed_tg\":\"7\"}\n", "speed_tg"},
    };
    double speed = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct base_error err = {0};
        cr_assert_eq(
            parse_batched(cases[i].text, &speed, &err), BASE_MALFORMED, "%s", cases[i].text);
        cr_assert(strstr(err.text, cases[i].reason) != NULL, "%s: %s", cases[i].text, err.text);
    }
    cr_assert_eq(speed, 0);
}

/* Makes a program of one shell command. */
static void write_script(const char *path, const char *command)
{
    FILE *script = fopen(path, "w");

    cr_assert_not_null(script);
    (void)fprintf(script, "#!/bin/sh\n%s\n", command);
    (void)fclose(script);
    cr_assert_eq(chmod(path, 0755), 0);
}

Test(cli_peer_bench, a_batched_child_is_told_what_to_run)
{
    struct cli_peer_bench peer = {.program = "./peer-batched.sh",
        .model = "m.gguf",
        .threads = 2,
        .depth = 16,
        .decode_tokens = 8,
        .extra = "-fa  on"};
    struct base_error err = {0};
    double speed = 0;

    write_script("peer-batched.sh",
        "[ \"$*\" = '-m m.gguf -t 2 -npp 16 -ntg 8 -npl 4 -c 96 --output-format jsonl -fa on' ] "
        "&& echo '{\"pp\":16,\"tg\":8,\"pl\":4,\"speed_tg\":5}'");
    int rc = cli_peer_batched_run(&peer, 4, &speed, &err);
    (void)unlink("peer-batched.sh");
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_eq(speed, 5);
    peer.program = "/nonexistent/batched";
    cr_assert_eq(cli_peer_batched_run(&peer, 4, &speed, &err), BASE_IO);
    cr_assert(strstr(err.text, "/nonexistent/batched") != NULL, "%s", err.text);
}

Test(cli_peer_bench, a_child_that_prints_without_end_is_ended)
{
    struct cli_peer_bench peer = {.program = "./peer-endless.sh", .model = "m"};
    struct base_error err = {0};
    double speed = 0;

    write_script("peer-endless.sh", "exec yes");
    int rc = cli_peer_bench_run(&peer, &speed, &err);
    (void)unlink("peer-endless.sh");
    cr_assert_eq(rc, BASE_TOO_BIG, "%s", err.text);
}

Test(cli_peer_bench, a_child_may_use_more_than_we_are_pinned_to)
{
    struct cli_peer_bench peer = {.model = "m"};
    struct base_error err = {0};
    cpu_set_t all, one, after;
    double speed = 0;
    int first = 0;

    cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    write_script("peer-affinity.sh", "printf '[{\"avg_ts\":%s}]' \"$(nproc)\"");
    peer.program = "./peer-affinity.sh";
    peer.cpus = &all;
    int rc = cli_peer_bench_run(&peer, &speed, &err);
    (void)unlink("peer-affinity.sh");
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_eq(speed, CPU_COUNT(&all));
    cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
    cr_assert(CPU_EQUAL(&after, &one), "our own mask is as it was");
}
