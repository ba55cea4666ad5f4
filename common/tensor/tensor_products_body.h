/*
 * The products of quantised weights, written once over sixteen lanes and compiled once per
 * instruction set; a file defines the lanes (tensor_products_lanes.h names them) and TENSOR_PART
 * first. All constants of a type are compile-time constants here: every tile is a function of its
 * own in which each (group, token) has its sums in registers.
 */
#ifndef TENSOR_PRODUCTS_BODY_H
#define TENSOR_PRODUCTS_BODY_H

#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_type.h"
#include <stdalign.h>
#ifndef TENSOR_PART
#define TENSOR_PART 1
#endif
#ifndef FLOATS
#include "tensor_products_lanes.h"
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

/* Row groups and sums (groups times tokens) of the largest tile. */
#define TENSOR_GROUP_TILE (TENSOR_TOKEN_TILE > 4 ? 4 : TENSOR_TOKEN_TILE > 1 ? 2 : 1)
#define TENSOR_AHEAD_HINT 2
#define TILE_SUMS         (TENSOR_TOKEN_TILE > 4 ? 12 : 4)

/* How the codes of 32 columns lie, behind the scales: tensor_kernels.h. */
#define IS_NIBBLES(type)                                                                           \
    ((type) == TENSOR_Q4_0 || (type) == TENSOR_Q4_1 || (type) == TENSOR_Q4_K ||                    \
        HAS_FIFTH_BIT(type) || (type) == TENSOR_Q6_K || IS_TABLE(type))
#define HAS_FIFTH_BIT(type)                                                                        \
    ((type) == TENSOR_Q5_0 || (type) == TENSOR_Q5_1 || (type) == TENSOR_Q5_K)
#define IS_TABLE(type)                                                                             \
    ((type) == TENSOR_IQ4_NL || (type) == TENSOR_IQ4_XS || (type) == TENSOR_MXFP4)
#define IS_EIGHT_BITS(type) ((type) == TENSOR_Q8_0 || IS_TABLE(type))

ALWAYS_INLINE void store_rows(const struct tensor_tile *tile, size_t group, size_t token, FLOATS f)
{
    size_t row = group * TENSOR_ROW_GROUP;
    float *y = tile->y + token * tile->y_stride + row;

    if (tile->row_count - row >= TENSOR_ROW_GROUP) {
        floats_store(y, f);
    } else {
        float rest[TENSOR_ROW_GROUP];
        floats_store(rest, f);
        for (size_t i = 0; i < tile->row_count - row; i++)
            y[i] = rest[i];
    }
}

/* Steps 2 * pair and 2 * pair + 1 of the eight of a block of 32 columns: one byte per row and
 * column, four columns to a step. */
ALWAYS_INLINE void codes_load(
    const uint8_t *q, const size_t pair, const uint32_t type, CODES *a, CODES *b)
{
    if (type == TENSOR_Q8_0) {
        *a = codes_signed(codes_load_bytes(q + 128 * pair));
        *b = codes_signed(codes_load_bytes(q + 128 * pair + 64));
        return;
    }
    if (type == TENSOR_Q2_K || type == TENSOR_Q3_K) {
        CODES two = codes_load_bytes(q + pair / 2 * 64);
        *a = codes_field(two, (int)(pair % 2 * 4), 3);
        *b = codes_field(two, (int)(pair % 2 * 4 + 2), 3);
        if (type == TENSOR_Q3_K) {
            CODES high = codes_load_bytes(q + 128);
            *a = codes_merge(*a, high, (int)(2 * pair) - 2, 4);
            *b = codes_merge(*b, high, (int)(2 * pair) - 1, 4);
        }
        return;
    }
    CODES both = codes_load_bytes(q + 64 * pair);
    *a = codes_field(both, 0, 15);
    *b = codes_field(both, 4, 15);
    if (HAS_FIFTH_BIT(type)) {
        CODES high = codes_load_bytes(q + 256);
        *a = codes_merge(*a, high, (int)(2 * pair) - 4, 16);
        *b = codes_merge(*b, high, (int)(2 * pair) - 3, 16);
    }
    if (type == TENSOR_Q6_K) {
        CODES high = codes_load_bytes(q + 256 + pair / 2 * 64);
        *a = codes_merge(*a, high, (int)(pair % 2 * 4) - 4, 48);
        *b = codes_merge(*b, high, (int)(pair % 2 * 4) - 2, 48);
    }
    if (IS_TABLE(type)) {
        *a = codes_lookup(*a, type == TENSOR_MXFP4);
        *b = codes_lookup(*b, type == TENSOR_MXFP4);
    }
}

/* Weights that are needed later, into the second cache. A tile fetches those of every
 * ahead_every-th block: the tiles of a panel share the next one. */
ALWAYS_INLINE void fetch_ahead(
    const struct tensor_tile *tile, size_t block, const uint8_t *p, const size_t bytes)
{
    if (block % tile->ahead_every == tile->ahead_phase) {
        UNROLLED
        for (size_t i = 0; i < bytes; i += 64)
            __builtin_prefetch(p + tile->ahead_bytes + i, 0, TENSOR_AHEAD_HINT);
    }
}

#if TENSOR_PART == 32
#define HAS_MIN(type) ((type) == TENSOR_Q4_1 || (type) == TENSOR_Q5_1)

ALWAYS_INLINE INTS start_of_32(const int32_t *minus_sum, const uint32_t type)
{
    if (HAS_MIN(type))
        return ints_zero();
    if (IS_EIGHT_BITS(type))
        return ints_offset_128(ints_shift_left(ints_set(minus_sum), 7));
    return ints_shift_left(ints_set(minus_sum), type == TENSOR_Q4_0 ? 3 : 4);
}

/* A tile of a type with scales per 32 columns: group_count row groups times token_count tokens. */
ALWAYS_INLINE void tile_32(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t scale_bytes = type == TENSOR_MXFP4 ? 16 : HAS_MIN(type) ? 64 : 32;
    const size_t block_bytes = TENSOR_BLOCK_BYTES_32(type);
    const size_t sum_count = group_count * token_count;
    const size_t group_bytes = tile->group_bytes, stride = tile->token_stride;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const int8_t *q = tile->form_32.q;
    const float *scale = tile->form_32.scale, *scaled_sum = tile->form_32.scaled_sum;
    const int32_t *minus_sum = tile->form_32.minus_sum;
    FLOATS sum[TILE_SUMS];

    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = floats_zero();
    for (size_t block = tile->column_count / TENSOR_BLOCK_COLUMNS; block != 0; block--) {
        INTS count[TILE_SUMS];
        UNROLLED
        for (size_t n = 0; n < sum_count; n++)
            count[n] = start_of_32(minus_sum + n % token_count, type);
        UNROLLED
        for (size_t pair = 0; pair < 4; pair++) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                CODES a, b;
                codes_load(w + g * group_bytes + scale_bytes, pair, type, &a, &b);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    count[n] = ints_dot(count[n], a, b, q + t * 32 + pair * 8, IS_EIGHT_BITS(type));
                }
            }
        }
        UNROLLED
        for (size_t g = 0; g < group_count; g++) {
            const uint8_t *p = w + g * group_bytes;
            FLOATS w_scale = type == TENSOR_MXFP4 ? floats_load_e8m0(p) : floats_load_f16(p);
            UNROLLED
            for (size_t t = 0; t < token_count; t++) {
                size_t n = g * token_count + t;
                FLOATS both = floats_mul(w_scale, floats_set(scale + t));
                sum[n] = floats_fma(floats_of_ints(count[n]), both, sum[n]);
                if (HAS_MIN(type))
                    sum[n] =
                        floats_fma(floats_load_f16(p + 32), floats_set(scaled_sum + t), sum[n]);
            }
            fetch_ahead(tile, block, p, block_bytes);
        }
        w += block_bytes;
        q += stride * TENSOR_BLOCK_COLUMNS;
        scale += stride;
        scaled_sum += stride;
        minus_sum += stride;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}
#endif

#if TENSOR_PART == 256
#define HAS_MIN(type) ((type) == TENSOR_Q4_K || (type) == TENSOR_Q5_K || (type) == TENSOR_Q2_K)
/* Sixteen columns to a scale rather than 32. */
#define IS_FINE(type) ((type) == TENSOR_Q6_K || (type) == TENSOR_Q2_K || (type) == TENSOR_Q3_K)
/* Codes are multiplied by their scales when they are loaded: the products fit into bytes. Worth it
 * for several tokens. */
#define IS_SCALED(type, tokens)                                                                    \
    (TENSOR_SCALES_CODES && (tokens) >= 4 && ((type) == TENSOR_Q2_K || (type) == TENSOR_Q3_K))

/* Scales and mins of one superblock of a row group. */
struct scales_256 {
    INTS scale[16]; /* of 32 or 16 columns each */
    INTS min[8];    /* two int16 to a lane */
};

ALWAYS_INLINE INTS scale_offset(INTS low, INTS high)
{
    static const int32_t minus_32 = -32;
    return ints_add(ints_or(low, ints_shift_left(high, 4)), ints_set(&minus_32));
}

ALWAYS_INLINE void scales_load_k4(const uint8_t *p, struct scales_256 *s)
{
    UNROLLED
    for (size_t i = 0; i < 4; i++) {
        INTS two = ints_load_u16(p + 32 * i), high = ints_load_u8(p + 128 + 16 * i);
        s->scale[2 * i] = ints_and(two, 63);
        s->scale[2 * i + 1] = ints_and(ints_shift_right(two, 8), 63);
        INTS low_a = ints_and(ints_shift_right(two, 6), 3), low_b = ints_shift_right(two, 14);
        INTS a = ints_or(low_a, ints_shift_left(ints_and(high, 15), 2));
        INTS b = ints_or(low_b, ints_shift_left(ints_shift_right(high, 4), 2));
        s->min[i] = ints_or(a, ints_shift_left(b, 16));
    }
}

ALWAYS_INLINE void scales_load_q6_k(const uint8_t *p, struct scales_256 *s)
{
    UNROLLED
    for (size_t i = 0; i < 16; i++)
        s->scale[i] = ints_load_s8(p + 16 * i);
}

ALWAYS_INLINE void scales_load_q2_k(const uint8_t *p, struct scales_256 *s)
{
    UNROLLED
    for (size_t i = 0; i < 8; i++) {
        INTS a = ints_load_u8(p + 32 * i), b = ints_load_u8(p + 32 * i + 16);
        s->scale[2 * i] = ints_and(a, 15);
        s->scale[2 * i + 1] = ints_and(b, 15);
        s->min[i] = ints_or(ints_shift_right(a, 4), ints_shift_left(ints_shift_right(b, 4), 16));
    }
}

/* Q3_K, IQ4_XS: a byte of two low halves, a byte of four high quarters. */
ALWAYS_INLINE void scales_load_6_bits(
    const uint8_t *p, const size_t pair_count, struct scales_256 *s)
{
    UNROLLED
    for (size_t i = 0; i < pair_count; i++) {
        INTS low = ints_load_u8(p + 16 * i);
        INTS high = ints_load_u8(p + pair_count * 16 + i / 2 * 16);
        high = ints_shift_right(high, (int)(i % 2 * 4));
        s->scale[2 * i] = scale_offset(ints_and(low, 15), ints_and(high, 3));
        s->scale[2 * i + 1] =
            scale_offset(ints_shift_right(low, 4), ints_and(ints_shift_right(high, 2), 3));
    }
}

ALWAYS_INLINE void scales_load(const uint8_t *p, const uint32_t type, struct scales_256 *s)
{
    if (type == TENSOR_Q6_K)
        scales_load_q6_k(p, s);
    else if (type == TENSOR_Q2_K)
        scales_load_q2_k(p, s);
    else if (type == TENSOR_Q3_K)
        scales_load_6_bits(p, 8, s);
    else if (type == TENSOR_IQ4_XS)
        scales_load_6_bits(p, 4, s);
    else
        scales_load_k4(p, s);
}

/* Where the sum of a block of 32, or 16, columns starts: the offset of its codes is 32, 4, 128. */
ALWAYS_INLINE INTS start_of_256(
    const int32_t *start, size_t stride, size_t half, const uint32_t type)
{
    if (type == TENSOR_Q6_K)
        return ints_set(start + half * stride);
    if (type == TENSOR_Q3_K)
        return ints_shift_right_signed(ints_set(start + half * stride), 3);
    if (type == TENSOR_IQ4_XS)
        return ints_offset_128(
            ints_shift_left(ints_add(ints_set(start), ints_set(start + stride)), 2));
    return ints_zero();
}

/* Adds the scaled integer dot products of 32 columns. */
ALWAYS_INLINE void block_256(const struct tensor_tile *tile, const uint8_t *w, size_t block,
    const struct scales_256 *scales, const size_t group_count, const size_t token_count,
    const uint32_t type, INTS *total)
{
    const size_t sum_count = group_count * token_count, stride = tile->token_stride;
    const size_t half_count = IS_FINE(type) ? 2 : 1, pair_count = IS_FINE(type) ? 2 : 4;
    const int8_t *q = tile->form_256.q + block * stride * TENSOR_BLOCK_COLUMNS;
    const int32_t *start = tile->form_256.start_32 + block * stride * 2;

    UNROLLED
    for (size_t half = 0; half < half_count; half++) {
        INTS count[TILE_SUMS];
        if (!IS_SCALED(type, token_count)) {
            UNROLLED
            for (size_t n = 0; n < sum_count; n++)
                count[n] = start_of_256(start + n % token_count, stride, half, type);
        }
        UNROLLED
        for (size_t i = 0; i < pair_count; i++) {
            const size_t pair = half * pair_count + i;
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                CODES a, b;
                codes_load(w + g * tile->group_bytes, pair, type, &a, &b);
                INTS scale = scales[g].scale[block % 8 * half_count + half];
                if (IS_SCALED(type, token_count)) {
                    a = codes_scale(a, scale, type == TENSOR_Q3_K);
                    b = codes_scale(b, scale, type == TENSOR_Q3_K);
                }
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    INTS *sum = IS_SCALED(type, token_count) ? total : count;
                    size_t n = g * token_count + t;
                    sum[n] = ints_dot(sum[n], a, b, q + t * 32 + pair * 8, IS_EIGHT_BITS(type));
                }
            }
        }
        if (!IS_SCALED(type, token_count)) {
            UNROLLED
            for (size_t n = 0; n < sum_count; n++) {
                INTS scale = scales[n / token_count].scale[block % 8 * half_count + half];
                total[n] = ints_add(total[n], ints_mul(count[n], scale));
            }
        }
    }
}

/* sum of mins times sums of activations, of one token */
ALWAYS_INLINE INTS mins_256(const struct tensor_tile *tile, size_t superblock,
    const struct scales_256 *scales, size_t token, const uint32_t type)
{
    const size_t pair_count = type == TENSOR_Q2_K ? 8 : 4;
    const int32_t *pairs = type == TENSOR_Q2_K ? tile->form_256.sums_16 : tile->form_256.sums_32;
    INTS sum = ints_zero();

    pairs += superblock * pair_count * tile->token_stride + token;
    UNROLLED
    for (size_t i = 0; i < pair_count; i++)
        sum = ints_dot_pairs(sum, scales->min[i], pairs + i * tile->token_stride);
    return sum;
}

/* As tile_32 for a type with scales per 256 columns and finer integer ones. */
ALWAYS_INLINE void tile_256(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t factor_bytes = HAS_MIN(type) ? 64 : 32; /* one or two f16 a row */
    const size_t header_bytes = factor_bytes + TENSOR_SCALE_BYTES_256(type);
    const size_t quant_bytes = TENSOR_QUANT_BYTES_256(type);
    const size_t sum_count = group_count * token_count;
    const size_t group_bytes = tile->group_bytes, stride = tile->token_stride;
    const size_t superblock_count = tile->column_count / 256;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    alignas(64) float sum[TILE_SUMS][16];

    for (size_t n = 0; n < sum_count; n++)
        floats_store(sum[n], floats_zero());
    for (size_t superblock = 0; superblock < superblock_count; superblock++) {
        struct scales_256 scales[TENSOR_GROUP_TILE];
        INTS total[TILE_SUMS];
        UNROLLED
        for (size_t g = 0; g < group_count; g++) {
            scales_load(w + g * group_bytes + factor_bytes, type, &scales[g]);
            fetch_ahead(tile, superblock, w + g * group_bytes, header_bytes);
        }
        UNROLLED
        for (size_t n = 0; n < sum_count; n++) {
            total[n] = ints_zero();
            if (IS_SCALED(type, token_count) && type == TENSOR_Q3_K)
                total[n] = ints_start_scaled(
                    tile->form_256.minus_sum_256 + superblock * stride + n % token_count);
        }
        for (size_t i = 0; i < 8; i++) {
            const uint8_t *p = w + header_bytes + i * quant_bytes;
            block_256(tile, p, superblock * 8 + i, scales, group_count, token_count, type, total);
            UNROLLED
            for (size_t g = 0; g < group_count; g++)
                fetch_ahead(tile, i, p + g * group_bytes, quant_bytes);
        }
        UNROLLED
        for (size_t n = 0; n < sum_count; n++) {
            const size_t g = n / token_count, t = n % token_count;
            const uint8_t *p = w + g * group_bytes;
            const float *scale = tile->form_256.scale + superblock * stride + t;
            FLOATS product;
            if (HAS_MIN(type)) {
                INTS min = mins_256(tile, superblock, &scales[g], t, type);
                product = floats_mul(floats_of_ints(min), floats_load_f16(p + 32));
                product = floats_fms(floats_of_ints(total[n]), floats_load_f16(p), product);
            } else {
                product = floats_mul(floats_of_ints(total[n]), floats_load_f16(p));
            }
            product = floats_fma(product, floats_set(scale), floats_load(sum[n]));
            floats_store(sum[n], product);
        }
        w += header_bytes + 8 * quant_bytes;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, floats_load(sum[n]));
}
#endif

#if TENSOR_PART == 1
ALWAYS_INLINE FLOATS weights_load(const uint8_t *p, const uint32_t type)
{
    if (type == TENSOR_F16)
        return floats_load_f16(p);
    return floats_load((const float *)(const void *)p);
}

/* As tile_32 for plain weights. */
ALWAYS_INLINE void tile_float(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t step_bytes = TENSOR_ROW_GROUP * (type == TENSOR_F32 ? 4 : 2);
    const size_t sum_count = group_count * token_count;
    const size_t group_bytes = tile->group_bytes;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const float *x = tile->form_float;
    FLOATS sum[TILE_SUMS];

    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = floats_zero();
    for (size_t left = tile->column_count; left != 0;) {
        size_t column_count = left < TENSOR_FLOAT_COLUMNS ? left : TENSOR_FLOAT_COLUMNS;
        UNROLLED
        for (size_t g = 0; g < group_count; g++)
            fetch_ahead(tile, left / TENSOR_FLOAT_COLUMNS, w + g * group_bytes,
                step_bytes * TENSOR_FLOAT_COLUMNS);
        for (size_t i = 0; i < column_count; i++, w += step_bytes) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                FLOATS weights = weights_load(w + g * group_bytes, type);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    const float *value = x + t * TENSOR_FLOAT_COLUMNS + i;
                    sum[n] = floats_fma(weights, floats_set(value), sum[n]);
                }
            }
        }
        x += tile->token_stride * TENSOR_FLOAT_COLUMNS;
        left -= column_count;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}
#endif

#if TENSOR_PART == 16
/* As tile_32 for bfloat16 weights and activations, two columns at a time. */
ALWAYS_INLINE void tile_bf16(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t sum_count = group_count * token_count, group_bytes = tile->group_bytes;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const uint32_t *x = tile->form_bf16;
    FLOATS sum[TILE_SUMS];

    (void)type;
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = floats_zero();
    for (size_t left = (tile->column_count + 1) / 2; left != 0;) {
        size_t pair_count = left < TENSOR_BF16_PAIRS ? left : TENSOR_BF16_PAIRS;
        UNROLLED
        for (size_t g = 0; g < group_count; g++)
            fetch_ahead(
                tile, left / TENSOR_BF16_PAIRS, w + g * group_bytes, 64 * TENSOR_BF16_PAIRS);
        for (size_t i = 0; i < pair_count; i++, w += 64) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                CODES weights = codes_load_bytes(w + g * group_bytes);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    sum[n] = floats_dot_bf16(sum[n], weights, x + t * TENSOR_BF16_PAIRS + i);
                }
            }
        }
        x += tile->token_stride * TENSOR_BF16_PAIRS;
        left -= pair_count;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}
#endif

#if TENSOR_PART == 1
/* bfloat16 weights, two columns to a word, with plain activations. */
ALWAYS_INLINE void tile_bf16_exact(const struct tensor_tile *tile, size_t group_first,
    const size_t group_count, const size_t token_count, const uint32_t type)
{
    const size_t sum_count = group_count * token_count, group_bytes = tile->group_bytes;
    const uint8_t *w = tile->groups + group_first * group_bytes;
    const float *x = tile->form_float;
    FLOATS sum[TILE_SUMS];

    (void)type;
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = floats_zero();
    for (size_t left = tile->column_count; left != 0;) {
        size_t column_count = left < TENSOR_FLOAT_COLUMNS ? left : TENSOR_FLOAT_COLUMNS;
        for (size_t i = 0; i < column_count; i++) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                FLOATS weights = floats_load_bf16(w + g * group_bytes + i / 2 * 64, i % 2 != 0);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    const float *value = x + t * TENSOR_FLOAT_COLUMNS + i;
                    sum[n] = floats_fma(weights, floats_set(value), sum[n]);
                }
            }
        }
        w += TENSOR_FLOAT_COLUMNS / 2 * 64;
        x += tile->token_stride * TENSOR_FLOAT_COLUMNS;
        left -= column_count;
    }
    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        store_rows(tile, group_first + n / token_count, n % token_count, sum[n]);
}
#endif

#if TENSOR_PART == 1
#ifndef TENSOR_PEAK_BF16
#define TENSOR_PEAK_BF16 NULL
#endif

/* As many independent chains (unequal, or the compiler would run one) as a tile has, and nothing else: what the units can do. */
static int32_t peak_seeds[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static double peak_int8(uint32_t steps)
{
    static int8_t q[TILE_SUMS * 8] = {1, -1, 2, -2, 3, -3, 4, -4};
    static const uint8_t codes[64] = {1, 2, 3};
    CODES a = codes_load_bytes(codes);
    INTS sum[TILE_SUMS];
    volatile float sink;
    float out[16];

    UNROLLED
    for (size_t n = 0; n < TILE_SUMS; n++)
        sum[n] = ints_set(&peak_seeds[n]);
    for (uint32_t i = 0; i < steps; i++) {
        __asm__ volatile("" ::: "memory"); /* the activations may have changed */
        UNROLLED
        for (size_t n = 0; n < TILE_SUMS; n++)
            sum[n] = ints_dot(sum[n], a, a, q + 8 * n, false);
    }
    UNROLLED
    for (size_t n = 1; n < TILE_SUMS; n++)
        sum[0] = ints_add(sum[0], sum[n]);
    floats_store(out, floats_of_ints(sum[0]));
    sink = out[0];
    (void)sink;
    return 2.0 * 128 * TILE_SUMS * steps;
}

static double peak_f32(uint32_t steps)
{
    const float one = 1, small = 0x1p-30f;
    FLOATS a = floats_set(&one), b = floats_set(&small), sum[TILE_SUMS];
    volatile float sink;
    float out[16];

    UNROLLED
    for (size_t n = 0; n < TILE_SUMS; n++)
        sum[n] = floats_of_ints(ints_set(&peak_seeds[n]));
    for (uint32_t i = 0; i < steps; i++) {
        UNROLLED
        for (size_t n = 0; n < TILE_SUMS; n++)
            sum[n] = floats_fma(a, b, sum[n]);
    }
    UNROLLED
    for (size_t n = 1; n < TILE_SUMS; n++)
        sum[0] = floats_fma(a, sum[n], sum[0]);
    floats_store(out, sum[0]);
    sink = out[0];
    (void)sink;
    return 2.0 * 16 * TILE_SUMS * steps;
}

const struct tensor_peaks TENSOR_PEAKS = {
    .int8 = peak_int8,
    .bf16 = TENSOR_PEAK_BF16,
    .f32 = peak_f32,
};
#endif

/*
 * One function per weight type and tile shape. Every sum is one chain of dependent operations, so
 * few tokens go over several groups at a time: enough chains to fill the latency, and not more
 * than there are registers for. Left-over groups go one at a time.
 */
typedef void tile_fn(const struct tensor_tile *tile, size_t group_first);

struct tile_shape {
    size_t group_count;
    tile_fn *wide;   /* group_count groups at a time */
    tile_fn *narrow; /* one group */
};

#if TENSOR_TOKEN_TILE >= 12
#define EACH_WIDE(X, type, call)                                                                   \
    X(type, 4, 1, call)                                                                            \
    X(type, 4, 2, call)                                                                            \
    X(type, 4, 3, call)                                                                            \
    X(type, 2, 4, call)                                                                            \
    X(type, 2, 5, call)                                                                            \
    X(type, 2, 6, call)
#define EACH_NARROW(X, type, call)                                                                 \
    X(type, 1, 1, call)                                                                            \
    X(type, 1, 2, call)                                                                            \
    X(type, 1, 3, call)                                                                            \
    X(type, 1, 4, call)                                                                            \
    X(type, 1, 5, call)                                                                            \
    X(type, 1, 6, call)                                                                            \
    X(type, 1, 7, call)                                                                            \
    X(type, 1, 8, call)                                                                            \
    X(type, 1, 9, call)                                                                            \
    X(type, 1, 10, call)                                                                           \
    X(type, 1, 11, call)                                                                           \
    X(type, 1, 12, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {4, tile_##type##_4_1, tile_##type##_1_1}, {4, tile_##type##_4_2, tile_##type##_1_2},      \
            {4, tile_##type##_4_3, tile_##type##_1_3}, {2, tile_##type##_2_4, tile_##type##_1_4},  \
            {2, tile_##type##_2_5, tile_##type##_1_5}, {2, tile_##type##_2_6, tile_##type##_1_6},  \
            {1, NULL, tile_##type##_1_7}, {1, NULL, tile_##type##_1_8},                            \
            {1, NULL, tile_##type##_1_9}, {1, NULL, tile_##type##_1_10},                           \
            {1, NULL, tile_##type##_1_11}, {1, NULL, tile_##type##_1_12},                          \
    }
#elif TENSOR_TOKEN_TILE >= 4
#define EACH_WIDE(X, type, call) X(type, 2, 1, call) X(type, 2, 2, call)
#define EACH_NARROW(X, type, call)                                                                 \
    X(type, 1, 1, call) X(type, 1, 2, call) X(type, 1, 3, call) X(type, 1, 4, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {2, tile_##type##_2_1, tile_##type##_1_1}, {2, tile_##type##_2_2, tile_##type##_1_2},      \
            {1, NULL, tile_##type##_1_3}, {1, NULL, tile_##type##_1_4},                            \
    }
#else
#define EACH_WIDE(X, type, call)
#define EACH_NARROW(X, type, call) X(type, 1, 1, call)
#define SHAPES(type)                                                                               \
    {                                                                                              \
        {                                                                                          \
            1, NULL, tile_##type##_1_1                                                             \
        }                                                                                          \
    }
#endif

#define TILE_FUNCTION(type, groups, tokens, call)                                                  \
    static void tile_##type##_##groups##_##tokens(const struct tensor_tile *tile, size_t group)    \
    {                                                                                              \
        call(tile, group, groups, tokens, TENSOR_##type);                                          \
    }

static void run_tiles(const struct tensor_tile *tile, const struct tile_shape *shape)
{
    size_t group = 0;

    for (; shape->group_count > 1 && tile->group_count - group >= shape->group_count;
         group += shape->group_count)
        shape->wide(tile, group);
    for (; group < tile->group_count; group++)
        shape->narrow(tile, group);
}

#define PRODUCT(type, call)                                                                        \
    EACH_WIDE(TILE_FUNCTION, type, call)                                                           \
    EACH_NARROW(TILE_FUNCTION, type, call)                                                         \
    void TENSOR_PRODUCT_NAME(type)(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct tile_shape by_tokens[] = SHAPES(type);                                 \
        run_tiles(tile, &by_tokens[tile->token_count - 1]);                                        \
    }

#if TENSOR_PART == 32
PRODUCT(Q8_0, tile_32)
PRODUCT(Q4_0, tile_32)
PRODUCT(Q4_1, tile_32)
PRODUCT(Q5_0, tile_32)
PRODUCT(Q5_1, tile_32)
PRODUCT(IQ4_NL, tile_32)
PRODUCT(MXFP4, tile_32)
#elif TENSOR_PART == 256
PRODUCT(Q2_K, tile_256)
PRODUCT(Q3_K, tile_256)
PRODUCT(Q4_K, tile_256)
PRODUCT(Q5_K, tile_256)
PRODUCT(Q6_K, tile_256)
PRODUCT(IQ4_XS, tile_256)
#elif TENSOR_PART == 16
EACH_WIDE(TILE_FUNCTION, BF16, tile_bf16)
EACH_NARROW(TILE_FUNCTION, BF16, tile_bf16)
void TENSOR_PRODUCT_BF16(const struct tensor_tile *tile)
{
    static const struct tile_shape by_tokens[] = SHAPES(BF16);
    unsigned int before = flush_subnormals_begin();
    run_tiles(tile, &by_tokens[tile->token_count - 1]);
    flush_subnormals_end(before);
}
#else
PRODUCT(F32, tile_float)
PRODUCT(F16, tile_float)
EACH_WIDE(TILE_FUNCTION, BF16, tile_bf16_exact)
EACH_NARROW(TILE_FUNCTION, BF16, tile_bf16_exact)
void TENSOR_PRODUCT_NAME(BF16_exact)(const struct tensor_tile *tile)
{
    static const struct tile_shape by_tokens[] = SHAPES(BF16);
    run_tiles(tile, &by_tokens[tile->token_count - 1]);
}
#endif

#endif
