/* Sixteen lanes as one AVX-512 register; the functions are described in tensor_products_lanes.h. */
#ifndef TENSOR_PRODUCTS_AVX512_H
#define TENSOR_PRODUCTS_AVX512_H
#ifdef __AVX512VNNI__ /* only files built for it use it */

#include "base_bytes.h"
#include "tensor_type.h"
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#define TENSOR_TOKEN_TILE         12
#define TENSOR_SCALES_CODES       true
#define TENSOR_SCALES_SUMS        false
#define TENSOR_PEAKS              tensor_peaks_avx512
#define TENSOR_PEAK_BF16          tensor_peak_avx512_bf16
#define TENSOR_PRODUCT_NAME(type) tensor_product_avx512_##type

#define FLOATS __m512
#define INTS   __m512i
#define CODES  __m512i
#define SUMS   __m512i
#define INLINE static inline __attribute__((always_inline, unused))

INLINE FLOATS floats_zero(void)
{
    return _mm512_setzero_ps();
}

INLINE FLOATS floats_set(const float *p)
{
    return _mm512_set1_ps(*p);
}

INLINE FLOATS floats_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

INLINE FLOATS floats_load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE FLOATS floats_load_bf16(const uint8_t *p, const bool odd)
{
    __m512i pairs = _mm512_loadu_si512(p);
    return _mm512_castsi512_ps(odd ? _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u))
                                   : _mm512_slli_epi32(pairs, 16));
}

INLINE FLOATS floats_load_e8m0(const uint8_t *p)
{
    __m512i exponent = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __mmask16 small = _mm512_cmplt_epi32_mask(exponent, _mm512_set1_epi32(2));
    __m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(1)), 23);
    bits = _mm512_mask_sllv_epi32(bits, small, _mm512_set1_epi32(0x00200000), exponent);
    return _mm512_castsi512_ps(bits);
}

INLINE void floats_store(float *p, FLOATS a)
{
    _mm512_storeu_ps(p, a);
}

INLINE FLOATS floats_mul(FLOATS a, FLOATS b)
{
    return _mm512_mul_ps(a, b);
}

INLINE FLOATS floats_fma(FLOATS a, FLOATS b, FLOATS c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE FLOATS floats_fms(FLOATS a, FLOATS b, FLOATS c)
{
    return _mm512_fmsub_ps(a, b, c);
}

INLINE FLOATS floats_of_ints(INTS a)
{
    return _mm512_cvtepi32_ps(a);
}

INLINE INTS ints_zero(void)
{
    return _mm512_setzero_si512();
}

INLINE INTS ints_set(const int32_t *p)
{
    return _mm512_set1_epi32(*p);
}

INLINE void ints_put_away(INTS *sums)
{
    (void)sums;
}

INLINE INTS ints_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE INTS ints_load_s8(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

INLINE INTS ints_load_u16(const uint8_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE INTS ints_add(INTS a, INTS b)
{
    return _mm512_add_epi32(a, b);
}

INLINE INTS ints_mul(INTS a, INTS b)
{
    return _mm512_mullo_epi32(a, b);
}

INLINE INTS ints_and(INTS a, const int mask)
{
    return _mm512_and_si512(a, _mm512_set1_epi32(mask));
}

INLINE INTS ints_or(INTS a, INTS b)
{
    return _mm512_or_si512(a, b);
}

INLINE INTS ints_shift_left(INTS a, const int bits)
{
    return _mm512_slli_epi32(a, (unsigned int)bits);
}

INLINE INTS ints_shift_right(INTS a, const int bits)
{
    return _mm512_srli_epi32(a, (unsigned int)bits);
}

INLINE INTS ints_shift_right_signed(INTS a, const int bits)
{
    return _mm512_srai_epi32(a, (unsigned int)bits);
}

INLINE INTS ints_offset_128(INTS start)
{
    return start;
}

INLINE INTS ints_start_scaled(const int32_t *minus_sum)
{
    return _mm512_set1_epi32(*minus_sum * 124);
}

INLINE CODES codes_load_bytes(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

INLINE CODES codes_signed(CODES a)
{
    return a;
}

INLINE CODES codes_field(CODES a, const int shift, const int mask)
{
    CODES shifted = shift == 0 ? a : _mm512_srli_epi16(a, (unsigned int)shift);
    return _mm512_and_si512(shifted, _mm512_set1_epi8((char)mask));
}

INLINE CODES codes_merge(CODES a, CODES b, const int shift, const int mask)
{
    if (shift < 0)
        b = _mm512_slli_epi16(b, (unsigned int)-shift);
    else if (shift > 0)
        b = _mm512_srli_epi16(b, (unsigned int)shift);
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8((char)mask), 0xf8); /* a | (b & m) */
}

INLINE CODES codes_lookup(CODES a, const bool mxfp4)
{
    const __m128i offset = _mm_set1_epi8(mxfp4 ? 16 : -128);
    __m128i table = _mm_loadu_si128(
        (const __m128i *)(const void *)(mxfp4 ? tensor_mxfp4_values : tensor_iq4_values));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_add_epi8(table, offset)), a);
}

/*
 * A register of bytes holds four rows in every 128 bits, which is what vpshufb looks up in: the
 * four multiples 0, s, 2s, 3s of each of their scales. The third bit of Q3_K stands for 4s less
 * when it is not set; 124 makes the result 0..252.
 */
INLINE CODES codes_scale(CODES a, INTS scale, const bool third_bit)
{
    /* Bytes 0, s, 2s, 3s of each row, without carries between them. */
    const __m512i two = _mm512_add_epi8(scale, scale);
    __m512i low = _mm512_and_si512(scale, _mm512_set1_epi32(255));
    __m512i twice = _mm512_and_si512(two, _mm512_set1_epi32(255));
    __m512i thrice = _mm512_and_si512(_mm512_add_epi8(two, scale), _mm512_set1_epi32(255));
    __m512i table =
        _mm512_or_si512(_mm512_or_si512(_mm512_slli_epi32(low, 8), _mm512_slli_epi32(twice, 16)),
            _mm512_slli_epi32(thrice, 24));
    /* Lane index within 128 bits: bits 2..3 of the byte index. */
    const __m512i lane = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    __m512i index = _mm512_or_si512(_mm512_and_si512(a, _mm512_set1_epi8(3)), lane);
    __m512i product = _mm512_shuffle_epi8(table, index);
    if (!third_bit)
        return product;
    __m512i four = _mm512_and_si512(_mm512_add_epi8(two, two), _mm512_set1_epi32(255));
    four = _mm512_shuffle_epi8(four, lane); /* 4s in all bytes of its row */
    __mmask64 low_half = _mm512_testn_epi8_mask(a, _mm512_set1_epi8(4));
    product = _mm512_add_epi8(product, _mm512_set1_epi8(124));
    return _mm512_mask_sub_epi8(product, low_half, product, four);
}

INLINE SUMS sums_start(INTS start)
{
    return start;
}

/* The compiler would broadcast into a register first and run out of them. */
INLINE SUMS sums_dot(
    SUMS sum, CODES codes, const int8_t *q, INTS scale, const uint32_t bits, const size_t left)
{
    const int32_t *four = (const int32_t *)(const void *)q;

    (void)scale;
    (void)bits;
    (void)left;
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(codes), "m"(*four));
    return sum;
}

INLINE INTS sums_end(SUMS sum)
{
    return sum;
}

INLINE INTS ints_dot_pairs(INTS sum, INTS pairs, const int32_t *q)
{
    return _mm512_dpwssd_epi32(sum, pairs, _mm512_set1_epi32(*q));
}

/* What vdpbf16ps does by definition: the odd columns first, without subnormals. */
#ifdef __AVX512BF16__
INLINE unsigned int flush_subnormals_begin(void)
{
    return 0;
}

INLINE void flush_subnormals_end(unsigned int before)
{
    (void)before;
}

INLINE FLOATS floats_dot_bf16(FLOATS sum, CODES w, const uint32_t *x)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(w), "m"(*x));
    return sum;
}
#else
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

INLINE FLOATS floats_dot_bf16(FLOATS sum, CODES w, const uint32_t *x)
{
    __m512i both = _mm512_set1_epi32((int)*x), odd = _mm512_set1_epi32((int)0xffff0000u);
    __m512 w_odd = _mm512_castsi512_ps(_mm512_and_si512(w, odd));
    __m512 x_odd = _mm512_castsi512_ps(_mm512_and_si512(both, odd));
    __m512 w_even = _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
    __m512 x_even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    return _mm512_fmadd_ps(w_even, x_even, _mm512_fmadd_ps(w_odd, x_odd, sum));
}
#endif

#endif
#endif
