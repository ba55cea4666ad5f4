/*
 * The inner loops of attention over sixteen lanes, written once and compiled once per instruction
 * set, behind tensor_kernels_body.h in the files that define the lanes.
 */
#ifndef TENSOR_ATTENTION_BODY_H
#define TENSOR_ATTENTION_BODY_H

#include "tensor_attention.h"
#include "tensor_attention_kernels.h"
#include "tensor_kernels_body.h"
#include "tensor_type.h"

#define ROWS   TENSOR_ATTENTION_ROWS
#define STRIDE TENSOR_ATTENTION_STRIDE

#if defined(__AVX512F__) && !defined(TENSOR_KEEP_LOOPS)
#define ATTENTION_TABLE tensor_attention_avx512
ALWAYS_INLINE LANES lanes_weight(LANES x, LANES p, LANES n, LANES t, float low)
{
    (void)t;
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(low), _CMP_NLT_UQ), p, n);
}
ALWAYS_INLINE LANES lanes_load_s8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
ALWAYS_INLINE void lanes_store_f16(uint16_t *p, LANES a)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
/* Rows and how many groups of positions, or vectors of values, are kept in registers for each. */
#define ATTENTION_SUMS          24
#define EACH_ATTENTION_SHAPE(X) X(1, 4) X(2, 4) X(4, 4) X(6, 4) X(8, 2) X(12, 2)
#elif defined(__AVX2__) && !defined(TENSOR_KEEP_LOOPS)
#define ATTENTION_TABLE         tensor_attention_avx2
ALWAYS_INLINE LANES lanes_weight(LANES x, LANES p, LANES n, LANES t, float low)
{
    (void)n;
    return lanes_in_range(x, lanes_scale(p, t), low, INFINITY);
}
ALWAYS_INLINE LANES lanes_load_s8(const uint8_t *p)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return (LANES){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
}
ALWAYS_INLINE void lanes_store_f16(uint16_t *p, LANES a)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(a.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(
        (__m128i *)(void *)(p + 8), _mm256_cvtps_ph(a.high, _MM_FROUND_TO_NEAREST_INT));
}
#define ATTENTION_SUMS          4
#define EACH_ATTENTION_SHAPE(X) X(1, 4) X(2, 2) X(4, 1)
#else
#define ATTENTION_TABLE         tensor_attention_scalar
TENSOR_LANE_FUNCTION LANES lanes_weight(LANES x, LANES p, LANES n, LANES t, float low)
{
    (void)n;
    return lanes_in_range(x, lanes_scale(p, t), low, INFINITY);
}
TENSOR_LANE_FUNCTION LANES lanes_load_s8(const uint8_t *p)
{
    LANES r;
    TENSOR_EACH_LANE r.f[j] = (float)(int8_t)p[j];
    return r;
}
TENSOR_LANE_FUNCTION void lanes_store_f16(uint16_t *p, LANES a)
{
    TENSOR_EACH_LANE p[j] = tensor_f32_to_f16(a.f[j]);
}
#define ATTENTION_SUMS          1
#define EACH_ATTENTION_SHAPE(X) X(1, 1)
#endif

ALWAYS_INLINE size_t element_bytes(const uint32_t type)
{
    return type == TENSOR_F32 ? 4 : type == TENSOR_F16 ? 2 : 1;
}

ALWAYS_INLINE LANES load_elements(const uint8_t *p, const uint32_t type)
{
    if (type == TENSOR_F16)
        return lanes_load_f16(p);
    if (type == TENSOR_F32)
        return lanes_load((const float *)(const void *)p);
    return lanes_load_s8(p);
}

/* Two vectors lie side by side in a panel; where a block is wider than one, it begins with a panel. */
ALWAYS_INLINE size_t panel_offset(
    size_t vector, const size_t b, const size_t block, size_t panel_bytes, const size_t step)
{
    if (block == 1)
        return vector / 2 * panel_bytes + vector % 2 * step;
    return (vector / 2 + b / 2) * panel_bytes + b % 2 * step;
}

ALWAYS_INLINE void prefetch_row(const uint8_t *p, const size_t bytes)
{
    UNROLLED
    for (size_t line = 0; line < bytes; line += 64)
        __builtin_prefetch(p + line, 0, 2);
}

/* sum[r][b] = fma(elements[b], factors[r * factor_stride], sum[r][b]) */
ALWAYS_INLINE void add_products(LANES *sum, const LANES *elements, const float *factors,
    const size_t factor_stride, const size_t row_count, const size_t block)
{
    UNROLLED
    for (size_t r = 0; r < row_count; r++) {
        LANES one = lanes_set(factors[r * factor_stride]);
        UNROLLED
        for (size_t b = 0; b < block; b++)
            sum[r * block + b] = lanes_fma(elements[b], one, sum[r * block + b]);
    }
}

/* row_count rows times block groups of 16 positions, all sums in registers. */
ALWAYS_INLINE void score_block(const struct tensor_attention_scores *a, size_t group, size_t row,
    const size_t row_count, const size_t block, const uint32_t type, const bool ahead)
{
    const size_t step = 16 * element_bytes(type), panel_bytes = a->dim * 2 * step;
    const size_t width = block > 1 ? 2 * step : a->panel_groups * step;
    const float *q = a->q + row * 16;
    LANES sum[ATTENTION_SUMS];

    UNROLLED
    for (size_t n = 0; n < row_count * block; n++)
        sum[n] = lanes_set(0);
    for (size_t i = 0; i < a->dim; i++) {
        LANES k[4];
        UNROLLED
        for (size_t b = 0; b < block; b++) {
            size_t offset = i * width + panel_offset(group, b, block, panel_bytes, step);
            k[b] = load_elements(a->keys + offset, type);
            if (ahead && b % 2 == 0)
                prefetch_row(a->next + offset, block == 1 ? step : 2 * step);
        }
        add_products(sum, k, q, 16, row_count, block);
        q += i % 16 == 15 ? ROWS * 16 - 15 : 1;
    }
    UNROLLED
    for (size_t n = 0; n < row_count * block; n++) {
        size_t column = (group - a->group_first + n % block) * 16;
        if (type == TENSOR_Q8_0)
            sum[n] = lanes_mul(sum[n], lanes_load(a->scales + column));
        lanes_store(a->scores + (row + n / block) * STRIDE + column,
            lanes_mul(sum[n], lanes_set(a->scale)));
    }
}

/* row_count rows times block vectors of values. */
ALWAYS_INLINE void value_block(const struct tensor_attention_values *a, size_t vector, size_t row,
    const size_t row_count, const size_t block, const uint32_t type, const bool ahead)
{
    const size_t step = 16 * element_bytes(type);
    const size_t width = block > 1 || (vector | 1) < a->vector_count ? 2 * step : step;
    const float *weights = a->weights + row * STRIDE;
    float *sums = a->sums + row * a->sum_stride + vector * 16;
    LANES sum[ATTENTION_SUMS];

    UNROLLED
    for (size_t n = 0; n < row_count * block; n++)
        sum[n] = lanes_load(sums + n / block * a->sum_stride + n % block * 16);
    for (const struct tensor_attention_piece *p = a->pieces; p < a->pieces + a->piece_count; p++)
        for (size_t j = 0; j < p->count; j++, weights++) {
            size_t at = (p->slot + j) * width;
            LANES v[4];
            UNROLLED
            for (size_t b = 0; b < block; b++) {
                size_t offset = at + panel_offset(vector, b, block, a->panel_bytes, step);
                v[b] = load_elements(p->values + offset, type);
                if (ahead && b % 2 == 0)
                    prefetch_row(p->next + offset, block == 1 ? step : 2 * step);
            }
            add_products(sum, v, weights, STRIDE, row_count, block);
        }
    UNROLLED
    for (size_t n = 0; n < row_count * block; n++)
        lanes_store(sums + n / block * a->sum_stride + n % block * 16, sum[n]);
}

/* One function for each type and shape: whole blocks, then whole panels, then what is left. */
#define ATTENTION_BLOCKS(what, first, end, row, rows, block, type, ahead)                          \
    do {                                                                                           \
        size_t at = first;                                                                         \
        if (at % 2 == 1 && at < (end) && (block) > 1)                                              \
            what(a, at++, row, rows, 1, type, ahead);                                              \
        for (; at + (block) <= (end); at += (block))                                               \
            what(a, at, row, rows, block, type, ahead);                                            \
        for (; (block) > 2 && at + 2 <= (end); at += 2)                                            \
            what(a, at, row, rows, (block) > 1 ? 2 : 1, type, ahead);                              \
        for (; at < (end); at++)                                                                   \
            what(a, at, row, rows, 1, type, ahead);                                                \
    } while (0)
#define ATTENTION_FUNCTIONS(suffix, rows, block, type)                                             \
    static void scores_##suffix##_##rows(const struct tensor_attention_scores *a, size_t row)      \
    {                                                                                              \
        size_t first = a->group_first, end = first + a->group_count;                               \
        if (a->next != NULL)                                                                       \
            ATTENTION_BLOCKS(score_block, first, end, row, rows, block, type, true);               \
        else                                                                                       \
            ATTENTION_BLOCKS(score_block, first, end, row, rows, block, type, false);              \
    }                                                                                              \
    static void values_##suffix##_##rows(const struct tensor_attention_values *a, size_t row)      \
    {                                                                                              \
        if (a->pieces[0].next != NULL)                                                             \
            ATTENTION_BLOCKS(value_block, 0, a->vector_count, row, rows, block, type, true);       \
        else                                                                                       \
            ATTENTION_BLOCKS(value_block, 0, a->vector_count, row, rows, block, type, false);      \
    }
#define ATTENTION_F32(rows, block)  ATTENTION_FUNCTIONS(f32, rows, block, TENSOR_F32)
#define ATTENTION_F16(rows, block)  ATTENTION_FUNCTIONS(f16, rows, block, TENSOR_F16)
#define ATTENTION_INT8(rows, block) ATTENTION_FUNCTIONS(int8, rows, block, TENSOR_Q8_0)
EACH_ATTENTION_SHAPE(ATTENTION_F32)
EACH_ATTENTION_SHAPE(ATTENTION_F16)
EACH_ATTENTION_SHAPE(ATTENTION_INT8)

#define ATTENTION_ROW(rows, block)                                                                 \
    {rows, {scores_f32_##rows, scores_f16_##rows, scores_int8_##rows},                             \
        {values_f32_##rows, values_f16_##rows, values_int8_##rows}},

static const struct attention_shape {
    size_t row_count;
    void (*scores[3])(const struct tensor_attention_scores *, size_t);
    void (*values[3])(const struct tensor_attention_values *, size_t);
} attention_shapes[] = {EACH_ATTENTION_SHAPE(ATTENTION_ROW)};

#define ATTENTION_SHAPES (sizeof(attention_shapes) / sizeof(attention_shapes[0]))

/* The narrowest shape with room for left rows, or the widest. */
static const struct attention_shape *attention_shape_for(size_t left)
{
    size_t i = 0;

    while (i + 1 < ATTENTION_SHAPES && attention_shapes[i].row_count < left)
        i++;
    return &attention_shapes[i];
}

static size_t attention_type_index(uint32_t type)
{
    return type == TENSOR_F32 ? 0 : type == TENSOR_F16 ? 1 : 2;
}

static void attention_scores(const struct tensor_attention_scores *args)
{
    const struct attention_shape *shape;

    for (size_t row = 0; row < args->row_count; row += shape->row_count) {
        shape = attention_shape_for(args->row_count - row);
        shape->scores[attention_type_index(args->type)](args, row);
    }
}

static void attention_values(const struct tensor_attention_values *args)
{
    const struct attention_shape *shape;

    for (size_t row = 0; row < args->row_count; row += shape->row_count) {
        shape = attention_shape_for(args->row_count - row);
        shape->values[attention_type_index(args->type)](args, row);
    }
}

/* lanes_exp() of what is at most 0, which saves a third of it; positive lanes may give anything. */
ALWAYS_INLINE LANES lanes_exp_of_negative(LANES x)
{
    struct lanes_power e = lanes_power_of(x);

    return lanes_weight(x, e.factor, e.exponent, e.bits, LANES_EXP_LOW);
}

static float soften_row(float *scores, size_t count, float most)
{
    LANES sum = lanes_set(0), shift = lanes_set(most);
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        LANES e = lanes_exp_of_negative(lanes_sub(lanes_load(scores + i), shift));
        lanes_store(scores + i, e);
        sum = lanes_add(sum, e);
    }
    if (i < count) {
        LANES rest = lanes_load_part(scores + i, count - i, -INFINITY);
        LANES e = lanes_exp_of_negative(lanes_sub(rest, shift));
        lanes_store_part(scores + i, e, count - i);
        sum = lanes_add(sum, e);
    }
    return lanes_tree_sum(sum);
}

/* All maxima first, so that no row waits for its own. */
static void attention_soften(const struct tensor_attention_rows *a)
{
    for (size_t r = 0; r < a->row_count; r++) {
        float most = max(a->scores + r * STRIDE + a->first[r], a->end[r] - a->first[r]);
        /* Only weights that overflow get here; the result is no number either way. */
        a->most[r] = isfinite(most) ? most : 0.0f;
    }
    for (size_t r = 0; r < a->row_count; r++)
        a->sum[r] =
            soften_row(a->scores + r * STRIDE + a->first[r], a->end[r] - a->first[r], a->most[r]);
}

static void attention_blend(float *y, float a, const float *x, float b, size_t count)
{
    LANES a_lanes = lanes_set(a), b_lanes = lanes_set(b);

    for (size_t i = 0; i < count; i += 16)
        lanes_store(y + i, lanes_add(lanes_mul(lanes_load(y + i), a_lanes),
                               lanes_mul(lanes_load(x + i), b_lanes)));
}

static void attention_multiply(float *y, const float *x, size_t count)
{
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        lanes_store(y + i, lanes_mul(lanes_load(y + i), lanes_load(x + i)));
    for (; i < count; i++)
        y[i] *= x[i];
}

static void attention_store_f16(const float *x, size_t count, uint16_t *y)
{
    LANES most = lanes_set(65504.0f), least = lanes_set(-65504.0f);
    size_t i = 0;

    /* lanes_max gives its second operand where one is NaN, so NaN comes through both. */
    for (; i + 16 <= count; i += 16) {
        LANES a = lanes_max(least, lanes_load(x + i));
        a = lanes_mul(
            lanes_max(lanes_mul(most, lanes_set(-1)), lanes_mul(a, lanes_set(-1))), lanes_set(-1));
        lanes_store_f16(y + i, a);
    }
    for (; i < count; i++) {
        float a = -65504.0f > x[i] ? -65504.0f : x[i];
        y[i] = tensor_f32_to_f16(65504.0f < a ? 65504.0f : a);
    }
}

const struct tensor_attention_kernels ATTENTION_TABLE = {
    .scores = attention_scores,
    .values = attention_values,
    .soften = attention_soften,
    .blend = attention_blend,
    .multiply = attention_multiply,
    .store_f16 = attention_store_f16,
};

#undef ROWS
#undef STRIDE
#endif
