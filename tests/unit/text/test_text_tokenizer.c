#include "base_alloc.h"
#include "base_limits.h"
#include "text_test.h"
#include "text_tokenizer.h"

#define ALL (TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL)

Test(text_tokenizer, spm_merges_by_score_and_leftmost_of_equals)
{
    struct text_tokenizer *tokenizer = text_test_spm();

    /* 258 and so on: enum text_small_spm. "ab" has the best score, then "aa", then "▁a". */
    text_test_expect(tokenizer, "aab", 3, 0, "264 263");
    text_test_expect(tokenizer, "aaa", 3, 0, "259 262 260");
    text_test_expect(tokenizer, "b aaaa", 6, 0, "259 261 259 265");
    text_test_expect(tokenizer, "", 0, 0, "");
    text_test_expect(tokenizer, "", 0, TEXT_ADD_SPECIAL, "257");
    text_test_expect(tokenizer, "a", 1, TEXT_ADD_SPECIAL, "257 264");
    text_tokenizer_close(&tokenizer);
    cr_assert_null(tokenizer);
    text_tokenizer_close(&tokenizer);
}

Test(text_tokenizer, spm_falls_back_to_bytes)
{
    struct text_tokenizer *tokenizer = text_test_spm();

    text_test_expect(tokenizer, "\xc3\xa9", 2, 0, "259 195 169");
    text_test_expect(tokenizer, "\xff\xc3", 2, 0, "259 255 195");
    text_test_expect(tokenizer, "\0z", 2, 0, "259 0 122");
    text_test_expect(tokenizer, "<0x41>", 6, 0, "259 60 48 120 52 49 62");
    text_tokenizer_close(&tokenizer);
}

Test(text_tokenizer, added_tokens_are_found_as_the_flags_say)
{
    struct text_tokenizer *spm = text_test_spm(), *bpe = text_test_bpe("gpt-2");

    text_test_expect(spm, "<s>a", 4, 0, "259 60 115 62 260");
    text_test_expect(spm, "<s>a", 4, TEXT_PARSE_SPECIAL, "257 264");
    text_test_expect(spm, "a<user>a", 8, 0, "264 266 264");
    /* The file calls <|im_end|> user-defined, but it is markup. */
    text_test_expect(spm, "<|im_end|>", 10, TEXT_PARSE_SPECIAL, "268");
    text_test_expect(spm, "<|im_end|>", 10, 0, "259 60 124 105 109 95 101 110 100 124 62");
    text_test_expect(bpe, "<user>longe<user>longer", 23, 0, "266 108 111 110 103 101 267");
    text_test_expect(
        bpe, "<|im_start|>he", 14, 0, "60 124 105 109 95 115 116 97 114 116 124 62 256");
    text_test_expect(bpe, "<|im_start|>he", 14, ALL, "264 256");
    text_test_expect(bpe, "<|im_start|", 11, ALL, "60 124 105 109 95 115 116 97 114 116 124");
    text_test_expect(bpe, "unused", 6, ALL, "117 110 117 115 101 100");
    text_tokenizer_close(&spm);
    text_tokenizer_close(&bpe);
}

Test(text_tokenizer, bpe_merges_by_rank)
{
    struct text_tokenizer *gpt2 = text_test_bpe("gpt-2"), *llama3 = text_test_bpe("llama-bpe");

    text_test_expect(gpt2, "hello he", 8, 0, "258 111 260");
    text_test_expect(llama3, "hello he", 8, 0, "259 260"); /* the whole piece is a token */
    text_test_expect(gpt2, "aaaaa", 5, 0, "262 97");
    text_test_expect(gpt2, "aaaaaaa", 7, 0, "262 261 97");
    /* x and y merge to something that is no token. */
    text_test_expect(gpt2, "xyz", 3, 0, "120 121 122");
    text_test_expect(gpt2, "he\xff\xe2\x82he", 7, 0, "256 255 226 130 256");
    text_test_expect(gpt2, "\xe2\x82\xac", 3, 0, "226 130 172");
    text_test_expect(gpt2, "he", 2, TEXT_ADD_SPECIAL, "256");
    text_test_expect(llama3, "he", 2, TEXT_ADD_SPECIAL, "263 256"); /* the name implies BOS */
    text_tokenizer_close(&gpt2);
    text_tokenizer_close(&llama3);
}

Test(text_tokenizer, answers_about_tokens)
{
    struct text_tokenizer *spm = text_test_spm(), *bpe = text_test_bpe("qwen2");
    size_t bytes;

    cr_assert_eq(text_vocab_size(spm), 269);
    cr_assert_eq(text_bos_id(spm), SPM_BOS);
    cr_assert_eq(text_eos_id(spm), SPM_EOS);
    cr_assert_eq(text_find(spm, "<user>"), SPM_USER);
    cr_assert_eq(text_find(spm, "nothing"), -1);
    cr_assert_null(text_chat_template(spm));
    cr_assert(text_is_end(spm, SPM_EOS) && text_is_end(spm, SPM_IM_END));
    cr_assert(!text_is_end(spm, SPM_BOS) && !text_is_end(spm, SPM_IM_START));
    cr_assert(!text_is_end(spm, UINT32_MAX) && !text_is_control(spm, UINT32_MAX));
    cr_assert(text_is_control(spm, SPM_IM_END) && !text_is_control(spm, SPM_USER));
    cr_assert(text_is_end(bpe, BPE_END) && text_is_end(bpe, BPE_IM_END));

    const char *piece = text_piece(spm, SPM_SPACE_A, &bytes);
    cr_assert(bytes == 2 && memcmp(piece, " a", 2) == 0);
    piece = text_piece(spm, 0x41, &bytes);
    cr_assert(bytes == 1 && piece[0] == 0x41);
    (void)text_piece(spm, SPM_BOS, &bytes);
    cr_assert_eq(bytes, 0);
    (void)text_piece(spm, SPM_UNKNOWN, &bytes);
    cr_assert_eq(bytes, 0);
    piece = text_piece(bpe, BPE_SPACE_HE, &bytes);
    cr_assert(bytes == 3 && memcmp(piece, " he", 3) == 0);
    piece = text_piece(bpe, BPE_USER, &bytes);
    cr_assert(bytes == 6 && memcmp(piece, "<user>", 6) == 0);
    (void)text_piece(bpe, BPE_UNUSED, &bytes);
    cr_assert_eq(bytes, 0);
    text_tokenizer_close(&spm);
    text_tokenizer_close(&bpe);
}

Test(text_tokenizer, the_file_decides_about_bos_eos_and_the_space_in_front)
{
    static struct text_gguf_writer writer;

    text_gguf_small_spm(&writer);
    text_gguf_bool(&writer, "tokenizer.ggml.add_bos_token", 0);
    text_gguf_bool(&writer, "tokenizer.ggml.add_eos_token", 1);
    text_gguf_bool(&writer, "tokenizer.ggml.add_space_prefix", 0);
    text_gguf_string(&writer, "tokenizer.chat_template", "{{ x }}");
    text_gguf_u32(&writer, "tokenizer.ggml.eot_token_id", SPM_B);
    struct text_tokenizer *tokenizer = text_test_open(&writer);
    text_test_expect(tokenizer, "a", 1, TEXT_ADD_SPECIAL, "260 258");
    cr_assert_str_eq(text_chat_template(tokenizer), "{{ x }}");
    cr_assert(text_is_end(tokenizer, SPM_B));
    text_tokenizer_close(&tokenizer);
}

/* Without byte tokens an unknown character is one unknown token. */
Test(text_tokenizer, the_unknown_token_stands_in)
{
    static const char *const names[] = {"<unk>", "\xe2\x96\x81", "a"};
    static struct text_gguf_writer writer;

    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "llama");
    text_gguf_array(&writer, "tokenizer.ggml.tokens", 8, 3);
    for (int i = 0; i < 3; i++)
        text_gguf_put_string(&writer, names[i], strlen(names[i]));
    text_gguf_array(&writer, "tokenizer.ggml.scores", 6, 3);
    for (int i = 0; i < 3; i++)
        text_gguf_put_u32(&writer, 0);
    struct text_tokenizer *tokenizer = text_test_open(&writer);
    text_test_expect(tokenizer,
        "a\xe2\x82\xac"
        "a",
        5, 0, "1 2 0 2");
    /* Ids that a file may leave out do not exist in a vocabulary this small. */
    cr_assert_eq(text_eos_id(tokenizer), 2);
    text_tokenizer_close(&tokenizer);
}

static void expect_refused(const struct text_gguf_writer *writer, int code, const char *word)
{
    struct gguf *file = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    cr_assert_eq(gguf_open_memory(writer->data, writer->bytes, "small.gguf", &file, &err), BASE_OK,
        "%s", err.text);
    cr_expect_eq(text_tokenizer_open(file, &tokenizer, &err), code, "%s: %s", word, err.text);
    cr_expect_null(tokenizer);
    cr_expect_eq(err.code, code);
    cr_expect_not_null(strstr(err.text, word), "\"%s\" not in \"%s\"", word, err.text);
    cr_expect_not_null(strstr(err.text, "small.gguf"), "no file in \"%s\"", err.text);
    gguf_close(&file);
}

Test(text_tokenizer, what_is_not_known_is_refused_by_name)
{
    static struct text_gguf_writer writer;

    text_gguf_begin(&writer);
    expect_refused(&writer, BASE_MALFORMED, "tokenizer.ggml.model");
    text_gguf_string(&writer, "tokenizer.ggml.model", "rwkv");
    expect_refused(&writer, BASE_UNSUPPORTED, "\"rwkv\" is not known; known: llama gpt2");
    text_gguf_small_bpe(&writer, "pre-of-tomorrow");
    expect_refused(&writer, BASE_UNSUPPORTED, "\"pre-of-tomorrow\" is not known");
    expect_refused(&writer, BASE_UNSUPPORTED, " llama-bpe ");
    text_gguf_small_bpe(&writer, "gpt-2 phi-2");
    expect_refused(&writer, BASE_UNSUPPORTED, "\"gpt-2 phi-2\"");
    text_gguf_small_bpe(&writer, "");
    expect_refused(&writer, BASE_UNSUPPORTED, "\"\"");
}

Test(text_tokenizer, malformed_vocabularies_are_refused)
{
    static struct text_gguf_writer writer;
    static char longest[600];
    const char *name = longest;

    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "llama");
    expect_refused(&writer, BASE_MALFORMED, "tokenizer.ggml.tokens is missing");
    text_gguf_array(&writer, "tokenizer.ggml.tokens", 8, 0);
    expect_refused(&writer, BASE_MALFORMED, "0 tokens");

    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "llama");
    text_gguf_array(&writer, "tokenizer.ggml.tokens", 4, 1);
    text_gguf_put_u32(&writer, 7);
    expect_refused(&writer, BASE_MALFORMED, "not strings");

    memset(longest, 'x', sizeof(longest) - 1);
    for (int fault = 0; fault < 5; fault++) {
        text_gguf_begin(&writer);
        text_gguf_string(&writer, "tokenizer.ggml.model", "llama");
        text_gguf_array(&writer, "tokenizer.ggml.tokens", 8, 1);
        text_gguf_put_string(&writer, name, fault == 4 ? strlen(name) : 1);
        text_gguf_array(&writer, "tokenizer.ggml.token_type", 5, fault == 0 ? 0 : 1);
        if (fault != 0)
            text_gguf_put_u32(&writer, 3);
        if (fault != 1) {
            text_gguf_array(&writer, "tokenizer.ggml.scores", 6, 1);
            text_gguf_put_u32(&writer, fault == 2 ? 0x7fc00000 : 0);
        }
        text_gguf_u32(&writer, "tokenizer.ggml.eos_token_id", fault == 3 ? 1 : 0);
        static const char *const words[] = {"token_type: no integer for token 0",
            "tokenizer.ggml.scores is missing", "scores: no number for token 0",
            "eos_token_id: 1, but there are 1 tokens", "added token 0 has 599 bytes"};
        expect_refused(&writer, BASE_MALFORMED, words[fault]);
    }
}

Test(text_tokenizer, malformed_merges_are_refused)
{
    static const char *const bad[] = {"", "ab", " b", "a ", "a"};
    static struct text_gguf_writer writer;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        text_gguf_begin(&writer);
        text_gguf_string(&writer, "tokenizer.ggml.model", "gpt2");
        text_gguf_tokens(&writer, 0, NULL, 0);
        text_gguf_merges(&writer, &bad[i], 1);
        expect_refused(&writer, BASE_MALFORMED, "rule 0 is not two parts");
    }
    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "gpt2");
    text_gguf_tokens(&writer, 0, NULL, 0);
    expect_refused(&writer, BASE_MALFORMED, "merges is missing");
}

Test(text_tokenizer, running_out_of_memory_leaves_nothing_behind)
{
    static struct text_gguf_writer writer;
    static const char text[] = "hello <user>\xff <|im_end|> aaaaaa";

    for (int kind = 0; kind < 2; kind++) {
        struct gguf *file = NULL;
        struct text_tokenizer *tokenizer = NULL;
        struct text_ids ids = {0};
        int rc = BASE_NOMEM;

        if (kind == 0)
            text_gguf_small_spm(&writer);
        else
            text_gguf_small_bpe(&writer, "llama-bpe");
        text_gguf_string(&writer, "tokenizer.chat_template", "x");
        cr_assert_eq(
            gguf_open_memory(writer.data, writer.bytes, "small.gguf", &file, NULL), BASE_OK);
        unsigned long n = 1;
        for (; rc != BASE_OK && n < 5000; n++) {
            struct base_error err = {0};
            base_alloc_fail_from(n);
            rc = text_tokenizer_open(file, &tokenizer, &err);
            base_alloc_fail_from(0);
            cr_assert(rc == BASE_OK || (rc == BASE_NOMEM && err.code == BASE_NOMEM), "at %lu: %s",
                n, err.text);
        }
        cr_assert(rc == BASE_OK && n > 10);
        rc = BASE_NOMEM;
        for (n = 1; rc != BASE_OK && n < 1000; n++) {
            struct base_error err = {0};
            base_alloc_fail_from(n);
            rc = text_encode(tokenizer, text, sizeof(text) - 1, ALL, &ids, &err);
            base_alloc_fail_from(0);
            cr_assert(
                rc == BASE_OK || (rc == BASE_NOMEM && ids.count == 0), "at %lu: %s", n, err.text);
        }
        cr_assert(rc == BASE_OK && n > 4);
        text_ids_release(&ids);
        text_tokenizer_close(&tokenizer);
        gguf_close(&file);
    }
}

Test(text_tokenizer, too_much_text_is_refused_and_ids_stay)
{
    struct text_tokenizer *tokenizer = text_test_spm();
    struct text_ids ids = text_test_encode(tokenizer, "ab", 2, 0);
    struct base_error err = {0};
    size_t count = ids.count;
    char *text = calloc(1, LIMIT_PROMPT_BYTES + 1);

    cr_assert_eq(text_encode(tokenizer, text, LIMIT_PROMPT_BYTES + 1, 0, &ids, &err), BASE_TOO_BIG);
    cr_assert_not_null(strstr(err.text, "4194305 bytes"));
    cr_assert_eq(ids.count, count);
    cr_assert_eq(text_encode(tokenizer, "ab", 2, 0, &ids, &err), BASE_OK);
    cr_assert_eq(ids.count, 2 * count);
    free(text);
    text_ids_release(&ids);
    text_tokenizer_close(&tokenizer);
}

/* A file with one byte changed is refused or gives a tokenizer that works. */
Test(text_tokenizer, changed_bytes_do_no_harm)
{
    static struct text_gguf_writer writer;
    static const char text[] = "hello <user>\xff <|im_end|> aab aaaa\n";
    unsigned opened = 0, refused = 0;

    for (int kind = 0; kind < 2; kind++) {
        if (kind == 0)
            text_gguf_small_spm(&writer);
        else
            text_gguf_small_bpe(&writer, "gpt-2");
        for (size_t at = 24; at < writer.bytes; at += kind == 0 ? 1 : 5) {
            struct gguf *file = NULL;
            struct text_tokenizer *tokenizer = NULL;
            struct base_error err = {0};
            uint8_t before = writer.data[at];

            writer.data[at] ^= (uint8_t)(1u << at % 8);
            if (gguf_open_memory(writer.data, writer.bytes, "changed.gguf", &file, &err) ==
                    BASE_OK &&
                text_tokenizer_open(file, &tokenizer, &err) == BASE_OK) {
                struct text_ids ids = text_test_encode(tokenizer, text, sizeof(text) - 1, ALL);
                for (size_t i = 0; i < ids.count; i++)
                    cr_assert_lt(ids.ids[i], text_vocab_size(tokenizer));
                text_ids_release(&ids);
                opened++;
            } else {
                cr_assert_neq(err.text[0], '\0');
                refused++;
            }
            text_tokenizer_close(&tokenizer);
            gguf_close(&file);
            writer.data[at] = before;
        }
    }
    cr_assert(opened > 1000 && refused > 100, "%u opened, %u refused", opened, refused);
}
