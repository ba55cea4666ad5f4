/* Rows of every weight type to floats: the definition of what a file's bytes stand for. */
#include "base_assert.h"
#include "base_bytes.h"
#include "tensor_type.h"

const int8_t tensor_iq4_values[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t tensor_mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float tensor_e8m0_half(uint8_t exponent)
{
    uint32_t bits = exponent < 2 ? 0x00200000u << exponent : (uint32_t)(exponent - 1) << 23;

    return base_load_f32(&bits);
}

void tensor_k4_scale(const uint8_t *bytes, size_t j, uint8_t *ret_scale, uint8_t *ret_min)
{
    if (j < 4) {
        *ret_scale = bytes[j] & 63;
        *ret_min = bytes[j + 4] & 63;
        return;
    }
    *ret_scale = (uint8_t)((bytes[j + 4] & 15) | bytes[j - 4] >> 6 << 4);
    *ret_min = (uint8_t)(bytes[j + 4] >> 4 | bytes[j] >> 6 << 4);
}

void tensor_q3_k_scales(const uint8_t *bytes, uint8_t scales[16])
{
    for (size_t i = 0; i < 8; i++) {
        uint8_t low = bytes[i], top = bytes[8 + i % 4];
        scales[i] = (uint8_t)((low & 15) | (top >> (i / 4 * 2) & 3) << 4);
        scales[i + 8] = (uint8_t)(low >> 4 | (top >> (i / 4 * 2 + 4) & 3) << 4);
    }
}

static float load_f16(const uint8_t *p)
{
    return tensor_f16_to_f32(base_load_u16(p));
}

static void dequantize_f32(const uint8_t *block, float *y)
{
    *y = base_load_f32(block);
}

static void dequantize_f16(const uint8_t *block, float *y)
{
    *y = load_f16(block);
}

static void dequantize_bf16(const uint8_t *block, float *y)
{
    *y = tensor_bf16_to_f32(base_load_u16(block));
}

static void dequantize_q8_0(const uint8_t *block, float *y)
{
    float scale = load_f16(block);

    for (size_t i = 0; i < 32; i++)
        y[i] = (float)(int8_t)block[2 + i] * scale;
}

static void dequantize_q4_0(const uint8_t *block, float *y)
{
    float scale = load_f16(block);

    for (size_t i = 0; i < 16; i++) {
        y[i] = (float)((block[2 + i] & 15) - 8) * scale;
        y[i + 16] = (float)((block[2 + i] >> 4) - 8) * scale;
    }
}

static void dequantize_q4_1(const uint8_t *block, float *y)
{
    float scale = load_f16(block), min = load_f16(block + 2);

    for (size_t i = 0; i < 16; i++) {
        y[i] = (float)(block[4 + i] & 15) * scale + min;
        y[i + 16] = (float)(block[4 + i] >> 4) * scale + min;
    }
}

static void dequantize_q5_0(const uint8_t *block, float *y)
{
    float scale = load_f16(block);
    uint32_t high = base_load_u32(block + 2);

    for (size_t i = 0; i < 16; i++) {
        int low_code = (int)((block[6 + i] & 15u) | (high >> i & 1) << 4);
        int high_code = (int)(block[6 + i] >> 4 | (high >> (i + 16) & 1) << 4);
        y[i] = (float)(low_code - 16) * scale;
        y[i + 16] = (float)(high_code - 16) * scale;
    }
}

static void dequantize_q5_1(const uint8_t *block, float *y)
{
    float scale = load_f16(block), min = load_f16(block + 2);
    uint32_t high = base_load_u32(block + 4);

    for (size_t i = 0; i < 16; i++) {
        y[i] = (float)((block[8 + i] & 15u) | (high >> i & 1) << 4) * scale + min;
        y[i + 16] = (float)(block[8 + i] >> 4 | (high >> (i + 16) & 1) << 4) * scale + min;
    }
}

/* Column 128 n + 32 j + i is field j of byte 32 n + i: sixteen columns to a scale. */
static void dequantize_q2_k(const uint8_t *block, float *y)
{
    const uint8_t *q = block + 16;
    float scale = load_f16(block + 80), min = load_f16(block + 82);

    for (size_t i = 0; i < 256; i++) {
        uint8_t both = block[i / 16];
        int code = q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
        y[i] = scale * (float)(both & 15) * (float)code - min * (float)(both >> 4);
    }
}

static void dequantize_q3_k(const uint8_t *block, float *y)
{
    const uint8_t *q = block + 32;
    float scale = load_f16(block + 108);
    uint8_t scales[16];

    tensor_q3_k_scales(block + 96, scales);
    for (size_t i = 0; i < 256; i++) {
        int code = q[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
        int high = block[i % 32] >> (i / 32) & 1;
        y[i] = scale * (float)(scales[i / 16] - 32) * (float)(code - (high ? 0 : 4));
    }
}

static void dequantize_q4_k(const uint8_t *block, float *y)
{
    float scale = load_f16(block), min = load_f16(block + 2);

    for (size_t j = 0; j < 8; j++) {
        const uint8_t *q = block + 16 + j / 2 * 32;
        uint8_t s, m;
        tensor_k4_scale(block + 4, j, &s, &m);
        float factor = scale * (float)s, offset = min * (float)m;
        for (size_t i = 0; i < 32; i++)
            y[32 * j + i] = factor * (float)(q[i] >> (j % 2 * 4) & 15) - offset;
    }
}

static void dequantize_q5_k(const uint8_t *block, float *y)
{
    float scale = load_f16(block), min = load_f16(block + 2);

    for (size_t j = 0; j < 8; j++) {
        const uint8_t *q = block + 48 + j / 2 * 32, *high = block + 16;
        uint8_t s, m;
        tensor_k4_scale(block + 4, j, &s, &m);
        float factor = scale * (float)s, offset = min * (float)m;
        for (size_t i = 0; i < 32; i++) {
            int code = (q[i] >> (j % 2 * 4) & 15) | (high[i] >> j & 1) << 4;
            y[32 * j + i] = factor * (float)code - offset;
        }
    }
}

static void dequantize_q6_k(const uint8_t *block, float *y)
{
    const uint8_t *low = block, *high = block + 128;
    float scale = load_f16(block + 208);

    for (size_t i = 0; i < 256; i++) {
        size_t half = i / 128, part = i / 32 % 4, l = i % 32;
        int code = low[half * 64 + part % 2 * 32 + l] >> (part / 2 * 4) & 15;
        code |= (high[half * 32 + l] >> (part * 2) & 3) << 4;
        y[i] = scale * (float)(int8_t)block[192 + i / 16] * (float)(code - 32);
    }
}

static void dequantize_iq4_nl(const uint8_t *block, float *y)
{
    float scale = load_f16(block);

    for (size_t i = 0; i < 16; i++) {
        y[i] = scale * (float)tensor_iq4_values[block[2 + i] & 15];
        y[i + 16] = scale * (float)tensor_iq4_values[block[2 + i] >> 4];
    }
}

static void dequantize_iq4_xs(const uint8_t *block, float *y)
{
    float scale = load_f16(block);
    uint32_t scales_high = base_load_u16(block + 2);

    for (size_t j = 0; j < 8; j++) {
        const uint8_t *q = block + 8 + 16 * j;
        int s = (int)((block[4 + j / 2] >> (j % 2 * 4) & 15u) | (scales_high >> (2 * j) & 3) << 4);
        float factor = scale * (float)(s - 32);
        for (size_t i = 0; i < 16; i++) {
            y[32 * j + i] = factor * (float)tensor_iq4_values[q[i] & 15];
            y[32 * j + 16 + i] = factor * (float)tensor_iq4_values[q[i] >> 4];
        }
    }
}

static void dequantize_mxfp4(const uint8_t *block, float *y)
{
    float scale = tensor_e8m0_half(block[0]);

    for (size_t i = 0; i < 16; i++) {
        y[i] = scale * (float)tensor_mxfp4_values[block[1 + i] & 15];
        y[i + 16] = scale * (float)tensor_mxfp4_values[block[1 + i] >> 4];
    }
}

void tensor_dequantize_row(uint32_t type, const void *row, size_t column_count, float *y)
{
    typedef void dequantize_fn(const uint8_t *block, float *y);
    static dequantize_fn *const functions[] = {
        [TENSOR_F32] = dequantize_f32,
        [TENSOR_F16] = dequantize_f16,
        [TENSOR_Q4_0] = dequantize_q4_0,
        [TENSOR_Q4_1] = dequantize_q4_1,
        [TENSOR_Q5_0] = dequantize_q5_0,
        [TENSOR_Q5_1] = dequantize_q5_1,
        [TENSOR_Q8_0] = dequantize_q8_0,
        [TENSOR_Q2_K] = dequantize_q2_k,
        [TENSOR_Q3_K] = dequantize_q3_k,
        [TENSOR_Q4_K] = dequantize_q4_k,
        [TENSOR_Q5_K] = dequantize_q5_k,
        [TENSOR_Q6_K] = dequantize_q6_k,
        [TENSOR_IQ4_NL] = dequantize_iq4_nl,
        [TENSOR_IQ4_XS] = dequantize_iq4_xs,
        [TENSOR_BF16] = dequantize_bf16,
        [TENSOR_MXFP4] = dequantize_mxfp4,
    };
    size_t block_columns = tensor_block_columns(type);
    const uint8_t *block = row;

    base_assert(block_columns != 0 && column_count % block_columns == 0);
    size_t block_bytes = tensor_row_bytes(type, block_columns);
    for (size_t i = 0; i < column_count; i += block_columns, block += block_bytes)
        functions[type](block, y + i);
}
