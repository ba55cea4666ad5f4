#include "text_special.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_unicode.h"
#include <stdlib.h>
#include <string.h>

int text_specials_add(
    struct text_specials *self, const struct text_special *item, struct base_error *err)
{
    if (item->bytes == 0)
        return BASE_OK;
    if (item->bytes > TEXT_SPECIAL_BYTES_MAX)
        return base_error_set(err, BASE_MALFORMED,
            "tokenizer: added token %u has %u bytes, more than %d", item->id, item->bytes,
            TEXT_SPECIAL_BYTES_MAX);
    if (self->count == self->count_max) {
        size_t count_max = self->count_max * 2 + 16;
        void *items = base_realloc_array(self->items, count_max, sizeof(*self->items));
        if (items == NULL)
            return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for added tokens");
        self->items = items;
        self->count_max = count_max;
    }
    self->items[self->count++] = *item;
    return BASE_OK;
}

/* By text, a prefix before what it begins; equal texts: those found always first, then by id. */
static int compare_specials(const void *a_void, const void *b_void)
{
    const struct text_special *a = a_void, *b = b_void;
    int order = memcmp(a->text, b->text, a->bytes < b->bytes ? a->bytes : b->bytes);

    if (order != 0)
        return order;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? -1 : 1;
    if (a->always != b->always)
        return a->always ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

void text_specials_seal(struct text_specials *self)
{
    size_t next = 0;

    if (self->count > 0)
        qsort(self->items, self->count, sizeof(*self->items), compare_specials);
    for (int byte = 0; byte <= 256; byte++) {
        while (next < self->count && (uint8_t)self->items[next].text[0] < byte)
            next++;
        self->first[byte] = (uint32_t)next;
    }
}

/* First item of [low, high) whose byte at depth is at least byte; all are longer than depth. */
static size_t lower_bound(
    const struct text_specials *self, size_t low, size_t high, size_t depth, unsigned byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((uint8_t)self->items[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct text_special *longest_at(
    const struct text_specials *self, const char *text, size_t bytes, bool controls)
{
    const struct text_special *best = NULL;
    unsigned byte = (uint8_t)text[0];
    size_t low = self->first[byte], high = self->first[byte + 1];

    for (size_t depth = 1; low < high; depth++) {
        bool found = false;
        /* Items that end here come first: they are prefixes of the others. */
        for (; low < high && self->items[low].bytes == depth; low++) {
            if (!found && (controls || self->items[low].always)) {
                best = &self->items[low];
                found = true;
            }
        }
        if (depth == bytes)
            break;
        byte = (uint8_t)text[depth];
        low = lower_bound(self, low, high, depth, byte);
        high = lower_bound(self, low, high, depth, byte + 1);
    }
    return best;
}

/* Start of the last character of text, which is not empty. */
static size_t last_character(const char *text, size_t bytes)
{
    size_t at = bytes - 1;

    while (at > 0 && bytes - at < 4 && ((uint8_t)text[at] & 0xc0) == 0x80)
        at--;
    return at;
}

/* Whether no letter, digit or mark touches [begin, end). */
static bool stands_alone(const char *text, size_t bytes, size_t begin, size_t end)
{
    size_t length;

    if (begin > 0) {
        size_t at = last_character(text, begin);
        if (text_unicode_is_word(text_unicode_at(text + at, begin - at, &length)))
            return false;
    }
    return end == bytes || !text_unicode_is_word(text_unicode_at(text + end, bytes - end, &length));
}

/* Widens [*begin, *end) by the white space that the token takes; not before from. */
static void take_space(const struct text_special *item, const char *text, size_t bytes, size_t from,
    size_t *begin, size_t *end)
{
    size_t length;

    while (item->lstrip && *begin > from) {
        size_t at = from + last_character(text + from, *begin - from);
        if (!text_unicode_is_space(text_unicode_at(text + at, *begin - at, &length)))
            break;
        *begin = at;
    }
    while (item->rstrip && *end < bytes &&
           text_unicode_is_space(text_unicode_at(text + *end, bytes - *end, &length)))
        *end += length;
}

const struct text_special *text_specials_find(const struct text_specials *self, const char *text,
    size_t bytes, size_t from, bool controls, size_t *ret_begin, size_t *ret_end)
{
    for (size_t i = from; i < bytes; i++) {
        unsigned byte = (uint8_t)text[i];
        if (self->first[byte] == self->first[byte + 1])
            continue;
        const struct text_special *found = longest_at(self, text + i, bytes - i, controls);
        if (found == NULL)
            continue;
        if (found->single_word && !stands_alone(text, bytes, i, i + found->bytes)) {
            i += found->bytes - 1;
            continue;
        }
        *ret_begin = i;
        *ret_end = i + found->bytes;
        take_space(found, text, bytes, from, ret_begin, ret_end);
        return found;
    }
    return NULL;
}

void text_specials_release(struct text_specials *self)
{
    base_free(self->items);
    *self = (struct text_specials){0};
}
