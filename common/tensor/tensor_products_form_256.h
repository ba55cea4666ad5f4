/* Tiles of types with scales per 256 columns and integer scales within. */
#ifndef TENSOR_PRODUCTS_FORM_256_H
#define TENSOR_PRODUCTS_FORM_256_H

#include "tensor_products_common.h"

#define HAS_MIN(type) ((type) == TENSOR_Q4_K || (type) == TENSOR_Q5_K || (type) == TENSOR_Q2_K)
/* Sixteen columns to a scale rather than 32. */
#define IS_FINE(type) ((type) == TENSOR_Q6_K || (type) == TENSOR_Q2_K || (type) == TENSOR_Q3_K)
/* Codes are multiplied by their scales when they are loaded: the products fit into bytes. Worth it
 * for several tokens. */
#define IS_SCALED(type, tokens)                                                                    \
    (TENSOR_SCALES_CODES && (tokens) >= 4 && ((type) == TENSOR_Q2_K || (type) == TENSOR_Q3_K))
/* Sums of all blocks go into one, for their scales were multiplied before. */
#define IS_TOTAL(type, tokens) (TENSOR_SCALES_SUMS || IS_SCALED(type, tokens))
/* Offsets of codes are taken out as if they were mins, in proportion to the scales. */
#define HAS_OFFSET_MIN(type)                                                                       \
    (TENSOR_SCALES_SUMS && ((type) == TENSOR_Q6_K || (type) == TENSOR_Q3_K))

/* Scales and mins of one superblock of a row group. */
struct scales_256 {
    INTS scale[16]; /* of 32 or 16 columns each */
    INTS min[8];    /* two int16 to a lane; the scales themselves if HAS_OFFSET_MIN */
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

ALWAYS_INLINE INTS two_int16(INTS low, INTS high)
{
    return ints_or(ints_and(low, 0xffff), ints_shift_left(high, 16));
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
    if (HAS_OFFSET_MIN(type)) {
        UNROLLED
        for (size_t i = 0; i < 8; i++)
            s->min[i] = two_int16(s->scale[2 * i], s->scale[2 * i + 1]);
    }
    if (TENSOR_SCALES_SUMS) {
        const size_t scale_count = IS_FINE(type) ? 16 : 8;
        UNROLLED
        for (size_t i = 0; i < scale_count; i++)
            s->scale[i] = two_int16(s->scale[i], s->scale[i]);
    }
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
    const size_t half_count = IS_FINE(type) ? 2 : 1, step_count = IS_FINE(type) ? 4 : 8;
    const int8_t *q = tile->form_256.q + block / 2 * stride * 64 + block % 2 * 32;
    const int32_t *start = tile->form_256.start_32 + block * stride * 2;

    if (block % 2 == 0)
        fetch_activations(q + stride * 64, token_count * 64);

    UNROLLED
    for (size_t half = 0; half < half_count; half++) {
        SUMS count[TILE_SUMS];
        UNROLLED
        for (size_t n = 0; n < sum_count; n++)
            count[n] = sums_start(IS_TOTAL(type, token_count)
                                      ? total[n]
                                      : start_of_256(start + n % token_count, stride, half, type));
        UNROLLED
        for (size_t i = 0; i < step_count; i++) {
            const size_t step = half * step_count + i;
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                CODES codes = codes_load(w + g * tile->group_bytes, step, type);
                INTS scale = scales[g].scale[block % 8 * half_count + half];
                if (IS_SCALED(type, token_count))
                    codes = codes_scale(codes, scale, type == TENSOR_Q3_K);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    count[n] = sums_dot(count[n], codes, q + t * 64 + step * 4, scale,
                        CODE_BITS(type), step_count - 1 - i);
                }
            }
        }
        UNROLLED
        for (size_t n = 0; n < sum_count; n++) {
            INTS scale = scales[n / token_count].scale[block % 8 * half_count + half];
            INTS sum = sums_end(count[n]);
            total[n] = IS_TOTAL(type, token_count) ? sum : ints_add(total[n], ints_mul(sum, scale));
        }
    }
}

/* sum of mins times sums of activations, of one token */
ALWAYS_INLINE INTS mins_256(const struct tensor_tile *tile, size_t superblock,
    const struct scales_256 *scales, size_t token, const uint32_t type)
{
    const size_t pair_count = IS_FINE(type) ? 8 : 4;
    const int32_t *pairs = IS_FINE(type) ? tile->form_256.sums_16 : tile->form_256.sums_32;
    INTS sum = ints_zero();

    pairs += superblock * pair_count * tile->token_stride + token;
    UNROLLED
    for (size_t i = 0; i < pair_count; i++)
        sum = ints_dot_pairs(sum, scales->min[i], pairs + i * tile->token_stride);
    return sum;
}

ALWAYS_INLINE INTS minus_offset(INTS scaled_sum, const uint32_t type)
{
    static const int32_t minus_32 = -32, minus_4 = -4;
    return ints_mul(scaled_sum, ints_set(type == TENSOR_Q6_K ? &minus_32 : &minus_4));
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
            const size_t t = n % token_count;
            total[n] = ints_zero();
            if (HAS_OFFSET_MIN(type))
                total[n] = minus_offset(
                    mins_256(tile, superblock, &scales[n / token_count], t, type), type);
            else if (IS_SCALED(type, token_count) && type == TENSOR_Q3_K)
                total[n] =
                    ints_start_scaled(tile->form_256.minus_sum_256 + superblock * stride + t);
        }
        for (size_t i = 0; i < 8; i++) {
            const uint8_t *p = w + header_bytes + i * quant_bytes;
            UNROLLED
            for (size_t n = 0; n < sum_count; n++)
                ints_put_away(&total[n]);
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
