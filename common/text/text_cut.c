#include "text_cut.h"

#include "text_number.h"
#include <math.h>
#include <string.h>

/* ---- order ---- */

bool text_cut_before(const struct text_candidate *a, const struct text_candidate *b)
{
    return a->logit != b->logit ? a->logit > b->logit : a->id < b->id;
}

/* Which of two candidates comes first; mean is of by_surprise() only. */
typedef bool order_function(
    const struct text_candidate *a, const struct text_candidate *b, double mean);

static bool by_logit(const struct text_candidate *a, const struct text_candidate *b, double mean)
{
    (void)mean;
    return text_cut_before(a, b);
}

static bool by_id_falling(
    const struct text_candidate *a, const struct text_candidate *b, double mean)
{
    (void)mean;
    return a->id > b->id;
}

/* Nearer to the logit that is as surprising as the average; impossible ones last. */
static bool by_surprise(const struct text_candidate *a, const struct text_candidate *b, double mean)
{
    double distance_a = fabs((double)a->logit - mean), distance_b = fabs((double)b->logit - mean);

    return distance_a != distance_b ? distance_a < distance_b : text_cut_before(a, b);
}

/* The heap's functions are made once for each order: a call for each comparison costs as much. */
#define EACH_ORDER static inline __attribute__((always_inline))

/* Lets the candidate at `at` sink to its place in a heap whose root comes first in the order. */
EACH_ORDER void sink(
    struct text_candidate *heap, size_t count, size_t at, order_function *first, double mean)
{
    struct text_candidate moving = heap[at];

    for (size_t child; (child = at * 2 + 1) < count; at = child) {
        if (child + 1 < count && first(&heap[child + 1], &heap[child], mean))
            child++;
        if (!first(&heap[child], &moving, mean))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

EACH_ORDER void make_heap(
    struct text_candidate *items, size_t count, order_function *first, double mean)
{
    for (size_t i = count / 2; i-- > 0;)
        sink(items, count, i, first, mean);
}

/* Moves the first of a heap of count candidates behind it. */
EACH_ORDER void take_first(
    struct text_candidate *heap, size_t count, order_function *first, double mean)
{
    struct text_candidate taken = heap[0];

    heap[0] = heap[count - 1];
    heap[count - 1] = taken;
    if (count > 1)
        sink(heap, count - 1, 0, first, mean);
}

void text_cut_sort_by_id(struct text_candidate *candidates, size_t count)
{
    size_t sorted = 1;

    while (sorted < count && candidates[sorted - 1].id < candidates[sorted].id)
        sorted++;
    if (sorted >= count)
        return;
    make_heap(candidates, count, by_id_falling, 0);
    for (size_t left = count; left > 1; left--)
        take_first(candidates, left, by_id_falling, 0);
}

/* ---- what is left ---- */

void text_cut_init(struct text_cut *self, struct text_candidate *candidates, size_t count)
{
    *self = (struct text_cut){.items = candidates, .count = count};
    make_heap(candidates, count, by_logit, 0);
}

const struct text_candidate *text_cut_at(struct text_cut *self, size_t rank)
{
    for (; self->ranked <= rank; self->ranked++)
        take_first(self->items, self->count - self->ranked, by_logit, 0);
    return &self->items[self->count - 1 - rank];
}

/* Those of the first ranks stay. */
static void keep(struct text_cut *self, size_t kept)
{
    if (kept >= self->count)
        return;
    (void)text_cut_at(self, kept - 1);
    self->items += self->count - kept;
    self->count = self->ranked = kept;
}

static float best_logit(struct text_cut *self)
{
    return self->ranked > 0 ? self->items[self->count - 1].logit : self->items[0].logit;
}

/* What a candidate's weight is the exponential of. Equal infinities have no difference. */
static double exponent_of(const struct text_candidate *candidate, float best, double temperature)
{
    return candidate->logit == best ? 0.0 : ((double)candidate->logit - (double)best) / temperature;
}

double text_cut_weight(const struct text_candidate *candidate, float best, double temperature)
{
    return text_exp(exponent_of(candidate, best, temperature));
}

/*
 * Sum of weights, and of each weight times its exponent. From the back, so that what is ranked comes
 * in order of rank; in front of it is a heap, whose order follows from the candidates as well.
 */
static double sum_weights(struct text_cut *self, double temperature, double *ret_products)
{
    float best = best_logit(self);
    double total = 0.0, products = 0.0;

    for (size_t left = self->count; left > 0;) {
        double exponents[TEXT_EXP_LANES] = {0}, weights[TEXT_EXP_LANES];
        size_t lanes = left < TEXT_EXP_LANES ? left : TEXT_EXP_LANES;
        for (size_t i = 0; i < lanes; i++)
            exponents[i] = exponent_of(&self->items[left - 1 - i], best, temperature);
        memcpy(weights, exponents, sizeof(weights));
        text_exp_lanes(weights);
        for (size_t i = 0; i < lanes; i++) {
            total += weights[i];
            products += weights[i] > 0.0 ? weights[i] * exponents[i] : 0.0;
        }
        left -= lanes;
    }
    *ret_products = products;
    return total;
}

double text_cut_total(struct text_cut *self, double temperature)
{
    double products;

    return sum_weights(self, temperature, &products);
}

/* Entropy, and the sum of weights. */
static double entropy(struct text_cut *self, double *ret_total)
{
    double products;

    *ret_total = sum_weights(self, 1.0, &products);
    return text_log(*ret_total) - products / *ret_total;
}

double text_cut_entropy_share(struct text_cut *self)
{
    double total;

    if (self->count < 2)
        return 0.0;
    double share = entropy(self, &total) / text_log((double)self->count);
    return share < 0.0 ? 0.0 : share < 1.0 ? share : 1.0;
}

/* ---- samplers ---- */

void text_cut_top_n_sigma(struct text_cut *self, double n)
{
    float best = text_cut_at(self, 0)->logit;
    double sum = 0.0, squares = 0.0;
    size_t finite = 0, kept = 1;

    for (size_t i = self->count; i-- > 0;) {
        if (isfinite(self->items[i].logit)) {
            sum += (double)self->items[i].logit;
            finite++;
        }
    }
    double mean = finite > 0 ? sum / (double)finite : 0.0;
    for (size_t i = self->count; i-- > 0;) {
        double distance = (double)self->items[i].logit - mean;
        if (isfinite(self->items[i].logit))
            squares += distance * distance;
    }
    /* (best - logit) <= n sigma, without a root. */
    double limit = finite > 0 ? n * n * (squares / (double)finite) : 0.0;
    for (; kept < self->count; kept++) {
        double below = (double)best - (double)text_cut_at(self, kept)->logit;
        if (text_cut_at(self, kept)->logit != best && !(below * below <= limit))
            break;
    }
    keep(self, kept);
}

void text_cut_top_k(struct text_cut *self, size_t k)
{
    keep(self, k);
}

void text_cut_typical(struct text_cut *self, double p, size_t min_keep)
{
    double total, sum = 0.0;
    float best = best_logit(self);
    double surprise = entropy(self, &total);
    /* -ln p of a candidate is ln(total) - (logit - best): the average one has this logit. */
    double mean = (double)best + text_log(total) - surprise;
    size_t kept = 0;

    if (!isfinite(mean)) { /* a logit of plus infinity takes all */
        keep(self, 1);
        return;
    }
    make_heap(self->items, self->count, by_surprise, mean);
    while (kept < self->count) {
        take_first(self->items, self->count - kept, by_surprise, mean);
        kept++;
        sum += text_cut_weight(&self->items[self->count - kept], best, 1.0);
        if (sum > p * total && kept >= min_keep)
            break;
    }
    text_cut_init(self, self->items + (self->count - kept), kept);
}

void text_cut_top_p(struct text_cut *self, double p, size_t min_keep)
{
    float best = best_logit(self);
    double total = text_cut_total(self, 1.0), sum = 0.0;

    for (size_t i = 0; i < self->count; i++) {
        sum += text_cut_weight(text_cut_at(self, i), best, 1.0);
        if (sum >= p * total && i + 1 >= min_keep) {
            keep(self, i + 1);
            return;
        }
    }
}

void text_cut_min_p(struct text_cut *self, double p, size_t min_keep)
{
    float best = best_logit(self);
    size_t kept = 1;

    while (kept < self->count &&
           (kept < min_keep || text_cut_weight(text_cut_at(self, kept), best, 1.0) >= p))
        kept++;
    keep(self, kept);
}

void text_cut_xtc(struct text_cut *self, double threshold, size_t min_keep)
{
    float best = best_logit(self);
    double total = text_cut_total(self, 1.0);
    size_t likely = 0;

    while (likely < self->count &&
           text_cut_weight(text_cut_at(self, likely), best, 1.0) >= threshold * total)
        likely++;
    if (likely < 2 || self->count - (likely - 1) < min_keep)
        return;
    self->count -= likely - 1;
    self->ranked -= likely - 1;
}
