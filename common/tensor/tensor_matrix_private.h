/* What a matrix and an input hold. Internal to the module. */
#ifndef TENSOR_MATRIX_PRIVATE_H
#define TENSOR_MATRIX_PRIVATE_H

#include "tensor_kernels.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tensor_activations;
struct tensor_pool;

struct tensor_matrix {
    uint32_t type; /* enum tensor_type */
    size_t row_count;
    size_t column_count;
    size_t group_count; /* row_count / 16, rounded up */
    size_t group_bytes; /* one packed group */
    uint8_t *groups;    /* [group_count][group_bytes], layout in tensor_kernels.h */
    void *owned;        /* groups, unless they are the caller's */
    float *rows;        /* [row_count, column_count] for OpenBLAS, NULL unless fast_float; owned */
};

struct tensor_input {
    size_t token_count_max;
    size_t column_count_max;
    /* Set by prepare: */
    const float *x; /* [token_count, column_count], borrowed */
    size_t token_count;
    size_t column_count;
    uint32_t forms; /* enum tensor_form */
    /* Blocks outermost and tokens side by side: a tile's tokens are one run of memory. */
    size_t token_stride;
    float *form_float; /* owned, as the arrays of the others; layouts in tensor_kernels.h */
    uint32_t *form_bf16;
    struct tensor_form_32 form_32;
    struct tensor_form_256 form_256;
};

/* An input as it stands when these activations are prepared in it: borrowed arrays. */
struct tensor_input tensor_input_view(const struct tensor_activations *activations);

/* [*first, *last) of item_count items for one thread: sizes differ by one at most. */
void tensor_split(
    size_t item_count, uint32_t thread_index, uint32_t thread_count, size_t *first, size_t *last);

/* The product of so many tokens at once, where the processor has a unit for it and they are
 * enough; or NULL. */
tensor_product_fn *tensor_wide_product(uint32_t type, size_t token_count);

/* y[t, o] for rows [row_first, row_last) out of the float rows that a fast_float matrix keeps. */
void tensor_openblas_product(const struct tensor_matrix *w, const struct tensor_input *x,
    size_t row_first, size_t row_last, float *y, size_t y_stride);

/* Fewer, larger pages: a product walks through all weights and misses the TLB on each 4 KiB
 * otherwise. Only advice, so failure does not matter. Freed by base_free(). */
void *tensor_alloc_weights(size_t bytes);

/* Whether BF16 weights meet plain activations. */
bool tensor_bf16_exact(void);

/* The forms from a token on. */
struct tensor_form_32 tensor_form_32_at(const struct tensor_input *self, size_t token);
struct tensor_form_256 tensor_form_256_at(const struct tensor_input *self, size_t token);

#endif
