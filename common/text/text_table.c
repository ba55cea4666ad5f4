#include "text_table.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include <string.h>

struct text_table_slot {
    uint32_t hash;        /* most of a comparison, without touching the string */
    uint32_t index_and_1; /* 0: empty */
};

/* Room for count_needed items, growing by half so that appending stays linear. */
static int grow(void **memory, size_t *count_max, size_t count_needed, size_t item_bytes)
{
    if (count_needed <= *count_max)
        return BASE_OK;
    size_t count = count_needed + count_needed / 2 + 16;
    void *grown = base_realloc_array(*memory, count, item_bytes);

    if (grown == NULL)
        return BASE_NOMEM;
    *memory = grown;
    *count_max = count;
    return BASE_OK;
}

int text_strings_append(struct text_strings *self, const char *text, size_t bytes)
{
    void *data = self->data, *starts = self->starts;

    if (bytes > UINT32_MAX - self->data_bytes || self->count >= UINT32_MAX - 1)
        return BASE_TOO_BIG;
    int rc = grow(&data, &self->data_bytes_max, self->data_bytes + bytes, 1);
    self->data = data;
    if (rc == BASE_OK)
        rc = grow(&starts, &self->count_max, self->count + 2, sizeof(*self->starts));
    self->starts = starts;
    if (rc != BASE_OK)
        return rc;
    if (bytes > 0)
        memcpy(self->data + self->data_bytes, text, bytes);
    if (self->count == 0)
        self->starts[0] = 0;
    self->data_bytes += bytes;
    self->starts[++self->count] = (uint32_t)self->data_bytes;
    return BASE_OK;
}

const char *text_strings_at(const struct text_strings *self, size_t index, size_t *ret_bytes)
{
    base_assert(index < self->count);
    *ret_bytes = self->starts[index + 1] - self->starts[index];
    return self->data + self->starts[index];
}

void text_strings_release(struct text_strings *self)
{
    base_free(self->data);
    base_free(self->starts);
    *self = (struct text_strings){0};
}

/* FNV-1a, then a multiply so that the low bits depend on all of it. */
static uint32_t hash_bytes(const char *text, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ (uint8_t)text[i]) * 0x100000001b3u;
    return (uint32_t)((hash * 0x9e3779b97f4a7c15u) >> 32);
}

/* The slot that holds the string, or the empty one where it belongs. */
static struct text_table_slot *table_slot(
    const struct text_table *self, const char *text, size_t bytes, uint32_t hash)
{
    for (size_t i = hash;; i++) {
        struct text_table_slot *slot = &self->slots[i & (self->slot_count - 1)];
        size_t slot_bytes;

        if (slot->index_and_1 == 0)
            return slot;
        if (slot->hash != hash)
            continue;
        const char *slot_text = text_strings_at(self->strings, slot->index_and_1 - 1, &slot_bytes);
        if (slot_bytes == bytes && (bytes == 0 || memcmp(slot_text, text, bytes) == 0))
            return slot;
    }
}

static int table_grow(struct text_table *self)
{
    struct text_table old = *self;

    self->slot_count = old.slot_count == 0 ? 256 : old.slot_count * 2;
    self->slots = base_alloc_zeroed(self->slot_count, sizeof(*self->slots));
    if (self->slots == NULL) {
        *self = old;
        return BASE_NOMEM;
    }
    for (size_t i = 0; i < old.slot_count; i++) {
        size_t to = old.slots[i].hash;
        if (old.slots[i].index_and_1 == 0)
            continue;
        while (self->slots[to & (self->slot_count - 1)].index_and_1 != 0)
            to++;
        self->slots[to & (self->slot_count - 1)] = old.slots[i];
    }
    base_free(old.slots);
    return BASE_OK;
}

int text_table_add(struct text_table *self, const struct text_strings *strings, size_t index)
{
    size_t bytes;
    const char *text = text_strings_at(strings, index, &bytes);
    uint32_t hash = hash_bytes(text, bytes);

    self->strings = strings;
    if ((self->used + 1) * 2 > self->slot_count) {
        int rc = table_grow(self);
        if (rc != BASE_OK)
            return rc;
    }
    struct text_table_slot *slot = table_slot(self, text, bytes, hash);
    if (slot->index_and_1 == 0) {
        *slot = (struct text_table_slot){hash, (uint32_t)index + 1};
        self->used++;
    }
    return BASE_OK;
}

int64_t text_table_find(const struct text_table *self, const char *text, size_t bytes)
{
    if (self->slot_count == 0)
        return -1;
    return (int64_t)table_slot(self, text, bytes, hash_bytes(text, bytes))->index_and_1 - 1;
}

void text_table_release(struct text_table *self)
{
    base_free(self->slots);
    *self = (struct text_table){0};
}

static struct text_pair *pair_slot(const struct text_pairs *self, uint64_t key)
{
    for (size_t i = (key * 0x9e3779b97f4a7c15u) >> 32;; i++) {
        struct text_pair *slot = &self->slots[i & (self->slot_count - 1)];
        if (slot->id_and_1 == 0 || slot->key == key)
            return slot;
    }
}

static int pairs_grow(struct text_pairs *self)
{
    struct text_pairs old = *self;

    self->slot_count = old.slot_count == 0 ? 256 : old.slot_count * 2;
    self->slots = base_alloc_zeroed(self->slot_count, sizeof(*self->slots));
    if (self->slots == NULL) {
        *self = old;
        return BASE_NOMEM;
    }
    for (size_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].id_and_1 != 0)
            *pair_slot(self, old.slots[i].key) = old.slots[i];
    }
    base_free(old.slots);
    return BASE_OK;
}

int text_pairs_add(
    struct text_pairs *self, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;

    if ((self->used + 1) * 2 > self->slot_count) {
        int rc = pairs_grow(self);
        if (rc != BASE_OK)
            return rc;
    }
    struct text_pair *slot = pair_slot(self, key);
    if (slot->id_and_1 == 0) {
        *slot = (struct text_pair){key, rank, id + 1};
        self->used++;
    }
    return BASE_OK;
}

bool text_pairs_find(const struct text_pairs *self, uint32_t left, uint32_t right,
    uint32_t *ret_rank, uint32_t *ret_id)
{
    if (self->slot_count == 0)
        return false;
    const struct text_pair *slot = pair_slot(self, (uint64_t)left << 32 | right);
    if (slot->id_and_1 == 0)
        return false;
    *ret_rank = slot->rank;
    *ret_id = slot->id_and_1 - 1;
    return true;
}

void text_pairs_release(struct text_pairs *self)
{
    base_free(self->slots);
    *self = (struct text_pairs){0};
}
