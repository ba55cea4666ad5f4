/*
 * Inside plan/: costs of every contiguous range on every candidate worker, as prefix sums, and the
 * two searches that read them. Boundaries are block numbers 0..block_count; the range that starts
 * at 0 includes the embedding, the one that ends at block_count the norm and head.
 */
#ifndef PLAN_TABLE_H
#define PLAN_TABLE_H

#include "plan.h"

/* Up to so many candidates every subset of workers is searched; above, local search. */
#define PLAN_EXACT_WORKERS 12

struct plan_candidate {
    uint32_t worker; /* index into the problem's workers */
    bool standby;
    uint64_t capacity_bytes; /* for weights and KV of its stage */
    double overhead_ms;
    double hop_ms;        /* occupancy of the hop after this worker at batch n */
    double hop_single_ms; /* latency of that hop at batch 1 */
};

struct plan_table {
    const struct plan_problem *problem;
    uint32_t block_count;
    uint32_t candidate_count;
    struct plan_candidate candidates[LIMIT_WORKERS_MAX];
    double *time_ms;   /* [candidate_count, block_count + 3] prefix sums at batch n */
    double *single_ms; /* the same at batch 1 */
    uint64_t *bytes;   /* [block_count + 3] prefix sums of weights and KV */
    uint16_t *extent;  /* [candidate_count, block_count] see plan_table_set_threshold() */
    double threshold_ms;
    uint64_t step_count;
};

/* A chain of stages under construction: candidate i holds blocks cuts[i]..cuts[i + 1]. */
struct plan_chain {
    uint32_t count;
    uint32_t candidates[LIMIT_STAGES_MAX];
    uint32_t cuts[LIMIT_STAGES_MAX + 1];
};

/* What a search has to find. */
struct plan_want {
    uint32_t stage_count; /* exactly; 0: any */
    uint32_t standby_max; /* standby workers at most */
    uint64_t banned;      /* bit j: candidate j may not be used */
    double tolerance;     /* relative gap to the optimum that is good enough; 0: none */
    bool tie_break;       /* prefer fewer stages, then lower latency, among equals */
};

double plan_overhead_ms(const struct plan_problem *problem, size_t worker);

/* Time of one layer (index into problem->layers) on a worker at a batch, slowdown applied. */
double plan_layer_ms(
    const struct plan_problem *problem, size_t worker, size_t layer, double batch_tokens);

/*
 * Checks the problem and fills *ret, freed with plan_table_release(). ret_exclusion: per worker,
 * PLAN_USED for candidates. Returns BASE_OK (candidate_count may be 0), BASE_INVALID or BASE_NOMEM.
 */
int plan_table_init(const struct plan_problem *problem, struct plan_table *ret,
    enum plan_exclusion *ret_exclusion, struct base_error *err);
void plan_table_release(struct plan_table *self);

double plan_table_ms(
    const struct plan_table *self, uint32_t candidate, uint32_t first, uint32_t last);
double plan_table_single_ms(
    const struct plan_table *self, uint32_t candidate, uint32_t first, uint32_t last);
uint64_t plan_table_bytes(const struct plan_table *self, uint32_t first, uint32_t last);
bool plan_table_hop_allowed(const struct plan_table *self, uint32_t candidate);

/*
 * For every candidate j and start s: extent[j][s] = the furthest end of a range from s that fits
 * j's memory and takes at most threshold_ms; s itself when not even one block does. Every part of
 * a range that fits, fits, so extents never decrease with s.
 */
void plan_table_set_threshold(struct plan_table *self, double threshold_ms);
uint32_t plan_table_extent(const struct plan_table *self, uint32_t candidate, uint32_t first);

double plan_chain_bottleneck_ms(const struct plan_table *table, const struct plan_chain *chain);
double plan_chain_latency_ms(const struct plan_table *table, const struct plan_chain *chain);

/*
 * The two searches. *ret_chain is the best chain found. Return BASE_OK, BASE_UNAVAILABLE when
 * nothing fits want, BASE_NOMEM. *ret_furthest (may be NULL) is raised
 * to the number of blocks that found a place.
 */
int plan_exact_search(struct plan_table *table, const struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest);
int plan_local_search(struct plan_table *table, const struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest);

#endif
