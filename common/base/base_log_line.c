#include "base_log_line.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- a buffer that takes whole pieces only ---- */

struct line {
    char *data;
    size_t bytes, used;
    bool is_full; /* something was left out: nothing that follows may come in */
};

static void put(struct line *self, const char *piece, size_t length)
{
    if (self->is_full || length >= self->bytes - self->used) {
        self->is_full = true;
        return;
    }
    memcpy(self->data + self->used, piece, length);
    self->used += length;
    self->data[self->used] = '\0';
}

static void put_text(struct line *self, const char *text)
{
    put(self, text, strlen(text));
}

/* ---- fields ---- */

/* Bytes of the UTF-8 character at text (RFC 3629); 0: it is none, or a control character. */
static size_t character_bytes(const unsigned char *text, size_t bytes)
{
    unsigned char c = text[0];
    size_t count = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (count == 0 || count > bytes || c < 0x20 || c == 0x7f)
        return 0;
    for (size_t i = 1; i < count; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if (c == 0xc2 && text[1] < 0xa0) /* C1 controls: terminals obey them */
        return 0;
    if ((c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) ||
        (c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f))
        return 0;
    return count;
}

static void put_escaped(struct line *self, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const unsigned char *at = (const unsigned char *)text + i;
        size_t count = character_bytes(at, bytes - i);
        char piece[5] = {'\\', 0};
        if (*at == '"' || *at == '\\')
            piece[1] = (char)*at;
        else if (*at == '\n' || *at == '\r' || *at == '\t')
            piece[1] = *at == '\n' ? 'n' : *at == '\r' ? 'r' : 't';
        else if (count == 0)
            (void)snprintf(piece, sizeof(piece), "\\x%02x", *at);
        if (piece[1] != '\0')
            put_text(self, piece);
        else
            put(self, (const char *)at, count);
        i += count == 0 ? 1 : count;
    }
}

static bool needs_quotes(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!isgraph((unsigned char)text[i]) || strchr("\"\\=", text[i]) != NULL)
            return true;
    return bytes == 0;
}

static void put_string(struct line *self, const char *text, int precision, bool in_quotes)
{
    if (text == NULL)
        text = "(none)";
    size_t bytes = precision >= 0 ? strnlen(text, (size_t)precision) : strlen(text);
    bool behind_key = !in_quotes && self->used > 0 && self->data[self->used - 1] == '=';
    bool is_quoted = behind_key && needs_quotes(text, bytes);

    if (is_quoted)
        put_text(self, "\"");
    put_escaped(self, text, bytes);
    if (is_quoted)
        put_text(self, "\"");
}

/* One conversion of a format: "%-08.3llu". */
struct conversion {
    char text[32]; /* as for snprintf(), its stars replaced by numbers, integers as intmax_t */
    size_t bytes;  /* of it in the format */
    int precision; /* -1: none */
    char length;   /* 0, 'h', 'H' (hh), 'l', 'L' (ll), 'z', 'j', 't' */
    char kind;
};

static size_t add_number(struct conversion *self, size_t used, int number)
{
    int length = snprintf(self->text + used, sizeof(self->text) - used - 8, "%d", number);

    return used + (length > 0 ? (size_t)length : 0);
}

static int take_number(const char **at, va_list *args)
{
    int number = 0;

    if (**at == '*') {
        (*at)++;
        return va_arg(*args, int);
    }
    for (; isdigit((unsigned char)**at) && number < 10000; (*at)++)
        number = number * 10 + (**at - '0');
    return number;
}

static void parse_conversion(struct conversion *self, const char *start, va_list *args)
{
    const char *at = start + 1;
    size_t used = 1;

    *self = (struct conversion){.text = "%", .precision = -1};
    while (*at != '\0' && strchr("-+ #0", *at) != NULL && used < 7)
        self->text[used++] = *at++;
    if (*at == '*' || isdigit((unsigned char)*at))
        used = add_number(self, used, take_number(&at, args));
    if (*at == '.') {
        at++;
        self->precision = take_number(&at, args);
        if (self->precision >= 0) {
            self->text[used++] = '.';
            used = add_number(self, used, self->precision);
        }
    }
    for (; *at != '\0' && strchr("hlzjt", *at) != NULL; at++)
        self->length = self->length == *at ? (char)toupper((unsigned char)*at) : *at;
    self->kind = *at;
    if (self->kind != '\0' && strchr("diuxXo", self->kind) != NULL)
        self->text[used++] = 'j';
    self->text[used++] = self->kind;
    self->text[used] = '\0';
    self->bytes = (size_t)(at - start) + (self->kind != '\0');
}

static intmax_t take_signed(char length, va_list *args)
{
    switch (length) {
    case 'l':
        return va_arg(*args, long);
    case 'L':
        return va_arg(*args, long long);
    case 'z':
        return (intmax_t)va_arg(*args, size_t);
    case 'j':
        return va_arg(*args, intmax_t);
    case 't':
        return va_arg(*args, ptrdiff_t);
    default:
        return va_arg(*args, int);
    }
}

static uintmax_t take_unsigned(char length, va_list *args)
{
    switch (length) {
    case 'l':
        return va_arg(*args, unsigned long);
    case 'L':
        return va_arg(*args, unsigned long long);
    case 'z':
        return va_arg(*args, size_t);
    case 'j':
        return va_arg(*args, uintmax_t);
    case 't':
        return (uintmax_t)va_arg(*args, ptrdiff_t);
    default:
        return va_arg(*args, unsigned);
    }
}

/* The formats are pieces of literals that the compiler has checked where base_log() is called. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void put_conversion(
    struct line *self, const struct conversion *conversion, va_list *args, bool in_quotes)
{
    char piece[128];
    int length = 0;

    switch (conversion->kind) {
    case 's':
        put_string(self, va_arg(*args, const char *), conversion->precision, in_quotes);
        return;
    case 'd':
    case 'i':
        length =
            snprintf(piece, sizeof(piece), conversion->text, take_signed(conversion->length, args));
        break;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        length = snprintf(
            piece, sizeof(piece), conversion->text, take_unsigned(conversion->length, args));
        break;
    case 'e':
    case 'f':
    case 'g':
        length = snprintf(piece, sizeof(piece), conversion->text, va_arg(*args, double));
        break;
    case 'p':
        length = snprintf(piece, sizeof(piece), "%p", va_arg(*args, void *));
        break;
    case 'c':
        piece[0] = (char)va_arg(*args, int);
        put_escaped(self, piece, 1);
        return;
    default: /* %% */
        length = snprintf(piece, sizeof(piece), "%%");
        break;
    }
    if (length > 0)
        put(self, piece, (size_t)length < sizeof(piece) ? (size_t)length : sizeof(piece) - 1);
}
#pragma GCC diagnostic pop

size_t base_log_fields(char *buffer, size_t bytes, const char *format, va_list args)
{
    struct line line = {.data = buffer, .bytes = bytes};
    bool in_quotes = false;
    va_list rest;

    buffer[0] = '\0';
    va_copy(rest, args);
    while (*format != '\0') {
        if (*format == '%') {
            struct conversion conversion;
            parse_conversion(&conversion, format, &rest);
            put_conversion(&line, &conversion, &rest, in_quotes);
            format += conversion.bytes;
            continue;
        }
        if (*format == '"')
            in_quotes = !in_quotes;
        put(&line, format++, 1);
    }
    va_end(rest);
    return line.used;
}

/* ---- JSON ---- */

/* RFC 8259, section 6; at most 15 digits, which every reader keeps. */
static bool is_number(const char *text, size_t bytes)
{
    size_t i = 0, digits;

    if (bytes > 15)
        return false;
    i += bytes > 0 && text[0] == '-';
    for (digits = 0; i < bytes && isdigit((unsigned char)text[i]); i++)
        digits++;
    if (digits == 0 || (digits > 1 && text[i - digits] == '0'))
        return false;
    if (i < bytes && text[i] == '.') {
        for (i++, digits = 0; i < bytes && isdigit((unsigned char)text[i]); i++)
            digits++;
        if (digits == 0)
            return false;
    }
    if (i < bytes && text[i] == 'e') {
        i++;
        i += i < bytes && (text[i] == '-' || text[i] == '+');
        for (digits = 0; i < bytes && isdigit((unsigned char)text[i]); i++)
            digits++;
        if (digits == 0)
            return false;
    }
    return i == bytes;
}

/* Text of a field, whose escapes differ from those of JSON in \xNN only. */
static void put_json_text(struct line *self, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        if (text[i] == '\\' && i + 3 < bytes && text[i + 1] == 'x') {
            put_text(self, "\\u00");
            put(self, text + i + 2, 2);
            i += 4;
        } else if (text[i] == '\\' && i + 1 < bytes && text[i + 1] != 'x') {
            put(self, text + i, 2);
            i += 2;
        } else {
            if (text[i] != '\\' && text[i] != '"') /* what was cut */
                put(self, text + i, 1);
            i++;
        }
    }
}

/* The bytes of a value; *ret_quoted: without the quotation marks around it. */
static size_t value_bytes(const char *value, bool *ret_quoted)
{
    size_t bytes = 0;

    *ret_quoted = value[0] == '"';
    if (!*ret_quoted)
        return strcspn(value, " ");
    for (value++; value[bytes] != '\0' && value[bytes] != '"'; bytes++)
        if (value[bytes] == '\\' && value[bytes + 1] != '\0')
            bytes++;
    return bytes;
}

static const char *put_member(struct line *self, const char *key, size_t key_bytes)
{
    const char *value = key + key_bytes + 1;
    struct line before = *self;
    bool is_quoted;
    size_t bytes = value_bytes(value, &is_quoted);

    put_text(self, ",\"");
    put(self, key, key_bytes);
    put_text(self, "\":");
    if (!is_quoted && is_number(value, bytes)) {
        put(self, value, bytes);
    } else {
        put_text(self, "\"");
        put_json_text(self, value + is_quoted, bytes);
        put_text(self, "\"");
    }
    if (self->is_full) {
        before.is_full = true;
        *self = before;
    }
    value += bytes + is_quoted;
    return is_quoted && *value == '"' ? value + 1 : value;
}

static bool is_key(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '_')
            return false;
    return bytes > 0;
}

size_t base_log_json(char *buffer, size_t bytes, const char *fields)
{
    struct line line = {.data = buffer, .bytes = bytes};
    char words[512] = "";
    struct line text = {.data = words, .bytes = sizeof(words)};

    buffer[0] = '\0';
    while (*fields != '\0') {
        size_t length = strcspn(fields, " =");
        if (fields[length] == '=' && is_key(fields, length)) {
            fields = put_member(&line, fields, length);
        } else {
            length = strcspn(fields, " ");
            put(&text, " ", length > 0 && text.used > 0);
            put(&text, fields, length);
            fields += length;
        }
        fields += strspn(fields, " ");
    }
    if (text.used > 0) {
        struct line before = line;
        put_text(&line, ",\"text\":\"");
        put_json_text(&line, words, text.used);
        put_text(&line, "\"");
        if (line.is_full)
            line = before;
    }
    buffer[line.used] = '\0';
    return line.used;
}
