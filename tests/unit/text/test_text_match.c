#include "text_match.h"
#include "text_regex.h"
#include "text_split.h"
#include "text_test.h"
#include "text_unicode.h"

/* Characters at which the patterns decide. */
static const uint32_t some[] = {'a', 'b', 'S', 'T', 's', 't', 'r', 'e', 'v', 'm', 'l', 'd', 'D',
    'L', '\'', '\'', ' ', ' ', ' ', '\n', '\r', '\t', '1', '2', '3', '.', '/', '!', '$', 0x17f,
    0x212a, 0xa0, 0x85, 0x3000, 0x180e, 0x200b, 0x301, 0x302, 0x903, 0x4e2d, 0x6587, 0xe9, 0xc9,
    0x1c5, 0x2b0, 0x661, 0x2167, 0xb2, 0x20ac, 0x1f600, 0x10400, 0x10428, 0};

static size_t random_text(char *text, size_t characters, uint64_t *random, bool any)
{
    size_t bytes = 0;

    for (size_t i = 0; i < characters; i++) {
        uint32_t c = some[text_test_random(random) % (sizeof(some) / sizeof(some[0]))];
        if (any && text_test_random(random) % 4 == 0) {
            c = text_test_random(random) % 0x30000;
            if (c >= 0xd800 && c < 0xe000)
                c = 'x';
        }
        /* Runs, so that repetitions meet their ends. */
        for (uint32_t run = 1 + (text_test_random(random) % 5 == 0 ? 4 : 0); run > 0; run--)
            bytes += text_unicode_put(c, text + bytes);
    }
    return bytes;
}

/* Whether both libraries know the character alike: their versions of Unicode may differ. */
static bool known_alike(struct text_regex *const *classes, struct text_regex_run *run, uint32_t c)
{
    char text[4];
    size_t bytes = text_unicode_put(c, text), begin, end;
    bool found[4];

    for (int i = 0; i < 4; i++)
        found[i] = text_regex_next(classes[i], run, text, bytes, 0, &begin, &end, NULL) == BASE_OK;
    return found[0] == text_unicode_is_number(c) && found[1] == text_unicode_is_mark(c) &&
           found[2] == text_unicode_is_space(c) &&
           found[3] ==
               (text_unicode_is_word(c) && !text_unicode_is_number(c) && !text_unicode_is_mark(c) &&
                   c != '_' && c != 0x200c && c != 0x200d && !text_unicode_is_punctuation(c));
}

static struct text_regex *make(const char *pattern)
{
    struct text_regex *regex = NULL;

    cr_assert_eq(text_regex_new(pattern, strlen(pattern), &regex, NULL), BASE_OK);
    return regex;
}

static void compare(const struct text_matcher *matcher, const struct text_regex *regex,
    struct text_regex_run *run, const char *text, size_t bytes, const char *pattern)
{
    struct text_match_state state = {0};
    size_t from = 0;

    while (from < bytes) {
        size_t begin = 0, end = 0, expected_begin = 0, expected_end = 0;
        bool found = text_matcher_next(matcher, &state, text, bytes, from, &begin, &end);
        int rc =
            text_regex_next(regex, run, text, bytes, from, &expected_begin, &expected_end, NULL);
        /* At the very end an empty match cuts nothing. */
        if (rc == BASE_OK && expected_begin == bytes)
            rc = BASE_NOT_FOUND;
        cr_assert_eq(
            found, rc == BASE_OK, "%.40s at %zu of \"%.*s\"", pattern, from, (int)bytes, text);
        if (!found)
            return;
        cr_assert(begin == expected_begin && end == expected_end,
            "%.40s at %zu of \"%.*s\": %zu to %zu, expected %zu to %zu", pattern, from, (int)bytes,
            text, begin, end, expected_begin, expected_end);
        from = end;
        if (end == begin) {
            size_t length;
            (void)text_unicode_at(text + end, bytes - end, &length);
            from += length;
        }
    }
}

/* Every matcher is the pattern that it stands for. */
Test(text_match, matchers_agree_with_their_patterns)
{
    static const char *const class_patterns[] = {"\\p{N}", "\\p{M}", "\\s", "\\p{L}"};
    struct text_regex *classes[4];
    struct text_regex_run *run = NULL;
    uint64_t random = 3;

    cr_assert_eq(text_regex_run_new(&run), BASE_OK);
    for (int i = 0; i < 4; i++)
        classes[i] = make(class_patterns[i]);
    cr_assert_geq(text_matcher_count(), 9);
    for (size_t i = 0; i < text_matcher_count(); i++) {
        const char *pattern = text_matcher_pattern(i);
        const struct text_matcher *matcher = text_matcher_find(pattern, strlen(pattern));
        struct text_regex *regex = make(pattern);
        cr_assert_not_null(matcher);
        for (int round = 0; round < 4000; round++) {
            char text[2048];
            size_t bytes =
                random_text(text, 1 + text_test_random(&random) % 24, &random, round % 2 == 1);
            bool alike = true;
            for (size_t at = 0, length; at < bytes; at += length)
                alike = alike &&
                        known_alike(classes, run, text_unicode_at(text + at, bytes - at, &length));
            if (alike)
                compare(matcher, regex, run, text, bytes, pattern);
        }
        text_regex_destroy(&regex);
    }
    for (int i = 0; i < 4; i++)
        text_regex_destroy(&classes[i]);
    text_regex_run_destroy(&run);
}

Test(text_match, only_exact_patterns_are_known)
{
    const char *pattern = text_matcher_pattern(0);

    cr_assert_null(text_matcher_find(pattern, strlen(pattern) - 1));
    cr_assert_null(text_matcher_find("", 0));
}

struct counter {
    size_t words, bytes;
};

static int count_word(void *context, const char *word, size_t bytes)
{
    struct counter *self = context;

    self->words++;
    self->bytes += bytes;
    return BASE_OK;
}

/* A megabyte of digits: the patterns of groups would look at all of them for each group. */
Test(text_match, groups_of_a_long_number)
{
    static const char *const names[] = {"superbpe", "tiny_aya", "afmoe"};
    size_t bytes = 1000000;
    char *text = malloc(bytes);

    memset(text, '7', bytes);
    for (size_t i = 0; i < 3; i++) {
        struct text_split *split = NULL;
        struct text_split_run *run = NULL;
        const struct text_pre *pre;
        struct counter counter = {0};
        cr_assert_eq(text_split_named(names[i], strlen(names[i]), &split, &pre, NULL), BASE_OK);
        cr_assert_eq(text_split_run_new(split, &run), BASE_OK);
        cr_assert_eq(text_split_run(run, text, bytes, true, count_word, &counter, NULL), BASE_OK);
        cr_expect_eq(counter.words, 333334, "%s: %zu", names[i], counter.words);
        cr_expect_eq(counter.bytes, bytes);
        text_split_run_destroy(&run);
        text_split_destroy(&split);
    }
    free(text);
}
