/* What it costs the threads of a pool to meet. */
#ifndef BENCH_BARRIER_H
#define BENCH_BARRIER_H

#include <stdint.h>

struct tensor_pool;

/* Nanoseconds of one tensor_pool_barrier() within a running job, as the engine crosses it several
 * times a layer: the mean of 10 000, in the best of the windows that fit in the duration. */
double bench_barrier_ns(struct tensor_pool *pool, uint32_t duration_ms);

#endif
