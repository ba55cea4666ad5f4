#include "bench_pairs.h"

#include "base_err.h"
#include <criterion/criterion.h>

/* The second always takes half of the first; each turn is slower than the one before. */
struct machine {
    char order[16];
    size_t turns, fails_at;
};

static int take_turn(void *context, bool is_second, double *ret_value, struct base_error *err)
{
    struct machine *self = context;

    self->order[self->turns++] = is_second ? 'b' : 'a';
    if (self->turns == self->fails_at)
        return base_error_set(err, BASE_IO, "turn %zu", self->turns);
    *ret_value = is_second ? 5 : 10;
    return BASE_OK;
}

Test(bench_pairs, the_order_is_turned_round_from_pair_to_pair)
{
    struct machine machine = {{0}};
    struct bench_pairs pairs;
    struct bench_ratio ratio;
    struct base_error err = {0};

    cr_assert_eq(bench_pairs_run(&pairs, 3, take_turn, &machine, &err), BASE_OK);
    cr_assert_str_eq(machine.order, "abbaab");
    cr_assert_eq(pairs.count, 3);
    bench_pairs_ratio(&pairs, &ratio);
    cr_assert_eq(ratio.ratio, 2);
    cr_assert_eq(ratio.low, 2);
    cr_assert_eq(ratio.high, 2);
    cr_assert_eq(ratio.first, 10);
    cr_assert_eq(ratio.second, 5);
}

Test(bench_pairs, a_turn_that_fails_ends_it)
{
    struct machine machine = {.fails_at = 4};
    struct bench_pairs pairs;
    struct base_error err = {0};

    cr_assert_eq(bench_pairs_run(&pairs, 3, take_turn, &machine, &err), BASE_IO);
    cr_assert_str_eq(machine.order, "abba");
    cr_assert_str_eq(err.text, "turn 4");
}

Test(bench_pairs, the_ratio_is_taken_within_a_pair)
{
    struct bench_pairs pairs = {.count = 3, .first = {1, 10, 100}, .second = {2, 5, 100}};
    struct bench_ratio ratio;

    bench_pairs_ratio(&pairs, &ratio);
    cr_assert_eq(ratio.ratio, 1, "of 0.5, 2 and 1");
    cr_assert_eq(ratio.first, 10);
    cr_assert_eq(ratio.second, 5);
    cr_assert(ratio.low <= 1 && ratio.high >= 1);
}
