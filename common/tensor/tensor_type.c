#include "tensor_type.h"
#include "base_bytes.h"

struct type_info {
    size_t block_columns;
    size_t block_bytes;
};

static struct type_info info_of(uint32_t type)
{
    static const struct type_info infos[] = {
        [TENSOR_F32] = {1, 4},
        [TENSOR_F16] = {1, 2},
        [TENSOR_Q4_0] = {32, 18},
        [TENSOR_Q4_1] = {32, 20},
        [TENSOR_Q5_0] = {32, 22},
        [TENSOR_Q5_1] = {32, 24},
        [TENSOR_Q8_0] = {32, 34},
        [TENSOR_Q2_K] = {256, 84},
        [TENSOR_Q3_K] = {256, 110},
        [TENSOR_Q4_K] = {256, 144},
        [TENSOR_Q5_K] = {256, 176},
        [TENSOR_Q6_K] = {256, 210},
        [TENSOR_IQ4_NL] = {32, 18},
        [TENSOR_IQ4_XS] = {256, 136},
        [TENSOR_BF16] = {1, 2},
        [TENSOR_MXFP4] = {32, 17},
    };
    return type < sizeof(infos) / sizeof(infos[0]) ? infos[type] : (struct type_info){0, 0};
}

bool tensor_type_supported(uint32_t type)
{
    return info_of(type).block_columns != 0;
}

size_t tensor_block_columns(uint32_t type)
{
    return info_of(type).block_columns;
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
