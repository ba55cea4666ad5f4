/* What Linux knows of this process, under the names that every Prometheus client uses, and which
 * build it is. */
#ifndef METRICS_PROCESS_H
#define METRICS_PROCESS_H

#include "metrics.h"

struct metrics_process {
    struct metrics_gauge build; /* always 1 */
    struct metrics_counter cpu_us;
    struct metrics_gauge resident_bytes, virtual_bytes, open_fds, max_fds, threads, start_seconds;
};

/* Registers the cells; *self, version and isa are borrowed for the registry's life. isa: the
 * kernels in use, or "none". Returns as metrics_register(). */
int metrics_process_register(struct metrics_process *self, struct metrics *metrics,
    const char *version, const char *isa, struct base_error *err);

/* Reads /proc/self. What cannot be read keeps its value. The thread that writes the text. */
void metrics_process_update(struct metrics_process *self);

#endif
