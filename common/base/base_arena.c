#include "base_arena.h"

#include "base_alloc.h"
#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES 4096u

struct base_arena_block {
    struct base_arena_block *next;
    size_t capacity_bytes;
    size_t used_bytes;
    _Alignas(16) unsigned char data[];
};

void base_arena_init(struct base_arena *self, size_t bytes_max)
{
    *self = (struct base_arena){.bytes_max = bytes_max};
}

void *base_arena_alloc(struct base_arena *self, size_t bytes)
{
    size_t padded;

    if (!base_add_size(bytes, 15, &padded))
        return NULL;
    padded &= ~(size_t)15;
    if (padded > self->bytes_max - self->used_bytes)
        return NULL;

    struct base_arena_block *block = self->blocks;
    if (block == NULL || padded > block->capacity_bytes - block->used_bytes) {
        size_t capacity = padded > BLOCK_BYTES ? padded : BLOCK_BYTES;
        block = base_alloc(sizeof(*block) + capacity);
        if (block == NULL)
            return NULL;
        block->next = self->blocks;
        block->capacity_bytes = capacity;
        block->used_bytes = 0;
        self->blocks = block;
    }
    void *memory = block->data + block->used_bytes;
    block->used_bytes += padded;
    self->used_bytes += padded;
    return memory;
}

void *base_arena_alloc_zeroed(struct base_arena *self, size_t count, size_t item_bytes)
{
    size_t bytes;

    if (!base_mul_size(count, item_bytes, &bytes))
        return NULL;
    void *memory = base_arena_alloc(self, bytes);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

void *base_arena_copy(struct base_arena *self, const void *data, size_t bytes)
{
    size_t with_nul;

    if (!base_add_size(bytes, 1, &with_nul))
        return NULL;
    unsigned char *copy = base_arena_alloc(self, with_nul);
    if (copy == NULL)
        return NULL;
    if (bytes > 0)
        memcpy(copy, data, bytes);
    copy[bytes] = 0;
    return copy;
}

void base_arena_reset(struct base_arena *self)
{
    struct base_arena_block *keep = self->blocks;

    self->used_bytes = 0;
    if (keep == NULL)
        return;
    while (keep->next != NULL) {
        struct base_arena_block *next = keep->next->next;
        base_free(keep->next);
        keep->next = next;
    }
    keep->used_bytes = 0;
}

void base_arena_release(struct base_arena *self)
{
    while (self->blocks != NULL) {
        struct base_arena_block *next = self->blocks->next;
        base_free(self->blocks);
        self->blocks = next;
    }
    self->used_bytes = 0;
}
