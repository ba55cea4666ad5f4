/* Finds added tokens (control and user-defined ones) in text. Private to this module. */
#ifndef TEXT_SPECIAL_H
#define TEXT_SPECIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

/* A longer token is refused: searching costs at most this many steps per byte of text. */
#define TEXT_SPECIAL_BYTES_MAX 512

struct text_special {
    const char *text; /* borrowed from the vocabulary */
    uint32_t bytes;
    uint32_t id;
    bool always;         /* found without TEXT_PARSE_SPECIAL */
    bool single_word;    /* not with a letter, digit or mark beside it */
    bool lstrip, rstrip; /* takes the white space before it, or behind it */
};

struct text_specials {
    struct text_special *items; /* sorted by text once sealed */
    size_t count, count_max;
    uint32_t first[257]; /* items with first byte b: first[b] .. first[b + 1] */
};

/* Empty text is ignored. Returns BASE_OK, BASE_MALFORMED (too long) or BASE_NOMEM. */
int text_specials_add(
    struct text_specials *self, const struct text_special *item, struct base_error *err);

/* After the last add, before the first find. */
void text_specials_seal(struct text_specials *self);

/*
 * The first added token at or after from; of those that begin there, the longest. Returns it and
 * the bytes that it takes, white space included, or NULL. controls: also those that are not
 * `always`.
 */
const struct text_special *text_specials_find(const struct text_specials *self, const char *text,
    size_t bytes, size_t from, bool controls, size_t *ret_begin, size_t *ret_end);

void text_specials_release(struct text_specials *self);

#endif
