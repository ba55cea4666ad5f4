/* Random loads against a model of the stages: all sequences end, no page is shared that may not be. */
#include "schedule_sample.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base_err.h"
#include "schedule.h"

TestSuite(schedule_load);

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

Test(schedule_load, random_loads_end_and_pages_are_never_shared)
{
    for (uint64_t seed = 1; seed <= 150; seed++)
        cr_assert_eq(run_load(seed, false), 0);
}

Test(schedule_load, random_loads_of_groups_end_and_share_only_what_is_computed)
{
    uint64_t shared = 0;
    for (uint64_t seed = 1; seed <= 150; seed++)
        shared += run_load(seed, true);
    cr_assert_gt(shared, 1000);
}
