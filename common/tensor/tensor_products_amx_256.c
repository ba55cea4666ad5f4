/*
 * Types with scales per 256 columns and integer ones below them: codes are multiplied by their
 * integer scales while they are spread out, and the products, of up to 14 bits, become two planes
 * of bytes, so that the tile unit adds up a whole superblock.
 */
#define TENSOR_PART 256
#include "tensor_products_amx.h"
#include "tensor_products_form_256.h"

/* A superblock spread out: for each 64 columns int8 [16 steps][16 rows][4] of the low plane, then
 * of the high; f32 scale[16], min[16]; int16 mins [8][16][2]. */
#define PLANE_BYTES    1024u
#define SPREAD_FACTORS (8u * PLANE_BYTES)
#define SPREAD_MINS    (SPREAD_FACTORS + 128u)
#define SPREAD_SUPER   (SPREAD_MINS + 512u)
/* Pairs of mins. */
#define MIN_COUNT(type) (!HAS_MIN(type) ? 0u : (type) == TENSOR_Q2_K ? 8u : 4u)
/* product = 128 * high + low */
#define LOW_BITS 7
_Static_assert(SPREAD_SUPER <= AMX_SPREAD_MAX, "does not fit");

static void configure(size_t token_count)
{
    const uint8_t tokens = (uint8_t)token_count;
    const struct amx_config config = {
        .palette = 1,
        /* tmm0 .. 3 sums, tmm4 and 5 activations, tmm6 and 7 weights */
        .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .row_count = {tokens, tokens, tokens, tokens, tokens, tokens, 16, 16},
    };
    amx_configure(&config);
}

/* Signed codes. */
ALWAYS_INLINE CODES codes_less_offset(CODES a, const uint32_t type)
{
    if (CODE_BITS(type) == 8)
        return _mm512_xor_si512(a, _mm512_set1_epi8(-128));
    if (HAS_MIN(type))
        return a;
    return _mm512_sub_epi8(a, _mm512_set1_epi8(type == TENSOR_Q6_K ? 32 : 4));
}

/* 64 signed codes times the scale of their row (twice in each 32 bits), cut into planes. */
ALWAYS_INLINE void spread_step(CODES a, __m512i scale, uint8_t *low, uint8_t *high)
{
    const __m512i low_mask = _mm512_set1_epi16((1 << LOW_BITS) - 1);
    __m512i even = _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8), scale);
    __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(a, 8), scale);
    __m512i low_odd = _mm512_slli_epi16(_mm512_and_si512(odd, low_mask), 8);
    __m512i high_odd = _mm512_slli_epi16(_mm512_srai_epi16(odd, LOW_BITS), 8);
    __m512i bytes = _mm512_set1_epi16(0xff);

    _mm512_store_si512(low, _mm512_or_si512(_mm512_and_si512(even, low_mask), low_odd));
    _mm512_store_si512(high,
        _mm512_or_si512(_mm512_and_si512(_mm512_srai_epi16(even, LOW_BITS), bytes), high_odd));
}

ALWAYS_INLINE __m512i twice(INTS scale)
{
    return _mm512_or_si512(
        _mm512_slli_epi32(scale, 16), _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
}

/* One block of 32 columns: eight steps. */
ALWAYS_INLINE void spread_block(
    const uint8_t *q, const struct scales_256 *s, size_t block, uint8_t *out, const uint32_t type)
{
    UNROLLED
    for (size_t step = 0; step < 8; step++) {
        INTS scale = IS_FINE(type) ? s->scale[2 * block + step / 4] : s->scale[block];
        CODES codes = codes_less_offset(codes_load(q, step, type), type);
        spread_step(codes, twice(scale), out + 64 * step, out + 64 * step + PLANE_BYTES);
    }
}

ALWAYS_INLINE void spread_256(
    const uint8_t *w, size_t super_count, uint8_t *out, const uint32_t type)
{
    const size_t factor_bytes = HAS_MIN(type) ? 64 : 32;
    const size_t header_bytes = factor_bytes + TENSOR_SCALE_BYTES_256(type);
    const size_t quant_bytes = TENSOR_QUANT_BYTES_256(type);
    const size_t min_count = MIN_COUNT(type);

    for (size_t i = 0; i < super_count; i++) {
        struct scales_256 scales;
        float *factors = (float *)(void *)(out + SPREAD_FACTORS);
        scales_load(w + factor_bytes, type, &scales);
        for (size_t block = 0; block < 8; block++)
            spread_block(w + header_bytes + block * quant_bytes, &scales, block,
                out + block / 2 * (2 * PLANE_BYTES) + block % 2 * 512, type);
        floats_store(factors, floats_load_f16(w));
        if (HAS_MIN(type)) {
            floats_store(factors + 16, floats_load_f16(w + 32));
            for (size_t k = 0; k < min_count; k++)
                _mm512_store_si512(out + SPREAD_MINS + 64 * k, scales.min[k]);
        }
        w += header_bytes + 8 * quant_bytes;
        out += SPREAD_SUPER;
    }
}

/* A row group times up to 16 tokens, one superblock. */
struct item {
    const uint8_t *w; /* spread */
    const int8_t *q;  /* [4][token_stride][64] */
    const float *x_scale;
    size_t token; /* of all, the first */
    size_t token_count;
    float (*sums)[16];
};

/* Exact sums of the low and the high plane. */
struct counts {
    int32_t low[AMX_TOKENS][16], high[AMX_TOKENS][16];
};

/* 64 columns of an item. A product that adds to the register of the one before must wait for it,
 * so two items take turns. */
#define DOT_STEP(item, k, stride, low_sum, high_sum, a)                                            \
    do {                                                                                           \
        AMX_LOAD(a, (item)->q + (k) * (stride)*64, 64);                                            \
        AMX_LOAD(6, (item)->w + 2 * (k)*PLANE_BYTES, 64);                                          \
        AMX_DOT(low_sum, a, 6);                                                                    \
        AMX_LOAD(7, (item)->w + (2 * (k) + 1) * PLANE_BYTES, 64);                                  \
        AMX_DOT(high_sum, a, 7);                                                                   \
        for (size_t ahead = 0; ahead < AMX_TOKENS * 64; ahead += 64)                               \
            __builtin_prefetch((item)->q + (k) * (stride)*64 + AMX_TOKENS * 64 + ahead);           \
    } while (0)

/* What follows the sums in tile_256(), for some tokens of an item. */
ALWAYS_INLINE void scale_tokens(const struct tensor_tile *tile, size_t super,
    const struct item *item, const struct counts *counts, size_t first, size_t last,
    const uint32_t type)
{
    const float *factors = (const float *)(const void *)(item->w + SPREAD_FACTORS);
    FLOATS scale = floats_load(factors), min_scale = floats_load(factors + 16);
    struct scales_256 scales;

    for (size_t k = 0; k < MIN_COUNT(type); k++)
        scales.min[k] = _mm512_load_si512(item->w + SPREAD_MINS + 64 * k);
    for (size_t t = first; t < last; t++) {
        INTS high = ints_shift_left(_mm512_load_si512(counts->high[t]), LOW_BITS);
        FLOATS total = floats_of_ints(ints_add(high, _mm512_load_si512(counts->low[t])));
        FLOATS product;
        if (HAS_MIN(type)) {
            INTS min = mins_256(tile, super, &scales, item->token + t, type);
            product = floats_fms(total, scale, floats_mul(floats_of_ints(min), min_scale));
        } else {
            product = floats_mul(total, scale);
        }
        product = floats_fma(product, floats_set(item->x_scale + t), floats_load(item->sums[t]));
        floats_store(item->sums[t], product);
    }
}

/*
 * Begins the sums of two items (or one, if second is NULL) and scales those of the two before them
 * meanwhile: the tile unit is slow to answer.
 */
ALWAYS_INLINE void step_items(const struct tensor_tile *tile, size_t super,
    const struct item items[2], size_t item_count, struct counts counts[2],
    const struct item before[2], size_t before_count, const struct counts counts_before[2],
    const uint32_t type)
{
    const size_t stride = tile->token_stride;

    AMX_ZERO(0);
    AMX_ZERO(1);
    AMX_ZERO(2);
    AMX_ZERO(3);
    for (size_t k = 0; k < 4; k++) {
        if (item_count > 0)
            DOT_STEP(&items[0], k, stride, 0, 1, 4);
        if (item_count > 1)
            DOT_STEP(&items[1], k, stride, 2, 3, 5);
        for (size_t i = 0; i < before_count; i++) {
            size_t n = before[i].token_count;
            scale_tokens(
                tile, super, &before[i], &counts_before[i], n * k / 4, n * (k + 1) / 4, type);
        }
    }
    if (item_count > 0) {
        AMX_STORE(0, counts[0].low, 64);
        AMX_STORE(1, counts[0].high, 64);
    }
    if (item_count > 1) {
        AMX_STORE(2, counts[1].low, 64);
        AMX_STORE(3, counts[1].high, 64);
    }
}

ALWAYS_INLINE struct item item_of(const struct amx_pass *pass, size_t index)
{
    size_t group = index % pass->group_count, token = index / pass->group_count * AMX_TOKENS;
    size_t at = pass->token_first + token, stride = pass->tile->token_stride;

    return (struct item){
        .w = pass->spread[group],
        .q = pass->tile->form_256.q + (pass->unit_first * 4 * stride + at) * 64,
        .x_scale = pass->tile->form_256.scale + pass->unit_first * stride + at,
        .token = at,
        .token_count = amx_least(pass->token_count - token, AMX_TOKENS),
        .sums = pass->sums[group] + token,
    };
}

/* Items [first, last), all of as many tokens. */
ALWAYS_INLINE void add_items(
    const struct amx_pass *pass, size_t first, size_t last, const uint32_t type)
{
    alignas(64) struct counts counts[2][2];
    struct item items[2][2] = {0};
    size_t item_count[2] = {0};

    for (size_t turn = 0; first < last || item_count[1 - turn] > 0; turn = 1 - turn) {
        item_count[turn] = amx_least(last - first, 2);
        for (size_t i = 0; i < item_count[turn]; i++)
            items[turn][i] = item_of(pass, first++);
        step_items(pass->tile, pass->unit_first, items[turn], item_count[turn], counts[turn],
            items[1 - turn], item_count[1 - turn], counts[1 - turn], type);
    }
}

/* One superblock. */
ALWAYS_INLINE void add_256(const struct amx_pass *pass, const uint32_t type)
{
    size_t full = pass->token_count / AMX_TOKENS * pass->group_count;
    size_t rest = pass->token_count % AMX_TOKENS;

    if (full > 0) {
        configure(AMX_TOKENS);
        add_items(pass, 0, full, type);
    }
    if (rest > 0) {
        configure(rest);
        add_items(pass, full, full + pass->group_count, type);
    }
}

#define PRODUCT_256(type)                                                                          \
    static void spread_##type(const uint8_t *packed, size_t unit_count, uint8_t *spread)           \
    {                                                                                              \
        spread_256(packed, unit_count, spread, TENSOR_##type);                                     \
    }                                                                                              \
    static void add_##type(const struct amx_pass *pass)                                            \
    {                                                                                              \
        add_256(pass, TENSOR_##type);                                                              \
    }                                                                                              \
    void tensor_product_amx_##type(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct amx_form form = {                                                      \
            .unit_columns = 256,                                                                   \
            .unit_bytes = (HAS_MIN(TENSOR_##type) ? 64 : 32) +                                     \
                          TENSOR_SCALE_BYTES_256(TENSOR_##type) +                                  \
                          8 * TENSOR_QUANT_BYTES_256(TENSOR_##type),                               \
            .pass_units = 1,                                                                       \
            .spread = spread_##type,                                                               \
            .add = add_##type,                                                                     \
        };                                                                                         \
        amx_product(tile, &form);                                                                  \
    }
PRODUCT_256(Q2_K)
PRODUCT_256(Q3_K)
PRODUCT_256(Q4_K)
PRODUCT_256(Q5_K)
PRODUCT_256(Q6_K)
PRODUCT_256(IQ4_XS)
