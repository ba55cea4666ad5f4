#include "schedule_sample.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "base_err.h"
#include "schedule.h"

TestSuite(schedule);

Test(schedule, refuses_options_out_of_range_and_when_full)
{
    struct schedule *schedule = NULL;
    struct schedule_options options = {.batch_tokens = 0, .running_max = 1};
    cr_assert_eq(schedule_new(&options, &schedule), BASE_INVALID);
    options.batch_tokens = LIMIT_BATCH_TOKENS_MAX + 1;
    cr_assert_eq(schedule_new(&options, &schedule), BASE_INVALID);
    schedule = new_schedule(8, 1, 1);
    struct schedule_sequence a = sequence_of(1, 3, 9), b = sequence_of(2, 3, 9);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &b), BASE_FULL);
    schedule_destroy(&schedule);
}

Test(schedule, nothing_runs_without_pages)
{
    struct schedule *schedule = new_schedule(8, 4, 4);
    struct schedule_sequence a = sequence_of(1, 3, 9);
    struct schedule_batch batch;
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert_not(schedule_build(schedule, true, &batch));
    cr_assert_eq(schedule_reset(schedule, 2, 2), BASE_OK);
    cr_assert(schedule_build(schedule, true, &batch));
    cr_assert_eq(batch.item_count, 1);
    schedule_destroy(&schedule);
}

Test(schedule, chunks_of_one_prompt_follow_each_other_without_waiting)
{
    struct schedule *schedule = new_schedule(8, 4, 4);
    struct schedule_sequence a = sequence_of(1, 20, 30);
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 4, 3), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    const uint32_t counts[3] = {8, 8, 4};
    uint32_t first = 0;
    for (int i = 0; i < 3; i++) {
        cr_assert(schedule_build(schedule, false, &batch));
        cr_assert_eq(batch.item_count, 1);
        cr_assert_eq(batch.items[0].first_position, first);
        cr_assert_eq(batch.items[0].token_count, counts[i]);
        cr_assert_eq(batch.items[0].last, i == 2);
        schedule_sent(schedule, &batch);
        first += counts[i];
    }
    cr_assert_not(schedule_build(schedule, false, &batch), "it waits for its token");
    cr_assert(schedule_returned(&a, a.id, 20));
    schedule_append(schedule, &a);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.items[0].first_position, 20);
    cr_assert_eq(batch.items[0].token_count, 1);
    schedule_destroy(&schedule);
}

Test(schedule, an_unsent_batch_is_forgotten)
{
    struct schedule *schedule = new_schedule(8, 4, 4);
    struct schedule_sequence a = sequence_of(1, 5, 9);
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 4, 3), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.items[0].first_position, 0);
    cr_assert_eq(batch.items[0].token_count, 5);
    schedule_destroy(&schedule);
}

/* Brings sequences to the state in which each waits for nothing but its next decode. */
static void make_decodes(struct schedule *schedule, struct schedule_sequence *all, int count)
{
    struct schedule_batch batch;
    while (schedule_build(schedule, false, &batch)) {
        schedule_sent(schedule, &batch);
        for (size_t i = 0; i < batch.item_count; i++)
            schedule_returned(
                batch.items[i].sequence, batch.items[i].id, batch.items[i].token_count);
    }
    for (int i = 0; i < count; i++)
        schedule_append(schedule, &all[i]);
}

Test(schedule, decodes_are_split_over_the_batches_in_flight_and_go_first)
{
    struct schedule *schedule = new_schedule(16, 16, 16);
    struct schedule_sequence all[8];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 64, 3), BASE_OK);
    for (int i = 0; i < 7; i++) {
        all[i] = sequence_of(i + 1, 3, 60);
        cr_assert_eq(schedule_add(schedule, &all[i]), BASE_OK);
    }
    make_decodes(schedule, all, 7);
    all[7] = sequence_of(8, 40, 60);
    cr_assert_eq(schedule_add(schedule, &all[7]), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 4, "ceil(8 running / 3) decodes and one chunk");
    for (int i = 0; i < 3; i++)
        cr_assert_eq(batch.items[i].sequence, &all[i]);
    cr_assert_eq(batch.items[3].sequence, &all[7]);
    cr_assert_eq(batch.items[3].token_count, 13);
    schedule_sent(schedule, &batch);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.items[0].sequence, &all[3]);
    schedule_destroy(&schedule);
}

Test(schedule, no_more_groups_of_decodes_than_wanted_are_in_flight)
{
    struct schedule *schedule = new_schedule(16, 16, 16);
    struct schedule_sequence all[6];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 64, 3), BASE_OK);
    for (int i = 0; i < 5; i++) {
        all[i] = sequence_of(i + 1, 3, 60);
        cr_assert_eq(schedule_add(schedule, &all[i]), BASE_OK);
    }
    make_decodes(schedule, all, 5);
    schedule_set_groups(schedule, 2, 0);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.decode_count, 3, "ceil(5 / 2)");
    schedule_sent(schedule, &batch);
    schedule_set_groups(schedule, 2, 2);
    cr_assert_not(schedule_build(schedule, false, &batch), "two groups are out");
    all[5] = sequence_of(6, 40, 60);
    cr_assert_eq(schedule_add(schedule, &all[5]), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch), "prompts go all the same");
    cr_assert_eq(batch.decode_count, 0);
    cr_assert_eq(batch.item_count, 1);
    cr_assert_eq(batch.items[0].sequence, &all[5]);
    schedule_set_groups(schedule, 2, 1);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.decode_count, 2);
    cr_assert_eq(batch.items[2].sequence, &all[5]);
    schedule_destroy(&schedule);
}

Test(schedule, logits_rows_have_a_budget)
{
    struct schedule_options options = {
        .batch_tokens = 64, .running_max = 8, .waiting_max = 8, .result_bytes = 1000};
    struct schedule *schedule = NULL;
    struct schedule_batch batch;
    cr_assert_eq(schedule_new(&options, &schedule), BASE_OK);
    cr_assert_eq(schedule_reset(schedule, 64, 2), BASE_OK);
    struct schedule_sequence every = sequence_of(1, 20, 20), last = sequence_of(2, 9, 20);
    every.every_row = true;
    every.row_bytes = 100;
    last.row_bytes = 100;
    cr_assert_eq(schedule_add(schedule, &every), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &last), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 2);
    cr_assert_eq(batch.items[0].token_count, 10);
    cr_assert_eq(batch.items[1].token_count, 8, "its last token has no room for its row");
    cr_assert_not(batch.items[1].last);
    schedule_sent(schedule, &batch);
    every.row_bytes = last.row_bytes = 5000;
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 1, "a row above the budget travels alone");
    cr_assert_eq(batch.items[0].token_count, 1);
    schedule_destroy(&schedule);
}

Test(schedule, paused_sequence_is_left_out_and_gives_way_first)
{
    struct schedule *schedule = new_schedule(256, 8, 8);
    struct schedule_sequence a = sequence_of(1, 64, 70), b = sequence_of(2, 64, 192);
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 4, 2), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &b), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 2);
    schedule_sent(schedule, &batch);
    a.paused = true;
    for (int i = 0; i < 128; i++) {
        schedule_append(schedule, &b);
        cr_assert(schedule_build(schedule, false, &batch));
        if (batch.item_count > 0)
            cr_assert_eq(batch.items[0].sequence, &b);
        schedule_sent(schedule, &batch);
    }
    cr_assert_eq(a.state, SCHEDULE_RUNNING);
    schedule_destroy(&schedule);

    schedule = new_schedule(256, 8, 8);
    a = sequence_of(1, 64, 70);
    b = sequence_of(2, 64, 192);
    cr_assert_eq(schedule_reset(schedule, 3, 2), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    schedule_sent(schedule, &batch);
    cr_assert_eq(schedule_add(schedule, &b), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    schedule_sent(schedule, &batch);
    a.paused = true;
    for (int i = 0; i < 65; i++)
        schedule_append(schedule, &b);
    cr_assert(schedule_build(schedule, false, &batch), "the page of the older, paused one");
    cr_assert_eq(a.state, SCHEDULE_WAITING);
    schedule_destroy(&schedule);
}

Test(schedule, youngest_gives_way_and_starts_again_with_a_new_id)
{
    struct schedule *schedule = new_schedule(256, 8, 8);
    struct schedule_sequence a = sequence_of(1, 64, 192), b = sequence_of(2, 64, 192);
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 3, 2), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &b), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 2);
    schedule_sent(schedule, &batch);
    uint64_t old_id = b.id;
    uint32_t page_of_b = b.pages[0];
    schedule_append(schedule, &a);
    schedule_append(schedule, &b);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 1, "the youngest waits for a page");
    cr_assert_eq(batch.items[0].sequence, &a);
    schedule_sent(schedule, &batch);
    cr_assert_eq(b.state, SCHEDULE_RUNNING);

    for (int i = 0; i < 63; i++) {
        schedule_append(schedule, &a);
        cr_assert(schedule_build(schedule, false, &batch));
        schedule_sent(schedule, &batch);
    }
    schedule_append(schedule, &a);
    cr_assert(schedule_build(schedule, false, &batch), "the page of b is to be announced at once");
    cr_assert_eq(b.state, SCHEDULE_WAITING);
    cr_assert_eq(batch.item_count, 0);
    cr_assert_eq(batch.released_count, 1);
    cr_assert_eq(batch.released[0], page_of_b);
    schedule_sent(schedule, &batch);
    cr_assert_not(schedule_returned(&b, old_id, 64), "void: it is of an earlier life");
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 1);
    cr_assert_eq(a.pages[2], page_of_b);
    schedule_sent(schedule, &batch);

    schedule_remove(schedule, &a);
    cr_assert(schedule_build(schedule, false, &batch));
    schedule_sent(schedule, &batch);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.items[0].sequence, &b);
    cr_assert_eq(batch.items[0].first_position, 0);
    cr_assert_eq(batch.items[0].token_count, 65);
    cr_assert_neq(b.id, old_id);
    schedule_destroy(&schedule);
}

Test(schedule, idle_build_announces_what_is_left)
{
    struct schedule *schedule = new_schedule(8, 8, 8);
    struct schedule_sequence a = sequence_of(1, 3, 9);
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 3, 2), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
    cr_assert(schedule_build(schedule, true, &batch));
    schedule_sent(schedule, &batch);
    schedule_remove(schedule, &a);
    cr_assert_not(schedule_build(schedule, false, &batch));
    cr_assert(schedule_build(schedule, true, &batch));
    cr_assert_eq(batch.item_count, 0);
    cr_assert_eq(batch.released_count, 1);
    schedule_sent(schedule, &batch);
    cr_assert_not(schedule_build(schedule, true, &batch));
    cr_assert_eq(schedule_pages_free(schedule_get_pages(schedule)), 3);
    schedule_destroy(&schedule);
}

/* ---- groups ---- */

/* The next micro-batch is sent and comes back. Returns false when there is none. */
static bool turn(struct schedule *schedule, struct schedule_batch *batch)
{
    if (!schedule_build(schedule, true, batch))
        return false;
    schedule_sent(schedule, batch);
    for (size_t i = 0; i < batch->item_count; i++)
        schedule_returned(
            batch->items[i].sequence, batch->items[i].id, batch->items[i].token_count);
    return true;
}

static void add_group(struct schedule *schedule, struct schedule_sequence *all, int count,
    uint32_t prompt, uint32_t limit)
{
    for (int i = 0; i < count; i++) {
        all[i] = sequence_of((uint64_t)i + 1, prompt, limit);
        all[i].group = 1;
        all[i].prefix = prompt;
        cr_assert_eq(schedule_add(schedule, &all[i]), BASE_OK);
    }
}

Test(schedule, a_group_computes_its_prompt_once_and_shares_its_full_pages)
{
    struct schedule *schedule = new_schedule(100, 8, 8);
    struct schedule_sequence all[4];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 20, 3), BASE_OK);
    add_group(schedule, all, 4, 150, 200); /* two full pages and 22 tokens */
    struct schedule_sequence other = sequence_of(9, 10, 20);
    cr_assert_eq(schedule_add(schedule, &other), BASE_OK);

    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 1);
    schedule_sent(schedule, &batch);
    struct schedule_batch first = batch;
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 2, "the rest of the prompt, and who is not of the group");
    cr_assert_eq(batch.items[1].sequence, &other);
    schedule_sent(schedule, &batch);
    cr_assert_eq(all[1].state, SCHEDULE_WAITING);
    schedule_returned(&all[0], first.items[0].id, 100);
    struct schedule_batch none;
    cr_assert_not(schedule_build(schedule, false, &none), "page 1 has not come back yet");
    schedule_returned(&all[0], batch.items[0].id, 50);

    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 3);
    for (int i = 1; i < 4; i++) {
        cr_assert_eq(batch.items[i - 1].first_position, 128);
        cr_assert_eq(batch.items[i - 1].token_count, 22);
        cr_assert_eq(all[i].shared, 2);
        cr_assert_eq(all[i].pages[0], all[0].pages[0]);
        cr_assert_eq(all[i].pages[1], all[0].pages[1]);
        for (int k = 0; k < i; k++)
            cr_assert_neq(all[i].pages[2], all[k].pages[2]);
    }
    schedule_sent(schedule, &batch);
    const struct schedule_pages *pages = schedule_get_pages(schedule);
    cr_assert_eq(schedule_pages_held(pages), 2 + 4 + 1);
    cr_assert_eq(schedule_pages_saved(pages), 6);
    schedule_remove(schedule, &all[0]); /* the pages stay with the others */
    cr_assert_eq(schedule_pages_held(pages), 2 + 3 + 1);
    for (int i = 1; i < 4; i++)
        schedule_remove(schedule, &all[i]);
    cr_assert_eq(schedule_pages_held(pages), 1);
    schedule_destroy(&schedule);
}

/* A prompt that ends with its page: its last token has to be computed for its logits. */
Test(schedule, the_page_with_the_last_token_is_not_shared)
{
    struct schedule *schedule = new_schedule(300, 8, 8);
    struct schedule_sequence all[3];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 20, 2), BASE_OK);
    add_group(schedule, all, 2, 128, 200);
    cr_assert(turn(schedule, &batch));
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(batch.items[0].sequence, &all[1]);
    cr_assert_eq(batch.items[0].first_position, 64);
    cr_assert_eq(all[1].shared, 1);
    /* With an answer behind it, it can be. */
    schedule_append(schedule, &all[1]);
    schedule_restart(schedule, &all[1]);
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(all[1].shared, 2);
    cr_assert_eq(all[1].pages[1], all[0].pages[1]);
    /* One token is no page: nothing is shared, and nobody waits. */
    schedule_remove(schedule, &all[0]);
    schedule_remove(schedule, &all[1]);
    while (turn(schedule, &batch))
        ;
    add_group(schedule, all, 3, 64, 200);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 3);
    schedule_destroy(&schedule);
}

Test(schedule, any_of_a_group_gives_its_pages_on)
{
    struct schedule *schedule = new_schedule(300, 8, 8);
    struct schedule_sequence all[3];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 9, 2), BASE_OK);
    add_group(schedule, all, 3, 150, 200);
    cr_assert(turn(schedule, &batch));
    cr_assert(turn(schedule, &batch));
    schedule_restart(schedule, &all[0]); /* the one that computed them */
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(batch.items[0].sequence, &all[0]);
    cr_assert_eq(batch.items[0].first_position, 128);
    cr_assert_eq(all[0].pages[1], all[2].pages[1]);
    /* Lost in the middle of the prompt: the next one computes it, and the first takes it over. */
    cr_assert_eq(schedule_reset(schedule, 9, 2), BASE_OK);
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.item_count, 1);
    schedule_sent(schedule, &batch);
    all[0].paused = true;
    schedule_restart(schedule, &all[0]);
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(batch.items[0].sequence, &all[1]);
    cr_assert_eq(batch.items[0].first_position, 0);
    all[0].paused = false;
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(all[0].pages[1], all[1].pages[1]);
    cr_assert_eq(all[2].pages[1], all[1].pages[1]);
    schedule_destroy(&schedule);
}

/* One request for many continuations does not keep others out. */
Test(schedule, a_group_leaves_half_of_the_places_to_others)
{
    struct schedule *schedule = new_schedule(500, 6, 40);
    struct schedule_sequence all[20], others[4];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 60, 1), BASE_OK);
    add_group(schedule, all, 20, 70, 100);
    while (turn(schedule, &batch))
        ;
    for (int i = 0; i < 4; i++) {
        others[i] = sequence_of((uint64_t)i + 50, 5, 10);
        cr_assert_eq(schedule_add(schedule, &others[i]), BASE_OK);
    }
    while (turn(schedule, &batch))
        ;
    cr_assert_eq(schedule_running_count(schedule), 6);
    cr_assert_eq(all[2].state, SCHEDULE_RUNNING);
    cr_assert_eq(all[3].state, SCHEDULE_WAITING);
    cr_assert_eq(others[2].state, SCHEDULE_RUNNING);
    cr_assert_eq(others[3].state, SCHEDULE_WAITING);
    schedule_remove(schedule, &all[1]); /* the next of the group is older than the fourth other */
    while (turn(schedule, &batch))
        ;
    cr_assert_eq(all[3].state, SCHEDULE_RUNNING);
    cr_assert_eq(others[3].state, SCHEDULE_WAITING);
    schedule_destroy(&schedule);

    schedule = new_schedule(500, 1, 40); /* the only place is for anybody */
    cr_assert_eq(schedule_reset(schedule, 60, 1), BASE_OK);
    add_group(schedule, all, 2, 70, 100);
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(all[0].state, SCHEDULE_RUNNING);
    schedule_remove(schedule, &all[0]);
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(all[1].state, SCHEDULE_RUNNING);
    schedule_destroy(&schedule);
}

/* A victim whose pages are all shared frees none: the next one has to go as well, at once. */
Test(schedule, victims_are_taken_until_pages_are_free)
{
    struct schedule *schedule = new_schedule(500, 8, 8);
    struct schedule_sequence old = sequence_of(1, 64, 256), all[2];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 5, 2), BASE_OK);
    for (int i = 0; i < 2; i++) {
        all[i] = sequence_of((uint64_t)i + 2, 128, 129);
        all[i].group = 1;
        all[i].prefix = 128;
    }
    cr_assert_eq(schedule_add(schedule, &old), BASE_OK);
    cr_assert_eq(schedule_add(schedule, &all[1]), BASE_OK);
    cr_assert(turn(schedule, &batch));
    all[0].length = 129; /* as after an earlier life */
    cr_assert_eq(schedule_add(schedule, &all[0]), BASE_OK);
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(all[0].shared, 2);
    cr_assert_eq(schedule_pages_free(schedule_get_pages(schedule)), 1);
    schedule_append(schedule, &old);
    cr_assert(turn(schedule, &batch));
    for (int i = 0; i < 64; i++) {
        schedule_append(schedule, &old);
        cr_assert(turn(schedule, &batch));
    }
    cr_assert_eq(all[1].state, SCHEDULE_WAITING, "its two pages are shared");
    cr_assert_eq(all[0].state, SCHEDULE_WAITING, "so the older one went too");
    cr_assert(turn(schedule, &batch));
    cr_assert_eq(old.page_count, 3);
    schedule_destroy(&schedule);
}

Test(schedule, reset_brings_everybody_back_in_order_of_arrival)
{
    struct schedule *schedule = new_schedule(64, 8, 8);
    struct schedule_sequence all[5];
    struct schedule_batch batch;
    cr_assert_eq(schedule_reset(schedule, 32, 2), BASE_OK);
    for (int i = 0; i < 5; i++) {
        all[i] = sequence_of(i + 1, 10, 100);
        cr_assert_eq(schedule_add(schedule, &all[i]), BASE_OK);
    }
    make_decodes(schedule, all, 5);
    uint64_t old_id = all[0].id;
    cr_assert_eq(schedule_reset(schedule, 6, 2), BASE_OK);
    cr_assert_eq(schedule_running_count(schedule), 0);
    cr_assert_not(schedule_returned(&all[0], old_id, 1));
    cr_assert(schedule_build(schedule, false, &batch));
    cr_assert_eq(batch.items[0].sequence, &all[0]);
    cr_assert_eq(batch.items[0].token_count, 11);
    cr_assert_neq(batch.items[0].id, old_id);
    cr_assert_eq(batch.items[4].sequence, &all[4]);
    schedule_destroy(&schedule);
}

Test(schedule, failing_allocations_are_survived)
{
    for (unsigned long n = 1; n < 12; n++) {
        struct schedule_options options = {.batch_tokens = 8, .running_max = 2, .waiting_max = 2};
        struct schedule *schedule = NULL;
        struct schedule_sequence a = sequence_of(1, 3, 9);
        struct schedule_batch batch;
        base_alloc_fail_from(n);
        if (schedule_new(&options, &schedule) == BASE_OK) {
            int rc = schedule_reset(schedule, 4, 2);
            cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
            cr_assert_eq(schedule_add(schedule, &a), BASE_OK);
            schedule_build(schedule, true, &batch);
        }
        base_alloc_fail_from(0);
        if (schedule != NULL) {
            cr_assert_eq(schedule_reset(schedule, 4, 2), BASE_OK);
            cr_assert(schedule_build(schedule, true, &batch));
            cr_assert_eq(batch.item_count, 1);
        }
        schedule_destroy(&schedule);
    }
}
