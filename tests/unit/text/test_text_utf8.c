#include "text_test.h"
#include "text_utf8.h"

/* Every code point: whole it is a character, cut it needs more. */
Test(text_utf8, every_character)
{
    for (uint32_t c = 0; c < 0x110000; c++) {
        char text[4];
        int length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        if (c >= 0xd800 && c < 0xe000)
            continue;
        for (int i = length - 1, shift = 0; i > 0; i--, shift += 6)
            text[i] = (char)(0x80 | (c >> shift & 0x3f));
        static const unsigned leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
        text[0] = (char)(leads[length] | c >> (6 * (length - 1)));
        if (text_utf8_step(text, 4 < length ? 4 : (size_t)length) != length)
            cr_assert(false, "U+%04X", c);
        for (int cut = 1; cut < length; cut++) {
            if (text_utf8_step(text, (size_t)cut) != 0)
                cr_assert(false, "U+%04X cut at %d", c, cut);
        }
    }
}

Test(text_utf8, what_is_no_character)
{
    static const struct {
        const char *text;
        int expected;
    } cases[] = {{"\x80", -1}, {"\xc0\x80", -1}, {"\xc1\xbf", -1}, {"\xc3z", -1},
        {"\xe0\x80\x80", -1}, {"\xe0\x9f\xbf", -1}, {"\xed\xa0\x80", -1}, {"\xed\xbf\xbf", -1},
        {"\xe2\x82z", -2}, {"\xf0\x8f\xbf\xbf", -1}, {"\xf4\x90\x80\x80", -1},
        {"\xf0\x9f\x98z", -3}, {"\xf0\x9fz", -2}, {"\xf5\x80\x80\x80", -1}, {"\xff", -1}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(
            text_utf8_step(cases[i].text, strlen(cases[i].text)), cases[i].expected, "case %zu", i);
}
