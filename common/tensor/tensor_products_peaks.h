/* What the units of an instruction set can do at best. */
#ifndef TENSOR_PRODUCTS_PEAKS_H
#define TENSOR_PRODUCTS_PEAKS_H

#include "tensor_products_common.h"

#ifndef TENSOR_PEAK_BF16
#define TENSOR_PEAK_BF16 NULL
#endif

/* As many independent chains (unequal, or the compiler would run one) as a tile has, and nothing
 * else. */
static int32_t peak_seeds[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static double peak_int8(uint32_t steps)
{
    static int8_t q[TILE_SUMS * 4] = {1, -1, 2, -2};
    static uint8_t codes[64] = {1, 2, 3};
    static const int32_t one_pair = 0x00010001;
    const INTS one = ints_set(&one_pair);
    SUMS sum[TILE_SUMS];
    float out[16];

    UNROLLED
    for (size_t n = 0; n < TILE_SUMS; n++)
        sum[n] = sums_start(ints_set(&peak_seeds[n]));
    for (uint32_t i = 0; i < steps; i++) {
        UNROLLED
        for (size_t step = 0; step < 8; step++) {
            __asm__ volatile("" : "+m"(codes), "+m"(q)); /* both may have changed */
            CODES a = codes_load_bytes(codes);
            UNROLLED
            for (size_t n = 0; n < TILE_SUMS; n++)
                sum[n] = sums_dot(sum[n], a, q + 4 * n, one, 4, 7 - step);
        }
    }
    INTS total = ints_zero();
    UNROLLED
    for (size_t n = 0; n < TILE_SUMS; n++)
        total = ints_add(total, sums_end(sum[n]));
    floats_store(out, floats_of_ints(total));
    __asm__ volatile("" : : "m"(out)); /* all are wanted */
    return 2.0 * 512 * TILE_SUMS * steps;
}

static double peak_f32(uint32_t steps)
{
    const float one = 1, small = 0x1p-30f;
    FLOATS a = floats_set(&one), b = floats_set(&small), sum[TILE_SUMS];
    float out[16];

    UNROLLED
    for (size_t n = 0; n < TILE_SUMS; n++)
        sum[n] = floats_of_ints(ints_set(&peak_seeds[n]));
    for (uint32_t i = 0; i < steps; i++) {
        UNROLLED
        for (size_t n = 0; n < TILE_SUMS; n++)
            sum[n] = floats_fma(a, b, sum[n]);
    }
    UNROLLED
    for (size_t n = 1; n < TILE_SUMS; n++)
        sum[0] = floats_fma(a, sum[n], sum[0]);
    floats_store(out, sum[0]);
    __asm__ volatile("" : : "m"(out)); /* all are wanted */
    return 2.0 * 16 * TILE_SUMS * steps;
}

const struct tensor_peaks TENSOR_PEAKS = {
    .int8 = peak_int8,
    .bf16 = TENSOR_PEAK_BF16,
    .f32 = peak_f32,
};

#endif
