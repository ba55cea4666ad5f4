/* Tiles of bfloat16 weights and activations. */
#ifndef TENSOR_PRODUCTS_FORM_BF16_H
#define TENSOR_PRODUCTS_FORM_BF16_H

#include "tensor_products_common.h"

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
