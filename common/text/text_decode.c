#include "text_decode.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_alphabet.h"
#include "text_internal.h"
#include "text_vocab.h"
#include <string.h>

static int reserve(char **memory, size_t *bytes_max, size_t bytes)
{
    if (bytes <= *bytes_max)
        return BASE_OK;
    char *grown = base_realloc_array(*memory, bytes + bytes / 2 + 16, 1);
    if (grown == NULL)
        return BASE_NOMEM;
    *memory = grown;
    *bytes_max = bytes + bytes / 2 + 16;
    return BASE_OK;
}

/* Replaces in place what the decoder's lists say; *piece has the text, *bytes of it. */
static int replace_all(
    const struct text_decoder *self, char **piece, size_t *piece_max, size_t *bytes)
{
    for (size_t i = 0; i < self->from.count; i++) {
        size_t from_bytes, to_bytes, at = 0;
        const char *from = text_strings_at(&self->from, i, &from_bytes);
        const char *to = text_strings_at(&self->to, i, &to_bytes);
        while (from_bytes > 0 && at < *bytes) {
            char *found = memmem(*piece + at, *bytes - at, from, from_bytes);
            if (found == NULL)
                break;
            at = (size_t)(found - *piece);
            if (reserve(piece, piece_max, *bytes + to_bytes) != BASE_OK)
                return BASE_NOMEM;
            memmove(*piece + at + to_bytes, *piece + at + from_bytes, *bytes - at - from_bytes);
            memcpy(*piece + at, to, to_bytes);
            *bytes = *bytes - from_bytes + to_bytes;
            at += to_bytes;
        }
    }
    return BASE_OK;
}

/* " ." and the like lose their space. */
static size_t clean(char *piece, size_t bytes)
{
    if (bytes == 2 && piece[0] == ' ' && memchr(".?!,", piece[1], 4) != NULL) {
        piece[0] = piece[1];
        return 1;
    }
    return bytes;
}

int text_decode_piece(const struct text_decoder *self, const struct text_alphabet *alphabet,
    const char *name, size_t bytes, int type, char **piece, size_t *piece_max, size_t *ret_bytes,
    bool *ret_whole)
{
    size_t suffix_bytes = self->suffix == NULL ? 0 : strlen(self->suffix);
    int byte = self->bytes && type == TEXT_TYPE_BYTE ? text_byte_parse(name, bytes) : -1;
    int rc = reserve(piece, piece_max, bytes + 1);

    *ret_whole = false;
    *ret_bytes = 0;
    if (rc != BASE_OK || bytes == 0 || type == TEXT_TYPE_CONTROL || type == TEXT_TYPE_UNKNOWN)
        return rc;
    if (byte >= 0) {
        (*piece)[0] = (char)byte;
        *ret_bytes = 1;
        return BASE_OK;
    }
    if (self->alphabet) {
        if (type == TEXT_TYPE_UNUSED)
            return BASE_OK;
        if (type != TEXT_TYPE_USER_DEFINED) {
            *ret_whole = text_alphabet_decode(alphabet, name, bytes, *piece, ret_bytes);
            return BASE_OK;
        }
    }
    memcpy(*piece, name, bytes);
    if (self->alphabet) {
        *ret_bytes = bytes;
        return BASE_OK;
    }
    if (suffix_bytes > 0 && bytes >= suffix_bytes &&
        memcmp(name + bytes - suffix_bytes, self->suffix, suffix_bytes) == 0) {
        bytes -= suffix_bytes;
        (*piece)[bytes++] = ' ';
    }
    rc = replace_all(self, piece, piece_max, &bytes);
    if (rc == BASE_OK && self->joins) {
        rc = reserve(piece, piece_max, bytes + 1);
        if (rc != BASE_OK)
            return rc;
        memmove(*piece + 1, *piece, bytes++);
        (*piece)[0] = ' ';
    }
    *ret_bytes = self->cleans ? clean(*piece, bytes) : bytes;
    return rc;
}

size_t text_decode_dropped(
    const struct text_tokenizer *self, const char *piece, size_t bytes, bool *drops)
{
    size_t dropped = 0;

    if (!*drops)
        return 0;
    if (self->decoder.first == TEXT_FIRST_DROPS_ONE && bytes > 0) {
        dropped = piece[0] == ' ';
        *drops = false;
    } else if (self->decoder.first == TEXT_FIRST_DROPS_ALL) {
        while (dropped < bytes && piece[dropped] == ' ')
            dropped++;
        *drops = false;
    } else if (self->decoder.first == TEXT_FIRST_KEPT) {
        *drops = false;
    }
    return dropped;
}

int text_decode(const struct text_tokenizer *self, const uint32_t *ids, size_t count, bool controls,
    char **ret_text, size_t *ret_bytes)
{
    bool drops = true, spaces = self->decoder.joins || self->kind == TEXT_KIND_WORDPIECE;
    char *text = NULL;
    size_t used = 0, text_max = 0;
    int rc = reserve(&text, &text_max, 1);

    for (size_t i = 0; rc == BASE_OK && i < count; i++) {
        size_t bytes, dropped;
        const char *piece;
        if (ids[i] >= self->vocab_size)
            continue;
        bool is_control =
            self->types[ids[i]] == TEXT_TYPE_CONTROL || self->types[ids[i]] == TEXT_TYPE_UNKNOWN;
        if (is_control && !controls)
            continue;
        piece = text_strings_at(is_control ? &self->names : &self->pieces, ids[i], &bytes);
        rc = reserve(&text, &text_max, used + bytes + 2);
        if (rc != BASE_OK)
            break;
        if (is_control && spaces && !drops)
            text[used++] = ' ';
        dropped = text_decode_dropped(self, piece, bytes, &drops);
        memcpy(text + used, piece + dropped, bytes - dropped);
        used += bytes - dropped;
    }
    if (rc != BASE_OK) {
        base_free(text);
        return BASE_NOMEM;
    }
    text[used] = '\0';
    *ret_text = text;
    *ret_bytes = used;
    return BASE_OK;
}
