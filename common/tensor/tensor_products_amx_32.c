/* Types with scales per 32 columns: the int32 sums of a block go to memory and are scaled there. */
#define TENSOR_PART 32
#include "tensor_products_amx.h"
#include "tensor_products_form_32.h"

/* A block spread out: int8 [8 steps][16 rows][4]; f32 scale[16], min[16]. */
#define SPREAD_CODES 512u
#define SPREAD_BLOCK 640u
#define PASS_BLOCKS  16u
_Static_assert(PASS_BLOCKS *SPREAD_BLOCK <= AMX_SPREAD_MAX, "does not fit");

/*
 * The tile unit is slow to answer and slow to hand its results over: a block's product is stored
 * four steps after it was begun and scaled three steps later, so four registers and four pieces
 * of memory take turns.
 */
#define STORE_STEPS 4u
#define SCALE_STEPS 3u

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

/* A row group times up to 16 tokens. */
struct item {
    const uint8_t *w; /* spread, the first block */
    struct block_scales scales;
    size_t group, token; /* of the pass */
    struct amx_target target;
};

ALWAYS_INLINE struct item item_of(const struct amx_pass *pass, size_t index)
{
    size_t group = index % pass->group_count, token = index / pass->group_count * AMX_TOKENS;
    size_t at = pass->unit_first * pass->tile->token_stride + pass->token_first + token;

    return (struct item){
        .w = pass->spread[group],
        .scales = {.x = pass->tile->form_32.scale + at,
            .x_scaled_sum = pass->tile->form_32.scaled_sum + at},
        .group = group,
        .token = token,
        .target = amx_target_of(pass, group, token),
    };
}

/* Loops over a constant number of tokens are unrolled, with sums in registers. */
#define EACH_TOKEN(t, statement)                                                                   \
    do {                                                                                           \
        if (__builtin_constant_p(token_count)) {                                                   \
            UNROLLED                                                                               \
            for (size_t t = 0; t < AMX_TOKENS; t++)                                                \
                statement;                                                                         \
        } else {                                                                                   \
            for (size_t t = 0; t < token_count; t++)                                               \
                statement;                                                                         \
        }                                                                                          \
    } while (0)

ALWAYS_INLINE void begin_item(
    const struct amx_pass *pass, const struct item *item, const size_t token_count, FLOATS *sum)
{
    EACH_TOKEN(t, sum[t] = amx_sum_of(pass, item->group, item->token + t));
}

ALWAYS_INLINE void put_item(const struct item *item, const size_t token_count, const FLOATS *sum)
{
    EACH_TOKEN(t, amx_put(&item->target, t, sum[t]));
}

/* The next block of an item. */
ALWAYS_INLINE void scale_block(struct item *item, const int32_t (*counts)[16], size_t stride,
    const size_t token_count, const bool has_min, FLOATS *sum)
{
    const float *factors = (const float *)(const void *)(item->w + SPREAD_CODES);
    struct block_scales *s = &item->scales;

    s->w = floats_load(factors);
    if (has_min)
        s->w_min = floats_load(factors + 16);
    EACH_TOKEN(t, sum[t] = scale_token(counts[t], s, t, has_min, sum[t]));
    item->w += SPREAD_BLOCK;
    s->x += stride;
    s->x_scaled_sum += stride;
}

/* One step of the stream of blocks: number i of four. */
#define STEP(i, sums, a, b)                                                                        \
    do {                                                                                           \
        if (stores && 4 * at[1] + i < block_count)                                                 \
            AMX_STORE(sums, counts[i], 64);                                                        \
        if (begins && 4 * at[0] + i < block_count) {                                               \
            AMX_LOAD(a, q, TENSOR_BLOCK_COLUMNS);                                                  \
            AMX_LOAD(b, w, 64);                                                                    \
            AMX_ZERO(sums);                                                                        \
            AMX_DOT(sums, a, b);                                                                   \
            q += stride * TENSOR_BLOCK_COLUMNS;                                                    \
            w += SPREAD_BLOCK;                                                                     \
            amx_fetch(&wanted, unit_bytes);                                                        \
        }                                                                                          \
        if (i < 3 ? scales && 4 * at[2] + i + 1 < block_count : stores) {                          \
            if (i == 3 && at[1] == 0 && four > 1) {                                                \
                put_item(&item, token_count, sum);                                                 \
                item = item_of(pass, ++scaled);                                                    \
                begin_item(pass, &item, token_count, sum);                                         \
            }                                                                                      \
            scale_block(&item, counts[(i + 1) % 4], stride, token_count, has_min, sum);            \
        }                                                                                          \
    } while (0)

/*
 * Items [first, last), all of token_count tokens (a constant 16, so that sums are in registers, or
 * fewer), as one stream of blocks. Every item has whole fours of blocks; those that are missing in
 * the last are left out.
 */
ALWAYS_INLINE void add_items(struct amx_pass *pass, size_t first, size_t last,
    const size_t token_count, const size_t unit_bytes, const bool has_min)
{
    const size_t stride = pass->tile->token_stride, block_count = pass->unit_count;
    const size_t fours = (block_count + 3) / 4, four_count = (last - first) * fours;
    alignas(64) int32_t counts[4][AMX_TOKENS][16];
    size_t at[3] = {0}; /* which four of their items: the one begun, and those before it */
    struct amx_wanted wanted = pass->wanted;
    size_t begun = first, scaled = first;
    const uint8_t *w = NULL;
    const int8_t *q = NULL;
    struct item item = item_of(pass, first);
    FLOATS sum[AMX_TOKENS];

    begin_item(pass, &item, token_count, sum);
    for (size_t four = 0; four < four_count + 2; four++) {
        bool begins = four < four_count, stores = four >= 1 && four <= four_count;
        bool scales = four >= 2;
        at[2] = at[1];
        at[1] = at[0];
        at[0] = four % fours;
        if (begins && at[0] == 0) {
            size_t group = begun % pass->group_count;
            size_t token = begun / pass->group_count * AMX_TOKENS + pass->token_first;
            w = pass->spread[group];
            q = pass->tile->form_32.q + (pass->unit_first * stride + token) * TENSOR_BLOCK_COLUMNS;
            begun++;
        }
        STEP(0, 0, 4, 6);
        STEP(1, 1, 5, 7);
        STEP(2, 2, 4, 6);
        STEP(3, 3, 5, 7);
    }
    put_item(&item, token_count, sum);
    pass->wanted = wanted;
}

ALWAYS_INLINE void add_pass(struct amx_pass *pass, const size_t unit_bytes, const bool has_min)
{
    size_t full = pass->token_count / AMX_TOKENS * pass->group_count;
    size_t rest = pass->token_count % AMX_TOKENS;

    if (full > 0) {
        amx_configure_for(pass, AMX_TOKENS, 32);
        add_items(pass, 0, full, AMX_TOKENS, unit_bytes, has_min);
    }
    if (rest > 0) {
        amx_configure_for(pass, rest, 32);
        add_items(pass, full, full + pass->group_count, rest, unit_bytes, has_min);
    }
}

#define PRODUCT_32(type)                                                                           \
    static void spread_##type(const uint8_t *packed, size_t unit_count, uint8_t *spread)           \
    {                                                                                              \
        spread_32(packed, unit_count, spread, TENSOR_##type);                                      \
    }                                                                                              \
    static void add_##type(struct amx_pass *pass)                                                  \
    {                                                                                              \
        add_pass(pass, TENSOR_BLOCK_BYTES_32(TENSOR_##type), HAS_MIN(TENSOR_##type));              \
    }                                                                                              \
    void tensor_product_amx_##type(const struct tensor_tile *tile)                                 \
    {                                                                                              \
        static const struct amx_form form = {                                                      \
            .unit_columns = 32,                                                                    \
            .unit_bytes = TENSOR_BLOCK_BYTES_32(TENSOR_##type),                                    \
            .pass_units = PASS_BLOCKS,                                                             \
            .pass_groups = AMX_PASS_GROUPS,                                                        \
            .spread = spread_##type,                                                               \
            .add = add_##type,                                                                     \
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
