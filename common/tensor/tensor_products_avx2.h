/* Sixteen lanes as two AVX2 registers; the functions are described in tensor_products_lanes.h. */
#ifndef TENSOR_PRODUCTS_AVX2_H
#define TENSOR_PRODUCTS_AVX2_H
#ifdef __AVX2__ /* only files built for it use it */

#include "base_bytes.h"
#include "tensor_type.h"
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#define TENSOR_TOKEN_TILE   6
#define TENSOR_SCALES_CODES false

struct product_floats {
    __m256 low, high;
};

struct product_ints {
    __m256i low, high;
};

#define FLOATS struct product_floats
#define INTS   struct product_ints
#define CODES  struct product_ints
#define INLINE static inline __attribute__((always_inline, unused))

INLINE __m256i load_32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

INLINE __m128i load_16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

INLINE __m128i load_8(const uint8_t *p)
{
    return _mm_loadl_epi64((const __m128i *)(const void *)p);
}

INLINE FLOATS floats_zero(void)
{
    return (FLOATS){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

INLINE FLOATS floats_set(const float *p)
{
    return (FLOATS){_mm256_set1_ps(*p), _mm256_set1_ps(*p)};
}

INLINE FLOATS floats_load(const float *p)
{
    return (FLOATS){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

INLINE FLOATS floats_load_f16(const uint8_t *p)
{
    return (FLOATS){_mm256_cvtph_ps(load_16(p)), _mm256_cvtph_ps(load_16(p + 16))};
}

INLINE __m256 bf16_half(const uint8_t *p, const bool odd)
{
    __m256i pairs = load_32(p);
    return _mm256_castsi256_ps(odd ? _mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u))
                                   : _mm256_slli_epi32(pairs, 16));
}

INLINE FLOATS floats_load_bf16(const uint8_t *p, const bool odd)
{
    return (FLOATS){bf16_half(p, odd), bf16_half(p + 32, odd)};
}

INLINE __m256 e8m0_half(const uint8_t *p)
{
    __m256i exponent = _mm256_cvtepu8_epi32(load_8(p));
    __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), exponent);
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(exponent, _mm256_set1_epi32(1)), 23);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), exponent);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(bits, tiny, small));
}

INLINE FLOATS floats_load_e8m0(const uint8_t *p)
{
    return (FLOATS){e8m0_half(p), e8m0_half(p + 8)};
}

INLINE void floats_store(float *p, FLOATS a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}

INLINE FLOATS floats_mul(FLOATS a, FLOATS b)
{
    return (FLOATS){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

INLINE FLOATS floats_fma(FLOATS a, FLOATS b, FLOATS c)
{
    return (FLOATS){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

INLINE FLOATS floats_fms(FLOATS a, FLOATS b, FLOATS c)
{
    return (FLOATS){_mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high)};
}

INLINE FLOATS floats_of_ints(INTS a)
{
    return (FLOATS){_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)};
}

INLINE INTS ints_zero(void)
{
    return (INTS){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

INLINE INTS ints_set(const int32_t *p)
{
    return (INTS){_mm256_set1_epi32(*p), _mm256_set1_epi32(*p)};
}

INLINE void ints_put_away(INTS *sums)
{
    __asm__("" : "+m"(*sums));
}

INLINE INTS ints_load_u8(const uint8_t *p)
{
    return (INTS){_mm256_cvtepu8_epi32(load_8(p)), _mm256_cvtepu8_epi32(load_8(p + 8))};
}

INLINE INTS ints_load_s8(const uint8_t *p)
{
    return (INTS){_mm256_cvtepi8_epi32(load_8(p)), _mm256_cvtepi8_epi32(load_8(p + 8))};
}

INLINE INTS ints_load_u16(const uint8_t *p)
{
    return (INTS){_mm256_cvtepu16_epi32(load_16(p)), _mm256_cvtepu16_epi32(load_16(p + 16))};
}

INLINE INTS ints_add(INTS a, INTS b)
{
    return (INTS){_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

INLINE INTS ints_mul(INTS a, INTS b)
{
    return (INTS){_mm256_mullo_epi32(a.low, b.low), _mm256_mullo_epi32(a.high, b.high)};
}

INLINE INTS ints_and(INTS a, const int mask)
{
    __m256i m = _mm256_set1_epi32(mask);
    return (INTS){_mm256_and_si256(a.low, m), _mm256_and_si256(a.high, m)};
}

INLINE INTS ints_or(INTS a, INTS b)
{
    return (INTS){_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}

INLINE INTS ints_shift_left(INTS a, const int bits)
{
    return (INTS){_mm256_slli_epi32(a.low, bits), _mm256_slli_epi32(a.high, bits)};
}

INLINE INTS ints_shift_right(INTS a, const int bits)
{
    return (INTS){_mm256_srli_epi32(a.low, bits), _mm256_srli_epi32(a.high, bits)};
}

INLINE INTS ints_shift_right_signed(INTS a, const int bits)
{
    return (INTS){_mm256_srai_epi32(a.low, bits), _mm256_srai_epi32(a.high, bits)};
}

INLINE INTS ints_start_scaled(const int32_t *minus_sum)
{
    return ints_set(minus_sum);
}

/* Loads what may have been loaded before: there are too few registers to keep it. */
INLINE __m256i load_again(const uint8_t *p)
{
    __m256i r;
    __asm__ volatile("vmovdqu %1, %0" : "=x"(r) : "m"(*(const __m256i_u *)(const void *)p));
    return r;
}

INLINE CODES codes_load_bytes(const uint8_t *p)
{
    return (CODES){load_again(p), load_again(p + 32)};
}

INLINE __m256i shift_16(__m256i a, const int right)
{
    if (right < 0)
        return _mm256_slli_epi16(a, -right);
    return right == 0 ? a : _mm256_srli_epi16(a, right);
}

INLINE CODES codes_field(CODES a, const int shift, const int mask)
{
    __m256i m = _mm256_set1_epi8((char)mask);
    return (CODES){
        _mm256_and_si256(shift_16(a.low, shift), m), _mm256_and_si256(shift_16(a.high, shift), m)};
}

INLINE CODES codes_merge(CODES a, CODES b, const int shift, const int mask)
{
    CODES field = codes_field(b, shift, mask);
    return (CODES){_mm256_or_si256(a.low, field.low), _mm256_or_si256(a.high, field.high)};
}

INLINE CODES codes_scale(CODES a, INTS scale, const bool third_bit)
{
    (void)scale;
    (void)third_bit;
    return a;
}

#ifdef __AVXVNNI__
#include "tensor_products_avxvnni_sums.h"
#else
#include "tensor_products_avx2_sums.h"
#endif

/* What vdpbf16ps does: the odd columns first, without subnormals. */
INLINE unsigned int flush_subnormals_begin(void)
{
    unsigned int before = _mm_getcsr();
    _mm_setcsr(before | 0x8040u); /* results and operands */
    return before;
}

INLINE void flush_subnormals_end(unsigned int before)
{
    _mm_setcsr(before);
}

INLINE __m256 dot_bf16_half(__m256 sum, __m256i w, __m256i x)
{
    __m256i odd = _mm256_set1_epi32((int)0xffff0000u);
    __m256 w_odd = _mm256_castsi256_ps(_mm256_and_si256(w, odd));
    __m256 x_odd = _mm256_castsi256_ps(_mm256_and_si256(x, odd));
    __m256 w_even = _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
    __m256 x_even = _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
    return _mm256_fmadd_ps(w_even, x_even, _mm256_fmadd_ps(w_odd, x_odd, sum));
}

INLINE FLOATS floats_dot_bf16(FLOATS sum, CODES w, const uint32_t *x)
{
    __m256i both = _mm256_set1_epi32((int)*x);
    return (FLOATS){dot_bf16_half(sum.low, w.low, both), dot_bf16_half(sum.high, w.high, both)};
}

#endif
#endif
