/* Sums of products of codes by vpdpbusd, a part of tensor_products_avx2.h. */
#ifndef TENSOR_PRODUCTS_AVXVNNI_SUMS_H
#define TENSOR_PRODUCTS_AVXVNNI_SUMS_H
#ifdef __AVXVNNI__ /* only files built for it use it */

#include "tensor_products_avx2.h"

#define TENSOR_SCALES_SUMS        false
#define TENSOR_PEAKS              tensor_peaks_avxvnni
#define TENSOR_PRODUCT_NAME(type) tensor_product_avxvnni_##type
#define SUMS                      INTS

INLINE INTS ints_offset_128(INTS start)
{
    return start;
}

INLINE CODES codes_signed(CODES a)
{
    return a;
}

INLINE CODES codes_lookup(CODES a, const bool mxfp4)
{
    __m128i values = load_16((const uint8_t *)(mxfp4 ? tensor_mxfp4_values : tensor_iq4_values));
    __m256i table =
        _mm256_broadcastsi128_si256(_mm_add_epi8(values, _mm_set1_epi8(mxfp4 ? 16 : -128)));
    return (CODES){_mm256_shuffle_epi8(table, a.low), _mm256_shuffle_epi8(table, a.high)};
}

INLINE SUMS sums_start(INTS start)
{
    return start;
}

INLINE SUMS sums_dot(
    SUMS sum, CODES codes, const int8_t *p, INTS scale, const uint32_t bits, const size_t left)
{
    __m256i q = _mm256_set1_epi32((int)base_load_u32(p));

    (void)scale;
    (void)bits;
    (void)left;
    return (SUMS){_mm256_dpbusd_avx_epi32(sum.low, codes.low, q),
        _mm256_dpbusd_avx_epi32(sum.high, codes.high, q)};
}

INLINE INTS sums_end(SUMS sum)
{
    return sum;
}

INLINE INTS ints_dot_pairs(INTS sum, INTS pairs, const int32_t *p)
{
    __m256i q = _mm256_set1_epi32(*p);

    return (INTS){_mm256_dpwssd_avx_epi32(sum.low, pairs.low, q),
        _mm256_dpwssd_avx_epi32(sum.high, pairs.high, q)};
}

#endif
#endif
