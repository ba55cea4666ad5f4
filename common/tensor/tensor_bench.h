/*
 * How fast products are on this machine, beside the ceilings of the machine itself measured in
 * the same run. For people who tune; placement uses tensor_measure().
 */
#ifndef TENSOR_BENCH_H
#define TENSOR_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct tensor_pool;

/* Peaks over all threads of the pool; operations are multiplications and additions. 0 where the
 * instruction set in use has no such instruction. */
struct tensor_ceilings {
    double wide_int8_gops;    /* of the tile unit; 0 where products do not use one */
    double int8_gops;         /* vpdpbusd, or vpmaddubsw + vpmaddwd + vpaddd */
    double bf16_gops;         /* vdpbf16ps */
    double f32_gops;          /* fused multiply-add */
    double read_gbytes;       /* memory far larger than caches, one thread */
    double read_gbytes_total; /* ... all threads */
};

/* Runs for about 5 * duration_ms. Returns BASE_OK or BASE_NOMEM. */
int tensor_bench_ceilings(
    struct tensor_pool *pool, uint32_t duration_ms, struct tensor_ceilings *ret);

/* The peak of the unit that products of so many tokens with weights of this type run on, GOP/s. */
double tensor_bench_peak_gops(
    const struct tensor_ceilings *ceilings, uint32_t type, size_t token_count);

struct tensor_bench_options {
    uint32_t type;
    size_t row_count;
    size_t column_count; /* a multiple of the type's block */
    size_t token_count;
    size_t
        weight_bytes; /* so many bytes of matrices take turns: far above the caches to see memory */
    uint32_t duration_ms;
};

struct tensor_bench_result {
    double gops;   /* 2 * rows * columns * tokens per product, in 1e9 per second */
    double gbytes; /* packed weights read, in 1e9 bytes per second */
};

/* Preparation of the activations is part of the time. Returns BASE_OK, BASE_UNSUPPORTED,
 * BASE_INVALID or BASE_NOMEM. */
int tensor_bench_product(struct tensor_pool *pool, const struct tensor_bench_options *options,
    struct tensor_bench_result *ret);

#endif
