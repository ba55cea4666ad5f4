/* The inner loops of attention, one table per instruction set. Internal to the module. */
#ifndef TENSOR_ATTENTION_KERNELS_H
#define TENSOR_ATTENTION_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Floats from one row of scores to the next: a split, and a line more so that rows do not meet in
 * the same sets of a cache. */
#define TENSOR_ATTENTION_STRIDE 528u

/* Scores of group_count groups of 16 positions that lie behind each other in one page. */
struct tensor_attention_scores {
    uint32_t type;
    const uint8_t *keys; /* of the page: [panel][dim][panel_groups][16] */
    const uint8_t *next; /* what will be read after it, laid out alike; brought close; or NULL */
    const float *scales; /* [group_count * 16], int8 only */
    size_t panel_groups; /* 2, or 1 where the page has one group */
    size_t group_first;  /* within the page */
    size_t group_count;
    size_t dim;
    const float *q; /* [dim / 16][TENSOR_ATTENTION_ROWS][16], rows behind row_count are zero */
    size_t row_count;
    float scale;
    float *scores; /* [TENSOR_ATTENTION_ROWS][TENSOR_ATTENTION_STRIDE], column of the first */
};

/* Values of one page. */
struct tensor_attention_piece {
    const uint8_t *values; /* [panel][page_tokens][2][16]; the last panel may be [1][16] */
    const uint8_t *next;   /* as above */
    size_t slot;           /* of the first value */
    size_t count;
};

#define TENSOR_ATTENTION_PIECES 8u

/* sums[r][i] = fma(values[j][i], weights[r][j], sums[r][i]) for j in turn, piece after piece. */
struct tensor_attention_values {
    uint32_t type;
    struct tensor_attention_piece pieces[TENSOR_ATTENTION_PIECES];
    size_t piece_count;
    size_t panel_bytes;
    size_t vector_count;  /* of 16 elements */
    const float *weights; /* [row][TENSOR_ATTENTION_STRIDE], column of the first */
    size_t row_count;
    float *sums; /* [row][sum_stride] */
    size_t sum_stride;
};

/* Rows of scores that become weights: exp(score - most) at columns [first, end), not empty. */
struct tensor_attention_rows {
    float *scores; /* [row_count][TENSOR_ATTENTION_STRIDE] */
    size_t row_count;
    const uint32_t *first, *end;
    float *most; /* the largest of each row, and the sum over 16 lanes */
    float *sum;
};

/* Rows up to the next shape behind row_count are computed too: their memory must be there. */
struct tensor_attention_kernels {
    void (*scores)(const struct tensor_attention_scores *args);
    void (*values)(const struct tensor_attention_values *args);
    void (*soften)(const struct tensor_attention_rows *args);
    /* y[i] = y[i] * a + x[i] * b, count a multiple of 16 */
    void (*blend)(float *y, float a, const float *x, float b, size_t count);
    /* y[i] = y[i] * x[i] */
    void (*multiply)(float *y, const float *x, size_t count);
    /* y[i] = x[i] as f16, to the nearest even and not beyond its range; NaN stays */
    void (*store_f16)(const float *x, size_t count, uint16_t *y);
};

extern const struct tensor_attention_kernels tensor_attention_scalar;
#ifdef TENSOR_WITH_X86
extern const struct tensor_attention_kernels tensor_attention_avx2;
extern const struct tensor_attention_kernels tensor_attention_avx512;
#endif

#endif
