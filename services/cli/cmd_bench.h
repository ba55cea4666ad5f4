/* `layermesh bench`: its sub-commands. Main thread only. */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "bench_run.h"
#include "cli_command.h"
#include <stdint.h>

int cmd_bench_compare(const struct cli_command *command, int argc, char **argv);
int cmd_bench_kernels(const struct cli_command *command, int argc, char **argv);
int cmd_bench_load(const struct cli_command *command, int argc, char **argv);
int cmd_bench_stage(const struct cli_command *command, int argc, char **argv);

/* A list such as "1,2,4" of numbers within 1..max (or 0..max) into ret_values [count_max].
 * Returns how many, or 0 when the text is no such list. */
size_t cli_bench_numbers(
    const char *text, bool zero_allowed, uint32_t max, uint32_t *ret_values, size_t count_max);

/* "f32", "f16", "int8" to the type of KV pages; UINT32_MAX for anything else. */
uint32_t cli_bench_kv_type(const char *name);

/* What the machine can do, on a pool of its own. Before anything pins this thread: a pool made
 * afterwards would inherit that. Returns BASE_OK, or *err says what failed. */
struct base_error;
struct tensor_ceilings;
int cli_bench_ceilings(
    uint32_t thread_count, struct tensor_ceilings *ret_ceilings, struct base_error *err);

#endif
