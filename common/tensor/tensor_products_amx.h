/*
 * Products of many tokens by AMX: what both forms share. The tile unit multiplies 16 tokens with a row group at a
 * time; its int32 sums are exact, so outputs have the bits that tensor_matrix.h promises, and the
 * packed order of weights (four columns of sixteen rows to 64 bytes) is what the unit wants.
 *
 * Codes are spread out to signed bytes first, some columns of two row groups, which stay in the
 * caches while all tokens pass. Running sums wait in memory meanwhile.
 */
#ifndef TENSOR_PRODUCTS_AMX_H
#define TENSOR_PRODUCTS_AMX_H
#ifdef __AVX512VNNI__ /* only files built for it use it */

#include "tensor_amx.h"
#include "tensor_products_avx512.h"
#include "tensor_products_common.h"
#include <string.h>

#define AMX_TOKENS      16u  /* rows of a tile */
#define AMX_PASS_TOKENS 512u /* that running sums are kept for */
#define AMX_PASS_GROUPS 2u
#define AMX_SPREAD_MAX  (40u << 10) /* codes of one group, spread out */

/* What one pass works on: spread weights of some groups times activations of some tokens. */
struct amx_pass {
    const struct tensor_tile *tile;
    size_t unit_first, unit_count;
    size_t token_first, token_count;
    size_t group_count;
    uint8_t (*spread)[AMX_SPREAD_MAX];  /* [group_count] */
    float (*sums)[AMX_PASS_TOKENS][16]; /* [group_count][token_count], added to */
};

/* How one weight type does its part. A unit is as many columns as share a scale. */
struct amx_form {
    size_t unit_columns;
    size_t unit_bytes; /* packed */
    size_t pass_units;
    /* Spreads units of one group out. */
    void (*spread)(const uint8_t *packed, size_t unit_count, uint8_t *spread);
    void (*add)(const struct amx_pass *pass);
};

ALWAYS_INLINE size_t amx_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Asks for weights that are wanted next while these are worked on. */
ALWAYS_INLINE void amx_fetch(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + i, 0, 2);
}

ALWAYS_INLINE void amx_store(const struct amx_pass *pass, size_t group_first)
{
    for (size_t g = 0; g < pass->group_count; g++) {
        size_t row = (group_first + g) * TENSOR_ROW_GROUP;
        size_t row_count = amx_least(pass->tile->row_count - row, TENSOR_ROW_GROUP);
        __mmask16 rows = (__mmask16)((1u << row_count) - 1);
        float *y = pass->tile->y + pass->token_first * pass->tile->y_stride + row;
        for (size_t t = 0; t < pass->token_count; t++, y += pass->tile->y_stride)
            _mm512_mask_storeu_ps(y, rows, _mm512_load_ps(pass->sums[g][t]));
    }
}

/* All columns of some groups times some tokens. */
ALWAYS_INLINE void amx_groups(
    struct amx_pass *pass, const struct amx_form *form, size_t group_first)
{
    const struct tensor_tile *tile = pass->tile;
    const size_t unit_count = tile->column_count / form->unit_columns;
    const uint8_t *w = tile->groups + group_first * tile->group_bytes;

    for (size_t g = 0; g < pass->group_count; g++)
        memset(pass->sums[g], 0, pass->token_count * sizeof(pass->sums[g][0]));
    for (size_t unit = 0; unit < unit_count; unit += form->pass_units) {
        pass->unit_first = unit;
        pass->unit_count = amx_least(unit_count - unit, form->pass_units);
        for (size_t g = 0; g < pass->group_count; g++) {
            const uint8_t *p = w + g * tile->group_bytes + unit * form->unit_bytes;
            form->spread(p, pass->unit_count, pass->spread[g]);
        }
        form->add(pass);
    }
    amx_store(pass, group_first);
}

ALWAYS_INLINE void amx_product(const struct tensor_tile *tile, const struct amx_form *form)
{
    alignas(64) uint8_t spread[AMX_PASS_GROUPS][AMX_SPREAD_MAX];
    alignas(64) float sums[AMX_PASS_GROUPS][AMX_PASS_TOKENS][16];
    struct amx_pass pass = {.tile = tile, .spread = spread, .sums = sums};

    for (size_t token = 0; token < tile->token_count; token += AMX_PASS_TOKENS) {
        pass.token_first = token;
        pass.token_count = amx_least(tile->token_count - token, AMX_PASS_TOKENS);
        for (size_t group = 0; group < tile->group_count; group += AMX_PASS_GROUPS) {
            pass.group_count = amx_least(tile->group_count - group, AMX_PASS_GROUPS);
            amx_groups(&pass, form, group);
        }
    }
    amx_release();
}

#endif
#endif
