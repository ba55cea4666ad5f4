/*
 * Which KV page ids are free. The same ids are used on all stages of a pipeline, so no stage can
 * run out of memory alone.
 *
 * Life of a page: FREE -> HELD by one sequence, or by several that only read it -> RELEASED (no longer used, but the stages have
 * not been told) -> FREE once a step has left that tells them. Micro-batches keep their order on
 * the whole pipeline, so what a later step writes to that page cannot meet what an earlier one
 * still reads or writes.
 */
#ifndef SCHEDULE_PAGES_H
#define SCHEDULE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct schedule_pages;

/* Pages 0..page_count-1, all free; 0 is allowed. Returns BASE_OK, BASE_TOO_BIG or BASE_NOMEM. */
int schedule_pages_new(uint32_t page_count, struct schedule_pages **ret_pages);
void schedule_pages_destroy(struct schedule_pages **self_p);

uint32_t schedule_pages_total(const struct schedule_pages *self);
uint32_t schedule_pages_free(const struct schedule_pages *self);
uint32_t schedule_pages_released(const struct schedule_pages *self);
uint32_t schedule_pages_held(const struct schedule_pages *self);
/* Pages that would be held as well if every holder had its own. */
uint32_t schedule_pages_saved(const struct schedule_pages *self);

/* Takes count pages, all or none. false: not so many are free. */
bool schedule_pages_take(struct schedule_pages *self, uint32_t count, uint32_t *ret_ids);

/* One more holder of pages that are held; it must not write to them. */
void schedule_pages_share(struct schedule_pages *self, const uint32_t *ids, size_t count);

/* A holder gives pages up; those that have no other are released. */
void schedule_pages_release(struct schedule_pages *self, const uint32_t *ids, size_t count);

/* The released pages in order of release; valid until the next call that changes self. */
const uint32_t *schedule_pages_released_ids(const struct schedule_pages *self);

/* A step that tells the stages of the first count released pages has left: they are free now. */
void schedule_pages_announced(struct schedule_pages *self, size_t count);

/* A step that carried these was lost: those that nobody took since are to be told again. */
void schedule_pages_announce_again(struct schedule_pages *self, const uint32_t *ids, size_t count);

#endif
