/*
 * Floats to the blocks of every weight type, for converters. F16, BF16 and Q8_0 round to nearest
 * (Q8_0 as ggml does: scale amax/127, ties away from zero); the others search the scale, or scale
 * and minimum, of least weighted squares. One row in, one row out; rows are independent, so
 * threads may share a tensor.
 */
#ifndef TENSOR_QUANTIZE_H
#define TENSOR_QUANTIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes the row that stands for x.
 *   x    [column_count]  f32, a multiple of tensor_block_columns(type)
 *   row  tensor_row_bytes(type, column_count) bytes, any alignment
 * The same input gives the same bytes on every machine. False when an element is no finite number
 * or too large for the type; row then holds anything.
 */
bool tensor_quantize_row(uint32_t type, const float *x, size_t column_count, void *row);

#endif
