/*
 * The one door to OpenBLAS. Its sums depend on how it blocks the operands, so these products
 * are outside the contract of tensor_matrix.h and are used for fast_float matrices only.
 */
#include "tensor_matrix_private.h"
#include <cblas.h>
#include <pthread.h>

/* The pool's threads call at the same time, each with rows of its own; threads of OpenBLAS
 * beside them would only compete for the cores. */
static void use_one_thread(void)
{
    openblas_set_num_threads(1);
}

void tensor_openblas_product(const struct tensor_matrix *w, const struct tensor_input *x,
    size_t row_first, size_t row_last, float *y, size_t y_stride)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, use_one_thread);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)x->token_count,
        (blasint)(row_last - row_first), (blasint)x->column_count, 1.0f, x->x,
        (blasint)x->column_count, w->rows + row_first * w->column_count, (blasint)w->column_count,
        0.0f, y + row_first, (blasint)y_stride);
}
