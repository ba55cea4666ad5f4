/*
 * Attention alone, without products around it: bytes of keys and values a second that decoding
 * streams at a depth, and operations a second of a prompt. One JSON line; nothing is asserted.
 *
 *     bench-attention [TYPE [THREADS [HEADS KV_HEADS HEAD_DIM [DEPTH [TOKENS [LAYERS]]]]]]
 *
 * TYPE f32, f16 or int8. TOKENS queries at the end of DEPTH positions. Without LAYERS as many that
 * the cache of all is far larger than the processor's.
 */
#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "kv.h"
#include "tensor_attention.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_TOKENS 64u
#define CACHE_BYTES ((uint64_t)256 << 20)
#define MEASURE_US  2000000u
#define LAYERS_MAX  64u
#define THREADS_MAX 64u

struct bench {
    struct kv *kv;
    struct tensor_pool *pool;
    uint32_t type, heads, kv_heads, dim, depth, tokens, layers, layer;
    uint32_t *pages;
    float *q;
    float *scratch[THREADS_MAX];
    atomic_uint next;
};

static uint32_t argument(int argc, char **argv, int index, uint32_t fallback)
{
    return argc > index ? (uint32_t)strtoul(argv[index], NULL, 10) : fallback;
}

static void fill(struct bench *self)
{
    float k[1024], v[1024];

    for (uint32_t layer = 0; layer < self->layers; layer++)
        for (uint32_t p = 0; p < self->depth; p++)
            for (uint32_t h = 0; h < self->kv_heads; h++) {
                for (uint32_t i = 0; i < self->dim; i++) {
                    k[i] = (float)((p * 31 + i * 7 + h) % 64) / 32 - 1;
                    v[i] = k[i] * 0.5f;
                }
                kv_write(self->kv, layer, h, self->pages[p / PAGE_TOKENS], p % PAGE_TOKENS, k, v);
            }
}

/* A task is a tile of rows, and a split, of one head. */
static void share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct bench *self = context;
    uint32_t group = self->heads / self->kv_heads, rows = group * self->tokens;
    uint32_t splits = (self->depth + TENSOR_ATTENTION_SPLIT - 1) / TENSOR_ATTENTION_SPLIT;
    uint32_t tiles = (rows + TENSOR_ATTENTION_ROWS - 1) / TENSOR_ATTENTION_ROWS;
    struct tensor_attention_row list[TENSOR_ATTENTION_ROWS];
    uint32_t task;

    while ((task = atomic_fetch_add(&self->next, 1)) < tiles * splits * self->kv_heads) {
        uint32_t tile = task % tiles, split = task / tiles % splits, head = task / tiles / splits;
        struct tensor_attention_cache cache = kv_view(self->kv, self->layer, head);
        uint32_t count = 0;
        cache.pages = self->pages;
        cache.position_count = self->depth;
        cache.scale = 0.125f;
        for (; count < TENSOR_ATTENTION_ROWS && tile * TENSOR_ATTENTION_ROWS + count < rows;
             count++) {
            uint32_t row = tile * TENSOR_ATTENTION_ROWS + count;
            list[count] = (struct tensor_attention_row){
                self->q + (size_t)row * self->dim, 0, self->depth - self->tokens + row / group + 1};
        }
        tensor_attention_split(&cache, list, count, split,
            self->scratch[thread_index] + tensor_attention_scratch_floats(&cache.layout),
            self->scratch[thread_index]);
    }
}

static int open_bench(struct bench *self, uint32_t threads, struct base_error *err)
{
    struct kv_options options = {1, self->kv_heads, self->dim, PAGE_TOKENS,
        (self->depth + PAGE_TOKENS - 1) / PAGE_TOKENS, self->type, 0};
    uint64_t bytes = 0;
    int rc = kv_bytes(&options, &bytes, err);

    if (rc != BASE_OK)
        return rc;
    if (self->layers == 0)
        self->layers = (uint32_t)(CACHE_BYTES / bytes) + 1;
    if (self->layers > LAYERS_MAX)
        self->layers = LAYERS_MAX;
    options.layer_count = self->layers;
    rc = kv_new(&options, &self->kv, err);
    if (rc == BASE_OK)
        rc = tensor_pool_new(threads, &self->pool);
    if (rc != BASE_OK)
        return rc;
    struct tensor_attention_layout layout = kv_view(self->kv, 0, 0).layout;
    self->pages = base_alloc_array(options.page_count, sizeof(*self->pages));
    self->q = base_alloc_zeroed((size_t)self->heads * self->tokens * self->dim, sizeof(float));
    for (uint32_t i = 0; i < threads; i++)
        self->scratch[i] =
            base_alloc_aligned((tensor_attention_scratch_floats(&layout) +
                                   TENSOR_ATTENTION_ROWS * tensor_attention_state_floats(&layout)) *
                                   sizeof(float),
                64);
    if (self->pages == NULL || self->q == NULL)
        return BASE_NOMEM;
    for (uint32_t i = 0; i < options.page_count; i++)
        self->pages[i] = options.page_count - 1 - i;
    for (size_t i = 0; i < (size_t)self->heads * self->tokens * self->dim; i++)
        self->q[i] = (float)(i % 13) / 13;
    fill(self);
    tensor_pool_pin(self->pool);
    return BASE_OK;
}

static void measure(struct bench *self, const char *type, uint32_t threads)
{
    uint64_t start_us = base_clock_us(), elapsed_us, runs = 0, bytes = 0;
    const struct kv_options *options = kv_get_options(self->kv);

    (void)kv_bytes(options, &bytes, NULL);
    do {
        self->layer = (uint32_t)(runs++ % self->layers);
        atomic_store(&self->next, 0);
        tensor_pool_run(self->pool, share, self);
        elapsed_us = base_clock_us() - start_us;
    } while (elapsed_us < MEASURE_US);
    double seconds = (double)elapsed_us / 1e6;
    double seen = 0;
    for (uint32_t t = 0; t < self->tokens; t++)
        seen += (double)(self->depth - self->tokens + t + 1);
    (void)printf(
        "{\"what\":\"attention\",\"type\":\"%s\",\"threads\":%u,\"heads\":%u,\"kv_heads\":%u,"
        "\"head_dim\":%u,\"depth\":%u,\"tokens\":%u,\"gigabytes_per_second\":%.2f,"
        "\"gigaoperations_per_second\":%.1f,\"us_per_layer\":%.1f}\n",
        type, threads, self->heads, self->kv_heads, self->dim, self->depth, self->tokens,
        (double)bytes / self->layers * (double)runs / seconds / 1e9,
        4.0 * seen * self->heads * self->dim * (double)runs / seconds / 1e9,
        seconds * 1e6 / (double)runs);
}

int main(int argc, char **argv)
{
    const char *type = argc > 1 ? argv[1] : "f16";
    uint32_t threads = argument(argc, argv, 2, tensor_pool_default_threads());
    struct base_error err = {0};
    struct bench bench = {
        .type = strcmp(type, "f32") == 0   ? TENSOR_F32
                : strcmp(type, "f16") == 0 ? TENSOR_F16
                                           : TENSOR_Q8_0,
        .heads = argument(argc, argv, 3, 32),
        .kv_heads = argument(argc, argv, 4, 4),
        .dim = argument(argc, argv, 5, 64),
        .depth = argument(argc, argv, 6, 4096),
        .tokens = argument(argc, argv, 7, 1),
        .layers = argument(argc, argv, 8, 0),
    };

    if (threads == 0 || threads > THREADS_MAX || bench.dim > 1024 || bench.kv_heads == 0 ||
        bench.tokens > bench.depth)
        return 2;
    int rc = open_bench(&bench, threads, &err);
    if (rc == BASE_OK)
        measure(&bench, type, threads);
    else
        (void)fprintf(stderr, "bench-attention: %s\n", err.text);
    kv_destroy(&bench.kv);
    tensor_pool_destroy(&bench.pool);
    base_free(bench.pages);
    base_free(bench.q);
    for (uint32_t i = 0; i < threads; i++)
        base_free(bench.scratch[i]);
    return rc == BASE_OK ? 0 : 1;
}
