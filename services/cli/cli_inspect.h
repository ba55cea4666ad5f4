/* A model as a report: one JSON object, and the same as text. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "base_limits.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf;
struct model;

/* Workers that a plan is made for. All count as equally fast. */
struct cli_cluster {
    uint64_t memory_bytes[LIMIT_WORKERS_MAX];
    size_t worker_count; /* 0: no plan is wanted */
};

/* "16GiB,8GiB". Returns BASE_OK or BASE_INVALID. */
int cli_cluster_parse(const char *text, struct cli_cluster *ret_cluster, struct base_error *err);

/* The report; model NULL: of the file alone. Freed with json_decref(); NULL when memory fails. */
json_t *cli_inspect(
    const struct gguf *file, const struct model *model, const struct cli_cluster *cluster);

/* To stdout, for people. */
void cli_inspect_print(const json_t *report);

#endif
