/*
 * Building a tokenizer from its parts, the same for every file kind: names and types first, then
 * text_vocab_index(), then scores or merges, then text_vocab_finish(). Private to this module.
 */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include "text_internal.h"

struct base_error;
struct gguf;

/* Fills *self, which starts zeroed but for defaults, from the keys of a file. */
int text_gguf_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err);

/* The same from the text of a tokenizer.json; file: for ids and flags that it does not say, or
 * NULL. */
int text_json_load(struct text_tokenizer *self, const char *json, size_t bytes,
    const struct gguf *file, struct base_error *err);

/* Ids by role, ends and the chat template, as tokenizer.* keys say them; absent ones keep their
 * values. After text_vocab_index(). */
int text_gguf_roles(struct text_tokenizer *self, const struct gguf *file, struct base_error *err);

/* "tokenizer: no memory", BASE_NOMEM. */
int text_vocab_no_memory(struct base_error *err);

/*
 * From names, types [vocab_size] and decoder: ends, pieces, by_name, by_text, byte_ids. Known ends
 * of text become control tokens whatever the file calls them. Returns BASE_OK or BASE_NOMEM.
 */
int text_vocab_index(struct text_tokenizer *self, struct base_error *err);

/* Adds the rule that left and right make one; BPE: in the alphabet of bytes. Parts that are no
 * tokens get extras (BPE) or make the rule vain. Returns BASE_OK or BASE_NOMEM. */
int text_vocab_merge(struct text_tokenizer *self, const struct text_alphabet *alphabet,
    const char *left, size_t left_bytes, const char *right, size_t right_bytes, uint32_t rank);

/*
 * From scores: SPM's order, UNIGRAM's unknown score and trie; WORDPIECE's trie; where words may be
 * cut; the added tokens that GGUF's types name, when none were added yet. Returns BASE_OK,
 * BASE_NOMEM or BASE_MALFORMED.
 */
int text_vocab_finish(struct text_tokenizer *self, struct base_error *err);

/* Adds id to the tokens of an affix; ids below 0 are ignored. Beyond LIMIT_TOKENIZER_AFFIX
 * BASE_TOO_BIG. */
int text_affix_add(struct text_affix *self, int64_t id, struct base_error *err);

/* "<0x41>" to 0x41, or -1. */
int text_byte_parse(const char *name, size_t bytes);

#endif
