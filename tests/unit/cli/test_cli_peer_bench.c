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
    FILE *script = fopen("peer-affinity.sh", "w");
    cr_assert_not_null(script);
    (void)fprintf(script, "#!/bin/sh\nprintf '[{\"avg_ts\":%%s}]' \"$(nproc)\"\n");
    (void)fclose(script);
    cr_assert_eq(chmod("peer-affinity.sh", 0755), 0);
    peer.program = "./peer-affinity.sh";
    peer.cpus = &all;
    int rc = cli_peer_bench_run(&peer, &speed, &err);
    (void)unlink("peer-affinity.sh");
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_eq(speed, CPU_COUNT(&all));
    cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
    cr_assert(CPU_EQUAL(&after, &one), "our own mask is as it was");
}
