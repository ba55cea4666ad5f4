/* The exposition format, version 0.0.4: HELP and TYPE once per family, then its series. */
#include "metrics.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "metrics_internal.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TEXT_BYTES_FIRST 16384

/* Text that grows up to its limit; the first failure stays. */
struct text {
    char *data;
    size_t bytes, capacity;
    int rc;
};

static bool reserve(struct text *self, size_t more)
{
    size_t capacity = self->capacity;

    if (self->rc != BASE_OK)
        return false;
    while (capacity - self->bytes < more + 1) {
        if (capacity >= LIMIT_METRICS_TEXT_BYTES) {
            self->rc = BASE_TOO_BIG;
            return false;
        }
        capacity = capacity == 0 ? TEXT_BYTES_FIRST : capacity * 2;
    }
    if (capacity == self->capacity)
        return true;
    char *data = base_realloc_array(self->data, capacity, 1);
    if (data == NULL) {
        self->rc = BASE_NOMEM;
        return false;
    }
    self->data = data;
    self->capacity = capacity;
    return true;
}

static void put(struct text *self, const char *data, size_t bytes)
{
    if (!reserve(self, bytes))
        return;
    memcpy(self->data + self->bytes, data, bytes);
    self->bytes += bytes;
}

static void put_text(struct text *self, const char *text)
{
    put(self, text, strlen(text));
}

static void put_format(struct text *self, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_format(struct text *self, const char *format, ...)
{
    char piece[64];
    va_list args;

    va_start(args, format);
    int used = vsnprintf(piece, sizeof(piece), format, args);
    va_end(args);
    if (used > 0)
        put(self, piece, (size_t)used < sizeof(piece) ? (size_t)used : sizeof(piece) - 1);
}

/* In HELP a backslash and a line feed are escaped, in label values a quotation mark as well. */
static void put_escaped(struct text *self, const char *text, bool is_label)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\')
            put_text(self, "\\\\");
        else if (*c == '\n')
            put_text(self, "\\n");
        else if (*c == '"' && is_label)
            put_text(self, "\\\"");
        else
            put(self, c, 1);
    }
}

static void put_labels(struct text *self, const struct metrics_series *series, const char *le)
{
    const char *before = "{";

    for (size_t i = 0; i < METRICS_LABELS_MAX && series->labels[i].name != NULL; i++) {
        put_text(self, before);
        put_text(self, series->labels[i].name);
        put_text(self, "=\"");
        put_escaped(self, series->labels[i].value, true);
        put_text(self, "\"");
        before = ",";
    }
    if (le != NULL) {
        put_text(self, before);
        put_text(self, "le=\"");
        put_text(self, le);
        put_text(self, "\"");
        before = ",";
    }
    if (before[0] == ',')
        put_text(self, "}");
}

/* The shortest form that reads back as the same number. */
static void put_number(struct text *self, double value)
{
    char piece[32];

    if (isnan(value)) {
        put_text(self, "NaN");
    } else if (isinf(value)) {
        put_text(self, value > 0 ? "+Inf" : "-Inf");
    } else {
        for (int digits = 6; digits <= 17; digits += 11) {
            double back = 0;
            (void)snprintf(piece, sizeof(piece), "%.*g", digits, value);
            if (sscanf(piece, "%lf", &back) == 1 && !(back < value) && !(back > value))
                break;
        }
        put_text(self, piece);
    }
}

/* Microseconds as seconds, without rounding. */
static void put_seconds(struct text *self, uint64_t us)
{
    put_format(self, "%" PRIu64 ".%06u", us / 1000000, (unsigned)(us % 1000000));
}

static void put_histogram(
    struct text *self, const struct metrics_series *series, const struct metrics_histogram *cell)
{
    const uint64_t *bounds_us = metrics_bounds_of(cell);
    uint64_t count = 0;
    char le[32];

    /* The sum first: a value that comes meanwhile is then in the buckets only. */
    uint64_t sum_us = atomic_load_explicit(&cell->sum_us, memory_order_relaxed);
    for (size_t i = 0; i <= METRICS_BUCKETS_MAX; i++) {
        bool is_last = i == METRICS_BUCKETS_MAX || bounds_us[i] == 0;
        count += atomic_load_explicit(&cell->buckets[i], memory_order_relaxed);
        if (is_last)
            (void)snprintf(le, sizeof(le), "+Inf");
        else
            (void)snprintf(le, sizeof(le), "%g", (double)bounds_us[i] / 1e6);
        put_text(self, series->name);
        put_text(self, "_bucket");
        put_labels(self, series, le);
        put_format(self, " %" PRIu64 "\n", count);
        if (is_last)
            break;
    }
    put_text(self, series->name);
    put_text(self, "_sum");
    put_labels(self, series, NULL);
    put_text(self, " ");
    put_seconds(self, sum_us);
    put_text(self, "\n");
    put_text(self, series->name);
    put_text(self, "_count");
    put_labels(self, series, NULL);
    put_format(self, " %" PRIu64 "\n", count);
}

static void put_series(struct text *self, const struct metrics_series *series)
{
    if (series->type == METRICS_HISTOGRAM) {
        if (!series->hidden_while_empty || metrics_histogram_count(series->cell) > 0)
            put_histogram(self, series, series->cell);
        return;
    }
    put_text(self, series->name);
    put_labels(self, series, NULL);
    put_text(self, " ");
    if (series->type == METRICS_COUNTER)
        put_format(self, "%" PRIu64, metrics_get(series->cell));
    else if (series->type == METRICS_SECONDS)
        put_seconds(self, metrics_get(series->cell));
    else
        put_number(self, metrics_gauge_get(series->cell));
    put_text(self, "\n");
}

static const char *type_name(enum metrics_type type)
{
    return type == METRICS_GAUGE ? "gauge" : type == METRICS_HISTOGRAM ? "histogram" : "counter";
}

int metrics_text(const struct metrics *self, char **ret_text, size_t *ret_bytes)
{
    struct text text = {0};

    if (reserve(&text, 0))
        text.data[0] = '\0';
    for (size_t i = 0; i < self->count; i++) {
        const struct metrics_series *series = &self->series[i];
        if (i == 0 || strcmp(self->series[i - 1].name, series->name) != 0) {
            put_text(&text, "# HELP ");
            put_text(&text, series->name);
            put_text(&text, " ");
            put_escaped(&text, series->help, false);
            put_text(&text, "\n# TYPE ");
            put_text(&text, series->name);
            put_text(&text, " ");
            put_text(&text, type_name(series->type));
            put_text(&text, "\n");
        }
        put_series(&text, series);
    }
    if (text.rc != BASE_OK) {
        base_free(text.data);
        return text.rc;
    }
    text.data[text.bytes] = '\0';
    *ret_text = text.data;
    *ret_bytes = text.bytes;
    return BASE_OK;
}
