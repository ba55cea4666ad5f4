/*
 * SentencePiece's precompiled character map: a double-array trie (XOR-compressed, 32-bit units) of
 * what is replaced, and the replacements. Read as hostile input. Private to this module.
 */
#ifndef TEXT_CHARSMAP_H
#define TEXT_CHARSMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

struct text_charsmap {
    const uint8_t *units; /* [unit_count] little-endian words, borrowed, not aligned */
    size_t unit_count;
    const char *replacements; /* NUL-terminated strings, borrowed */
    size_t replacement_bytes;
};

/* Borrows data, which stays for as long as *self. Returns BASE_OK or BASE_MALFORMED. */
int text_charsmap_open(
    struct text_charsmap *self, const char *data, size_t bytes, struct base_error *err);

/*
 * The longest start of text that has a replacement: its bytes, 0 if there is none. *ret_text is
 * borrowed from the map.
 */
size_t text_charsmap_find(const struct text_charsmap *self, const char *text, size_t bytes,
    const char **ret_text, size_t *ret_bytes);

/* Decodes base64 (RFC 4648, padding optional) into ret, which has room for 3/4 of bytes and 3 more.
 * Returns false when a character is not of the alphabet. */
bool text_base64_decode(const char *text, size_t bytes, char *ret, size_t *ret_bytes);

#endif
