#include "tensor_cpu.h"
#include "base_alloc.h"
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES 4096
#define LINE_BYTES 4096
#define CPUS_MAX   65536

uint32_t tensor_cpu_affinity_cores(void)
{
    /* The kernel refuses a mask smaller than its own, so grow until it fits. */
    for (int cpus = 1024; cpus <= CPUS_MAX; cpus *= 4) {
        cpu_set_t *set = base_alloc(CPU_ALLOC_SIZE(cpus));
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        if (set == NULL)
            return 1;
        CPU_ZERO_S(bytes, set);
        int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
        base_free(set);
        if (count > 0)
            return (uint32_t)count;
    }
    return 1;
}

/* First line of a file, without its end. */
static bool read_line(const char *path, char line[static LINE_BYTES])
{
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    bool ok = fgets(line, LINE_BYTES, file) != NULL;
    (void)fclose(file);
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

static bool read_number(const char *directory, const char *name, double *ret_number)
{
    char path[PATH_BYTES + 64], line[LINE_BYTES], *end;

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    if (!read_line(path, line))
        return false;
    *ret_number = strtod(line, &end);
    return end != line;
}

/* Quota in cores set on one group, 0 when it has none. v1 says -1, v2 says "max" for none. */
static double quota_of_group(const char *directory, bool is_v2)
{
    double quota = 0, period = 0;

    if (is_v2) {
        char path[PATH_BYTES + 64], line[LINE_BYTES], *end;
        (void)snprintf(path, sizeof(path), "%s/cpu.max", directory);
        if (!read_line(path, line))
            return 0;
        quota = strtod(line, &end);
        if (end == line)
            return 0;
        period = strtod(end, NULL);
    } else if (!read_number(directory, "cpu.cfs_quota_us", &quota) ||
               !read_number(directory, "cpu.cfs_period_us", &period)) {
        return 0;
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* Tightest quota from mount/group up to mount itself. In a container the group's path may be
 * the host's and absent below the mount; the walk then meets the mount's own files. */
static double quota_of_path(const char *mount, const char *group, bool is_v2)
{
    char path[PATH_BYTES];
    size_t mount_length = strlen(mount);
    double tightest = 0;

    int length = snprintf(path, sizeof(path), "%s%s", mount, group);
    if (length < 0 || (size_t)length >= sizeof(path))
        return 0;
    for (;;) {
        double quota = quota_of_group(path, is_v2);
        if (quota > 0 && (tightest <= 0 || quota < tightest))
            tightest = quota;
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash < path + mount_length)
            return tightest;
        *slash = '\0';
    }
}

/* Whether a comma-separated list of v1 controllers holds "cpu". */
static bool names_cpu(const char *controllers)
{
    size_t length;

    for (; *controllers != '\0'; controllers += length + (controllers[length] == ',')) {
        length = strcspn(controllers, ",");
        if (length == 3 && memcmp(controllers, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* One line "id:controllers:path" of /proc/self/cgroup. */
static double quota_of_line(char *line, const char *mount_path)
{
    char mount[PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');

    if (group == NULL || strstr(group, "..") != NULL)
        return 0;
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0')
        return quota_of_path(mount_path, group, true);
    if (!names_cpu(controllers))
        return 0;
    int length = snprintf(mount, sizeof(mount), "%s/%s", mount_path, controllers);
    if (length < 0 || (size_t)length >= sizeof(mount))
        return 0;
    return quota_of_path(mount, group, false);
}

uint32_t tensor_cpu_quota_cores(const char *cgroup_list_path, const char *mount_path)
{
    char line[LINE_BYTES];
    double tightest = 0;
    FILE *file = fopen(cgroup_list_path, "re");

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        double quota = quota_of_line(line, mount_path);
        if (quota > 0 && (tightest <= 0 || quota < tightest))
            tightest = quota;
    }
    (void)fclose(file);
    if (tightest <= 0)
        return 0;
    if (tightest < 1)
        return 1;
    return tightest > CPUS_MAX ? CPUS_MAX : (uint32_t)tightest;
}
