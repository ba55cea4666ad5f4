/* What one thread does of a phase: its tokens, its rows of products, its part of preparation. */
#include "stage_internal.h"

#include "tensor_pool.h"

/* Columns of one token that are prepared at a time: whole blocks of every form. */
#define PREPARED_COLUMNS 256u

void stage_split(
    const struct stage_run_context *run, size_t count, size_t *ret_first, size_t *ret_last)
{
    size_t each = count / run->thread_count, rest = count % run->thread_count;

    *ret_first = each * run->thread_index + (run->thread_index < rest ? run->thread_index : rest);
    *ret_last = *ret_first + each + (run->thread_index < rest);
}

void stage_barrier(const struct stage_run_context *run)
{
    tensor_pool_barrier(run->pool);
}

void stage_for_tokens(struct stage_run_context *run, stage_token_fn *fn)
{
    size_t first = 0, last = 1;

    if (!run->own)
        stage_split(run, run->token_count, &first, &last);
    for (size_t i = first; i < last; i++)
        fn(run, (uint32_t)i);
}

void stage_tokens_done(const struct stage_run_context *run)
{
    if (!run->own)
        stage_barrier(run);
}

uint32_t stage_forms(const struct tensor_matrix *w)
{
    return w == NULL ? 0 : tensor_form_of(tensor_matrix_type(w));
}

size_t stage_form_unit(uint32_t forms)
{
    return (forms & TENSOR_FORM_256) != 0 ? 256 : 32;
}

void stage_set_outer(
    struct stage_run_context *run, const float *x, size_t token_count, uint32_t forms)
{
    run->outer = (struct tensor_activations){
        .input = run->stage->outer,
        .x = x,
        .token_count = token_count,
        .column_count = run->stage->config->embedding_length,
        .forms = forms,
        .copy = run->own ? run->thread_index : 0,
    };
}

void stage_set_inner(struct stage_run_context *run, const float *x, size_t token_count,
    size_t column_count, uint32_t forms)
{
    run->inner = (struct tensor_activations){
        .input = run->stage->inner,
        .x = x,
        .token_count = token_count,
        .column_count = column_count,
        .forms = forms,
    };
}

void stage_prepare(const struct stage_run_context *run, const struct tensor_activations *x)
{
    size_t pieces = (x->column_count + PREPARED_COLUMNS - 1) / PREPARED_COLUMNS;
    size_t first, last;

    stage_split(run, pieces * x->token_count, &first, &last);
    for (size_t i = first; i < last; i++) {
        size_t column = i % pieces * PREPARED_COLUMNS, left = x->column_count - column;
        tensor_activations_prepare(
            x, i / pieces, column, left < PREPARED_COLUMNS ? left : PREPARED_COLUMNS);
    }
}

static size_t group_bytes(const struct tensor_matrix *w)
{
    size_t bytes;

    (void)tensor_matrix_packed(w, &bytes);
    return bytes / ((tensor_matrix_rows(w) + TENSOR_ROW_GROUP - 1) / TENSOR_ROW_GROUP);
}

/* Row of w that begins byte at, or the next group. */
static size_t row_at(const struct tensor_matrix *w, size_t at)
{
    size_t each = group_bytes(w), row = (at + each - 1) / each * TENSOR_ROW_GROUP;

    return row < tensor_matrix_rows(w) ? row : tensor_matrix_rows(w);
}

void stage_multiply(const struct stage_run_context *run, const struct stage_product *products,
    size_t product_count, const struct tensor_activations *x)
{
    size_t total = 0, bytes, first, last;

    for (size_t i = 0; i < product_count; i++) {
        (void)tensor_matrix_packed(products[i].w, &bytes);
        total += bytes;
    }
    stage_split(run, total, &first, &last);
    for (size_t i = 0; i < product_count && last > 0; i++) {
        const struct tensor_matrix *w = products[i].w;
        size_t row_first = row_at(w, first), row_last = row_at(w, last);
        if (row_first < row_last)
            tensor_matmul_rows(w, x, row_first, row_last, products[i].y, tensor_matrix_rows(w));
        (void)tensor_matrix_packed(w, &bytes);
        first = first > bytes ? first - bytes : 0;
        last = last > bytes ? last - bytes : 0;
    }
}
