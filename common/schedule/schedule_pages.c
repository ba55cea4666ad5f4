#include "schedule_pages.h"

#include <string.h>

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "base_limits.h"

enum page_state {
    PAGE_FREE,
    PAGE_HELD,
    PAGE_RELEASED,
};

struct schedule_pages {
    uint32_t page_count;
    uint8_t *state;       /* [page_count] enum page_state */
    uint32_t *holders;    /* [page_count] of those that are held */
    uint32_t saved;       /* sum of holders - 1 */
    uint32_t *free_ids;   /* stack of the free pages */
    uint32_t *free_index; /* [page_count] place in free_ids, for those that are free */
    uint32_t free_count;
    uint32_t *released_ids; /* in order of release */
    uint32_t released_count;
};

static void push_free(struct schedule_pages *self, uint32_t id)
{
    self->state[id] = PAGE_FREE;
    self->free_index[id] = self->free_count;
    self->free_ids[self->free_count++] = id;
}

int schedule_pages_new(uint32_t page_count, struct schedule_pages **ret_pages)
{
    if (page_count > LIMIT_PAGES_MAX)
        return BASE_TOO_BIG;
    struct schedule_pages *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return BASE_NOMEM;
    size_t room = page_count > 0 ? page_count : 1;
    self->page_count = page_count;
    self->state = base_alloc_zeroed(room, sizeof(*self->state));
    self->holders = base_alloc_zeroed(room, sizeof(*self->holders));
    self->free_ids = base_alloc_array(room, sizeof(*self->free_ids));
    self->free_index = base_alloc_array(room, sizeof(*self->free_index));
    self->released_ids = base_alloc_array(room, sizeof(*self->released_ids));
    if (self->state == NULL || self->holders == NULL || self->free_ids == NULL ||
        self->free_index == NULL || self->released_ids == NULL) {
        schedule_pages_destroy(&self);
        return BASE_NOMEM;
    }
    /* Low ids on top of the stack: a lightly used mesh touches few pages of memory. */
    for (uint32_t i = page_count; i > 0; i--)
        push_free(self, i - 1);
    *ret_pages = self;
    return BASE_OK;
}

void schedule_pages_destroy(struct schedule_pages **self_p)
{
    struct schedule_pages *self = *self_p;
    if (self == NULL)
        return;
    *self_p = NULL;
    base_free(self->state);
    base_free(self->holders);
    base_free(self->free_ids);
    base_free(self->free_index);
    base_free(self->released_ids);
    base_free(self);
}

uint32_t schedule_pages_total(const struct schedule_pages *self)
{
    return self->page_count;
}

uint32_t schedule_pages_free(const struct schedule_pages *self)
{
    return self->free_count;
}

uint32_t schedule_pages_released(const struct schedule_pages *self)
{
    return self->released_count;
}

uint32_t schedule_pages_held(const struct schedule_pages *self)
{
    return self->page_count - self->free_count - self->released_count;
}

uint32_t schedule_pages_saved(const struct schedule_pages *self)
{
    return self->saved;
}

bool schedule_pages_take(struct schedule_pages *self, uint32_t count, uint32_t *ret_ids)
{
    if (count > self->free_count)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = self->free_ids[--self->free_count];
        base_assert(self->state[id] == PAGE_FREE);
        self->state[id] = PAGE_HELD;
        self->holders[id] = 1;
        ret_ids[i] = id;
    }
    return true;
}

static void push_released(struct schedule_pages *self, uint32_t id)
{
    self->state[id] = PAGE_RELEASED;
    self->released_ids[self->released_count++] = id;
}

void schedule_pages_share(struct schedule_pages *self, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        base_assert(ids[i] < self->page_count && self->state[ids[i]] == PAGE_HELD);
        self->holders[ids[i]]++;
        self->saved++;
    }
}

void schedule_pages_release(struct schedule_pages *self, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        base_assert(ids[i] < self->page_count && self->state[ids[i]] == PAGE_HELD);
        if (--self->holders[ids[i]] == 0)
            push_released(self, ids[i]);
        else
            self->saved--;
    }
}

const uint32_t *schedule_pages_released_ids(const struct schedule_pages *self)
{
    return self->released_ids;
}

void schedule_pages_announced(struct schedule_pages *self, size_t count)
{
    base_assert(count <= self->released_count);
    for (size_t i = 0; i < count; i++)
        push_free(self, self->released_ids[i]);
    self->released_count -= (uint32_t)count;
    memmove(self->released_ids, self->released_ids + count,
        self->released_count * sizeof(*self->released_ids));
}

void schedule_pages_announce_again(struct schedule_pages *self, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t id = ids[i];
        base_assert(id < self->page_count);
        if (self->state[id] != PAGE_FREE)
            continue;
        uint32_t last = self->free_ids[--self->free_count];
        self->free_ids[self->free_index[id]] = last;
        self->free_index[last] = self->free_index[id];
        push_released(self, id);
    }
}
