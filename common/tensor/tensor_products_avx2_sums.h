/*
 * Sums of products of codes by vpmaddubsw, a part of tensor_products_avx2.h. It adds two products
 * in 16 bits, with saturation, which these bounds keep it from. Further ones are added in 16 bits
 * as long as they fit ("a run"); then vpmaddwd widens them and multiplies by the scale at once.
 */
#ifndef TENSOR_PRODUCTS_AVX2_SUMS_H
#define TENSOR_PRODUCTS_AVX2_SUMS_H
#ifdef __AVX2__ /* only files built for it use it */

#include "tensor_products_avx2.h"

#define TENSOR_SCALES_SUMS        true
#define TENSOR_PEAKS              tensor_peaks_avx2
#define TENSOR_PRODUCT_NAME(type) tensor_product_avx2_##type

struct product_sums {
    INTS wide;
    INTS run; /* two int16 to a lane */
};
#define SUMS struct product_sums

/* Codes of eight bits are signed here: there is no offset. */
INLINE INTS ints_offset_128(INTS start)
{
    (void)start;
    return ints_zero();
}

INLINE CODES codes_signed(CODES a)
{
    __m256i offset = _mm256_set1_epi8(-128);
    return (CODES){_mm256_xor_si256(a.low, offset), _mm256_xor_si256(a.high, offset)};
}

INLINE CODES codes_lookup(CODES a, const bool mxfp4)
{
    const int8_t *values = mxfp4 ? tensor_mxfp4_values : tensor_iq4_values;
    __m128i values_16 = load_16((const uint8_t *)values);
    if (mxfp4)
        values_16 = _mm_add_epi8(values_16, _mm_set1_epi8(16));
    __m256i table = _mm256_broadcastsi128_si256(values_16);
    return (CODES){_mm256_shuffle_epi8(table, a.low), _mm256_shuffle_epi8(table, a.high)};
}

INLINE SUMS sums_start(INTS start)
{
    return (SUMS){start, ints_zero()};
}

/* A sum as it stands here: the compiler would add products in pairs and run out of registers. */
INLINE __m256i in_order(__m256i sum)
{
    __asm__("" : "+x"(sum));
    return sum;
}

/* |w| <= 128 times q with the sign of w: 2 * 128 * 127 = 32512 */
INLINE __m256i wide_dot_signed(__m256i sum, __m256i w, __m256i q, __m256i scale)
{
    __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w));
    return in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(products, scale)));
}

INLINE __m256i run_dot(__m256i run, __m256i codes, __m256i q)
{
    return in_order(_mm256_add_epi16(run, _mm256_maddubs_epi16(codes, q)));
}

/* Steps of a run: two products of each, 127 * (2^bits - 1) at most. */
INLINE size_t run_steps(const uint32_t bits)
{
    return bits <= 4   ? 8  /* 16 * 127 * 15 = 30480 */
           : bits == 5 ? 4  /* 8 * 127 * 31 = 31496 */
                       : 2; /* 4 * 127 * 63 = 32004 */
}

INLINE SUMS sums_dot(
    SUMS sum, CODES codes, const int8_t *p, INTS scale, const uint32_t bits, const size_t left)
{
    __m256i q = _mm256_set1_epi32((int)base_load_u32(p));

    if (bits == 8) {
        sum.wide.low = wide_dot_signed(sum.wide.low, codes.low, q, scale.low);
        sum.wide.high = wide_dot_signed(sum.wide.high, codes.high, q, scale.high);
        return sum;
    }
    sum.run.low = run_dot(sum.run.low, codes.low, q);
    sum.run.high = run_dot(sum.run.high, codes.high, q);
    if (left % run_steps(bits) == 0) {
        INTS products = {
            _mm256_madd_epi16(sum.run.low, scale.low), _mm256_madd_epi16(sum.run.high, scale.high)};
        sum.wide = ints_add(sum.wide, products);
        sum.run = ints_zero();
    }
    return sum;
}

INLINE INTS sums_end(SUMS sum)
{
    return sum.wide;
}

INLINE INTS ints_dot_pairs(INTS sum, INTS pairs, const int32_t *p)
{
    __m256i q = _mm256_set1_epi32(*p);

    return (INTS){_mm256_add_epi32(sum.low, _mm256_madd_epi16(pairs.low, q)),
        _mm256_add_epi32(sum.high, _mm256_madd_epi16(pairs.high, q))};
}

#endif
#endif
