#include <criterion/criterion.h>

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "schedule_pages.h"

TestSuite(schedule_pages);

static struct schedule_pages *pages_new(uint32_t count)
{
    struct schedule_pages *pages = NULL;
    cr_assert_eq(schedule_pages_new(count, &pages), BASE_OK);
    return pages;
}

Test(schedule_pages, take_gives_each_page_once)
{
    struct schedule_pages *pages = pages_new(100);
    uint32_t ids[100];
    bool seen[100] = {false};
    cr_assert(schedule_pages_take(pages, 60, ids));
    cr_assert(schedule_pages_take(pages, 40, ids + 60));
    for (int i = 0; i < 100; i++) {
        cr_assert_lt(ids[i], 100);
        cr_assert_not(seen[ids[i]]);
        seen[ids[i]] = true;
    }
    cr_assert_not(schedule_pages_take(pages, 1, ids));
    cr_assert_eq(schedule_pages_held(pages), 100);
    schedule_pages_destroy(&pages);
    cr_assert_null(pages);
}

Test(schedule_pages, take_is_all_or_nothing)
{
    struct schedule_pages *pages = pages_new(3);
    uint32_t ids[4];
    cr_assert_not(schedule_pages_take(pages, 4, ids));
    cr_assert_eq(schedule_pages_free(pages), 3);
    schedule_pages_destroy(&pages);
}

Test(schedule_pages, released_page_is_free_only_after_it_was_announced)
{
    struct schedule_pages *pages = pages_new(4);
    uint32_t ids[4], again[4];
    cr_assert(schedule_pages_take(pages, 4, ids));
    schedule_pages_release(pages, ids + 1, 2);
    cr_assert_eq(schedule_pages_released(pages), 2);
    cr_assert_eq(schedule_pages_released_ids(pages)[0], ids[1]);
    cr_assert_not(schedule_pages_take(pages, 1, again));
    schedule_pages_announced(pages, 1);
    cr_assert(schedule_pages_take(pages, 1, again));
    cr_assert_eq(again[0], ids[1]);
    cr_assert_eq(schedule_pages_released_ids(pages)[0], ids[2]);
    cr_assert_eq(schedule_pages_held(pages), 3);
    schedule_pages_destroy(&pages);
}

Test(schedule_pages, lost_announcement_is_repeated_for_pages_nobody_took)
{
    struct schedule_pages *pages = pages_new(8);
    uint32_t ids[8], taken[1];
    cr_assert(schedule_pages_take(pages, 8, ids));
    schedule_pages_release(pages, ids, 5);
    schedule_pages_announced(pages, 5);
    cr_assert(schedule_pages_take(pages, 1, taken));
    schedule_pages_announce_again(pages, ids, 5);
    cr_assert_eq(schedule_pages_released(pages), 4);
    cr_assert_eq(schedule_pages_free(pages), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_neq(schedule_pages_released_ids(pages)[i], taken[0]);
    /* Told twice by mistake: no page may get onto the list twice. */
    schedule_pages_announce_again(pages, ids, 5);
    cr_assert_eq(schedule_pages_released(pages), 4);
    schedule_pages_announced(pages, 4);
    cr_assert_eq(schedule_pages_free(pages), 4);
    schedule_pages_destroy(&pages);
}

Test(schedule_pages, none_and_too_many)
{
    struct schedule_pages *pages = pages_new(0);
    uint32_t id;
    cr_assert_not(schedule_pages_take(pages, 1, &id));
    cr_assert(schedule_pages_take(pages, 0, &id));
    schedule_pages_destroy(&pages);
    cr_assert_eq(schedule_pages_new(LIMIT_PAGES_MAX + 1, &pages), BASE_TOO_BIG);
    schedule_pages_destroy(&pages);
}

Test(schedule_pages, every_failing_allocation_is_reported)
{
    struct schedule_pages *pages = NULL;
    for (unsigned long n = 1;; n++) {
        base_alloc_fail_from(n);
        int rc = schedule_pages_new(16, &pages);
        base_alloc_fail_from(0);
        if (rc == BASE_OK)
            break;
        cr_assert_eq(rc, BASE_NOMEM);
        cr_assert_lt(n, 20);
    }
    schedule_pages_destroy(&pages);
}

Test(schedule_pages, shared_pages_are_released_by_their_last_holder)
{
    struct schedule_pages *pages = NULL;
    uint32_t ids[3];
    cr_assert_eq(schedule_pages_new(5, &pages), BASE_OK);
    cr_assert(schedule_pages_take(pages, 3, ids));
    schedule_pages_share(pages, ids, 2);
    schedule_pages_share(pages, ids, 1);
    cr_assert_eq(schedule_pages_held(pages), 3);
    cr_assert_eq(schedule_pages_saved(pages), 3);
    schedule_pages_release(pages, ids, 3); /* the first holder */
    cr_assert_eq(schedule_pages_released(pages), 1);
    cr_assert_eq(schedule_pages_released_ids(pages)[0], ids[2]);
    cr_assert_eq(schedule_pages_held(pages), 2);
    cr_assert_eq(schedule_pages_saved(pages), 1);
    schedule_pages_release(pages, ids, 1);
    cr_assert_eq(schedule_pages_held(pages), 2);
    schedule_pages_release(pages, ids, 2);
    cr_assert_eq(schedule_pages_held(pages), 0);
    cr_assert_eq(schedule_pages_saved(pages), 0);
    schedule_pages_announced(pages, 3);
    cr_assert_eq(schedule_pages_free(pages), 5);
    schedule_pages_destroy(&pages);
}
