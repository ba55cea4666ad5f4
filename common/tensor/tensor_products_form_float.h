/* Tiles of plain weights, and of bfloat16 ones, with plain activations. */
#ifndef TENSOR_PRODUCTS_FORM_FLOAT_H
#define TENSOR_PRODUCTS_FORM_FLOAT_H

#include "tensor_products_common.h"

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
        fetch_activations(
            x + tile->token_stride * TENSOR_FLOAT_COLUMNS, token_count * TENSOR_FLOAT_COLUMNS * 4);
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
