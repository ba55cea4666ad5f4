/* Reads cgroup trees made in a temporary directory. */
#include "tensor_cpu.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void path_of(const char *name, char path[static 256])
{
    (void)snprintf(path, 256, "%s/%s", root, name);
}

static void write_file(const char *name, const char *text)
{
    char path[256];

    path_of(name, path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void make_directory(const char *name)
{
    char path[256];

    path_of(name, path);
    cr_assert_eq(mkdir(path, 0700), 0);
}

static uint32_t quota(void)
{
    char list[256], mount[256];

    path_of("list", list);
    path_of("mount", mount);
    return tensor_cpu_quota_cores(list, mount);
}

static void setup(void)
{
    (void)snprintf(root, sizeof(root), "%s/tensor-cpu-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(root));
    make_directory("mount");
}

static void remove_all(void)
{
    static const char *const names[] = {"mount/a/b/cpu.max", "mount/a/cpu.max", "mount/a/b",
        "mount/a", "mount/cpu.max", "mount/cpu,cpuacct/g/cpu.cfs_quota_us",
        "mount/cpu,cpuacct/g/cpu.cfs_period_us", "mount/cpu,cpuacct/g", "mount/cpu,cpuacct",
        "mount", "list"};
    char path[256];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        path_of(names[i], path);
        (void)remove(path);
    }
    cr_assert_eq(rmdir(root), 0);
}

TestSuite(tensor_cpu, .init = setup, .fini = remove_all);

Test(tensor_cpu, v2_takes_the_tightest_on_the_way_up)
{
    make_directory("mount/a");
    make_directory("mount/a/b");
    write_file("list", "0::/a/b\n");
    cr_assert_eq(quota(), 0);
    write_file("mount/a/b/cpu.max", "max 100000\n");
    cr_assert_eq(quota(), 0);
    write_file("mount/a/b/cpu.max", "550000 100000\n");
    cr_assert_eq(quota(), 5);
    write_file("mount/a/cpu.max", "300000 100000\n");
    cr_assert_eq(quota(), 3);
    write_file("mount/a/cpu.max", "20000 100000\n");
    cr_assert_eq(quota(), 1);
    write_file("mount/a/cpu.max", "garbage\n");
    cr_assert_eq(quota(), 5);
}

/* In a container the path is the host's and only the mount's own files are there. */
Test(tensor_cpu, v2_path_that_is_not_visible)
{
    write_file("list", "0::/docker/0123\n");
    write_file("mount/cpu.max", "200000 100000\n");
    cr_assert_eq(quota(), 2);
    write_file("list", "0::/\n");
    cr_assert_eq(quota(), 2);
}

Test(tensor_cpu, v1)
{
    make_directory("mount/cpu,cpuacct");
    make_directory("mount/cpu,cpuacct/g");
    write_file("list", "5:cpuset:/g\n4:cpu,cpuacct:/g\n1:name=systemd:/g\n");
    write_file("mount/cpu,cpuacct/g/cpu.cfs_quota_us", "-1\n");
    write_file("mount/cpu,cpuacct/g/cpu.cfs_period_us", "100000\n");
    cr_assert_eq(quota(), 0);
    write_file("mount/cpu,cpuacct/g/cpu.cfs_quota_us", "400000\n");
    cr_assert_eq(quota(), 4);
    write_file("mount/cpu,cpuacct/g/cpu.cfs_period_us", "0\n");
    cr_assert_eq(quota(), 0);
}

Test(tensor_cpu, what_cannot_be_read_is_no_quota)
{
    cr_assert_eq(quota(), 0);
    write_file("list", "nonsense\n\n::\n0::/../..\n");
    cr_assert_eq(quota(), 0);
}

Test(tensor_cpu, affinity)
{
    cr_assert_geq(tensor_cpu_affinity_cores(), 1);
    cr_assert_leq(tensor_cpu_affinity_cores(), sysconf(_SC_NPROCESSORS_CONF));
}
