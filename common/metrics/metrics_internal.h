/* Shared by metrics.c and metrics_text.c. */
#ifndef METRICS_INTERNAL_H
#define METRICS_INTERNAL_H

#include "base_limits.h"
#include "metrics.h"

struct metrics {
    struct metrics_series series[LIMIT_METRICS_SERIES];
    size_t count;
};

const uint64_t *metrics_bounds_of(const struct metrics_histogram *self);

#endif
