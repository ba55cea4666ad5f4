/* Built with AVX512-BF16 on top, for processors that have it. */
#define TENSOR_PART         16
#define TENSOR_PRODUCT_BF16 tensor_product_avx512_native_BF16
#include "tensor_products_avx512.h"

#include "tensor_products_body.h"

double tensor_peak_avx512_bf16(uint32_t steps)
{
    static uint32_t one = 0x3f803f80;
    CODES w = _mm512_set1_epi32(0x3f803f80);
    FLOATS sum[12];
    volatile float sink;
    float out[16];

    UNROLLED
    for (size_t n = 0; n < 12; n++)
        sum[n] = _mm512_set1_ps((float)n);
    for (uint32_t i = 0; i < steps; i++) {
        UNROLLED
        for (size_t n = 0; n < 12; n++)
            sum[n] = floats_dot_bf16(sum[n], w, &one);
    }
    UNROLLED
    for (size_t n = 1; n < 12; n++)
        sum[0] = _mm512_add_ps(sum[0], sum[n]);
    floats_store(out, sum[0]);
    sink = out[0];
    (void)sink;
    return 2.0 * 32 * 12 * steps;
}
