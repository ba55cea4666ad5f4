/* Tiles of types with a scale per 32 columns. */
#ifndef TENSOR_PRODUCTS_FORM_32_H
#define TENSOR_PRODUCTS_FORM_32_H

#include "tensor_products_common.h"

#define HAS_MIN(type) ((type) == TENSOR_Q4_1 || (type) == TENSOR_Q5_1)

ALWAYS_INLINE INTS start_of_32(const int32_t *minus_sum, const uint32_t type)
{
    if (HAS_MIN(type))
        return ints_zero();
    if (CODE_BITS(type) == 8)
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
    static const int32_t one_pair = 0x00010001;
    const INTS one = ints_set(&one_pair);
    FLOATS sum[TILE_SUMS];

    UNROLLED
    for (size_t n = 0; n < sum_count; n++)
        sum[n] = floats_zero();
    for (size_t block = tile->column_count / TENSOR_BLOCK_COLUMNS; block != 0; block--) {
        SUMS count[TILE_SUMS];
        UNROLLED
        for (size_t n = 0; n < sum_count; n++)
            count[n] = sums_start(start_of_32(minus_sum + n % token_count, type));
        UNROLLED
        for (size_t step = 0; step < 8; step++) {
            UNROLLED
            for (size_t g = 0; g < group_count; g++) {
                CODES codes = codes_load(w + g * group_bytes + scale_bytes, step, type);
                UNROLLED
                for (size_t t = 0; t < token_count; t++) {
                    size_t n = g * token_count + t;
                    count[n] = sums_dot(
                        count[n], codes, q + t * 32 + step * 4, one, CODE_BITS(type), 7 - step);
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
                sum[n] = floats_fma(floats_of_ints(sums_end(count[n])), both, sum[n]);
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
