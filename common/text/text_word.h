/* One word to tokens, for every kind of tokenizer. Private to this module. */
#ifndef TEXT_WORD_H
#define TEXT_WORD_H

#include "text_cache.h"
#include "text_internal.h"

/* A growing list of ids. Starts zeroed. */
struct text_list {
    uint32_t *ids;
    size_t count, count_max;
};

int text_list_put(struct text_list *self, uint32_t id); /* BASE_OK or BASE_NOMEM */

/* The best way to a byte of a word. */
struct text_path {
    double score;
    uint32_t begin; /* of the last token */
    uint32_t id;    /* TEXT_NONE: no way leads here */
};

/* Memory that is reused from word to word. Starts zeroed. */
struct text_word_work {
    struct text_merge_work merge;
    struct text_cache cache;
    struct text_path *paths; /* UNIGRAM */
    size_t path_count_max;
    struct text_list found; /* UNIGRAM: from the end */
};

void text_word_work_release(struct text_word_work *self);

/* Appends the tokens of a word (valid UTF-8, or for TEXT_KIND_BPE any bytes). Returns BASE_OK or
 * BASE_NOMEM. */
int text_word_encode(const struct text_tokenizer *tokenizer, struct text_word_work *work,
    const char *word, size_t bytes, struct text_list *list);

/*
 * Text that is no token, byte by byte. Where a byte has no token either, one unknown token stands
 * for the whole; without an unknown token nothing does. Returns BASE_OK or BASE_NOMEM.
 */
int text_word_put_bytes(
    const struct text_tokenizer *tokenizer, const char *text, size_t bytes, struct text_list *list);

#endif
