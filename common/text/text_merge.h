/*
 * Byte-pair merging of one piece of text: the best pair first, the leftmost of equals, found with
 * a heap, so that a piece of n symbols takes n log n whatever it holds. Private to this module.
 */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_NONE UINT32_MAX

/* A part of the piece; the parts form a list in text order. */
struct text_symbol {
    uint32_t begin; /* offset in the piece */
    uint32_t bytes; /* 0: merged into the one before */
    uint32_t previous, next;
    uint32_t id; /* TEXT_NONE: no token has this text */
};

/* A pair that may be merged; stale once one of its symbols has changed. */
struct text_merge {
    uint32_t key; /* lower is better */
    uint32_t left;
    uint32_t bytes; /* of both symbols */
    uint32_t id;    /* of both together */
};

/* Memory reused from piece to piece. Starts zeroed. */
struct text_merge_work {
    struct text_symbol *symbols; /* in text order; [0] always survives */
    size_t symbol_count, symbol_count_max;
    struct text_merge *heap;
    size_t heap_count, heap_count_max;
    uint64_t push_count; /* heap pushes so far, all pieces: the work done */
};

/* Whether left and right of piece may be merged, how good that is and which id it gives. */
typedef bool text_merge_rule(const void *context, const char *piece, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id);

/* Room for count symbols, so that a long piece takes no more. Returns BASE_OK or BASE_NOMEM. */
int text_merge_reserve(struct text_merge_work *self, size_t count);

/* Appends a symbol. Returns BASE_OK or BASE_NOMEM. */
int text_merge_add(struct text_merge_work *self, uint32_t begin, uint32_t bytes, uint32_t id);

/* Merges all symbols as far as the rule allows. Returns BASE_OK or BASE_NOMEM. */
int text_merge_run(
    struct text_merge_work *self, const char *piece, text_merge_rule *rule, const void *context);

void text_merge_release(struct text_merge_work *self);

#endif
