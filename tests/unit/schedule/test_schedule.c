#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "base_err.h"
#include "schedule.h"

TestSuite(schedule);

static struct schedule *new_schedule(uint32_t batch_tokens, uint32_t running, uint32_t waiting)
{
    struct schedule_options options = {.batch_tokens = batch_tokens,
        .running_max = running,
        .waiting_max = waiting,
        .result_bytes = 1 << 20};
    struct schedule *schedule = NULL;
    cr_assert_eq(schedule_new(&options, &schedule), BASE_OK);
    return schedule;
}

static struct schedule_sequence sequence_of(uint64_t arrival, uint32_t length, uint32_t limit)
{
    return (struct schedule_sequence){
        .length = length, .limit = limit, .arrival = arrival, .row_bytes = 8};
}

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

/* ---- random loads against a model of the stages ---- */

struct load {
    uint64_t random;
    struct schedule *schedule;
    struct schedule_sequence sequences[40];
    bool finished[40];
    uint32_t page_count, batch_tokens, batches_max;
    uint64_t page_life[64];      /* life that a stage has in each page; 0: free */
    uint64_t page_group[64];     /* group of that life */
    uint32_t page_positions[64]; /* how many positions of it */
    uint32_t page_index[64];     /* which page of the sequence it is */
    uint64_t shared_total;       /* pages taken over */
    struct schedule_batch in_flight[8];
    uint32_t in_flight_count;
};

static uint32_t load_random(struct load *load, uint32_t bound)
{
    load->random = load->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(load->random >> 33) % bound;
}

/* What was taken over is full, of the same group and at its place. */
static void check_shared(struct load *load, const struct schedule_item *item)
{
    const struct schedule_sequence *s = item->sequence;
    cr_assert_leq(s->shared * LIMIT_PAGE_TOKENS, s->prefix);
    cr_assert_leq(s->shared * LIMIT_PAGE_TOKENS, item->first_position);
    for (uint32_t k = 0; k < s->shared; k++) {
        cr_assert_neq(load->page_life[s->pages[k]], 0, "a shared page was given away");
        cr_assert_eq(load->page_group[s->pages[k]], s->group);
        cr_assert_eq(load->page_positions[s->pages[k]], LIMIT_PAGE_TOKENS);
        cr_assert_eq(load->page_index[s->pages[k]], k);
    }
    load->shared_total += item->first_position == s->shared * LIMIT_PAGE_TOKENS ? s->shared : 0;
}

/* What every stage does, in order of the batches. */
static void stage_runs(struct load *load, const struct schedule_batch *batch)
{
    /* A page that was taken and given up before it was written is told to the stages as well. */
    for (size_t i = 0; i < batch->released_count; i++)
        load->page_life[batch->released[i]] = 0;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct schedule_item *item = &batch->items[i];
        for (uint32_t t = 0; t < item->token_count; t++) {
            uint32_t position = item->first_position + t;
            uint32_t page = item->sequence->pages[position / LIMIT_PAGE_TOKENS];
            if (t == 0)
                check_shared(load, item);
            if (position % LIMIT_PAGE_TOKENS == 0) {
                cr_assert_eq(load->page_life[page], 0, "a page in use was given away");
                load->page_group[page] = item->sequence->group;
                load->page_life[page] = item->id;
                load->page_positions[page] = 0;
                load->page_index[page] = position / LIMIT_PAGE_TOKENS;
            }
            cr_assert_eq(load->page_life[page], item->id);
            cr_assert_eq(load->page_positions[page], position % LIMIT_PAGE_TOKENS);
            load->page_positions[page]++;
        }
    }
}

static void check_batch(struct load *load, const struct schedule_batch *batch)
{
    uint32_t tokens = 0, decodes = 0;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct schedule_item *item = &batch->items[i];
        tokens += item->token_count;
        decodes += item->first_position > 0 && item->last && item->token_count == 1;
        cr_assert_not(item->sequence->paused);
        for (size_t k = 0; k < i; k++)
            cr_assert_neq(batch->items[k].sequence, item->sequence);
    }
    cr_assert_eq(tokens, batch->token_count);
    cr_assert_leq(tokens, load->batch_tokens);
}

static void send_all(struct load *load)
{
    struct schedule_batch batch;
    while (load->in_flight_count < load->batches_max &&
           schedule_build(load->schedule, load->in_flight_count == 0, &batch)) {
        check_batch(load, &batch);
        if (load_random(load, 10) == 0)
            return; /* the link had no room */
        stage_runs(load, &batch);
        schedule_sent(load->schedule, &batch);
        load->in_flight[load->in_flight_count++] = batch;
    }
}

static void return_oldest(struct load *load)
{
    struct schedule_batch batch = load->in_flight[0];
    load->in_flight_count--;
    memmove(load->in_flight, load->in_flight + 1, load->in_flight_count * sizeof(batch));
    for (size_t i = 0; i < batch.item_count; i++) {
        struct schedule_item *item = &batch.items[i];
        struct schedule_sequence *s = item->sequence;
        if (!schedule_returned(s, item->id, item->token_count) || !item->last)
            continue;
        if (s->length == s->limit) {
            schedule_remove(load->schedule, s);
            load->finished[s - load->sequences] = true;
        } else {
            schedule_append(load->schedule, s);
        }
    }
}

static uint32_t count_unfinished(const struct load *load)
{
    uint32_t count = 0;
    for (int i = 0; i < 40; i++)
        count += !load->finished[i];
    return count;
}

static void disturb(struct load *load)
{
    struct schedule_sequence *s = &load->sequences[load_random(load, 40)];
    switch (load_random(load, 40)) {
    case 0:
        if (s->state != SCHEDULE_OUT) {
            schedule_remove(load->schedule, s);
            load->finished[s - load->sequences] = true;
        }
        break;
    case 1:
        schedule_restart(load->schedule, s);
        break;
    case 2:
        s->paused = true;
        break;
    case 3:
        for (int i = 0; i < 40; i++)
            load->sequences[i].paused = false;
        break;
    default:
        break;
    }
}

static uint64_t run_load(uint64_t seed, bool with_groups)
{
    struct load load = {.random = seed};
    load.page_count = 4 + load_random(&load, 60);
    load.batch_tokens = 1 + load_random(&load, 200);
    load.batches_max = 1 + load_random(&load, 8);
    load.schedule = new_schedule(load.batch_tokens, 1 + load_random(&load, 40), 40);
    cr_assert_eq(schedule_reset(load.schedule, load.page_count, load.batches_max), BASE_OK);
    int added = 0;
    uint32_t rounds = 0;
    while (count_unfinished(&load) > 0) {
        if (added < 40 && load_random(&load, 4) == 0) {
            uint32_t most = load.page_count * LIMIT_PAGE_TOKENS;
            uint32_t limit = 2 + load_random(&load, most < 600 ? most - 1 : 600);
            struct schedule_sequence *s = &load.sequences[added];
            *s = sequence_of(++added, 1 + load_random(&load, limit), limit);
            s->every_row = load_random(&load, 5) == 0;
            struct schedule_sequence *before = added > 1 ? s - 1 : NULL;
            s->group = with_groups ? s->arrival : 0;
            s->prefix = with_groups ? s->length : 0;
            if (before != NULL && with_groups && load_random(&load, 4) != 0) {
                s->group = before->group;
                s->length = s->prefix = before->prefix;
                s->limit = s->prefix + load_random(&load, most - s->prefix + 1);
                if (s->limit > s->prefix + 200)
                    s->limit = s->prefix + 200;
            }
            cr_assert_eq(schedule_add(load.schedule, s), BASE_OK);
        }
        if (seed % 3 != 0)
            disturb(&load);
        else if (load_random(&load, 10) == 0)
            for (int i = 0; i < 40; i++)
                load.sequences[i].paused = false;
        send_all(&load);
        if (load.in_flight_count > 0 && load_random(&load, 3) != 0)
            return_oldest(&load);
        cr_assert_lt(++rounds, 400000, "seed %llu does not end", (unsigned long long)seed);
    }
    while (load.in_flight_count > 0)
        return_oldest(&load);
    struct schedule_batch batch;
    while (schedule_build(load.schedule, true, &batch)) {
        stage_runs(&load, &batch);
        schedule_sent(load.schedule, &batch);
    }
    for (uint32_t i = 0; i < load.page_count; i++)
        cr_assert_eq(load.page_life[i], 0, "page %u is still in use", i);
    cr_assert_eq(schedule_pages_free(schedule_get_pages(load.schedule)), load.page_count);
    cr_assert_eq(schedule_pages_saved(schedule_get_pages(load.schedule)), 0);
    schedule_destroy(&load.schedule);
    return load.shared_total;
}

Test(schedule, random_loads_end_and_pages_are_never_shared)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        cr_assert_eq(run_load(seed, false), 0);
}

Test(schedule, random_loads_of_groups_end_and_share_only_what_is_computed)
{
    uint64_t shared = 0;
    for (uint64_t seed = 1; seed <= 150; seed++)
        shared += run_load(seed, true);
    cr_assert_gt(shared, 1000);
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
