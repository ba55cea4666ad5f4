#include "base_alloc.h"
#include "base_limits.h"
#include "text_normal.h"
#include "text_test.h"

static struct text_normal *new_normal(void)
{
    struct text_normal *normal = NULL;

    cr_assert_eq(text_normal_new(&normal), BASE_OK);
    return normal;
}

static void expect(struct text_normal *normal, const char *text, const char *expected)
{
    struct text_normal_run *run = NULL;
    const char *got = NULL;
    size_t bytes = 0;
    struct base_error err = {0};

    cr_assert_eq(text_normal_run_new(normal, &run), BASE_OK);
    for (int twice = 0; twice < 2; twice++) {
        cr_assert_eq(
            text_normal_run(run, text, strlen(text), &got, &bytes, &err), BASE_OK, "%s", err.text);
        cr_expect(bytes == strlen(expected) && memcmp(got, expected, bytes) == 0,
            "\"%s\" becomes \"%.*s\", expected \"%s\"", text, (int)bytes, got, expected);
    }
    text_normal_run_destroy(&run);
}

Test(text_normal, each_step_alone)
{
    static const struct {
        enum text_unicode_form form;
        const char *text, *expected;
    } forms[] = {{TEXT_UNICODE_NFC, "abe\xcc\x81 x", "ab\xc3\xa9 x"},
        {TEXT_UNICODE_NFD, "ab\xc3\xa9 x", "abe\xcc\x81 x"},
        {TEXT_UNICODE_NFKC, "\xef\xac\x81n\xc2\xa0", "fin "},
        {TEXT_UNICODE_NFKD, "\xef\xac\x81\xc3\xa9", "fie\xcc\x81"},
        {TEXT_UNICODE_NFC, "\xffzz\xcc\x81\xe2", "\xffz\xc5\xba\xe2"}, {TEXT_UNICODE_NFC, "", ""},
        {TEXT_UNICODE_NFC, "plain", "plain"}};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct text_normal *normal = new_normal();
        cr_assert_eq(text_normal_add_form(normal, forms[i].form, NULL), BASE_OK);
        expect(normal, forms[i].text, forms[i].expected);
        text_normal_destroy(&normal);
    }
    struct text_normal *normal = new_normal();
    cr_assert_eq(text_normal_add_lowercase(normal, NULL), BASE_OK);
    expect(normal, "A\xc3\x89\xc4\xb0\xff", "a\xc3\xa9i\xcc\x87\xff");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_strip_accents(normal, NULL), BASE_OK);
    expect(normal, "e\xcc\x81\xe0\xa4\xbe", "e");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_nmt(normal, NULL), BASE_OK);
    expect(normal, "a\tb\x01\xe2\x80\x8b\x63", "a b c");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_strip(normal, true, true, NULL), BASE_OK);
    expect(normal, " \t\xc2\xa0x y\xe3\x80\x80\n", "x y");
    expect(normal, "   ", "");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_collapse(normal, NULL), BASE_OK);
    expect(normal, "  a   b ", "a b");
    text_normal_destroy(&normal);
}

Test(text_normal, bert)
{
    struct text_normal *normal = new_normal();

    cr_assert_eq(
        text_normal_add_bert(normal,
            TEXT_BERT_CLEAN | TEXT_BERT_CHINESE | TEXT_BERT_ACCENTS | TEXT_BERT_LOWER, NULL),
        BASE_OK);
    expect(normal, "Caf\xc3\x89\t\xe4\xb8\xad\xe2\x80\x8b!\x7f", "cafe  \xe4\xb8\xad !");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_bert(normal, TEXT_BERT_LOWER, NULL), BASE_OK);
    expect(normal, "\xc3\x89\t", "\xc3\xa9\t");
    text_normal_destroy(&normal);
}

Test(text_normal, replacing_and_prepending)
{
    struct text_normal *normal = new_normal();

    cr_assert_eq(text_normal_add_prepend(normal, "_", 1, NULL), BASE_OK);
    cr_assert_eq(text_normal_add_replace(normal, " ", 1, "_", 1, NULL), BASE_OK);
    cr_assert_eq(text_normal_add_replace_regex(normal, "_{2,}", 5, "<>", 2, NULL), BASE_OK);
    expect(normal, "a  b", "_a<>b");
    expect(normal, " ", "<>");
    expect(normal, "", "");
    expect(normal, "\xff  \xff", "_\xff<>\xff");
    text_normal_destroy(&normal);
    normal = new_normal();
    cr_assert_eq(text_normal_add_replace_regex(normal, "x*", 2, "-", 1, NULL), BASE_OK);
    expect(normal, "axb", "-a-b-");
    cr_assert_eq(text_normal_add_replace(normal, "", 0, "z", 1, NULL), BASE_OK);
    expect(normal, "b", "-b-");
    text_normal_destroy(&normal);
}

Test(text_normal, growth_and_steps_have_a_limit)
{
    struct text_normal *normal = new_normal();
    struct text_normal_run *run = NULL;
    struct base_error err = {0};
    static char longest[LIMIT_NORMAL_STRING_BYTES + 1];
    const char *got;
    size_t bytes;

    memset(longest, 'a', sizeof(longest));
    cr_assert_eq(
        text_normal_add_replace(normal, "a", 1, longest, sizeof(longest), &err), BASE_TOO_BIG);
    text_normal_destroy(&normal);
    normal = new_normal();
    for (int i = 0; i < 3; i++)
        cr_assert_eq(text_normal_add_replace(normal, "a", 1, longest, 4096, &err), BASE_OK);
    cr_assert_eq(text_normal_run_new(normal, &run), BASE_OK);
    cr_assert_eq(text_normal_run(run, "aa", 2, &got, &bytes, &err), BASE_TOO_BIG);
    cr_assert_not_null(strstr(err.text, "LIMIT_NORMAL_BYTES"));
    text_normal_run_destroy(&run);
    int rc = BASE_OK;
    for (int i = 0; rc == BASE_OK && i < 100; i++)
        rc = text_normal_add_lowercase(normal, &err);
    cr_assert_eq(rc, BASE_TOO_BIG);
    cr_assert_eq(text_normal_step_count(normal), LIMIT_NORMAL_STEPS);
    cr_assert_eq(text_normal_step_count(NULL), 0);
    text_normal_destroy(&normal);
}
