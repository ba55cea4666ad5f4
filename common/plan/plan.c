#include "plan.h"
#include "base_err.h"
#include "plan_table.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define WITHOUT_TOLERANCE 0.01

double plan_stage_ms(const struct plan_problem *problem, size_t worker, uint32_t layer_first,
    uint32_t layer_count, bool embeds, bool has_head)
{
    double sum = plan_overhead_ms(problem, worker);

    if (embeds)
        sum += plan_layer_ms(problem, worker, 0, problem->batch_tokens);
    for (uint32_t i = 0; i < layer_count; i++)
        sum += plan_layer_ms(problem, worker, (size_t)layer_first + i + 1, problem->batch_tokens);
    if (has_head)
        sum += plan_layer_ms(problem, worker, problem->layer_count - 1, problem->batch_tokens);
    return sum;
}

static int search(struct plan_table *table, const struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest)
{
    if (table->candidate_count <= PLAN_EXACT_WORKERS)
        return plan_exact_search(table, want, ret_chain, ret_furthest);
    return plan_local_search(table, want, ret_chain, ret_furthest);
}

/* With as few standby workers as possible. */
static int search_standbys(struct plan_table *table, struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest)
{
    uint32_t standby_count = 0;
    int rc = BASE_UNAVAILABLE;

    for (uint32_t j = 0; j < table->candidate_count; j++)
        standby_count += table->candidates[j].standby && !(want->banned >> j & 1);
    for (uint32_t i = 0; i <= standby_count && rc == BASE_UNAVAILABLE; i++) {
        want->standby_max = i;
        rc = search(table, want, ret_chain, ret_furthest);
    }
    return rc;
}

/* The asked number of stages, else the nearest lower one, else the nearest higher one. */
static int search_counts(struct plan_table *table, struct plan_want want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest)
{
    uint32_t banned_count = (uint32_t)__builtin_popcountll(want.banned);
    uint32_t most = table->candidate_count - banned_count, asked = table->problem->stage_count;
    int rc;

    if (most > table->block_count)
        most = table->block_count;
    if (asked > most)
        asked = most;
    want.stage_count = asked;
    rc = search_standbys(table, &want, ret_chain, ret_furthest);
    if (asked == 0 || rc != BASE_UNAVAILABLE)
        return rc;
    for (uint32_t count = asked - 1; count > 0 && rc == BASE_UNAVAILABLE; count--) {
        want.stage_count = count;
        rc = search_standbys(table, &want, ret_chain, ret_furthest);
    }
    for (uint32_t count = asked + 1; count <= most && rc == BASE_UNAVAILABLE; count++) {
        want.stage_count = count;
        rc = search_standbys(table, &want, ret_chain, ret_furthest);
    }
    return rc;
}

/* Why nothing fits, in bytes. */
static int explain_failure(
    const struct plan_table *table, uint32_t furthest, struct base_error *err)
{
    const struct plan_problem *problem = table->problem;
    uint32_t blocks = table->block_count;
    uint64_t need = plan_table_bytes(table, 0, blocks), room = 0, largest = 0, missing;

    for (size_t i = 0; i < problem->worker_count; i++) {
        double usable = (double)problem->workers[i].memory_bytes * (1 - problem->memory_reserve);

        if (usable > (double)largest)
            largest = (uint64_t)usable;
    }
    if (table->candidate_count == 0) {
        uint64_t least = UINT64_MAX;

        for (uint32_t i = 0; i < blocks; i++)
            if (plan_table_bytes(table, i, i + 1) < least)
                least = plan_table_bytes(table, i, i + 1);
        if (__builtin_add_overflow(least, problem->activation_bytes, &least))
            least = UINT64_MAX;
        if (largest >= least)
            return base_error_set(err, BASE_UNAVAILABLE,
                "none of the %zu workers measured a weight type of this model",
                problem->worker_count);
        return base_error_set(err, BASE_UNAVAILABLE,
            "no worker can hold a single layer: the smallest needs %" PRIu64
            " bytes with KV and buffers, the largest worker has %" PRIu64 " usable: %" PRIu64
            " bytes are missing",
            least, largest, least - largest);
    }
    for (uint32_t j = 0; j < table->candidate_count; j++)
        if (__builtin_add_overflow(room, table->candidates[j].capacity_bytes, &room))
            room = UINT64_MAX;
    if (need > room)
        return base_error_set(err, BASE_UNAVAILABLE,
            "weights and %" PRIu64 " KV positions need %" PRIu64 " bytes, the %" PRIu32
            " usable workers have %" PRIu64 ": %" PRIu64 " bytes are missing",
            problem->kv_tokens, need, table->candidate_count, room, need - room);
    missing = plan_table_bytes(table, furthest < blocks ? furthest : blocks - 1, blocks);
    return base_error_set(err, BASE_UNAVAILABLE,
        "no cut fits the workers' memory: at best layers 0..%" PRId64 " find room, and %" PRIu64
        " bytes of layers %" PRIu32 "..%" PRIu32 " with the head are missing a place",
        (int64_t)furthest - 1, missing, furthest, blocks - 1);
}

static void fill_stages(
    const struct plan_table *table, const struct plan_chain *chain, struct plan_solution *solution)
{
    const struct plan_problem *problem = table->problem;

    solution->stage_count = chain->count;
    for (uint32_t i = 0; i < chain->count; i++) {
        const struct plan_candidate *candidate = &table->candidates[chain->candidates[i]];
        uint32_t first = chain->cuts[i], last = chain->cuts[i + 1];
        struct plan_stage *stage = &solution->stages[i];
        uint64_t kv_per_token = 0;

        for (uint32_t layer = first; layer < last; layer++)
            kv_per_token += problem->layers[layer + 1].kv_bytes_per_token;
        if (first == 0)
            kv_per_token += problem->layers[0].kv_bytes_per_token;
        if (last == table->block_count)
            kv_per_token += problem->layers[problem->layer_count - 1].kv_bytes_per_token;
        *stage = (struct plan_stage){
            .worker = candidate->worker,
            .layer_first = first,
            .layer_count = last - first,
            .kv_bytes = kv_per_token * problem->kv_tokens,
            .predicted_ms = plan_stage_ms(problem, candidate->worker, first, last - first,
                first == 0, last == table->block_count),
        };
        stage->weight_bytes = plan_table_bytes(table, first, last) - stage->kv_bytes;
    }
}

/* Per worker: why it is not in the chain, or what the chain would be without it. */
static int explain_workers(
    struct plan_table *table, const struct plan_chain *chain, struct plan_solution *solution)
{
    bool used[LIMIT_WORKERS_MAX] = {false};

    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++)
        solution->without_ms[i] = -1;
    for (uint32_t i = 0; i < chain->count; i++)
        used[chain->candidates[i]] = true;
    for (uint32_t j = 0; j < table->candidate_count; j++) {
        uint32_t worker = table->candidates[j].worker;
        struct plan_want want = {.tolerance = WITHOUT_TOLERANCE, .banned = UINT64_C(1) << j};
        struct plan_chain other;
        int rc;

        if (!used[j]) {
            solution->exclusion[worker] = table->candidates[j].standby  ? PLAN_EXCLUDED_STANDBY
                                          : table->problem->stage_count ? PLAN_EXCLUDED_STAGE_COUNT
                                                                        : PLAN_EXCLUDED_SLOWER;
            continue;
        }
        solution->exclusion[worker] = PLAN_USED;
        if (table->candidate_count == 1)
            continue;
        rc = search_counts(table, want, &other, NULL);
        if (rc == BASE_OK)
            solution->without_ms[worker] = plan_chain_bottleneck_ms(table, &other);
        else if (rc != BASE_UNAVAILABLE)
            return rc;
    }
    return BASE_OK;
}

int plan_solve(
    const struct plan_problem *problem, struct plan_solution *ret, struct base_error *err)
{
    struct plan_solution solution = {0};
    struct plan_want want = {.tie_break = true};
    struct plan_chain chain;
    struct plan_table table;
    uint32_t furthest = 0;
    int rc = plan_table_init(problem, &table, solution.exclusion, err);

    if (rc != BASE_OK)
        return rc;
    rc = table.candidate_count ? search_counts(&table, want, &chain, &furthest) : BASE_UNAVAILABLE;
    if (rc == BASE_OK) {
        fill_stages(&table, &chain, &solution);
        solution.bottleneck_ms = plan_chain_bottleneck_ms(&table, &chain);
        solution.latency_ms = plan_chain_latency_ms(&table, &chain);
        solution.exact = table.candidate_count <= PLAN_EXACT_WORKERS;
        rc = explain_workers(&table, &chain, &solution);
    } else if (rc == BASE_UNAVAILABLE) {
        (void)explain_failure(&table, furthest, err);
    }
    solution.step_count = table.step_count;
    plan_table_release(&table);
    if (rc == BASE_NOMEM)
        return base_error_set(err, rc, "no memory for the search of a placement");
    if (rc == BASE_OK)
        *ret = solution;
    return rc;
}
