/* Weight types and their blocks. Ids are those of GGUF. Layouts: ggml's ggml-common.h. */
#ifndef TENSOR_TYPE_H
#define TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Elements and bytes of a block beside each; f16 scales unless said otherwise. */
enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,    /*  32,  18: (q - 8) * scale, 4 bits */
    TENSOR_Q4_1 = 3,    /*  32,  20: q * scale + min, 4 bits */
    TENSOR_Q5_0 = 6,    /*  32,  22: (q - 16) * scale, 5 bits */
    TENSOR_Q5_1 = 7,    /*  32,  24: q * scale + min, 5 bits */
    TENSOR_Q8_0 = 8,    /*  32,  34: q * scale, signed 8 bits */
    TENSOR_Q2_K = 10,   /* 256,  84: q * scale * s[16] - min * m[16], 2 bits, s and m 4 bits */
    TENSOR_Q3_K = 11,   /* 256, 110: (q - 4) * scale * (s[16] - 32), 3 bits, s 6 bits */
    TENSOR_Q4_K = 12,   /* 256, 144: q * scale * s[8] - min * m[8], 4 bits, s and m 6 bits */
    TENSOR_Q5_K = 13,   /* 256, 176: as Q4_K with 5 bits */
    TENSOR_Q6_K = 14,   /* 256, 210: (q - 32) * scale * s[16], 6 bits, s signed 8 bits */
    TENSOR_IQ4_NL = 20, /*  32,  18: table[q] * scale, 4 bits */
    TENSOR_IQ4_XS = 23, /* 256, 136: table[q] * scale * (s[8] - 32), 4 bits, s 6 bits */
    TENSOR_BF16 = 30,
    TENSOR_MXFP4 = 39, /*  32,  17: e2m1 times a power of two */
};

/* Whether kernels exist for a type. */
bool tensor_type_supported(uint32_t type);

/* Elements of a block, 1 for float types; 0 when the type is unknown. */
size_t tensor_block_columns(uint32_t type);

/* Bytes of a row of column_count elements; 0 when the type is unknown or the row is no whole
 * number of blocks. */
size_t tensor_row_bytes(uint32_t type, size_t column_count);

/* y[i] = the float that element i of a row stands for.
 *   row  one row as stored in a file, any alignment
 *   y    [column_count]  f32 */
void tensor_dequantize_row(uint32_t type, const void *row, size_t column_count, float *y);

/* What the codes of IQ4_NL and IQ4_XS stand for, and those of MXFP4, doubled. [16] */
extern const int8_t tensor_iq4_values[16];
extern const int8_t tensor_mxfp4_values[16];

/* Scale of an MXFP4 block for doubled values: 2^(exponent - 128). */
float tensor_e8m0_half(uint8_t exponent);

/* Scale and min j of a Q4_K or Q5_K block out of its twelve bytes; the sixteen scales of a Q3_K
 * block out of its twelve, 32 too high. */
void tensor_k4_scale(const uint8_t *bytes, size_t j, uint8_t *ret_scale, uint8_t *ret_min);
void tensor_q3_k_scales(const uint8_t *bytes, uint8_t scales[16]);

/* IEEE half and bfloat16, exact to f32; from f32 round to nearest even. */
float tensor_f16_to_f32(uint16_t h);
uint16_t tensor_f32_to_f16(float f);
float tensor_bf16_to_f32(uint16_t h);

#endif
