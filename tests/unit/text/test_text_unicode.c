#include "base_alloc.h"
#include "text_test.h"
#include "text_unicode.h"
#include <utf8proc.h>

Test(text_unicode, characters_there_and_back)
{
    size_t length, wrong = 0;
    char bytes[4];

    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        if (c >= 0xd800 && c <= 0xdfff)
            continue;
        size_t written = text_unicode_put(c, bytes);
        wrong += text_unicode_at(bytes, written, &length) != c || length != written;
    }
    cr_assert_eq(wrong, 0);
    cr_assert_eq(text_unicode_at("\xff", 1, &length), TEXT_UNICODE_BAD);
    cr_assert_eq(length, 1);
    cr_assert_eq(text_unicode_at("\xe2\x82", 2, &length), TEXT_UNICODE_BAD);
    cr_assert_eq(length, 1);
}

Test(text_unicode, properties)
{
    cr_assert(text_unicode_is_space(' ') && text_unicode_is_space(0xa0) &&
              text_unicode_is_space(0x3000) && !text_unicode_is_space(0x200b) &&
              !text_unicode_is_space(0x180e));
    cr_assert(text_unicode_is_number('7') && text_unicode_is_number(0xb2) &&
              text_unicode_is_number(0x2167) && !text_unicode_is_number('a'));
    cr_assert(text_unicode_is_punctuation('$') && text_unicode_is_punctuation(0x2014) &&
              !text_unicode_is_punctuation(0x20ac) && !text_unicode_is_punctuation('a'));
    cr_assert(text_unicode_is_mark(0x301) && text_unicode_is_mark(0x903) &&
              !text_unicode_is_nonspacing_mark(0x903) && text_unicode_is_nonspacing_mark(0x301));
    cr_assert(text_unicode_is_word('_') && text_unicode_is_word(0xe9) &&
              text_unicode_is_word(0x301) && !text_unicode_is_word('-'));
    cr_assert(text_unicode_is_control(0) && text_unicode_is_control(0x200b) &&
              !text_unicode_is_control('\n') && !text_unicode_is_control('a'));
    cr_assert(text_unicode_is_chinese(0x4e2d) && !text_unicode_is_chinese(0x3042));
    cr_assert(!text_unicode_is_word(TEXT_UNICODE_BAD) && !text_unicode_is_mark(TEXT_UNICODE_BAD) &&
              !text_unicode_is_space(TEXT_UNICODE_BAD) &&
              !text_unicode_is_punctuation(TEXT_UNICODE_BAD) &&
              !text_unicode_is_control(TEXT_UNICODE_BAD));
}

Test(text_unicode, lower_case)
{
    uint32_t lower[2];

    cr_assert(text_unicode_lower('A', lower) == 1 && lower[0] == 'a');
    cr_assert(text_unicode_lower(0xc9, lower) == 1 && lower[0] == 0xe9);
    cr_assert(text_unicode_lower(0x130, lower) == 2 && lower[0] == 'i' && lower[1] == 0x307);
    cr_assert(text_unicode_lower(0x4e2d, lower) == 1 && lower[0] == 0x4e2d);
}

/* Against libutf8proc as a whole, on strings of characters that compose, decompose and reorder. */
Test(text_unicode, normal_forms_are_those_of_the_library)
{
    static const uint32_t some[] = {'a', 'e', 'o', 0x301, 0x302, 0x323, 0x328, 0x345, 0xe9, 0x1e69,
        0x1100, 0x1161, 0x11a8, 0xac00, 0xd55c, 0xfb01, 0x2126, 0x212b, 0xfdfa, 0x0f73, 0x1d15e,
        0x0958, 0x2adc, 0x0344, 0x3099, 0x304b, ' '};
    static const utf8proc_option_t options[] = {UTF8PROC_COMPOSE, UTF8PROC_DECOMPOSE,
        UTF8PROC_COMPOSE | UTF8PROC_COMPAT, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT};
    struct text_unicode_work work = {0};
    uint64_t random = 5;

    for (int round = 0; round < 4000; round++) {
        char text[128];
        size_t bytes = 0, got_bytes = 0;
        for (uint32_t left = text_test_random(&random) % 16; left > 0; left--)
            bytes += text_unicode_put(
                some[text_test_random(&random) % (sizeof(some) / sizeof(some[0]))], text + bytes);
        int form = round % 4;
        utf8proc_uint8_t *expected = NULL;
        utf8proc_ssize_t expected_bytes = utf8proc_map((const utf8proc_uint8_t *)text,
            (utf8proc_ssize_t)bytes, &expected, UTF8PROC_STABLE | options[form]);
        cr_assert_eq(
            text_unicode_normalize(&work, (enum text_unicode_form)form, text, bytes), BASE_OK);
        char *got = calloc(1, work.count * 4 + 1);
        for (size_t i = 0; i < work.count; i++)
            got_bytes += text_unicode_put((uint32_t)work.characters[i], got + got_bytes);
        cr_assert(got_bytes == (size_t)expected_bytes && memcmp(got, expected, got_bytes) == 0,
            "form %d of \"%.*s\": \"%s\", expected \"%s\"", form, (int)bytes, text, got, expected);
        free(got);
        free(expected);
    }
    text_unicode_work_release(&work);
}

/* Marks in the wrong order, a megabyte of them: a sort that moves one at a time never ends. */
Test(text_unicode, a_long_run_of_marks_is_no_trouble)
{
    size_t count = 250000;
    char *text = malloc(count * 4);
    struct text_unicode_work work = {0};

    for (size_t i = 0; i < count; i++)
        memcpy(text + i * 4, "\xcc\x81\xcc\xa3", 4);
    cr_assert_eq(text_unicode_normalize(&work, TEXT_UNICODE_NFD, text, count * 4), BASE_OK);
    cr_assert_eq(work.count, count * 2);
    cr_assert(work.characters[0] == 0x323 && work.characters[count - 1] == 0x323 &&
              work.characters[count] == 0x301);
    text_unicode_work_release(&work);
    free(text);
}

Test(text_unicode, plain_text_is_any_normal_form)
{
    cr_assert_eq(text_unicode_plain("abc", 3), 3);
    cr_assert_eq(text_unicode_plain("ab\xcc\x81", 4), 1); /* b may take the mark */
    cr_assert_eq(text_unicode_plain("\xcc\x81", 2), 0);
    cr_assert_eq(text_unicode_plain("", 0), 0);
}
