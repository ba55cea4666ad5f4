#include "base_alloc.h"
#include "base_err.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <criterion/criterion.h>

Test(tensor_measure, rates_are_positive)
{
    static const uint32_t types[] = {TENSOR_Q4_0, TENSOR_F16};
    struct tensor_pool *pool;

    cr_assert_eq(tensor_pool_new(2, &pool), BASE_OK);
    for (size_t i = 0; i < 2; i++) {
        double gops = 0, gigabytes_per_s = 0;
        cr_assert_eq(tensor_measure(pool, types[i], 20, &gops, &gigabytes_per_s), BASE_OK);
        cr_assert(gops > 0.01 && gops < 1e6);
        cr_assert(gigabytes_per_s > 0.01 && gigabytes_per_s < 1e5);
    }
    tensor_pool_destroy(&pool);
}

Test(tensor_measure, unknown_types_and_lack_of_memory_are_reported)
{
    struct tensor_pool *pool;
    double gops = -1, gigabytes_per_s = -1;

    cr_assert_eq(tensor_pool_new(1, &pool), BASE_OK);
    cr_assert_eq(tensor_measure(pool, 9999, 1, &gops, &gigabytes_per_s), BASE_UNSUPPORTED);
    for (unsigned long n = 1; n <= 8; n++) {
        base_alloc_fail_from(n);
        cr_assert_eq(tensor_measure(pool, TENSOR_Q8_0, 1, &gops, &gigabytes_per_s), BASE_NOMEM);
        base_alloc_fail_from(0);
    }
    cr_assert(gops == -1 && gigabytes_per_s == -1);
    tensor_pool_destroy(&pool);
}
