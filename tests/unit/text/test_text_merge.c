#include "base_alloc.h"
#include "text_merge.h"
#include "text_test.h"

/* Any two symbols of equal length merge; shorter ones first. */
static bool equals_rule(const void *context, const char *piece, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    *ret_key = left->bytes;
    *ret_id = left->bytes * 2;
    return left->bytes == right->bytes;
}

Test(text_merge, a_long_run_takes_work_in_proportion)
{
    enum { COUNT = 1 << 18 };
    struct text_merge_work work = {0};

    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(text_merge_add(&work, i, 1, 1), BASE_OK);
    cr_assert_eq(text_merge_run(&work, NULL, equals_rule, NULL), BASE_OK);
    cr_assert_eq(work.symbols[0].bytes, COUNT);
    cr_assert_eq(work.symbols[0].id, COUNT);
    cr_assert_eq(work.symbols[0].next, TEXT_NONE);
    /* At most one for each pair at the start and two for each merge. */
    cr_assert_leq(work.push_count, 3 * (uint64_t)COUNT);
    text_merge_release(&work);
}

/* Only "aa", "ab" and "ba", in the order of context. */
static bool order_rule(const void *context, const char *piece, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    const char *const *order = context;

    for (uint32_t i = 0; order[i] != NULL; i++) {
        if (left->bytes + right->bytes == 2 && memcmp(order[i], piece + left->begin, 2) == 0) {
            *ret_key = i;
            *ret_id = i;
            return true;
        }
    }
    return false;
}

static void expect_merged(const char *piece, const char *const *order, const char *expected)
{
    struct text_merge_work work = {0};
    char got[64] = "";
    size_t used = 0;

    for (uint32_t i = 0; i < strlen(piece); i++)
        cr_assert_eq(text_merge_add(&work, i, 1, TEXT_NONE), BASE_OK);
    cr_assert_eq(text_merge_run(&work, piece, order_rule, order), BASE_OK);
    for (uint32_t i = 0; i != TEXT_NONE; i = work.symbols[i].next)
        used += (size_t)snprintf(got + used, sizeof(got) - used, "%s%.*s", i == 0 ? "" : " ",
            (int)work.symbols[i].bytes, piece + work.symbols[i].begin);
    cr_expect_str_eq(got, expected, "%s: %s, expected %s", piece, got, expected);
    text_merge_release(&work);
}

Test(text_merge, the_best_goes_first_and_the_leftmost_of_equals)
{
    const char *const aa[] = {"aa", NULL}, *const ab_first[] = {"ab", "ba", "aa", NULL},
                      *const ba_first[] = {"ba", "ab", NULL};

    expect_merged("aaaaa", aa, "aa aa a");
    expect_merged("aabab", ab_first, "a ab ab");
    expect_merged("aabab", ba_first, "a a ba b");
    expect_merged("babab", ba_first, "ba ba b");
    expect_merged("b", aa, "b");
}

Test(text_merge, memory_may_run_out_anywhere)
{
    struct text_merge_work work = {0};
    int rc = BASE_NOMEM;

    for (unsigned long n = 1; rc != BASE_OK; n++) {
        work.symbol_count = 0;
        base_alloc_fail_from(n);
        rc = BASE_OK;
        for (uint32_t i = 0; rc == BASE_OK && i < 1000; i++)
            rc = text_merge_add(&work, i, 1, 1);
        if (rc == BASE_OK)
            rc = text_merge_run(&work, NULL, equals_rule, NULL);
        base_alloc_fail_from(0);
        cr_assert(n > 1 || rc == BASE_NOMEM);
    }
    text_merge_release(&work);
    cr_assert_null(work.symbols);
}
