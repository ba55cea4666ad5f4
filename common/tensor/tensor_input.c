#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_matrix_private.h"
#include "tensor_pool.h"
#include "tensor_type.h"

/* Fewer values than this are quantised sooner by one thread than a pool is woken. */
#define PARALLEL_VALUES 16384

/* Twice an odd number: a block of 32-byte items is then an odd number of cache lines long and
 * successive blocks do not fall on the same few sets of the cache. */
static size_t token_stride_of(size_t token_count)
{
    return 2 * (((token_count + 1) / 2) | 1);
}

int tensor_input_new(size_t token_count_max, size_t column_count_max, struct tensor_input **ret)
{
    size_t block_count = (column_count_max + TENSOR_BLOCK_COLUMNS - 1) / TENSOR_BLOCK_COLUMNS;
    size_t items, bytes;

    if (token_count_max == 0 || column_count_max == 0 || token_count_max > SIZE_MAX / 8)
        return BASE_INVALID;
    if (!base_mul_size(token_stride_of(token_count_max), block_count, &items) ||
        !base_mul_size(items, TENSOR_BLOCK_COLUMNS, &bytes))
        return BASE_NOMEM;
    struct tensor_input *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    self->token_count_max = token_count_max;
    self->column_count_max = column_count_max;
    self->q = base_alloc_aligned(bytes, 64);
    self->scale = base_alloc_array(items, sizeof(*self->scale));
    self->start_q8_0 = base_alloc_array(items, sizeof(*self->start_q8_0));
    self->start_q4_0 = base_alloc_array(items, sizeof(*self->start_q4_0));
    if (self->q == NULL || self->scale == NULL || self->start_q8_0 == NULL ||
        self->start_q4_0 == NULL) {
        tensor_input_destroy(&self);
        return BASE_NOMEM;
    }
    *ret = self;
    return BASE_OK;
}

void tensor_input_destroy(struct tensor_input **self_p)
{
    struct tensor_input *self = *self_p;

    if (self == NULL)
        return;
    base_free(self->q);
    base_free(self->scale);
    base_free(self->start_q8_0);
    base_free(self->start_q4_0);
    base_free(self);
    *self_p = NULL;
}

static void quantize_tokens(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct tensor_input *self = context;
    size_t first, last;

    tensor_split(self->token_count, thread_index, thread_count, &first, &last);
    for (size_t t = first; t < last; t++) {
        struct tensor_quantized out = {
            .q = self->q + t * TENSOR_BLOCK_COLUMNS,
            .scale = self->scale + t,
            .start_q8_0 = self->start_q8_0 + t,
            .start_q4_0 = self->start_q4_0 + t,
            .token_stride = self->token_stride,
        };
        tensor_kernels_get()->quantize(self->x + t * self->column_count, self->column_count, &out);
    }
}

uint32_t tensor_form_of(uint32_t type)
{
    return type == TENSOR_Q8_0 || type == TENSOR_Q4_0 ? TENSOR_FORM_32 : TENSOR_FORM_FLOAT;
}

void tensor_input_prepare_forms(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t forms, struct tensor_pool *pool)
{
    base_assert(token_count <= self->token_count_max && column_count <= self->column_count_max);
    self->x = x;
    self->token_count = token_count;
    self->column_count = column_count;
    self->token_stride = token_stride_of(token_count);
    self->forms = forms;
    if ((forms & TENSOR_FORM_32) == 0)
        return;
    base_assert(column_count % TENSOR_BLOCK_COLUMNS == 0);
    if (pool == NULL || token_count == 1 || token_count * column_count < PARALLEL_VALUES)
        quantize_tokens(self, 0, 1);
    else
        tensor_pool_run(pool, quantize_tokens, self);
}

void tensor_input_prepare(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t for_type, struct tensor_pool *pool)
{
    tensor_input_prepare_forms(self, x, token_count, column_count, tensor_form_of(for_type), pool);
}
