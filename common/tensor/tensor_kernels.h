/*
 * The table of inner loops, one per instruction set. Internal to the module (and its tests).
 *
 * Packed weights: 16 output rows (a row group) side by side, so that lane j of a vector always
 * belongs to row j and no sum ever crosses lanes. Groups follow each other; the last one is filled
 * up with zeros. Everything is as large as in the file. Four columns are a step: 64 bytes, byte
 * [j][i] for row j and column 4 * step + i. The eight steps of 32 columns, by bits of a code:
 *   8  u8 [8][16][4], the code + 128
 *   4  u8 [4][16][4]: nibbles of steps 2k (low) and 2k + 1 (high)
 *   2  u8 [2][16][4]: byte k has steps 4k .. 4k + 3 from the low bits up
 *   1  u8 [16][4]: bit s is step s
 *   5 = 4 then 1;  6 = 4 then 2;  3 = 2 then 1
 * Blocks of 32 columns:
 *   Q8_0, Q4_0, Q5_0, IQ4_NL  f16 scale[16]; codes
 *   Q4_1, Q5_1                f16 scale[16], min[16]; codes
 *   MXFP4                     u8 exponent[16]; codes
 * Superblocks of 256 columns, codes eight times those of 32:
 *   Q4_K, Q5_K  f16 scale[16], min[16]; for pairs p of blocks u8 [4][16][2]: 6 bits of the scale,
 *               low 2 of the min; u8 [4][16]: high 4 bits of both mins, block 2p low; codes
 *   Q6_K        f16 scale[16]; s8 scales[16][16] (by 16 columns, then by row); codes
 *   Q2_K        f16 scale[16], min[16]; u8 [16][16]: low 4 bits scale, high 4 bits min; codes
 *   Q3_K        f16 scale[16]; u8 [8][16]: low 4 bits of scales 2k, 2k + 1; u8 [4][16]: high 2
 *               bits of scales 4k .. 4k + 3; codes (the high bit as in the file: set for 0..3)
 *   IQ4_XS      f16 scale[16]; u8 [4][16], u8 [2][16] as Q3_K, for 8 scales; codes
 *   F32, F16    w[column][16]
 *   BF16        w[pair of columns][16][2], a column of zeros at the end of an odd number
 * Weights are unsigned because vpdpbusd wants one unsigned operand. Offsets are taken out exactly,
 * in integers: a block's sum starts at -offset * sum(a) instead of 0.
 */
#ifndef TENSOR_KERNELS_H
#define TENSOR_KERNELS_H

#include "tensor_type.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TENSOR_BLOCK_COLUMNS      32u
#define TENSOR_SUPERBLOCK_COLUMNS 256u
#define TENSOR_BF16_PAIRS         16u /* of columns, in a block of bfloat16 activations */
#define TENSOR_FLOAT_COLUMNS      16u /* of a block of plain activations */
#define TENSOR_TOKEN_TILE_MAX     12u
#define TENSOR_TYPES              40u /* ids are below this */

/* Packed bytes of sixteen rows: 32 columns of a type with scales per 32; ... */
#define TENSOR_BLOCK_BYTES_32(type)                                                                \
    ((type) == TENSOR_Q8_0       ? 544u                                                            \
        : (type) == TENSOR_Q4_1  ? 320u                                                            \
        : (type) == TENSOR_Q5_0  ? 352u                                                            \
        : (type) == TENSOR_Q5_1  ? 384u                                                            \
        : (type) == TENSOR_MXFP4 ? 272u                                                            \
                                 : 288u)
/* ... codes of 32 columns and integer scales of 256 of one with scales per 256. */
#define TENSOR_QUANT_BYTES_256(type)                                                               \
    ((type) == TENSOR_Q2_K      ? 128u                                                             \
        : (type) == TENSOR_Q3_K ? 192u                                                             \
        : (type) == TENSOR_Q5_K ? 320u                                                             \
        : (type) == TENSOR_Q6_K ? 384u                                                             \
                                : 256u)
#define TENSOR_SCALE_BYTES_256(type)                                                               \
    ((type) == TENSOR_Q6_K || (type) == TENSOR_Q2_K ? 256u : (type) == TENSOR_IQ4_XS ? 96u : 192u)

/* Activations in 8 bits with a scale per 32 columns. The distance from one block of columns to
 * the next is token_stride times the size of one token's item. */
struct tensor_form_32 {
    int8_t *q;          /* [block][token_stride][32] */
    float *scale;       /* [block][token_stride] */
    float *scaled_sum;  /* [block][token_stride], scale * sum(q) */
    int32_t *minus_sum; /* [block][token_stride], -sum(q) */
};

/* ... with a scale per 256 columns, a superblock of eight blocks. */
struct tensor_form_256 {
    int8_t *q;              /* [pair of blocks][token_stride][64] */
    float *scale;           /* [superblock][token_stride] */
    int32_t *start_32;      /* [block][2][token_stride], -32 * sum(q) of 16 columns */
    int32_t *minus_sum_256; /* [superblock][token_stride] */
    int32_t *sums_16;       /* [block][token_stride]: sums of 16 columns as two int16 */
    int32_t *sums_32;       /* [pair of blocks][token_stride]: sums of 32 as two int16 */
};

/* Some row groups times at most token_tile tokens. Everything is borrowed; the forms begin at the
 * first token of the tile. */
struct tensor_tile {
    const uint8_t *groups; /* packed, the first of group_count */
    size_t group_bytes;    /* from one group to the next */
    size_t group_count;
    size_t row_count; /* rows of these groups that exist: the last group may be cut */
    size_t column_count;
    size_t token_count;
    size_t token_stride;
    struct tensor_form_32 form_32;
    struct tensor_form_256 form_256;
    const float *form_float;   /* [block of 16 columns][token_stride][16] */
    const uint32_t *form_bf16; /* [block of 32 columns][token_stride][16]: two columns each */

    /* Weights ahead_bytes further on are brought closer, at every ahead_every-th block (of 32
     * columns, or 16 floats) from ahead_phase. */
    size_t ahead_bytes, ahead_every, ahead_phase;

    float *y; /* [token_count, y_stride], column of the first row */
    size_t y_stride;
};

typedef void tensor_product_fn(const struct tensor_tile *tile);

#define TENSOR_EACH_PLAIN_TYPE(X, isa) X(isa, F32) X(isa, F16) X(isa, BF16)
#define TENSOR_EACH_QUANTISED_TYPE(X, isa)                                                         \
    X(isa, Q8_0)                                                                                   \
    X(isa, Q4_0)                                                                                   \
    X(isa, Q4_1)                                                                                   \
    X(isa, Q5_0)                                                                                   \
    X(isa, Q5_1)                                                                                   \
    X(isa, Q2_K)                                                                                   \
    X(isa, Q3_K)                                                                                   \
    X(isa, Q4_K)                                                                                   \
    X(isa, Q5_K)                                                                                   \
    X(isa, Q6_K)                                                                                   \
    X(isa, IQ4_NL)                                                                                 \
    X(isa, IQ4_XS)                                                                                 \
    X(isa, MXFP4)
#define TENSOR_EACH_TYPE(X, isa) TENSOR_EACH_PLAIN_TYPE(X, isa) TENSOR_EACH_QUANTISED_TYPE(X, isa)
#define TENSOR_DECLARE_PRODUCT(isa, type)                                                          \
    void tensor_product_##isa##_##type(const struct tensor_tile *tile);
TENSOR_EACH_TYPE(TENSOR_DECLARE_PRODUCT, scalar)
/* BF16 with plain activations. */
void tensor_product_scalar_BF16_exact(const struct tensor_tile *tile);
extern tensor_product_fn *const tensor_products_scalar[TENSOR_TYPES]; /* NULL: no such type */
#ifdef TENSOR_WITH_X86
TENSOR_EACH_TYPE(TENSOR_DECLARE_PRODUCT, avx2)
TENSOR_EACH_QUANTISED_TYPE(TENSOR_DECLARE_PRODUCT, avxvnni)
TENSOR_EACH_TYPE(TENSOR_DECLARE_PRODUCT, avx512)
TENSOR_EACH_QUANTISED_TYPE(TENSOR_DECLARE_PRODUCT, amx)
void tensor_product_avx2_BF16_exact(const struct tensor_tile *tile);
void tensor_product_avx512_BF16_exact(const struct tensor_tile *tile);
/* BF16 by vdpbf16ps, and by the same sequence of other instructions. */
void tensor_product_avx512_native_BF16(const struct tensor_tile *tile);
void tensor_product_avx512_fma_BF16(const struct tensor_tile *tile);
double tensor_peak_avx512_bf16(uint32_t steps);
extern tensor_product_fn *const tensor_products_avx2[TENSOR_TYPES];
extern tensor_product_fn *const tensor_products_avxvnni[TENSOR_TYPES];
extern tensor_product_fn *const tensor_products_avx512[TENSOR_TYPES];
extern tensor_product_fn *const tensor_products_amx[TENSOR_TYPES];
double tensor_peak_amx_int8(uint32_t steps);
#endif

/* What the units can do at best: each runs so many steps on the calling thread and returns the
 * operations done. NULL where the instruction set has no such unit. */
struct tensor_peaks {
    double (*int8)(uint32_t steps);
    double (*bf16)(uint32_t steps);
    double (*f32)(uint32_t steps);
};
extern const struct tensor_peaks tensor_peaks_scalar;
#ifdef TENSOR_WITH_X86
extern const struct tensor_peaks tensor_peaks_avx2;
extern const struct tensor_peaks tensor_peaks_avxvnni;
extern const struct tensor_peaks tensor_peaks_avx512;
#endif

struct tensor_attention_kernels;

struct tensor_kernels {
    const char *name;
    const struct tensor_attention_kernels *attention;
    size_t token_tile;                  /* most tokens of one tile, <= TENSOR_TOKEN_TILE_MAX */
    tensor_product_fn *const *products; /* [TENSOR_TYPES] by type, NULL where there is none */
    tensor_product_fn *product_bf16_exact;
    const struct tensor_peaks *peaks;
    /* The same products for as many tokens as there are, or NULL; and from how many on they are
     * faster, by columns to a scale. */
    tensor_product_fn *const *wide_products; /* [TENSOR_TYPES] */
    size_t wide_tokens_min_32, wide_tokens_min_256;
    double (*wide_peak_int8)(uint32_t steps); /* as peaks->int8, of the unit that they use */
    /* One token's x into the forms, which begin at that token. */
    void (*quantize_32)(const float *x, size_t column_count, size_t token_stride,
        const struct tensor_form_32 *form);
    void (*quantize_256)(const float *x, size_t column_count, size_t token_stride,
        const struct tensor_form_256 *form);
    float (*dot)(const float *a, const float *b, size_t count);
    void (*axpy)(float a, const float *x, size_t count, float *y);
    void (*add)(const float *x, size_t count, float *y);
    /* y[i] = x[i] * factor * weight[i], from the left; weight may be NULL, y may be x. */
    void (*scale)(const float *x, float factor, const float *weight, size_t count, float *y);
    /* One head, with cos_sin as tensor_rope() has it. */
    void (*rope)(float *x, size_t rotary_dim, const float *cos_sin, bool adjacent);
    void (*silu_mul)(const float *gate, const float *up, size_t count, float *y);
    float (*max)(const float *x, size_t count);
    /* y[i] = exp(x[i] - shift); returns the sum over 16 lanes. y may be x, or NULL. */
    float (*exp_shifted)(const float *x, size_t count, float shift, float *y);
};

extern const struct tensor_kernels tensor_kernels_scalar;
#ifdef TENSOR_WITH_X86
extern const struct tensor_kernels tensor_kernels_avx2;
extern const struct tensor_kernels tensor_kernels_avxvnni;
extern const struct tensor_kernels tensor_kernels_avx512;
extern const struct tensor_kernels tensor_kernels_amx; /* AVX-512, and AMX for many tokens */
#endif

/* The table in use: the best that the processor has, or what LAYERMESH_ISA asks for if the
 * processor has it. Chosen once. Thread-safe. */
const struct tensor_kernels *tensor_kernels_get(void);

/* For tests: a name as LAYERMESH_ISA has it; NULL goes back to the choice of tensor_kernels_get().
 * False, and no change, when the processor or the build lacks it. No products may run. */
bool tensor_kernels_use(const char *isa);

#endif
