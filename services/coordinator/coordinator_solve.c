/* The planner's problem made from members, and its answer made a placement. */
#include "base_err.h"
#include "coordinator_core.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_RESERVE      0.08
#define STAGE_OVERHEAD_MS   0.1
#define CONTEXT_TOKENS      512 /* attended on average, for the cost of reading KV */
#define ACTIVATION_TOKENS   96  /* a router's usual micro-batch */
#define ACTIVATION_FLOATS   24  /* per token, in units of the embedding length */
#define LOGITS_ROWS         64
#define LOOPBACK_LATENCY_MS 0.1

struct problem {
    struct plan_problem problem;
    struct plan_worker workers[LIMIT_WORKERS_MAX];
    size_t rows[LIMIT_WORKERS_MAX]; /* rows of self->workers */
};

static void problem_init(const struct coordinator *self, struct problem *ret)
{
    uint64_t activation_floats =
        (uint64_t)ACTIVATION_TOKENS * ACTIVATION_FLOATS * self->card.embedding_length +
        (uint64_t)LOGITS_ROWS * self->card.vocab_size;

    ret->problem = (struct plan_problem){
        .workers = ret->workers,
        .layers = self->layers,
        .layer_count = (size_t)self->card.layer_count + 2,
        .embedding_length = self->card.embedding_length,
        .batch_tokens = self->options.batch_tokens,
        .context_tokens = CONTEXT_TOKENS,
        .activation_bytes = activation_floats * sizeof(float),
        .stage_count = self->options.stage_count,
        .memory_reserve = MEMORY_RESERVE,
        .stage_overhead_ms = STAGE_OVERHEAD_MS,
    };
}

static void problem_add(const struct coordinator *self, struct problem *problem, size_t row)
{
    const struct coordinator_member *member = &self->workers[row];
    struct plan_worker *worker = &problem->workers[problem->problem.worker_count];

    *worker = (struct plan_worker){
        .memory_bytes = member->identity.memory_bytes,
        .rate_count = member->identity.rate_count,
        .link_ms = LOOPBACK_LATENCY_MS,
        .standby = member->identity.standby,
        .slowdown = member->slowdown,
    };
    for (size_t i = 0; i < worker->rate_count; i++)
        worker->rates[i] = (struct plan_rate){
            .weight_type = member->rates[i].weight_type,
            .gops = member->rates[i].gops,
            .gigabytes_per_s = member->rates[i].gigabytes_per_s,
        };
    problem->rows[problem->problem.worker_count++] = row;
}

static bool may_be_used(const struct coordinator_member *member)
{
    return member->used && member->live && !member->draining && !member->failed &&
           !member->quarantined;
}

/* As many KV positions as asked for, or half, a quarter, ... of them. */
static int solve_halving(const struct coordinator *self, struct problem *problem,
    struct plan_solution *ret, struct base_error *err)
{
    uint64_t most = (uint64_t)LIMIT_PAGES_MAX * LIMIT_PAGE_TOKENS;
    uint64_t kv_tokens = self->options.kv_tokens < most ? self->options.kv_tokens : most;
    int rc;

    if (kv_tokens < COORDINATOR_KV_TOKENS_MIN)
        kv_tokens = COORDINATOR_KV_TOKENS_MIN;
    for (;;) {
        kv_tokens -= kv_tokens % LIMIT_PAGE_TOKENS;
        problem->problem.kv_tokens = kv_tokens;
        rc = plan_solve(&problem->problem, ret, err);
        if (rc != BASE_UNAVAILABLE || kv_tokens == COORDINATOR_KV_TOKENS_MIN)
            return rc;
        kv_tokens =
            kv_tokens / 2 > COORDINATOR_KV_TOKENS_MIN ? kv_tokens / 2 : COORDINATOR_KV_TOKENS_MIN;
    }
}

static int solve_with(const struct coordinator *self, bool standbys, struct problem *problem,
    struct plan_solution *ret, struct base_error *err)
{
    problem_init(self, problem);
    for (size_t row = 0; row < LIMIT_WORKERS_MAX; row++)
        if (may_be_used(&self->workers[row]) && (standbys || !self->workers[row].identity.standby))
            problem_add(self, problem, row);
    if (problem->problem.worker_count == 0)
        return base_error_set(err, BASE_UNAVAILABLE, "no usable worker is registered");
    return solve_halving(self, problem, ret, err);
}

/* Less room for KV is better than a standby in use; a missing stage is not. */
static int solve_phases(const struct coordinator *self, struct problem *problem,
    struct plan_solution *ret, struct base_error *err)
{
    uint32_t asked = self->options.stage_count;
    bool standbys = false;
    int rc;

    for (size_t row = 0; row < LIMIT_WORKERS_MAX; row++)
        standbys |= may_be_used(&self->workers[row]) && self->workers[row].identity.standby;
    rc = solve_with(self, false, problem, ret, err);
    if (!standbys || (rc == BASE_OK && (asked == 0 || ret->stage_count == asked)))
        return rc;
    return solve_with(self, true, problem, ret, err);
}

static void fill_stages(const struct coordinator *self, const struct problem *problem,
    const struct plan_solution *solution, struct coordinator_placement *placement)
{
    placement->stage_count = solution->stage_count;
    for (size_t i = 0; i < solution->stage_count; i++) {
        const struct plan_stage *from = &solution->stages[i];
        const struct coordinator_member *member = &self->workers[problem->rows[from->worker]];
        struct wire_stage *stage = &placement->stages[i];

        *stage = (struct wire_stage){
            .incarnation = member->identity.incarnation,
            .layer_first = from->layer_first,
            .layer_count = from->layer_count,
            .weight_bytes = from->weight_bytes,
            .kv_bytes = from->kv_bytes,
            .predicted_ms = from->predicted_ms,
        };
        memcpy(stage->node_id, member->identity.node_id, sizeof(stage->node_id));
        memcpy(stage->endpoint, member->identity.data_endpoint, sizeof(stage->endpoint));
        memcpy(stage->public_key, member->identity.public_key, sizeof(stage->public_key));
        placement->without_ms[i] = solution->without_ms[from->worker];
    }
}

static void fill_exclusions(const struct coordinator *self, const struct problem *problem,
    const struct plan_solution *solution, struct coordinator_placement *placement)
{
    for (size_t row = 0; row < LIMIT_WORKERS_MAX; row++) {
        bool spare = may_be_used(&self->workers[row]) && self->workers[row].identity.standby;

        placement->exclusion[row] = spare ? PLAN_EXCLUDED_STANDBY : COORDINATOR_NOT_CONSIDERED;
    }
    for (size_t i = 0; i < problem->problem.worker_count; i++)
        placement->exclusion[problem->rows[i]] = (uint8_t)solution->exclusion[i];
}

int coordinator_solve(
    struct coordinator *self, struct coordinator_placement *ret, struct base_error *err)
{
    struct problem problem;
    struct plan_solution solution;
    uint64_t context;
    int rc = solve_phases(self, &problem, &solution, err);

    if (rc != BASE_OK)
        return rc;
    *ret = (struct coordinator_placement){
        .fingerprint = self->card.fingerprint,
        .kv_tokens = problem.problem.kv_tokens,
        .embedding_length = self->card.embedding_length,
        .vocab_size = self->card.vocab_size,
        .bottleneck_ms = solution.bottleneck_ms,
    };
    context = ret->kv_tokens < LIMIT_CONTEXT_TOKENS_MAX ? ret->kv_tokens : LIMIT_CONTEXT_TOKENS_MAX;
    ret->context_length =
        self->card.context_length < context ? self->card.context_length : (uint32_t)context;
    fill_stages(self, &problem, &solution, ret);
    fill_exclusions(self, &problem, &solution, ret);
    return BASE_OK;
}

double coordinator_stage_predicted_ms(struct coordinator *self,
    const struct coordinator_placement *placement, size_t stage, bool as_seen)
{
    const struct wire_stage *which = &placement->stages[stage];
    const struct coordinator_member *member = coordinator_find_worker(self, which->node_id);
    struct problem problem;

    if (!member)
        return which->predicted_ms;
    problem_init(self, &problem);
    problem_add(self, &problem, (size_t)(member - self->workers));
    if (as_seen && member->heartbeat.step_tokens > 0) {
        problem.problem.batch_tokens = (uint32_t)fmax(1, round(member->heartbeat.step_tokens));
        problem.problem.context_tokens = (uint32_t)round(member->heartbeat.step_context);
    }
    return plan_stage_ms(&problem.problem, 0, which->layer_first, which->layer_count, stage == 0,
        stage + 1 == placement->stage_count);
}

bool coordinator_stage_fits(struct coordinator *self, const struct wire_stage *stage)
{
    const struct coordinator_member *member = coordinator_find_worker(self, stage->node_id);
    struct problem problem;

    if (!member)
        return false;
    problem_init(self, &problem);
    return (double)stage->weight_bytes + (double)stage->kv_bytes +
               (double)problem.problem.activation_bytes <=
           (double)member->identity.memory_bytes * (1 - problem.problem.memory_reserve);
}

double coordinator_current_ms(struct coordinator *self)
{
    double slowest_ms = 0;

    for (size_t i = 0; i < self->current.stage_count; i++) {
        double ms = coordinator_stage_predicted_ms(self, &self->current, i, false);

        if (ms > slowest_ms)
            slowest_ms = ms;
    }
    return slowest_ms;
}
