/*
 * Each sampler against a naive one in double precision with the C library's functions. Where two
 * ways of rounding could decide differently (a sum within 1e-9 of a limit), the row is left out.
 */
#include "text_cut.h"
#include "text_number.h"
#include "text_test.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(text_cut);

#define ROW          200
#define MARGIN       1e-9
#define ROUNDS       600
#define NEARLY(a, b) (fabs((a) - (b)) < MARGIN)

/* What is left, sorted by rank, with probabilities. */
struct naive {
    struct text_candidate items[ROW];
    double p[ROW];
    size_t count;
    bool is_close; /* a decision hangs on rounding */
};

static int by_rank(const void *a_void, const void *b_void)
{
    const struct text_candidate *a = a_void, *b = b_void;

    if (a->logit != b->logit)
        return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static void normalise(struct naive *self)
{
    double total = 0;

    qsort(self->items, self->count, sizeof(self->items[0]), by_rank);
    for (size_t i = 0; i < self->count; i++)
        total += self->p[i] = exp((double)self->items[i].logit - (double)self->items[0].logit);
    for (size_t i = 0; i < self->count; i++)
        self->p[i] /= total;
}

/* A random row in order of id: flat, peaked or with many ties. */
static size_t make_row(uint64_t *state, struct text_candidate *row)
{
    size_t count = 1 + text_test_random(state) % ROW;
    uint32_t kind = text_test_random(state) % 3;

    for (size_t i = 0; i < count; i++) {
        float u = (float)(text_test_random(state) % 100000) / 100000.0f;
        row[i].id = (uint32_t)i * 3;
        row[i].logit = kind == 0 ? u * 2 : kind == 1 ? 12 * u * u * u : floorf(u * 12) / 2;
        if (text_test_random(state) % 20 == 0)
            row[i].logit = -INFINITY;
    }
    row[text_test_random(state) % count].logit = 3;
    return count;
}

static void naive_of(struct naive *self, const struct text_candidate *row, size_t count)
{
    memcpy(self->items, row, count * sizeof(*row));
    self->count = count;
    self->is_close = false;
    normalise(self);
}

static void check_same(struct text_cut *left, struct naive *expected, const char *what, int round)
{
    cr_assert_eq(left->count, expected->count, "%s keeps %zu, not %zu, round %d", what, left->count,
        expected->count, round);
    normalise(expected);
    for (size_t i = 0; i < left->count; i++)
        cr_assert_eq(text_cut_at(left, i)->id, expected->items[i].id, "%s, rank %zu, round %d",
            what, i, round);
}

/* Runs one sampler and its naive form on many rows. */
typedef void naive_function(struct naive *self, double parameter, size_t min_keep);
typedef void cut_function(struct text_cut *self, double parameter, size_t min_keep);

static void compare(const char *what, cut_function *cut, naive_function *naive, double most)
{
    uint64_t state = 5;
    int compared = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct text_candidate row[ROW];
        struct naive expected;
        struct text_cut left;
        size_t count = make_row(&state, row);
        size_t min_keep = text_test_random(&state) % 4 == 0 ? text_test_random(&state) % 20 : 0;
        double parameter = most * (1 + text_test_random(&state) % 998) / 1000.0;

        naive_of(&expected, row, count);
        naive(&expected, parameter, min_keep);
        text_cut_init(&left, row, count);
        cut(&left, parameter, min_keep);
        if (expected.is_close)
            continue;
        check_same(&left, &expected, what, round);
        compared++;
    }
    cr_assert_gt(compared, ROUNDS / 2);
}

static void naive_top_p(struct naive *self, double p, size_t min_keep)
{
    double sum = 0;

    for (size_t i = 0; i < self->count; i++) {
        sum += self->p[i];
        self->is_close |= NEARLY(sum, p);
        if (sum >= p && i + 1 >= min_keep) {
            self->count = i + 1;
            return;
        }
    }
}

static void naive_min_p(struct naive *self, double p, size_t min_keep)
{
    double least = (double)self->items[0].logit + log(p);
    size_t kept = 0;

    for (size_t i = 0; i < self->count; i++) {
        self->is_close |= NEARLY((double)self->items[i].logit, least);
        kept += i < 1 || i < min_keep || (double)self->items[i].logit >= least;
    }
    self->count = kept;
}

static void naive_typical(struct naive *self, double p, size_t min_keep)
{
    double entropy = 0, shift[ROW], sum = 0;
    struct naive kept = {.count = 0};
    bool used[ROW] = {false};

    for (size_t i = 0; i < self->count; i++)
        entropy -= self->p[i] > 0 ? self->p[i] * log(self->p[i]) : 0;
    for (size_t i = 0; i < self->count; i++)
        shift[i] = fabs(-log(self->p[i]) - entropy);
    while (kept.count < self->count) {
        size_t next = ROW;
        for (size_t i = 0; i < self->count; i++)
            if (!used[i] && (next == ROW || shift[i] < shift[next]))
                next = i;
        for (size_t i = 0; i < self->count; i++) /* on two sides of the entropy */
            kept.is_close |= !used[i] && self->items[i].logit != self->items[next].logit &&
                             NEARLY(shift[i], shift[next]);
        used[next] = true;
        kept.items[kept.count++] = self->items[next];
        sum += self->p[next];
        kept.is_close |= NEARLY(sum, p);
        if (sum > p && kept.count >= min_keep)
            break;
    }
    *self = kept;
}

static void naive_xtc(struct naive *self, double threshold, size_t min_keep)
{
    size_t likely = 0;

    for (size_t i = 0; i < self->count; i++) {
        self->is_close |= NEARLY(self->p[i], threshold);
        likely += self->p[i] >= threshold;
    }
    if (likely < 2 || self->count - (likely - 1) < min_keep)
        return;
    self->count -= likely - 1;
    memmove(self->items, self->items + likely - 1, self->count * sizeof(self->items[0]));
}

static void naive_top_n_sigma(struct naive *self, double n, size_t min_keep)
{
    double sum = 0, squares = 0;
    size_t finite = 0, kept = 0;

    (void)min_keep;
    for (size_t i = 0; i < self->count; i++)
        if (isfinite(self->items[i].logit)) {
            sum += (double)self->items[i].logit;
            finite++;
        }
    for (size_t i = 0; i < self->count; i++)
        if (isfinite(self->items[i].logit))
            squares += pow((double)self->items[i].logit - sum / (double)finite, 2);
    double least = (double)self->items[0].logit - n * sqrt(squares / (double)finite);
    for (size_t i = 0; i < self->count; i++) {
        self->is_close |= NEARLY((double)self->items[i].logit, least) && i > 0;
        kept +=
            self->items[i].logit == self->items[0].logit || (double)self->items[i].logit >= least;
    }
    self->count = kept;
}

static void naive_top_k(struct naive *self, double k, size_t min_keep)
{
    (void)min_keep;
    if ((size_t)k + 1 < self->count)
        self->count = (size_t)k + 1;
}

static void cut_top_k(struct text_cut *self, double k, size_t min_keep)
{
    (void)min_keep;
    text_cut_top_k(self, (size_t)k + 1);
}

static void cut_top_n_sigma(struct text_cut *self, double n, size_t min_keep)
{
    (void)min_keep;
    text_cut_top_n_sigma(self, n);
}

Test(text_cut, each_sampler_keeps_what_a_naive_one_keeps)
{
    compare("top-k", cut_top_k, naive_top_k, 60);
    compare("top-n-sigma", cut_top_n_sigma, naive_top_n_sigma, 3);
    compare("typical", text_cut_typical, naive_typical, 1);
    compare("top-p", text_cut_top_p, naive_top_p, 1);
    compare("min-p", text_cut_min_p, naive_min_p, 1);
    compare("xtc", text_cut_xtc, naive_xtc, 0.5);
}

/* What depends only on single candidates or their order changes nothing the second time. */
Test(text_cut, cuts_by_rank_are_idempotent)
{
    uint64_t state = 8;

    for (int round = 0; round < 200; round++) {
        struct text_candidate row[ROW];
        struct text_cut left;
        size_t count = make_row(&state, row);
        double p = (1 + text_test_random(&state) % 998) / 1000.0;

        text_cut_init(&left, row, count);
        text_cut_top_k(&left, 40);
        size_t kept = left.count;
        text_cut_top_k(&left, 40);
        cr_assert_eq(left.count, kept);
        text_cut_min_p(&left, p, 0);
        kept = left.count;
        text_cut_min_p(&left, p, 0);
        cr_assert_eq(left.count, kept);
    }
}

Test(text_cut, xtc_leaves_the_least_likely_of_the_likely)
{
    struct text_candidate row[] = {
        {0, logf(0.4f)}, {1, logf(0.3f)}, {2, logf(0.2f)}, {3, logf(0.1f)}};
    struct text_cut left;

    text_cut_init(&left, row, 4);
    text_cut_xtc(&left, 0.15, 0);
    cr_assert_eq(left.count, 2);
    cr_assert_eq(text_cut_at(&left, 0)->id, 2);
    cr_assert_eq(text_cut_at(&left, 1)->id, 3);
    text_cut_xtc(&left, 0.5, 0); /* one likely candidate alone stays */
    cr_assert_eq(left.count, 2);
}

Test(text_cut, entropy_share)
{
    uint64_t state = 21;

    for (int round = 0; round < 300; round++) {
        struct text_candidate row[ROW];
        struct naive naive;
        struct text_cut left;
        size_t count = make_row(&state, row);
        double entropy = 0;

        naive_of(&naive, row, count);
        for (size_t i = 0; i < count; i++)
            entropy -= naive.p[i] > 0 ? naive.p[i] * log(naive.p[i]) : 0;
        text_cut_init(&left, row, count);
        double share = text_cut_entropy_share(&left);
        cr_assert_float_eq(share, count < 2 ? 0 : entropy / log((double)count), 1e-12);
    }
    struct text_candidate even[] = {{0, 1}, {1, 1}, {2, 1}}, sure[] = {{0, 0}, {1, -INFINITY}};
    struct text_cut left;
    text_cut_init(&left, even, 3);
    cr_assert_float_eq(text_cut_entropy_share(&left), 1, 1e-15);
    text_cut_init(&left, sure, 2);
    cr_assert_eq(text_cut_entropy_share(&left), 0);
}

/* Logits out of all bounds give some candidate and no endless loop. */
Test(text_cut, infinite_logits_are_survived)
{
    for (int which = 0; which < 6; which++) {
        struct text_candidate row[] = {
            {0, INFINITY}, {1, 3}, {2, -INFINITY}, {3, INFINITY}, {4, 3.4e38f}};
        struct text_cut left;
        text_cut_init(&left, row, 5);
        if (which == 0)
            text_cut_top_n_sigma(&left, 1);
        else if (which == 1)
            text_cut_typical(&left, 0.5, 0);
        else if (which == 2)
            text_cut_top_p(&left, 0.5, 0);
        else if (which == 3)
            text_cut_min_p(&left, 0.5, 0);
        else if (which == 4)
            text_cut_xtc(&left, 0.1, 0);
        else
            (void)text_cut_entropy_share(&left);
        cr_assert(left.count >= 1 && left.count <= 5);
        cr_assert_eq(text_cut_at(&left, 0)->logit, INFINITY, "sampler %d", which);
    }
}

Test(text_cut, log_is_exact_to_the_last_bits)
{
    uint64_t state = 4;

    cr_assert_eq(text_log(1.0), 0.0);
    for (int i = 0; i < 100000; i++) {
        double u = (1.0 + text_test_random(&state)) / 4294967297.0;
        double x = i % 3 == 0 ? u : i % 3 == 1 ? exp((u - 0.5) * 1400) : 1 + (u - 0.5) * 1e-3;
        double expected = log(x);
        cr_assert_float_eq(text_log(x), expected, 3e-16 * fabs(expected) + 1e-18, "%.17g", x);
    }
    cr_assert_float_eq(text_log(5e-324), log(5e-324), 1e-12);
}
