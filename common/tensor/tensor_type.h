/* Weight types and their blocks. Ids are those of GGUF. Layouts: ggml's ggml-common.h. */
#ifndef TENSOR_TYPE_H
#define TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2, /* 32 elements: f16 scale, 16 bytes of nibbles; value (q - 8) * scale */
    TENSOR_Q8_0 = 8, /* 32 elements: f16 scale, 32 int8; value q * scale */
    TENSOR_BF16 = 30,
};

/* Whether kernels exist for a type. */
bool tensor_type_supported(uint32_t type);

/* Bytes of a row of column_count elements; 0 when the type is unknown or the row is no whole
 * number of blocks. */
size_t tensor_row_bytes(uint32_t type, size_t column_count);

/* y[i] = the float that element i of a row stands for.
 *   row  one row as stored in a file, any alignment
 *   y    [column_count]  f32 */
void tensor_dequantize_row(uint32_t type, const void *row, size_t column_count, float *y);

/* IEEE half and bfloat16, exact to f32; from f32 round to nearest even. */
float tensor_f16_to_f32(uint16_t h);
uint16_t tensor_f32_to_f16(float f);
float tensor_bf16_to_f32(uint16_t h);

#endif
