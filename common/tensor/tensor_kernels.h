/*
 * The table of inner loops, one per instruction set. Internal to the module (and its tests).
 *
 * Packed weights ("P16"): 16 output rows (a row group) side by side, so that lane j of a
 * vector always belongs to row j and no sum ever crosses lanes. Groups follow each other; the
 * last one is filled up with zeros.
 *   Q8_0  blocks of 32 columns: f16 scale[16]; u8 q[8][16][4], q[k][j][i] = w[j, 4k + i] + 128
 *   Q4_0  blocks of 32 columns: f16 scale[16]; u8 q[4][16][4], low nibble w[j, 4k + i] + 8,
 *         high nibble w[j, 16 + 4k + i] + 8
 *   F32, F16, BF16  w[column][16]
 * Weights are unsigned because vpdpbusd wants one unsigned operand. The offset is taken out
 * exactly, in integers: a block's sum starts at -offset * sum(a) instead of 0.
 */
#ifndef TENSOR_KERNELS_H
#define TENSOR_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_BLOCK_COLUMNS      32u
#define TENSOR_Q8_0_GROUP_BYTES   544u /* one block of a row group */
#define TENSOR_Q4_0_GROUP_BYTES   288u
#define TENSOR_GROUP_SCALES_BYTES 32u
#define TENSOR_TOKEN_TILE_MAX     12u

/* Some row groups times at most token_tile tokens. Everything is borrowed. */
struct tensor_tile {
    const uint8_t *groups; /* packed, the first of group_count */
    size_t group_bytes;    /* from one group to the next */
    size_t group_count;
    size_t row_count; /* rows of these groups that exist: the last group may be cut */
    size_t column_count;
    size_t token_count;

    /* Quantised activations, first token of the tile; the distance from one block of 32
     * columns to the next is token_stride times the size of one token's item. */
    const int8_t *q;           /* [block][token_stride][32] */
    const float *scale;        /* [block][token_stride] */
    const int32_t *start_q8_0; /* [block][token_stride], -128 * sum(q) */
    const int32_t *start_q4_0; /* [block][token_stride], -8 * sum(q) */
    size_t token_stride;

    const float *x; /* plain activations [token_count, column_count] */

    float *y; /* [token_count, y_stride], column of the first row */
    size_t y_stride;
};

/* Where one token's quantised form goes: item of block b at b * token_stride. */
struct tensor_quantized {
    int8_t *q;
    float *scale;
    int32_t *start_q8_0;
    int32_t *start_q4_0;
    size_t token_stride;
};

typedef void tensor_product_fn(const struct tensor_tile *tile);

struct tensor_kernels {
    const char *name;
    size_t token_tile; /* most tokens of one tile, <= TENSOR_TOKEN_TILE_MAX */
    tensor_product_fn *product_f32;
    tensor_product_fn *product_f16;
    tensor_product_fn *product_bf16;
    tensor_product_fn *product_q8_0;
    tensor_product_fn *product_q4_0;
    void (*quantize)(const float *x, size_t column_count, const struct tensor_quantized *out);
    float (*dot)(const float *a, const float *b, size_t count);
    void (*axpy)(float a, const float *x, size_t count, float *y);
    void (*silu_mul)(const float *gate, const float *up, size_t count, float *y);
    float (*max)(const float *x, size_t count);
    /* y[i] = exp(x[i] - shift); returns the sum over 16 lanes. y may be x, or NULL. */
    float (*exp_shifted)(const float *x, size_t count, float shift, float *y);
};

extern const struct tensor_kernels tensor_kernels_scalar;
#ifdef TENSOR_WITH_X86
extern const struct tensor_kernels tensor_kernels_avx2;
extern const struct tensor_kernels tensor_kernels_avx512;
#endif

/* The table in use: the best that the processor has, or what LAYERMESH_ISA asks for if the
 * processor has it. Chosen once. Thread-safe. */
const struct tensor_kernels *tensor_kernels_get(void);

/* For tests: "scalar", "avx2", "avx512"; NULL goes back to the choice of tensor_kernels_get().
 * False, and no change, when the processor or the build lacks it. No products may run. */
bool tensor_kernels_use(const char *isa);

#endif
