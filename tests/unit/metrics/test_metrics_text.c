#include "base_alloc.h"
#include "base_err.h"
#include "metrics.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static char *text_of(const struct metrics_series *series, size_t count)
{
    struct metrics *metrics;
    struct base_error err = {0};
    char *text = NULL;
    size_t bytes = 0;

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(metrics_register(metrics, series, count, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_OK);
    cr_assert_eq(strlen(text), bytes);
    metrics_destroy(&metrics);
    return text;
}

Test(metrics_text, the_whole_text_of_every_type)
{
    static const uint64_t bounds_us[] = {2500, 1000000, 0};
    struct metrics_counter stops = {3}, errors = {0}, busy = {1500001};
    struct metrics_gauge pages = {0.1};
    struct metrics_histogram wait = {.bounds_us = bounds_us};
    const struct metrics_series series[] = {
        {"requests_total", "Requests.", METRICS_COUNTER, {{"outcome", "stop"}, {"kind", "a"}},
            &stops, false},
        {"requests_total", "Requests.", METRICS_COUNTER, {{"outcome", "error"}, {"kind", "a"}},
            &errors, false},
        {"busy_seconds_total", "Busy.", METRICS_SECONDS, {{0}}, &busy, false},
        {"pages", "Pages.", METRICS_GAUGE, {{0}}, &pages, false},
        {"wait_seconds", "Wait.", METRICS_HISTOGRAM, {{"stage", "0"}}, &wait, true},
    };

    metrics_observe_us(&wait, 2500);
    metrics_observe_us(&wait, 5000000);
    char *text = text_of(series, 5);
    cr_assert_str_eq(text, "# HELP requests_total Requests.\n"
                           "# TYPE requests_total counter\n"
                           "requests_total{outcome=\"stop\",kind=\"a\"} 3\n"
                           "requests_total{outcome=\"error\",kind=\"a\"} 0\n"
                           "# HELP busy_seconds_total Busy.\n"
                           "# TYPE busy_seconds_total counter\n"
                           "busy_seconds_total 1.500001\n"
                           "# HELP pages Pages.\n"
                           "# TYPE pages gauge\n"
                           "pages 0.1\n"
                           "# HELP wait_seconds Wait.\n"
                           "# TYPE wait_seconds histogram\n"
                           "wait_seconds_bucket{stage=\"0\",le=\"0.0025\"} 1\n"
                           "wait_seconds_bucket{stage=\"0\",le=\"1\"} 1\n"
                           "wait_seconds_bucket{stage=\"0\",le=\"+Inf\"} 2\n"
                           "wait_seconds_sum{stage=\"0\"} 5.002500\n"
                           "wait_seconds_count{stage=\"0\"} 2\n");
    base_free(text);
}

Test(metrics_text, what_could_break_a_line_is_escaped)
{
    struct metrics_gauge cell = {1};
    const struct metrics_series series = {"build_info", "back\\slash \"q\"\nline", METRICS_GAUGE,
        {{"version", "a\"b\\c\nd\xc3\xa9"}}, &cell, false};
    char *text = text_of(&series, 1);

    cr_assert_str_eq(text, "# HELP build_info back\\\\slash \"q\"\\nline\n"
                           "# TYPE build_info gauge\n"
                           "build_info{version=\"a\\\"b\\\\c\\nd\xc3\xa9\"} 1\n");
    base_free(text);
}

Test(metrics_text, numbers_read_back_as_they_were)
{
    const double values[] = {0, -1, 1.0 / 3.0, 1e300, 123456789012.0, 5e-324};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct metrics_gauge cell = {values[i]};
        const struct metrics_series series = {"g", "G.", METRICS_GAUGE, {{0}}, &cell, false};
        char *text = text_of(&series, 1);
        double back = 7;
        cr_assert_eq(sscanf(strstr(text, "\ng ") + 3, "%lf", &back), 1);
        cr_assert_eq(back, values[i], "%s", text);
        base_free(text);
    }
    const double special[] = {INFINITY, -INFINITY, NAN};
    const char *const names[] = {"\ng +Inf\n", "\ng -Inf\n", "\ng NaN\n"};
    for (size_t i = 0; i < 3; i++) {
        struct metrics_gauge cell = {special[i]};
        const struct metrics_series series = {"g", "G.", METRICS_GAUGE, {{0}}, &cell, false};
        char *text = text_of(&series, 1);
        cr_assert(strstr(text, names[i]), "%s", text);
        base_free(text);
    }
}

Test(metrics_text, empty_histograms_are_left_out_where_asked)
{
    struct metrics_histogram cell = {0};
    struct metrics_series series = {
        "hop_seconds", "Hop.", METRICS_HISTOGRAM, {{"stage", "7"}}, &cell, true};
    char *text = text_of(&series, 1);

    cr_assert_null(strstr(text, "stage"));
    base_free(text);
    series.hidden_while_empty = false;
    text = text_of(&series, 1);
    cr_assert(strstr(text, "hop_seconds_count{stage=\"7\"} 0\n"), "%s", text);
    base_free(text);
}

Test(metrics_text, no_memory_is_an_error)
{
    struct metrics_counter cell = {1};
    const struct metrics_series series = {"a_total", "A.", METRICS_COUNTER, {{0}}, &cell, false};
    struct metrics *metrics;
    char *text = NULL;
    size_t bytes = 0;
    struct base_error err = {0};

    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(metrics_register(metrics, &series, 1, &err), BASE_OK);
    base_alloc_fail_from(1);
    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(text);
    metrics_destroy(&metrics);
}
