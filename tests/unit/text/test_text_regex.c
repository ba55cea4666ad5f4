#include "base_alloc.h"
#include "base_limits.h"
#include "text_regex.h"
#include "text_test.h"

static struct text_regex *make(const char *pattern)
{
    struct text_regex *regex = NULL;
    struct base_error err = {0};

    cr_assert_eq(text_regex_new(pattern, strlen(pattern), &regex, &err), BASE_OK, "%s", err.text);
    return regex;
}

/* All matches, as "begin-end ". */
static void expect(const char *pattern, const char *text, const char *expected)
{
    struct text_regex *regex = make(pattern);
    struct text_regex_run *run = NULL;
    char got[256] = "";
    size_t used = 0, from = 0, begin, end, bytes = strlen(text);

    cr_assert_eq(text_regex_run_new(&run), BASE_OK);
    while (from <= bytes &&
           text_regex_next(regex, run, text, bytes, from, &begin, &end, NULL) == BASE_OK) {
        used += (size_t)snprintf(got + used, sizeof(got) - used, "%zu-%zu ", begin, end);
        from = end == begin ? end + 1 : end;
    }
    cr_expect_str_eq(
        got, expected, "/%s/ in \"%s\": %s, expected %s", pattern, text, got, expected);
    text_regex_run_destroy(&run);
    text_regex_destroy(&regex);
}

Test(text_regex, reads_patterns_as_oniguruma_does)
{
    expect("\\s+", "a \xe1\xa0\x8e\xc2\xa0", "1-2 5-7 "); /* U+180E is no space, U+00A0 is */
    expect("\\S+", "a b", "0-1 2-3 ");
    expect("[^\\s]+", "a b", "0-1 2-3 ");
    expect("[\\S]", " a\xc2\xa0", "1-2 ");
    expect("\\h+", "xfAg9", "1-3 4-5 ");
    expect("[\\h-]+", "x-f", "1-3 ");
    expect("x$", "x\nx", "0-1 2-3 ");
    expect("^x", "x\nx", "0-1 2-3 ");
    expect("\\w+", "a\xcc\x81_- 9", "0-4 6-7 "); /* marks are part of words */
    expect("[a-z&&[^aeiou]]+", "hello world", "0-1 2-4 6-7 8-11 ");
    expect("[a-z&&[^aeiou]&&[^l]]", "hello", "0-1 ");
    expect("[[:digit:]]+", "a12", "1-3 ");
    expect("[]a]+", "]a", "0-2 ");
    expect("\\[x\\]", "[x]", "0-3 ");
    expect("(?=(\\d{3})+(?!\\d))", "1234", "1-1 ");
    expect("(?i:'s)", "'S'\xc5\xbf", "0-2 2-5 ");
}

Test(text_regex, refuses_with_the_place)
{
    static char longest[LIMIT_REGEX_BYTES + 2];
    static const struct {
        const char *pattern, *word;
    } rows[] = {{"a(b", "at byte 3"}, {"[a[b]]", "the class at byte 2"},
        {"[a", "the class at byte 2"}, {"[^a&&[^b]]", "the class"}, {"[a&&b]", "the class"},
        {"\\C", "at byte"}, {"\\", "at byte 1"}};
    struct text_regex *regex = NULL;
    struct base_error err;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        err = (struct base_error){0};
        cr_expect_eq(text_regex_new(rows[i].pattern, strlen(rows[i].pattern), &regex, &err),
            BASE_UNSUPPORTED, "%s", rows[i].pattern);
        cr_expect_not_null(strstr(err.text, rows[i].word), "%s: %s", rows[i].pattern, err.text);
    }
    memset(longest, 'a', sizeof(longest) - 1);
    cr_expect_eq(text_regex_new(longest, sizeof(longest) - 1, &regex, &err), BASE_TOO_BIG);
    cr_expect_null(regex);
}

/* A pattern that tries everything ends at the limit of steps, not with the world. */
Test(text_regex, endless_work_is_refused)
{
    struct text_regex *regex = make("(a|aa|b)*(x|xx)*\\d(a*)*c");
    struct text_regex_run *run = NULL;
    struct base_error err = {0};
    char text[64];
    size_t begin, end;

    memset(text, 'a', sizeof(text));
    cr_assert_eq(text_regex_run_new(&run), BASE_OK);
    int rc = text_regex_next(regex, run, text, sizeof(text), 0, &begin, &end, &err);
    cr_assert(rc == BASE_UNSUPPORTED || rc == BASE_NOT_FOUND, "%d %s", rc, err.text);
    text_regex_destroy(&regex);
    regex = make("(a*)*b\\1(?<!c)");
    rc = text_regex_next(regex, run, text, sizeof(text), 0, &begin, &end, &err);
    cr_assert(rc == BASE_UNSUPPORTED || rc == BASE_NOT_FOUND, "%d %s", rc, err.text);
    text_regex_run_destroy(&run);
    text_regex_destroy(&regex);
}

Test(text_regex, no_memory)
{
    struct text_regex *regex = NULL;
    struct text_regex_run *run = NULL;
    int rc = BASE_NOMEM;

    for (unsigned long n = 1; rc != BASE_OK && n < 50; n++) {
        base_alloc_fail_from(n);
        rc = text_regex_new("\\s+", 3, &regex, NULL);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
    }
    rc = BASE_NOMEM;
    for (unsigned long n = 1; rc != BASE_OK && n < 50; n++) {
        base_alloc_fail_from(n);
        rc = text_regex_run_new(&run);
        base_alloc_fail_from(0);
    }
    cr_assert_eq(rc, BASE_OK);
    text_regex_run_destroy(&run);
    text_regex_destroy(&regex);
}
