#include "metrics_process.h"

#include "base_err.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int metrics_process_register(struct metrics_process *self, struct metrics *metrics,
    const char *version, const char *isa, struct base_error *err)
{
    const struct metrics_series series[] = {
        {"layermesh_build_info", "Which build this is; always 1.", METRICS_GAUGE,
            {{"version", version}, {"isa", isa}}, &self->build, false},
        {"process_cpu_seconds_total", "Time on processors, user and system.", METRICS_SECONDS,
            {{0}}, &self->cpu_us, false},
        {"process_resident_memory_bytes", "Memory in RAM, mapped model files included.",
            METRICS_GAUGE, {{0}}, &self->resident_bytes, false},
        {"process_virtual_memory_bytes", "Address space in use.", METRICS_GAUGE, {{0}},
            &self->virtual_bytes, false},
        {"process_open_fds", "Open file descriptors.", METRICS_GAUGE, {{0}}, &self->open_fds,
            false},
        {"process_max_fds", "Most file descriptors that may be open.", METRICS_GAUGE, {{0}},
            &self->max_fds, false},
        {"process_threads", "Threads.", METRICS_GAUGE, {{0}}, &self->threads, false},
        {"process_start_time_seconds", "Start of the process, in seconds since 1970.",
            METRICS_GAUGE, {{0}}, &self->start_seconds, false},
    };

    metrics_set(&self->build, 1);
    metrics_process_update(self);
    return metrics_register(metrics, series, sizeof(series) / sizeof(series[0]), err);
}

static double count_fds(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the folder itself */

    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

/* Seconds since 1970 when the machine started; 0: not known. */
static double boot_seconds(void)
{
    struct timespec now, since_boot;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0)
        return 0;
    return (double)(now.tv_sec - since_boot.tv_sec) +
           (double)(now.tv_nsec - since_boot.tv_nsec) / 1e9;
}

/* proc(5): fields behind the name in brackets, which may hold anything. */
static void read_stat(struct metrics_process *self)
{
    char line[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    unsigned long long start = 0, bytes = 0;
    long threads = 0, pages = 0;

    if (file == NULL)
        return;
    size_t used = fread(line, 1, sizeof(line) - 1, file);
    (void)fclose(file);
    line[used] = '\0';
    const char *rest = strrchr(line, ')');
    if (rest == NULL || sscanf(rest + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
                            "%ld %*d %llu %llu %ld",
                            &threads, &start, &bytes, &pages) != 4)
        return;
    metrics_set(&self->threads, (double)threads);
    metrics_set(&self->virtual_bytes, (double)bytes);
    metrics_set(&self->resident_bytes, (double)pages * (double)sysconf(_SC_PAGESIZE));
    /* Once: the clocks drift apart, and a start that moves looks like a restart. */
    if (!(metrics_gauge_get(&self->start_seconds) > 0))
        metrics_set(
            &self->start_seconds, boot_seconds() + (double)start / (double)sysconf(_SC_CLK_TCK));
}

void metrics_process_update(struct metrics_process *self)
{
    struct rusage usage;
    struct rlimit limit;

    read_stat(self);
    metrics_set(&self->open_fds, count_fds());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        metrics_set(&self->max_fds, (double)limit.rlim_cur);
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        metrics_copy(
            &self->cpu_us, (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                               (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec));
}
