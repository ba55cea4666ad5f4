/*
 * Least squares over few candidates. Given codes, the best scale (and minimum) has a closed form;
 * given a scale, the best code of an element is the nearest. So: some scales around the one that
 * just spans the block, the codes of each, the closed form for these, and the best of all.
 */
#include "tensor_quantize_search.h"
#include "tensor_type.h"

#include <math.h>
#include <string.h>

#define ROUNDING   12582912.0f /* 1.5 * 2^23: adding it rounds to an integer */
#define CANDIDATES 9           /* to either side */
#define STEP       0.11f       /* of a code, from one candidate to the next */
#define TINY       1e-30f

/* To the nearest integer; |v| < 2^22. */
static inline int round_near(float v)
{
    float shifted = v + ROUNDING;
    int32_t bits;

    memcpy(&bits, &shifted, sizeof(bits));
    return (bits & 0x007fffff) - 0x00400000;
}

static inline int clamp_round(float v, int low, int high)
{
    v = v < (float)low ? (float)low : v > (float)high ? (float)high : v;
    return round_near(v);
}

int tensor_grid_value(const struct tensor_grid *grid, float v)
{
    int value = clamp_round(v, grid->low, grid->high);

    return grid->nearest == NULL ? value : grid->nearest[value + 128];
}

void tensor_error_weights(const float *x, size_t n, float *w)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    float mean = sqrtf(sum / (float)n);
    for (size_t i = 0; i < n; i++)
        w[i] = mean + fabsf(x[i]);
}

/* The element of largest magnitude. */
static float extreme(const float *x, size_t n)
{
    float largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    return largest;
}

float tensor_search_scale(
    const struct tensor_grid *grid, const float *x, const float *w, size_t n, int8_t *v)
{
    float largest = extreme(x, n);
    float best_scale = 0, best_gain = 0;
    int8_t tried[TENSOR_SUPER];

    memset(v, 0, n);
    if (fabsf(largest) < TINY)
        return 0;
    for (int i = -2 * CANDIDATES; i < 2 * CANDIDATES + 2; i++) {
        /* The largest element on one end of the grid or the other. */
        float end = (float)(i % 2 == 0 ? grid->low : -grid->high);
        float inverse = (end - (float)(i / 2) * STEP * (float)grid->high / 8) / largest;
        float product = 0, square = 0;
        for (size_t j = 0; j < n; j++) {
            int value = tensor_grid_value(grid, x[j] * inverse);
            tried[j] = (int8_t)value;
            product += w[j] * x[j] * (float)value;
            square += w[j] * (float)(value * value);
        }
        if (square > 0 && product * product > best_gain * square) {
            best_gain = product * product / square;
            best_scale = product / square;
            memcpy(v, tried, n);
        }
    }
    return best_scale;
}

/* Sums for the closed form of scale and minimum. */
struct sums {
    float w, wx, wxx, wq, wqq, wqx;
};

static float solve(const struct sums *s, bool not_above_zero, float *ret_scale, float *ret_minimum)
{
    float determinant = s->w * s->wqq - s->wq * s->wq;
    float scale = 0, minimum = s->wx / s->w;

    if (determinant > TINY) {
        scale = (s->w * s->wqx - s->wx * s->wq) / determinant;
        minimum = (s->wqq * s->wx - s->wq * s->wqx) / determinant;
    }
    if (not_above_zero && minimum > 0) {
        minimum = 0;
        scale = s->wqq > TINY ? s->wqx / s->wqq : 0;
    }
    *ret_scale = scale;
    *ret_minimum = minimum;
    return s->wxx - 2 * scale * s->wqx - 2 * minimum * s->wx + scale * scale * s->wqq +
           2 * scale * minimum * s->wq + minimum * minimum * s->w;
}

float tensor_search_minimum(const float *x, const float *w, size_t n, int high, bool not_above_zero,
    uint8_t *q, float *ret_minimum)
{
    float low = x[0], top = x[0];
    float best_error = INFINITY, best_scale = 0;
    uint8_t tried[TENSOR_SUPER];

    for (size_t i = 1; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        top = x[i] > top ? x[i] : top;
    }
    if (not_above_zero && low > 0)
        low = 0;
    memset(q, 0, n);
    *ret_minimum = not_above_zero && low > 0 ? 0 : low;
    if (!(top - low > TINY))
        return 0;
    for (int i = -CANDIDATES; i <= CANDIDATES; i++) {
        float inverse = ((float)high + (float)i * STEP) / (top - low);
        struct sums s = {0, 0, 0, 0, 0, 0};
        float scale, minimum;
        if (!(inverse > 0))
            continue;
        for (size_t j = 0; j < n; j++) {
            int code = clamp_round((x[j] - low) * inverse, 0, high);
            float wx = w[j] * x[j], wq = w[j] * (float)code;
            tried[j] = (uint8_t)code;
            s.w += w[j];
            s.wx += wx;
            s.wxx += wx * x[j];
            s.wq += wq;
            s.wqq += wq * (float)code;
            s.wqx += wq * x[j];
        }
        float error = solve(&s, not_above_zero, &scale, &minimum);
        if (error < best_error && scale >= 0) {
            best_error = error;
            best_scale = scale;
            *ret_minimum = minimum;
            memcpy(q, tried, n);
        }
    }
    return best_scale;
}

/* ---- blocks of sub-blocks ---- */

/* Codes of a sub-block for a scale; returns their error. */
static float signed_codes(const struct tensor_grid *grid, const float *x, const float *w, size_t n,
    float scale, int8_t *v)
{
    float inverse = scale != 0 ? 1 / scale : 0;
    float error = 0;

    for (size_t i = 0; i < n; i++) {
        int value = tensor_grid_value(grid, x[i] * inverse);
        float off = x[i] - scale * (float)value;
        v[i] = (int8_t)value;
        error += w[i] * off * off;
    }
    return error;
}

/* The best of the integer scales around the wanted one. Returns its error. */
static float signed_sub(const struct tensor_grid *grid, const float *x, const float *w, size_t n,
    float unit, float wanted, int scale_low, int8_t *ret_s, int8_t *v)
{
    int around = unit != 0 ? clamp_round(wanted / unit, scale_low, -scale_low - 1) : 0;
    float best = INFINITY;
    int8_t tried[TENSOR_SUPER];

    for (int s = around - 1; s <= around + 1; s++) {
        if (s < scale_low || s > -scale_low - 1)
            continue;
        float error = signed_codes(grid, x, w, n, unit * (float)s, tried);
        if (error < best) {
            best = error;
            *ret_s = (int8_t)s;
            memcpy(v, tried, n);
        }
    }
    return best;
}

static float signed_all(const struct tensor_grid *grid, const float *x, const float *w,
    size_t sub_count, int scale_low, const float *wanted, struct tensor_signed_super *super)
{
    size_t n = TENSOR_SUPER / sub_count;
    float unit = tensor_f16_to_f32(super->scale);
    float error = 0;

    for (size_t j = 0; j < sub_count; j++)
        error += signed_sub(grid, x + j * n, w + j * n, n, unit, wanted[j], scale_low, &super->s[j],
            super->v + j * n);
    return error;
}

/* The unit scale of least squares for the codes and sub-scales that there are. */
static float signed_refit(
    const float *x, const float *w, size_t sub_count, const struct tensor_signed_super *super)
{
    size_t n = TENSOR_SUPER / sub_count;
    float product = 0, square = 0;

    for (size_t i = 0; i < TENSOR_SUPER; i++) {
        float value = (float)(super->s[i / n] * super->v[i]);
        product += w[i] * x[i] * value;
        square += w[i] * value * value;
    }
    return square > 0 ? product / square : 0;
}

bool tensor_search_signed(const struct tensor_grid *grid, const float *x, size_t sub_count,
    int scale_low, struct tensor_signed_super *ret_super)
{
    size_t n = TENSOR_SUPER / sub_count;
    float w[TENSOR_SUPER], wanted[16];
    struct tensor_signed_super other;

    for (size_t j = 0; j < sub_count; j++) {
        tensor_error_weights(x + j * n, n, w + j * n);
        wanted[j] = tensor_search_scale(grid, x + j * n, w + j * n, n, ret_super->v + j * n);
    }
    ret_super->scale = tensor_f32_to_f16(extreme(wanted, sub_count) / (float)scale_low);
    float error = signed_all(grid, x, w, sub_count, scale_low, wanted, ret_super);
    other.scale = tensor_f32_to_f16(signed_refit(x, w, sub_count, ret_super));
    if (other.scale != ret_super->scale &&
        signed_all(grid, x, w, sub_count, scale_low, wanted, &other) < error)
        *ret_super = other;
    return isfinite(tensor_f16_to_f32(ret_super->scale));
}

static float minimum_codes(
    const float *x, const float *w, size_t n, int high, float scale, float minimum, uint8_t *q)
{
    float inverse = scale > 0 ? 1 / scale : 0;
    float error = 0;

    for (size_t i = 0; i < n; i++) {
        int code = clamp_round((x[i] + minimum) * inverse, 0, high);
        float off = x[i] + minimum - scale * (float)code;
        q[i] = (uint8_t)code;
        error += w[i] * off * off;
    }
    return error;
}

/* The best of the integer pairs around the wanted scale and minimum of sub-block j. */
static float minimum_sub(const float *x, const float *w, size_t n, int high, int scale_high,
    const float wanted[2], struct tensor_minimum_super *super, size_t j)
{
    float unit = tensor_f16_to_f32(super->scale), minimum_unit = tensor_f16_to_f32(super->minimum);
    int s0 = unit > 0 ? clamp_round(wanted[0] / unit, 0, scale_high) : 0;
    int m0 = minimum_unit > 0 ? clamp_round(wanted[1] / minimum_unit, 0, scale_high) : 0;
    float best = INFINITY;
    uint8_t tried[TENSOR_SUPER];

    for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= scale_high; s++)
        for (int m = m0 > 0 ? m0 - 1 : 0; m <= m0 + 1 && m <= scale_high; m++) {
            float error =
                minimum_codes(x, w, n, high, unit * (float)s, minimum_unit * (float)m, tried);
            if (error < best) {
                best = error;
                super->s[j] = (uint8_t)s;
                super->m[j] = (uint8_t)m;
                memcpy(super->q + j * n, tried, n);
            }
        }
    return best;
}

static float minimum_all(const float *x, const float *w, size_t sub_count, int high, int scale_high,
    const float wanted[16][2], struct tensor_minimum_super *super)
{
    size_t n = TENSOR_SUPER / sub_count;
    float error = 0;

    for (size_t j = 0; j < sub_count; j++)
        error += minimum_sub(x + j * n, w + j * n, n, high, scale_high, wanted[j], super, j);
    return error;
}

/* Units of least squares for the codes that there are. False when they have no such. */
static bool minimum_refit(const float *x, const float *w, size_t sub_count,
    const struct tensor_minimum_super *super, struct tensor_minimum_super *ret_other)
{
    size_t n = TENSOR_SUPER / sub_count;
    float aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;

    for (size_t i = 0; i < TENSOR_SUPER; i++) {
        float a = (float)(super->s[i / n] * super->q[i]), b = -(float)super->m[i / n];
        aa += w[i] * a * a;
        ab += w[i] * a * b;
        bb += w[i] * b * b;
        ax += w[i] * a * x[i];
        bx += w[i] * b * x[i];
    }
    float determinant = aa * bb - ab * ab;
    if (!(determinant > TINY))
        return false;
    float scale = (ax * bb - bx * ab) / determinant;
    float minimum = (bx * aa - ax * ab) / determinant;
    ret_other->scale = tensor_f32_to_f16(scale);
    ret_other->minimum = tensor_f32_to_f16(minimum);
    return scale > 0 && minimum > 0;
}

bool tensor_search_minimums(const float *x, size_t sub_count, int high, int scale_high,
    struct tensor_minimum_super *ret_super)
{
    size_t n = TENSOR_SUPER / sub_count;
    float w[TENSOR_SUPER], wanted[16][2], scale = 0, minimum = 0;
    struct tensor_minimum_super other;

    for (size_t j = 0; j < sub_count; j++) {
        tensor_error_weights(x + j * n, n, w + j * n);
        wanted[j][0] = tensor_search_minimum(
            x + j * n, w + j * n, n, high, true, ret_super->q + j * n, &wanted[j][1]);
        wanted[j][1] = -wanted[j][1];
        scale = wanted[j][0] > scale ? wanted[j][0] : scale;
        minimum = wanted[j][1] > minimum ? wanted[j][1] : minimum;
    }
    ret_super->scale = tensor_f32_to_f16(scale / (float)scale_high);
    ret_super->minimum = tensor_f32_to_f16(minimum / (float)scale_high);
    float error =
        minimum_all(x, w, sub_count, high, scale_high, (const float(*)[2])wanted, ret_super);
    if (minimum_refit(x, w, sub_count, ret_super, &other) &&
        minimum_all(x, w, sub_count, high, scale_high, (const float(*)[2])wanted, &other) < error)
        *ret_super = other;
    return isfinite(tensor_f16_to_f32(ret_super->scale)) &&
           isfinite(tensor_f16_to_f32(ret_super->minimum));
}
