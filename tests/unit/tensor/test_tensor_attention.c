/* Attention against double precision, and the same bits however it is cut. */
#include "tensor_attention.h"

#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_sample.h"
#include "tensor_type.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 1100, DIM_MAX = 160 };

static const uint32_t types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0};

/* A cache of POSITIONS positions with its pages in a scrambled order. */
struct sample {
    struct tensor_attention_cache cache;
    uint8_t *memory;
    uint32_t pages[POSITIONS];
    float q[TENSOR_ATTENTION_ROWS][DIM_MAX];
};

static void fill_row(uint64_t seed, float *x, uint32_t count, float scale)
{
    seed *= 0x9e3779b97f4a7c15u; /* neighbouring seeds begin alike otherwise */
    for (uint32_t i = 0; i < count; i++)
        x[i] = sample_float(&seed) * scale;
}

static void position_row(
    uint32_t position, uint32_t key_dim, uint32_t value_dim, float *k, float *v)
{
    fill_row(1000 + position, k, key_dim, 1.5f);
    fill_row(900000 + position, v, value_dim, 1.0f);
}

static struct sample *sample_new(
    uint32_t type, uint32_t page_tokens, uint32_t key_dim, uint32_t value_dim)
{
    struct sample *self = calloc(1, sizeof(*self));
    float k[DIM_MAX], v[DIM_MAX];
    uint32_t page_count = (POSITIONS + page_tokens - 1) / page_tokens;

    cr_assert_not_null(self);
    cr_assert_eq(
        tensor_attention_layout_init(&self->cache.layout, type, page_tokens, key_dim, value_dim),
        BASE_OK);
    self->cache.page_bytes = self->cache.layout.bytes + 128;
    self->memory = aligned_alloc(64, (self->cache.page_bytes * page_count + 63) / 64 * 64);
    cr_assert_not_null(self->memory);
    memset(self->memory, 0xff, self->cache.page_bytes * page_count); /* NaN */
    self->cache.memory = self->memory;
    self->cache.pages = self->pages;
    self->cache.position_count = POSITIONS;
    self->cache.scale = 0.125f;
    for (uint32_t i = 0; i < page_count; i++)
        self->pages[i] = page_count - 1 - i;
    for (uint32_t p = 0; p < POSITIONS; p++) {
        position_row(p, key_dim, value_dim, k, v);
        tensor_attention_store(&self->cache.layout,
            self->memory + self->pages[p / page_tokens] * self->cache.page_bytes, p % page_tokens,
            k, v);
    }
    for (uint32_t r = 0; r < TENSOR_ATTENTION_ROWS; r++)
        fill_row(5 + r, self->q[r], key_dim, 2.0f);
    return self;
}

static void sample_free(struct sample *self)
{
    free(self->memory);
    free(self);
}

/* All splits of some rows, one after the other.  y [row_count, value_dim] */
static void attend(const struct sample *self, const struct tensor_attention_row *rows,
    uint32_t row_count, const float *sink, float *y)
{
    const struct tensor_attention_layout *layout = &self->cache.layout;
    size_t state = tensor_attention_state_floats(layout);
    float *memory = aligned_alloc(64,
        ((2 * TENSOR_ATTENTION_ROWS * state + tensor_attention_scratch_floats(layout)) * 4 + 63) /
            64 * 64);
    float *partials = memory + TENSOR_ATTENTION_ROWS * state;
    float *scratch = partials + TENSOR_ATTENTION_ROWS * state;

    cr_assert_not_null(memory);
    for (uint32_t r = 0; r < row_count; r++)
        tensor_attention_begin(layout, memory + r * state);
    for (uint32_t s = 0; s <= POSITIONS / TENSOR_ATTENTION_SPLIT; s++) {
        tensor_attention_split(&self->cache, rows, row_count, s, partials, scratch);
        for (uint32_t r = 0; r < row_count; r++)
            tensor_attention_merge(layout, memory + r * state, partials + r * state);
    }
    for (uint32_t r = 0; r < row_count; r++)
        tensor_attention_finish(layout, memory + r * state, sink, y + r * layout->value_dim);
    free(memory);
}

/* The formula in double precision from what the cache holds, or from what was stored. */
static void reference(const struct sample *self, const struct tensor_attention_row *row,
    const float *sink, bool exact, double *y)
{
    const struct tensor_attention_layout *l = &self->cache.layout;
    double sum = sink != NULL ? exp((double)*sink) : 0;
    float k[DIM_MAX], v[DIM_MAX];

    memset(y, 0, l->value_dim * sizeof(*y));
    for (uint32_t p = row->first; p < row->end; p++) {
        double score = 0;
        const uint8_t *page =
            self->memory + self->pages[p / l->page_tokens] * self->cache.page_bytes;
        if (exact)
            position_row(p, l->key_dim, l->value_dim, k, v);
        else
            tensor_attention_load(l, page, p % l->page_tokens, k, v);
        for (uint32_t i = 0; i < l->key_dim; i++)
            score += (double)row->q[i] * (double)k[i];
        score *= (double)self->cache.scale;
        if (self->cache.softcap > 0)
            score = (double)self->cache.softcap * tanh(score / (double)self->cache.softcap);
        double weight = exp(score);
        sum += weight;
        for (uint32_t i = 0; i < l->value_dim; i++)
            y[i] += weight * (double)v[i];
    }
    for (uint32_t i = 0; i < l->value_dim; i++)
        y[i] /= sum;
}

static double error_of(const struct sample *self, const struct tensor_attention_row *row,
    const float *sink, bool exact)
{
    double expected[DIM_MAX], most = 0;
    float y[DIM_MAX];

    attend(self, row, 1, sink, y);
    reference(self, row, sink, exact, expected);
    for (uint32_t i = 0; i < self->cache.layout.value_dim; i++) {
        cr_assert(isfinite(y[i]));
        most = fmax(most, fabs((double)y[i] - expected[i]));
    }
    return most;
}

Test(tensor_attention, is_close_to_double_precision)
{
    static const uint32_t dims[][2] = {{64, 64}, {16, 16}, {20, 12}, {96, 40}, {128, 160}};
    static const uint32_t spans[][2] = {
        {0, 1}, {0, 17}, {0, 512}, {0, 513}, {0, POSITIONS}, {500, 530}, {1030, POSITIONS}};
    const float sink = 1.25f;

    for (size_t t = 0; t < 3; t++)
        for (size_t d = 0; d < 5; d++) {
            struct sample *s = sample_new(types[t], 64, dims[d][0], dims[d][1]);
            for (size_t i = 0; i < 7; i++) {
                struct tensor_attention_row row = {s->q[0], spans[i][0], spans[i][1]};
                s->cache.softcap = 0;
                cr_expect_lt(error_of(s, &row, NULL, false), 2e-6);
                cr_expect_lt(error_of(s, &row, &sink, false), 2e-6);
                s->cache.softcap = 2.0f;
                cr_expect_lt(error_of(s, &row, NULL, false), 2e-6);
            }
            sample_free(s);
        }
}

/* What rounding in the cache costs, with values of about 1: f16 keeps 11 bits, int8 7 bits. */
Test(tensor_attention, rounding_in_the_cache_is_bounded)
{
    static const double bounds[] = {2e-6, 4e-4, 1e-2};
    double errors[3];

    for (size_t t = 0; t < 3; t++) {
        struct sample *s = sample_new(types[t], 64, 64, 64);
        errors[t] = 0;
        for (uint32_t r = 0; r < TENSOR_ATTENTION_ROWS; r++) {
            struct tensor_attention_row row = {s->q[r], 0, 100 + r * 90};
            errors[t] = fmax(errors[t], error_of(s, &row, NULL, true));
        }
        cr_expect_lt(errors[t], bounds[t], "type %u: %g", types[t], errors[t]);
        sample_free(s);
    }
    cr_expect(errors[0] < errors[1] && errors[1] < errors[2]);
}

static void make_rows(const struct sample *s, struct tensor_attention_row rows[12])
{
    for (uint32_t r = 0; r < TENSOR_ATTENTION_ROWS; r++)
        rows[r] = (struct tensor_attention_row){s->q[r], r * 7, 520 + r / 3 * 60};
    rows[10].end = 100;   /* nothing of the second split, */
    rows[11].first = 515; /* nothing of the first */
}

Test(tensor_attention, same_bits_whatever_is_beside_a_row_and_however_large_a_page_is)
{
    static const uint32_t page_tokens[] = {64, 1, 2, 8, 16, 32, 2048};
    float expected[12][36], y[12][36], alone[36];
    struct tensor_attention_row rows[12];

    for (size_t t = 0; t < 3; t++)
        for (size_t p = 0; p < 7; p++) {
            struct sample *s = sample_new(types[t], page_tokens[p], 40, 36);
            s->cache.softcap = 30;
            make_rows(s, rows);
            for (size_t k = 0; k < SAMPLE_ISA_COUNT; k++) {
                if (!tensor_kernels_use(sample_isas[k]))
                    continue;
                attend(s, rows, 12, NULL, y[0]);
                if (p == 0 && k == 0)
                    memcpy(expected, y, sizeof(y));
                cr_assert_eq(memcmp(y, expected, sizeof(y)), 0, "type %u, pages of %u, %s",
                    types[t], page_tokens[p], sample_isas[k]);
                for (uint32_t n = 1; n < 12; n++) { /* in tiles of n */
                    for (uint32_t r = 0; r < 12; r += n)
                        attend(s, rows + r, 12 - r < n ? 12 - r : n, NULL, y[r]);
                    cr_assert_eq(memcmp(y, expected, sizeof(y)), 0, "%u rows", n);
                }
                attend(s, &rows[5], 1, NULL, alone);
                cr_assert_eq(memcmp(alone, expected[5], sizeof(alone)), 0);
            }
            sample_free(s);
        }
    tensor_kernels_use(NULL);
}

Test(tensor_attention, a_row_does_not_touch_what_it_does_not_see)
{
    float y[12][64], again[12][64], k[64], v[64];
    struct tensor_attention_row rows[12];

    for (size_t t = 0; t < 3; t++) {
        struct sample *s = sample_new(types[t], 64, 64, 64);
        for (uint32_t r = 0; r < 12; r++)
            rows[r] = (struct tensor_attention_row){s->q[r], 0, 700 + r};
        attend(s, rows, 12, NULL, y[0]);
        for (uint32_t i = 0; i < 64; i++)
            k[i] = v[i] = NAN;
        tensor_attention_store(
            &s->cache.layout, s->memory + s->pages[705 / 64] * s->cache.page_bytes, 705 % 64, k, v);
        attend(s, rows, 12, NULL, again[0]);
        cr_assert_eq(memcmp(y, again, 6 * sizeof(y[0])), 0); /* they end at 700..705 */
        for (uint32_t r = 6; r < 12; r++)
            cr_assert(isnan(again[r][0]), "row %u", r);
        sample_free(s);
    }
}

/* Weights are put together from bits: those of a NaN must not become a number. */
Test(tensor_attention, a_nan_with_payload_stays_one)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512"};
    const uint32_t bits[] = {0x7fc00001u, 0xffc001ffu, 0x7f800155u};
    struct sample *s = sample_new(TENSOR_F32, 64, 20, 12);
    struct tensor_attention_row row = {s->q[0], 0, 100};
    float k[20] = {0}, v[12] = {0}, y[12];

    for (size_t n = 0; n < 3 * 3; n++) {
        if (!tensor_kernels_use(isas[n % 3]))
            continue;
        memcpy(&k[7], &bits[n / 3], sizeof(k[7]));
        tensor_attention_store(
            &s->cache.layout, s->memory + s->pages[33 / 64] * s->cache.page_bytes, 33 % 64, k, v);
        attend(s, &row, 1, NULL, y);
        for (uint32_t i = 0; i < 12; i++)
            cr_expect(isnan(y[i]), "%s, %08x", isas[n % 3], bits[n / 3]);
    }
    tensor_kernels_use(NULL);
    sample_free(s);
}

Test(tensor_attention, stored_values)
{
    static const float x[20] = {0, -0.0f, 1, -1, 65504, 65520, 1e30f, -1e30f, INFINITY, -INFINITY,
        1e-8f, 6e-8f, 1.0009765625f, 1.00048828125f, 0.1f, -0.3f, 3, 4, 5, 6};
    struct tensor_attention_layout l;
    float k[20], v[20];

    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 4, 20, 20), BASE_OK);
    uint8_t *page = aligned_alloc(64, l.bytes);
    cr_assert_not_null(page);
    tensor_attention_store(&l, page, 3, x, x);
    tensor_attention_load(&l, page, 3, k, v);
    cr_assert_eq(memcmp(k, v, sizeof(k)), 0);
    for (uint32_t i = 0; i < 20; i++) {
        float clamped = x[i] > 65504 ? 65504 : x[i] < -65504 ? -65504 : x[i];
        cr_assert_eq(k[i], tensor_f16_to_f32(tensor_f32_to_f16(clamped)), "%g", (double)x[i]);
    }
    free(page);
}

Test(tensor_attention, names_of_types)
{
    uint32_t type = 99;

    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(
            tensor_attention_type_parse(tensor_attention_type_name(types[i]), &type), BASE_OK);
        cr_assert_eq(type, types[i]);
    }
    cr_assert_null(tensor_attention_type_name(TENSOR_BF16));
    cr_assert_eq(tensor_attention_type_parse("q4", &type), BASE_INVALID);
}

Test(tensor_attention, layouts)
{
    struct tensor_attention_layout l;

    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_Q8_0, 64, 128, 128), BASE_OK);
    cr_assert_eq(l.bytes, 64u * (128 + 4 + 128 + 4));
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 64, 80, 72), BASE_OK);
    cr_assert_eq(l.bytes, 64u * (80 + 80) * 2);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_BF16, 64, 80, 80), BASE_INVALID);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 48, 80, 80), BASE_INVALID);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 0, 80, 80), BASE_INVALID);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 64, 0, 80), BASE_INVALID);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F16, 64, 80, 0), BASE_INVALID);
    cr_assert_eq(tensor_attention_layout_init(&l, TENSOR_F32, 1u << 31, UINT32_MAX, UINT32_MAX),
        BASE_INVALID);
}
