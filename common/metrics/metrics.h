/*
 * Numbers that a daemon keeps about itself, and their text for Prometheus (exposition format
 * 0.0.4). Two halves:
 *
 * Cells (counter, gauge, histogram) are plain structs that live in whatever they count; zeroed is
 * valid. Adding to one is a relaxed atomic operation: no lock, no allocation, any thread.
 *
 * A registry knows where the cells are and what they are called. All is registered at start; after
 * that it is only read, so that the thread that writes the text needs no lock either. Cells are
 * borrowed and must outlive the registry.
 *
 * Label values come from closed lists only (an outcome, a stage's number): never a request, a peer
 * or anything else that a stranger can choose, for each value is a series for ever.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct metrics;

#define METRICS_BUCKETS_MAX 24 /* bounds of one histogram, without +Inf */
#define METRICS_LABELS_MAX  3

struct metrics_counter {
    atomic_uint_fast64_t value;
};

struct metrics_gauge {
    _Atomic double value;
};

/* Durations. bucket i counts what is in (bounds_us[i - 1], bounds_us[i]]; the last one the rest. */
struct metrics_histogram {
    const uint64_t *bounds_us; /* ascending, static; NULL: metrics_bounds_request */
    atomic_uint_fast64_t buckets[METRICS_BUCKETS_MAX + 1];
    atomic_uint_fast64_t sum_us;
};

/* Bounds, each ended by 0. request: 5 ms to 5 min; step: 100 us to 60 s. */
extern const uint64_t metrics_bounds_request[];
extern const uint64_t metrics_bounds_step[];

static inline void metrics_add(struct metrics_counter *self, uint64_t count)
{
    atomic_fetch_add_explicit(&self->value, count, memory_order_relaxed);
}

static inline void metrics_set(struct metrics_gauge *self, double value)
{
    atomic_store_explicit(&self->value, value, memory_order_relaxed);
}

/* For a total that is counted elsewhere. */
static inline void metrics_copy(struct metrics_counter *self, uint64_t total)
{
    atomic_store_explicit(&self->value, total, memory_order_relaxed);
}

uint64_t metrics_get(const struct metrics_counter *self);
double metrics_gauge_get(const struct metrics_gauge *self);
void metrics_observe_us(struct metrics_histogram *self, uint64_t duration_us);
uint64_t metrics_histogram_count(const struct metrics_histogram *self);

/* ---- registry ---- */

enum metrics_type {
    METRICS_COUNTER,   /* cell: struct metrics_counter; the name ends in _total */
    METRICS_SECONDS,   /* as COUNTER, but the cell counts microseconds: ends in _seconds_total */
    METRICS_GAUGE,     /* cell: struct metrics_gauge */
    METRICS_HISTOGRAM, /* cell: struct metrics_histogram; the name ends in _seconds */
};

struct metrics_label {
    const char *name, *value; /* value: any text, escaped in the output */
};

/* One series. Several rows of one name make a family; they must follow each other, with the same
 * type and help. name, help and labels are borrowed for the registry's life. */
struct metrics_series {
    const char *name;
    const char *help;
    enum metrics_type type;
    struct metrics_label labels[METRICS_LABELS_MAX]; /* ended by name NULL */
    void *cell;
    bool hidden_while_empty; /* a histogram that has seen nothing is left out */
};

/* Returns BASE_OK or BASE_NOMEM. */
int metrics_new(struct metrics **ret);
void metrics_destroy(struct metrics **self_p);

/*
 * Adds rows at the end, while nobody reads. Returns BASE_OK; BASE_INVALID with *err naming the row
 * (a name or label that is none for Prometheus, a suffix that does not fit the type, a family that
 * is torn apart); BASE_FULL beyond LIMIT_METRICS_SERIES.
 */
int metrics_register(struct metrics *self, const struct metrics_series *series, size_t count,
    struct base_error *err);

/* The whole text, NUL-terminated, freed with base_free(). Returns BASE_OK, BASE_NOMEM, or
 * BASE_TOO_BIG beyond LIMIT_METRICS_TEXT_BYTES. Any thread. */
int metrics_text(const struct metrics *self, char **ret_text, size_t *ret_bytes);

#endif
