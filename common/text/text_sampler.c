#include "text_sampler.h"

#include "base_assert.h"
#include "text_number.h"
#include <math.h>
#include <string.h>

#define REPEAT_LAST_N_DEFAULT 64

double text_random(uint64_t seed, uint64_t position)
{
    const uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), 0, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];

    text_philox(counter, key, words);
    return ((double)(words[0] >> 5) * 67108864.0 + (double)(words[1] >> 6)) / 9007199254740992.0;
}

static bool is_greedy(const struct text_sampling *sampling)
{
    return !(sampling->temperature > 0.0f);
}

static bool repeats(const struct text_sampling *sampling)
{
    return sampling->repeat_penalty != 0.0f && sampling->repeat_penalty != 1.0f;
}

static bool penalises(const struct text_sampling *sampling)
{
    return repeats(sampling) || sampling->presence_penalty != 0.0f ||
           sampling->frequency_penalty != 0.0f;
}

static size_t window_count(const struct text_sampling *sampling, size_t history_count)
{
    size_t window = sampling->repeat_last_n > 0 ? sampling->repeat_last_n : REPEAT_LAST_N_DEFAULT;

    return window < history_count ? window : history_count;
}

uint32_t text_candidates_needed(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, size_t banned_count, uint32_t vocab_size, uint32_t limit)
{
    /* Every id that is pushed down may leave a hole among the largest; none may be lifted. */
    uint64_t needed = is_greedy(sampling) ? 1 : sampling->top_k;

    if (needed == 0)
        return 0;
    needed += banned_count;
    if (penalises(sampling)) {
        bool lowers = (!repeats(sampling) || sampling->repeat_penalty > 1.0f) &&
                      sampling->presence_penalty >= 0.0f && sampling->frequency_penalty >= 0.0f;
        if (!lowers)
            return 0;
        needed += window_count(sampling, history_count);
    }
    for (size_t i = 0; i < sampling->bias_count; i++) {
        if (!(sampling->biases[i].bias <= 0.0f))
            return 0;
        needed += sampling->biases[i].bias < 0.0f;
    }
    if (needed > vocab_size)
        needed = vocab_size;
    return needed <= limit ? (uint32_t)needed : 0;
}

/* The order of candidates: larger logit first, lower id of equals. */
static bool before_by_logit(const struct text_candidate *a, const struct text_candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

static bool after_by_id(const struct text_candidate *a, const struct text_candidate *b)
{
    return a->id > b->id;
}

typedef bool order_function(const struct text_candidate *a, const struct text_candidate *b);

/* Lets the candidate at `at` sink to its place in a heap whose root comes first in the order. */
static void heap_sink(struct text_candidate *heap, size_t count, size_t at, order_function *first)
{
    struct text_candidate moving = heap[at];

    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && first(&heap[child + 1], &heap[child]))
            child++;
        if (!first(&heap[child], &moving))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

/* Full rows arrive in order of id, and then this only looks. */
static void sort_by_id(struct text_candidate *candidates, size_t count)
{
    size_t sorted = 1;

    while (sorted < count && candidates[sorted - 1].id < candidates[sorted].id)
        sorted++;
    if (sorted >= count)
        return;
    for (size_t i = count / 2; i-- > 0;)
        heap_sink(candidates, count, i, after_by_id);
    for (size_t left = count - 1; left > 0; left--) {
        struct text_candidate last = candidates[0];
        candidates[0] = candidates[left];
        candidates[left] = last;
        heap_sink(candidates, left, 0, after_by_id);
    }
}

/* Index of id in candidates sorted by id, or count. */
static size_t find_id(const struct text_candidate *candidates, size_t count, uint32_t id)
{
    size_t low = 0, high = count;

    if (id < count && candidates[id].id == id)
        return id;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (candidates[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && candidates[low].id == id ? low : count;
}

static float penalised(const struct text_sampling *sampling, float logit, uint32_t times)
{
    if (repeats(sampling))
        logit = logit <= 0.0f ? logit * sampling->repeat_penalty : logit / sampling->repeat_penalty;
    return logit - ((float)times * sampling->frequency_penalty + sampling->presence_penalty);
}

/* Counts in a table of fixed size, one stretch of candidates after the other. */
static void penalise(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *window, size_t window_tokens)
{
    enum { STRETCH = 1024 };
    uint32_t times[STRETCH];

    for (size_t base = 0; base < count; base += STRETCH) {
        struct text_candidate *part = candidates + base;
        size_t part_count = count - base < STRETCH ? count - base : STRETCH;
        uint32_t first = part[0].id, last = part[part_count - 1].id;
        bool dense = last - first == part_count - 1;

        memset(times, 0, sizeof(times));
        for (size_t i = 0; i < window_tokens; i++) {
            if (window[i] < first || window[i] > last)
                continue;
            size_t at = dense ? window[i] - first : find_id(part, part_count, window[i]);
            if (at < part_count)
                times[at]++;
        }
        for (size_t i = 0; i < part_count; i++) {
            if (times[i] > 0)
                part[i].logit = penalised(sampling, part[i].logit, times[i]);
        }
    }
}

/* Bias, bans and penalties; afterwards candidates are sorted by id and no logit is NaN. */
static void adjust(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count)
{
    sort_by_id(candidates, count);
    for (size_t i = 0; i < sampling->bias_count; i++) {
        size_t at = find_id(candidates, count, sampling->biases[i].id);
        if (at < count)
            candidates[at].logit += sampling->biases[i].bias;
    }
    if (penalises(sampling)) {
        size_t window = window_count(sampling, history_count);
        if (window > 0)
            penalise(sampling, candidates, count, history + (history_count - window), window);
    }
    for (size_t i = 0; i < banned_count; i++) {
        size_t at = find_id(candidates, count, banned[i]);
        if (at < count)
            candidates[at].logit = -INFINITY;
    }
    for (size_t i = 0; i < count; i++) {
        if (isnan(candidates[i].logit))
            candidates[i].logit = -INFINITY;
    }
}

/* Candidates by rank, found one by one: a heap in front, those already taken behind it. */
struct ranking {
    struct text_candidate *candidates;
    size_t count;
    size_t heap_count;
};

static void ranking_init(struct ranking *self, struct text_candidate *candidates, size_t count)
{
    *self = (struct ranking){candidates, count, count};
    for (size_t i = count / 2; i-- > 0;)
        heap_sink(candidates, count, i, before_by_logit);
}

static const struct text_candidate *ranking_at(struct ranking *self, size_t rank)
{
    while (self->count - self->heap_count <= rank) {
        struct text_candidate best = self->candidates[0];
        self->candidates[0] = self->candidates[--self->heap_count];
        self->candidates[self->heap_count] = best;
        if (self->heap_count > 0)
            heap_sink(self->candidates, self->heap_count, 0, before_by_logit);
    }
    return &self->candidates[self->count - 1 - rank];
}

static double weight(const struct text_candidate *candidate, float best, double temperature)
{
    /* Equal infinities have no difference. */
    return candidate->logit == best
               ? 1.0
               : text_exp(((double)candidate->logit - (double)best) / temperature);
}

/* Sum of the weights of the first kept by rank, in that order; of all in order of id before any
 * ranking, so that a full row need not be sorted for it. */
static double weight_total(
    struct ranking *ranking, size_t kept, bool by_rank, float best, double temperature)
{
    double total = 0.0;

    for (size_t i = 0; i < kept; i++)
        total +=
            weight(by_rank ? ranking_at(ranking, i) : &ranking->candidates[i], best, temperature);
    return total;
}

/* The smallest count of best candidates that hold the share top_p of total. */
static size_t cut_top_p(struct ranking *ranking, size_t kept, float best, double total, float top_p)
{
    double sum = 0.0;

    for (size_t i = 0; i < kept; i++) {
        sum += weight(ranking_at(ranking, i), best, 1.0);
        if (sum >= (double)top_p * total)
            return i + 1;
    }
    return kept;
}

/* Those at least min_p times as likely as the best, which always stays. */
static size_t cut_min_p(struct ranking *ranking, size_t kept, float best, float min_p)
{
    size_t i = 1;

    while (i < kept && weight(ranking_at(ranking, i), best, 1.0) >= (double)min_p)
        i++;
    return i;
}

static uint32_t draw(
    struct ranking *ranking, size_t kept, float best, double total, double temperature, double r)
{
    uint32_t id = ranking_at(ranking, 0)->id;
    double sum = 0.0;

    for (size_t i = 0; i < kept; i++) {
        const struct text_candidate *candidate = ranking_at(ranking, i);
        double w = weight(candidate, best, temperature);
        if (w <= 0.0)
            break; /* rounding of the sums left nothing: the last one possible */
        id = candidate->id;
        sum += w;
        if (sum > r * total)
            break;
    }
    return id;
}

static const struct text_candidate *best_of(const struct text_candidate *candidates, size_t count)
{
    const struct text_candidate *best = &candidates[0];

    for (size_t i = 1; i < count; i++) {
        if (before_by_logit(&candidates[i], best))
            best = &candidates[i];
    }
    return best;
}

uint32_t text_sample(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count, uint64_t position)
{
    bool top_p = sampling->top_p > 0.0f && sampling->top_p < 1.0f;
    bool min_p = sampling->min_p > 0.0f;
    bool ranked = sampling->top_k > 0;
    struct ranking ranking = {candidates, count, count};
    double temperature = sampling->temperature, total = 0.0;
    size_t kept = count;

    base_assert(count >= 1);
    adjust(sampling, candidates, count, history, history_count, banned, banned_count);
    struct text_candidate best = *best_of(candidates, count);
    if (is_greedy(sampling) || best.logit == -INFINITY)
        return best.id;

    /* A sum over the full row is taken in order of id, one over ranked candidates by rank: either
     * way the same whatever order they came in, and by rank the same from a longer list. */
    if (!ranked && (top_p || !min_p))
        total = weight_total(&ranking, kept, false, best.logit, top_p ? 1.0 : temperature);
    ranking_init(&ranking, candidates, count);
    if (ranked && sampling->top_k < kept)
        kept = sampling->top_k;
    if (top_p) {
        if (ranked)
            total = weight_total(&ranking, kept, true, best.logit, 1.0);
        kept = cut_top_p(&ranking, kept, best.logit, total, sampling->top_p);
    }
    if (min_p)
        kept = cut_min_p(&ranking, kept, best.logit, sampling->min_p);
    if (ranked || top_p || min_p)
        total = weight_total(&ranking, kept, true, best.logit, temperature);
    return draw(
        &ranking, kept, best.logit, total, temperature, text_random(sampling->seed, position));
}
