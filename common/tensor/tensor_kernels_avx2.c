/* Sixteen lanes as two AVX2 registers; the functions are described in tensor_kernels_lanes.h. */
#include "base_bytes.h"
#include "tensor_kernels.h"
#include <immintrin.h>
#include <math.h>
#include <string.h>

#define TENSOR_TABLE              tensor_kernels_avx2
#define TENSOR_PRODUCTS           tensor_products_avx2
#define TENSOR_PEAKS              tensor_peaks_avx2
#define TENSOR_PRODUCT_BF16_EXACT tensor_product_avx2_BF16_exact
#define TENSOR_ATTENTION          tensor_attention_avx2
#define TENSOR_TABLE_NAME         "avx2"
#define TENSOR_TOKEN_TILE         6

struct tensor_lanes {
    __m256 low, high;
};

#define LANES  struct tensor_lanes
#define INLINE static inline __attribute__((always_inline))

INLINE LANES lanes_set(float value)
{
    return (LANES){_mm256_set1_ps(value), _mm256_set1_ps(value)};
}

INLINE LANES lanes_load(const float *p)
{
    return (LANES){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

INLINE LANES lanes_load_part(const float *p, size_t count, float fill)
{
    float whole[16];

    for (size_t i = 0; i < 16; i++)
        whole[i] = i < count ? p[i] : fill;
    return lanes_load(whole);
}

INLINE LANES lanes_load_f16(const uint8_t *p)
{
    const __m128i *halves = (const __m128i *)(const void *)p;
    return (LANES){
        _mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}

INLINE void lanes_store(float *p, LANES a)
{
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}

INLINE void lanes_store_part(float *p, LANES a, size_t count)
{
    float whole[16];

    lanes_store(whole, a);
    for (size_t i = 0; i < count; i++)
        p[i] = whole[i];
}

INLINE LANES lanes_add(LANES a, LANES b)
{
    return (LANES){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}

INLINE LANES lanes_sub(LANES a, LANES b)
{
    return (LANES){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}

INLINE LANES lanes_mul(LANES a, LANES b)
{
    return (LANES){_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}

INLINE LANES lanes_div(LANES a, LANES b)
{
    return (LANES){_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
}

INLINE LANES lanes_fma(LANES a, LANES b, LANES c)
{
    return (LANES){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

INLINE LANES lanes_swap_pairs(LANES a)
{
    return (LANES){_mm256_permute_ps(a.low, 0xb1), _mm256_permute_ps(a.high, 0xb1)};
}

INLINE LANES lanes_max(LANES a, LANES b)
{
    return (LANES){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}

INLINE float lanes_tree_sum(LANES a)
{
    __m256 eight = _mm256_add_ps(a.low, a.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

INLINE float lanes_tree_max(LANES a)
{
    __m256 eight = _mm256_max_ps(a.low, a.high);
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

INLINE __m256 scale_half(__m256 value, __m256 t)
{
    __m256i power = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value), power));
}

INLINE LANES lanes_scale(LANES value, LANES t)
{
    return (LANES){scale_half(value.low, t.low), scale_half(value.high, t.high)};
}

INLINE __m256 in_range_half(__m256 x, __m256 value, float low, float high)
{
    __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(high), _CMP_GT_OQ);
    __m256 below = _mm256_cmp_ps(x, _mm256_set1_ps(low), _CMP_LT_OQ);
    __m256 is_nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    value = _mm256_blendv_ps(value, _mm256_set1_ps(INFINITY), above);
    value = _mm256_andnot_ps(below, value);
    return _mm256_blendv_ps(value, x, is_nan);
}

INLINE LANES lanes_in_range(LANES x, LANES value, float low, float high)
{
    return (LANES){
        in_range_half(x.low, value.low, low, high), in_range_half(x.high, value.high, low, high)};
}

INLINE uint32_t lanes_abs_max_bits(LANES a, LANES b)
{
    __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256i a_low = _mm256_castps_si256(_mm256_and_ps(a.low, magnitude));
    __m256i a_high = _mm256_castps_si256(_mm256_and_ps(a.high, magnitude));
    __m256i b_low = _mm256_castps_si256(_mm256_and_ps(b.low, magnitude));
    __m256i b_high = _mm256_castps_si256(_mm256_and_ps(b.high, magnitude));
    __m256i eight =
        _mm256_max_epi32(_mm256_max_epi32(a_low, a_high), _mm256_max_epi32(b_low, b_high));
    __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_max_epi32(four, _mm_unpackhi_epi64(four, four));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}

INLINE int32_t lanes_store_s8(int8_t *p, LANES a)
{
    __m256i low = _mm256_cvtps_epi32(a.low), high = _mm256_cvtps_epi32(a.high);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
    __m128i bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    __m256i eight = _mm256_add_epi32(low, high);
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));

    _mm_storeu_si128((__m128i *)(void *)p, bytes);
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

#include "tensor_attention_body.h"

/* The same lanes with the products of AVX-VNNI. */
const struct tensor_kernels tensor_kernels_avxvnni = {
    .name = "avx-vnni",
    .token_tile = TENSOR_TOKEN_TILE,
    .attention = &TENSOR_ATTENTION,
    .products = tensor_products_avxvnni,
    .product_bf16_exact = TENSOR_PRODUCT_BF16_EXACT,
    .peaks = &tensor_peaks_avxvnni,
    TENSOR_LANE_FUNCTIONS,
};
