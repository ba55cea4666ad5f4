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

void stage_unit_sources(
    const struct model *model, uint32_t index, struct stage_sources *ret_sources)
{
    const struct model_config *config = model_get_config(model);

    memset(ret_sources, 0, sizeof(*ret_sources));
    if (index == 0) {
        ret_sources->matrices[STAGE_ENDS_MATRIX] = model_token_embedding(model);
    } else if (index == config->layer_count + 1) {
        ret_sources->vectors[STAGE_ATTENTION_NORM] = model_output_norm(model);
        if (!config->tied_output)
            ret_sources->matrices[STAGE_ENDS_MATRIX] = model_output(model);
    } else {
        const struct model_layer_tensors *t = model_layer(model, index - 1);
        *ret_sources = (struct stage_sources){
            .matrices = {t->q, t->k, t->v, t->attention_output, t->gate, t->up, t->down},
            .vectors = {t->attention_norm, t->feed_forward_norm, t->q_bias, t->k_bias, t->v_bias,
                t->attention_output_bias},
        };
    }
}

uint64_t stage_unit_bytes(const struct model *model, uint32_t index, bool fast_float)
{
    struct stage_sources sources;
    uint64_t bytes = 0;

    stage_unit_sources(model, index, &sources);
    for (size_t i = 0; i < STAGE_MATRICES; i++) {
        const struct gguf_tensor *t = sources.matrices[i];
        if (t == NULL)
            continue;
        bytes += tensor_matrix_bytes(t->type, (size_t)t->dimensions[1], (size_t)t->dimensions[0]);
        if (fast_float && t->type != TENSOR_Q8_0 && t->type != TENSOR_Q4_0)
            bytes += t->dimensions[0] * t->dimensions[1] * sizeof(float);
    }
    for (size_t i = 0; i < STAGE_VECTORS; i++)
        if (sources.vectors[i] != NULL)
            bytes += sources.vectors[i]->dimensions[0] * sizeof(float);
    return bytes;
}

static void unit_destroy(struct stage_unit *unit)
{
    for (size_t i = 0; i < STAGE_MATRICES; i++)
        tensor_matrix_destroy(&unit->matrices[i]);
    for (size_t i = 0; i < STAGE_VECTORS; i++)
        base_free(unit->vectors[i]);
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

static int load_matrix(const struct model *model, const struct gguf_tensor *tensor, bool fast_float,
    struct stage_load_progress *progress, struct tensor_matrix **ret_matrix, struct base_error *err)
{
    size_t columns = (size_t)tensor->dimensions[0];
    size_t rows = (size_t)tensor->dimensions[1];
    size_t row_bytes = tensor_row_bytes(tensor->type, columns);
    int rc = tensor_matrix_new(tensor->type, rows, columns, fast_float, ret_matrix);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "%s: %s", tensor->name, base_err_text(rc));
    base_assert(row_bytes > 0 && row_bytes * rows == tensor->bytes);
    size_t chunk = CHUNK_BYTES / row_bytes / TENSOR_ROW_GROUP * TENSOR_ROW_GROUP;
    if (chunk == 0)
        chunk = TENSOR_ROW_GROUP;
    if (chunk > rows)
        chunk = rows;
    /* Rows that are made on demand need a place. */
    uint8_t *buffer = tensor->data == NULL ? base_alloc_array(chunk, row_bytes) : NULL;
    if (tensor->data == NULL && buffer == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory for rows", tensor->name);
    gguf_advise(model_file(model), tensor, true);
    for (size_t row = 0; row < rows && rc == BASE_OK; row += chunk) {
        size_t count = rows - row < chunk ? rows - row : chunk;
        const uint8_t *from = NULL;
        rc = gguf_read_rows(model_file(model), tensor, row, count, buffer, &from, err);
        if (rc == BASE_OK) {
            tensor_matrix_pack(*ret_matrix, row, count, from);
            rc = report(progress, count * row_bytes, err);
        }
    }
    /* Packed weights are a copy: the pages of the file need not stay. */
    gguf_advise(model_file(model), tensor, false);
    base_free(buffer);
    return rc;
}

int stage_load_vector(const struct model *model, const struct gguf_tensor *tensor,
    float **ret_vector, struct base_error *err)
{
    size_t count = (size_t)tensor->dimensions[0];
    uint8_t *buffer = tensor->data == NULL ? base_alloc((size_t)tensor->bytes) : NULL;
    float *vector = base_alloc_array(count, sizeof(float));
    const uint8_t *row = NULL;
    int rc = BASE_OK;

    if (vector == NULL || (tensor->data == NULL && buffer == NULL))
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", tensor->name);
    if (rc == BASE_OK)
        rc = gguf_read_rows(model_file(model), tensor, 0, 1, buffer, &row, err);
    if (rc == BASE_OK) {
        tensor_dequantize_row(tensor->type, row, count, vector);
        *ret_vector = vector;
        vector = NULL;
    }
    base_free(vector);
    base_free(buffer);
    return rc;
}

int stage_unit_load(const struct model *model, uint32_t index, bool fast_float,
    struct stage_load_progress *progress, struct stage_unit **ret_unit, struct base_error *err)
{
    struct stage_sources sources;
    struct stage_unit *unit = base_alloc_zeroed(1, sizeof(*unit));
    int rc = BASE_OK;

    if (unit == NULL)
        return base_error_set(err, BASE_NOMEM, "layer %" PRIu32 ": no memory", index);
    atomic_init(&unit->references, 1);
    unit->model = model;
    unit->index = index;
    unit->fast_float = fast_float;
    stage_unit_sources(model, index, &sources);
    for (size_t i = 0; i < STAGE_MATRICES && rc == BASE_OK; i++)
        if (sources.matrices[i] != NULL)
            rc = load_matrix(
                model, sources.matrices[i], fast_float, progress, &unit->matrices[i], err);
    for (size_t i = 0; i < STAGE_VECTORS && rc == BASE_OK; i++)
        if (sources.vectors[i] != NULL)
            rc = stage_load_vector(model, sources.vectors[i], &unit->vectors[i], err);
    if (rc == BASE_OK)
        *ret_unit = unit;
    else
        unit_destroy(unit);
    return rc;
}
