/*
 * A whole model as one stage on this machine, fed with made-up tokens: what `layermesh bench`
 * times. No mesh, no sampling. One thread at a time.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

struct base_error;
struct bench_run;

#define BENCH_SEQUENCES_MAX 64u

struct bench_run_options {
    uint32_t thread_count;
    uint32_t sequence_count; /* 1..BENCH_SEQUENCES_MAX, each with KV pages of its own */
    uint32_t positions;      /* per sequence, prompt and answer together */
    uint32_t kv_type;        /* TENSOR_F32, TENSOR_F16 or TENSOR_Q8_0 */
    const char *pack_cache;  /* as in stage.h; or NULL */
    bool map_weights;        /* the same */
};

/* Loads the model of path (see model_open()). Returns BASE_OK and a run freed with
 * bench_run_close(), or what model_open() and stage_load() return. */
int bench_run_open(const char *path, const struct bench_run_options *options,
    struct bench_run **ret_run, struct base_error *err);
void bench_run_close(struct bench_run **self_p);

/* Runs positions [first_position, first_position + token_count) of one sequence in chunks of
 * LIMIT_BATCH_TOKENS_MAX, with the logits of the last one. */
int bench_run_prefill(struct bench_run *self, uint32_t sequence, uint32_t first_position,
    uint32_t token_count, double *ret_seconds, struct base_error *err);

/* step_count steps of one token for each of the first batch sequences, from first_position on. */
int bench_run_decode(struct bench_run *self, uint32_t batch, uint32_t first_position,
    uint32_t step_count, double *ret_seconds, struct base_error *err);

/* What a roofline needs. */
struct bench_run_costs {
    uint64_t weight_bytes;             /* read once for each step, without the embedding */
    uint64_t kv_bytes_per_position;    /* read once for each earlier position of each sequence */
    uint64_t operations_per_token;     /* of the matrix products in the blocks */
    uint64_t operations_per_logit_row; /* of the head */
    uint32_t weight_type;              /* of most weights */
};
void bench_run_get_costs(const struct bench_run *self, struct bench_run_costs *ret_costs);

/* Bytes that one step of a decode reads at least, behind so many positions of each sequence. */
double bench_run_step_bytes(const struct bench_run_costs *costs, uint32_t batch, double positions);

/* That stage_load() took. */
double bench_run_load_seconds(const struct bench_run *self);

#endif
