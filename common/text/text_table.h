/*
 * Lists of byte strings and hash tables over them, for vocabularies: built once while a tokenizer
 * is opened, read by any thread afterwards. Private to this module.
 */
#ifndef TEXT_TABLE_H
#define TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An append-only list; index 0 is the first string. Starts zeroed. */
struct text_strings {
    char *data;
    size_t data_bytes, data_bytes_max;
    uint32_t *starts; /* [count + 1] offsets into data */
    size_t count, count_max;
};

/* Returns BASE_OK, BASE_NOMEM, or BASE_TOO_BIG beyond 4 GiB in all. */
int text_strings_append(struct text_strings *self, const char *text, size_t bytes);

/* Borrowed until the next append. index < count. */
const char *text_strings_at(const struct text_strings *self, size_t index, size_t *ret_bytes);

void text_strings_release(struct text_strings *self);

/* Finds strings of a list by content. Starts zeroed. */
struct text_table {
    const struct text_strings *strings; /* borrowed */
    struct text_table_slot *slots;      /* open addressing, a power of two of them */
    size_t slot_count, used;
};

/* Puts strings[index] in unless an equal string is there already. Returns BASE_OK or BASE_NOMEM. */
int text_table_add(struct text_table *self, const struct text_strings *strings, size_t index);

/* Index of the string, or -1. */
int64_t text_table_find(const struct text_table *self, const char *text, size_t bytes);

void text_table_release(struct text_table *self);

/* Merge rules: a pair of ids to its rank and the id of the two together. Starts zeroed. */
struct text_pair {
    uint64_t key; /* left << 32 | right */
    uint32_t rank;
    uint32_t id_and_1; /* 0: the slot is empty */
};

struct text_pairs {
    struct text_pair *slots;
    size_t slot_count, used;
};

/* Keeps the first of equal pairs. Returns BASE_OK or BASE_NOMEM. */
int text_pairs_add(
    struct text_pairs *self, uint32_t left, uint32_t right, uint32_t rank, uint32_t id);

bool text_pairs_find(const struct text_pairs *self, uint32_t left, uint32_t right,
    uint32_t *ret_rank, uint32_t *ret_id);

void text_pairs_release(struct text_pairs *self);

#endif
