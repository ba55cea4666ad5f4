#include "tensor_matrix.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_bytes.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix_private.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <sys/mman.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)
/* Weights that one thread keeps in its L2 cache while all tokens pass over them. */
#define PANEL_BYTES ((size_t)512 << 10)
/* Products with fewer multiplications finish sooner on the caller than a pool is woken. */
#define PARALLEL_PRODUCTS 32768

void tensor_split(
    size_t item_count, uint32_t thread_index, uint32_t thread_count, size_t *first, size_t *last)
{
    size_t each = item_count / thread_count, rest = item_count % thread_count;

    *first = each * thread_index + (thread_index < rest ? thread_index : rest);
    *last = *first + each + (thread_index < rest);
}

/* What a type is packed as. Types without a layout of their own are kept as their floats. */
static uint32_t packed_type(uint32_t type)
{
    switch (type) {
    case TENSOR_F16:
    case TENSOR_BF16:
    case TENSOR_Q8_0:
    case TENSOR_Q4_0:
        return type;
    default:
        return TENSOR_F32;
    }
}

/* Bytes of a packed row group; 0 when type or columns are not possible. */
static size_t group_bytes_of(uint32_t type, size_t column_count)
{
    size_t bytes = 0, total;

    if (tensor_row_bytes(type, column_count) != 0)
        bytes = tensor_row_bytes(packed_type(type), column_count);
    /* Sixteen rows as they are in the file: packing moves bytes but adds none. */
    return base_mul_size(bytes, TENSOR_ROW_GROUP, &total) ? total : 0;
}

size_t tensor_matrix_bytes(uint32_t type, size_t row_count, size_t column_count)
{
    size_t groups = row_count / TENSOR_ROW_GROUP + (row_count % TENSOR_ROW_GROUP != 0), total;

    return base_mul_size(group_bytes_of(type, column_count), groups, &total) ? total : 0;
}

/* Fewer, larger pages: a product walks through all weights and misses the TLB on each 4 KiB
 * otherwise. Only advice, so failure does not matter. */
static void *alloc_weights(size_t bytes)
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
    if (!tensor_type_supported(type))
        return 0;
    return packed_type(type) == type ? 1 : 2; /* Q8_0 and Q4_0 as first released: 1 */
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
    self->group_bytes = group_bytes_of(type, column_count);
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
    self->groups = self->owned = alloc_weights(self->group_count * self->group_bytes);
    bool dense = fast_float && (type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16);
    if (dense && base_mul_size(row_count, column_count, &bytes) &&
        base_mul_size(bytes, sizeof(float), &bytes))
        self->rows = alloc_weights(bytes);
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

static void pack_q8_0(const uint8_t *block, size_t lane, uint8_t *group)
{
    memcpy(group + 2 * lane, block, 2);
    for (size_t i = 0; i < 32; i++)
        group[TENSOR_GROUP_SCALES_BYTES + i / 4 * 64 + lane * 4 + i % 4] = block[2 + i] ^ 0x80;
}

/* The file's byte i holds columns i and i + 16, just as the group wants it. */
static void pack_q4_0(const uint8_t *block, size_t lane, uint8_t *group)
{
    memcpy(group + 2 * lane, block, 2);
    for (size_t k = 0; k < 4; k++)
        memcpy(group + TENSOR_GROUP_SCALES_BYTES + k * 64 + lane * 4, block + 2 + k * 4, 4);
}

/* A row of a type without a layout of its own, as its floats. */
static void pack_floats(
    const struct tensor_matrix *self, size_t lane, const uint8_t *row, uint8_t *group)
{
    size_t block_columns = tensor_block_columns(self->type);
    size_t block_bytes = tensor_row_bytes(self->type, block_columns);
    float values[256];

    for (size_t i = 0; i < self->column_count; i += block_columns, row += block_bytes) {
        tensor_dequantize_row(self->type, row, block_columns, values);
        for (size_t j = 0; j < block_columns; j++)
            base_store_f32(group + 4 * ((i + j) * TENSOR_ROW_GROUP + lane), values[j]);
    }
}

static void pack_row(
    const struct tensor_matrix *self, size_t lane, const uint8_t *row, uint8_t *group)
{
    size_t column_count = self->column_count;

    switch (self->type) {
    case TENSOR_Q8_0:
        for (size_t i = 0; i < column_count; i += 32, row += 34, group += TENSOR_Q8_0_GROUP_BYTES)
            pack_q8_0(row, lane, group);
        break;
    case TENSOR_Q4_0:
        for (size_t i = 0; i < column_count; i += 32, row += 18, group += TENSOR_Q4_0_GROUP_BYTES)
            pack_q4_0(row, lane, group);
        break;
    case TENSOR_F32:
        for (size_t i = 0; i < column_count; i++)
            memcpy(group + 4 * (i * TENSOR_ROW_GROUP + lane), row + 4 * i, 4);
        break;
    case TENSOR_F16:
    case TENSOR_BF16:
        for (size_t i = 0; i < column_count; i++)
            memcpy(group + 2 * (i * TENSOR_ROW_GROUP + lane), row + 2 * i, 2);
        break;
    default:
        pack_floats(self, lane, row, group);
        break;
    }
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
        pack_row(self, r % TENSOR_ROW_GROUP, row, group);
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

/* One row of one packed block back to floats. */
static void unpack_block(uint32_t type, const uint8_t *group, size_t lane, float *y)
{
    float scale = tensor_f16_to_f32(base_load_u16(group + 2 * lane));
    const uint8_t *q = group + TENSOR_GROUP_SCALES_BYTES + lane * 4;

    if (type == TENSOR_Q8_0) {
        for (size_t i = 0; i < 32; i++)
            y[i] = (float)(q[i / 4 * 64 + i % 4] - 128) * scale;
        return;
    }
    for (size_t i = 0; i < 16; i++) {
        uint8_t byte = q[i / 4 * 64 + i % 4];
        y[i] = (float)((byte & 15) - 8) * scale;
        y[i + 16] = (float)((byte >> 4) - 8) * scale;
    }
}

void tensor_matrix_row(const struct tensor_matrix *self, size_t row, float *y)
{
    base_assert(row < self->row_count);
    const uint8_t *group = self->groups + row / TENSOR_ROW_GROUP * self->group_bytes;
    size_t lane = row % TENSOR_ROW_GROUP;

    for (size_t i = 0; i < self->column_count; i++) {
        size_t item = i * TENSOR_ROW_GROUP + lane;
        switch (packed_type(self->type)) {
        case TENSOR_F32:
            y[i] = base_load_f32(group + 4 * item);
            break;
        case TENSOR_F16:
            y[i] = tensor_f16_to_f32(base_load_u16(group + 2 * item));
            break;
        case TENSOR_BF16:
            y[i] = tensor_bf16_to_f32(base_load_u16(group + 2 * item));
            break;
        default:
            if (i % TENSOR_BLOCK_COLUMNS == 0) /* a packed block is sixteen of the file's */
                unpack_block(self->type, group + TENSOR_ROW_GROUP * tensor_row_bytes(self->type, i),
                    lane, y + i);
            break;
        }
    }
}

struct product {
    const struct tensor_matrix *w;
    const struct tensor_input *x;
    float *y;
    size_t y_stride;
};

static tensor_product_fn *product_of(const struct tensor_kernels *kernels, uint32_t type)
{
    switch (type) {
    case TENSOR_F32:
        return kernels->product_f32;
    case TENSOR_F16:
        return kernels->product_f16;
    case TENSOR_BF16:
        return kernels->product_bf16;
    case TENSOR_Q4_0:
        return kernels->product_q4_0;
    default:
        return kernels->product_q8_0;
    }
}

/* All tokens times the groups of tile, in tiles of nearly equal width: 13 are 7 + 6, as a tile
 * of one token costs nearly as much as one of several. */
static void multiply_panel(const struct product *self, struct tensor_tile *tile, size_t row_first)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    const struct tensor_input *x = self->x;
    size_t tile_count = (x->token_count + kernels->token_tile - 1) / kernels->token_tile;

    for (size_t i = 0; i < tile_count; i++) {
        size_t first, last;
        tensor_split(x->token_count, (uint32_t)i, (uint32_t)tile_count, &first, &last);
        tile->token_count = last - first;
        tile->q = x->q + first * TENSOR_BLOCK_COLUMNS;
        tile->scale = x->scale + first;
        tile->start_q8_0 = x->start_q8_0 + first;
        tile->start_q4_0 = x->start_q4_0 + first;
        tile->x = x->x + first * x->column_count;
        tile->y = self->y + first * self->y_stride + row_first;
        product_of(kernels, packed_type(self->w->type))(tile);
    }
}

static void multiply(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct product *self = context;
    const struct tensor_matrix *w = self->w;
    size_t first, last;

    tensor_split(w->group_count, thread_index, thread_count, &first, &last);
    if (w->rows != NULL && self->x->token_count > 1) {
        size_t row_last = last * TENSOR_ROW_GROUP;
        if (row_last > w->row_count)
            row_last = w->row_count;
        if (first < last)
            tensor_openblas_product(
                w, self->x, first * TENSOR_ROW_GROUP, row_last, self->y, self->y_stride);
        return;
    }
    size_t panel = PANEL_BYTES / w->group_bytes + (w->group_bytes > PANEL_BYTES);
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
        multiply_panel(self, &tile, group * TENSOR_ROW_GROUP);
    }
}

void tensor_matmul(struct tensor_pool *pool, const struct tensor_matrix *w,
    const struct tensor_input *x, float *y, size_t y_stride)
{
    struct product self = {w, x, y, y_stride};

    base_assert(x->column_count == w->column_count && y_stride >= w->row_count);
    base_assert((x->forms & tensor_form_of(w->type)) != 0);
    if (pool == NULL || x->token_count * w->row_count * w->column_count < PARALLEL_PRODUCTS)
        multiply(&self, 0, 1);
    else
        tensor_pool_run(pool, multiply, &self);
}
