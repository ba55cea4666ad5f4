/*
 * Attention of some query rows over a paged cache of keys and values: the layout of one head's
 * page, and the arithmetic. Pages, layers and threads are the caller's business.
 *
 * Determinism contract: the result of a row depends on its query and on the keys and values of the
 * positions that it sees, as they are stored. Not on the other rows of a tile, on page ids, on the
 * size of a page, on threads or on the instruction set:
 *   score[j]  = (sum_i q[i] * k[j, i], one chain of fma, i ascending) [* key scale] * scale, capped
 *   split     positions [512 s, 512 (s + 1)): m = max score, p[j] = exp(score[j] - m),
 *             sum over 16 lanes counted from the first position seen, o[i] = one chain of
 *             fma(v[j, i], p[j] [* value scale], o[i]), j ascending
 *   merge     splits in ascending order, each scaled to the common maximum so far
 * The split has a fixed length, so that parts may be computed anywhere and give the same bits.
 *
 * A page of one head, page_tokens a power of two, W = min(32, page_tokens):
 *   keys    [page_tokens / W][key_dim][W]: W positions side by side, so that no sum crosses lanes
 *   values  [value_stride / 32][page_tokens][32]: 32 elements side by side, or 16 in the last
 *           panel; value_stride = value_dim rounded up to 16, zeros behind
 * (so that what is read one after the other fills whole cache lines one after the other)
 * in f32, f16, or int8 (TENSOR_Q8_0) with one f32 scale (largest magnitude / 127) for each key and
 * each value of a position. f16 is rounded to the nearest even; what is beyond its range becomes
 * the largest f16, so that it stays a number.
 */
#ifndef TENSOR_ATTENTION_H
#define TENSOR_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_ATTENTION_ROWS  12u  /* rows of a tile at most */
#define TENSOR_ATTENTION_SPLIT 512u /* positions of a split */

/* Byte offsets within one head's page. */
struct tensor_attention_layout {
    uint32_t type; /* TENSOR_F32, TENSOR_F16 or TENSOR_Q8_0 */
    uint32_t page_tokens;
    uint32_t key_dim;
    uint32_t value_dim;
    uint32_t value_stride; /* value_dim and the zeros behind */
    uint32_t element_bytes;
    size_t key_scales;   /* f32 [page_tokens], int8 only, as the other */
    size_t values;       /* keys are at 0 */
    size_t value_scales; /* f32 [page_tokens] */
    size_t bytes;        /* of all, a multiple of 64 */
};

/* Whether a cache can be of this type. */
bool tensor_attention_type_supported(uint32_t type);
/* "f32", "f16", "int8"; NULL when it cannot be. Parsing returns BASE_OK or BASE_INVALID. */
const char *tensor_attention_type_name(uint32_t type);
int tensor_attention_type_parse(const char *name, uint32_t *ret_type);

/* Returns BASE_OK, or BASE_INVALID for a type that is not supported, a zero, page_tokens that is
 * no power of two, or sizes beyond size_t. */
int tensor_attention_layout_init(struct tensor_attention_layout *self, uint32_t type,
    uint32_t page_tokens, uint32_t key_dim, uint32_t value_dim);

/* Stores one position in a slot of a page, or reads it back as f32.
 *   page  [layout.bytes], 4-byte aligned; k [key_dim], v [value_dim] f32
 * Different threads may store different slots, but 32 slots of a page share cache lines. */
void tensor_attention_store(const struct tensor_attention_layout *layout, uint8_t *page,
    uint32_t slot, const float *k, const float *v);
void tensor_attention_load(const struct tensor_attention_layout *layout, const uint8_t *page,
    uint32_t slot, float *k, float *v);

/* The pages of one sequence in one layer and head. */
struct tensor_attention_cache {
    struct tensor_attention_layout layout;
    const uint8_t *memory;   /* of page id 0 */
    size_t page_bytes;       /* from one page id to the next */
    const uint32_t *pages;   /* ids; page i holds positions [i * page_tokens, ...) */
    uint32_t position_count; /* that were written */
    float scale;             /* of q . k */
    float softcap;           /* 0: none */
};

/* One query: one head of one token. It sees positions [first, end) of the cache. */
struct tensor_attention_row {
    const float *q; /* [key_dim] */
    uint32_t first;
    uint32_t end; /* first < end <= position_count */
};

/* Floats of a row's running result: values, then its maximum and its sum. */
size_t tensor_attention_state_floats(const struct tensor_attention_layout *layout);
/* Floats of scratch memory for one caller. */
size_t tensor_attention_scratch_floats(const struct tensor_attention_layout *layout);

/* A result that has seen nothing. */
void tensor_attention_begin(const struct tensor_attention_layout *layout, float *state);

/*
 * Partial results of one split for row_count rows, 1..TENSOR_ATTENTION_ROWS.
 *   states   [TENSOR_ATTENTION_ROWS, state_floats], all overwritten; a row that sees nothing of
 *            the split is as after tensor_attention_begin(). 64-byte aligned, as
 *   scratch  [scratch_floats]
 */
void tensor_attention_split(const struct tensor_attention_cache *cache,
    const struct tensor_attention_row *rows, uint32_t row_count, uint32_t split, float *states,
    float *scratch);

/* Adds the partial result of the next split to a running one. */
void tensor_attention_merge(
    const struct tensor_attention_layout *layout, float *state, const float *partial);

/* y[i] = value[i] / sum.  sink: a logit that only takes part in the sum, or NULL.  y [value_dim] */
void tensor_attention_finish(
    const struct tensor_attention_layout *layout, float *state, const float *sink, float *y);

#endif
