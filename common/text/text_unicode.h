/*
 * Unicode as normalisers and pre-tokenizers need it: properties, case, normal forms. Private to
 * this module. Properties are those of libutf8proc.
 */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character that begins text, and its length; where text is not UTF-8, TEXT_UNICODE_BAD and 1. */
#define TEXT_UNICODE_BAD UINT32_MAX
uint32_t text_unicode_at(const char *text, size_t bytes, size_t *ret_length);

/* Writes a character as UTF-8; returns its length, 1 to 4. */
size_t text_unicode_put(uint32_t character, char ret[4]);

/* Properties. Of TEXT_UNICODE_BAD, all are false. */
bool text_unicode_is_space(uint32_t character);           /* White_Space */
bool text_unicode_is_number(uint32_t character);          /* Nd, Nl, No */
bool text_unicode_is_punctuation(uint32_t character);     /* P, and ASCII's symbols */
bool text_unicode_is_mark(uint32_t character);            /* Mn, Mc, Me */
bool text_unicode_is_nonspacing_mark(uint32_t character); /* Mn */
bool text_unicode_is_word(uint32_t character);            /* \w: L, M, Nd, Pc, join controls */
bool text_unicode_is_control(uint32_t character);         /* Cc, Cf, Co; not \t \n \r */
bool text_unicode_is_chinese(uint32_t character);         /* as BERT's tokenizer has it */

/* Lower case of one character, up to two of them; returns how many. */
size_t text_unicode_lower(uint32_t character, uint32_t ret[2]);

enum text_unicode_form {
    TEXT_UNICODE_NFC,
    TEXT_UNICODE_NFD,
    TEXT_UNICODE_NFKC,
    TEXT_UNICODE_NFKD,
};

/* Bytes of text's start that any of the forms leaves as it is, whatever follows: at most bytes. */
size_t text_unicode_plain(const char *text, size_t bytes);

/* Growing memory of a normal form's work, and its result. Starts zeroed. */
struct text_unicode_work {
    int32_t *characters;
    size_t count, count_max;
    int32_t *scratch;
    size_t scratch_max;
};

/*
 * The normal form of text (valid UTF-8) in work->characters. Takes n log n time for any text.
 * Returns BASE_OK or BASE_NOMEM.
 */
int text_unicode_normalize(
    struct text_unicode_work *work, enum text_unicode_form form, const char *text, size_t bytes);
void text_unicode_work_release(struct text_unicode_work *self);

#endif
