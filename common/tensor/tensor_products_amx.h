/*
 * Products of many tokens by AMX: what both forms share. The tile unit multiplies 16 tokens with a
 * row group at a time; its int32 sums are exact, so outputs have the bits that tensor_matrix.h
 * promises, and the packed order of weights (four columns of sixteen rows to 64 bytes) is what the
 * unit wants.
 *
 * Codes are spread out to bytes first, some columns of a few row groups, which stay in the caches
 * while all tokens pass. Running sums wait in memory meanwhile.
 */
#ifndef TENSOR_PRODUCTS_AMX_H
#define TENSOR_PRODUCTS_AMX_H
#ifdef __AVX512VNNI__ /* only files built for it use it */

#include "tensor_amx.h"
#include "tensor_products_avx512.h"
#include "tensor_products_common.h"
#include <string.h>

#define AMX_TOKENS      16u  /* rows of a tile */
#define AMX_PASS_TOKENS 256u /* whose activations stay in the second cache */
#define AMX_PASS_GROUPS 4u
#define AMX_SPREAD_MAX  (10u << 10) /* codes of one group, spread out */

/* Weights of the next pass, asked for while this one keeps the tile unit busy. */
struct amx_wanted {
    const uint8_t *next;
    size_t left;          /* bytes of this group */
    size_t bytes, stride; /* of each group, and from one to the next */
    size_t groups;
};

/* The next so many bytes, a part of those of a group. */
ALWAYS_INLINE void amx_fetch(struct amx_wanted *self, size_t bytes)
{
    if (self->groups == 0)
        return;
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(self->next + i, 0, TENSOR_AHEAD_HINT);
    self->next += bytes;
    self->left -= bytes;
    if (self->left == 0) {
        self->next += self->stride - self->bytes;
        self->left = self->bytes;
        self->groups--;
    }
}

/* What one pass works on: spread weights of some groups times activations of some tokens. */
struct amx_pass {
    const struct tensor_tile *tile;
    size_t unit_first, unit_count;
    size_t token_first, token_count;
    size_t group_first, group_count;
    bool is_last;      /* of the columns: sums go to the tile's y */
    size_t configured; /* the tokens that the tile registers are configured for */
    struct amx_wanted wanted;
    uint8_t (*spread)[AMX_SPREAD_MAX];  /* [group_count] */
    float (*sums)[AMX_PASS_TOKENS][16]; /* [group_count][token_count] of the columns before */
};

/* How one weight type does its part. A unit is as many columns as share a scale. */
struct amx_form {
    size_t unit_columns;
    size_t unit_bytes;              /* packed */
    size_t pass_units, pass_groups; /* at a time; the latter at most AMX_PASS_GROUPS */
    /* Spreads units of one group out. */
    void (*spread)(const uint8_t *packed, size_t unit_count, uint8_t *spread);
    void (*add)(struct amx_pass *pass);
};

ALWAYS_INLINE size_t amx_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Registers for products of so many tokens and columns: tmm0 to 3 sums, tmm4 and 5 activations, tmm6
 * and 7 weights. */
ALWAYS_INLINE void amx_configure_for(
    struct amx_pass *pass, size_t token_count, const uint8_t columns)
{
    const uint8_t tokens = (uint8_t)token_count, steps = columns / 4;
    const struct amx_config config = {
        .palette = 1,
        .row_bytes = {64, 64, 64, 64, columns, columns, 64, 64},
        .row_count = {tokens, tokens, tokens, tokens, tokens, tokens, steps, steps},
    };

    if (pass->configured != token_count)
        amx_configure(&config);
    pass->configured = token_count;
}

/* Where new sums of tokens go, the first token's: row after row, stride floats apart. */
struct amx_target {
    float *sums;
    size_t stride;
    __mmask16 rows; /* of the group that exist */
};

/* Of up to AMX_TOKENS tokens from one of the pass on. Results are far apart and mostly in no cache,
 * so they are asked for early. */
ALWAYS_INLINE struct amx_target amx_target_of(
    const struct amx_pass *pass, size_t group, size_t token)
{
    const struct tensor_tile *tile = pass->tile;
    struct amx_target target = {pass->sums[group][token], 16, 0xffff};

    if (pass->is_last) {
        size_t row = (pass->group_first + group) * TENSOR_ROW_GROUP;
        size_t row_count = amx_least(tile->row_count - row, TENSOR_ROW_GROUP);
        target.rows = (__mmask16)((1u << row_count) - 1);
        target.stride = tile->y_stride;
        target.sums = tile->y + (pass->token_first + token) * tile->y_stride + row;
        for (size_t t = 0; t < AMX_TOKENS; t++)
            __builtin_prefetch(target.sums + t * target.stride, 1);
    }
    return target;
}

ALWAYS_INLINE FLOATS amx_sum_of(const struct amx_pass *pass, size_t group, size_t token)
{
    return pass->unit_first == 0 ? floats_zero() : floats_load(pass->sums[group][token]);
}

ALWAYS_INLINE void amx_put(const struct amx_target *target, size_t token, FLOATS sum)
{
    _mm512_mask_storeu_ps(target->sums + token * target->stride, target->rows, sum);
}

/* The next columns of these groups, or the first of those behind them. */
ALWAYS_INLINE struct amx_wanted wanted_after(
    const struct amx_pass *pass, const struct amx_form *form, const uint8_t *w)
{
    const struct tensor_tile *tile = pass->tile;
    size_t unit_count = tile->column_count / form->unit_columns;
    size_t units = amx_least(unit_count - pass->unit_first - pass->unit_count, form->pass_units);
    size_t groups = pass->group_count;

    w += pass->unit_count * form->unit_bytes;
    if (pass->is_last) {
        size_t behind = tile->group_count - pass->group_first - pass->group_count;
        groups = amx_least(behind, form->pass_groups);
        units = amx_least(unit_count, form->pass_units);
        w += (pass->group_count - 1) * tile->group_bytes;
    }
    size_t bytes = units * form->unit_bytes;
    return (struct amx_wanted){w, bytes, bytes, tile->group_bytes, groups};
}

/* All columns of some groups times some tokens. */
ALWAYS_INLINE void amx_groups(struct amx_pass *pass, const struct amx_form *form)
{
    const struct tensor_tile *tile = pass->tile;
    const size_t unit_count = tile->column_count / form->unit_columns;
    const uint8_t *w = tile->groups + pass->group_first * tile->group_bytes;

    for (size_t unit = 0; unit < unit_count; unit += form->pass_units) {
        pass->unit_first = unit;
        pass->unit_count = amx_least(unit_count - unit, form->pass_units);
        pass->is_last = unit + pass->unit_count == unit_count;
        for (size_t g = 0; g < pass->group_count; g++) {
            const uint8_t *p = w + g * tile->group_bytes + unit * form->unit_bytes;
            form->spread(p, pass->unit_count, pass->spread[g]);
        }
        pass->wanted = wanted_after(pass, form, w + unit * form->unit_bytes);
        form->add(pass);
    }
}

ALWAYS_INLINE void amx_product(const struct tensor_tile *tile, const struct amx_form *form)
{
    alignas(64) uint8_t spread[AMX_PASS_GROUPS][AMX_SPREAD_MAX];
    alignas(64) float sums[AMX_PASS_GROUPS][AMX_PASS_TOKENS][16];
    struct amx_pass pass = {.tile = tile, .spread = spread, .sums = sums};

    for (size_t token = 0; token < tile->token_count; token += AMX_PASS_TOKENS) {
        pass.token_first = token;
        pass.token_count = amx_least(tile->token_count - token, AMX_PASS_TOKENS);
        for (size_t group = 0; group < tile->group_count; group += form->pass_groups) {
            pass.group_first = group;
            pass.group_count = amx_least(tile->group_count - group, form->pass_groups);
            amx_groups(&pass, form);
        }
    }
    amx_release();
}

#endif
#endif
