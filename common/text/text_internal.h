/* What the files of this module share about a tokenizer. Not for other modules. */
#ifndef TEXT_INTERNAL_H
#define TEXT_INTERNAL_H

#include "base_limits.h"
#include "text_merge.h"
#include "text_normal.h"
#include "text_special.h"
#include "text_split.h"
#include "text_table.h"
#include "text_tokenizer.h"
#include "text_trie.h"

/* How a word becomes tokens. */
enum text_kind {
    TEXT_KIND_SPM,       /* characters merged by the score of what they make ("llama") */
    TEXT_KIND_BPE,       /* bytes merged by rules ("gpt2") */
    TEXT_KIND_CHARS,     /* characters merged by rules ("gemma4", and llama in tokenizer.json) */
    TEXT_KIND_UNIGRAM,   /* the likeliest sequence of tokens ("t5") */
    TEXT_KIND_WORDPIECE, /* the longest token, again and again ("bert") */
    TEXT_KIND_WORDS,     /* a word is a token or unknown */
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

/* What happens to the spaces that the first token of a text begins with. */
enum text_first {
    TEXT_FIRST_KEPT,
    TEXT_FIRST_DROPS_ONE, /* the first space of the text, whichever token brings it */
    TEXT_FIRST_DROPS_ALL, /* every space of the first token */
};

/* Tokens that TEXT_ADD_SPECIAL puts in front of a text and behind it. */
struct text_affix {
    uint32_t ids[LIMIT_TOKENIZER_AFFIX];
    size_t count;
};

/* Ids by role; -1: none. */
struct text_roles {
    int64_t bos, eos, eot, eom, unknown, separator, padding, mask;
};

/* How the text of tokens is made into running text. */
struct text_decoder {
    enum text_first first;
    bool alphabet;            /* names are in the alphabet of bytes */
    bool bytes;               /* <0x41> is a byte */
    bool joins;               /* a space in front of each */
    bool cleans;              /* ...but not of . ? ! , */
    struct text_strings from; /* names have these replaced... */
    struct text_strings to;   /* ...by these, in order */
    char *suffix;             /* at the end of a name: a space; or NULL */
};

struct text_tokenizer {
    enum text_kind kind;
    size_t vocab_size;
    struct text_strings names;  /* [vocab_size] text of each token as GGUF has it */
    struct text_strings pieces; /* [vocab_size + extras] bytes that each adds to running text; the
                                 * extras are merge results that are no tokens */
    uint8_t *types;             /* [vocab_size] enum text_type */
    bool *ends;                 /* [vocab_size] ends generation */
    struct text_table by_name;  /* into names: every token; control tokens win */
    struct text_table by_text;  /* what merging may produce: BPE into pieces, else into names */
    struct text_specials raw;   /* added tokens that are looked for in the text as given */
    struct text_specials normalized;   /* ...in normalised text */
    struct text_strings special_texts; /* of added tokens, where they are not their names */
    uint32_t byte_ids[256]; /* token of a single byte, or TEXT_NONE; BPE: maybe an extra */

    float *scores;              /* SPM, UNIGRAM [vocab_size] */
    uint32_t *score_keys;       /* SPM [vocab_size]: order of the scores, the highest first */
    struct text_pairs merges;   /* BPE, CHARS */
    struct text_trie trie;      /* UNIGRAM, WORDPIECE */
    double unknown_score;       /* UNIGRAM */
    size_t word_characters_max; /* WORDPIECE: a longer word is unknown */
    struct text_trie initials;  /* WORDPIECE: tokens that begin a word */
    bool merges_by_id;          /* BPE: without rules, the order of the ids is that of merging */
    bool ignores_merges;        /* BPE, CHARS: a whole word may be a token */
    bool fuses_unknown;         /* CHARS: one unknown token for all characters in a row */
    bool byte_fallback;         /* SPM, CHARS, UNIGRAM: what is no token is its bytes */
    bool cuts_at_spaces;        /* SPM, CHARS, UNIGRAM: no token goes on behind a U+2581, so each
                               * space begins a word */

    bool byte_words; /* JSON: words are bytes */

    struct text_normal *normal; /* or NULL */
    struct text_split *split;   /* or NULL */
    struct text_decoder decoder;
    struct text_affix prefix, suffix;
    struct text_roles roles;
    bool lowercase, strip_accents;                   /* WORDPIECE: what the normaliser does */
    bool add_space_prefix, remove_extra_whitespaces; /* SPM, UNIGRAM */
    char *charsmap;                                  /* UNIGRAM, [charsmap_bytes] or NULL */
    size_t charsmap_bytes;
    const char *pre;     /* name of the pre-tokenizer, static; or NULL */
    const char *unsaid;  /* what GGUF has no words for, static; or NULL */
    char *chat_template; /* or NULL */
};

/* Appends. Returns BASE_OK, or BASE_NOMEM with *self as before. */
int text_ids_append(struct text_ids *self, const uint32_t *ids, size_t count);

#endif
