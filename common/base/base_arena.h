/*
 * A bump arena with a hard budget: memory that is taken piece by piece and given
 * back all at once. One owner thread at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct base_arena_block;

struct base_arena {
    struct base_arena_block *blocks; /* newest first; owned */
    size_t used_bytes;               /* taken from all blocks since the last reset */
    size_t bytes_max;                /* budget; a request beyond it returns NULL */
};

/* Sets up an empty arena; allocates nothing yet. */
void base_arena_init(struct base_arena *self, size_t bytes_max);

/*
 * bytes of memory, 16-byte aligned, not zeroed, valid until reset or release.
 * NULL when the budget or the heap is exhausted. Returned memory never moves.
 */
void *base_arena_alloc(struct base_arena *self, size_t bytes);

/* count * item_bytes with the multiplication checked, zeroed. */
void *base_arena_alloc_zeroed(struct base_arena *self, size_t count, size_t item_bytes);

/* Copy of bytes bytes. A NUL is put behind it (not counted), so text may be passed on. */
void *base_arena_copy(struct base_arena *self, const void *data, size_t bytes);

/* Forgets everything but keeps one block for reuse. */
void base_arena_reset(struct base_arena *self);

/* Frees everything; the arena may be used again. */
void base_arena_release(struct base_arena *self);

#endif
