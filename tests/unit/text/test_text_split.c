#include "base_alloc.h"
#include "text_pre.h"
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

static struct text_split *named(const char *name)
{
    struct text_split *split = NULL;
    const struct text_pre *pre = NULL;
    struct base_error err = {0};

    cr_assert_eq(text_split_named(name, strlen(name), &split, &pre, &err), BASE_OK, "%s", err.text);
    return split;
}

Test(text_split, cuts_as_the_published_patterns_do)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text_split *split = NULL;
        struct text_split_run *run = NULL;
        split = named(rows[i].pre);
        cr_assert_eq(text_split_run_new(split, &run), BASE_OK);
        for (size_t k = 0; k < TEXT_COUNT; k++) {
            struct joined joined = {.pieces_max = 1000};
            cr_assert_eq(text_split_run(run, texts[k], strlen(texts[k]), true, join, &joined, NULL),
                BASE_OK);
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

    split = named("starcoder");
    cr_assert_eq(text_split_run_new(split, &run), BASE_OK);
    cr_assert_eq(text_split_run(run, "a b c d", 7, true, join, &joined, NULL), BASE_FULL);
    cr_assert_str_eq(joined.text, "a| b");
    text_split_run_destroy(&run);
    text_split_run_destroy(&run);
    text_split_destroy(&split);
    text_split_destroy(&split);
}
