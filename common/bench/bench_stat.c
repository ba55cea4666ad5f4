#include "bench_stat.h"

#include "base_assert.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RESAMPLES 10000u

static int compare(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static double median_in_place(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double bench_median(const double *values, size_t count)
{
    double sorted[BENCH_SAMPLES_MAX];

    base_assert(count > 0 && count <= BENCH_SAMPLES_MAX);
    memcpy(sorted, values, count * sizeof(*values));
    return median_in_place(sorted, count);
}

void bench_median_bounds(const double *values, size_t count, double *ret_low, double *ret_high)
{
    static double medians[RESAMPLES];
    double sample[BENCH_SAMPLES_MAX];
    uint64_t state = 0x9e3779b97f4a7c15u;

    base_assert(count > 0 && count <= BENCH_SAMPLES_MAX);
    for (size_t r = 0; r < RESAMPLES; r++) {
        for (size_t i = 0; i < count; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX LCG */
            sample[i] = values[(state >> 33) % count];
        }
        medians[r] = median_in_place(sample, count);
    }
    qsort(medians, RESAMPLES, sizeof(*medians), compare);
    *ret_low = medians[RESAMPLES / 40];
    *ret_high = medians[RESAMPLES - RESAMPLES / 40 - 1];
}
