#include "tensor_matrix.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix_private.h"
#include "tensor_pack.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <string.h>
#include <sys/mman.h>

/* Move it whenever a packed layout changes. */
#define LAYOUT_ID       4
#define HUGE_PAGE_BYTES ((size_t)2 << 20)
/* Weights that one thread keeps in its L2 cache while all tokens pass over them. */
#define PANEL_BYTES ((size_t)256 << 10)
/* ... a multiple of the row groups that tiles take at a time. */
#define PANEL_GROUPS 4
#define AHEAD_BYTES  2048
/* Products with fewer multiplications finish sooner on the caller than a pool is woken. */
#define PARALLEL_PRODUCTS 32768

void tensor_split(
    size_t item_count, uint32_t thread_index, uint32_t thread_count, size_t *first, size_t *last)
{
    size_t each = item_count / thread_count, rest = item_count % thread_count;

    *first = each * thread_index + (thread_index < rest ? thread_index : rest);
    *last = *first + each + (thread_index < rest);
}

size_t tensor_matrix_bytes(uint32_t type, size_t row_count, size_t column_count)
{
    size_t groups = row_count / TENSOR_ROW_GROUP + (row_count % TENSOR_ROW_GROUP != 0), total;

    return base_mul_size(tensor_pack_group_bytes(type, column_count), groups, &total) ? total : 0;
}

void *tensor_alloc_weights(size_t bytes)
{
    if (bytes < HUGE_PAGE_BYTES)
        return base_alloc_aligned(bytes, 64);
    void *memory = base_alloc_aligned(bytes, HUGE_PAGE_BYTES);
    if (memory != NULL)
        (void)madvise(memory, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_HUGEPAGE);
    return memory;
}

uint32_t tensor_layout_id(uint32_t type)
{
    return tensor_type_supported(type) ? LAYOUT_ID : 0;
}

/* Everything but the memory of the weights. */
static int new_matrix(
    uint32_t type, size_t row_count, size_t column_count, struct tensor_matrix **ret_matrix)
{
    if (!tensor_type_supported(type))
        return BASE_UNSUPPORTED;
    size_t bytes = tensor_matrix_bytes(type, row_count, column_count);
    if (bytes == 0)
        return BASE_INVALID;
    struct tensor_matrix *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    self->type = type;
    self->row_count = row_count;
    self->column_count = column_count;
    self->group_bytes = tensor_pack_group_bytes(type, column_count);
    self->group_count = bytes / self->group_bytes;
    *ret_matrix = self;
    return BASE_OK;
}

int tensor_matrix_new(uint32_t type, size_t row_count, size_t column_count, bool fast_float,
    struct tensor_matrix **ret_matrix)
{
    struct tensor_matrix *self = NULL;
    int rc = new_matrix(type, row_count, column_count, &self);
    size_t bytes;

    if (rc != BASE_OK)
        return rc;
    self->groups = self->owned = tensor_alloc_weights(self->group_count * self->group_bytes);
    bool dense = fast_float && (type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16);
    if (dense && base_mul_size(row_count, column_count, &bytes) &&
        base_mul_size(bytes, sizeof(float), &bytes))
        self->rows = tensor_alloc_weights(bytes);
    if (self->groups == NULL || (dense && self->rows == NULL)) {
        tensor_matrix_destroy(&self);
        return BASE_NOMEM;
    }
    *ret_matrix = self;
    return BASE_OK;
}

int tensor_matrix_new_in(uint32_t type, size_t row_count, size_t column_count, void *memory,
    struct tensor_matrix **ret_matrix)
{
    struct tensor_matrix *self = NULL;
    int rc = new_matrix(type, row_count, column_count, &self);

    if (rc != BASE_OK)
        return rc;
    self->groups = memory;
    *ret_matrix = self;
    return BASE_OK;
}

void tensor_matrix_destroy(struct tensor_matrix **self_p)
{
    struct tensor_matrix *self = *self_p;

    if (self == NULL)
        return;
    base_free(self->owned);
    base_free(self->rows);
    base_free(self);
    *self_p = NULL;
}

const void *tensor_matrix_packed(const struct tensor_matrix *self, size_t *ret_bytes)
{
    *ret_bytes = self->group_count * self->group_bytes;
    return self->groups;
}

void tensor_matrix_pack(
    struct tensor_matrix *self, size_t row_first, size_t row_count, const void *rows)
{
    size_t row_bytes = tensor_row_bytes(self->type, self->column_count);
    const uint8_t *row = rows;

    base_assert(row_first % TENSOR_ROW_GROUP == 0);
    base_assert(row_first <= self->row_count && row_count <= self->row_count - row_first);
    /* The rows that fill up the last group. */
    if (row_count % TENSOR_ROW_GROUP != 0 && row_first + row_count == self->row_count)
        memset(self->groups + (self->group_count - 1) * self->group_bytes, 0, self->group_bytes);
    for (size_t r = row_first; r < row_first + row_count; r++, row += row_bytes) {
        uint8_t *group = self->groups + r / TENSOR_ROW_GROUP * self->group_bytes;
        tensor_pack_row(self->type, self->column_count, row, r % TENSOR_ROW_GROUP, group);
        if (self->rows != NULL)
            tensor_dequantize_row(
                self->type, row, self->column_count, self->rows + r * self->column_count);
    }
}

uint32_t tensor_matrix_type(const struct tensor_matrix *self)
{
    return self->type;
}

size_t tensor_matrix_rows(const struct tensor_matrix *self)
{
    return self->row_count;
}

size_t tensor_matrix_columns(const struct tensor_matrix *self)
{
    return self->column_count;
}

void tensor_matrix_row(const struct tensor_matrix *self, size_t row, float *y)
{
    base_assert(row < self->row_count);
    const uint8_t *group = self->groups + row / TENSOR_ROW_GROUP * self->group_bytes;
    tensor_unpack_row(self->type, self->column_count, group, row % TENSOR_ROW_GROUP, y);
}

struct product {
    const struct tensor_matrix *w;
    const struct tensor_input *x;
    float *y;
    size_t y_stride;
};

/* Tokens of the widest tile to use for a type: wider ones run out of registers or of the first
 * cache. */
static size_t tile_of(const struct tensor_kernels *kernels, uint32_t type)
{
    size_t tile = kernels->token_tile;

    if (type == TENSOR_Q8_0 || type == TENSOR_Q6_K || type == TENSOR_IQ4_NL || type == TENSOR_MXFP4)
        return tile < 8 ? tile : 8;
    if (type == TENSOR_Q5_K)
        return tile < 10 ? tile : 10;
    return tile;
}

/* How far ahead of a single pass memory is asked for. Wide tiles walk along fewer row groups at a
 * time, so each has to look further for as much to be on its way. */
static size_t ahead_of(size_t token_count)
{
    return token_count <= 3 ? AHEAD_BYTES : token_count <= 6 ? 2 * AHEAD_BYTES : 4 * AHEAD_BYTES;
}

/* All tokens times the groups of tile, in tiles of nearly equal width: 13 are 7 + 6, as a tile
 * of one token costs nearly as much as one of several. */
static void multiply_panel(const struct product *self, struct tensor_tile *tile, size_t row_first)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    const struct tensor_input *x = self->x;
    tensor_product_fn *product = kernels->products[self->w->type];
    size_t widest = tile_of(kernels, self->w->type);
    size_t tile_count = (x->token_count + widest - 1) / widest;

    if (self->w->type == TENSOR_BF16 && tensor_bf16_exact())
        product = kernels->product_bf16_exact;
    tile->ahead_bytes =
        tile_count == 1 ? ahead_of(x->token_count) : tile->group_count * tile->group_bytes;
    tile->ahead_every = tile_count;
    for (size_t i = 0; i < tile_count; i++) {
        size_t first, last;
        tensor_split(x->token_count, (uint32_t)i, (uint32_t)tile_count, &first, &last);
        tile->token_count = last - first;
        tile->ahead_phase = i;
        tile->form_float = x->form_float + first * TENSOR_FLOAT_COLUMNS;
        tile->form_bf16 = x->form_bf16 + first * TENSOR_BF16_PAIRS;
        tile->form_32 = tensor_form_32_at(x, first);
        tile->form_256 = tensor_form_256_at(x, first);
        tile->y = self->y + first * self->y_stride + row_first;
        product(tile);
    }
}

tensor_product_fn *tensor_wide_product(uint32_t type, size_t token_count)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    size_t tokens_min = tensor_form_of(type) == TENSOR_FORM_32 ? kernels->wide_tokens_min_32
                                                               : kernels->wide_tokens_min_256;

    if (kernels->wide_products == NULL || token_count < tokens_min)
        return NULL;
    return kernels->wide_products[type];
}

static void multiply_wide(const struct product *self, tensor_product_fn *product,
    struct tensor_tile *tile, size_t row_first)
{
    tile->token_count = self->x->token_count;
    tile->form_32 = self->x->form_32;
    tile->form_256 = self->x->form_256;
    tile->y = self->y + row_first;
    product(tile);
}

/* Groups that stay in the second cache while all tokens pass. */
static size_t panel_groups_of(const struct tensor_matrix *w)
{
    size_t panel = PANEL_BYTES / w->group_bytes / PANEL_GROUPS * PANEL_GROUPS;

    return panel == 0 ? PANEL_GROUPS : panel;
}

/* Row groups [first, last). */
static void multiply_groups(const struct product *self, size_t first, size_t last)
{
    const struct tensor_matrix *w = self->w;

    if (first >= last)
        return;
    if (w->rows != NULL && self->x->token_count > 1) {
        size_t row_last = last * TENSOR_ROW_GROUP;
        if (row_last > w->row_count)
            row_last = w->row_count;
        tensor_openblas_product(
            w, self->x, first * TENSOR_ROW_GROUP, row_last, self->y, self->y_stride);
        return;
    }
    tensor_product_fn *wide = tensor_wide_product(w->type, self->x->token_count);
    size_t panel = wide != NULL ? last - first : panel_groups_of(w);
    for (size_t group = first; group < last; group += panel) {
        struct tensor_tile tile = {
            .groups = w->groups + group * w->group_bytes,
            .group_bytes = w->group_bytes,
            .group_count = last - group < panel ? last - group : panel,
            .row_count = w->row_count - group * TENSOR_ROW_GROUP,
            .column_count = w->column_count,
            .token_stride = self->x->token_stride,
            .y_stride = self->y_stride,
        };
        if (wide != NULL)
            multiply_wide(self, wide, &tile, group * TENSOR_ROW_GROUP);
        else
            multiply_panel(self, &tile, group * TENSOR_ROW_GROUP);
    }
}

static void multiply_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct product *self = context;
    size_t first, last;

    tensor_split(self->w->group_count, thread_index, thread_count, &first, &last);
    multiply_groups(self, first, last);
}

void tensor_matmul(struct tensor_pool *pool, const struct tensor_matrix *w,
    const struct tensor_input *x, float *y, size_t y_stride)
{
    struct product self = {w, x, y, y_stride};

    base_assert(x->column_count == w->column_count && y_stride >= w->row_count);
    base_assert((x->forms & tensor_form_of(w->type)) != 0);
    if (pool == NULL || x->token_count * w->row_count * w->column_count < PARALLEL_PRODUCTS)
        multiply_share(&self, 0, 1);
    else
        tensor_pool_run(pool, multiply_share, &self);
}

void tensor_matmul_rows(const struct tensor_matrix *w, const struct tensor_activations *x,
    size_t row_first, size_t row_last, float *y, size_t y_stride)
{
    struct tensor_input view = tensor_input_view(x);
    struct product self = {w, &view, y, y_stride};

    base_assert(x->column_count == w->column_count && y_stride >= row_last);
    base_assert((x->forms & tensor_form_of(w->type)) != 0);
    base_assert(row_first % TENSOR_ROW_GROUP == 0 && row_last <= w->row_count);
    base_assert(row_last % TENSOR_ROW_GROUP == 0 || row_last == w->row_count);
    multiply_groups(
        &self, row_first / TENSOR_ROW_GROUP, (row_last + TENSOR_ROW_GROUP - 1) / TENSOR_ROW_GROUP);
}
