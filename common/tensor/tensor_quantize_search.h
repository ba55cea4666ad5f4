/* Scales of least squares, for tensor_quantize*.c only. Blocks have at most 256 elements. */
#ifndef TENSOR_QUANTIZE_SEARCH_H
#define TENSOR_QUANTIZE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_SUPER 256u /* elements of a block of the K types */

/* What codes stand for: all integers low..high, or the values of a table. */
struct tensor_grid {
    int low, high;         /* smallest and largest value */
    const int8_t *nearest; /* NULL, or [256]: the table's value nearest to i - 128 */
};

/* The value of the grid nearest to v. */
int tensor_grid_value(const struct tensor_grid *grid, float v);

/* How much the error of each element counts: more where it is large. w [n] */
void tensor_error_weights(const float *x, size_t n, float *w);

/* d so that sum w (x - d v)^2 is small, v [n] of the grid. 0 when all x are 0. */
float tensor_search_scale(
    const struct tensor_grid *grid, const float *x, const float *w, size_t n, int8_t *v);

/* d and m so that sum w (x - d q - m)^2 is small, q [n] within 0..high; not_above_zero: m <= 0. */
float tensor_search_minimum(const float *x, const float *w, size_t n, int high, bool not_above_zero,
    uint8_t *q, float *ret_minimum);

/* A block of sub-blocks with small integer scales: x = scale * s[j] * v. s within low..-low-1. */
struct tensor_signed_super {
    uint16_t scale; /* f16 */
    int8_t s[16];
    int8_t v[TENSOR_SUPER];
};
bool tensor_search_signed(const struct tensor_grid *grid, const float *x, size_t sub_count,
    int scale_low, struct tensor_signed_super *ret_super);

/* Likewise with minimums: x = scale * s[j] * q - minimum * m[j]. s and m within 0..scale_high. */
struct tensor_minimum_super {
    uint16_t scale, minimum; /* f16 */
    uint8_t s[16], m[16];
    uint8_t q[TENSOR_SUPER];
};
bool tensor_search_minimums(const float *x, size_t sub_count, int high, int scale_high,
    struct tensor_minimum_super *ret_super);

#endif
