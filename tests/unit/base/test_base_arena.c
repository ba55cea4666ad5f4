#include "base_arena.h"
#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(base_arena, the_budget_holds_and_reset_gives_it_back)
{
    struct base_arena arena;

    base_arena_init(&arena, 10000);
    char *a = base_arena_alloc(&arena, 5000);
    cr_assert_not_null(a);
    memset(a, 1, 5000);
    cr_assert_null(base_arena_alloc(&arena, 5001));
    cr_assert_null(base_arena_alloc(&arena, SIZE_MAX));
    cr_assert_null(base_arena_alloc_zeroed(&arena, SIZE_MAX, 2));
    base_arena_reset(&arena);
    char *b = base_arena_copy(&arena, "abc", 3);
    cr_assert_str_eq(b, "abc");
    cr_assert_eq((uintptr_t)b % 16, 0);
    base_arena_release(&arena);
    cr_assert_eq(arena.used_bytes, 0);
}

Test(base_arena, memory_does_not_move)
{
    struct base_arena arena;
    char *blocks[100];

    base_arena_init(&arena, SIZE_MAX);
    for (int i = 0; i < 100; i++) {
        blocks[i] = base_arena_alloc(&arena, 1000);
        memset(blocks[i], i, 1000);
    }
    for (int i = 0; i < 100; i++)
        cr_assert(blocks[i][0] == i && blocks[i][999] == i);
    base_arena_release(&arena);
}
