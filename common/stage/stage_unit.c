/* Loading and sharing of weights: one block, the embedding, or the head. */
#include "stage_internal.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "gguf.h"
#include "tensor_matrix.h"
#include "tensor_type.h"
#include <inttypes.h>
#include <string.h>

/* Rows packed between two calls of the progress function. */
#define CHUNK_BYTES ((size_t)16 << 20)

uint64_t stage_unit_bytes(const struct model *model, uint32_t index, bool fast_float)
{
    const struct model_layer *layer = model_get_layer(model, index);
    size_t matrix_count = model_expert(MODEL_MATRICES, layer->expert_count);
    size_t vector_count = model_expert(MODEL_VECTORS, layer->expert_count);
    uint64_t bytes = 0;

    for (size_t i = 0; i < matrix_count; i++) {
        const struct model_part *part = &layer->matrices[i];
        if (part->tensor == NULL)
            continue;
        uint64_t columns = part->tensor->dimensions[0];
        bytes += tensor_matrix_bytes(part->tensor->type, (size_t)part->count, (size_t)columns);
        if (fast_float && part->tensor->type != TENSOR_Q8_0 && part->tensor->type != TENSOR_Q4_0)
            bytes += part->count * columns * sizeof(float);
    }
    for (size_t i = 0; i < vector_count; i++)
        bytes += layer->vectors[i].count * sizeof(float);
    return bytes;
}

static void unit_destroy(struct stage_unit *unit)
{
    size_t matrix_count = model_expert(MODEL_MATRICES, unit->expert_count);
    size_t vector_count = model_expert(MODEL_VECTORS, unit->expert_count);

    for (size_t i = 0; unit->matrices != NULL && i < matrix_count; i++)
        tensor_matrix_destroy(&unit->matrices[i]);
    for (size_t i = 0; unit->vectors != NULL && i < vector_count; i++)
        base_free(unit->vectors[i]);
    base_free(unit->matrices);
    base_free(unit->vectors);
    base_free(unit);
}

struct stage_unit *stage_unit_share(struct stage_unit *unit)
{
    atomic_fetch_add(&unit->references, 1);
    return unit;
}

void stage_unit_release(struct stage_unit **unit_p)
{
    struct stage_unit *unit = *unit_p;

    *unit_p = NULL;
    if (unit != NULL && atomic_fetch_sub(&unit->references, 1) == 1)
        unit_destroy(unit);
}

static int report(struct stage_load_progress *progress, uint64_t bytes, struct base_error *err)
{
    progress->bytes_done += bytes;
    if (progress->progress == NULL)
        return BASE_OK;
    double share = progress->bytes_total == 0
                       ? 1.0
                       : (double)progress->bytes_done / (double)progress->bytes_total;
    if (!progress->progress(progress->context, share < 1.0 ? share : 1.0))
        return base_error_set(err, BASE_CANCELLED, "loading was cancelled");
    return BASE_OK;
}

static int load_matrix(const struct model *model, const struct model_part *part, bool fast_float,
    struct stage_load_progress *progress, struct tensor_matrix **ret_matrix, struct base_error *err)
{
    const struct gguf_tensor *tensor = part->tensor;
    size_t columns = (size_t)tensor->dimensions[0];
    size_t rows = (size_t)part->count;
    size_t row_bytes = tensor_row_bytes(tensor->type, columns);
    int rc = tensor_matrix_new(tensor->type, rows, columns, fast_float, ret_matrix);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "%s: %s", tensor->name, base_err_text(rc));
    base_assert(row_bytes > 0 && part->first + rows <= gguf_row_count(tensor));
    size_t chunk = CHUNK_BYTES / row_bytes / TENSOR_ROW_GROUP * TENSOR_ROW_GROUP;
    if (chunk == 0)
        chunk = TENSOR_ROW_GROUP;
    if (chunk > rows)
        chunk = rows;
    /* Rows that are made on demand need a place. */
    uint8_t *buffer = tensor->data == NULL ? base_alloc_array(chunk, row_bytes) : NULL;
    if (tensor->data == NULL && buffer == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory for rows", tensor->name);
    if (part->first == 0)
        gguf_advise(model_file(model), tensor, true);
    for (size_t row = 0; row < rows && rc == BASE_OK; row += chunk) {
        size_t count = rows - row < chunk ? rows - row : chunk;
        const uint8_t *from = NULL;
        rc =
            gguf_read_rows(model_file(model), tensor, part->first + row, count, buffer, &from, err);
        if (rc == BASE_OK) {
            tensor_matrix_pack(*ret_matrix, row, count, from);
            rc = report(progress, count * row_bytes, err);
        }
    }
    /* Packed weights are a copy: the pages of the file need not stay. */
    if (part->first + rows == gguf_row_count(tensor))
        gguf_advise(model_file(model), tensor, false);
    base_free(buffer);
    return rc;
}

int stage_load_vector(const struct model *model, const struct model_part *part, float **ret_vector,
    struct base_error *err)
{
    const struct gguf_tensor *tensor = part->tensor;
    size_t columns = (size_t)tensor->dimensions[0];
    uint8_t *buffer = tensor->data == NULL ? base_alloc(gguf_row_bytes(tensor)) : NULL;
    float *vector = base_alloc_array(columns, sizeof(float));
    const uint8_t *row = NULL;
    int rc = BASE_OK;

    base_assert(part->first % columns + part->count <= columns);
    if (vector == NULL || (tensor->data == NULL && buffer == NULL))
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", tensor->name);
    if (rc == BASE_OK)
        rc = gguf_read_rows(model_file(model), tensor, part->first / columns, 1, buffer, &row, err);
    if (rc == BASE_OK) {
        tensor_dequantize_row(tensor->type, row, columns, vector);
        memmove(vector, vector + part->first % columns, (size_t)part->count * sizeof(float));
        *ret_vector = vector;
        vector = NULL;
    }
    base_free(vector);
    base_free(buffer);
    return rc;
}

static int load_parts(struct stage_unit *unit, const struct model_layer *layer,
    struct stage_load_progress *progress, struct base_error *err)
{
    size_t matrix_count = model_expert(MODEL_MATRICES, layer->expert_count);
    size_t vector_count = model_expert(MODEL_VECTORS, layer->expert_count);
    int rc = BASE_OK;

    unit->expert_count = layer->expert_count;
    unit->matrices = base_alloc_zeroed(matrix_count, sizeof(struct tensor_matrix *));
    unit->vectors = base_alloc_zeroed(vector_count, sizeof(float *));
    if (unit->matrices == NULL || unit->vectors == NULL)
        return base_error_set(err, BASE_NOMEM, "layer %" PRIu32 ": no memory", unit->index);
    for (size_t i = 0; i < matrix_count && rc == BASE_OK; i++)
        if (layer->matrices[i].tensor != NULL)
            rc = load_matrix(unit->model, &layer->matrices[i], unit->fast_float, progress,
                &unit->matrices[i], err);
    for (size_t i = 0; i < vector_count && rc == BASE_OK; i++)
        if (layer->vectors[i].tensor != NULL)
            rc = stage_load_vector(unit->model, &layer->vectors[i], &unit->vectors[i], err);
    return rc;
}

int stage_unit_load(const struct model *model, uint32_t index, bool fast_float,
    struct stage_load_progress *progress, struct stage_unit **ret_unit, struct base_error *err)
{
    struct stage_unit *unit = base_alloc_zeroed(1, sizeof(*unit));

    if (unit == NULL)
        return base_error_set(err, BASE_NOMEM, "layer %" PRIu32 ": no memory", index);
    atomic_init(&unit->references, 1);
    unit->model = model;
    unit->index = index;
    unit->fast_float = fast_float;
    int rc = load_parts(unit, model_get_layer(model, index), progress, err);
    if (rc == BASE_OK)
        *ret_unit = unit;
    else
        unit_destroy(unit);
    return rc;
}
