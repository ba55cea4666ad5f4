#include "base_alloc.h"
#include "base_err.h"
#include "tensor_bench.h"
#include "tensor_kernels.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <criterion/criterion.h>

Test(tensor_bench, ceilings_and_rates_are_positive)
{
    struct tensor_pool *pool;
    struct tensor_ceilings ceilings;
    struct tensor_bench_result result;
    struct tensor_bench_options options = {TENSOR_Q4_K, 32, 256, 3, 1 << 16, 8};

    cr_assert_eq(tensor_pool_new(2, &pool), BASE_OK);
    cr_assert_eq(tensor_bench_ceilings(pool, 8, &ceilings), BASE_OK);
    cr_assert(ceilings.int8_gops > 0 && ceilings.f32_gops > 0 && ceilings.bf16_gops >= 0);
    cr_assert(ceilings.read_gbytes > 0 && ceilings.read_gbytes_total > 0);
    cr_assert_eq(tensor_bench_product(pool, &options, &result), BASE_OK);
    cr_assert(result.gops > 0 && result.gbytes > 0);
    tensor_pool_destroy(&pool);
}

Test(tensor_bench, bad_options_and_lack_of_memory_are_reported)
{
    struct tensor_pool *pool;
    struct tensor_bench_result result;
    struct tensor_ceilings ceilings;
    struct tensor_bench_options options = {16, 32, 256, 3, 0, 1};

    cr_assert_eq(tensor_pool_new(1, &pool), BASE_OK);
    cr_assert_eq(tensor_bench_product(pool, &options, &result), BASE_UNSUPPORTED);
    options.type = TENSOR_Q4_K;
    options.column_count = 255;
    cr_assert_eq(tensor_bench_product(pool, &options, &result), BASE_INVALID);
    options.column_count = 256;
    int rc = BASE_NOMEM;
    for (unsigned long n = 1; rc != BASE_OK; n++) {
        cr_assert(n < 40);
        base_alloc_fail_from(n);
        rc = tensor_bench_product(pool, &options, &result);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
    }
    base_alloc_fail_from(1);
    cr_assert_eq(tensor_bench_ceilings(pool, 1, &ceilings), BASE_NOMEM);
    base_alloc_fail_from(0);
    tensor_pool_destroy(&pool);
}
