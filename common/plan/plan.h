/*
 * Placement: which worker gets which contiguous layers. Pure functions of what workers measured
 * and what layers cost; no clock, no sockets, no tensors. Formulation and solver: README.md.
 *
 * Time of executor j for a layer range A at batch n and context C:
 *   T = overhead + sum over A of ((weight_bytes / bandwidth)^4 + (operations * n / rate)^4)^(1/4)
 *       + kv_bytes * C / bandwidth
 * (a smooth maximum: memory-bound and compute-bound time do not add.)
 */
#ifndef PLAN_H
#define PLAN_H

#include "base_limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

#define PLAN_LAYERS_MAX (LIMIT_LAYERS_MAX + 2)

struct plan_rate {
    uint32_t weight_type;
    double gops;
    double gigabytes_per_s;
};

/* A worker as the planner sees it. */
struct plan_worker {
    uint64_t memory_bytes;
    struct plan_rate rates[LIMIT_RATES_MAX];
    size_t rate_count;
    double link_ms;           /* one-way latency to the next hop: counts for latency_ms only */
    double link_bytes_per_ms; /* occupancy of the hop; 0: not known, not limiting */
    bool standby;             /* used only when the others cannot do */
    double slowdown;          /* measured over predicted, 1 when unknown; scales T */
};

struct plan_layer {
    uint32_t weight_type;
    uint64_t weight_bytes;
    uint64_t operations_per_token;
    uint32_t kv_bytes_per_token;
};

struct plan_problem {
    const struct plan_worker *workers;
    size_t worker_count;             /* 1..LIMIT_WORKERS_MAX */
    const struct plan_layer *layers; /* embedding, blocks, norm and head */
    size_t layer_count;              /* blocks + 2 */
    uint32_t embedding_length;       /* floats per token on a hop */
    uint32_t batch_tokens;           /* n: tokens in the micro-batch that is optimised for */
    uint32_t context_tokens;         /* C: positions attended on average */
    uint64_t kv_tokens;              /* positions that every stage must be able to hold */
    uint64_t activation_bytes;       /* working memory of any stage */
    uint32_t stage_count;            /* exactly this many stages when possible; 0: free choice */
    double memory_reserve;           /* fraction of memory_bytes left free, 0.08 */
    double stage_overhead_ms;        /* fixed cost of one stage call */
};

struct plan_stage {
    size_t worker;        /* index into workers */
    uint32_t layer_first; /* first block */
    uint32_t layer_count; /* blocks; stage 0 also has the embedding, the last norm and head */
    uint64_t weight_bytes, kv_bytes;
    double predicted_ms;
};

enum plan_exclusion {
    PLAN_USED = 0,
    PLAN_EXCLUDED_MEMORY,      /* cannot hold a single layer beside its KV and buffers */
    PLAN_EXCLUDED_STANDBY,     /* kept as a spare */
    PLAN_EXCLUDED_SLOWER,      /* with it the slowest stage would not get faster */
    PLAN_EXCLUDED_STAGE_COUNT, /* the asked number of stages is reached without it */
    PLAN_EXCLUDED_NO_RATE,     /* measured nothing for the model's weight types */
};

struct plan_solution {
    struct plan_stage stages[LIMIT_STAGES_MAX];
    size_t stage_count;
    double bottleneck_ms; /* slowest stage or hop */
    double latency_ms;    /* sum over stages and hops at batch 1 */
    bool exact;           /* false: found by local search (more than 12 workers) */
    enum plan_exclusion exclusion[LIMIT_WORKERS_MAX]; /* per worker */
    /* Bottleneck if this used worker were gone, to within 1 %; < 0: no placement, or not used. */
    double without_ms[LIMIT_WORKERS_MAX];
    uint64_t step_count; /* inner steps of the search: its cost, independent of the machine */
};

/*
 * Minimises the slowest stage subject to memory. Standby workers are used only as far as the
 * others cannot hold the model or reach stage_count. Ties: fewer stages, then lower latency, then
 * lower worker index, so that equal inputs give equal plans. Returns BASE_OK, BASE_UNAVAILABLE
 * with *err saying how many bytes are missing and where, BASE_INVALID or BASE_NOMEM.
 */
int plan_solve(
    const struct plan_problem *problem, struct plan_solution *ret, struct base_error *err);

/*
 * T above for blocks [layer_first, layer_first + layer_count) with embedding and head as told,
 * times the worker's slowdown. The embedding is a lookup: it takes memory, but no time. A weight
 * type that the worker did not measure counts at the slowest rate that it did measure.
 */
double plan_stage_ms(const struct plan_problem *problem, size_t worker, uint32_t layer_first,
    uint32_t layer_count, bool embeds, bool has_head);

#endif
