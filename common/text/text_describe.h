/*
 * A tokenizer as the tokenizer.ggml.* keys of a GGUF file say it, wherever it was opened from: what a
 * converter writes.
 */
#ifndef TEXT_DESCRIBE_H
#define TEXT_DESCRIBE_H

#include "text_tokenizer.h"

struct text_bytes {
    const char *data; /* not NUL-terminated */
    size_t bytes;
};

/*
 * Key names stand behind the fields; a field that says "none" is a key to leave out. The arrays are
 * the description's own; the bytes they point at are the tokenizer's.
 */
struct text_description {
    const char *model;         /* tokenizer.ggml.model: "llama" "gpt2" "gemma4" "bert" "t5" */
    const char *pre;           /* .pre; NULL: none */
    struct text_bytes *tokens; /* .tokens [token_count] */
    int32_t *types;            /* .token_type [token_count] */
    float *scores;             /* .scores [token_count]; NULL: none */
    size_t token_count;
    struct text_bytes *merges; /* .merges [merge_count], "left right"; NULL: none */
    size_t merge_count;

    /* .bos_token_id .eos_token_id .eot_token_id .eom_token_id .unknown_token_id .seperator_token_id
     * (spelt like that) .padding_token_id .mask_token_id; -1: none */
    int64_t bos_id, eos_id, eot_id, eom_id, unknown_id, separator_id, padding_id, mask_id;
    uint32_t *end_ids; /* .eos_token_ids [end_count]: all that end generation; NULL: none */
    size_t end_count;

    bool add_bos, add_eos, add_separator; /* .add_bos_token .add_eos_token .add_sep_token */
    bool add_space_prefix;                /* .add_space_prefix; for "llama" and "t5" */
    bool remove_extra_whitespaces;        /* .remove_extra_whitespaces; for "t5" */
    bool lowercase;                       /* .normalizer.lowercase; for "bert" */
    bool strip_accents;                   /* .normalizer.strip_accents; for "bert" */
    struct text_bytes charsmap;           /* .precompiled_charsmap, an array of u8; bytes 0: none */

    char *merge_text, *filler_text; /* what merges and some tokens point into; private */
};

/*
 * Fills *ret_description, freed with text_description_release() before the tokenizer is closed.
 * Returns BASE_OK, BASE_NOMEM, or BASE_UNSUPPORTED when GGUF has no words for this tokenizer: what
 * it is that cannot be said.
 */
int text_tokenizer_describe(const struct text_tokenizer *self,
    struct text_description *ret_description, struct base_error *err);
void text_description_release(struct text_description *self);

/* Adds all of it to the metadata of a file; failures stay in the builder. */
struct gguf_builder;
void text_description_put(const struct text_description *self, struct gguf_builder *builder);

#endif
