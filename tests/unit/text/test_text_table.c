#include "base_alloc.h"
#include "text_table.h"
#include "text_test.h"

Test(text_table, finds_what_was_added_and_nothing_else)
{
    enum { COUNT = 20000 };
    struct text_strings strings = {0};
    struct text_table table = {0};
    char name[32];
    size_t bytes;

    cr_assert_eq(text_table_find(&table, "x", 1), -1);
    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(name, sizeof(name), "%d", i);
        cr_assert_eq(text_strings_append(&strings, name, (size_t)length), BASE_OK);
        cr_assert_eq(text_table_add(&table, &strings, (size_t)i), BASE_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        int length = snprintf(name, sizeof(name), "%d", i);
        cr_assert_eq(text_table_find(&table, name, (size_t)length), i);
        const char *found = text_strings_at(&strings, (size_t)i, &bytes);
        cr_assert(bytes == (size_t)length && memcmp(found, name, bytes) == 0);
    }
    cr_assert_eq(text_table_find(&table, "20000", 5), -1);
    cr_assert_eq(text_table_find(&table, "0", 0), -1);
    cr_assert_eq(text_table_find(&table, "0\0", 2), -1);
    /* The first of equal strings stays; an empty string is a string. */
    cr_assert_eq(text_strings_append(&strings, "7", 1), BASE_OK);
    cr_assert_eq(text_table_add(&table, &strings, COUNT), BASE_OK);
    cr_assert_eq(text_table_find(&table, "7", 1), 7);
    cr_assert_eq(text_strings_append(&strings, "", 0), BASE_OK);
    cr_assert_eq(text_table_add(&table, &strings, COUNT + 1), BASE_OK);
    cr_assert_eq(text_table_find(&table, "", 0), COUNT + 1);
    text_table_release(&table);
    text_strings_release(&strings);
}

Test(text_table, pairs)
{
    enum { SIDE = 100 };
    struct text_pairs pairs = {0};
    uint32_t rank, id;

    cr_assert(!text_pairs_find(&pairs, 0, 0, &rank, &id));
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        cr_assert_eq(text_pairs_add(&pairs, i / SIDE, i % SIDE, i, i + 5), BASE_OK);
    cr_assert_eq(text_pairs_add(&pairs, 1, 2, 0, 0), BASE_OK); /* comes too late */
    for (uint32_t i = 0; i < SIDE * SIDE; i++) {
        cr_assert(text_pairs_find(&pairs, i / SIDE, i % SIDE, &rank, &id));
        cr_assert(rank == i && id == i + 5);
    }
    cr_assert(!text_pairs_find(&pairs, SIDE, 0, &rank, &id));
    cr_assert(!text_pairs_find(&pairs, UINT32_MAX, UINT32_MAX, &rank, &id));
    text_pairs_release(&pairs);
}

Test(text_table, memory_may_run_out_anywhere)
{
    struct text_strings strings = {0};
    struct text_table table = {0};
    struct text_pairs pairs = {0};
    size_t added = 0;
    unsigned faults = 0;

    while (added < 2000) {
        base_alloc_fail_from(1);
        int rc = text_strings_append(&strings, (const char *)&added, sizeof(added));
        base_alloc_fail_from(0);
        if (rc != BASE_OK) {
            faults++;
            cr_assert_eq(strings.count, added);
            cr_assert_eq(
                text_strings_append(&strings, (const char *)&added, sizeof(added)), BASE_OK);
        }
        base_alloc_fail_from(1);
        rc = text_table_add(&table, &strings, added);
        int pair_rc = text_pairs_add(&pairs, (uint32_t)added, 0, 0, 1);
        base_alloc_fail_from(0);
        faults += (rc != BASE_OK) + (pair_rc != BASE_OK);
        if (rc != BASE_OK)
            cr_assert_eq(text_table_add(&table, &strings, added), BASE_OK);
        if (pair_rc != BASE_OK)
            cr_assert_eq(text_pairs_add(&pairs, (uint32_t)added, 0, 0, 1), BASE_OK);
        added++;
    }
    cr_assert_gt(faults, 10);
    for (size_t i = 0; i < added; i++) {
        uint32_t rank, id;
        cr_assert_eq(text_table_find(&table, (const char *)&i, sizeof(i)), (int64_t)i);
        cr_assert(text_pairs_find(&pairs, (uint32_t)i, 0, &rank, &id));
    }
    text_pairs_release(&pairs);
    text_table_release(&table);
    text_strings_release(&strings);
}
