/*
 * All inner loops, written once over sixteen lanes and compiled once per instruction set, so
 * that the order of operations cannot differ between them. A file that has its own lanes
 * defines TENSOR_TABLE and the functions of tensor_kernels_lanes.h first.
 */
#ifndef TENSOR_KERNELS_BODY_H
#define TENSOR_KERNELS_BODY_H

#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_type.h"
#include <math.h>
#ifndef TENSOR_TABLE
#include "tensor_kernels_lanes.h"
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* Sanitizers check every access: unrolled, that takes minutes to compile. */
#if defined(TENSOR_KEEP_LOOPS) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNROLLED
#elif defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

ALWAYS_INLINE void store_rows(const struct tensor_tile *tile, size_t group, size_t token, LANES sum)
{
    size_t row = group * TENSOR_ROW_GROUP;
    float *y = tile->y + token * tile->y_stride + row;

    if (tile->row_count - row >= TENSOR_ROW_GROUP)
        lanes_store(y, sum);
    else
        lanes_store_part(y, sum, tile->row_count - row);
}

/* A tile: group_count row groups times token_count tokens, both constants at every call so
 * that every (group, token) has its sums in registers. nibbles: Q4_0, else Q8_0. */
ALWAYS_INLINE void tile_blocks(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const bool nibbles)
{
    const size_t block_bytes = nibbles ? TENSOR_Q4_0_GROUP_BYTES : TENSOR_Q8_0_GROUP_BYTES;
    const size_t step_count = nibbles ? 4 : 8;
    const size_t sum_count = group_count * token_count;
    const size_t group_bytes = tile->group_bytes, stride = tile->token_stride;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const int8_t *q = tile->q;
    const float *scale = tile->scale;
    const int32_t *start = nibbles ? tile->start_q4_0 : tile->start_q8_0;
    LANES sum[TENSOR_TOKEN_TILE];

    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = lanes_set(0);
    for (size_t block = tile->column_count / TENSOR_BLOCK_COLUMNS; block != 0; block--) {
        COUNTS count[TENSOR_TOKEN_TILE];
        UNROLLED
        for (size_t n = 0; n < sum_count; n++)
            count[n] = counts_begin(start + n % token_count, nibbles);
        UNROLLED
        for (size_t k = 0; k < step_count; k++) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                const uint8_t *p = w + g * group_bytes + TENSOR_GROUP_SCALES_BYTES + k * 64;
                BYTES bytes = bytes_load(p, nibbles);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    const int8_t *a = q + t * TENSOR_BLOCK_COLUMNS + k * 4;
                    size_t n = g * token_count + t;
                    count[n] = counts_add(count[n], bytes, a, nibbles);
                }
            }
        }
        UNROLLED
        for (size_t n = 0; n < sum_count; n++) {
            size_t t = n % token_count;
            LANES w_scale = lanes_load_f16(w + n / token_count * group_bytes);
            LANES both = lanes_mul(w_scale, lanes_set(scale[t]));
            sum[n] = lanes_fma(counts_end(count[n], start + t, nibbles), both, sum[n]);
        }
        w += block_bytes;
        q += stride * TENSOR_BLOCK_COLUMNS;
        scale += stride;
        start += stride;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}

ALWAYS_INLINE LANES load_weights(const uint8_t *p, const uint32_t type)
{
    if (type == TENSOR_F16)
        return lanes_load_f16(p);
    if (type == TENSOR_BF16)
        return lanes_load_bf16(p);
    return lanes_load((const float *)(const void *)p);
}

/* As tile_blocks for plain weights. */
ALWAYS_INLINE void tile_floats(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t step_bytes = TENSOR_ROW_GROUP * (type == TENSOR_F32 ? 4 : 2);
    const size_t sum_count = group_count * token_count;
    const size_t group_bytes = tile->group_bytes, column_count = tile->column_count;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const float *x = tile->x;
    LANES sum[TENSOR_TOKEN_TILE];

    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = lanes_set(0);
    for (size_t i = 0; i < column_count; i++, w += step_bytes) {
        UNROLLED
        for (size_t g = 0; g < group_count; g++) {
            LANES weights = load_weights(w + g * group_bytes, type);
            UNROLLED
            for (size_t t = 0; t < token_count; t++) {
                size_t n = g * token_count + t;
                sum[n] = lanes_fma(weights, lanes_set(x[t * column_count + i]), sum[n]);
            }
        }
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}

/*
 * One function per weight type and tile shape. Every sum is one chain of dependent operations, so
 * few tokens go over several groups at a time: enough chains to fill the latency, and not more
 * than there are registers for.
 */
typedef void tile_fn(const struct tensor_tile *tile, size_t group_first);

struct tile_shape {
    size_t group_count;
    tile_fn *wide;   /* group_count groups at a time */
    tile_fn *narrow; /* one group, for those left over */
};

#if TENSOR_TOKEN_TILE >= 12
#define EACH_SHAPE(X, type, call, last)                                                            \
    X(type, 4, 1, call, last)                                                                      \
    X(type, 4, 2, call, last)                                                                      \
    X(type, 4, 3, call, last)                                                                      \
    X(type, 2, 4, call, last)                                                                      \
    X(type, 2, 5, call, last)                                                                      \
    X(type, 2, 6, call, last)                                                                      \
    X(type, 1, 7, call, last)                                                                      \
    X(type, 1, 8, call, last)                                                                      \
    X(type, 1, 9, call, last)                                                                      \
    X(type, 1, 10, call, last)                                                                     \
    X(type, 1, 11, call, last)                                                                     \
    X(type, 1, 12, call, last)
#elif TENSOR_TOKEN_TILE >= 4
#define EACH_SHAPE(X, type, call, last)                                                            \
    X(type, 4, 1, call, last)                                                                      \
    X(type, 2, 2, call, last)                                                                      \
    X(type, 1, 3, call, last)                                                                      \
    X(type, 1, 4, call, last)
#else
#define EACH_SHAPE(X, type, call, last) X(type, 1, 1, call, last)
#endif

#define TILE_PAIR(type, groups, tokens, call, last)                                                \
    static void wide_##type##_##tokens(const struct tensor_tile *tile, size_t group)               \
    {                                                                                              \
        call(tile, group, groups, tokens, last);                                                   \
    }                                                                                              \
    static void narrow_##type##_##tokens(const struct tensor_tile *tile, size_t group)             \
    {                                                                                              \
        call(tile, group, 1, tokens, last);                                                        \
    }
#define TILE_SHAPE(type, groups, tokens, call, last)                                               \
    {groups, wide_##type##_##tokens, narrow_##type##_##tokens},

static void run_tiles(const struct tensor_tile *tile, const struct tile_shape *shape)
{
    size_t group = 0;

    for (; tile->group_count - group >= shape->group_count; group += shape->group_count)
        shape->wide(tile, group);
    for (; group < tile->group_count; group++)
        shape->narrow(tile, group);
}

#define PRODUCT(type, call, last)                                                                  \
    EACH_SHAPE(TILE_PAIR, type, call, last)                                                        \
    static void product_##type(const struct tensor_tile *tile)                                     \
    {                                                                                              \
        static const struct tile_shape by_tokens[] = {EACH_SHAPE(TILE_SHAPE, type, call, last)};   \
        run_tiles(tile, &by_tokens[tile->token_count - 1]);                                        \
    }

PRODUCT(f32, tile_floats, TENSOR_F32)
PRODUCT(f16, tile_floats, TENSOR_F16)
PRODUCT(bf16, tile_floats, TENSOR_BF16)
PRODUCT(q8_0, tile_blocks, false)
PRODUCT(q4_0, tile_blocks, true)

/*
 * scale = amax / 127, q = x * (127 / amax) to the nearest even. Below 2^-120 the division would
 * overflow and the block counts as zero. With an infinity or a NaN inside the scale is NaN, so
 * that every output of the token is.
 */
static void quantize(const float *x, size_t column_count, const struct tensor_quantized *out)
{
    for (size_t b = 0; b < column_count / TENSOR_BLOCK_COLUMNS; b++) {
        LANES low = lanes_load(x + b * TENSOR_BLOCK_COLUMNS);
        LANES high = lanes_load(x + b * TENSOR_BLOCK_COLUMNS + 16);
        size_t item = b * out->token_stride;
        uint32_t most = lanes_abs_max_bits(low, high);
        float amax = 0, scale = 0, inverse = 0;

        memcpy(&amax, &most, sizeof(amax));
        if (most >= 0x7f800000u) {
            scale = NAN;
            low = high = lanes_set(0);
        } else if (amax >= 0x1p-120f) {
            scale = amax / 127.0f;
            inverse = 127.0f / amax;
        }
        int8_t *q = out->q + item * TENSOR_BLOCK_COLUMNS;
        int32_t sum = lanes_store_s8(q, lanes_mul(low, lanes_set(inverse)));
        sum += lanes_store_s8(q + 16, lanes_mul(high, lanes_set(inverse)));
        out->scale[item] = scale;
        out->start_q8_0[item] = -128 * sum;
        out->start_q4_0[item] = -8 * sum;
    }
}

static float dot(const float *a, const float *b, size_t count)
{
    LANES sum = lanes_set(0);
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        sum = lanes_fma(lanes_load(a + i), lanes_load(b + i), sum);
    if (i < count) {
        LANES a_rest = lanes_load_part(a + i, count - i, 0);
        sum = lanes_fma(a_rest, lanes_load_part(b + i, count - i, 0), sum);
    }
    return lanes_tree_sum(sum);
}

static void axpy(float a, const float *x, size_t count, float *y)
{
    LANES factor = lanes_set(a);
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        lanes_store(y + i, lanes_fma(factor, lanes_load(x + i), lanes_load(y + i)));
    if (i < count) {
        LANES x_rest = lanes_load_part(x + i, count - i, 0);
        LANES y_rest = lanes_load_part(y + i, count - i, 0);
        lanes_store_part(y + i, lanes_fma(factor, x_rest, y_rest), count - i);
    }
}

/*
 * exp(x) = 2^n * exp(r), n the nearest integer to x / ln 2, r = x - n ln 2 in two parts. Adding
 * 1.5 * 2^23 rounds to an integer and leaves it in the low bits. The polynomial for
 * (exp(r) - 1 - r) / r^2 on |r| <= ln 2 / 2 is a least squares fit at Chebyshev nodes, weighted
 * by its share in the result; relative error of the whole below 2^-33 before rounding.
 */
ALWAYS_INLINE LANES lanes_exp(LANES x)
{
    static const float c[] = {
        0x1.9fca80p-13f, 0x1.6d96ecp-10f, 0x1.1111e2p-7f, 0x1.555480p-5f, 0x1.555554p-3f, 0.5f};
    LANES shift = lanes_set(12582912.0f);
    LANES t = lanes_fma(x, lanes_set(0x1.715476p0f), shift);
    LANES n = lanes_sub(t, shift);
    LANES r = lanes_fma(n, lanes_set(-0x1.62e4p-1f), x);
    r = lanes_fma(n, lanes_set(-0x1.7f7d1cp-20f), r);
    LANES p = lanes_set(c[0]);
    UNROLLED
    for (size_t i = 1; i < 6; i++)
        p = lanes_fma(p, r, lanes_set(c[i]));
    p = lanes_fma(p, lanes_mul(r, r), r);
    p = lanes_add(p, lanes_set(1));
    return lanes_in_range(x, lanes_scale(p, t), -87.3f, 0x1.62e42ep6f);
}

ALWAYS_INLINE LANES lanes_silu_mul(LANES gate, LANES up)
{
    LANES e = lanes_exp(lanes_mul(gate, lanes_set(-1)));
    return lanes_mul(lanes_div(gate, lanes_add(e, lanes_set(1))), up);
}

static void silu_mul(const float *gate, const float *up, size_t count, float *y)
{
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        lanes_store(y + i, lanes_silu_mul(lanes_load(gate + i), lanes_load(up + i)));
    if (i < count) {
        LANES gate_rest = lanes_load_part(gate + i, count - i, 0);
        LANES up_rest = lanes_load_part(up + i, count - i, 0);
        lanes_store_part(y + i, lanes_silu_mul(gate_rest, up_rest), count - i);
    }
}

static float max(const float *x, size_t count)
{
    LANES most = lanes_set(-INFINITY);
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        most = lanes_max(lanes_load(x + i), most);
    if (i < count)
        most = lanes_max(lanes_load_part(x + i, count - i, -INFINITY), most);
    return lanes_tree_max(most);
}

static float exp_shifted(const float *x, size_t count, float shift, float *y)
{
    LANES sum = lanes_set(0), shifts = lanes_set(shift);
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        LANES e = lanes_exp(lanes_sub(lanes_load(x + i), shifts));
        if (y != NULL)
            lanes_store(y + i, e);
        sum = lanes_add(sum, e);
    }
    if (i < count) {
        LANES rest = lanes_load_part(x + i, count - i, -INFINITY);
        LANES e = lanes_exp(lanes_sub(rest, shifts));
        if (y != NULL)
            lanes_store_part(y + i, e, count - i);
        sum = lanes_add(sum, e);
    }
    return lanes_tree_sum(sum);
}

const struct tensor_kernels TENSOR_TABLE = {
    .name = TENSOR_TABLE_NAME,
    .token_tile = TENSOR_TOKEN_TILE,
    .product_f32 = product_f32,
    .product_f16 = product_f16,
    .product_bf16 = product_bf16,
    .product_q8_0 = product_q8_0,
    .product_q4_0 = product_q4_0,
    .quantize = quantize,
    .dot = dot,
    .axpy = axpy,
    .silu_mul = silu_mul,
    .max = max,
    .exp_shifted = exp_shifted,
};

#endif
