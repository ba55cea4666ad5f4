#include "base_alloc.h"
#include "text_decode.h"
#include "text_json_small.h"
#include "text_stream.h"
#include "text_test.h"

static void expect(const struct text_tokenizer *tokenizer, const uint32_t *ids, size_t count,
    bool controls, const char *expected)
{
    char *text = NULL;
    size_t bytes;

    cr_assert_eq(text_decode(tokenizer, ids, count, controls, &text, &bytes), BASE_OK);
    cr_expect(bytes == strlen(expected) && strcmp(text, expected) == 0, "\"%s\", expected \"%s\"",
        text, expected);
    base_free(text);
}

Test(text_decode, the_first_space_is_not_the_models)
{
    struct text_tokenizer *spm = text_test_spm(), *bpe = text_test_bpe("gpt-2");

    expect(spm, (uint32_t[]){SPM_SPACE_A, SPM_SPACE_A}, 2, false, "a a");
    expect(spm, (uint32_t[]){SPM_SPACE, SPM_SPACE, SPM_A}, 3, false, " a");
    expect(spm, (uint32_t[]){SPM_BOS, SPM_SPACE_A, SPM_EOS}, 3, false, "a");
    expect(spm, (uint32_t[]){SPM_BOS, SPM_SPACE_A, SPM_EOS}, 3, true, "<s> a</s>");
    expect(spm, (uint32_t[]){0xc3, 0xa9, 100000}, 3, false, "\xc3\xa9");
    expect(bpe, (uint32_t[]){BPE_SPACE_HE, BPE_USER, BPE_END}, 3, false, " he<user>");
    expect(bpe, NULL, 0, true, "");
    text_tokenizer_close(&spm);
    text_tokenizer_close(&bpe);
}

static struct text_tokenizer *open_json(const char *json)
{
    struct text_tokenizer *tokenizer = NULL;

    cr_assert_eq(text_tokenizer_open_json(json, strlen(json), &tokenizer, NULL), BASE_OK);
    return tokenizer;
}

Test(text_decode, every_kind_joins_its_tokens)
{
    struct text_tokenizer *unigram = open_json(text_json_unigram);
    struct text_tokenizer *wordpiece = open_json(text_json_wordpiece);
    struct text_tokenizer *words = open_json(text_json_words);

    expect(unigram, (uint32_t[]){2, 2, 6}, 3, false, "  ab");
    expect(unigram, (uint32_t[]){6, 2, 6}, 3, false, "ab  ab");
    expect(wordpiece, (uint32_t[]){1, 3, 4, 6, 7, 2}, 6, false, "undo do.");
    expect(wordpiece, (uint32_t[]){1, 3, 4, 6, 7, 2}, 6, true, "[CLS] undo do. [SEP]");
    expect(words, (uint32_t[]){1, 2, 3}, 3, false, "hello world !");
    expect(words, (uint32_t[]){0, 1}, 2, true, "[UNK] hello");
    text_tokenizer_close(&unigram);
    text_tokenizer_close(&wordpiece);
    text_tokenizer_close(&words);
}

/* Stop strings and whole characters, whatever the kind. */
Test(text_decode, streams_stop_for_every_kind)
{
    static const char *const files[] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece, text_json_words};
    static const char *const texts[] = {"ab abc", "ab ab", "ab b", "undo do.", "hello world"};
    static const char *const stops[] = {" ab", " ab", " b", " do", " wor"};
    static const char *const expected[] = {"ab", "ab", "ab", "undo", "hello"};

    for (size_t i = 0; i < 5; i++) {
        struct text_tokenizer *tokenizer = open_json(files[i]);
        struct text_stop stop = {stops[i], strlen(stops[i])};
        struct text_stream *stream = NULL;
        char got[64] = "";
        bool stopped = false;
        const char *part;
        size_t bytes;
        struct text_ids ids =
            text_test_encode(tokenizer, texts[i], strlen(texts[i]), TEXT_ADD_SPECIAL);
        cr_assert_eq(text_stream_new(tokenizer, &stop, 1, false, &stream), BASE_OK);
        for (size_t k = 0; k < ids.count && !stopped; k++) {
            cr_assert_eq(text_stream_push(stream, ids.ids[k], &part, &bytes, &stopped), BASE_OK);
            (void)strncat(got, part, bytes);
        }
        cr_expect(stopped, "%s", texts[i]);
        cr_expect_str_eq(got, expected[i]);
        text_stream_destroy(&stream);
        text_ids_release(&ids);
        text_tokenizer_close(&tokenizer);
    }
}

Test(text_decode, no_memory)
{
    struct text_tokenizer *spm = text_test_spm();
    char *text = NULL;
    size_t bytes;
    uint32_t ids[40] = {0};

    base_alloc_fail_from(1);
    cr_assert_eq(text_decode(spm, ids, 40, false, &text, &bytes), BASE_NOMEM);
    base_alloc_fail_from(2);
    cr_assert_eq(text_decode(spm, ids, 40, false, &text, &bytes), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(text);
    text_tokenizer_close(&spm);
}
