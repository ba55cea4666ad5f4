#include "tensor_type.h"
#include "base_assert.h"
#include "base_bytes.h"

struct type_info {
    size_t block_columns;
    size_t block_bytes;
};

static struct type_info info_of(uint32_t type)
{
    switch (type) {
    case TENSOR_F32:
        return (struct type_info){1, 4};
    case TENSOR_F16:
    case TENSOR_BF16:
        return (struct type_info){1, 2};
    case TENSOR_Q4_0:
        return (struct type_info){32, 18};
    case TENSOR_Q8_0:
        return (struct type_info){32, 34};
    default:
        return (struct type_info){0, 0};
    }
}

bool tensor_type_supported(uint32_t type)
{
    return info_of(type).block_columns != 0;
}

size_t tensor_row_bytes(uint32_t type, size_t column_count)
{
    struct type_info info = info_of(type);

    if (info.block_columns == 0 || column_count % info.block_columns != 0)
        return 0;
    size_t block_count = column_count / info.block_columns;
    return block_count > SIZE_MAX / info.block_bytes ? 0 : block_count * info.block_bytes;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

float tensor_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 31u;
    uint32_t mantissa = h & 0x3ffu;

    if (exponent == 31) /* infinity, or NaN with its payload */
        return float_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24, exact in f32 */
        float magnitude = (float)mantissa * 0x1p-24f;
        return float_of_bits(sign | bits_of_float(magnitude));
    }
    return float_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t tensor_f32_to_f16(float f)
{
    uint32_t bits = bits_of_float(f);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u) /* NaN: keep the top of the payload, stay a NaN */
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below 2^-14: a multiple of 2^-24, rounded by this addition */
        float shifted = float_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of_float(shifted) - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | ((magnitude - (112u << 23) + 0xfffu + odd) >> 13));
}

float tensor_bf16_to_f32(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

static void dequantize_q8_0(const uint8_t *block, float *y)
{
    float scale = tensor_f16_to_f32(base_load_u16(block));

    for (size_t i = 0; i < 32; i++)
        y[i] = (float)(int8_t)block[2 + i] * scale;
}

static void dequantize_q4_0(const uint8_t *block, float *y)
{
    float scale = tensor_f16_to_f32(base_load_u16(block));

    for (size_t i = 0; i < 16; i++) {
        y[i] = (float)((block[2 + i] & 15) - 8) * scale;
        y[i + 16] = (float)((block[2 + i] >> 4) - 8) * scale;
    }
}

void tensor_dequantize_row(uint32_t type, const void *row, size_t column_count, float *y)
{
    struct type_info info = info_of(type);
    const uint8_t *block = row;

    base_assert(info.block_columns != 0 && column_count % info.block_columns == 0);
    for (size_t i = 0; i < column_count; i += info.block_columns, block += info.block_bytes) {
        switch (type) {
        case TENSOR_F32:
            y[i] = base_load_f32(block);
            break;
        case TENSOR_F16:
            y[i] = tensor_f16_to_f32(base_load_u16(block));
            break;
        case TENSOR_BF16:
            y[i] = tensor_bf16_to_f32(base_load_u16(block));
            break;
        case TENSOR_Q4_0:
            dequantize_q4_0(block, y + i);
            break;
        default:
            dequantize_q8_0(block, y + i);
            break;
        }
    }
}
