/*
 * Pre-tokenizers of byte-level BPE that have a name in GGUF: their patterns as published, and what
 * else the name implies. Private to this module.
 */
#ifndef TEXT_PRE_H
#define TEXT_PRE_H

#include <stdbool.h>
#include <stddef.h>

struct text_split;

#define TEXT_PRE_PATTERNS 6

enum text_pre_flags {
    TEXT_PRE_IGNORES_MERGES = 1, /* a whole word may be a token */
    TEXT_PRE_ADDS_BOS = 2,       /* when the file does not say */
    TEXT_PRE_ADDS_EOS = 4,       /* likewise; RoBERTa's closing separator */
    TEXT_PRE_RAW = 8,            /* characters, not bytes, are merged; spaces are U+2581 */
    TEXT_PRE_NFC = 16,           /* every tokenizer of that name normalises first */
    TEXT_PRE_BY_ID = 32,         /* merged in the order of the ids, if there are no rules */
    TEXT_PRE_FORCES_BOS = 64,    /* even when the file denies it */
    TEXT_PRE_REMOVES_GAPS = 128, /* what the pattern does not match is dropped */
};

struct text_pre {
    const char *names; /* all that mean it, between spaces; the first is the one to write */
    unsigned flags;
    const char *patterns[TEXT_PRE_PATTERNS + 1]; /* in Oniguruma's dialect, NULL-terminated */
};

/* NULL when the name is not known. */
const struct text_pre *text_pre_find(const char *name, size_t name_bytes);

/* The names to write, for messages: as many as fit. NUL-terminated. */
void text_pre_names(char *ret, size_t ret_bytes);

/*
 * The row whose steps are those of split, of those the one whose flags agree with ignores_merges
 * and nfc; NULL: none. *ret_name: its first name, static storage, NUL-terminated.
 */
const struct text_pre *text_pre_recognise(
    const struct text_split *split, bool ignores_merges, bool nfc, const char **ret_name);

/* The first name of a row, static storage, NUL-terminated. */
const char *text_pre_name(const struct text_pre *self);

/* Rows, for tests. */
size_t text_pre_count(void);
const struct text_pre *text_pre_at(size_t index);

/* GPT-2's pattern, which tokenizer.json means by "ByteLevel" with "use_regex". */
extern const char *const text_pre_gpt2;

#endif
