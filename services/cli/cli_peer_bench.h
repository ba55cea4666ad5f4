/* One run of a llama-bench or a llama-batched-bench program as a child process. Main thread only. */
#ifndef CLI_PEER_BENCH_H
#define CLI_PEER_BENCH_H

#include <sched.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

struct cli_peer_bench {
    const char *program;
    const char *model;
    uint32_t threads;
    uint32_t prompt_tokens; /* 0: decode only */
    uint32_t decode_tokens; /* 0: prefill only */
    uint32_t depth;         /* positions already in the cache */
    const char *extra;      /* further arguments, separated by spaces; or NULL */
    const cpu_set_t *cpus; /* that it may use, whatever our own threads are pinned to; NULL: ours */
};

/* Runs llama-bench once and reads the tokens a second that it prints. Returns BASE_OK, BASE_IO (it
 * could not be started, failed), BASE_TOO_BIG (it prints without end) or BASE_MALFORMED (its output
 * has no such number). */
int cli_peer_bench_run(
    const struct cli_peer_bench *self, double *ret_tokens_per_second, struct base_error *err);

/* The number in llama-bench's JSON output: "avg_ts" of its only row. For tests too. */
int cli_peer_bench_parse(
    const char *text, size_t bytes, double *ret_tokens_per_second, struct base_error *err);

/* Runs llama-batched-bench once: batch sequences decode decode_tokens each behind depth (>= 1)
 * positions. The tokens a second of all together; returns as above. */
int cli_peer_batched_run(const struct cli_peer_bench *self, uint32_t batch,
    double *ret_tokens_per_second, struct base_error *err);

/* The number in llama-batched-bench's JSONL output: "speed_tg" of its only row, which has to be of
 * that batch, depth ("pp") and those steps ("tg"). For tests too. */
int cli_peer_batched_parse(const char *text, size_t bytes, uint32_t batch, uint32_t depth,
    uint32_t steps, double *ret_tokens_per_second, struct base_error *err);

#endif
