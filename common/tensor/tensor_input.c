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

struct tensor_form_32 tensor_form_32_at(const struct tensor_input *self, size_t token)
{
    const struct tensor_form_32 *form = &self->form_32;

    return (struct tensor_form_32){
        .q = form->q + token * TENSOR_BLOCK_COLUMNS,
        .scale = form->scale + token,
        .scaled_sum = form->scaled_sum + token,
        .minus_sum = form->minus_sum + token,
    };
}

struct tensor_form_256 tensor_form_256_at(const struct tensor_input *self, size_t token)
{
    const struct tensor_form_256 *form = &self->form_256;

    return (struct tensor_form_256){
        .q = form->q + token * TENSOR_BLOCK_COLUMNS,
        .scale = form->scale + token,
        .start_32 = form->start_32 + token,
        .minus_sum_256 = form->minus_sum_256 + token,
        .sums_16 = form->sums_16 + token,
        .sums_32 = form->sums_32 + token,
    };
}

uint32_t tensor_input_copies(const struct tensor_input *self)
{
    size_t copies = token_stride_of(self->token_count_max) / token_stride_of(1);

    return copies < UINT32_MAX ? (uint32_t)copies : UINT32_MAX;
}

static void move_on(struct tensor_input *self, size_t items)
{
    self->form_float += items * TENSOR_BLOCK_COLUMNS;
    self->form_bf16 += items * TENSOR_BF16_PAIRS;
    self->form_32.q += items * TENSOR_BLOCK_COLUMNS;
    self->form_32.scale += items;
    self->form_32.scaled_sum += items;
    self->form_32.minus_sum += items;
    self->form_256.q += items * TENSOR_BLOCK_COLUMNS;
    self->form_256.scale += items / 8;
    self->form_256.minus_sum_256 += items / 8;
    self->form_256.start_32 += items * 2;
    self->form_256.sums_16 += items;
    self->form_256.sums_32 += items / 2;
}

struct tensor_input tensor_input_view(const struct tensor_activations *activations)
{
    struct tensor_input view = *activations->input;

    base_assert(activations->token_count <= view.token_count_max);
    base_assert(activations->column_count <= view.column_count_max);
    base_assert(activations->copy == 0 || activations->token_count == 1);
    base_assert(activations->copy < tensor_input_copies(activations->input));
    view.x = activations->x;
    view.token_count = activations->token_count;
    view.column_count = activations->column_count;
    view.token_stride = token_stride_of(activations->token_count);
    view.forms = activations->forms;
    /* A copy takes what one token needs of as many columns as there can be. */
    size_t blocks = (view.column_count_max + TENSOR_BLOCK_COLUMNS - 1) / TENSOR_BLOCK_COLUMNS;
    move_on(&view, activations->copy * view.token_stride * (blocks / 8 * 8));
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

static void prepare_bf16(
    const struct tensor_input *self, const float *x, size_t count, uint32_t *block)
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
        block += self->token_stride * TENSOR_BF16_PAIRS;
    }
}

static void prepare_floats(
    const struct tensor_input *self, const float *x, size_t count, float *block)
{
    for (size_t i = 0; i < count; i += TENSOR_FLOAT_COLUMNS) {
        size_t left = count - i;
        memcpy(block, x + i,
            (left < TENSOR_FLOAT_COLUMNS ? left : TENSOR_FLOAT_COLUMNS) * sizeof(float));
        block += self->token_stride * TENSOR_FLOAT_COLUMNS;
    }
}

/* Columns [first, first + count) of a token, first at the beginning of a block of every form. */
static void prepare_columns(struct tensor_input view, size_t token, size_t first, size_t count)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    const float *x = view.x + token * view.column_count + first;

    move_on(&view, first / TENSOR_BLOCK_COLUMNS * view.token_stride);
    if (view.forms & TENSOR_FORM_FLOAT)
        prepare_floats(&view, x, count, view.form_float + token * TENSOR_FLOAT_COLUMNS);
    if (view.forms & TENSOR_FORM_BF16)
        prepare_bf16(&view, x, count, view.form_bf16 + token * TENSOR_BF16_PAIRS);
    if (view.forms & TENSOR_FORM_32) {
        struct tensor_form_32 form = tensor_form_32_at(&view, token);
        kernels->quantize_32(x, count, view.token_stride, &form);
    }
    if (view.forms & TENSOR_FORM_256) {
        struct tensor_form_256 form = tensor_form_256_at(&view, token);
        kernels->quantize_256(x, count, view.token_stride, &form);
    }
}

void tensor_activations_prepare(
    const struct tensor_activations *self, size_t token, size_t first, size_t count)
{
    struct tensor_input view = tensor_input_view(self);
    size_t unit =
        (self->forms & TENSOR_FORM_256) != 0 ? TENSOR_SUPERBLOCK_COLUMNS : TENSOR_BLOCK_COLUMNS;

    base_assert(first % unit == 0 && first + count <= self->column_count);
    base_assert(count % unit == 0 || first + count == self->column_count);
    prepare_columns(view, token, first, count);
}

static void prepare_tokens(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct tensor_input *self = context;
    size_t first, last;

    tensor_split(self->token_count, thread_index, thread_count, &first, &last);
    for (size_t t = first; t < last; t++)
        prepare_columns(*self, t, 0, self->column_count);
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
