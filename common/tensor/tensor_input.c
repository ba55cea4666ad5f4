#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_matrix_private.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <stdatomic.h>
#include <string.h>

/* Fewer values than this are quantised sooner by one thread than a pool is woken. */
#define PARALLEL_VALUES 16384

/* Twice an odd number: a block of 32-byte items is then an odd number of cache lines long and
 * successive blocks do not fall on the same few sets of the cache. */
static size_t token_stride_of(size_t token_count)
{
    return 2 * (((token_count + 1) / 2) | 1);
}

/* Everything that a form needs is allocated at once; sizes follow from items of 32 columns. */
static bool alloc_forms(struct tensor_input *self, size_t token_stride, size_t block_count)
{
    struct tensor_form_32 *a = &self->form_32;
    struct tensor_form_256 *b = &self->form_256;
    size_t items, bytes, supers;

    /* Superblocks are whole: eight blocks or none. */
    if (!base_mul_size(token_stride, block_count, &items) || !base_mul_size(items, 128, &bytes))
        return false;
    supers = token_stride * (block_count / 8);
    self->form_float = base_alloc_aligned(bytes, 64);
    self->form_bf16 = base_alloc_aligned(bytes / 2, 64);
    a->q = base_alloc_aligned(bytes / 4, 64);
    a->scale = base_alloc_aligned(bytes / 32, 64);
    a->scaled_sum = base_alloc_aligned(bytes / 32, 64);
    a->minus_sum = base_alloc_aligned(bytes / 32, 64);
    b->q = base_alloc_aligned(bytes / 4, 64);
    b->start_32 = base_alloc_aligned(bytes / 16, 64);
    b->sums_16 = base_alloc_aligned(bytes / 32, 64);
    b->sums_32 = base_alloc_aligned(bytes / 64, 64);
    b->scale = base_alloc_aligned(supers * 4 + 64, 64);
    b->minus_sum_256 = base_alloc_aligned(supers * 4 + 64, 64);
    return self->form_float != NULL && self->form_bf16 != NULL && a->q != NULL &&
           a->scale != NULL && a->scaled_sum != NULL && a->minus_sum != NULL && b->q != NULL &&
           b->start_32 != NULL && b->sums_16 != NULL && b->sums_32 != NULL && b->scale != NULL &&
           b->minus_sum_256 != NULL;
}

int tensor_input_new(size_t token_count_max, size_t column_count_max, struct tensor_input **ret)
{
    if (token_count_max == 0 || column_count_max == 0 || token_count_max > SIZE_MAX / 8 ||
        column_count_max > SIZE_MAX / 8)
        return BASE_INVALID;
    struct tensor_input *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    self->token_count_max = token_count_max;
    self->column_count_max = column_count_max;
    if (!alloc_forms(self, token_stride_of(token_count_max),
            (column_count_max + TENSOR_BLOCK_COLUMNS - 1) / TENSOR_BLOCK_COLUMNS)) {
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
    base_free(self->form_float);
    base_free(self->form_bf16);
    base_free(self->form_32.q);
    base_free(self->form_32.scale);
    base_free(self->form_32.scaled_sum);
    base_free(self->form_32.minus_sum);
    base_free(self->form_256.q);
    base_free(self->form_256.start_32);
    base_free(self->form_256.sums_16);
    base_free(self->form_256.sums_32);
    base_free(self->form_256.scale);
    base_free(self->form_256.minus_sum_256);
    base_free(self);
    *self_p = NULL;
}

static _Atomic bool bf16_exact;

void tensor_bf16_use_exact(bool exact)
{
    atomic_store(&bf16_exact, exact);
}

bool tensor_bf16_exact(void)
{
    return atomic_load_explicit(&bf16_exact, memory_order_relaxed);
}

uint32_t tensor_form_of(uint32_t type)
{
    switch (tensor_block_columns(type)) {
    case 32:
        return TENSOR_FORM_32;
    case 256:
        return TENSOR_FORM_256;
    default:
        return type == TENSOR_BF16 && !tensor_bf16_exact() ? TENSOR_FORM_BF16 : TENSOR_FORM_FLOAT;
    }
}

static struct tensor_form_32 form_32_at(const struct tensor_input *self, size_t items)
{
    const struct tensor_form_32 *form = &self->form_32;

    return (struct tensor_form_32){
        .q = form->q + items * TENSOR_BLOCK_COLUMNS,
        .scale = form->scale + items,
        .scaled_sum = form->scaled_sum + items,
        .minus_sum = form->minus_sum + items,
    };
}

/* A token behind so many items of whole superblocks. */
static struct tensor_form_256 form_256_at(
    const struct tensor_input *self, size_t items, size_t token)
{
    const struct tensor_form_256 *form = &self->form_256;

    return (struct tensor_form_256){
        .q = form->q + (items + 2 * token) * TENSOR_BLOCK_COLUMNS,
        .scale = form->scale + items / 8 + token,
        .start_32 = form->start_32 + 2 * items + token,
        .minus_sum_256 = form->minus_sum_256 + items / 8 + token,
        .sums_16 = form->sums_16 + items + token,
        .sums_32 = form->sums_32 + items / 2 + token,
    };
}

struct tensor_form_32 tensor_form_32_at(const struct tensor_input *self, size_t token)
{
    return form_32_at(self, token);
}

struct tensor_form_256 tensor_form_256_at(const struct tensor_input *self, size_t token)
{
    return form_256_at(self, 0, token);
}

uint32_t tensor_input_copies(const struct tensor_input *self)
{
    size_t copies = token_stride_of(self->token_count_max) / token_stride_of(1);

    return copies < UINT32_MAX ? (uint32_t)copies : UINT32_MAX;
}

/* Items of one token and 32 columns that lie before a copy: it takes what one token needs of as many
 * columns as there can be, so that copies do not share cache lines. */
static size_t copy_items(const struct tensor_activations *activations)
{
    const struct tensor_input *input = activations->input;
    size_t blocks = (input->column_count_max + TENSOR_BLOCK_COLUMNS - 1) / TENSOR_BLOCK_COLUMNS;

    base_assert(activations->token_count <= input->token_count_max);
    base_assert(activations->column_count <= input->column_count_max);
    base_assert(activations->copy == 0 || activations->token_count == 1);
    base_assert(activations->copy < tensor_input_copies(input));
    return activations->copy * token_stride_of(1) * (blocks / 8 * 8);
}

struct tensor_input tensor_input_view(const struct tensor_activations *activations)
{
    struct tensor_input view = *activations->input;
    size_t items = copy_items(activations);

    view.x = activations->x;
    view.token_count = activations->token_count;
    view.column_count = activations->column_count;
    view.token_stride = token_stride_of(activations->token_count);
    view.forms = activations->forms;
    view.form_float += items * TENSOR_BLOCK_COLUMNS;
    view.form_bf16 += items * TENSOR_BF16_PAIRS;
    view.form_32 = form_32_at(activations->input, items);
    view.form_256 = form_256_at(activations->input, items, 0);
    return view;
}

/* Thirty-two columns; NaN stays NaN. */
static void round_to_bf16(const float x[static 32], uint32_t pairs[static 16])
{
    uint32_t bits[32];

    memcpy(bits, x, sizeof(bits));
    for (size_t i = 0; i < 32; i++) {
        uint32_t rounded = bits[i] + 0x7fffu + (bits[i] >> 16 & 1);
        uint32_t is_nan = (bits[i] & 0x7fffffffu) > 0x7f800000u ? 0xffffffffu : 0;
        bits[i] = (rounded & ~is_nan) | ((bits[i] | 0x400000u) & is_nan);
    }
    for (size_t i = 0; i < 16; i++)
        pairs[i] = bits[2 * i] >> 16 | (bits[2 * i + 1] & 0xffff0000u);
}

static void prepare_bf16(const float *x, size_t count, size_t token_stride, uint32_t *block)
{
    for (size_t i = 0; i < count; i += 32) {
        size_t left = count - i;
        if (left < 32) {
            float rest[32] = {0};
            memcpy(rest, x + i, left * sizeof(float));
            round_to_bf16(rest, block);
            break;
        }
        round_to_bf16(x + i, block);
        block += token_stride * TENSOR_BF16_PAIRS;
    }
}

static void prepare_floats(const float *x, size_t count, size_t token_stride, float *block)
{
    for (size_t i = 0; i < count; i += TENSOR_FLOAT_COLUMNS) {
        size_t left = count - i;
        memcpy(block, x + i,
            (left < TENSOR_FLOAT_COLUMNS ? left : TENSOR_FLOAT_COLUMNS) * sizeof(float));
        block += token_stride * TENSOR_FLOAT_COLUMNS;
    }
}

void tensor_activations_prepare(
    const struct tensor_activations *self, size_t token, size_t first, size_t count)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    const struct tensor_input *input = self->input;
    const float *x = self->x + token * self->column_count + first;
    size_t unit =
        (self->forms & TENSOR_FORM_256) != 0 ? TENSOR_SUPERBLOCK_COLUMNS : TENSOR_BLOCK_COLUMNS;
    size_t stride = token_stride_of(self->token_count);
    size_t items = copy_items(self) + first / TENSOR_BLOCK_COLUMNS * stride;

    base_assert(first % unit == 0 && first + count <= self->column_count);
    base_assert(count % unit == 0 || first + count == self->column_count);
    if (self->forms & TENSOR_FORM_FLOAT)
        prepare_floats(x, count, stride,
            input->form_float + items * TENSOR_BLOCK_COLUMNS + token * TENSOR_FLOAT_COLUMNS);
    if (self->forms & TENSOR_FORM_BF16)
        prepare_bf16(x, count, stride, input->form_bf16 + (items + token) * TENSOR_BF16_PAIRS);
    if (self->forms & TENSOR_FORM_32) {
        struct tensor_form_32 form = form_32_at(input, items + token);
        kernels->quantize_32(x, count, stride, &form);
    }
    if (self->forms & TENSOR_FORM_256) {
        struct tensor_form_256 form = form_256_at(input, items, token);
        kernels->quantize_256(x, count, stride, &form);
    }
}

static void prepare_tokens(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct tensor_input *self = context;
    const struct tensor_activations activations = {
        self, self->x, self->token_count, self->column_count, self->forms, 0};
    size_t first, last;

    tensor_split(self->token_count, thread_index, thread_count, &first, &last);
    for (size_t t = first; t < last; t++)
        tensor_activations_prepare(&activations, t, 0, self->column_count);
}

void tensor_input_prepare_forms(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t forms, struct tensor_pool *pool)
{
    base_assert(token_count <= self->token_count_max && column_count <= self->column_count_max);
    base_assert((forms & TENSOR_FORM_32) == 0 || column_count % 32 == 0);
    base_assert((forms & TENSOR_FORM_256) == 0 || column_count % 256 == 0);
    self->x = x;
    self->token_count = token_count;
    self->column_count = column_count;
    self->token_stride = token_stride_of(token_count);
    self->forms = forms;
    if (pool == NULL || token_count == 1 || token_count * column_count < PARALLEL_VALUES)
        prepare_tokens(self, 0, 1);
    else
        tensor_pool_run(pool, prepare_tokens, self);
}

void tensor_input_prepare(struct tensor_input *self, const float *x, size_t token_count,
    size_t column_count, uint32_t for_type, struct tensor_pool *pool)
{
    tensor_input_prepare_forms(self, x, token_count, column_count, tensor_form_of(for_type), pool);
}
