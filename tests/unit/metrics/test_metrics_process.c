#include "base_alloc.h"
#include "base_err.h"
#include "metrics_process.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

Test(metrics_process, what_linux_says_is_believable)
{
    static struct metrics_process process;
    struct metrics *metrics;
    struct base_error err = {0};
    char *text = NULL;
    size_t bytes = 0;

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(metrics_process_register(&process, metrics, "1.2.3", "avx2", &err), BASE_OK, "%s",
        err.text);
    cr_assert_gt(metrics_gauge_get(&process.resident_bytes), 100000);
    cr_assert_gt(
        metrics_gauge_get(&process.virtual_bytes), metrics_gauge_get(&process.resident_bytes));
    cr_assert_geq(metrics_gauge_get(&process.threads), 1);
    double age = (double)time(NULL) - metrics_gauge_get(&process.start_seconds);
    cr_assert(age > -5 && age < 3600, "%g", age);

    double fds = metrics_gauge_get(&process.open_fds);
    int fd = open("/dev/null", O_RDONLY);
    metrics_process_update(&process);
    cr_assert_eq(metrics_gauge_get(&process.open_fds), fds + 1);
    close(fd);
    metrics_process_update(&process);
    cr_assert_eq(metrics_gauge_get(&process.open_fds), fds);

    uint64_t cpu_us = metrics_get(&process.cpu_us);
    for (volatile unsigned i = 0; metrics_get(&process.cpu_us) <= cpu_us + 1000; i++)
        metrics_process_update(&process);
    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_OK);
    cr_assert(strstr(text, "layermesh_build_info{version=\"1.2.3\",isa=\"avx2\"} 1\n"), "%s", text);
    base_free(text);
    metrics_destroy(&metrics);
}
