/* Inputs and comparisons that the tests of this module share. */
#ifndef TENSOR_SAMPLE_H
#define TENSOR_SAMPLE_H

#include "tensor_type.h"
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t sample_types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_Q8_0,
    TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K,
    TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_NL, TENSOR_IQ4_XS, TENSOR_MXFP4};
#define SAMPLE_TYPE_COUNT (sizeof(sample_types) / sizeof(sample_types[0]))

/* Names for tensor_kernels_use(), the reference first. A processor may lack some. */
static const char *const sample_isas[] = {"scalar", "avx2", "avxvnni", "avx512", "amx"};
#define SAMPLE_ISA_COUNT (sizeof(sample_isas) / sizeof(sample_isas[0]))

/* xorshift64; *state must not be 0. */
static inline uint32_t sample_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* Uniform in [-1, 1). */
static inline float sample_float(uint64_t *state)
{
    return (float)(int32_t)sample_bits(state) * 0x1p-31f;
}

/* Where the f16 scales of a block are: count of them from an offset. */
static inline void sample_scales(uint32_t type, size_t *ret_offset, size_t *ret_count)
{
    size_t end = tensor_row_bytes(type, tensor_block_columns(type));

    *ret_count = type == TENSOR_MXFP4 ? 0 : 1;
    *ret_offset = 0;
    if (type == TENSOR_Q4_1 || type == TENSOR_Q5_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K)
        *ret_count = 2;
    if (type == TENSOR_Q2_K) {
        *ret_count = 2;
        *ret_offset = end - 4;
    }
    if (type == TENSOR_Q3_K || type == TENSOR_Q6_K)
        *ret_offset = end - 2;
}

static inline void sample_blocks(uint64_t *state, uint32_t type, size_t column_count, uint8_t *row)
{
    size_t bytes = tensor_row_bytes(type, column_count), offset, count;
    size_t block = tensor_row_bytes(type, tensor_block_columns(type));

    for (size_t i = 0; i < bytes; i++)
        row[i] = (uint8_t)sample_bits(state);
    sample_scales(type, &offset, &count);
    for (size_t i = 0; i < bytes; i += block) {
        for (size_t j = 0; j < count; j++) {
            uint16_t scale = tensor_f32_to_f16(sample_float(state) * 0.02f);
            memcpy(row + i + offset + 2 * j, &scale, 2);
        }
        if (type == TENSOR_MXFP4)
            row[i] = (uint8_t)(118 + row[i] % 6);
    }
}

/* A row as a file holds it, of sensible numbers. */
static inline void sample_row(uint64_t *state, uint32_t type, size_t column_count, uint8_t *row)
{
    if (tensor_block_columns(type) > 1) {
        sample_blocks(state, type, column_count, row);
        return;
    }
    for (size_t i = 0; i < column_count; i++) {
        float value = sample_float(state);
        uint32_t bits;
        memcpy(&bits, &value, 4);
        uint16_t half = type == TENSOR_F16 ? tensor_f32_to_f16(value) : (uint16_t)(bits >> 16);
        if (type == TENSOR_F32)
            memcpy(row + 4 * i, &value, 4);
        else
            memcpy(row + 2 * i, &half, 2);
    }
}

/* All NaNs alike, then bit for bit. */
static inline bool sample_same_bits(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool both_nan = isnan(a[i]) && isnan(b[i]);
        if (!both_nan && memcmp(&a[i], &b[i], sizeof(float)) != 0)
            return false;
    }
    return true;
}

#endif
