/* Loading and sharing of weights: one block, the embedding, or the head. */
#include "stage_internal.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "base_log.h"
#include "gguf.h"
#include "stage_pack.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

/* Rows packed between two calls of the progress function. */
#define CHUNK_BYTES     ((size_t)16 << 20)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

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
        if (fast_float && tensor_form_of(part->tensor->type) == TENSOR_FORM_FLOAT)
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
    base_free(unit->memory);
    if (unit->mapping != NULL)
        (void)munmap((void *)unit->mapping, unit->bytes);
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

/* Rows of a chunk as they came from the file. */
struct pack_job {
    struct tensor_matrix *matrix;
    const uint8_t *rows;
    size_t row_bytes, first, count;
};

static void pack_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    const struct pack_job *job = context;
    size_t groups = (job->count + TENSOR_ROW_GROUP - 1) / TENSOR_ROW_GROUP;
    size_t first = groups * thread_index / thread_count * TENSOR_ROW_GROUP;
    size_t end = groups * (thread_index + 1) / thread_count * TENSOR_ROW_GROUP;

    if (end > job->count)
        end = job->count;
    if (first < end)
        tensor_matrix_pack(
            job->matrix, job->first + first, end - first, job->rows + first * job->row_bytes);
}

static void pack(struct pack_job *job, struct tensor_pool *pool)
{
    if (pool == NULL)
        pack_share(job, 0, 1);
    else
        tensor_pool_run(pool, pack_share, job);
}

static int pack_matrix(const struct model *model, const struct model_part *part,
    struct stage_load_progress *progress, struct tensor_matrix *matrix, struct base_error *err)
{
    const struct gguf_tensor *tensor = part->tensor;
    size_t rows = (size_t)part->count;
    size_t row_bytes = tensor_row_bytes(tensor->type, (size_t)tensor->dimensions[0]);
    int rc = BASE_OK;

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
        struct pack_job job = {
            matrix, NULL, row_bytes, row, rows - row < chunk ? rows - row : chunk};
        rc = gguf_read_rows(
            model_file(model), tensor, part->first + row, job.count, buffer, &job.rows, err);
        if (rc == BASE_OK) {
            pack(&job, progress->pool);
            rc = report(progress, job.count * row_bytes, err);
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

/* Fewer, larger pages: a product walks through all weights. Only advice. */
static int alloc_memory(struct stage_unit *unit, struct base_error *err)
{
    bool large = unit->bytes >= HUGE_PAGE_BYTES;

    unit->memory = base_alloc_aligned(unit->bytes, large ? HUGE_PAGE_BYTES : STAGE_PACK_ALIGNMENT);
    if (unit->memory == NULL)
        return base_error_set(err, BASE_NOMEM, "layer %" PRIu32 ": no memory", unit->index);
    if (large)
        (void)madvise(unit->memory, unit->bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_HUGEPAGE);
    return BASE_OK;
}

/* Finds the weights in the pack cache, or memory for them. *ret_packed: they are there. */
static int place(struct stage_unit *unit, const struct stage_load_progress *progress,
    bool *ret_packed, struct base_error *err)
{
    struct base_error reason = {0};
    int cached = BASE_NOT_FOUND;

    unit->bytes = stage_pack_bytes(unit->model, unit->index);
    if (unit->bytes == 0)
        return BASE_OK;
    if (progress->pack_cache != NULL && progress->map_weights)
        cached =
            stage_pack_map(progress->pack_cache, unit->model, unit->index, &unit->mapping, &reason);
    int rc = cached == BASE_OK ? BASE_OK : alloc_memory(unit, err);
    if (rc == BASE_OK && progress->pack_cache != NULL && !progress->map_weights)
        cached = stage_pack_read(
            progress->pack_cache, unit->model, unit->index, progress->pool, unit->memory, &reason);
    if (cached != BASE_OK && cached != BASE_NOT_FOUND)
        base_log(BASE_LOG_WARN, "pack-cache", "ignored=\"%s\"", reason.text);
    *ret_packed = cached == BASE_OK;
    return rc;
}

/* The matrices as objects, over the weights in memory or in the mapping. */
static int make_matrices(
    struct stage_unit *unit, const struct model_layer *layer, struct base_error *err)
{
    uint8_t *at = unit->mapping != NULL ? (uint8_t *)unit->mapping : unit->memory;

    for (size_t i = 0; i < model_expert(MODEL_MATRICES, layer->expert_count); i++) {
        const struct model_part *part = &layer->matrices[i];
        if (part->tensor == NULL)
            continue;
        size_t columns = (size_t)part->tensor->dimensions[0], rows = (size_t)part->count;
        size_t bytes = tensor_matrix_bytes(part->tensor->type, rows, columns);
        struct tensor_matrix **matrix = &unit->matrices[i];
        int rc = unit->fast_float
                     ? tensor_matrix_new(part->tensor->type, rows, columns, true, matrix)
                     : tensor_matrix_new_in(part->tensor->type, rows, columns, at, matrix);
        if (rc != BASE_OK)
            return base_error_set(err, rc, "%s: %s", part->tensor->name, base_err_text(rc));
        size_t gap = -bytes % STAGE_PACK_ALIGNMENT;
        if (unit->memory != NULL)
            memset(at + bytes, 0, gap);
        if (!unit->fast_float)
            at += bytes + gap;
    }
    return BASE_OK;
}

static int fill_matrices(struct stage_unit *unit, const struct model_layer *layer,
    struct stage_load_progress *progress, bool packed, struct base_error *err)
{
    int rc = BASE_OK;

    for (size_t i = 0; i < model_expert(MODEL_MATRICES, layer->expert_count) && rc == BASE_OK;
         i++) {
        const struct model_part *part = &layer->matrices[i];
        if (part->tensor == NULL)
            continue;
        rc = packed ? report(progress,
                          part->count *
                              tensor_row_bytes(part->tensor->type, part->tensor->dimensions[0]),
                          err)
                    : pack_matrix(unit->model, part, progress, unit->matrices[i], err);
    }
    return rc;
}

/* The freshly packed weights go to the cache; a model that is mapped is then mapped from there. */
static int keep(struct stage_unit *unit, const struct model_layer *layer,
    const struct stage_load_progress *progress, struct base_error *err)
{
    struct base_error reason = {0};

    if (progress->pack_cache == NULL || unit->bytes == 0)
        return BASE_OK;
    int rc =
        stage_pack_write(progress->pack_cache, unit->model, unit->index, unit->memory, &reason);
    if (rc == BASE_OK && progress->map_weights)
        rc =
            stage_pack_map(progress->pack_cache, unit->model, unit->index, &unit->mapping, &reason);
    if (rc != BASE_OK && rc != BASE_UNSUPPORTED)
        base_log(BASE_LOG_WARN, "pack-cache", "not-written=\"%s\"", reason.text);
    if (unit->mapping == NULL)
        return BASE_OK;
    for (size_t i = 0; i < model_expert(MODEL_MATRICES, layer->expert_count); i++)
        tensor_matrix_destroy(&unit->matrices[i]);
    base_free(unit->memory);
    unit->memory = NULL;
    return make_matrices(unit, layer, err);
}

static int load_parts(struct stage_unit *unit, const struct model_layer *layer,
    struct stage_load_progress *progress, struct base_error *err)
{
    size_t vector_count = model_expert(MODEL_VECTORS, layer->expert_count);
    bool packed = false;
    int rc = BASE_OK;

    unit->expert_count = layer->expert_count;
    unit->matrices = base_alloc_zeroed(
        model_expert(MODEL_MATRICES, layer->expert_count), sizeof(struct tensor_matrix *));
    unit->vectors = base_alloc_zeroed(vector_count, sizeof(float *));
    if (unit->matrices == NULL || unit->vectors == NULL)
        return base_error_set(err, BASE_NOMEM, "layer %" PRIu32 ": no memory", unit->index);
    if (!unit->fast_float)
        rc = place(unit, progress, &packed, err);
    if (rc == BASE_OK)
        rc = make_matrices(unit, layer, err);
    if (rc == BASE_OK)
        rc = fill_matrices(unit, layer, progress, packed, err);
    if (rc == BASE_OK && !packed && !unit->fast_float)
        rc = keep(unit, layer, progress, err);
    for (size_t i = 0; i < vector_count && rc == BASE_OK; i++)
        if (layer->vectors[i].tensor != NULL)
            rc = stage_load_vector(unit->model, &layer->vectors[i], &unit->vectors[i], err);
    return rc;
}

void stage_unit_advise(const struct stage_unit *unit, bool will_need)
{
    if (unit->mapping != NULL)
        (void)madvise(
            (void *)unit->mapping, unit->bytes, will_need ? MADV_WILLNEED : MADV_DONTNEED);
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
