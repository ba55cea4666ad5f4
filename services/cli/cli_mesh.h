/* The daemons of `layermesh local`: where their programs are, what they are told, where they log.
 * Main thread only. */
#ifndef CLI_MESH_H
#define CLI_MESH_H

#include "base_limits.h"
#include "cli_process.h"
#include <stdint.h>

/* coordinator, router, and the workers */
#define CLI_MESH_PROCESSES_MAX (LIMIT_WORKERS_MAX + 2)

struct cli_mesh_options {
    const char *model_path;
    uint32_t worker_count; /* that hold a stage */
    uint32_t spare_count;
    uint32_t thread_count; /* of each worker */
    uint64_t kv_tokens;    /* 0: what the coordinator thinks best */
    uint32_t probe_ms;
    bool fast_float;
    const char *kv_type;    /* as the workers take it */
    const char *pack_cache; /* the same; or NULL */
    const char *log_level;
};

struct cli_mesh {
    char directory[PATH_MAX]; /* "": none was made */
    char router[LIMIT_ENDPOINT_BYTES];
    char coordinator[LIMIT_ENDPOINT_BYTES];
    struct cli_process processes[CLI_MESH_PROCESSES_MAX];
    size_t process_count;
};

/*
 * Makes the directory and starts all daemons; they need not be ready. Returns BASE_OK, or BASE_IO /
 * BASE_NOT_FOUND with *err filled; what was started by then is stopped by cli_process_stop().
 */
int cli_mesh_start(
    struct cli_mesh *self, const struct cli_mesh_options *options, struct base_error *err);

/* The first daemon that is over, or NULL. */
const struct cli_process *cli_mesh_find_over(const struct cli_mesh *self);

/* Prints the last lines of a daemon's log on stderr. */
void cli_mesh_show_log(const struct cli_process *process);

/* Removes the directory with everything in it. */
void cli_mesh_remove(struct cli_mesh *self);

#endif
