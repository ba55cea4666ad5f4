#include "base_err.h"
#include "base_limits.h"
#include "metrics.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static struct metrics_counter counter;
static struct metrics_gauge gauge;
static struct metrics_histogram histogram;

static int add(struct metrics *metrics, const char *name, enum metrics_type type, const char *label,
    struct base_error *err)
{
    struct metrics_series series = {.name = name, .help = "help", .type = type, .cell = &counter};

    series.labels[0] = (struct metrics_label){label, "x"};
    return metrics_register(metrics, &series, 1, err);
}

Test(metrics, names_suffixes_and_labels_are_checked)
{
    struct metrics *metrics;
    struct base_error err = {0};
    const struct {
        const char *name;
        enum metrics_type type;
        const char *label;
        int rc;
    } rows[] = {
        {"mesh_frames_total", METRICS_COUNTER, NULL, BASE_OK},
        {"mesh_frames", METRICS_COUNTER, NULL, BASE_INVALID},
        {"mesh_pages_total", METRICS_GAUGE, NULL, BASE_INVALID},
        {"mesh_wait", METRICS_HISTOGRAM, NULL, BASE_INVALID},
        {"mesh_busy_total", METRICS_SECONDS, NULL, BASE_INVALID},
        {"mesh_busy_seconds_total", METRICS_SECONDS, NULL, BASE_OK},
        {"1mesh", METRICS_GAUGE, NULL, BASE_INVALID},
        {"mesh-pages", METRICS_GAUGE, NULL, BASE_INVALID}, {"", METRICS_GAUGE, NULL, BASE_INVALID},
        {"mesh_pages", METRICS_GAUGE, "state", BASE_OK},
        {"mesh_pages", METRICS_COUNTER, "state", BASE_INVALID},
        {"mesh_other", METRICS_GAUGE, "st:ate", BASE_INVALID},
        {"mesh_other", METRICS_GAUGE, "le", BASE_INVALID},
        {"mesh_frames_total", METRICS_COUNTER, NULL, BASE_INVALID}, /* its family is over */
    };

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        err.text[0] = '\0';
        int rc = add(metrics, rows[i].name, rows[i].type, rows[i].label, &err);
        cr_assert_eq(rc, rows[i].rc, "row %zu: %d %s", i, rc, err.text);
        cr_assert(rc == BASE_OK || strstr(err.text, rows[i].name), "row %zu: %s", i, err.text);
    }
    metrics_destroy(&metrics);
    cr_assert_null(metrics);
    metrics_destroy(&metrics);
}

Test(metrics, a_registry_has_an_end)
{
    struct metrics *metrics;
    struct base_error err = {0};

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    for (int i = 0; i < LIMIT_METRICS_SERIES; i++)
        cr_assert_eq(add(metrics, "mesh_pages", METRICS_GAUGE, NULL, &err), BASE_OK);
    cr_assert_eq(add(metrics, "mesh_pages", METRICS_GAUGE, NULL, &err), BASE_FULL);
    metrics_destroy(&metrics);
}

Test(metrics, bounds_belong_to_the_bucket_below)
{
    static const uint64_t bounds_us[] = {10, 20, 0};
    struct metrics_histogram cell = {.bounds_us = bounds_us};

    metrics_observe_us(&cell, 0);
    metrics_observe_us(&cell, 10);
    metrics_observe_us(&cell, 11);
    metrics_observe_us(&cell, 20);
    metrics_observe_us(&cell, 21);
    cr_assert_eq(cell.buckets[0], 2);
    cr_assert_eq(cell.buckets[1], 2);
    cr_assert_eq(cell.buckets[2], 1);
    cr_assert_eq(cell.sum_us, 62);
    cr_assert_eq(metrics_histogram_count(&cell), 5);
    for (size_t i = 0; metrics_bounds_request[i] != 0; i++)
        cr_assert(i < METRICS_BUCKETS_MAX);
    for (size_t i = 0; metrics_bounds_step[i] != 0; i++)
        cr_assert(i < METRICS_BUCKETS_MAX);
}

static void *count(void *context)
{
    (void)context;
    for (unsigned i = 0; i < 50000; i++) {
        metrics_add(&counter, 1);
        metrics_observe_us(&histogram, i);
    }
    return NULL;
}

Test(metrics, nothing_is_lost_between_threads)
{
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, count, NULL);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(metrics_get(&counter), 200000);
    cr_assert_eq(metrics_histogram_count(&histogram), 200000);
    cr_assert_eq(histogram.sum_us, 4ull * 50000 * 49999 / 2);
    metrics_set(&gauge, -1.5);
    cr_assert_eq(metrics_gauge_get(&gauge), -1.5);
    metrics_copy(&counter, 7);
    cr_assert_eq(metrics_get(&counter), 7);
}
