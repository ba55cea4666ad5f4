/* Types with scales per 32 columns: the int32 sums of a block go to memory and are scaled there. */
#define TENSOR_PART 32
#include "tensor_products_amx.h"
#include "tensor_products_form_32.h"

/* A block spread out: int8 [8 steps][16 rows][4]; f32 scale[16], min[16]. */
#define SPREAD_CODES 512u
#define SPREAD_BLOCK 640u
#define PASS_BLOCKS  64u
_Static_assert(PASS_BLOCKS *SPREAD_BLOCK <= AMX_SPREAD_MAX, "does not fit");

/*
 * The tile unit is slow to answer and slow to hand its results over: a block's product is stored
 * four steps after it was begun and scaled three steps later, so four registers and four pieces
 * of memory take turns.
 */
#define STORE_STEPS 4u
#define SCALE_STEPS 3u

static void configure(size_t token_count)
{
    const uint8_t tokens = (uint8_t)token_count;
    const struct amx_config config = {
        .palette = 1,
        /* tmm0 .. 3 sums, tmm4 and 5 activations, tmm6 and 7 weights */
        .row_bytes = {64, 64, 64, 64, 32, 32, 64, 64},
        .row_count = {tokens, tokens, tokens, tokens, tokens, tokens, 8, 8},
    };
    amx_configure(&config);
}

/* What a code is too high by, once it is a byte of its own. */
ALWAYS_INLINE CODES codes_less_offset(CODES a, const uint32_t type)
{
    if (CODE_BITS(type) == 8)
        return _mm512_xor_si512(a, _mm512_set1_epi8(-128));
    if (HAS_MIN(type))
        return a;
    return _mm512_sub_epi8(a, _mm512_set1_epi8(type == TENSOR_Q4_0 ? 8 : 16));
}

ALWAYS_INLINE void spread_32(
    const uint8_t *w, size_t block_count, uint8_t *out, const uint32_t type)
{
    const size_t scale_bytes = type == TENSOR_MXFP4 ? 16 : HAS_MIN(type) ? 64 : 32;

    for (size_t i = 0; i < block_count; i++) {
        UNROLLED
        for (size_t step = 0; step < 8; step++) {
            CODES codes = codes_load(w + scale_bytes, step, type);
            _mm512_store_si512(out + 64 * step, codes_less_offset(codes, type));
        }
        float *scales = (float *)(void *)(out + SPREAD_CODES);
        floats_store(scales, type == TENSOR_MXFP4 ? floats_load_e8m0(w) : floats_load_f16(w));
        if (HAS_MIN(type))
            floats_store(scales + 16, floats_load_f16(w + 32));
        w += TENSOR_BLOCK_BYTES_32(type);
        out += SPREAD_BLOCK;
    }
}

/* What a block adds to the sum of one token: the operations of tile_32(). */
struct block_scales {
    FLOATS w, w_min;
    const float *x, *x_scaled_sum;
};

ALWAYS_INLINE FLOATS scale_token(
    const int32_t count[16], const struct block_scales *s, size_t t, const bool has_min, FLOATS sum)
{
    FLOATS both = floats_mul(s->w, floats_set(s->x + t));

    sum = floats_fma(floats_of_ints(_mm512_load_si512(count)), both, sum);
    return has_min ? floats_fma(s->w_min, floats_set(s->x_scaled_sum + t), sum) : sum;
}

/* Sixteen tokens have their sums in registers, fewer in memory. */
ALWAYS_INLINE void scale_block(const int32_t (*counts)[16], const struct block_scales *s,
    const size_t token_count, const bool has_min, FLOATS *sum)
{
    if (__builtin_constant_p(token_count)) {
        UNROLLED
        for (size_t t = 0; t < AMX_TOKENS; t++)
            sum[t] = scale_token(counts[t], s, t, has_min, sum[t]);
    } else {
        for (size_t t = 0; t < token_count; t++)
            sum[t] = scale_token(counts[t], s, t, has_min, sum[t]);
    }
}

#define BEGIN_BLOCK(sums, a, b)                                                                    \
    do {                                                                                           \
        AMX_LOAD(a, q, TENSOR_BLOCK_COLUMNS);                                                      \
        AMX_LOAD(b, w, 64);                                                                        \
        AMX_ZERO(sums);                                                                            \
        AMX_DOT(sums, a, b);                                                                       \
        for (size_t ahead = 0; ahead < AMX_TOKENS * 32; ahead += 64)                               \
            __builtin_prefetch(q + AMX_TOKENS * 32 + ahead);                                       \
        q += stride * TENSOR_BLOCK_COLUMNS;                                                        \
        w += SPREAD_BLOCK;                                                                         \
    } while (0)

/* Step number step + i: stores block step + i - 4, begins block step + i, scales the one before
 * both. */
#define STEP(i, sums, a, b)                                                                        \
    do {                                                                                           \
        if (step + i >= STORE_STEPS && step + i - STORE_STEPS < block_count)                       \
            AMX_STORE(sums, counts[i], 64);                                                        \
        if (step + i < block_count)                                                                \
            BEGIN_BLOCK(sums, a, b);                                                               \
        if (step + i >= STORE_STEPS + SCALE_STEPS &&                                               \
            step + i - STORE_STEPS - SCALE_STEPS < block_count) {                                  \
            s.w = floats_load(scales);                                                             \
            if (has_min)                                                                           \
                s.w_min = floats_load(scales + 16);                                                \
            scale_block(counts[(i + 1) % 4], &s, token_count, has_min, sum);                       \
            scales += SPREAD_BLOCK / sizeof(*scales);                                              \
            s.x += stride;                                                                         \
            s.x_scaled_sum += stride;                                                              \
        }                                                                                          \
    } while (0)

ALWAYS_INLINE void add_blocks(const struct tensor_tile *tile, const uint8_t *w, size_t block_first,
    size_t block_count, size_t token_first, const size_t token_count, const bool has_min,
    FLOATS *sum)
{
    const size_t stride = tile->token_stride, at = block_first * stride + token_first;
    const int8_t *q = tile->form_32.q + at * TENSOR_BLOCK_COLUMNS;
    const float *scales = (const float *)(const void *)(w + SPREAD_CODES);
    struct block_scales s = {
        .x = tile->form_32.scale + at, .x_scaled_sum = tile->form_32.scaled_sum + at};
    alignas(64) int32_t counts[4][AMX_TOKENS][16];

    for (size_t step = 0; step < block_count + STORE_STEPS + SCALE_STEPS; step += 4) {
        STEP(0, 0, 4, 6);
        STEP(1, 1, 5, 7);
        STEP(2, 2, 4, 6);
        STEP(3, 3, 5, 7);
    }
}

ALWAYS_INLINE void add_tile(
    const struct amx_pass *pass, size_t group, size_t token, const bool has_min)
{
    float(*sums)[16] = pass->sums[group] + token;
    size_t token_count = amx_least(pass->token_count - token, AMX_TOKENS);
    FLOATS sum[AMX_TOKENS];

    if (token_count < AMX_TOKENS) {
        add_blocks(pass->tile, pass->spread[group], pass->unit_first, pass->unit_count,
            pass->token_first + token, token_count, has_min, (FLOATS *)(void *)sums);
        return;
    }
    memcpy(sum, sums, sizeof(sum));
    add_blocks(pass->tile, pass->spread[group], pass->unit_first, pass->unit_count,
        pass->token_first + token, AMX_TOKENS, has_min, sum);
    memcpy(sums, sum, sizeof(sum));
}

ALWAYS_INLINE void add_pass(const struct amx_pass *pass, const bool has_min)
{
    size_t configured = 0;

    for (size_t token = 0; token < pass->token_count; token += AMX_TOKENS) {
        size_t token_count = amx_least(pass->token_count - token, AMX_TOKENS);
        if (token_count != configured)
            configure(token_count);
        configured = token_count;
        for (size_t g = 0; g < pass->group_count; g++)
            add_tile(pass, g, token, has_min);
    }
}

static void add_scaled(const struct amx_pass *pass)
{
    add_pass(pass, false);
}

static void add_scaled_with_min(const struct amx_pass *pass)
{
    add_pass(pass, true);
}

#define PRODUCT_32(type)                                                                           \
    static void spread_##type(const uint8_t *packed, size_t unit_count, uint8_t *spread)           \
    {                                                                                              \
        spread_32(packed, unit_count, spread, TENSOR_##type);                                      \
    }                                                                                              \
    void tensor_product_amx_##type(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct amx_form form = {                                                      \
            .unit_columns = 32,                                                                    \
            .unit_bytes = TENSOR_BLOCK_BYTES_32(TENSOR_##type),                                    \
            .pass_units = PASS_BLOCKS,                                                             \
            .spread = spread_##type,                                                               \
            .add = HAS_MIN(TENSOR_##type) ? add_scaled_with_min : add_scaled,                      \
        };                                                                                         \
        amx_product(tile, &form);                                                                  \
    }
PRODUCT_32(Q8_0)
PRODUCT_32(Q4_0)
PRODUCT_32(Q4_1)
PRODUCT_32(Q5_0)
PRODUCT_32(Q5_1)
PRODUCT_32(IQ4_NL)
PRODUCT_32(MXFP4)
