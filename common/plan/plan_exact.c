/*
 * Exact search over subsets of workers. For a threshold, reach[mask] is the set of boundaries at
 * which a chain that uses exactly the workers of mask, in any order, can end. Extents never
 * decrease with the start, so one pass over the boundaries of reach[mask without j] gives all the
 * ends that j adds. README.md tells why this finds the optimum.
 */
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "plan_table.h"
#include <math.h>
#include <string.h>

#define EQUAL 1e-9 /* times that differ by less are the same, up to the rounding of sums */

struct exact {
    struct plan_table *table;
    const struct plan_want *want;
    uint32_t worker_count;
    uint32_t standby_mask;
    uint32_t words;   /* of 64 boundaries in one row of reach */
    uint64_t *reach;  /* [1 << worker_count, words] */
    int16_t *highest; /* [1 << worker_count] highest boundary of reach, -1: none */
    double *latency;  /* [1 << worker_count, block_count], only while breaking ties */
    uint32_t furthest;
};

/* Last stage of a chain: the worker and the boundary at which its range starts. */
struct ending {
    uint32_t mask; /* of all workers in the chain; 0: no chain */
    uint32_t candidate;
    uint32_t first;
};

static bool mask_allowed(const struct exact *self, uint32_t mask)
{
    uint32_t count = (uint32_t)__builtin_popcount(mask);

    if (mask & (uint32_t)self->want->banned)
        return false;
    if (self->want->stage_count && count > self->want->stage_count)
        return false;
    return count <= self->table->block_count &&
           (uint32_t)__builtin_popcount(mask & self->standby_mask) <= self->want->standby_max;
}

static bool mask_may_end(const struct exact *self, uint32_t mask)
{
    return self->want->stage_count == 0 ||
           (uint32_t)__builtin_popcount(mask) == self->want->stage_count;
}

static bool reaches(const struct exact *self, uint32_t mask, uint32_t boundary)
{
    return self->reach[(size_t)mask * self->words + boundary / 64] >> (boundary % 64) & 1;
}

/* Adds to reach[mask] the ends that candidate can make after the chains of mask without it. */
static void extend(struct exact *self, uint32_t mask, uint32_t candidate)
{
    uint32_t before = mask & ~(UINT32_C(1) << candidate);
    uint64_t *row = self->reach + (size_t)mask * self->words;
    uint32_t cover = 0;
    int highest = self->highest[before];

    for (uint32_t end = 1; end < self->table->block_count; end++) {
        if (reaches(self, before, end - 1))
            cover = plan_table_extent(self->table, candidate, end - 1);
        else if ((int)end > highest && cover < end)
            break;
        if (cover < end)
            continue;
        row[end / 64] |= UINT64_C(1) << (end % 64);
        if (self->highest[mask] < (int)end)
            self->highest[mask] = (int16_t)end;
    }
    self->table->step_count += self->table->block_count;
}

/* The longest last range wins, because extents grow with the start. */
static bool ends(const struct exact *self, uint32_t mask, uint32_t candidate)
{
    int highest = self->highest[mask & ~(UINT32_C(1) << candidate)];

    return highest >= 0 &&
           plan_table_extent(self->table, candidate, (uint32_t)highest) == self->table->block_count;
}

/*
 * Fills reach for a threshold. With stop set, returns the first chain found; otherwise goes on
 * and returns the first one with the fewest stages.
 */
static struct ending probe(struct exact *self, double threshold_ms, bool stop)
{
    struct ending found = {0};

    plan_table_set_threshold(self->table, threshold_ms);
    memset(self->reach, 0, ((size_t)self->words << self->worker_count) * sizeof(uint64_t));
    self->reach[0] = 1;
    self->highest[0] = 0;
    for (uint32_t mask = 1; mask < UINT32_C(1) << self->worker_count; mask++) {
        self->highest[mask] = -1;
        if (!mask_allowed(self, mask))
            continue;
        for (uint32_t rest = mask; rest; rest &= rest - 1) {
            uint32_t j = (uint32_t)__builtin_ctz(rest);
            uint32_t before = mask & ~(UINT32_C(1) << j);

            if (self->highest[before] < 0)
                continue;
            if (mask_may_end(self, mask) && ends(self, mask, j) &&
                (!found.mask || __builtin_popcount(mask) < __builtin_popcount(found.mask))) {
                found = (struct ending){mask, j, (uint32_t)self->highest[before]};
                if (stop)
                    return found;
            }
            if (plan_table_hop_allowed(self->table, j))
                extend(self, mask, j);
        }
        if (self->highest[mask] > (int)self->furthest)
            self->furthest = (uint32_t)self->highest[mask];
    }
    return found;
}

static void chain_prepend(
    struct plan_chain *chain, uint32_t candidate, uint32_t first, uint32_t last)
{
    memmove(chain->candidates + 1, chain->candidates, chain->count * sizeof(uint32_t));
    memmove(chain->cuts + 1, chain->cuts, (chain->count + 1) * sizeof(uint32_t));
    chain->candidates[0] = candidate;
    chain->cuts[0] = first;
    chain->cuts[1] = last;
    chain->count++;
}

/* Any chain that reach holds for this ending. */
static void trace(const struct exact *self, struct ending ending, struct plan_chain *ret)
{
    uint32_t mask = ending.mask & ~(UINT32_C(1) << ending.candidate);
    uint32_t boundary = ending.first;
    struct plan_chain chain = {0};

    chain_prepend(&chain, ending.candidate, ending.first, self->table->block_count);
    while (mask) {
        bool moved = false;

        for (uint32_t rest = mask; rest && !moved; rest &= rest - 1) {
            uint32_t j = (uint32_t)__builtin_ctz(rest);
            uint32_t before = mask & ~(UINT32_C(1) << j);

            if (!plan_table_hop_allowed(self->table, j))
                continue;
            for (uint32_t first = boundary; first-- > 0 && !moved;) {
                if (!reaches(self, before, first) ||
                    plan_table_extent(self->table, j, first) < boundary)
                    continue;
                chain_prepend(&chain, j, first, boundary);
                mask = before;
                boundary = first;
                moved = true;
            }
        }
        base_assert(moved);
    }
    base_assert(boundary == 0);
    *ret = chain;
}

/* Lowers *chain's bottleneck until the gap to the optimum is within want->tolerance. */
static void bisect(struct exact *self, struct plan_chain *chain)
{
    double tolerance = fmax(self->want->tolerance, 1e-7);
    double high = plan_chain_bottleneck_ms(self->table, chain), low = 0;

    for (;;) {
        bool coarse = high - low > tolerance * high;
        double threshold = coarse ? (low + high) / 2 : nextafter(high, 0);
        struct ending ending;

        if (high <= 0 || (!coarse && self->want->tolerance > 0))
            return;
        ending = probe(self, threshold, true);
        if (!ending.mask && !coarse)
            return; /* nothing below high: high is the optimum */
        if (!ending.mask) {
            low = threshold;
            continue;
        }
        trace(self, ending, chain);
        high = plan_chain_bottleneck_ms(self->table, chain);
    }
}

/* Lowest latency of mask's chains that end at a boundary; candidate takes the last range. */
struct window {
    uint32_t starts[LIMIT_LAYERS_MAX]; /* of ranges, best key first, keys rising */
    double keys[LIMIT_LAYERS_MAX];
    uint32_t head, tail;
};

static double latency_at(const struct exact *self, uint32_t mask, uint32_t boundary)
{
    if (mask == 0)
        return boundary == 0 ? 0 : INFINITY;
    return self->latency[(size_t)mask * self->table->block_count + boundary];
}

/* The part of a range's latency that depends on its start: up to a constant per candidate. */
static double start_key(const struct exact *self, uint32_t before, uint32_t j, uint32_t first)
{
    uint32_t last = self->table->block_count;

    return latency_at(self, before, first) + plan_table_single_ms(self->table, j, first, last);
}

/* A window of the starts from which candidate reaches the boundary slides with the boundary. */
static double relax(
    struct exact *self, struct window *window, uint32_t mask, uint32_t candidate, bool to_end)
{
    const struct plan_table *table = self->table;
    uint32_t before = mask & ~(UINT32_C(1) << candidate), count = table->block_count;
    double *row = self->latency + (size_t)mask * count;
    double whole = plan_table_single_ms(table, candidate, 0, count);

    window->head = window->tail = 0;
    for (uint32_t end = 1; end <= count; end++) {
        double key = start_key(self, before, candidate, end - 1), latency;

        if (isfinite(key)) {
            while (window->tail > window->head && window->keys[window->tail - 1] > key)
                window->tail--;
            window->starts[window->tail] = end - 1;
            window->keys[window->tail++] = key;
        }
        while (window->head < window->tail &&
               plan_table_extent(table, candidate, window->starts[window->head]) < end)
            window->head++;
        if (window->head == window->tail)
            continue;
        if (end == count)
            return to_end ? window->keys[window->head] : INFINITY;
        /* The constant: what lies behind end was counted in the key, too. */
        latency =
            window->keys[window->head] - whole + plan_table_single_ms(table, candidate, 0, end);
        if (plan_table_hop_allowed(table, candidate) && latency < row[end])
            row[end] = latency;
    }
    return INFINITY;
}

static bool close_to(double value, double best)
{
    return value <= best + EQUAL * fabs(best);
}

/* Fills latency at the current threshold for chains of at most stage_count workers. */
static struct ending best_latency(struct exact *self, struct window *window, uint32_t stage_count)
{
    size_t cells = (size_t)self->table->block_count << self->worker_count;
    struct ending found = {0};
    double best = INFINITY;

    for (size_t i = 0; i < cells; i++)
        self->latency[i] = INFINITY;
    for (uint32_t mask = 1; mask < UINT32_C(1) << self->worker_count; mask++) {
        uint32_t count = (uint32_t)__builtin_popcount(mask);

        if (!mask_allowed(self, mask) || count > stage_count)
            continue;
        for (uint32_t rest = mask; rest; rest &= rest - 1) {
            uint32_t j = (uint32_t)__builtin_ctz(rest);
            double latency = relax(self, window, mask, j, count == stage_count);

            self->table->step_count += 2 * self->table->block_count;
            if (isinf(latency) || (found.mask && close_to(best, latency)))
                continue;
            best = latency;
            found = (struct ending){.mask = mask, .candidate = j};
        }
    }
    return found;
}

/* The chain of lowest latency that ends at last with the workers of mask: last stage first;
 * among equals the higher worker index is later in the chain, and the later ranges shorter. */
static void trace_latency(const struct exact *self, uint32_t mask, struct plan_chain *ret)
{
    const struct plan_table *table = self->table;
    uint32_t last = table->block_count;
    struct plan_chain chain = {0};

    while (mask) {
        double best = INFINITY;
        uint32_t best_candidate = 0, best_first = 0;

        for (uint32_t j = self->worker_count; j-- > 0;) {
            if (!(mask >> j & 1) || (chain.count && !plan_table_hop_allowed(table, j)))
                continue;
            for (uint32_t first = last; first-- > 0;) {
                double latency;

                if (plan_table_extent(table, j, first) < last)
                    break;
                latency = latency_at(self, mask & ~(UINT32_C(1) << j), first) +
                          plan_table_single_ms(table, j, first, last);
                if (isinf(latency) || close_to(best, latency))
                    continue;
                best = latency;
                best_candidate = j;
                best_first = first;
            }
        }
        base_assert(isfinite(best));
        chain_prepend(&chain, best_candidate, best_first, last);
        mask &= ~(UINT32_C(1) << best_candidate);
        last = best_first;
    }
    base_assert(last == 0);
    *ret = chain;
}

static int break_ties(struct exact *self, struct plan_chain *chain)
{
    size_t cells = (size_t)self->table->block_count << self->worker_count;
    double bottleneck_ms = plan_chain_bottleneck_ms(self->table, chain);
    struct window *window = base_alloc(sizeof(*window));
    struct ending ending;

    self->latency = base_alloc_array(cells, sizeof(double));
    if (self->latency && window) {
        ending = probe(self, bottleneck_ms * (1 + EQUAL), false);
        base_assert(ending.mask);
        ending = best_latency(self, window, (uint32_t)__builtin_popcount(ending.mask));
        base_assert(ending.mask);
        trace_latency(self, ending.mask, chain);
    }
    base_free(window);
    if (!self->latency || !window)
        return BASE_NOMEM;
    return BASE_OK;
}

int plan_exact_search(struct plan_table *table, const struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest)
{
    struct exact self = {.table = table, .want = want, .worker_count = table->candidate_count};
    struct plan_chain chain;
    struct ending ending;
    int rc = BASE_OK;

    base_assert(table->candidate_count <= PLAN_EXACT_WORKERS);
    for (uint32_t j = 0; j < self.worker_count; j++)
        self.standby_mask |= (uint32_t)table->candidates[j].standby << j;
    self.words = table->block_count / 64 + 1;
    self.reach = base_alloc_array((size_t)self.words << self.worker_count, sizeof(uint64_t));
    self.highest = base_alloc_array((size_t)1 << self.worker_count, sizeof(int16_t));
    if (!self.reach || !self.highest) {
        rc = BASE_NOMEM;
        goto done;
    }
    ending = probe(&self, INFINITY, true);
    if (ret_furthest && *ret_furthest < self.furthest)
        *ret_furthest = self.furthest;
    if (!ending.mask) {
        rc = BASE_UNAVAILABLE;
        goto done;
    }
    trace(&self, ending, &chain);
    bisect(&self, &chain);
    if (want->tie_break)
        rc = break_ties(&self, &chain);
    if (rc == BASE_OK)
        *ret_chain = chain;
done:
    base_free(self.reach);
    base_free(self.highest);
    base_free(self.latency);
    return rc;
}
