#include "plan_table.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include <math.h>
#include <string.h>

#define BYTES_PER_MS_OF_GIGABYTE 1e6 /* 10^9 bytes/s, and 10^9 operations/s, per millisecond */
#define SLOWDOWN_MIN             0.01
#define SLOWDOWN_MAX             100.0

/* The measured rate of a weight type, or the slowest one when that type was not measured. */
static const struct plan_rate *rate_of(const struct plan_worker *worker, uint32_t weight_type)
{
    const struct plan_rate *slowest = NULL;

    for (size_t i = 0; i < worker->rate_count; i++) {
        if (worker->rates[i].weight_type == weight_type)
            return &worker->rates[i];
        if (!slowest || worker->rates[i].gigabytes_per_s < slowest->gigabytes_per_s)
            slowest = &worker->rates[i];
    }
    return slowest;
}

static double slowdown_of(const struct plan_worker *worker)
{
    return worker->slowdown > 0 ? fmin(fmax(worker->slowdown, SLOWDOWN_MIN), SLOWDOWN_MAX) : 1.0;
}

double plan_overhead_ms(const struct plan_problem *problem, size_t worker)
{
    return problem->stage_overhead_ms * slowdown_of(&problem->workers[worker]);
}

double plan_layer_ms(
    const struct plan_problem *problem, size_t worker, size_t layer, double batch_tokens)
{
    const struct plan_layer *cost = &problem->layers[layer];
    const struct plan_rate *rate = rate_of(&problem->workers[worker], cost->weight_type);
    double memory_ms, compute_ms, kv_ms;

    if (layer == 0 || !rate)
        return 0; /* the embedding is a lookup of a few rows */
    memory_ms = (double)cost->weight_bytes / (rate->gigabytes_per_s * BYTES_PER_MS_OF_GIGABYTE);
    compute_ms =
        (double)cost->operations_per_token * batch_tokens / (rate->gops * BYTES_PER_MS_OF_GIGABYTE);
    kv_ms = (double)cost->kv_bytes_per_token * problem->context_tokens /
            (rate->gigabytes_per_s * BYTES_PER_MS_OF_GIGABYTE);
    memory_ms *= memory_ms;
    compute_ms *= compute_ms;
    return (sqrt(sqrt(memory_ms * memory_ms + compute_ms * compute_ms)) + kv_ms) *
           slowdown_of(&problem->workers[worker]);
}

static int check_worker(const struct plan_worker *worker, size_t index, struct base_error *err)
{
    if (worker->rate_count > LIMIT_RATES_MAX)
        return base_error_set(
            err, BASE_INVALID, "worker %zu: more than %d rates", index, LIMIT_RATES_MAX);
    for (size_t i = 0; i < worker->rate_count; i++)
        if (!(worker->rates[i].gops > 0) || !(worker->rates[i].gigabytes_per_s > 0) ||
            !isfinite(worker->rates[i].gops) || !isfinite(worker->rates[i].gigabytes_per_s))
            return base_error_set(
                err, BASE_INVALID, "worker %zu: rate %zu is not positive and finite", index, i);
    if (!isfinite(worker->slowdown) || !isfinite(worker->link_ms) || worker->link_ms < 0 ||
        !isfinite(worker->link_bytes_per_ms) || worker->link_bytes_per_ms < 0)
        return base_error_set(
            err, BASE_INVALID, "worker %zu: slowdown or link is not finite and positive", index);
    return BASE_OK;
}

static int check_problem(const struct plan_problem *problem, struct base_error *err)
{
    if (!problem->workers || problem->worker_count > LIMIT_WORKERS_MAX ||
        problem->worker_count == 0)
        return base_error_set(err, BASE_INVALID, "%zu workers; 1 to %d are possible",
            problem->worker_count, LIMIT_WORKERS_MAX);
    if (!problem->layers || problem->layer_count < 3 || problem->layer_count > PLAN_LAYERS_MAX)
        return base_error_set(err, BASE_INVALID, "%zu layer costs; 3 to %d are possible",
            problem->layer_count, PLAN_LAYERS_MAX);
    if (!(problem->memory_reserve >= 0) || !(problem->memory_reserve < 1))
        return base_error_set(
            err, BASE_INVALID, "memory_reserve %g is not within 0 and 1", problem->memory_reserve);
    if (!(problem->stage_overhead_ms >= 0) || !isfinite(problem->stage_overhead_ms))
        return base_error_set(err, BASE_INVALID, "stage_overhead_ms is not finite and positive");
    for (size_t i = 0; i < problem->worker_count; i++) {
        int rc = check_worker(&problem->workers[i], i, err);

        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

/* Range [first, last) of blocks in pseudo-layers: where its prefix sums start and end. */
static size_t pseudo_first(uint32_t first)
{
    return first == 0 ? 0 : (size_t)first + 1;
}

static size_t pseudo_last(const struct plan_table *self, uint32_t last)
{
    return last == self->block_count ? (size_t)last + 2 : (size_t)last + 1;
}

static int fill_bytes(struct plan_table *self, struct base_error *err)
{
    const struct plan_problem *problem = self->problem;
    uint64_t sum = 0, kv;

    self->bytes[0] = 0;
    for (size_t i = 0; i < problem->layer_count; i++) {
        if (__builtin_mul_overflow(
                (uint64_t)problem->layers[i].kv_bytes_per_token, problem->kv_tokens, &kv) ||
            __builtin_add_overflow(sum, kv, &sum) ||
            __builtin_add_overflow(sum, problem->layers[i].weight_bytes, &sum))
            return base_error_set(
                err, BASE_INVALID, "layers 0..%zu need more bytes than 64 bits can count", i);
        self->bytes[i + 1] = sum;
    }
    return BASE_OK;
}

static void fill_times(struct plan_table *self, uint32_t candidate)
{
    const struct plan_problem *problem = self->problem;
    size_t row = (size_t)candidate * (problem->layer_count + 1);
    uint32_t worker = self->candidates[candidate].worker;

    self->time_ms[row] = self->single_ms[row] = 0;
    for (size_t i = 0; i < problem->layer_count; i++) {
        self->time_ms[row + i + 1] =
            self->time_ms[row + i] + plan_layer_ms(problem, worker, i, problem->batch_tokens);
        self->single_ms[row + i + 1] =
            self->single_ms[row + i] + plan_layer_ms(problem, worker, i, 1);
    }
}

static uint64_t capacity_of(const struct plan_problem *problem, const struct plan_worker *worker)
{
    double usable = (double)worker->memory_bytes * (1 - problem->memory_reserve);
    /* Without a reserve the count stays exact, whatever its size. */
    uint64_t capacity = problem->memory_reserve > 0 ? (uint64_t)usable : worker->memory_bytes;

    return capacity > problem->activation_bytes ? capacity - problem->activation_bytes : 0;
}

static bool measured_any(const struct plan_problem *problem, const struct plan_worker *worker)
{
    for (size_t r = 0; r < worker->rate_count; r++)
        for (size_t i = 0; i < problem->layer_count; i++)
            if (problem->layers[i].weight_type == worker->rates[r].weight_type)
                return true;
    return false;
}

static bool holds_a_block(const struct plan_table *self, uint64_t capacity)
{
    for (uint32_t i = 0; i < self->block_count; i++)
        if (plan_table_bytes(self, i, i + 1) <= capacity)
            return true;
    return false;
}

static void add_candidate(struct plan_table *self, size_t index, uint64_t capacity)
{
    const struct plan_problem *problem = self->problem;
    const struct plan_worker *worker = &problem->workers[index];
    double row_bytes = (double)problem->embedding_length * sizeof(float);
    double per_ms = worker->link_bytes_per_ms;

    self->candidates[self->candidate_count] = (struct plan_candidate){
        .worker = (uint32_t)index,
        .standby = worker->standby,
        .capacity_bytes = capacity,
        .overhead_ms = plan_overhead_ms(problem, index),
        .hop_ms = per_ms > 0 ? row_bytes * problem->batch_tokens / per_ms : 0,
        .hop_single_ms = worker->link_ms + (per_ms > 0 ? row_bytes / per_ms : 0),
    };
    fill_times(self, self->candidate_count);
    self->candidate_count++;
}

int plan_table_init(const struct plan_problem *problem, struct plan_table *ret,
    enum plan_exclusion *ret_exclusion, struct base_error *err)
{
    struct plan_table table = {.problem = problem};
    size_t columns;
    int rc = check_problem(problem, err);

    if (rc != BASE_OK)
        return rc;
    columns = problem->layer_count + 1;
    table.block_count = (uint32_t)(problem->layer_count - 2);
    table.time_ms = base_alloc_array(problem->worker_count * columns, sizeof(double));
    table.single_ms = base_alloc_array(problem->worker_count * columns, sizeof(double));
    table.bytes = base_alloc_array(columns, sizeof(uint64_t));
    table.extent = base_alloc_array(problem->worker_count * columns, sizeof(uint16_t));
    if (!table.time_ms || !table.single_ms || !table.bytes || !table.extent)
        rc = base_error_set(err, BASE_NOMEM, "no memory for the table of layer costs");
    else
        rc = fill_bytes(&table, err);
    if (rc != BASE_OK) {
        plan_table_release(&table);
        return rc;
    }
    for (size_t i = 0; i < problem->worker_count; i++) {
        uint64_t capacity = capacity_of(problem, &problem->workers[i]);

        ret_exclusion[i] = PLAN_USED;
        if (!measured_any(problem, &problem->workers[i]))
            ret_exclusion[i] = PLAN_EXCLUDED_NO_RATE;
        else if (!holds_a_block(&table, capacity))
            ret_exclusion[i] = PLAN_EXCLUDED_MEMORY;
        else
            add_candidate(&table, i, capacity);
    }
    *ret = table;
    return BASE_OK;
}

void plan_table_release(struct plan_table *self)
{
    base_free(self->time_ms);
    base_free(self->single_ms);
    base_free(self->bytes);
    base_free(self->extent);
    *self = (struct plan_table){0};
}

double plan_table_ms(
    const struct plan_table *self, uint32_t candidate, uint32_t first, uint32_t last)
{
    const double *sums = self->time_ms + (size_t)candidate * (self->problem->layer_count + 1);

    return self->candidates[candidate].overhead_ms +
           (sums[pseudo_last(self, last)] - sums[pseudo_first(first)]);
}

double plan_table_single_ms(
    const struct plan_table *self, uint32_t candidate, uint32_t first, uint32_t last)
{
    const double *sums = self->single_ms + (size_t)candidate * (self->problem->layer_count + 1);

    return self->candidates[candidate].overhead_ms + self->candidates[candidate].hop_single_ms +
           (sums[pseudo_last(self, last)] - sums[pseudo_first(first)]);
}

uint64_t plan_table_bytes(const struct plan_table *self, uint32_t first, uint32_t last)
{
    return self->bytes[pseudo_last(self, last)] - self->bytes[pseudo_first(first)];
}

bool plan_table_hop_allowed(const struct plan_table *self, uint32_t candidate)
{
    return self->candidates[candidate].hop_ms <= self->threshold_ms;
}

void plan_table_set_threshold(struct plan_table *self, double threshold_ms)
{
    self->threshold_ms = threshold_ms;
    for (uint32_t j = 0; j < self->candidate_count; j++) {
        uint16_t *extent = self->extent + (size_t)j * self->block_count;
        uint32_t last = 0;

        for (uint32_t first = 0; first < self->block_count; first++) {
            if (last < first)
                last = first;
            while (last < self->block_count &&
                   plan_table_bytes(self, first, last + 1) <= self->candidates[j].capacity_bytes &&
                   plan_table_ms(self, j, first, last + 1) <= threshold_ms)
                last++;
            extent[first] = (uint16_t)last;
        }
        self->step_count += 2 * self->block_count;
    }
}

uint32_t plan_table_extent(const struct plan_table *self, uint32_t candidate, uint32_t first)
{
    base_assert(candidate < self->candidate_count && first < self->block_count);
    return self->extent[(size_t)candidate * self->block_count + first];
}

double plan_chain_bottleneck_ms(const struct plan_table *table, const struct plan_chain *chain)
{
    double slowest = 0;

    for (uint32_t i = 0; i < chain->count; i++) {
        uint32_t j = chain->candidates[i];

        slowest = fmax(slowest, plan_table_ms(table, j, chain->cuts[i], chain->cuts[i + 1]));
        if (i + 1 < chain->count)
            slowest = fmax(slowest, table->candidates[j].hop_ms);
    }
    return slowest;
}

double plan_chain_latency_ms(const struct plan_table *table, const struct plan_chain *chain)
{
    double sum = 0;

    for (uint32_t i = 0; i < chain->count; i++)
        sum +=
            plan_table_single_ms(table, chain->candidates[i], chain->cuts[i], chain->cuts[i + 1]);
    return sum;
}
