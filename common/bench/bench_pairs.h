/* Two things measured in turns, so that what the machine does meanwhile falls on both. */
#ifndef BENCH_PAIRS_H
#define BENCH_PAIRS_H

#include "bench_stat.h"
#include <stdbool.h>
#include <stddef.h>

struct base_error;

struct bench_pairs {
    size_t count;
    double first[BENCH_SAMPLES_MAX], second[BENCH_SAMPLES_MAX];
};

/* Measures the first or the second thing once: more than 0. */
typedef int bench_pairs_fn(
    void *context, bool is_second, double *ret_value, struct base_error *err);

/* count pairs, 1..BENCH_SAMPLES_MAX, whose order is turned round from pair to pair. Returns BASE_OK
 * or what measure returned when it failed. */
int bench_pairs_run(struct bench_pairs *self, size_t count, bench_pairs_fn *measure, void *context,
    struct base_error *err);

/* Medians; the ratio is taken within each pair. */
struct bench_ratio {
    double ratio;     /* first / second */
    double low, high; /* 95 % bounds of ratio */
    double first, second;
};
void bench_pairs_ratio(const struct bench_pairs *self, struct bench_ratio *ret);

#endif
