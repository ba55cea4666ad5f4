/*
 * Weight matrices in the layout the kernels want, and the product with activations.
 *
 * Determinism contract, the root of "same tokens whatever the cluster does": y[t, o] depends on
 * row o of w and on x[t, :] only. Not on the other tokens of the batch, the thread count, the
 * instruction set or how rows were packed. Per output:
 *   types with scales per 32 columns (Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4): x is quantised
 *     per token in blocks of 32 (scale amax/127, round to nearest even); block dots are exact
 *     int32; acc = fma(float(dot), w_scale * x_scale, acc), blocks ascending; where there is a min
 *     then acc = fma(w_min, x_scale * float(sum of the block), acc)
 *   superblocks of 256 columns (Q2_K .. Q6_K, IQ4_XS): x likewise in blocks of 256; dots times
 *     integer scales, and mins times sums, are exact int32; acc = fma(float(dot) * w_scale -
 *     float(min) * w_min, x_scale, acc), the subtraction rounded once (fma)
 *   F32, F16: acc = fma(w[o, i], x[t, i], acc), i ascending
 *   BF16: x is rounded to bfloat16, to nearest even; for pairs of columns 2i, 2i + 1, ascending:
 *     acc = fma(w[o, 2i + 1], x[t, 2i + 1], acc), then the same for 2i; subnormals, given or
 *     computed, count as zero: what vdpbf16ps does
 * Every kernel (scalar, AVX2, AVX-VNNI, AVX-512) gives these bits (only the payload and sign of a
 * NaN are free); LAYERMESH_ISA=scalar|avx2|avxvnni|avx512|amx picks one, if the processor has it.
 */
#ifndef TENSOR_MATRIX_H
#define TENSOR_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tensor_pool;
struct tensor_matrix;

/*
 * An empty matrix w [row_count, column_count] of a supported type; column_count a multiple of
 * the type's block. Returns BASE_OK, BASE_INVALID, BASE_UNSUPPORTED or BASE_NOMEM.
 * fast_float: F32/F16/BF16 products of several tokens may go through OpenBLAS, which gives up
 * the contract above. They keep f32 rows beside the packed ones.
 */
int tensor_matrix_new(uint32_t type, size_t row_count, size_t column_count, bool fast_float,
    struct tensor_matrix **ret_matrix);
void tensor_matrix_destroy(struct tensor_matrix **self_p);

/*
 * As above, with the packed weights in memory of the caller, borrowed until destroy:
 * tensor_matrix_bytes() bytes, aligned to 64 bytes or better. They are to be packed by
 * tensor_matrix_pack(), or are already what tensor_matrix_packed() gave for the same type, shape
 * and layout id; then they are only read and may be a read-only mapping. Their content is not
 * checked: any bytes give some numbers and no other harm. Returns as tensor_matrix_new().
 */
int tensor_matrix_new_in(uint32_t type, size_t row_count, size_t column_count, void *memory,
    struct tensor_matrix **ret_matrix);

/* The packed weights, owned by the matrix: what a pack cache writes. They do not depend on the
 * instruction set. */
const void *tensor_matrix_packed(const struct tensor_matrix *self, size_t *ret_bytes);

/* Names the packed layout of a type; another number whenever its bytes change. 0: unknown type. */
uint32_t tensor_layout_id(uint32_t type);

/* Copies rows as stored in a file. Rows [row_first, row_first + row_count); different threads
 * may pack different groups of TENSOR_ROW_GROUP rows (row_first a multiple of it). */
#define TENSOR_ROW_GROUP 16u
void tensor_matrix_pack(
    struct tensor_matrix *self, size_t row_first, size_t row_count, const void *rows);

uint32_t tensor_matrix_type(const struct tensor_matrix *self);
size_t tensor_matrix_rows(const struct tensor_matrix *self);
size_t tensor_matrix_columns(const struct tensor_matrix *self);

/* Bytes that a matrix holds in memory once packed; 0 when the arguments are not valid. fast_float
 * matrices of F32/F16/BF16 hold row_count * column_count * 4 more. */
size_t tensor_matrix_bytes(uint32_t type, size_t row_count, size_t column_count);

/* y[i] = w[row, i] as f32 (embedding lookup). */
void tensor_matrix_row(const struct tensor_matrix *self, size_t row, float *y);

/* Activations in the forms that products need; buffers are sized once, at creation.
 * Returns BASE_OK, BASE_INVALID or BASE_NOMEM. */
struct tensor_input;
int tensor_input_new(size_t token_count_max, size_t column_count_max, struct tensor_input **ret);
void tensor_input_destroy(struct tensor_input **self_p);

/*
 * What activations are turned into before a product; every weight type wants one of them.
 * A set of forms is their sum of bits.
 */
enum tensor_form {
    TENSOR_FORM_FLOAT = 1, /* as they are */
    TENSOR_FORM_32 = 2,    /* 8 bits, one scale per 32 columns; a multiple of 32 columns */
    TENSOR_FORM_256 = 4,   /* 8 bits, one scale per 256 columns; a multiple of 256 columns */
    TENSOR_FORM_BF16 = 8,  /* rounded to bfloat16, to nearest even */
};
uint32_t tensor_form_of(uint32_t type);

/* Products of BF16 weights with activations as they are, as for F32, at half the speed or less: to
 * see what rounding them costs, and to compare with references that do not. For the whole process,
 * before any product; all that work on one model must agree, or tokens depend on the split. */
void tensor_bf16_use_exact(bool exact);

/*
 * Prepares x [token_count, column_count] f32 (borrowed until the last product with it) in every
 * form of a set, for matrices of the types that want these forms: the matrices of one prepared
 * input may be of several types. Called by one thread; spreads tokens over the pool (NULL: the
 * caller alone) and is complete on return. A block with an infinity or a NaN makes all outputs of
 * its token NaN. token_count may be 0.
 */
void tensor_input_prepare_forms(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t forms, struct tensor_pool *pool);

/* For matrices of one type. */
void tensor_input_prepare(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t for_type, struct tensor_pool *pool);

/* y[t, o] = sum_i x[t, i] * w[o, i], all of it, on the pool (NULL: the caller alone).
 *   x  prepared in the form of w's type, [token_count, column_count]
 *   y  [token_count, y_stride], y_stride >= row_count; overlaps nothing */
void tensor_matmul(struct tensor_pool *pool, const struct tensor_matrix *w,
    const struct tensor_input *x, float *y, size_t y_stride);

/*
 * The same within a job that all threads of a pool are running: each prepares some tokens or
 * columns and multiplies some rows, and barriers stand between (tensor_pool_barrier()). What is
 * multiplied is a value that every thread has for itself, all with the same content but for copy.
 */
struct tensor_activations {
    struct tensor_input
        *input;         /* where the forms are kept; what it was prepared with is not seen */
    const float *x;     /* [token_count, column_count] f32, borrowed */
    size_t token_count; /* at most the input's, as column_count */
    size_t column_count;
    uint32_t forms;
    /* A single token may be prepared more than once, by threads that multiply with their own copy
     * and so need not wait for each other: below tensor_input_copies(). 0 for several tokens. */
    uint32_t copy;
};
uint32_t tensor_input_copies(const struct tensor_input *self);

/* Columns [first, first + count) of one token: first and count are multiples of 256 where the forms
 * have TENSOR_FORM_256, of 32 otherwise, but for the end of the row. */
void tensor_activations_prepare(
    const struct tensor_activations *self, size_t token, size_t first, size_t count);

/* y[t, o] for rows [row_first, row_last) of w, which begin with a group of TENSOR_ROW_GROUP, out of
 * all tokens and columns; y and y_stride as for tensor_matmul(). */
void tensor_matmul_rows(const struct tensor_matrix *w, const struct tensor_activations *x,
    size_t row_first, size_t row_last, float *y, size_t y_stride);

/* Name of the instruction set in use: "avx512-vnni", "avx-vnni", "avx2", "scalar". */
const char *tensor_isa_name(void);

/* What this machine does, for placement: runs for about duration_ms on the pool.
 * gops: products of 24 tokens, 2 * rows * columns * tokens operations; gigabytes_per_s: one token,
 * weights far larger than caches. Returns BASE_OK, BASE_UNSUPPORTED or BASE_NOMEM. */
int tensor_measure(struct tensor_pool *pool, uint32_t type, uint32_t duration_ms, double *ret_gops,
    double *ret_gigabytes_per_s);

#endif
