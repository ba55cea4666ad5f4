#include "base_alloc.h"
#include "gguf_builder.h"
#include "gguf_view.h"
#include "text_describe.h"
#include "text_json_small.h"
#include "text_test.h"
#include <jansson.h>
#include <unistd.h>

#define ALL (TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL)

/* What a converted file would open as. */
static struct text_tokenizer *reopen(const struct text_tokenizer *tokenizer, const char **ret_model)
{
    static const char *model;
    struct text_description description;
    struct gguf_builder *builder = NULL;
    struct gguf_source source = {0};
    struct gguf *file = NULL;
    struct text_tokenizer *again = NULL;
    struct base_error err = {0};

    cr_assert_eq(text_tokenizer_describe(tokenizer, &description, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    gguf_builder_string(builder, "general.architecture", "llama");
    text_description_put(&description, builder);
    cr_assert_eq(gguf_builder_check(builder, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(
        gguf_open_view(builder, "described", &source, "", 0, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(text_tokenizer_open(file, &again, &err), BASE_OK, "%s", err.text);
    model = description.model;
    *ret_model = model;
    text_description_release(&description);
    gguf_builder_destroy(&builder);
    gguf_close(&file);
    return again;
}

static void expect_same(const struct text_tokenizer *a, const struct text_tokenizer *b,
    const char *text, size_t bytes, unsigned flags)
{
    struct text_ids of_a = text_test_encode(a, text, bytes, flags);
    struct text_ids of_b = text_test_encode(b, text, bytes, flags);

    cr_expect(of_a.count == of_b.count &&
                  (of_a.count == 0 || memcmp(of_a.ids, of_b.ids, of_a.count * 4) == 0),
        "\"%s\" with flags %u", text, flags);
    text_ids_release(&of_a);
    text_ids_release(&of_b);
}

static struct text_tokenizer *open_json(const char *json, size_t bytes)
{
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    cr_assert_eq(text_tokenizer_open_json(json, bytes, &tokenizer, &err), BASE_OK, "%s", err.text);
    return tokenizer;
}

Test(text_describe, small_tokenizers_come_back_the_same)
{
    static const char *const files[] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece};
    static const char *const models[] = {"gpt2", "llama", "t5", "bert"};
    static const char *const texts[] = {
        "ab abc", "undo doing.", "  ab  b\xc3\xa9", "<s>ab", "", "?"};

    for (size_t i = 0; i < 4; i++) {
        const char *model = NULL;
        struct text_tokenizer *tokenizer = open_json(files[i], strlen(files[i]));
        if (i == 2) {
            /* NFKC is what GGUF cannot say: a character map would be. */
            struct text_description description;
            struct base_error err = {0};
            cr_expect_eq(text_tokenizer_describe(tokenizer, &description, &err), BASE_UNSUPPORTED);
            cr_expect_not_null(strstr(err.text, "GGUF has no words for"), "%s", err.text);
            text_tokenizer_close(&tokenizer);
            continue;
        }
        struct text_tokenizer *again = reopen(tokenizer, &model);
        cr_expect_str_eq(model, models[i]);
        cr_expect_eq(text_vocab_size(tokenizer), text_vocab_size(again));
        cr_expect_eq(text_bos_id(tokenizer), text_bos_id(again));
        for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
            if (i == 3 && strncmp(texts[k], "undo", 4) == 0)
                continue; /* its longest word is shorter than GGUF's */
            for (unsigned flags = 0; flags < 4; flags++)
                if (!(i == 1 && k == 3 && flags >= 2)) /* white space that a token takes */
                    expect_same(tokenizer, again, texts[k], strlen(texts[k]), flags);
        }
        text_tokenizer_close(&tokenizer);
        text_tokenizer_close(&again);
    }
}

Test(text_describe, files_come_back_the_same)
{
    struct text_tokenizer *tokenizers[] = {
        text_test_spm(), text_test_bpe("llama-bpe"), text_test_bpe("falcon")};

    for (size_t i = 0; i < 3; i++) {
        const char *model = NULL;
        struct text_tokenizer *again = reopen(tokenizers[i], &model);
        static const char text[] = "hello he <user>aab aaaa<|im_end|> xyz\xff";
        cr_expect_str_eq(model, i == 0 ? "llama" : "gpt2");
        for (unsigned flags = 0; flags < 4; flags++)
            expect_same(tokenizers[i], again, text, sizeof(text) - 1, flags);
        for (uint32_t id = 0; id < text_vocab_size(again); id++)
            cr_expect(text_is_end(again, id) == text_is_end(tokenizers[i], id) &&
                      text_is_control(again, id) == text_is_control(tokenizers[i], id));
        text_tokenizer_close(&tokenizers[i]);
        text_tokenizer_close(&again);
    }
}

/* Ids without token are named, and rules that scores cannot say stay rules. */
Test(text_describe, holes_and_rules)
{
    static const char json[] =
        "{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":"
        "\"\\u2581\"},\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":"
        "0,"
        "\"b\":1,\"c\":2,\"ab\":5,\"bc\":6,\"abc\":7,\"\\u2581\":4},\"merges\":[\"a b\",\"b "
        "c\",\"a "
        "bc\"]}}";
    struct text_description description;
    struct text_tokenizer *tokenizer = open_json(json, sizeof(json) - 1);

    cr_assert_eq(text_tokenizer_describe(tokenizer, &description, NULL), BASE_OK);
    cr_expect_str_eq(description.model, "gemma4"); /* "ab c" makes abc, but is no rule */
    cr_expect_eq(description.merge_count, 3);
    cr_expect(description.merges[2].bytes == 4 && !memcmp(description.merges[2].data, "a bc", 4));
    cr_expect(description.tokens[3].bytes == 6 && !memcmp(description.tokens[3].data, "[PAD3]", 6));
    cr_expect_eq(description.types[3], 5);
    cr_expect_null(description.scores);
    text_description_release(&description);
    text_description_release(&description);
    text_tokenizer_close(&tokenizer);
}

Test(text_describe, what_gguf_cannot_say_is_refused)
{
    static const char prefix[] = "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":"
                                 "true},\"model\":" TEXT_JSON_BPE_MODEL "}";
    static const char pattern[] =
        "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":"
        "{\"Regex\":\"x\"},\"behavior\":\"Isolated\"},{\"type\":\"ByteLevel\",\"add_prefix_space\":"
        "false,\"use_regex\":false}]},\"model\":" TEXT_JSON_BPE_MODEL "}";
    const char *const files[] = {prefix, pattern, text_json_words};
    static const char *const words[] = {"add_prefix_space", "the patterns", "WordLevel"};

    for (size_t i = 0; i < 3; i++) {
        struct text_tokenizer *tokenizer = open_json(files[i], strlen(files[i]));
        struct text_description description = {0};
        struct base_error err = {0};
        cr_expect_eq(text_tokenizer_describe(tokenizer, &description, &err), BASE_UNSUPPORTED);
        cr_expect_not_null(strstr(err.text, words[i]), "%s", err.text);
        cr_expect_null(description.tokens);
        text_tokenizer_close(&tokenizer);
    }
}

Test(text_describe, no_memory)
{
    struct text_tokenizer *tokenizer = open_json(text_json_llama, strlen(text_json_llama));
    struct text_description description = {0};
    int rc = BASE_NOMEM;

    for (unsigned long n = 1; rc != BASE_OK && n < 100; n++) {
        struct base_error err = {0};
        base_alloc_fail_from(n);
        rc = text_tokenizer_describe(tokenizer, &description, &err);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || (rc == BASE_NOMEM && description.tokens == NULL));
    }
    cr_assert_eq(rc, BASE_OK);
    text_description_release(&description);
    text_tokenizer_close(&tokenizer);
}

/* The collections beside the repository: tokenizer.json described and opened again. */
Test(text_describe, fixtures_come_back_the_same)
{
    static const char *const names[] = {
        "bpe_gpt2", "bpe_llama3", "bpe_qwen2", "spm_bpe", "unigram", "wordpiece"};

    for (size_t i = 0; i < 6; i++) {
        char path[512];
        const char *model;
        (void)snprintf(path, sizeof(path), "%s/fixtures/tokenizers/%s/tokenizer.json",
            SHARED_FOLDER, names[i]);
        if (access(path, R_OK) != 0)
            cr_skip_test("%s is not here", path);
        FILE *file = fopen(path, "rb");
        char *json = malloc(1000000);
        size_t bytes = fread(json, 1, 1000000, file);
        (void)fclose(file);
        struct text_tokenizer *tokenizer = open_json(json, bytes);
        struct text_tokenizer *again = reopen(tokenizer, &model);
        (void)snprintf(
            path, sizeof(path), "%s/fixtures/tokenizers/%s/cases.json", SHARED_FOLDER, names[i]);
        json_t *root = json_load_file(path, JSON_ALLOW_NUL, NULL), *cases;
        cases = json_object_get(root, "cases");
        cr_assert_gt(json_array_size(cases), 100);
        for (size_t k = 0; k < json_array_size(cases); k++) {
            const json_t *one = json_array_get(cases, k), *text = json_object_get(one, "text");
            /* Where SentencePiece answers otherwise, GGUF does too. */
            if (json_object_get(one, "ids_sentencepiece") != NULL && i == 4)
                continue;
            expect_same(tokenizer, again, json_string_value(text), json_string_length(text), ALL);
            expect_same(tokenizer, again, json_string_value(text), json_string_length(text), 0);
        }
        json_decref(root);
        free(json);
        text_tokenizer_close(&tokenizer);
        text_tokenizer_close(&again);
    }
}
