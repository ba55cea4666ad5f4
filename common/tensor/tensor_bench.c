#include "tensor_bench.h"
#include "base_alloc.h"
#include "base_bytes.h"
#include "base_clock.h"
#include "base_err.h"
#include "tensor_kernels.h"
#include "tensor_matrix.h"
#include "tensor_matrix_private.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <stdbool.h>
#include <string.h>

#define READ_BYTES     ((size_t)512 << 20) /* more than the largest third caches */
#define READ_PIECES    (READ_BYTES >> 21)
#define READ_AHEAD     1024
#define PEAK_STEPS     2000u
#define WINDOWS        8
#define MATRICES_MAX   256u
#define SCALE_EXPONENT 0x14u /* of a float, half, or e8m0: small and normal */

/* One kind of peak, run on every thread at once. */
struct peak {
    double (*run)(uint32_t steps); /* returns operations done */
    const uint8_t *memory;         /* instead of run: read */
    bool one_thread;
    uint64_t deadline_us;
    double done[256]; /* by thread */
    size_t next[256]; /* piece of memory, over windows: short ones would see a cache otherwise */
};

/* A word of each line of four streams: what a core can fetch, whatever it does with it. */
static uint64_t read_memory(const uint8_t *p, size_t bytes)
{
    size_t quarter = bytes / 4;
    uint64_t sum = 0;

    for (size_t i = 0; i < quarter; i += 64) {
        for (size_t stream = 0; stream < 4; stream++) {
            __builtin_prefetch(p + stream * quarter + i + READ_AHEAD, 0, 3);
            sum += base_load_u64(p + stream * quarter + i);
        }
    }
    return sum;
}

static void peak_thread(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct peak *self = context;
    size_t first, last;
    volatile uint64_t sink = 0;

    self->done[thread_index] = 0;
    if (self->one_thread && thread_index != 0)
        return;
    tensor_split(READ_PIECES, thread_index, self->one_thread ? 1 : thread_count, &first, &last);
    do {
        if (self->run != NULL) {
            self->done[thread_index] += self->run(PEAK_STEPS);
            continue;
        }
        size_t piece = first + self->next[thread_index]++ % (last - first);
        sink += read_memory(self->memory + (piece << 21), (size_t)1 << 21);
        self->done[thread_index] += 1 << 21;
    } while (base_clock_us() < self->deadline_us);
    (void)sink;
}

/* In 1e9 per second: the best of several windows, as whatever else runs only takes away. */
static double measure_peak(struct tensor_pool *pool, uint32_t duration_ms, struct peak *peak)
{
    double best = 0;

    for (int window = 0; window < WINDOWS; window++) {
        uint64_t start_us = base_clock_us();
        double total = 0;
        peak->deadline_us = start_us + (uint64_t)duration_ms * 1000 / WINDOWS;
        tensor_pool_run(pool, peak_thread, peak);
        uint64_t elapsed_us = base_clock_us() - start_us;
        for (uint32_t t = 0; t < tensor_pool_threads(pool); t++)
            total += peak->done[t];
        total /= (double)(elapsed_us > 0 ? elapsed_us : 1) * 1e3;
        best = total > best ? total : best;
    }
    return best;
}

int tensor_bench_ceilings(
    struct tensor_pool *pool, uint32_t duration_ms, struct tensor_ceilings *ret)
{
    const struct tensor_kernels *kernels = tensor_kernels_get();
    uint8_t *memory = tensor_alloc_weights(READ_BYTES);
    struct peak peak = {0};

    if (memory == NULL)
        return BASE_NOMEM;
    memset(memory, 1, READ_BYTES);
    *ret = (struct tensor_ceilings){0};
    peak.run = kernels->peaks->int8;
    ret->int8_gops = peak.run == NULL ? 0 : measure_peak(pool, duration_ms, &peak);
    peak.run = kernels->wide_peak_int8;
    ret->wide_int8_gops = peak.run == NULL ? 0 : measure_peak(pool, duration_ms, &peak);
    peak.run = kernels->peaks->bf16;
    ret->bf16_gops = peak.run == NULL ? 0 : measure_peak(pool, duration_ms, &peak);
    peak.run = kernels->peaks->f32;
    ret->f32_gops = peak.run == NULL ? 0 : measure_peak(pool, duration_ms, &peak);
    peak.run = NULL;
    peak.memory = memory;
    ret->read_gbytes_total = measure_peak(pool, duration_ms, &peak);
    peak.one_thread = true;
    ret->read_gbytes = measure_peak(pool, duration_ms, &peak);
    base_free(memory);
    return BASE_OK;
}

double tensor_bench_peak_gops(
    const struct tensor_ceilings *ceilings, uint32_t type, size_t token_count)
{
    switch (type) {
    case TENSOR_F32:
    case TENSOR_F16:
        return ceilings->f32_gops;
    case TENSOR_BF16:
        return ceilings->bf16_gops > 0 ? ceilings->bf16_gops : ceilings->f32_gops;
    default:
        return tensor_wide_product(type, token_count) != NULL ? ceilings->wide_int8_gops
                                                              : ceilings->int8_gops;
    }
}

struct bench {
    const struct tensor_bench_options *options;
    struct tensor_matrix *matrices[MATRICES_MAX];
    size_t matrix_count;
    struct tensor_input *input;
    float *x, *y;
};

static void fill(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct bench *self = context;
    size_t first, last;

    for (size_t i = 0; i < self->matrix_count; i++) {
        struct tensor_matrix *w = self->matrices[i];
        tensor_split(w->group_count, thread_index, thread_count, &first, &last);
        memset(w->groups + first * w->group_bytes, SCALE_EXPONENT, (last - first) * w->group_bytes);
    }
}

static int make(struct bench *self, struct tensor_pool *pool)
{
    const struct tensor_bench_options *o = self->options;
    size_t bytes = tensor_matrix_bytes(o->type, o->row_count, o->column_count), x_count, y_count;

    if (!tensor_type_supported(o->type))
        return BASE_UNSUPPORTED;
    if (bytes == 0 || !base_mul_size(o->token_count, o->column_count, &x_count) ||
        !base_mul_size(o->token_count, o->row_count, &y_count) || x_count == 0)
        return BASE_INVALID;
    self->x = base_alloc_array(x_count, sizeof(float));
    self->y = base_alloc_array(y_count, sizeof(float));
    if (self->x == NULL || self->y == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < x_count; i++)
        self->x[i] = (float)(i % 7) - 3.0f;
    size_t count = 1 + o->weight_bytes / bytes;
    if (count > MATRICES_MAX)
        count = MATRICES_MAX;
    for (; self->matrix_count < count; self->matrix_count++) {
        int rc = tensor_matrix_new(
            o->type, o->row_count, o->column_count, false, &self->matrices[self->matrix_count]);
        if (rc != BASE_OK)
            return rc;
    }
    tensor_pool_run(pool, fill, self);
    return tensor_input_new(o->token_count, o->column_count, &self->input);
}

static void multiply(struct bench *self, struct tensor_pool *pool, size_t index)
{
    const struct tensor_bench_options *o = self->options;

    tensor_input_prepare(self->input, self->x, o->token_count, o->column_count, o->type, pool);
    tensor_matmul(pool, self->matrices[index], self->input, self->y, o->row_count);
}

/* Products per nanosecond, in the best of several windows. */
static double measure_rate(struct bench *self, struct tensor_pool *pool)
{
    size_t index = 0;
    double best = 0;

    multiply(self, pool, 0);
    for (int window = 0; window < WINDOWS; window++) {
        uint64_t start_us = base_clock_us(), elapsed_us;
        uint32_t count = 0;
        do {
            multiply(self, pool, index++ % self->matrix_count);
            count++;
            elapsed_us = base_clock_us() - start_us;
        } while (elapsed_us < (uint64_t)self->options->duration_ms * 1000 / WINDOWS);
        double rate = (double)count / ((double)elapsed_us * 1e3);
        best = rate > best ? rate : best;
    }
    return best;
}

int tensor_bench_product(struct tensor_pool *pool, const struct tensor_bench_options *options,
    struct tensor_bench_result *ret)
{
    struct bench self = {.options = options};
    int rc = make(&self, pool);

    if (rc == BASE_OK) {
        double per_ns = measure_rate(&self, pool);
        ret->gops = per_ns * 2.0 * (double)options->row_count * (double)options->column_count *
                    (double)options->token_count;
        ret->gbytes = per_ns * (double)tensor_matrix_bytes(
                                   options->type, options->row_count, options->column_count);
    }
    tensor_input_destroy(&self.input);
    for (size_t i = 0; i < self.matrix_count; i++)
        tensor_matrix_destroy(&self.matrices[i]);
    base_free(self.x);
    base_free(self.y);
    return rc;
}
