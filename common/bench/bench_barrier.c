#include "bench_barrier.h"

#include "base_clock.h"
#include "tensor_pool.h"

#define CROSSINGS 10000u

struct window {
    struct tensor_pool *pool;
    double ns;
};

static void cross(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct window *self = context;

    (void)thread_count;
    tensor_pool_barrier(self->pool); /* waking them is no part of it */
    uint64_t start_us = base_clock_us();
    for (uint32_t i = 0; i < CROSSINGS; i++)
        tensor_pool_barrier(self->pool);
    if (thread_index == 0)
        self->ns = (double)(base_clock_us() - start_us) * 1e3 / CROSSINGS;
}

double bench_barrier_ns(struct tensor_pool *pool, uint32_t duration_ms)
{
    uint64_t deadline_us = base_clock_us() + (uint64_t)duration_ms * 1000;
    struct window window = {.pool = pool};
    double best;

    tensor_pool_run(pool, cross, &window);
    best = window.ns;
    while (base_clock_us() < deadline_us) {
        tensor_pool_run(pool, cross, &window);
        best = window.ns < best ? window.ns : best;
    }
    return best;
}
