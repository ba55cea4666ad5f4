#include "schedule.h"

#include <string.h>

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"

/* Sorted by arrival, oldest first. */
struct queue {
    struct schedule_sequence *first, *last;
    uint32_t count;
};

struct schedule {
    struct schedule_options options;
    struct schedule_pages *pages;
    uint32_t groups, groups_in_flight;
    struct queue running, waiting;
    uint64_t id_newest;
    uint64_t ready_newest;
    bool wants_pages; /* somebody could go on with pages that are released, not yet announced */
};

static uint32_t pages_for(uint32_t tokens)
{
    return (tokens + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Almost always at the end, so the search starts there. */
static void queue_insert(struct queue *queue, struct schedule_sequence *sequence)
{
    struct schedule_sequence *before = queue->last;
    while (before != NULL && before->arrival > sequence->arrival)
        before = before->previous;
    sequence->previous = before;
    sequence->next = before != NULL ? before->next : queue->first;
    if (sequence->next != NULL)
        sequence->next->previous = sequence;
    else
        queue->last = sequence;
    if (before != NULL)
        before->next = sequence;
    else
        queue->first = sequence;
    queue->count++;
}

static void queue_take(struct queue *queue, struct schedule_sequence *sequence)
{
    if (sequence->previous != NULL)
        sequence->previous->next = sequence->next;
    else
        queue->first = sequence->next;
    if (sequence->next != NULL)
        sequence->next->previous = sequence->previous;
    else
        queue->last = sequence->previous;
    sequence->previous = sequence->next = NULL;
    queue->count--;
}

int schedule_new(const struct schedule_options *options, struct schedule **ret_schedule)
{
    if (options->batch_tokens < 1 || options->batch_tokens > LIMIT_BATCH_TOKENS_MAX ||
        options->running_max < 1 || options->running_max > LIMIT_REQUESTS_RUNNING)
        return BASE_INVALID;
    struct schedule *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    self->options = *options;
    self->groups = 1;
    int rc = schedule_pages_new(0, &self->pages);
    if (rc != BASE_OK) {
        base_free(self);
        return rc;
    }
    *ret_schedule = self;
    return BASE_OK;
}

static void forget_pages(struct schedule_sequence *sequence)
{
    base_free(sequence->pages);
    sequence->pages = NULL;
    sequence->page_count = sequence->page_capacity = 0;
    sequence->sent = sequence->done = sequence->shared = 0;
    sequence->id = 0;
}

static void detach_all(struct queue *queue)
{
    while (queue->first != NULL) {
        struct schedule_sequence *sequence = queue->first;
        queue_take(queue, sequence);
        forget_pages(sequence);
        sequence->state = SCHEDULE_OUT;
    }
}

void schedule_destroy(struct schedule **self_p)
{
    struct schedule *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    detach_all(&self->running);
    detach_all(&self->waiting);
    schedule_pages_destroy(&self->pages);
    base_free(self);
}

void schedule_set_groups(struct schedule *self, uint32_t groups, uint32_t in_flight)
{
    base_assert(groups >= 1 && groups <= LIMIT_BATCHES_IN_FLIGHT);
    self->groups = groups;
    self->groups_in_flight = in_flight;
}

int schedule_reset(struct schedule *self, uint32_t page_count, uint32_t groups)
{
    while (self->running.first != NULL) {
        struct schedule_sequence *sequence = self->running.first;
        queue_take(&self->running, sequence);
        forget_pages(sequence);
        sequence->state = SCHEDULE_WAITING;
        queue_insert(&self->waiting, sequence);
    }
    schedule_set_groups(self, groups, 0);
    self->wants_pages = false;
    schedule_pages_destroy(&self->pages);
    int rc = schedule_pages_new(page_count, &self->pages);
    if (rc != BASE_OK && schedule_pages_new(0, &self->pages) != BASE_OK)
        self->pages = NULL; /* every use below copes */
    return rc;
}

int schedule_add(struct schedule *self, struct schedule_sequence *sequence)
{
    base_assert(sequence->state == SCHEDULE_OUT && sequence->length >= 1);
    base_assert(sequence->limit >= sequence->length);
    if (self->waiting.count >= self->options.waiting_max)
        return BASE_FULL;
    sequence->state = SCHEDULE_WAITING;
    queue_insert(&self->waiting, sequence);
    return BASE_OK;
}

/* From running to nowhere. */
static void stop_running(struct schedule *self, struct schedule_sequence *sequence)
{
    queue_take(&self->running, sequence);
    if (self->pages != NULL)
        schedule_pages_release(self->pages, sequence->pages, sequence->page_count);
    forget_pages(sequence);
    sequence->state = SCHEDULE_OUT;
}

void schedule_remove(struct schedule *self, struct schedule_sequence *sequence)
{
    if (sequence->state == SCHEDULE_RUNNING)
        stop_running(self, sequence);
    else if (sequence->state == SCHEDULE_WAITING)
        queue_take(&self->waiting, sequence);
    sequence->state = SCHEDULE_OUT;
}

void schedule_restart(struct schedule *self, struct schedule_sequence *sequence)
{
    if (sequence->state != SCHEDULE_RUNNING)
        return;
    stop_running(self, sequence);
    sequence->state = SCHEDULE_WAITING;
    queue_insert(&self->waiting, sequence);
}

void schedule_append(struct schedule *self, struct schedule_sequence *sequence)
{
    base_assert(sequence->length < sequence->limit);
    sequence->length++;
    sequence->ready = ++self->ready_newest;
}

/* Room for count page ids in the sequence's own table. */
static bool page_table_reserve(struct schedule_sequence *sequence, uint32_t count)
{
    if (count <= sequence->page_capacity)
        return true;
    uint32_t capacity = sequence->page_capacity < 8 ? 8 : sequence->page_capacity * 2;
    if (capacity < count)
        capacity = count;
    uint32_t *pages = base_realloc_array(sequence->pages, capacity, sizeof(*pages));
    if (pages == NULL)
        return false;
    sequence->pages = pages;
    sequence->page_capacity = capacity;
    return true;
}

static bool take_pages(struct schedule *self, struct schedule_sequence *sequence, uint32_t count)
{
    if (!page_table_reserve(sequence, sequence->page_count + count) ||
        !schedule_pages_take(self->pages, count, sequence->pages + sequence->page_count))
        return false;
    sequence->page_count += count;
    return true;
}

/* Whom to send back to waiting for the sake of `wanting`: somebody who does not go on anyway, else
 * the youngest; never somebody older. */
static struct schedule_sequence *victim_for(
    struct schedule *self, const struct schedule_sequence *wanting)
{
    for (struct schedule_sequence *s = self->running.last; s != NULL; s = s->previous)
        if (s->paused && s != wanting)
            return s;
    return self->running.last != wanting ? self->running.last : NULL;
}

/*
 * Gives each running sequence the page of its newest token, oldest first. Released pages are of
 * use only after the next step, so a sequence may have to sit this batch out. Returns false when
 * one did: then nobody new may start, or it would take the pages away again.
 */
static bool grow_running(struct schedule *self)
{
    uint32_t promised = 0;
    bool all = true;
    for (struct schedule_sequence *s = self->running.first; s != NULL; s = s->next) {
        if (s->paused || pages_for(s->length) <= s->page_count)
            continue;
        if (take_pages(self, s, pages_for(s->length) - s->page_count))
            continue;
        all = false;
        /* What a victim shares stays held, so one may not be enough. */
        while (promised >= schedule_pages_released(self->pages)) {
            struct schedule_sequence *victim = victim_for(self, s);
            if (victim == NULL)
                break; /* the youngest: it goes on when an older one ends */
            schedule_restart(self, victim);
        }
        if (promised >= schedule_pages_released(self->pages))
            continue;
        promised++;
        self->wants_pages = true;
    }
    return all;
}

/* Pages that a sequence can take over: full ones, and at least one token is left to compute. */
static uint32_t pages_shareable(const struct schedule_sequence *s)
{
    return min_u32(s->prefix, s->length - 1) / LIMIT_PAGE_TOKENS;
}

/*
 * One that has what s can take over. *ret_wait: there is none, but one is at it. Who is paused may
 * be so for long, so nobody waits for it.
 */
static const struct schedule_sequence *find_giver(
    const struct schedule *self, const struct schedule_sequence *s, bool *ret_wait)
{
    *ret_wait = false;
    if (s->group == 0 || pages_shareable(s) == 0)
        return NULL;
    for (const struct schedule_sequence *g = self->running.first; g != NULL; g = g->next) {
        if (g->group != s->group)
            continue;
        if (g->done >= pages_shareable(s) * LIMIT_PAGE_TOKENS) {
            *ret_wait = false;
            return g;
        }
        *ret_wait |= !g->paused;
    }
    return NULL;
}

/* A group must leave half of the running places to others, however many it asks for. */
static bool has_its_share(const struct schedule *self, const struct schedule_sequence *s)
{
    uint32_t count = 0;
    for (const struct schedule_sequence *g = self->running.first; g != NULL; g = g->next)
        count += s->group != 0 && g->group == s->group;
    return count > 0 && count >= self->options.running_max / 2;
}

/* Pages for all tokens of s, the first of them from giver (NULL: none). */
static bool begin_pages(
    struct schedule *self, struct schedule_sequence *s, const struct schedule_sequence *giver)
{
    uint32_t shared = giver != NULL ? pages_shareable(s) : 0;
    if (!page_table_reserve(s, pages_for(s->length)) ||
        !schedule_pages_take(self->pages, pages_for(s->length) - shared, s->pages + shared))
        return false;
    if (shared > 0) {
        memcpy(s->pages, giver->pages, shared * sizeof(*s->pages));
        schedule_pages_share(self->pages, s->pages, shared);
    }
    s->page_count = pages_for(s->length);
    s->shared = shared;
    s->sent = s->done = shared * LIMIT_PAGE_TOKENS;
    return true;
}

static void start_waiting(struct schedule *self)
{
    struct schedule_sequence *next;
    for (struct schedule_sequence *s = self->waiting.first; s != NULL; s = next) {
        next = s->next;
        if (self->running.count >= self->options.running_max)
            return;
        bool wait;
        const struct schedule_sequence *giver = find_giver(self, s, &wait);
        if (s->paused || wait || has_its_share(self, s))
            continue;
        /* One page more than it needs now, so that it does not have to give way at once. */
        uint32_t wanted = min_u32(pages_for(s->length) + 1, pages_for(s->limit));
        wanted = min_u32(wanted, schedule_pages_total(self->pages));
        uint32_t free_count = schedule_pages_free(self->pages);
        if (wanted < pages_for(s->length))
            return; /* more than there is; the caller ends such sequences */
        wanted -= giver != NULL ? pages_shareable(s) : 0;
        if (free_count < wanted) {
            if (free_count + schedule_pages_released(self->pages) >= wanted)
                self->wants_pages = true;
            return; /* nobody overtakes */
        }
        if (!begin_pages(self, s, giver))
            return;
        queue_take(&self->waiting, s);
        s->state = SCHEDULE_RUNNING;
        s->id = ++self->id_newest;
        s->ready = ++self->ready_newest;
        queue_insert(&self->running, s);
    }
}

/* What can still be put into the batch that is being built. */
struct budget {
    uint32_t tokens;
    uint64_t result_bytes;
};

static bool can_go_on(const struct schedule_sequence *s)
{
    return !s->paused && s->sent < s->length && pages_for(s->length) <= s->page_count;
}

static bool is_decode(const struct schedule_sequence *s)
{
    return s->sent > 0 && s->sent + 1 == s->length;
}

static void put(struct budget *budget, struct schedule_batch *batch, struct schedule_sequence *s)
{
    if (batch->item_count == LIMIT_BATCH_SEQUENCES_MAX)
        return;
    uint32_t count = min_u32(s->length - s->sent, budget->tokens);
    uint64_t rows = s->row_bytes > 0 ? budget->result_bytes / s->row_bytes : UINT32_MAX;
    /* A row larger than the whole budget travels alone. */
    if (rows == 0 && batch->item_count == 0)
        rows = 1;
    if (s->every_row && count > rows)
        count = (uint32_t)rows;
    /* Without room for its logits the last token stays for the next batch. */
    if (!s->every_row && rows == 0 && s->sent + count == s->length)
        count--;
    if (count == 0)
        return;
    bool last = s->sent + count == s->length;
    uint64_t bytes = s->every_row ? (uint64_t)count * s->row_bytes : last ? s->row_bytes : 0;
    batch->items[batch->item_count++] = (struct schedule_item){
        .sequence = s, .id = s->id, .first_position = s->sent, .token_count = count, .last = last};
    batch->token_count += count;
    budget->tokens -= count;
    budget->result_bytes -= bytes < budget->result_bytes ? bytes : budget->result_bytes;
}

/* The decodes that have waited longest, so that nobody is passed over for ever. */
static void put_decodes(struct schedule *self, struct budget *budget, struct schedule_batch *batch)
{
    uint32_t most = (self->running.count + self->groups - 1) / self->groups;
    most = min_u32(most, LIMIT_BATCH_SEQUENCES_MAX);
    struct schedule_sequence *picked[LIMIT_BATCH_SEQUENCES_MAX];
    uint32_t count = 0;
    for (struct schedule_sequence *s = self->running.first; s != NULL; s = s->next) {
        if (!can_go_on(s) || !is_decode(s))
            continue;
        if (count == most && picked[count - 1]->ready < s->ready)
            continue;
        uint32_t place = count < most ? count++ : count - 1;
        for (; place > 0 && picked[place - 1]->ready > s->ready; place--)
            picked[place] = picked[place - 1];
        picked[place] = s;
    }
    for (uint32_t i = 0; i < count && budget->tokens > 0; i++)
        put(budget, batch, picked[i]);
}

bool schedule_build(struct schedule *self, bool idle, struct schedule_batch *ret)
{
    ret->item_count = ret->decode_count = 0;
    ret->token_count = 0;
    ret->released = NULL;
    ret->released_count = 0;
    if (self->pages == NULL)
        return false;
    self->wants_pages = false;
    if (grow_running(self))
        start_waiting(self);

    struct budget budget = {self->options.batch_tokens, self->options.result_bytes};
    if (self->groups_in_flight < self->groups)
        put_decodes(self, &budget, ret);
    ret->decode_count = ret->item_count;
    for (struct schedule_sequence *s = self->running.first; s != NULL && budget.tokens > 0;
         s = s->next)
        if (can_go_on(s) && !is_decode(s))
            put(&budget, ret, s);

    uint32_t released_count = schedule_pages_released(self->pages);
    ret->released = schedule_pages_released_ids(self->pages);
    ret->released_count = min_u32(released_count, LIMIT_RELEASES_PER_STEP);
    return ret->item_count > 0 || (released_count > 0 && (idle || self->wants_pages));
}

void schedule_sent(struct schedule *self, const struct schedule_batch *batch)
{
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct schedule_item *item = &batch->items[i];
        base_assert(item->sequence->id == item->id);
        base_assert(item->sequence->sent == item->first_position);
        item->sequence->sent += item->token_count;
    }
    schedule_pages_announced(self->pages, batch->released_count);
}

bool schedule_returned(struct schedule_sequence *sequence, uint64_t id, uint32_t token_count)
{
    if (id == 0 || sequence->id != id)
        return false;
    sequence->done += token_count;
    base_assert(sequence->done <= sequence->sent);
    return true;
}

void schedule_announce_again(struct schedule *self, const uint32_t *ids, size_t count)
{
    if (self->pages != NULL)
        schedule_pages_announce_again(self->pages, ids, count);
}

const struct schedule_pages *schedule_get_pages(const struct schedule *self)
{
    return self->pages;
}

uint32_t schedule_running_count(const struct schedule *self)
{
    return self->running.count;
}

uint32_t schedule_waiting_count(const struct schedule *self)
{
    return self->waiting.count;
}
