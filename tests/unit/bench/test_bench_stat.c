#include "bench_stat.h"

#include <criterion/criterion.h>

Test(bench_stat, median_of_odd_and_even_counts)
{
    const double odd[] = {5, 1, 9}, even[] = {4, 1, 2, 10}, one[] = {7};

    cr_assert_eq(bench_median(odd, 3), 5);
    cr_assert_eq(bench_median(even, 4), 3);
    cr_assert_eq(bench_median(one, 1), 7);
    cr_assert_eq(odd[0], 5, "the caller's values keep their order");
}

Test(bench_stat, bounds_hold_the_median_and_shrink_with_the_spread)
{
    double wide[31], narrow[31], low, high, low_narrow, high_narrow;

    for (int i = 0; i < 31; i++) {
        wide[i] = 2 + (i * 17 % 31 - 15) * 0.1;
        narrow[i] = 2 + (i * 17 % 31 - 15) * 0.001;
    }
    bench_median_bounds(wide, 31, &low, &high);
    bench_median_bounds(narrow, 31, &low_narrow, &high_narrow);
    cr_assert(low < 2 && high > 2, "%g %g", low, high);
    cr_assert(low > 0.5 + 0.1 && high < 3.5 - 0.1, "not the extremes: %g %g", low, high);
    cr_assert_float_eq((high - low) / (high_narrow - low_narrow), 100, 1e-6);
}

Test(bench_stat, bounds_of_one_value_are_the_value)
{
    const double one[] = {3};
    double low, high;

    bench_median_bounds(one, 1, &low, &high);
    cr_assert_eq(low, 3);
    cr_assert_eq(high, 3);
}
