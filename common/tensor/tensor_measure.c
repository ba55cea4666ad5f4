#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "tensor_matrix.h"
#include "tensor_matrix_private.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <string.h>
#include <unistd.h>

#define COLUMN_COUNT      4096
#define GOPS_ROW_COUNT    1024
#define GOPS_TOKEN_COUNT  24
#define STREAM_BYTES_MIN  ((size_t)64 << 20)
#define STREAM_BYTES_MAX  ((size_t)256 << 20)
#define WEIGHT_BYTE       0x11 /* as f16, bf16, f32 and as a scale: a small normal number */
#define ROW_COUNT_ALIGNED 64

/* Twice the last cache where the system tells its size. */
static size_t stream_bytes(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t bytes = cache > 0 ? 2 * (size_t)cache : 0;

    if (bytes < STREAM_BYTES_MIN)
        return STREAM_BYTES_MIN;
    return bytes > STREAM_BYTES_MAX ? STREAM_BYTES_MAX : bytes;
}

static void fill(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct tensor_matrix *w = context;
    size_t first, last;

    tensor_split(w->group_count, thread_index, thread_count, &first, &last);
    memset(w->groups + first * w->group_bytes, WEIGHT_BYTE, (last - first) * w->group_bytes);
}

/* Products per second of a filled matrix with token_count tokens: as many as fit, at least one
 * after one that warms up. */
static int measure_rate(struct tensor_pool *pool, uint32_t type, size_t row_count,
    size_t token_count, uint32_t duration_ms, double *ret_per_s)
{
    struct tensor_matrix *w = NULL;
    struct tensor_input *input = NULL;
    float *x = base_alloc_array(token_count * COLUMN_COUNT, sizeof(*x));
    float *y = base_alloc_array(token_count * row_count, sizeof(*y));
    int rc = x == NULL || y == NULL ? BASE_NOMEM : BASE_OK;

    if (rc == BASE_OK)
        rc = tensor_matrix_new(type, row_count, COLUMN_COUNT, false, &w);
    if (rc == BASE_OK)
        rc = tensor_input_new(token_count, COLUMN_COUNT, &input);
    if (rc != BASE_OK)
        goto done;
    for (size_t i = 0; i < token_count * COLUMN_COUNT; i++)
        x[i] = (float)(i % 7) - 3.0f;
    tensor_pool_run(pool, fill, w);
    tensor_input_prepare(input, x, token_count, COLUMN_COUNT, type, pool);
    tensor_matmul(pool, w, input, y, row_count);

    uint64_t count = 0, start_us = base_clock_us(), elapsed_us;
    do {
        tensor_matmul(pool, w, input, y, row_count);
        count++;
        elapsed_us = base_clock_us() - start_us;
    } while (elapsed_us < (uint64_t)duration_ms * 1000);
    *ret_per_s = (double)count * 1e6 / (double)(elapsed_us > 0 ? elapsed_us : 1);
done:
    tensor_input_destroy(&input);
    tensor_matrix_destroy(&w);
    base_free(x);
    base_free(y);
    return rc;
}

int tensor_measure(struct tensor_pool *pool, uint32_t type, uint32_t duration_ms, double *ret_gops,
    double *ret_gigabytes_per_s)
{
    double products_per_s = 0, streams_per_s = 0;

    if (!tensor_type_supported(type))
        return BASE_UNSUPPORTED;
    size_t row_count = stream_bytes() / tensor_row_bytes(type, COLUMN_COUNT);
    row_count -= row_count % ROW_COUNT_ALIGNED;
    int rc = measure_rate(
        pool, type, GOPS_ROW_COUNT, GOPS_TOKEN_COUNT, duration_ms / 2, &products_per_s);
    if (rc == BASE_OK)
        rc = measure_rate(pool, type, row_count, 1, duration_ms / 2, &streams_per_s);
    if (rc != BASE_OK)
        return rc;
    *ret_gops = products_per_s * 2.0 * GOPS_ROW_COUNT * COLUMN_COUNT * GOPS_TOKEN_COUNT / 1e9;
    *ret_gigabytes_per_s =
        streams_per_s * (double)tensor_matrix_bytes(type, row_count, COLUMN_COUNT) / 1e9;
    return rc;
}
