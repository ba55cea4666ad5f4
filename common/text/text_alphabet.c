#include "text_alphabet.h"

#include "text_utf8.h"

static bool byte_prints(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

void text_alphabet_make(struct text_alphabet *self)
{
    uint16_t next = 0x100;

    for (unsigned i = 0; i < TEXT_ALPHABET_END; i++)
        self->character_to_byte[i] = -1;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t character = byte_prints(byte) ? (uint16_t)byte : next++;
        self->byte_to_character[byte] = character;
        self->character_to_byte[character] = (int16_t)byte;
    }
}

bool text_alphabet_decode(
    const struct text_alphabet *self, const char *text, size_t bytes, char *ret, size_t *ret_bytes)
{
    size_t used = 0;
    bool all = true;

    for (size_t i = 0; i < bytes;) {
        const uint8_t *p = (const uint8_t *)text + i;
        int length = text_utf8_step(text + i, bytes - i);
        unsigned character = length == 1   ? p[0]
                             : length == 2 ? (unsigned)(p[0] & 0x1f) << 6 | (p[1] & 0x3f)
                                           : TEXT_ALPHABET_END;
        if (character < TEXT_ALPHABET_END && self->character_to_byte[character] >= 0) {
            ret[used++] = (char)self->character_to_byte[character];
            i += (size_t)length;
            continue;
        }
        all = false;
        for (int copied = 0; copied < (length > 0 ? length : 1) && i < bytes; copied++)
            ret[used++] = text[i++];
    }
    *ret_bytes = used;
    return all;
}

size_t text_alphabet_encode(
    const struct text_alphabet *self, const char *text, size_t bytes, char *ret)
{
    size_t used = 0;

    for (size_t i = 0; i < bytes; i++) {
        unsigned character = self->byte_to_character[(uint8_t)text[i]];
        if (character < 0x80) {
            ret[used++] = (char)character;
        } else {
            ret[used++] = (char)(0xc0 | character >> 6);
            ret[used++] = (char)(0x80 | (character & 0x3f));
        }
    }
    return used;
}
