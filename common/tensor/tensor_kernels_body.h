/*
 * All inner loops, written once over sixteen lanes and compiled once per instruction set, so
 * that the order of operations cannot differ between them. A file that has its own lanes
 * defines TENSOR_TABLE and the functions of tensor_kernels_lanes.h first.
 */
#ifndef TENSOR_KERNELS_BODY_H
#define TENSOR_KERNELS_BODY_H

#include "tensor_attention_kernels.h"
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
#define UNROLLED _Pragma("GCC unroll 32")
#endif

/* What a block of largest magnitude amax (as bits) is multiplied by, and what it then stands for:
 * below 2^-120 the division would overflow and the block counts as zero. With an infinity or a
 * NaN inside the scale is NaN, so that every output of the token is. */
struct block_scale {
    float scale, inverse;
};

ALWAYS_INLINE struct block_scale scale_of_block(uint32_t most)
{
    float amax;

    memcpy(&amax, &most, sizeof(amax));
    if (most >= 0x7f800000u)
        return (struct block_scale){NAN, 0};
    if (amax >= 0x1p-120f)
        return (struct block_scale){amax / 127.0f, 127.0f / amax};
    return (struct block_scale){0, 0};
}

/* Sixteen values times inverse to the nearest even; returns their sum. Not finite: all zero. */
ALWAYS_INLINE int32_t quantize_16(const float *x, struct block_scale scale, int8_t *q)
{
    LANES values = isnan(scale.scale) ? lanes_set(0) : lanes_load(x);
    return lanes_store_s8(q, lanes_mul(values, lanes_set(scale.inverse)));
}

static void quantize_32(
    const float *x, size_t column_count, size_t token_stride, const struct tensor_form_32 *form)
{
    for (size_t b = 0; b < column_count / 32; b++, x += 32) {
        size_t item = b * token_stride;
        int8_t *q = form->q + item * 32;
        struct block_scale scale =
            scale_of_block(lanes_abs_max_bits(lanes_load(x), lanes_load(x + 16)));
        int32_t sum = quantize_16(x, scale, q);
        sum += quantize_16(x + 16, scale, q + 16);
        form->scale[item] = scale.scale;
        form->scaled_sum[item] = scale.scale * (float)sum;
        form->minus_sum[item] = -sum;
    }
}

ALWAYS_INLINE int32_t two_sums(int32_t low, int32_t high)
{
    return (int32_t)((uint32_t)(low & 0xffff) | (uint32_t)high << 16);
}

static void quantize_256(
    const float *x, size_t column_count, size_t token_stride, const struct tensor_form_256 *form)
{
    for (size_t s = 0; s < column_count / 256; s++, x += 256) {
        uint32_t most = 0;
        for (size_t i = 0; i < 256; i += 32) {
            uint32_t bits = lanes_abs_max_bits(lanes_load(x + i), lanes_load(x + i + 16));
            most = bits > most ? bits : most;
        }
        struct block_scale scale = scale_of_block(most);
        int32_t total = 0, previous = 0;
        for (size_t b = 0; b < 8; b++) {
            size_t block = s * 8 + b;
            int8_t *q = form->q + block / 2 * token_stride * 64 + block % 2 * 32;
            int32_t low = quantize_16(x + b * 32, scale, q);
            int32_t high = quantize_16(x + b * 32 + 16, scale, q + 16);
            form->start_32[2 * block * token_stride] = -32 * low;
            form->start_32[(2 * block + 1) * token_stride] = -32 * high;
            form->sums_16[block * token_stride] = two_sums(low, high);
            if (b % 2 == 1)
                form->sums_32[block / 2 * token_stride] = two_sums(previous, low + high);
            previous = low + high;
            total += previous;
        }
        form->scale[s * token_stride] = scale.scale;
        form->minus_sum_256[s * token_stride] = -total;
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

static void add(const float *x, size_t count, float *y)
{
    size_t i = 0;

    for (; i + 16 <= count; i += 16)
        lanes_store(y + i, lanes_add(lanes_load(y + i), lanes_load(x + i)));
    if (i < count) {
        LANES y_rest = lanes_load_part(y + i, count - i, 0);
        lanes_store_part(y + i, lanes_add(y_rest, lanes_load_part(x + i, count - i, 0)), count - i);
    }
}

static void scale(const float *x, float factor, const float *weight, size_t count, float *y)
{
    LANES factors = lanes_set(factor);
    size_t i = 0;

    for (; i + 16 <= count; i += 16) {
        LANES scaled = lanes_mul(lanes_load(x + i), factors);
        lanes_store(y + i, weight == NULL ? scaled : lanes_mul(scaled, lanes_load(weight + i)));
    }
    if (i < count) {
        LANES scaled = lanes_mul(lanes_load_part(x + i, count - i, 0), factors);
        if (weight != NULL)
            scaled = lanes_mul(scaled, lanes_load_part(weight + i, count - i, 0));
        lanes_store_part(y + i, scaled, count - i);
    }
}

/* x * cosine + other * sine: a product and a sum each, as the sine of a pair's first has its sign. */
ALWAYS_INLINE LANES lanes_turn(LANES x, LANES cosine, LANES other, LANES sine)
{
    return lanes_add(lanes_mul(x, cosine), lanes_mul(other, sine));
}

static void rope_halves(float *x, size_t half, const float *cosine, const float *sine)
{
    size_t i = 0;

    for (; i + 16 <= half; i += 16) {
        LANES low = lanes_load(x + i), high = lanes_load(x + half + i);
        lanes_store(x + i, lanes_turn(low, lanes_load(cosine + i), high, lanes_load(sine + i)));
        lanes_store(x + half + i,
            lanes_turn(high, lanes_load(cosine + half + i), low, lanes_load(sine + half + i)));
    }
    if (i < half) {
        size_t rest = half - i;
        LANES low = lanes_load_part(x + i, rest, 0);
        LANES high = lanes_load_part(x + half + i, rest, 0);
        LANES c = lanes_load_part(cosine + i, rest, 0), s = lanes_load_part(sine + i, rest, 0);
        lanes_store_part(x + i, lanes_turn(low, c, high, s), rest);
        c = lanes_load_part(cosine + half + i, rest, 0);
        s = lanes_load_part(sine + half + i, rest, 0);
        lanes_store_part(x + half + i, lanes_turn(high, c, low, s), rest);
    }
}

static void rope(float *x, size_t rotary_dim, const float *cos_sin, bool adjacent)
{
    const float *sine = cos_sin + rotary_dim;
    size_t i = 0;

    if (!adjacent) {
        rope_halves(x, rotary_dim / 2, cos_sin, sine);
        return;
    }
    for (; i + 16 <= rotary_dim; i += 16) {
        LANES a = lanes_load(x + i), b = lanes_swap_pairs(a);
        lanes_store(x + i, lanes_turn(a, lanes_load(cos_sin + i), b, lanes_load(sine + i)));
    }
    if (i < rotary_dim) {
        size_t rest = rotary_dim - i;
        LANES a = lanes_load_part(x + i, rest, 0), b = lanes_swap_pairs(a);
        LANES c = lanes_load_part(cos_sin + i, rest, 0), s = lanes_load_part(sine + i, rest, 0);
        lanes_store_part(x + i, lanes_turn(a, c, b, s), rest);
    }
}

#define LANES_EXP_LOW -87.3f /* below, the result would be no normal number, and is 0 */

/*
 * exp(x) = 2^n * exp(r), n the nearest integer to x / ln 2, r = x - n ln 2 in two parts. Adding
 * 1.5 * 2^23 rounds to an integer and leaves it in the low bits. The polynomial for
 * (exp(r) - 1 - r) / r^2 on |r| <= ln 2 / 2 is a least squares fit at Chebyshev nodes, weighted
 * by its share in the result; relative error of the whole below 2^-33 before rounding.
 */
struct lanes_power {
    LANES factor, exponent, bits; /* factor * 2^exponent, and the exponent in the low 9 bits */
};

ALWAYS_INLINE struct lanes_power lanes_power_of(LANES x)
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
    return (struct lanes_power){lanes_add(p, lanes_set(1)), n, t};
}

ALWAYS_INLINE LANES lanes_exp(LANES x)
{
    struct lanes_power e = lanes_power_of(x);

    return lanes_in_range(x, lanes_scale(e.factor, e.bits), LANES_EXP_LOW, 0x1.62e42ep6f);
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

/* What other tables of these lanes have too. */
#define TENSOR_LANE_FUNCTIONS                                                                      \
    .quantize_32 = quantize_32, .quantize_256 = quantize_256, .dot = dot, .axpy = axpy,            \
    .add = add, .scale = scale, .rope = rope, .silu_mul = silu_mul, .max = max,                    \
    .exp_shifted = exp_shifted

const struct tensor_kernels TENSOR_TABLE = {
    .name = TENSOR_TABLE_NAME,
    .attention = &TENSOR_ATTENTION,
    .token_tile = TENSOR_TOKEN_TILE,
    .products = TENSOR_PRODUCTS,
    .product_bf16_exact = TENSOR_PRODUCT_BF16_EXACT,
    .peaks = &TENSOR_PEAKS,
    TENSOR_LANE_FUNCTIONS,
};

#endif
