#include "text_pre.h"
#include "text_split.h"
#include "text_test.h"

Test(text_pre, every_name_opens_and_is_recognised)
{
    for (size_t i = 0; i < text_pre_count(); i++) {
        const struct text_pre *row = text_pre_at(i), *found = NULL, *again;
        struct text_split *split = NULL;
        struct base_error err = {0};
        const char *name = text_pre_name(row), *written = NULL;
        char first[64];

        /* The name to write is the first of the list, and every name of the list finds the row. */
        cr_assert_eq(sscanf(row->names, " %63s", first), 1);
        cr_expect_str_eq(first, name);
        cr_assert_eq(
            text_split_named(name, strlen(name), &split, &found, &err), BASE_OK, "%s", err.text);
        cr_expect_eq(found, row, "%s", name);
        char *names = strdup(row->names);
        for (char *rest = names, *one; (one = strtok_r(rest, " ", &rest)) != NULL;)
            cr_expect_eq(text_pre_find(one, strlen(one)), row, "%s", one);
        free(names);
        again = text_pre_recognise(split, (row->flags & TEXT_PRE_IGNORES_MERGES) != 0,
            (row->flags & TEXT_PRE_NFC) != 0, &written);
        if ((row->flags & (TEXT_PRE_RAW | TEXT_PRE_ADDS_EOS)) == 0)
            cr_expect(again != NULL && again->patterns[0] != NULL &&
                          strcmp(again->patterns[0], row->patterns[0]) == 0,
                "%s", name);
        text_split_destroy(&split);
    }
}

Test(text_pre, names_and_what_they_imply)
{
    static const char *const unknown[] = {"", " ", "llama", "gpt-2 ", "llama-bpe llama3"};
    static const struct {
        const char *name;
        unsigned flags;
    } known[] = {{"llama3", TEXT_PRE_IGNORES_MERGES | TEXT_PRE_ADDS_BOS}, {"smollm", 0},
        {"phi-2", 0}, {"kanana2", 0}, {"minerva-7b", 0}, {"qwen2", TEXT_PRE_NFC},
        {"deepseek-r1-qwen", 0}, {"tekken", TEXT_PRE_IGNORES_MERGES | TEXT_PRE_ADDS_BOS},
        {"chameleon", TEXT_PRE_ADDS_BOS}, {"gemma4", TEXT_PRE_RAW | TEXT_PRE_FORCES_BOS}};
    struct text_split *split = NULL;
    const struct text_pre *pre = NULL;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        pre = text_pre_find(known[i].name, strlen(known[i].name));
        cr_assert_not_null(pre, "%s", known[i].name);
        cr_expect_eq(pre->flags, known[i].flags, "%s", known[i].name);
    }
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        cr_expect_eq(
            text_split_named(unknown[i], strlen(unknown[i]), &split, &pre, NULL), BASE_UNSUPPORTED);
    cr_expect_eq(text_split_named("gpt-2\0", 6, &split, &pre, NULL), BASE_UNSUPPORTED);
    cr_expect_null(split);
}

/* A line end in a pattern is the same written as one or as \n. */
Test(text_pre, patterns_are_compared_by_meaning)
{
    struct text_split *split = NULL;
    const char *name = NULL;
    static const char pattern[] = "[^\n]+|[\\n]+", digits[] = "\\p{N}";

    cr_assert_eq(text_split_new(&split), BASE_OK);
    cr_assert_eq(
        text_split_add_regex(split, pattern, sizeof(pattern) - 1, TEXT_SPLIT_ISOLATED, false, NULL),
        BASE_OK);
    cr_assert_null(text_pre_recognise(split, false, false, &name));
    text_split_destroy(&split);
    cr_assert_eq(text_split_new(&split), BASE_OK);
    cr_assert_eq(text_split_add_regex(split, digits, 5, TEXT_SPLIT_ISOLATED, false, NULL), BASE_OK);
    cr_assert_eq(text_split_add_regex(
                     split, text_pre_gpt2, strlen(text_pre_gpt2), TEXT_SPLIT_ISOLATED, false, NULL),
        BASE_OK);
    cr_assert_not_null(text_pre_recognise(split, false, false, &name));
    cr_assert_str_eq(name, "starcoder");
    cr_assert_null(text_pre_recognise(split, true, false, &name));
    text_split_destroy(&split);
}
