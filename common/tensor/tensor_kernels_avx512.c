/* Sixteen lanes as one AVX-512 register; the functions are described in tensor_kernels_lanes.h. */
#include "base_bytes.h"
#include "tensor_kernels.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TENSOR_TABLE              tensor_kernels_avx512
#define TENSOR_PRODUCTS           tensor_products_avx512
#define TENSOR_PEAKS              tensor_peaks_avx512
#define TENSOR_PRODUCT_BF16_EXACT tensor_product_avx512_BF16_exact
#define TENSOR_ATTENTION          tensor_attention_avx512
#define TENSOR_TABLE_NAME         "avx512-vnni"
#define TENSOR_TOKEN_TILE         12

#define LANES  __m512
#define INLINE static inline __attribute__((always_inline))

INLINE LANES lanes_set(float value)
{
    return _mm512_set1_ps(value);
}

INLINE LANES lanes_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

INLINE __mmask16 first_lanes(size_t count)
{
    return (__mmask16)((1u << count) - 1);
}

INLINE LANES lanes_load_part(const float *p, size_t count, float fill)
{
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first_lanes(count), p);
}

INLINE LANES lanes_load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

INLINE void lanes_store(float *p, LANES a)
{
    _mm512_storeu_ps(p, a);
}

INLINE void lanes_store_part(float *p, LANES a, size_t count)
{
    _mm512_mask_storeu_ps(p, first_lanes(count), a);
}

INLINE LANES lanes_add(LANES a, LANES b)
{
    return _mm512_add_ps(a, b);
}

INLINE LANES lanes_sub(LANES a, LANES b)
{
    return _mm512_sub_ps(a, b);
}

INLINE LANES lanes_mul(LANES a, LANES b)
{
    return _mm512_mul_ps(a, b);
}

INLINE LANES lanes_div(LANES a, LANES b)
{
    return _mm512_div_ps(a, b);
}

INLINE LANES lanes_fma(LANES a, LANES b, LANES c)
{
    return _mm512_fmadd_ps(a, b, c);
}

INLINE LANES lanes_swap_pairs(LANES a)
{
    return _mm512_permute_ps(a, 0xb1);
}

INLINE LANES lanes_max(LANES a, LANES b)
{
    return _mm512_max_ps(a, b);
}

INLINE float lanes_tree_sum(LANES a)
{
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE float lanes_tree_max(LANES a)
{
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE LANES lanes_scale(LANES value, LANES t)
{
    __m512i power = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(value), power));
}

INLINE LANES lanes_in_range(LANES x, LANES value, float low, float high)
{
    __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(high), _CMP_GT_OQ);
    __mmask16 below = _mm512_cmp_ps_mask(x, _mm512_set1_ps(low), _CMP_LT_OQ);
    __mmask16 is_nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    value = _mm512_mask_blend_ps(above, value, _mm512_set1_ps(INFINITY));
    value = _mm512_mask_blend_ps(below, value, _mm512_setzero_ps());
    return _mm512_mask_blend_ps(is_nan, value, x);
}

INLINE uint32_t lanes_abs_max_bits(LANES a, LANES b)
{
    __m512i a_bits = _mm512_castps_si512(_mm512_abs_ps(a));
    __m512i b_bits = _mm512_castps_si512(_mm512_abs_ps(b));
    return _mm512_reduce_max_epu32(_mm512_max_epu32(a_bits, b_bits));
}

INLINE int32_t lanes_store_s8(int8_t *p, LANES a)
{
    __m512i rounded = _mm512_cvtps_epi32(a);

    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(rounded));
    return _mm512_reduce_add_epi32(rounded);
}

#include "tensor_attention_body.h"

/* The same lanes, with the tile unit for many tokens. */
const struct tensor_kernels tensor_kernels_amx = {
    .name = "amx-int8",
    .attention = &TENSOR_ATTENTION,
    .token_tile = TENSOR_TOKEN_TILE,
    .products = TENSOR_PRODUCTS,
    .product_bf16_exact = TENSOR_PRODUCT_BF16_EXACT,
    .peaks = &TENSOR_PEAKS,
    .wide_products = tensor_products_amx,
    .wide_tokens_min_32 = 13,
    .wide_tokens_min_256 = 8,
    .wide_peak_int8 = tensor_peak_amx_int8,
    TENSOR_LANE_FUNCTIONS,
};
