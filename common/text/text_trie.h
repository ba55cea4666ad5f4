/*
 * A trie over the texts of tokens: every token that begins at a place, in one pass. Built once, read
 * by any thread afterwards. Private to this module.
 */
#ifndef TEXT_TRIE_H
#define TEXT_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_TRIE_NONE UINT32_MAX

/* Starts zeroed. Nodes are numbers; 0 is the root. */
struct text_trie {
    struct text_trie_edge *edges; /* open addressing, a power of two of them */
    size_t edge_count, edge_used;
    uint32_t *values; /* [node_count] TEXT_TRIE_NONE: no token ends here */
    size_t node_count, node_count_max;
    uint32_t first[256]; /* the root's edges; 0: none */
};

/* Keeps the first value of equal texts. bytes >= 1. Returns BASE_OK or BASE_NOMEM. */
int text_trie_add(struct text_trie *self, const char *text, size_t bytes, uint32_t value);

/* The node that byte leads to, or 0. */
uint32_t text_trie_step(const struct text_trie *self, uint32_t node, uint8_t byte);

/* The token that ends at a node, or TEXT_TRIE_NONE. */
uint32_t text_trie_value(const struct text_trie *self, uint32_t node);

void text_trie_release(struct text_trie *self);

#endif
