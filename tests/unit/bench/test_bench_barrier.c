#include "bench_barrier.h"

#include "tensor_pool.h"
#include <criterion/criterion.h>

Test(bench_barrier, threads_that_meet_take_time)
{
    for (uint32_t threads = 1; threads <= 2; threads++) {
        struct tensor_pool *pool = NULL;
        cr_assert_eq(tensor_pool_new(threads, &pool), 0);
        double ns = bench_barrier_ns(pool, 1);
        tensor_pool_destroy(&pool);
        cr_assert(ns < 1e9);
        cr_assert(threads == 1 ? ns >= 0 : ns > 0);
    }
}
