#include "tensor_type.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(tensor_type, sizes_of_rows)
{
    cr_assert_eq(tensor_row_bytes(TENSOR_F32, 7), 28);
    cr_assert_eq(tensor_row_bytes(TENSOR_F16, 7), 14);
    cr_assert_eq(tensor_row_bytes(TENSOR_BF16, 7), 14);
    cr_assert_eq(tensor_row_bytes(TENSOR_Q8_0, 64), 68);
    cr_assert_eq(tensor_row_bytes(TENSOR_Q4_0, 64), 36);
    cr_assert_eq(tensor_row_bytes(TENSOR_Q8_0, 33), 0);
    cr_assert_eq(tensor_row_bytes(12, 256), 0); /* Q4_K: known elsewhere, no kernels here */
    cr_assert_eq(tensor_row_bytes(TENSOR_F32, SIZE_MAX / 2), 0);
    cr_assert(tensor_type_supported(TENSOR_BF16) && tensor_type_supported(TENSOR_Q4_0));
    cr_assert(!tensor_type_supported(12) && !tensor_type_supported(UINT32_MAX));
}

Test(tensor_type, small_blocks_by_hand)
{
    uint8_t q8_0[34] = {0x00, 0x38, 0x80, 0x7f, 0x01, 0xff}; /* scale 0.5; -128 127 1 -1 0... */
    uint8_t q4_0[18] = {0x00, 0xc0, 0x80, 0xf1};             /* scale -2; nibbles 0|8, 1|15 */
    float y[32];

    tensor_dequantize_row(TENSOR_Q8_0, q8_0, 32, y);
    cr_assert(y[0] == -64 && y[1] == 63.5f && y[2] == 0.5f && y[3] == -0.5f && y[31] == 0);
    memset(q4_0 + 4, 0x88, 14);
    tensor_dequantize_row(TENSOR_Q4_0, q4_0, 32, y);
    cr_assert(y[0] == 16 && y[16] == 0 && y[1] == 14 && y[17] == -14);
    cr_assert(y[2] == 0 && y[31] == 0);
}

Test(tensor_type, rows_need_no_alignment)
{
    uint8_t bytes[9] = {0xff, 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0};
    float y[2];

    tensor_dequantize_row(TENSOR_F32, bytes + 1, 2, y);
    cr_assert(y[0] == 1 && y[1] == -2);
    tensor_dequantize_row(TENSOR_BF16, bytes + 3, 1, y);
    cr_assert_eq(y[0], 1);
}

Test(tensor_type, every_half_is_right_and_goes_back)
{
    for (uint32_t h = 0; h <= 0xffff; h++) {
        uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3ff;
        float f = tensor_f16_to_f32((uint16_t)h);

        cr_assert_eq(signbit(f) != 0, h >> 15);
        if (exponent == 31 && mantissa != 0) {
            uint16_t back = tensor_f32_to_f16(f);
            cr_assert(isnan(f) && (back & 0x7c00) == 0x7c00 && (back & 0x3ff) != 0);
            continue;
        }
        double magnitude = exponent == 31  ? INFINITY
                           : exponent == 0 ? ldexp(mantissa, -24)
                                           : ldexp(1024 + mantissa, (int)exponent - 25);
        cr_assert_eq(fabs((double)f), magnitude);
        cr_assert_eq(tensor_f32_to_f16(f), h);
    }
}

/* Between two neighbouring halves everything goes to the nearer, the middle to the even one. */
Test(tensor_type, rounding_to_half_is_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = tensor_f16_to_f32((uint16_t)h);
        float high = h == 0x7bff ? 65536.0f : tensor_f16_to_f32((uint16_t)(h + 1));
        float middle = low + (high - low) / 2;
        uint32_t even = h % 2 == 0 ? h : h + 1;

        cr_assert_eq(tensor_f32_to_f16(middle), even);
        cr_assert_eq(tensor_f32_to_f16(-middle), even | 0x8000);
        cr_assert_eq(tensor_f32_to_f16(nextafterf(middle, 0)), h);
        cr_assert_eq(tensor_f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
    }
    cr_assert_eq(tensor_f32_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(tensor_f32_to_f16(-3e38f), 0xfc00);
    cr_assert_eq(tensor_f32_to_f16(1e-30f), 0);
}

Test(tensor_type, bfloat_is_the_top_half_of_a_float)
{
    cr_assert_eq(tensor_bf16_to_f32(0x3fc0), 1.5f);
    cr_assert_eq(tensor_bf16_to_f32(0xff80), -INFINITY);
    cr_assert(isnan(tensor_bf16_to_f32(0x7fc0)));
}

static void *read_file(const char *name, size_t *ret_bytes)
{
    char path[4096];
    char *data = malloc(1 << 20);

    (void)snprintf(path, sizeof(path), "%s/%s", QUANT_VECTORS, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        free(data);
        return NULL;
    }
    *ret_bytes = fread(data, 1, 1 << 20, file);
    (void)fclose(file);
    return data;
}

static void compare_vectors(const char *name, uint32_t type)
{
    char blocks_name[64], floats_name[64];
    size_t block_bytes = 0, float_bytes = 0;

    (void)snprintf(blocks_name, sizeof(blocks_name), "%s.blocks", name);
    (void)snprintf(floats_name, sizeof(floats_name), "%s.f32", name);
    uint8_t *blocks = read_file(blocks_name, &block_bytes);
    if (blocks == NULL)
        cr_skip_test("no quant-vectors here");
    float *expected = read_file(floats_name, &float_bytes);
    cr_assert_not_null(expected);
    size_t count = float_bytes / sizeof(float);
    cr_assert(count != 0 && tensor_row_bytes(type, count) == block_bytes);
    float *y = malloc(float_bytes);
    tensor_dequantize_row(type, blocks, count, y);
    cr_assert_eq(memcmp(y, expected, float_bytes), 0, "%s", name);
    free(blocks);
    free(expected);
    free(y);
}

Test(tensor_type, vectors_of_f16)
{
    compare_vectors("F16", TENSOR_F16);
}

Test(tensor_type, vectors_of_bf16)
{
    compare_vectors("BF16", TENSOR_BF16);
}

Test(tensor_type, vectors_of_q8_0)
{
    compare_vectors("Q8_0", TENSOR_Q8_0);
}

Test(tensor_type, vectors_of_q4_0)
{
    compare_vectors("Q4_0", TENSOR_Q4_0);
}
