#include "text_unicode.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_utf8.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

uint32_t text_unicode_at(const char *text, size_t bytes, size_t *ret_length)
{
    const uint8_t *p = (const uint8_t *)text;
    int length = text_utf8_step(text, bytes);

    *ret_length = length > 0 ? (size_t)length : 1;
    switch (length) {
    case 1:
        return p[0];
    case 2:
        return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    case 3:
        return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    case 4:
        return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
               (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
    default:
        return TEXT_UNICODE_BAD;
    }
}

size_t text_unicode_put(uint32_t character, char ret[4])
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)character, (utf8proc_uint8_t *)ret);
}

/* The general category; unassigned beyond Unicode. */
static utf8proc_category_t category(uint32_t character)
{
    return character > 0x10ffff ? UTF8PROC_CATEGORY_CN
                                : utf8proc_category((utf8proc_int32_t)character);
}

bool text_unicode_is_space(uint32_t character)
{
    if (character < 0x80)
        return character == ' ' || (character >= '\t' && character <= '\r');
    return character == 0x85 || character == 0xa0 || character == 0x1680 ||
           (character >= 0x2000 && character <= 0x200a) || character == 0x2028 ||
           character == 0x2029 || character == 0x202f || character == 0x205f || character == 0x3000;
}

bool text_unicode_is_number(uint32_t character)
{
    utf8proc_category_t kind;

    if (character < 0x80)
        return character >= '0' && character <= '9';
    kind = category(character);
    return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
           kind == UTF8PROC_CATEGORY_NO;
}

bool text_unicode_is_punctuation(uint32_t character)
{
    if (character < 0x80)
        return (character >= '!' && character <= '/') || (character >= ':' && character <= '@') ||
               (character >= '[' && character <= '`') || (character >= '{' && character <= '~');
    utf8proc_category_t kind = category(character);
    return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool text_unicode_is_mark(uint32_t character)
{
    utf8proc_category_t kind = category(character);

    return kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_ME;
}

bool text_unicode_is_nonspacing_mark(uint32_t character)
{
    return character >= 0x300 && category(character) == UTF8PROC_CATEGORY_MN;
}

bool text_unicode_is_word(uint32_t character)
{
    utf8proc_category_t kind;

    if (character < 0x80)
        return (character >= '0' && character <= '9') || character == '_' ||
               ((character | 0x20) >= 'a' && (character | 0x20) <= 'z');
    kind = category(character);
    return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_ND) ||
           kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_PC || character == 0x200c ||
           character == 0x200d;
}

bool text_unicode_is_control(uint32_t character)
{
    utf8proc_category_t kind;

    if (character == '\t' || character == '\n' || character == '\r')
        return false;
    kind = category(character);
    return kind == UTF8PROC_CATEGORY_CC || kind == UTF8PROC_CATEGORY_CF ||
           kind == UTF8PROC_CATEGORY_CO;
}

bool text_unicode_is_chinese(uint32_t character)
{
    static const uint32_t ranges[][2] = {{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df},
        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf}, {0xf900, 0xfaff},
        {0x2f800, 0x2fa1f}};

    for (size_t i = 0; character >= 0x3400 && i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (character >= ranges[i][0] && character <= ranges[i][1])
            return true;
    }
    return false;
}

size_t text_unicode_lower(uint32_t character, uint32_t ret[2])
{
    ret[0] = character;
    if (character == 0x130) { /* the one lower case of two characters */
        ret[0] = 'i';
        ret[1] = 0x307;
        return 2;
    }
    if (character < 0x80)
        ret[0] = character >= 'A' && character <= 'Z' ? character | 0x20 : character;
    else if (character <= 0x10ffff)
        ret[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)character);
    return 1;
}

size_t text_unicode_plain(const char *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes && (uint8_t)text[at] < 0x80)
        at++;
    /* The last character may take a mark that follows. */
    return at == bytes || at == 0 ? at : at - 1;
}

static int reserve(int32_t **memory, size_t *count_max, size_t count)
{
    if (count <= *count_max)
        return BASE_OK;
    size_t grown_max = count + count / 2;
    void *grown = base_realloc_array(*memory, grown_max, sizeof(**memory));
    if (grown == NULL)
        return BASE_NOMEM;
    *memory = grown;
    *count_max = grown_max;
    return BASE_OK;
}

static unsigned combining_class(int32_t character)
{
    return character < 0x300 ? 0 : (unsigned)utf8proc_get_property(character)->combining_class;
}

/* Stable order by combining class of a run of marks: counted, so that a long run takes no longer. */
static int order_run(struct text_unicode_work *work, size_t from, size_t count)
{
    size_t starts[257] = {0};

    if (reserve(&work->scratch, &work->scratch_max, count) != BASE_OK)
        return BASE_NOMEM;
    memcpy(work->scratch, work->characters + from, count * sizeof(*work->scratch));
    for (size_t i = 0; i < count; i++)
        starts[combining_class(work->scratch[i]) + 1]++;
    for (size_t i = 1; i < 257; i++)
        starts[i] += starts[i - 1];
    for (size_t i = 0; i < count; i++)
        work->characters[from + starts[combining_class(work->scratch[i])]++] = work->scratch[i];
    return BASE_OK;
}

static int order_marks(struct text_unicode_work *work)
{
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < work->count;) {
        size_t end = i;
        bool ordered = true;
        unsigned before = 0;
        while (end < work->count) {
            unsigned class = combining_class(work->characters[end]);
            if (class == 0)
                break;
            ordered = ordered && class >= before;
            before = class;
            end++;
        }
        if (!ordered)
            rc = order_run(work, i, end - i);
        i = end + 1;
    }
    return rc;
}

int text_unicode_normalize(
    struct text_unicode_work *work, enum text_unicode_form form, const char *text, size_t bytes)
{
    bool composes = form == TEXT_UNICODE_NFC || form == TEXT_UNICODE_NFKC;
    bool compatible = form == TEXT_UNICODE_NFKC || form == TEXT_UNICODE_NFKD;
    utf8proc_option_t options =
        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);

    work->count = 0;
    for (size_t at = 0, length; at < bytes; at += length) {
        uint32_t character = text_unicode_at(text + at, bytes - at, &length);
        int boundary = 0;
        if (reserve(&work->characters, &work->count_max, work->count + 32) != BASE_OK)
            return BASE_NOMEM;
        if (character < 0x80) {
            work->characters[work->count++] = (int32_t)character;
            continue;
        }
        utf8proc_ssize_t made =
            utf8proc_decompose_char((utf8proc_int32_t)character, work->characters + work->count,
                (utf8proc_ssize_t)(work->count_max - work->count), options, &boundary);
        /* A character that the table does not know stands for itself. */
        if (made <= 0 || (size_t)made > work->count_max - work->count) {
            work->characters[work->count] = (int32_t)character;
            made = 1;
        }
        work->count += (size_t)made;
    }
    if (order_marks(work) != BASE_OK)
        return BASE_NOMEM;
    if (composes) {
        utf8proc_ssize_t count = utf8proc_normalize_utf32(
            work->characters, (utf8proc_ssize_t)work->count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (count >= 0)
            work->count = (size_t)count;
    }
    return BASE_OK;
}

void text_unicode_work_release(struct text_unicode_work *self)
{
    base_free(self->characters);
    base_free(self->scratch);
    *self = (struct text_unicode_work){0};
}
