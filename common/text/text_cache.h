/*
 * Words of one text and the tokens they became, so that a common word is merged once. A cache
 * belongs to one encoding, so it needs no lock, and as a word's tokens depend on the word alone it
 * changes no result. Private to this module.
 */
#ifndef TEXT_CACHE_H
#define TEXT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_CACHE_WORD_BYTES 24 /* longer words are not kept... */
#define TEXT_CACHE_IDS        7  /* ...nor those of more tokens */

struct text_cache_entry {
    char word[TEXT_CACHE_WORD_BYTES];
    uint32_t ids[TEXT_CACHE_IDS];
    uint16_t word_bytes; /* 0: empty */
    uint16_t id_count;
    uint32_t hash;
};

/* Starts zeroed; without memory it finds nothing. */
struct text_cache {
    struct text_cache_entry *entries; /* one place for each hash; the later word wins */
    size_t count;                     /* a power of two */
};

/* Makes room according to the size of the text: nothing for a short one. */
void text_cache_open(struct text_cache *self, size_t text_bytes);
void text_cache_release(struct text_cache *self);

uint32_t text_cache_hash(const char *word, size_t bytes);

/* NULL when the word is not there. */
const struct text_cache_entry *text_cache_find(
    const struct text_cache *self, const char *word, size_t bytes, uint32_t hash);
void text_cache_put(struct text_cache *self, const char *word, size_t bytes, uint32_t hash,
    const uint32_t *ids, size_t id_count);

#endif
