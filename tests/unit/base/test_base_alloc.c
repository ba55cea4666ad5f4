#include "base_alloc.h"
#include <criterion/criterion.h>
#include <stdint.h>

Test(base_alloc, overflowing_sizes_are_refused)
{
    size_t size = 7;

    cr_assert_null(base_alloc_array(SIZE_MAX / 2, 3));
    cr_assert_null(base_alloc_zeroed(SIZE_MAX, 2));
    cr_assert_not(base_mul_size(SIZE_MAX, 2, &size));
    cr_assert_not(base_add_size(SIZE_MAX, 1, &size));
    cr_assert_eq(size, 7);
}

Test(base_alloc, the_nth_allocation_and_all_after_it_fail)
{
    base_alloc_fail_from(2);
    void *first = base_alloc(8);
    cr_assert_not_null(first);
    cr_assert_null(base_alloc(8));
    cr_assert_null(base_strdup("x"));
    base_alloc_fail_from(0);
    void *again = base_alloc_aligned(100, 64);
    cr_assert_eq((uintptr_t)again % 64, 0);
    base_free(again);
    base_free(first);
}
