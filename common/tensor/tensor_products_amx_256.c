/*
 * Types with scales per 256 columns and integer ones below them: codes are multiplied by their
 * integer scales while they are spread out, and the products, of up to 14 bits, become two planes
 * of bytes, so that the tile unit adds up a whole superblock. Unsigned codes (of types with a min)
 * are multiplied by the low and the high half of the scale's six bits; signed ones by the
 * scale, and the product is cut.
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
#define UNIT_BYTES(type)                                                                           \
    ((HAS_MIN(type) ? 64u : 32u) + TENSOR_SCALE_BYTES_256(type) + 8 * TENSOR_QUANT_BYTES_256(type))
/* Pairs of mins. */
#define MIN_COUNT(type) (!HAS_MIN(type) ? 0u : (type) == TENSOR_Q2_K ? 8u : 4u)
/* product = high << LOW_BITS + low */
#define LOW_BITS(type) (HAS_MIN(type) ? 3 : 7)
_Static_assert(SPREAD_SUPER <= AMX_SPREAD_MAX, "does not fit");

/* Signed codes, of types without a min. */
ALWAYS_INLINE CODES codes_less_offset(CODES a, const uint32_t type)
{
    if (CODE_BITS(type) == 8)
        return _mm512_xor_si512(a, _mm512_set1_epi8(-128));
    return _mm512_sub_epi8(a, _mm512_set1_epi8(type == TENSOR_Q6_K ? 32 : 4));
}

/* The low 16 bits of each lane, twice. */
ALWAYS_INLINE __m512i twice(INTS scale)
{
    return _mm512_or_si512(
        _mm512_slli_epi32(scale, 16), _mm512_and_si512(scale, _mm512_set1_epi32(0xffff)));
}

/* 64 unsigned codes times parts of the scale of their row: no product leaves its byte. */
ALWAYS_INLINE void spread_unsigned(CODES a, INTS scale, uint8_t *low, uint8_t *high)
{
    _mm512_store_si512(low, _mm512_mullo_epi16(a, twice(ints_and(scale, 7))));
    _mm512_store_si512(high, _mm512_mullo_epi16(a, twice(ints_shift_right(scale, 3))));
}

/* 64 signed codes times the scale of their row, cut. */
ALWAYS_INLINE void spread_signed(CODES a, INTS row_scale, uint8_t *low, uint8_t *high)
{
    const __m512i low_mask = _mm512_set1_epi16(127), bytes = _mm512_set1_epi16(0xff);
    const __m512i scale = twice(row_scale);
    __m512i even = _mm512_mullo_epi16(_mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8), scale);
    __m512i odd = _mm512_mullo_epi16(_mm512_srai_epi16(a, 8), scale);
    __m512i low_odd = _mm512_slli_epi16(_mm512_and_si512(odd, low_mask), 8);
    __m512i high_odd = _mm512_slli_epi16(_mm512_srai_epi16(odd, 7), 8);

    _mm512_store_si512(low, _mm512_or_si512(_mm512_and_si512(even, low_mask), low_odd));
    _mm512_store_si512(
        high, _mm512_or_si512(_mm512_and_si512(_mm512_srai_epi16(even, 7), bytes), high_odd));
}

/* One block of 32 columns: eight steps. */
ALWAYS_INLINE void spread_block(
    const uint8_t *q, const struct scales_256 *s, size_t block, uint8_t *out, const uint32_t type)
{
    UNROLLED
    for (size_t step = 0; step < 8; step++) {
        INTS scale = IS_FINE(type) ? s->scale[2 * block + step / 4] : s->scale[block];
        CODES codes = codes_load(q, step, type);
        uint8_t *low = out + 64 * step, *high = low + PLANE_BYTES;
        if (HAS_MIN(type))
            spread_unsigned(codes, scale, low, high);
        else
            spread_signed(codes_less_offset(codes, type), scale, low, high);
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
        for (size_t block = 0; block < 8; block++) {
            spread_block(w + header_bytes + block * quant_bytes, &scales, block,
                out + block / 2 * (2 * PLANE_BYTES) + block % 2 * 512, type);
        }
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
    size_t group, place; /* of the pass */
    struct amx_target target;
};

/* Exact sums of the low and the high plane. */
struct counts {
    int32_t low[AMX_TOKENS][16], high[AMX_TOKENS][16];
};

/* What follows the sums in tile_256(), for the k-th quarter of an item's tokens. */
ALWAYS_INLINE void scale_piece(const struct amx_pass *pass, const struct item *item,
    const struct counts *counts, const size_t k, const uint32_t type)
{
    const float *factors = (const float *)(const void *)(item->w + SPREAD_FACTORS);
    FLOATS scale = floats_load(factors), min_scale = floats_load(factors + 16);
    struct scales_256 scales;

    UNROLLED
    for (size_t i = 0; i < 8; i++)
        if (i < MIN_COUNT(type))
            scales.min[i] = _mm512_load_si512(item->w + SPREAD_MINS + 64 * i);
    UNROLLED
    for (size_t i = 0; i < AMX_TOKENS / 4; i++) {
        const size_t t = k * (AMX_TOKENS / 4) + i;
        if (t >= item->token_count)
            break;
        INTS high = ints_shift_left(_mm512_load_si512(counts->high[t]), LOW_BITS(type));
        FLOATS total = floats_of_ints(ints_add(high, _mm512_load_si512(counts->low[t])));
        FLOATS product;
        if (HAS_MIN(type)) {
            INTS min = mins_256(pass->tile, pass->unit_first, &scales, item->token + t, type);
            product = floats_fms(total, scale, floats_mul(floats_of_ints(min), min_scale));
        } else {
            product = floats_mul(total, scale);
        }
        product = floats_fma(
            product, floats_set(item->x_scale + t), amx_sum_of(pass, item->group, item->place + t));
        amx_put(&item->target, t, product);
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
        .group = group,
        .place = token,
        .target = amx_target_of(pass, group, token),
    };
}

/*
 * The tile unit is slow to answer, and the vector unit works at half its speed beside it. So an
 * item's product is stored two steps after it was begun and scaled in the step after, in pieces
 * between the products of a third item; items take turns with two sets of registers and of memory.
 */
#define STORE_STEPS 2u
#define SCALE_STEPS 1u

#define DOT(type, sum, a, b)                                                                       \
    do {                                                                                           \
        if (HAS_MIN(type))                                                                         \
            AMX_DOT_UNSIGNED(sum, a, b);                                                           \
        else                                                                                       \
            AMX_DOT(sum, a, b);                                                                    \
    } while (0)

/* 64 columns of an item, then a piece of the one to be scaled. */
#define STEP_PIECE(turn, k, low_sum, high_sum, a)                                                  \
    do {                                                                                           \
        if (begins) {                                                                              \
            AMX_LOAD(a, items[0].q + (k)*stride * 64, 64);                                         \
            AMX_LOAD(6, items[0].w + 2 * (k)*PLANE_BYTES, 64);                                     \
            DOT(type, low_sum, a, 6);                                                              \
            AMX_LOAD(7, items[0].w + (2 * (k) + 1) * PLANE_BYTES, 64);                             \
            DOT(type, high_sum, a, 7);                                                             \
            amx_fetch(&pass->wanted, UNIT_BYTES(type) / 4);                                        \
        }                                                                                          \
        if (scales)                                                                                \
            scale_piece(pass, &items[3], &counts[1 - (turn)], k, type);                            \
    } while (0)

#define STEP(turn, low_sum, high_sum, a)                                                           \
    do {                                                                                           \
        if (stores) {                                                                              \
            AMX_STORE(low_sum, counts[turn].low, 64);                                              \
            AMX_STORE(high_sum, counts[turn].high, 64);                                            \
        }                                                                                          \
        AMX_ZERO(low_sum);                                                                         \
        AMX_ZERO(high_sum);                                                                        \
        STEP_PIECE(turn, 0, low_sum, high_sum, a);                                                 \
        STEP_PIECE(turn, 1, low_sum, high_sum, a);                                                 \
        STEP_PIECE(turn, 2, low_sum, high_sum, a);                                                 \
        STEP_PIECE(turn, 3, low_sum, high_sum, a);                                                 \
    } while (0)

/* Items [first, last), all of as many tokens. */
ALWAYS_INLINE void add_items(struct amx_pass *pass, size_t first, size_t last, const uint32_t type)
{
    const size_t stride = pass->tile->token_stride, count = last - first;
    alignas(64) struct counts counts[2];
    struct item items[4] = {0}; /* the one begun, and those one, two and three steps before it */

    for (size_t step = 0; step < count + STORE_STEPS + SCALE_STEPS; step++) {
        bool begins = step < count;
        bool stores = step >= STORE_STEPS && step < count + STORE_STEPS;
        bool scales = step >= STORE_STEPS + SCALE_STEPS;
        memmove(items + 1, items, 3 * sizeof(items[0]));
        if (begins)
            items[0] = item_of(pass, first + step);
        if (step % 2 == 0)
            STEP(0, 0, 1, 4);
        else
            STEP(1, 2, 3, 5);
    }
}

/* One superblock. */
ALWAYS_INLINE void add_256(struct amx_pass *pass, const uint32_t type)
{
    size_t full = pass->token_count / AMX_TOKENS * pass->group_count;
    size_t rest = pass->token_count % AMX_TOKENS;

    if (full > 0) {
        amx_configure_for(pass, AMX_TOKENS, 64);
        add_items(pass, 0, full, type);
    }
    if (rest > 0) {
        amx_configure_for(pass, rest, 64);
        add_items(pass, full, full + pass->group_count, type);
    }
}

#define PRODUCT_256(type)                                                                          \
    static void spread_##type(const uint8_t *packed, size_t unit_count, uint8_t *spread)           \
    {                                                                                              \
        spread_256(packed, unit_count, spread, TENSOR_##type);                                     \
    }                                                                                              \
    static void add_##type(struct amx_pass *pass)                                                  \
    {                                                                                              \
        add_256(pass, TENSOR_##type);                                                              \
    }                                                                                              \
    void tensor_product_amx_##type(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct amx_form form = {                                                      \
            .unit_columns = 256,                                                                   \
            .unit_bytes = UNIT_BYTES(TENSOR_##type),                                               \
            .pass_units = 1,                                                                       \
            .pass_groups = 2,                                                                      \
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
