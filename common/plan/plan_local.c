/*
 * Local search for more candidates than subsets can be tried: a chain is the first `count` entries
 * of an order of workers. For a given order the best cuts are found exactly; swaps of two entries
 * and a stage more or less change the order as long as the bottleneck falls and the budget lasts.
 */
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "plan_table.h"
#include <math.h>
#include <string.h>

#define STEP_BUDGET       60000000 /* inner steps of one search */
#define STEP_BUDGET_ROUGH 2000000  /* of one that may leave a gap */

struct local {
    struct plan_table *table;
    const struct plan_want *want;
    uint32_t pool[LIMIT_WORKERS_MAX]; /* candidates that may be used, those in use first */
    uint32_t pool_count;
    uint64_t *reach; /* [LIMIT_STAGES_MAX + 1, words] boundaries after the first i entries */
    uint32_t words;
    uint64_t steps_last; /* the budget's end */
    uint32_t furthest;
};

static bool reaches(const struct local *self, uint32_t row, uint32_t boundary)
{
    return self->reach[(size_t)row * self->words + boundary / 64] >> (boundary % 64) & 1;
}

/* Row i + 1 of reach from row i. Returns the highest boundary set, or 0. */
static uint32_t advance(struct local *self, uint32_t row)
{
    uint32_t candidate = self->pool[row], cover = 0, highest = 0;
    uint64_t *next = self->reach + (size_t)(row + 1) * self->words;

    memset(next, 0, self->words * sizeof(uint64_t));
    self->table->step_count += self->table->block_count;
    if (!plan_table_hop_allowed(self->table, candidate))
        return 0;
    for (uint32_t end = 1; end < self->table->block_count; end++) {
        if (reaches(self, row, end - 1))
            cover = plan_table_extent(self->table, candidate, end - 1);
        if (cover < end)
            continue;
        next[end / 64] |= UINT64_C(1) << (end % 64);
        highest = end;
    }
    if (highest > self->furthest)
        self->furthest = highest;
    return highest;
}

/* Cuts for the first count entries of the pool within the table's threshold. */
static bool fit(struct local *self, uint32_t count, struct plan_chain *ret)
{
    struct plan_chain chain = {.count = count};
    uint32_t first = 0, last = self->table->block_count;

    if (count == 0 || count > self->pool_count || count > last)
        return false;
    memset(self->reach, 0, self->words * sizeof(uint64_t));
    self->reach[0] = 1;
    for (uint32_t i = 0; i + 1 < count; i++) {
        first = advance(self, i);
        if (first == 0)
            return false;
    }
    if (plan_table_extent(self->table, self->pool[count - 1], first) != last)
        return false;
    for (uint32_t i = count; i-- > 0;) {
        uint32_t start = last;

        do {
            base_assert(start > 0);
            start--;
        } while (!reaches(self, i, start) ||
                 plan_table_extent(self->table, self->pool[i], start) < last);
        chain.candidates[i] = self->pool[i];
        chain.cuts[i] = start;
        chain.cuts[i + 1] = last;
        last = start;
    }
    *ret = chain;
    return true;
}

static bool budget_left(const struct local *self)
{
    return self->table->step_count < self->steps_last;
}

/* Lowers *best within the present order. best->count == 0: none is known yet. */
static bool improve(struct local *self, uint32_t count, struct plan_chain *best)
{
    double high, low = 0;
    bool improved = false;

    plan_table_set_threshold(self->table,
        best->count ? nextafter(plan_chain_bottleneck_ms(self->table, best), 0) : INFINITY);
    if (!fit(self, count, best))
        return false;
    do {
        improved = false;
        high = plan_chain_bottleneck_ms(self->table, best);
        while (high - low > fmax(self->want->tolerance, 1e-7) * high) {
            plan_table_set_threshold(self->table, (low + high) / 2);
            if (fit(self, count, best))
                high = plan_chain_bottleneck_ms(self->table, best);
            else
                low = self->table->threshold_ms;
        }
        if (high > 0) {
            plan_table_set_threshold(self->table, nextafter(high, 0));
            improved = fit(self, count, best);
        }
    } while (improved);
    return true;
}

static void swap(struct local *self, uint32_t a, uint32_t b)
{
    uint32_t kept = self->pool[a];

    self->pool[a] = self->pool[b];
    self->pool[b] = kept;
}

/* One round of swaps: within the chain and with workers outside it. */
static bool swap_round(struct local *self, struct plan_chain *best)
{
    bool improved = false;
    uint32_t count = best->count;

    for (uint32_t a = 0; a < count; a++) {
        for (uint32_t b = a + 1; b < self->pool_count && budget_left(self); b++) {
            struct plan_chain chain;

            plan_table_set_threshold(
                self->table, nextafter(plan_chain_bottleneck_ms(self->table, best), 0));
            swap(self, a, b);
            if (!fit(self, count, &chain)) {
                swap(self, a, b);
                continue;
            }
            *best = chain;
            (void)improve(self, count, best);
            improved = true;
        }
    }
    return improved;
}

/* The fastest first, or the roomiest first; standby workers behind all others. */
static bool goes_before(const struct plan_table *table, uint32_t a, uint32_t b, bool by_memory)
{
    const struct plan_candidate *x = &table->candidates[a], *y = &table->candidates[b];
    double x_ms = plan_table_ms(table, a, 0, table->block_count);
    double y_ms = plan_table_ms(table, b, 0, table->block_count);

    if (x->standby != y->standby)
        return y->standby;
    if (by_memory && x->capacity_bytes != y->capacity_bytes)
        return x->capacity_bytes > y->capacity_bytes;
    if (!by_memory && x_ms != y_ms)
        return x_ms < y_ms;
    return a < b;
}

static void fill_pool(struct local *self, bool by_memory)
{
    uint32_t standby_count = 0;

    self->pool_count = 0;
    for (uint32_t j = 0; j < self->table->candidate_count; j++) {
        uint32_t at = self->pool_count;

        if (self->want->banned >> j & 1)
            continue;
        while (at > 0 && goes_before(self->table, j, self->pool[at - 1], by_memory)) {
            self->pool[at] = self->pool[at - 1];
            at--;
        }
        self->pool[at] = j;
        self->pool_count++;
        standby_count += self->table->candidates[j].standby;
    }
    if (standby_count > self->want->standby_max)
        self->pool_count -= standby_count - self->want->standby_max;
}

static void put_chain_first(struct local *self, const struct plan_chain *chain)
{
    for (uint32_t i = 0; i < chain->count; i++) {
        uint32_t at = i;

        while (self->pool[at] != chain->candidates[i])
            at++;
        swap(self, i, at);
    }
}

static void search(struct local *self, struct plan_chain *best)
{
    uint32_t least = self->want->stage_count ? self->want->stage_count : 1;
    uint32_t most = self->want->stage_count ? self->want->stage_count : LIMIT_STAGES_MAX;
    bool improved = true;

    for (int by_memory = 1; by_memory >= 0; by_memory--) {
        fill_pool(self, by_memory);
        for (uint32_t count = least; count <= most && count <= self->pool_count; count++)
            if (best->count == 0 || budget_left(self))
                (void)improve(self, count, best);
    }
    if (best->count == 0)
        return;
    put_chain_first(self, best);
    while (improved && budget_left(self) && self->want->tolerance == 0) {
        improved = swap_round(self, best);
        if (best->count < most)
            improved |= improve(self, best->count + 1, best);
        if (best->count > least)
            improved |= improve(self, best->count - 1, best);
    }
}

int plan_local_search(struct plan_table *table, const struct plan_want *want,
    struct plan_chain *ret_chain, uint32_t *ret_furthest)
{
    struct local self = {.table = table, .want = want, .words = table->block_count / 64 + 1};
    struct plan_chain best = {0};

    self.steps_last = table->step_count + (want->tolerance > 0 ? STEP_BUDGET_ROUGH : STEP_BUDGET);
    self.reach = base_alloc_zeroed((size_t)(LIMIT_STAGES_MAX + 1) * self.words, sizeof(uint64_t));
    if (!self.reach)
        return BASE_NOMEM;
    search(&self, &best);
    base_free(self.reach);
    if (ret_furthest && *ret_furthest < self.furthest)
        *ret_furthest = self.furthest;
    if (best.count == 0)
        return BASE_UNAVAILABLE;
    *ret_chain = best;
    return BASE_OK;
}
