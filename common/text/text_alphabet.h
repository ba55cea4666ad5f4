/*
 * The alphabet of byte-level BPE: GPT-2 writes each byte as a printable character, itself or one of
 * U+0100 to U+0143. Private to this module.
 */
#ifndef TEXT_ALPHABET_H
#define TEXT_ALPHABET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_ALPHABET_END 0x144

struct text_alphabet {
    uint16_t byte_to_character[256];
    int16_t character_to_byte[TEXT_ALPHABET_END]; /* -1: not of the alphabet */
};

void text_alphabet_make(struct text_alphabet *self);

/*
 * Bytes that text in the alphabet stands for; ret has room for text's own length. Returns false
 * when a character is not of the alphabet; it is then copied as it is.
 */
bool text_alphabet_decode(
    const struct text_alphabet *self, const char *text, size_t bytes, char *ret, size_t *ret_bytes);

/* The other way; ret has room for twice the bytes. Returns the bytes written. */
size_t text_alphabet_encode(
    const struct text_alphabet *self, const char *text, size_t bytes, char *ret);

#endif
