/* Medians and how far they can be trusted. */
#ifndef BENCH_STAT_H
#define BENCH_STAT_H

#include <stddef.h>

#define BENCH_SAMPLES_MAX 256u

/* Median of values [count], 1..BENCH_SAMPLES_MAX; the mean of the middle two when count is even. */
double bench_median(const double *values, size_t count);

/* Bounds that hold the median with 95 % by the percentile bootstrap (Efron 1979) over 10 000
 * resamples with a fixed seed. count as above. */
void bench_median_bounds(const double *values, size_t count, double *ret_low, double *ret_high);

#endif
