#include "base_limits.h"
#include "text_test.h"
#include "text_vocab.h"

Test(text_vocab, bytes_by_name)
{
    cr_assert_eq(text_byte_parse("<0x41>", 6), 0x41);
    cr_assert_eq(text_byte_parse("<0xfF>", 6), 0xff);
    cr_assert_eq(text_byte_parse("<0xG1>", 6), -1);
    cr_assert_eq(text_byte_parse("<0x411", 6), -1);
    cr_assert_eq(text_byte_parse("<0x41>", 5), -1);
}

Test(text_vocab, affixes_have_a_limit)
{
    struct text_affix affix = {0};
    struct base_error err = {0};

    cr_assert_eq(text_affix_add(&affix, -1, &err), BASE_OK);
    cr_assert_eq(affix.count, 0);
    for (int i = 0; i < LIMIT_TOKENIZER_AFFIX; i++)
        cr_assert_eq(text_affix_add(&affix, i, &err), BASE_OK);
    cr_assert_eq(text_affix_add(&affix, 1, &err), BASE_TOO_BIG);
    cr_assert_not_null(strstr(err.text, "LIMIT_TOKENIZER_AFFIX"));
}

/* Words are cut at spaces exactly where no token could go on behind one. */
Test(text_vocab, where_words_may_be_cut)
{
    static struct text_gguf_writer writer;

    for (int inner = 0; inner < 2; inner++) {
        static const char *const names[2][4] = {
            {"<unk>", "\xe2\x96\x81", "\xe2\x96\x81\xe2\x96\x81", "a"},
            {"<unk>", "\xe2\x96\x81", "a", "a\xe2\x96\x81"}};
        text_gguf_begin(&writer);
        text_gguf_string(&writer, "tokenizer.ggml.model", "llama");
        text_gguf_array(&writer, "tokenizer.ggml.tokens", 8, 4);
        for (int i = 0; i < 4; i++)
            text_gguf_put_string(&writer, names[inner][i], strlen(names[inner][i]));
        text_gguf_array(&writer, "tokenizer.ggml.scores", 6, 4);
        for (int i = 0; i < 4; i++)
            text_gguf_put_u32(&writer, 0);
        struct text_tokenizer *tokenizer = text_test_open(&writer);
        cr_assert_eq(tokenizer->cuts_at_spaces, inner == 0);
        /* "▁a▁▁a": with "a▁" as a token, the one that it makes crosses the border. */
        text_test_expect(tokenizer, "a  a", 4, 0, inner == 0 ? "1 3 2 3" : "1 3 1 2");
        text_tokenizer_close(&tokenizer);
    }
}
