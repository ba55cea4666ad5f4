/* What the operating system lets this process use. Internal to the module. */
#ifndef TENSOR_CPU_H
#define TENSOR_CPU_H

#include <stdint.h>

/* Cores in the affinity mask, at least 1. */
uint32_t tensor_cpu_affinity_cores(void);

/*
 * Whole cores of the tightest cgroup cpu quota on the way from this process's group to the
 * root, at least 1; 0 when there is none or it cannot be read.
 *   cgroup_list_path  "/proc/self/cgroup"
 *   mount_path        "/sys/fs/cgroup"
 * A fraction of a core is not counted: threads that meet at barriers all wait for the one
 * that is throttled.
 */
uint32_t tensor_cpu_quota_cores(const char *cgroup_list_path, const char *mount_path);

#endif
