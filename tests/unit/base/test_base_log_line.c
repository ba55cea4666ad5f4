#include "base_log_line.h"
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static char fields[256], json[512];
static size_t room = sizeof(fields);

static void make(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void make(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    size_t length = base_log_fields(fields, room, format, args);
    va_end(args);
    cr_assert_eq(length, strlen(fields));
    cr_assert_eq(base_log_json(json, sizeof(json), fields), strlen(json));
}

Test(base_log_line, every_conversion_that_is_in_use)
{
    char wanted[256];

    make("a=%d b=%u c=%llu d=%zu e=%" PRIu64 " f=%016" PRIx64 " g=%.3g h=%5.1f i=%ld j=%-4dx k=%*d "
         "l=%hhu m=%c n=%%",
        -1, 2u, 3ull, (size_t)4, UINT64_MAX, UINT64_C(0xabc), 0.5, 2.25, -7l, 8, 3, 9,
        (unsigned char)255, 'q');
    snprintf(wanted, sizeof(wanted),
        "a=%d b=%u c=%llu d=%zu e=%" PRIu64 " f=%016" PRIx64 " g=%.3g h=%5.1f i=%ld j=%-4dx k=%*d "
        "l=%hhu m=%c n=%%",
        -1, 2u, 3ull, (size_t)4, UINT64_MAX, UINT64_C(0xabc), 0.5, 2.25, -7l, 8, 3, 9,
        (unsigned char)255, 'q');
    cr_assert_str_eq(fields, wanted);
}

Test(base_log_line, arguments_cannot_leave_their_value)
{
    make("error=\"%s\" request=%u", "x\" request=7 y=\"\n2026 error\x1b[2J\\", 5u);
    cr_assert_str_eq(fields, "error=\"x\\\" request=7 y=\\\"\\n2026 error\\x1b[2J\\\\\" request=5");
    cr_assert_str_eq(
        json, ",\"error\":\"x\\\" request=7 y=\\\"\\n2026 error\\u001b[2J\\\\\",\"request\":5");

    make("node=%s request=%u", "a request=7", 5u);
    cr_assert_str_eq(fields, "node=\"a request=7\" request=5");
    cr_assert_str_eq(json, ",\"node\":\"a request=7\",\"request\":5");
    make("node=%s end=%s", "", "w-1");
    cr_assert_str_eq(fields, "node=\"\" end=w-1");
    make("node=%.*s", 3, "abcdef");
    cr_assert_str_eq(fields, "node=abc");
}

Test(base_log_line, text_stays_text_and_bytes_become_escapes)
{
    make("t=\"%s\"", "\xc3\xa9 \xe6\x88\x91 \xf0\x9f\xa6\x99");
    cr_assert_str_eq(fields, "t=\"\xc3\xa9 \xe6\x88\x91 \xf0\x9f\xa6\x99\"");
    /* Cut, overlong, surrogate, beyond Unicode, C1 control. */
    make("t=\"%s\"", "\xc3|\xc0\xaf|\xed\xa0\x80|\xf5\x80\x80\x80|\xc2\x9b|\x7f");
    cr_assert_str_eq(fields, "t=\"\\xc3|\\xc0\\xaf|\\xed\\xa0\\x80|\\xf5\\x80\\x80\\x80|\\xc2\\x9b|"
                             "\\x7f\"");
    cr_assert_str_eq(json, ",\"t\":\"\\u00c3|\\u00c0\\u00af|\\u00ed\\u00a0\\u0080|"
                           "\\u00f5\\u0080\\u0080\\u0080|\\u00c2\\u009b|\\u007f\"");
}

Test(base_log_line, numbers_are_numbers_only_where_nothing_is_lost)
{
    make("a=0 b=-1.5 c=1e+06 d=007 e=1.2.3 f=18446744073709551615 g=0x1f h=- i=12a j=4..9");
    cr_assert_str_eq(json,
        ",\"a\":0,\"b\":-1.5,\"c\":1e+06,\"d\":\"007\",\"e\":\"1.2.3\","
        "\"f\":\"18446744073709551615\",\"g\":\"0x1f\",\"h\":\"-\",\"i\":\"12a\","
        "\"j\":\"4..9\"");
}

Test(base_log_line, words_without_a_key_are_text)
{
    make("still waiting code=3 for it");
    cr_assert_str_eq(json, ",\"code\":3,\"text\":\"still waiting for it\"");
    make("%s", "=x \"open");
    cr_assert_str_eq(json, ",\"text\":\"=x \\\"open\"");
    make("%s", "");
    cr_assert_str_eq(json, "");
}

Test(base_log_line, what_does_not_fit_is_left_out_in_whole)
{
    for (room = 1; room < 40; room++) {
        make("a=\"%s\" b=%d", "\x01\x02\"xyz", 12345);
        cr_assert_lt(strlen(fields), room);
        size_t end = strlen(fields);
        cr_assert(end == 0 || fields[end - 1] != '\\', "%s", fields);
        for (size_t bytes = 1; bytes < 40; bytes++) {
            size_t length = base_log_json(json, bytes, fields);
            cr_assert(length < bytes && length == strlen(json));
            cr_assert(
                length == 0 || json[length - 1] == '"' || json[length - 1] != ',', "%s", json);
        }
    }
    room = sizeof(fields);
}
