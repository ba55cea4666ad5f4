#include "base_alloc.h"
#include "base_limits.h"
#include "text_decode.h"
#include "text_json_small.h"
#include "text_test.h"

#define ALL (TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL)

static struct text_tokenizer *open_json(const char *json)
{
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    cr_assert_eq(
        text_tokenizer_open_json(json, strlen(json), &tokenizer, &err), BASE_OK, "%s", err.text);
    return tokenizer;
}

static void expect(const char *json, const char *text, unsigned flags, const char *expected)
{
    struct text_tokenizer *tokenizer = open_json(json);

    text_test_expect(tokenizer, text, strlen(text), flags, expected);
    text_tokenizer_close(&tokenizer);
}

static void expect_decoded(const char *json, const char *text, const char *expected)
{
    struct text_tokenizer *tokenizer = open_json(json);
    struct text_ids ids = text_test_encode(tokenizer, text, strlen(text), ALL);
    char *got = NULL;
    size_t bytes;

    cr_assert_eq(text_decode(tokenizer, ids.ids, ids.count, true, &got, &bytes), BASE_OK);
    cr_expect_str_eq(got, expected, "\"%s\": \"%s\", expected \"%s\"", text, got, expected);
    base_free(got);
    text_ids_release(&ids);
    text_tokenizer_close(&tokenizer);
}

Test(text_json, byte_level_bpe)
{
    expect(text_json_bpe, "ab abc", 0, "4 5 2");
    expect(text_json_bpe, "ab", TEXT_ADD_SPECIAL, "7 4");
    expect(text_json_bpe, "<s>ab<think>", ALL, "7 7 4 8");
    expect(text_json_bpe, "<think>", 0, "8");
    /* Bytes without token have no unknown token either. */
    expect(text_json_bpe, "a?b", 0, "0 1");
    expect_decoded(text_json_bpe, "ab ab<think>", "<s>ab ab<think>");
}

Test(text_json, characters_with_rules_and_bytes)
{
    expect(text_json_llama, "ab ab", 0, "8 8");
    expect(text_json_llama, "b\xc3\xa9", 0, "4 6 2 3");
    expect(text_json_llama, "??", 0, "4 0");        /* unknown ones in a row are one */
    expect(text_json_llama, "<s>  ab", ALL, "1 8"); /* the token takes the spaces behind it */
    expect(text_json_llama, "\xff", 0, "4 0");
    expect_decoded(text_json_llama, "ab \xc3\xa9", "ab \xc3\xa9");
}

Test(text_json, unigram)
{
    /* "▁ab" -5.5 beats "▁" + "ab" -6; "abb" -7 beats "ab" + "b" and "▁ab" + "b" is better still. */
    expect(text_json_unigram, "ab", 0, "6");
    expect(text_json_unigram, "abb", 0, "6 4");
    expect(text_json_unigram, "aabb", 0, "2 3 7");
    expect(text_json_unigram, "a  b ", 0, "2 3 2 2 4");
    expect(text_json_unigram, "xy", TEXT_ADD_SPECIAL, "0 2 1 0");
    expect(text_json_unigram, "\xef\xbd\x81\xef\xbd\x82", 0, "6"); /* fullwidth */
    expect(text_json_unigram, "", 0, "");
    expect_decoded(text_json_unigram, "ab ab", "</s> ab ab</s>");
}

Test(text_json, wordpiece)
{
    expect(text_json_wordpiece, "Undo doing.", 0, "3 4 6 5 7");
    expect(text_json_wordpiece, "undone", 0, "0"); /* the whole word is unknown */
    expect(text_json_wordpiece, "doingg", 0, "0");
    expect(text_json_wordpiece, "undoin", 0, "0"); /* more than five characters */
    expect(text_json_wordpiece, "do", TEXT_ADD_SPECIAL, "1 6 2");
    expect_decoded(text_json_wordpiece, "undo do.", "[CLS] undo do. [SEP]");
}

Test(text_json, words_and_normalised_added_tokens)
{
    expect(text_json_words, "Hello World!", 0, "1 2 3");
    expect(text_json_words, "hello  NEW York!", 0, "1 4 3");
    expect(text_json_words, "hello new yorkers", 0, "1 0 0");
    expect_decoded(text_json_words, "Hello world", "hello world");
}

/* A model of its own around some step. */
static void refused(const char *members, int code, const char *word)
{
    char json[2048];
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    (void)snprintf(json, sizeof(json), "{%s\"model\":" TEXT_JSON_BPE_MODEL "}", members);
    cr_expect_eq(
        text_tokenizer_open_json(json, strlen(json), &tokenizer, &err), code, "%s", err.text);
    cr_expect_null(tokenizer);
    cr_expect_not_null(strstr(err.text, word), "\"%s\" not in \"%s\"", word, err.text);
    cr_expect_not_null(strstr(err.text, "tokenizer.json"), "%s", err.text);
}

Test(text_json, what_is_not_known_is_refused_with_the_place)
{
    refused("\"normalizer\":{\"type\":\"Magic\"},", BASE_UNSUPPORTED, "normalizer: \"Magic\"");
    refused("\"normalizer\":7,", BASE_UNSUPPORTED, "normalizer: \"\"");
    refused("\"normalizer\":{\"type\":\"Replace\",\"content\":\"\"},", BASE_MALFORMED, "pattern");
    refused("\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"},",
        BASE_MALFORMED, "not base64");
    refused("\"normalizer\":{\"type\":\"Sequence\"},", BASE_MALFORMED, "normalizers");
    refused("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a(\"},\"behavior\":"
            "\"Isolated\"},",
        BASE_UNSUPPORTED, "pattern \"a(\"");
    refused("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":"
            "\"Exploded\"},",
        BASE_MALFORMED, "behavior");
    refused("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"},", BASE_UNSUPPORTED, "UnicodeScripts");
    refused("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"},", BASE_MALFORMED,
        "replacement");
    refused("\"decoder\":{\"type\":\"CTC\"},", BASE_UNSUPPORTED, "decoder: \"CTC\"");
    refused("\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":2,\"stop\":0},",
        BASE_UNSUPPORTED, "Strip");
    refused("\"decoder\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"bb\"},",
        BASE_UNSUPPORTED, "longer");
    refused("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
            "\"id\":\"x\"}}]},",
        BASE_MALFORMED, "no ids for \"x\"");
    refused("\"post_processor\":{\"type\":\"Own\"},", BASE_UNSUPPORTED, "\"Own\"");
    refused("\"added_tokens\":[{\"id\":2,\"content\":\"x\"}],", BASE_MALFORMED, "id 2 is both");
    refused("\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}],", BASE_MALFORMED, "is not below");
    refused("\"added_tokens\":[{\"id\":9999999,\"content\":\"x\"}],", BASE_MALFORMED, "not below");
    refused("\"added_tokens\":[{\"content\":\"x\"}],", BASE_MALFORMED, "element 0");
}

Test(text_json, malformed_files_are_refused)
{
    static const struct {
        const char *json;
        int code;
        const char *word;
    } rows[] = {{"", BASE_MALFORMED, "line 1"}, {"{\"a\":\n}", BASE_MALFORMED, "line 2"},
        {"[]", BASE_MALFORMED, "\"model\""}, {"{\"model\":[]}", BASE_MALFORMED, "\"model\""},
        {"{\"model\":{\"type\":\"X\"}}", BASE_UNSUPPORTED, "\"X\" is not known"},
        {"{\"model\":{\"type\":\"BPE\"}}", BASE_MALFORMED, "model.vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", BASE_MALFORMED, "no tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", BASE_MALFORMED, "model.merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", BASE_MALFORMED,
            "rule 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[3]}}", BASE_MALFORMED,
            "rule 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"b\"}}}", BASE_MALFORMED, "no id"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0}}}", BASE_MALFORMED, "both"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{}}}", BASE_UNSUPPORTED,
            "dropout"},
        {"{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\"}}", BASE_UNSUPPORTED,
            "end_of_word_suffix"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[1]]}}", BASE_MALFORMED, "element 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":1,\"vocab\":[[\"a\",0]]}}", BASE_MALFORMED,
            "unk_id"},
        {"{\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":-1,\"vocab\":{}}}",
            BASE_MALFORMED, "max_input_chars"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct text_tokenizer *tokenizer = NULL;
        struct base_error err = {0};
        cr_expect_eq(text_tokenizer_open_json(rows[i].json, strlen(rows[i].json), &tokenizer, &err),
            rows[i].code, "%s: %s", rows[i].json, err.text);
        cr_expect_null(tokenizer);
        cr_expect_not_null(strstr(err.text, rows[i].word), "%s: %s", rows[i].json, err.text);
    }
}

Test(text_json, nesting_and_size_have_a_limit)
{
    static char json[4096];
    size_t used = 0;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    used += (size_t)snprintf(json, sizeof(json), "{\"normalizer\":");
    for (int i = 0; i < LIMIT_TOKENIZER_NESTING + 1; i++)
        used += (size_t)snprintf(
            json + used, sizeof(json) - used, "{\"type\":\"Sequence\",\"normalizers\":[");
    used += (size_t)snprintf(json + used, sizeof(json) - used, "{\"type\":\"NFC\"}");
    for (int i = 0; i < LIMIT_TOKENIZER_NESTING + 1; i++)
        used += (size_t)snprintf(json + used, sizeof(json) - used, "]}");
    (void)snprintf(json + used, sizeof(json) - used, ",\"model\":" TEXT_JSON_BPE_MODEL "}");
    cr_assert_eq(text_tokenizer_open_json(json, strlen(json), &tokenizer, &err), BASE_TOO_BIG);
    cr_assert_not_null(strstr(err.text, "LIMIT_TOKENIZER_NESTING"));
    memset(json, '[', sizeof(json) - 1);
    cr_assert_eq(text_tokenizer_open_json(json, strlen(json), &tokenizer, &err), BASE_MALFORMED);
    cr_assert_eq(
        text_tokenizer_open_json(json, (size_t)LIMIT_TOKENIZER_JSON_BYTES + 1, &tokenizer, &err),
        BASE_TOO_BIG);
}

/* The keys of a view beside the text: ids, ends and the template. */
Test(text_json, keys_beside_the_text)
{
    static struct text_gguf_writer writer;

    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.huggingface.json", text_json_llama);
    text_gguf_string(&writer, "tokenizer.chat_template", "{{ x }}");
    text_gguf_u32(&writer, "tokenizer.ggml.bos_token_id", 1);
    text_gguf_u32(&writer, "tokenizer.ggml.eos_token_id", 5);
    text_gguf_bool(&writer, "tokenizer.ggml.add_bos_token", 1);
    text_gguf_array(&writer, "tokenizer.ggml.eos_token_ids", 4, 2);
    text_gguf_put_u32(&writer, 5);
    text_gguf_put_u32(&writer, 6);
    struct text_tokenizer *tokenizer = text_test_open(&writer);
    text_test_expect(tokenizer, "ab", 2, TEXT_ADD_SPECIAL, "1 8");
    cr_assert_eq(text_eos_id(tokenizer), 5);
    cr_assert(text_is_end(tokenizer, 5) && text_is_end(tokenizer, 6) && !text_is_end(tokenizer, 7));
    cr_assert_str_eq(text_chat_template(tokenizer), "{{ x }}");
    text_tokenizer_close(&tokenizer);
}

Test(text_json, running_out_of_memory_leaves_nothing_behind)
{
    static const char *const files[] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece, text_json_words};
    static const char text[] = "Undo <s> ab \xff\xc3\xa9 new york e\xcc\x81";

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct text_tokenizer *tokenizer = NULL;
        struct text_ids ids = {0};
        struct base_error err = {0};
        int rc = BASE_NOMEM;
        unsigned long n = 1;
        for (; rc != BASE_OK && n < 500; n++) {
            base_alloc_fail_from(n);
            rc = text_tokenizer_open_json(files[i], strlen(files[i]), &tokenizer, &err);
            base_alloc_fail_from(0);
            cr_assert(rc == BASE_OK || rc == BASE_NOMEM, "file %zu at %lu: %s", i, n, err.text);
        }
        cr_assert(rc == BASE_OK && n > 10);
        rc = BASE_NOMEM;
        for (n = 1; rc != BASE_OK && n < 500; n++) {
            base_alloc_fail_from(n);
            rc = text_encode(tokenizer, text, sizeof(text) - 1, ALL, &ids, &err);
            base_alloc_fail_from(0);
            cr_assert(rc == BASE_OK || (rc == BASE_NOMEM && ids.count == 0), "%zu at %lu: %s", i, n,
                err.text);
        }
        cr_assert(rc == BASE_OK && n > 3);
        text_ids_release(&ids);
        text_tokenizer_close(&tokenizer);
    }
}
