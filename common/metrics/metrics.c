#include "metrics.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "metrics_internal.h"
#include <ctype.h>
#include <string.h>

const uint64_t metrics_bounds_request[] = {5000, 10000, 25000, 50000, 100000, 250000, 500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 120000000, 300000000, 0};
const uint64_t metrics_bounds_step[] = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000,
    100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000, 0};

uint64_t metrics_get(const struct metrics_counter *self)
{
    return atomic_load_explicit(&self->value, memory_order_relaxed);
}

double metrics_gauge_get(const struct metrics_gauge *self)
{
    return atomic_load_explicit(&self->value, memory_order_relaxed);
}

const uint64_t *metrics_bounds_of(const struct metrics_histogram *self)
{
    return self->bounds_us != NULL ? self->bounds_us : metrics_bounds_request;
}

void metrics_observe_us(struct metrics_histogram *self, uint64_t duration_us)
{
    const uint64_t *bounds_us = metrics_bounds_of(self);
    size_t i = 0;

    while (i < METRICS_BUCKETS_MAX && bounds_us[i] != 0 && duration_us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&self->sum_us, duration_us, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->buckets[i], 1, memory_order_relaxed);
}

uint64_t metrics_histogram_count(const struct metrics_histogram *self)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= METRICS_BUCKETS_MAX; i++)
        count += atomic_load_explicit(&self->buckets[i], memory_order_relaxed);
    return count;
}

/* ---- registry ---- */

int metrics_new(struct metrics **ret)
{
    struct metrics *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    *ret = self;
    return BASE_OK;
}

void metrics_destroy(struct metrics **self_p)
{
    base_free(*self_p);
    *self_p = NULL;
}

/* [a-zA-Z_][a-zA-Z0-9_]*: what metrics and labels may be called (colons are for rules). */
static bool is_name(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    return true;
}

static bool ends_in(const char *name, const char *suffix)
{
    size_t length = strlen(name), suffix_length = strlen(suffix);

    return length > suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

static const char *fault_of(const struct metrics *self, const struct metrics_series *series)
{
    const struct metrics_series *last = self->count > 0 ? &self->series[self->count - 1] : NULL;
    bool is_total = ends_in(series->name, "_total");

    if (!is_name(series->name))
        return "not a metric's name";
    if (series->help == NULL || series->help[0] == '\0')
        return "no help";
    if (series->cell == NULL)
        return "no cell";
    if (is_total != (series->type == METRICS_COUNTER || series->type == METRICS_SECONDS))
        return "_total is for counters, and counters end in it";
    if (series->type == METRICS_SECONDS && !ends_in(series->name, "_seconds_total"))
        return "counted time ends in _seconds_total";
    if (series->type == METRICS_HISTOGRAM && !ends_in(series->name, "_seconds"))
        return "a histogram of durations ends in _seconds";
    for (size_t i = 0; i < METRICS_LABELS_MAX && series->labels[i].name != NULL; i++)
        if (!is_name(series->labels[i].name) || strcmp(series->labels[i].name, "le") == 0 ||
            series->labels[i].value == NULL)
            return "a label that is none";
    if (last != NULL && strcmp(last->name, series->name) == 0)
        return last->type == series->type && strcmp(last->help, series->help) == 0
                   ? NULL
                   : "another type or help than the row before";
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->series[i].name, series->name) == 0)
            return "rows of one name must follow each other";
    return NULL;
}

int metrics_register(
    struct metrics *self, const struct metrics_series *series, size_t count, struct base_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *fault = fault_of(self, &series[i]);
        if (fault != NULL)
            return base_error_set(err, BASE_INVALID, "metric '%s': %s", series[i].name, fault);
        if (self->count == LIMIT_METRICS_SERIES)
            return base_error_set(err, BASE_FULL, "metric '%s': more than %d series",
                series[i].name, LIMIT_METRICS_SERIES);
        self->series[self->count++] = series[i];
    }
    return BASE_OK;
}
