/* Blocks of every type: codes from tensor_quantize_search.c, packed as the layouts want them. */
#include "tensor_quantize.h"
#include "tensor_quantize_search.h"
#include "tensor_type.h"

#include "base_assert.h"
#include "base_bytes.h"
#include <float.h>
#include <math.h>
#include <string.h>

#define SCALED_MAX 1e9f

static void store_u16(uint8_t *to, uint16_t value)
{
    memcpy(to, &value, sizeof(value));
}

static bool finite_f16(uint16_t half)
{
    return (half & 0x7c00) != 0x7c00;
}

/* Whether all are numbers, and none larger than max. */
static bool all_within(const float *x, size_t count, float max)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(x[i]) <= max))
            return false;
    return true;
}

static bool quantize_f32(const float *x, uint8_t *block)
{
    memcpy(block, x, sizeof(float));
    return true;
}

static bool quantize_f16(const float *x, uint8_t *block)
{
    uint16_t half = tensor_f32_to_f16(x[0]);

    store_u16(block, half);
    return finite_f16(half);
}

/* To nearest, ties to even. */
static bool quantize_bf16(const float *x, uint8_t *block)
{
    uint32_t bits;

    memcpy(&bits, x, sizeof(bits));
    bits += 0x7fff + (bits >> 16 & 1);
    store_u16(block, (uint16_t)(bits >> 16));
    return (bits & 0x7f800000) != 0x7f800000;
}

static bool quantize_q8_0(const float *x, uint8_t *block)
{
    float largest = 0;

    for (size_t i = 0; i < 32; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    float scale = largest / 127, inverse = scale > 0 ? 1 / scale : 0;
    uint16_t half = tensor_f32_to_f16(scale);
    store_u16(block, half);
    for (size_t i = 0; i < 32; i++)
        block[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    return finite_f16(half);
}

/* Codes of 32 elements and an f16 scale that is rounded before they are chosen. */
static bool scaled(const struct tensor_grid *grid, const float *x, uint8_t *block, int8_t v[32])
{
    float w[32];

    tensor_error_weights(x, 32, w);
    uint16_t half = tensor_f32_to_f16(tensor_search_scale(grid, x, w, 32, v));
    float scale = tensor_f16_to_f32(half), inverse = scale != 0 ? 1 / scale : 0;
    for (size_t i = 0; i < 32; i++)
        v[i] = (int8_t)tensor_grid_value(grid, x[i] * inverse);
    store_u16(block, half);
    return finite_f16(half);
}

static bool scaled_with_minimum(const float *x, int high, uint8_t *block, uint8_t q[32])
{
    static const int floor_code = 0;
    struct tensor_grid grid = {floor_code, high, NULL};
    float w[32], minimum = 0;

    tensor_error_weights(x, 32, w);
    uint16_t half = tensor_f32_to_f16(tensor_search_minimum(x, w, 32, high, false, q, &minimum));
    uint16_t low = tensor_f32_to_f16(minimum);
    float scale = tensor_f16_to_f32(half), inverse = scale > 0 ? 1 / scale : 0;
    minimum = tensor_f16_to_f32(low);
    for (size_t i = 0; i < 32; i++)
        q[i] = (uint8_t)tensor_grid_value(&grid, (x[i] - minimum) * inverse);
    store_u16(block, half);
    store_u16(block + 2, low);
    return finite_f16(half) && finite_f16(low);
}

/* Low nibbles are the first half of the codes. */
static void pack_nibbles(const uint8_t q[32], uint8_t *to)
{
    for (size_t i = 0; i < 16; i++)
        to[i] = (uint8_t)((q[i] & 15) | q[i + 16] << 4);
}

static void pack_high_bits(const uint8_t q[32], uint8_t *to)
{
    uint32_t high = 0;

    for (size_t i = 0; i < 32; i++)
        high |= (uint32_t)(q[i] >> 4 & 1) << i;
    base_store_u32(to, high);
}

static bool quantize_q4_0(const float *x, uint8_t *block)
{
    static const struct tensor_grid grid = {-8, 7, NULL};
    int8_t v[32];
    uint8_t q[32];
    bool ok = scaled(&grid, x, block, v);

    for (size_t i = 0; i < 32; i++)
        q[i] = (uint8_t)(v[i] + 8);
    pack_nibbles(q, block + 2);
    return ok;
}

static bool quantize_q5_0(const float *x, uint8_t *block)
{
    static const struct tensor_grid grid = {-16, 15, NULL};
    int8_t v[32];
    uint8_t q[32];
    bool ok = scaled(&grid, x, block, v);

    for (size_t i = 0; i < 32; i++)
        q[i] = (uint8_t)(v[i] + 16);
    pack_high_bits(q, block + 2);
    pack_nibbles(q, block + 6);
    return ok;
}

static bool quantize_q4_1(const float *x, uint8_t *block)
{
    uint8_t q[32];
    bool ok = scaled_with_minimum(x, 15, block, q);

    pack_nibbles(q, block + 4);
    return ok;
}

static bool quantize_q5_1(const float *x, uint8_t *block)
{
    uint8_t q[32];
    bool ok = scaled_with_minimum(x, 31, block, q);

    pack_high_bits(q, block + 4);
    pack_nibbles(q, block + 8);
    return ok;
}

/* ---- tables of values ---- */

/* nearest[i + 128]: the value of a table nearest to i; codes[value + 128]: its index. */
struct table {
    int8_t nearest[256];
    uint8_t codes[256];
};

static void table_fill(const int8_t values[16], struct table *ret_table)
{
    memset(ret_table->codes, 0, sizeof(ret_table->codes));
    for (int i = 0; i < 256; i++) {
        int best = 0;
        for (int j = 1; j < 16; j++) {
            int off = values[j] - (i - 128), best_off = values[best] - (i - 128);
            if (off * off < best_off * best_off)
                best = j;
        }
        ret_table->nearest[i] = values[best];
    }
    /* From the end, so that the first index of a value that stands twice wins. */
    for (int j = 15; j >= 0; j--)
        ret_table->codes[values[j] + 128] = (uint8_t)j;
}

static bool quantize_iq4_nl(const float *x, uint8_t *block)
{
    struct table table;
    int8_t v[32];
    uint8_t q[32];

    table_fill(tensor_iq4_values, &table);
    struct tensor_grid grid = {-127, 113, table.nearest};
    bool ok = scaled(&grid, x, block, v);
    for (size_t i = 0; i < 32; i++)
        q[i] = table.codes[v[i] + 128];
    pack_nibbles(q, block + 2);
    return ok;
}

static bool quantize_iq4_xs(const float *x, uint8_t *block)
{
    struct tensor_signed_super super;
    struct table table;
    uint16_t high = 0;

    table_fill(tensor_iq4_values, &table);
    struct tensor_grid grid = {-127, 113, table.nearest};
    bool ok = tensor_search_signed(&grid, x, 8, -32, &super);
    memset(block, 0, 136);
    store_u16(block, super.scale);
    for (size_t j = 0; j < 8; j++) {
        uint8_t s = (uint8_t)(super.s[j] + 32), q[32];
        block[4 + j / 2] |= (uint8_t)((s & 15) << j % 2 * 4);
        high |= (uint16_t)(s >> 4 << 2 * j);
        for (size_t i = 0; i < 32; i++)
            q[i] = table.codes[super.v[32 * j + i] + 128];
        pack_nibbles(q, block + 8 + 16 * j);
    }
    store_u16(block + 2, high);
    return ok;
}

static float mxfp4_error(const float *x, int exponent, const struct table *table, uint8_t q[32])
{
    struct tensor_grid grid = {-12, 12, NULL};
    float scale = tensor_e8m0_half((uint8_t)exponent), error = 0;

    for (size_t i = 0; i < 32; i++) {
        /* Values are 0 to 4 in steps of one, then 6, 8, 12: halves decide between these. */
        float wanted = x[i] / scale;
        int value = table->nearest[tensor_grid_value(&grid, wanted) + 128];
        float off = x[i] - scale * (float)value;
        q[i] = table->codes[value + 128];
        error += off * off;
    }
    return error;
}

static bool quantize_mxfp4(const float *x, uint8_t *block)
{
    struct table table;
    float largest = 0, best = INFINITY;
    int around = 0;

    table_fill(tensor_mxfp4_values, &table);
    for (size_t i = 0; i < 32; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    memset(block, 0, 17);
    if (largest == 0)
        return true;
    (void)frexpf(largest, &around); /* largest < 2^around; the largest value is 12 * 2^(e - 128) */
    around += 128 - 4;
    for (int e = around - 1; e <= around + 1; e++) {
        uint8_t q[32];
        int exponent = e < 0 ? 0 : e > 254 ? 254 : e;
        float error = mxfp4_error(x, exponent, &table, q);
        if (error < best) {
            best = error;
            block[0] = (uint8_t)exponent;
            pack_nibbles(q, block + 1);
        }
    }
    return isfinite(best);
}

/* ---- 256 elements ---- */

/* Two-bit fields: column 128 n + 32 j + i is field j of byte 32 n + i. */
static void pack_fields(const uint8_t q[TENSOR_SUPER], uint8_t *to)
{
    memset(to, 0, TENSOR_SUPER / 4);
    for (size_t i = 0; i < TENSOR_SUPER; i++)
        to[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] & 3) << i / 32 % 4 * 2);
}

static bool quantize_q2_k(const float *x, uint8_t *block)
{
    struct tensor_minimum_super super;
    bool ok = tensor_search_minimums(x, 16, 3, 15, &super);

    for (size_t j = 0; j < 16; j++)
        block[j] = (uint8_t)(super.s[j] | super.m[j] << 4);
    pack_fields(super.q, block + 16);
    store_u16(block + 80, super.scale);
    store_u16(block + 82, super.minimum);
    return ok;
}

/* Sixteen 6-bit scales: low nibbles in eight bytes, the upper two bits in four. */
static void pack_q3_scales(const int8_t s[16], uint8_t to[12])
{
    memset(to, 0, 12);
    for (size_t j = 0; j < 16; j++) {
        uint8_t code = (uint8_t)(s[j] + 32);
        to[j % 8] |= (uint8_t)((code & 15) << j / 8 * 4);
        to[8 + j % 4] |= (uint8_t)(code >> 4 << j / 4 * 2);
    }
}

static bool quantize_q3_k(const float *x, uint8_t *block)
{
    static const struct tensor_grid grid = {-4, 3, NULL};
    struct tensor_signed_super super;
    uint8_t q[TENSOR_SUPER];
    bool ok = tensor_search_signed(&grid, x, 16, -32, &super);

    memset(block, 0, 32);
    for (size_t i = 0; i < TENSOR_SUPER; i++) {
        q[i] = (uint8_t)(super.v[i] + 4);
        block[i % 32] |= (uint8_t)(q[i] >> 2 << i / 32);
    }
    pack_fields(q, block + 32);
    pack_q3_scales(super.s, block + 96);
    store_u16(block + 108, super.scale);
    return ok;
}

/* Eight scales and eight minimums of six bits in twelve bytes. */
static void pack_k4_scales(const uint8_t *s, const uint8_t *m, uint8_t to[12])
{
    memset(to, 0, 12);
    for (size_t j = 0; j < 4; j++) {
        to[j] = s[j];
        to[j + 4] = m[j];
    }
    for (size_t j = 4; j < 8; j++) {
        to[j + 4] = (uint8_t)((s[j] & 15) | (m[j] & 15) << 4);
        to[j - 4] |= (uint8_t)(s[j] >> 4 << 6);
        to[j] |= (uint8_t)(m[j] >> 4 << 6);
    }
}

/* Of 64 codes, low nibbles are the first 32. */
static void pack_halves(const uint8_t q[TENSOR_SUPER], uint8_t *to)
{
    for (size_t j = 0; j < TENSOR_SUPER; j += 64, to += 32)
        for (size_t i = 0; i < 32; i++)
            to[i] = (uint8_t)((q[j + i] & 15) | (q[j + 32 + i] & 15) << 4);
}

static bool quantize_q4_k(const float *x, uint8_t *block)
{
    struct tensor_minimum_super super;
    bool ok = tensor_search_minimums(x, 8, 15, 63, &super);

    store_u16(block, super.scale);
    store_u16(block + 2, super.minimum);
    pack_k4_scales(super.s, super.m, block + 4);
    pack_halves(super.q, block + 16);
    return ok;
}

static bool quantize_q5_k(const float *x, uint8_t *block)
{
    struct tensor_minimum_super super;
    bool ok = tensor_search_minimums(x, 8, 31, 63, &super);

    store_u16(block, super.scale);
    store_u16(block + 2, super.minimum);
    pack_k4_scales(super.s, super.m, block + 4);
    memset(block + 16, 0, 32);
    for (size_t i = 0; i < TENSOR_SUPER; i++)
        block[16 + i % 32] |= (uint8_t)(super.q[i] >> 4 << i / 32);
    pack_halves(super.q, block + 48);
    return ok;
}

static bool quantize_q6_k(const float *x, uint8_t *block)
{
    static const struct tensor_grid grid = {-32, 31, NULL};
    struct tensor_signed_super super;
    bool ok = tensor_search_signed(&grid, x, 16, -128, &super);

    memset(block, 0, 192);
    for (size_t i = 0; i < TENSOR_SUPER; i++) {
        size_t half = i / 128, part = i / 32 % 4, l = i % 32;
        uint8_t code = (uint8_t)(super.v[i] + 32);
        block[half * 64 + part % 2 * 32 + l] |= (uint8_t)((code & 15) << part / 2 * 4);
        block[128 + half * 32 + l] |= (uint8_t)(code >> 4 << part * 2);
    }
    memcpy(block + 192, super.s, 16);
    store_u16(block + 208, super.scale);
    return ok;
}

bool tensor_quantize_row(uint32_t type, const float *x, size_t column_count, void *row)
{
    typedef bool quantize_fn(const float *x, uint8_t *block);
    static quantize_fn *const functions[] = {
        [TENSOR_F32] = quantize_f32,
        [TENSOR_F16] = quantize_f16,
        [TENSOR_Q4_0] = quantize_q4_0,
        [TENSOR_Q4_1] = quantize_q4_1,
        [TENSOR_Q5_0] = quantize_q5_0,
        [TENSOR_Q5_1] = quantize_q5_1,
        [TENSOR_Q8_0] = quantize_q8_0,
        [TENSOR_Q2_K] = quantize_q2_k,
        [TENSOR_Q3_K] = quantize_q3_k,
        [TENSOR_Q4_K] = quantize_q4_k,
        [TENSOR_Q5_K] = quantize_q5_k,
        [TENSOR_Q6_K] = quantize_q6_k,
        [TENSOR_IQ4_NL] = quantize_iq4_nl,
        [TENSOR_IQ4_XS] = quantize_iq4_xs,
        [TENSOR_BF16] = quantize_bf16,
        [TENSOR_MXFP4] = quantize_mxfp4,
    };
    size_t block_columns = tensor_block_columns(type);
    uint8_t *block = row;
    bool ok = true;

    base_assert(block_columns != 0 && column_count % block_columns == 0);
    /* No f16 scale reaches further with any code, and squares stay numbers. */
    if (!all_within(x, column_count, block_columns == 1 ? FLT_MAX : SCALED_MAX))
        return false;
    size_t block_bytes = tensor_row_bytes(type, block_columns);
    for (size_t i = 0; i < column_count; i += block_columns, block += block_bytes)
        ok = functions[type](x + i, block) && ok;
    return ok;
}
