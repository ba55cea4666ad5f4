#include "base_alloc.h"
#include "text_split.h"
#include "text_test.h"

#define TEXT_COUNT 3

/* English with digits and line ends; several scripts, marks and odd spaces; spaces only. */
static const char *const texts[TEXT_COUNT] = {
    "It's  THEY'RE 12345 \012\012 x\015\012\011$5.00!/\012",
    "HelloWorld \303\251\303\211 e\314\201 "
    "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234 \331\241\331\242\331\243 "
    "a\341\240\216b\342\200\203c <b>`q`~ we'LL  ",
    "  a\302\240 b   ",
};

/* What the published patterns give with Python's regex module; pieces stand between bars. */
static const struct {
    const char *pre;
    const char *expected[TEXT_COUNT];
} rows[] = {
    {"gpt-2",
        {"It|'s| | THEY|'|RE| 12345| \012\012| x|\015\012|\011|$|5|.|00|!/|\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "\331\241\331\242\331\243| a|\341\240\216|b|\342\200\203|c| <|b|>`|q|`~| we|'|LL|  ",
            " | a|\302\240| b|   "}},
    {"llama-bpe",
        {"It|'s| | THEY|'RE| |123|45| \012\012| x|\015\012|\011|$|5|.|00|!/\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241\331\242\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we|'LL|  ",
            " | a|\302\240| b|   "}},
    {"qwen2",
        {"It|'s| | THEY|'RE| |1|2|3|4|5| \012\012| x|\015\012|\011|$|5|.|0|0|!/\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241|\331\242|\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we|'LL|  ",
            " | a|\302\240| b|   "}},
    {"qwen35",
        {"It|'s| | THEY|'RE| |1|2|3|4|5| \012\012| x|\015\012|\011|$|5|.|0|0|!/\012",
            "HelloWorld| \303\251\303\211| e\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241|\331\242|\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we|'LL|  ",
            " | a|\302\240| b|   "}},
    {"starcoder",
        {"It|'s| | THEY|'|RE| |1|2|3|4|5| \012\012| x|\015\012|\011|$|5|.|0|0|!/|\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241|\331\242|\331\243| a|\341\240\216|b|\342\200\203|c| <|b|>`|q|`~| we|'|LL|  ",
            " | a|\302\240| b|   "}},
    {"falcon",
        {"It|'|s| | THEY|'|RE| |123|45| \012\012| x|\015\012\011|$|5|.|00|!/|\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "\331\241\331\242\331\243| a|\341\240\216|b|\342\200\203|c| |<|b|>`|q|`~| we|'|LL|  ",
            " | a|\302\240| b|   "}},
    {"deepseek-coder",
        {"It|'|s| | THEY|'|RE| |1|2|3|4|5| |\012|\012| x|\015|\012|\011$|5|.|0|0|!/|\012",
            "HelloWorld| \303\251\303\211| e|\314\201| "
            "|\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241|\331\242|\331\243| a|\341\240\216|b|\342\200\203|c| <|b|>`|q|`~| we|'|LL|  ",
            " | a|\302\240| b|   "}},
    {"deepseek-v3",
        {"It|'s| | THEY|'RE| |123|45| \012\012| x|\015\012|\011|$|5|.|00|!/\012",
            "HelloWorld| \303\251\303\211| e\314\201| "
            "|\344\270\255\346\226\207\343\201\213\343\201\252|\355\225\234| "
            "|\331\241\331\242\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we|'LL|  ",
            " | a|\302\240| b|   "}},
    {"gpt-4o",
        {"It's| | THEY'RE| |123|45| \012\012| x|\015\012|\011|$|5|.|00|!/\012",
            "Hello|World| \303\251|\303\211| e\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241\331\242\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we'LL|  ",
            " | a|\302\240| b|   "}},
    {"tekken",
        {"It|'s| | THEY|'RE| |1|2|3|4|5| \012\012| x|\015\012|\011|$|5|.|0|0|!/\012",
            "Hello|World| \303\251|\303\211| e\314\201| "
            "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
            "|\331\241|\331\242|\331\243| a|\341\240\216b|\342\200\203c| <|b|>`|q|`~| we|'LL|  ",
            " | a|\302\240| b|   "}},
    {"default", {"It|'|s| | THEY|'|RE| |123|45| \012\012| x|\015\012\011|$|5|.|00|!/|\012",
                    "HelloWorld| \303\251\303\211| e|\314\201| "
                    "\344\270\255\346\226\207\343\201\213\343\201\252\355\225\234| "
                    "|\331\241\331\242\331\243| a|\341\240\216|b|\342\200\203|c| |<|b|>|`|q|`|~| "
                    "we|'|LL|  ",
                    " | a|\302\240| b|   "}},
};

struct joined {
    char text[512];
    size_t bytes;
    int piece_count, pieces_max;
};

static int join(void *context, const char *piece, size_t bytes)
{
    struct joined *self = context;

    if (self->piece_count == self->pieces_max)
        return BASE_FULL;
    if (self->piece_count++ > 0)
        self->text[self->bytes++] = '|';
    memcpy(self->text + self->bytes, piece, bytes);
    self->bytes += bytes;
    return BASE_OK;
}

Test(text_split, cuts_as_the_published_patterns_do)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text_split *split = NULL;
        struct text_split_run *run = NULL;
        cr_assert_eq(text_split_new(rows[i].pre, strlen(rows[i].pre), &split, NULL), BASE_OK);
        cr_assert_eq(text_split_run_new(split, &run), BASE_OK);
        for (size_t k = 0; k < TEXT_COUNT; k++) {
            struct joined joined = {.pieces_max = 1000};
            cr_assert_eq(
                text_split_run(run, texts[k], strlen(texts[k]), join, &joined, NULL), BASE_OK);
            cr_expect_str_eq(joined.text, rows[i].expected[k], "%s: %s, expected %s", rows[i].pre,
                joined.text, rows[i].expected[k]);
        }
        text_split_run_destroy(&run);
        text_split_destroy(&split);
    }
}

Test(text_split, a_sink_can_end_the_run)
{
    struct text_split *split = NULL;
    struct text_split_run *run = NULL;
    struct joined joined = {.pieces_max = 2};

    cr_assert_eq(text_split_new("starcoder", 9, &split, NULL), BASE_OK);
    cr_assert_eq(text_split_run_new(split, &run), BASE_OK);
    cr_assert_eq(text_split_run(run, "a b c d", 7, join, &joined, NULL), BASE_FULL);
    cr_assert_str_eq(joined.text, "a| b");
    text_split_run_destroy(&run);
    text_split_run_destroy(&run);
    text_split_destroy(&split);
    text_split_destroy(&split);
}

Test(text_split, names_and_what_they_imply)
{
    static const char *const known[] = {"llama3", "smollm", "phi-2", "kanana2", "minerva-7b"};
    static const char *const unknown[] = {"", " ", "llama", "gpt-2 ", "llama-bpe llama3"};
    struct text_split *split = NULL;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        cr_expect_eq(text_split_new(known[i], strlen(known[i]), &split, NULL), BASE_OK);
        cr_expect_eq(text_split_ignores_merges(split), i == 0);
        cr_expect_eq(text_split_adds_bos(split), i == 0);
        text_split_destroy(&split);
    }
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        cr_expect_eq(
            text_split_new(unknown[i], strlen(unknown[i]), &split, NULL), BASE_UNSUPPORTED);
    cr_expect_eq(text_split_new("gpt-2\0", 6, &split, NULL), BASE_UNSUPPORTED);
    cr_expect_null(split);
}
