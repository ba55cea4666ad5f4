#include "text_cache.h"

#include "base_alloc.h"
#include <string.h>

#define COUNT_MAX      16384
#define TEXT_BYTES_MIN 1024

void text_cache_open(struct text_cache *self, size_t text_bytes)
{
    size_t count = 64;

    if (text_bytes < TEXT_BYTES_MIN)
        return;
    while (count < COUNT_MAX && count < text_bytes / 16)
        count *= 2;
    self->entries = base_alloc_zeroed(count, sizeof(*self->entries));
    self->count = self->entries == NULL ? 0 : count;
}

void text_cache_release(struct text_cache *self)
{
    base_free(self->entries);
    *self = (struct text_cache){0};
}

uint32_t text_cache_hash(const char *word, size_t bytes)
{
    uint64_t hash = bytes * 0x9e3779b97f4a7c15u, part = 0;

    if (bytes > TEXT_CACHE_WORD_BYTES)
        return 0;
    for (; bytes >= 8; bytes -= 8, word += 8) {
        memcpy(&part, word, 8);
        hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    part = 0;
    memcpy(&part, word, bytes);
    hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(hash >> 32);
}

const struct text_cache_entry *text_cache_find(
    const struct text_cache *self, const char *word, size_t bytes, uint32_t hash)
{
    if (self->count == 0)
        return NULL;
    const struct text_cache_entry *entry = &self->entries[hash & (self->count - 1)];
    return entry->hash == hash && entry->word_bytes == bytes &&
                   memcmp(entry->word, word, bytes) == 0
               ? entry
               : NULL;
}

void text_cache_put(struct text_cache *self, const char *word, size_t bytes, uint32_t hash,
    const uint32_t *ids, size_t id_count)
{
    if (self->count == 0 || bytes == 0 || bytes > TEXT_CACHE_WORD_BYTES ||
        id_count > TEXT_CACHE_IDS)
        return;
    struct text_cache_entry *entry = &self->entries[hash & (self->count - 1)];
    memcpy(entry->word, word, bytes);
    if (id_count > 0)
        memcpy(entry->ids, ids, id_count * sizeof(*ids));
    entry->word_bytes = (uint16_t)bytes;
    entry->id_count = (uint16_t)id_count;
    entry->hash = hash;
}
