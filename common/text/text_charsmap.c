#include "text_charsmap.h"

#include "base_err.h"
#include "base_limits.h"
#include <string.h>

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int text_charsmap_open(
    struct text_charsmap *self, const char *data, size_t bytes, struct base_error *err)
{
    uint32_t trie_bytes;

    if (bytes < 4)
        return base_error_set(
            err, BASE_MALFORMED, "precompiled charsmap of %zu bytes, need at least 4", bytes);
    trie_bytes = read_u32((const uint8_t *)data);
    if (trie_bytes > bytes - 4 || trie_bytes % 4 != 0)
        return base_error_set(err, BASE_MALFORMED,
            "precompiled charsmap: a trie of %u bytes in %zu", trie_bytes, bytes - 4);
    self->units = (const uint8_t *)data + 4;
    self->unit_count = trie_bytes / 4;
    self->replacements = data + 4 + trie_bytes;
    self->replacement_bytes = bytes - 4 - trie_bytes;
    if (self->replacement_bytes > 0 && self->replacements[self->replacement_bytes - 1] != '\0')
        return base_error_set(
            err, BASE_MALFORMED, "precompiled charsmap: the last replacement has no end");
    return BASE_OK;
}

/* Fields of a unit, as darts-clone lays them out. */
static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200) >> 6);
}

size_t text_charsmap_find(const struct text_charsmap *self, const char *text, size_t bytes,
    const char **ret_text, size_t *ret_bytes)
{
    size_t node = 0, best = 0;
    uint32_t unit;

    if (self->unit_count == 0)
        return 0;
    unit = read_u32(self->units);
    node ^= unit_offset(unit);
    /* A hostile trie may go round in circles. */
    for (size_t i = 0; i < bytes && i < LIMIT_CHARSMAP_KEY_BYTES; i++) {
        uint8_t byte = (uint8_t)text[i];
        node ^= byte;
        if (byte == 0 || node >= self->unit_count)
            break;
        unit = read_u32(self->units + node * 4);
        /* A label is one byte; bit 31 marks a value, which no byte leads to. */
        if ((unit & 0x800000ffu) != byte)
            break;
        node ^= unit_offset(unit);
        if (node >= self->unit_count)
            break;
        if ((unit & 0x100) != 0) {
            size_t value = read_u32(self->units + node * 4) & 0x7fffffffu;
            if (value >= self->replacement_bytes)
                break;
            best = i + 1;
            *ret_text = self->replacements + value;
            *ret_bytes = strlen(self->replacements + value);
        }
    }
    return best;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_base64_decode(const char *text, size_t bytes, char *ret, size_t *ret_bytes)
{
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t used = 0;

    while (bytes > 0 && text[bytes - 1] == '=')
        bytes--;
    for (size_t i = 0; i < bytes; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            ret[used++] = (char)(bits >> bit_count & 0xff);
        }
    }
    *ret_bytes = used;
    return true;
}
