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
    cr_assert_eq(tensor_row_bytes(TENSOR_Q6_K, 512), 420);
    cr_assert_eq(tensor_row_bytes(TENSOR_Q6_K, 128), 0);
    cr_assert_eq(tensor_row_bytes(TENSOR_MXFP4, 64), 34);
    cr_assert_eq(tensor_row_bytes(16, 256), 0); /* IQ2_XXS: known elsewhere, not here */
    cr_assert_eq(tensor_row_bytes(TENSOR_F32, SIZE_MAX / 2), 0);
    cr_assert(tensor_type_supported(TENSOR_BF16) && tensor_type_supported(TENSOR_Q4_0));
    cr_assert(tensor_block_columns(TENSOR_Q2_K) == 256 && tensor_block_columns(TENSOR_F16) == 1);
    cr_assert_eq(tensor_block_columns(40), 0);
    cr_assert(!tensor_type_supported(16) && !tensor_type_supported(4) &&
              !tensor_type_supported(UINT32_MAX));
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
