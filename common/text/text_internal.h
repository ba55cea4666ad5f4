/* What the files of this module share about a tokenizer. Not for other modules. */
#ifndef TEXT_INTERNAL_H
#define TEXT_INTERNAL_H

#include "text_merge.h"
#include "text_special.h"
#include "text_split.h"
#include "text_table.h"
#include "text_tokenizer.h"

enum text_kind {
    TEXT_KIND_SPM, /* "llama" */
    TEXT_KIND_BPE, /* "gpt2" */
};

/* Token types as GGUF numbers them. */
enum text_type {
    TEXT_TYPE_NORMAL = 1,
    TEXT_TYPE_UNKNOWN = 2,
    TEXT_TYPE_CONTROL = 3,
    TEXT_TYPE_USER_DEFINED = 4,
    TEXT_TYPE_UNUSED = 5,
    TEXT_TYPE_BYTE = 6,
};

struct text_tokenizer {
    enum text_kind kind;
    size_t vocab_size;
    struct text_strings names;  /* [vocab_size] text of each token as the file has it */
    struct text_strings pieces; /* [vocab_size + extras] bytes that each adds to running text; the
                                 * extras are merge results that are no tokens */
    uint8_t *types;             /* [vocab_size] enum text_type */
    bool *ends;                 /* [vocab_size] ends generation */
    struct text_table by_name;  /* into names: every token; control tokens win */
    struct text_table by_text;  /* what merging may produce: SPM into names, BPE into pieces */
    struct text_specials specials;
    uint32_t byte_ids[256]; /* token of a single byte, or TEXT_NONE; BPE: maybe an extra */

    uint32_t *score_keys;     /* SPM [vocab_size]: order of the scores, the highest first */
    struct text_pairs merges; /* BPE */
    struct text_split *split; /* BPE */

    int64_t bos_id, eos_id, unknown_id; /* -1: none */
    bool add_bos, add_eos, add_space_prefix;
    char *chat_template; /* or NULL */
};

/* Reads tokens, types and pieces: names, pieces, types, by_name, by_text, byte_ids. */
int text_vocab_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err);

/* Reads scores (SPM) or merges (BPE), after text_vocab_load(). */
int text_scores_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err);
int text_merges_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err);

/* Returns BASE_OK, or BASE_NOMEM with *self as before. */
int text_ids_append(struct text_ids *self, const uint32_t *ids, size_t count);

#endif
