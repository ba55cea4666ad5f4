/* Reference ids: the demo model in the repository always, the larger collections where present. */
#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "text_decode.h"
#include "text_stream.h"
#include "text_tokenizer.h"
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct text_tokenizer *open_tokenizer(const char *path)
{
    struct gguf *file = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    cr_assert_eq(gguf_open(path, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(text_tokenizer_open(file, &tokenizer, &err), BASE_OK, "%s", err.text);
    gguf_close(&file);
    return tokenizer;
}

static struct text_ids encode(
    const struct text_tokenizer *tokenizer, const char *text, size_t bytes, unsigned flags)
{
    struct text_ids ids = {0};
    struct base_error err = {0};

    cr_assert_eq(text_encode(tokenizer, text, bytes, flags, &ids, &err), BASE_OK, "%s", err.text);
    return ids;
}

static void ids_print(char *ret, size_t ret_bytes, const struct text_ids *ids)
{
    size_t used = 0;

    ret[0] = '\0';
    for (size_t i = 0; i < ids->count && used + 16 < ret_bytes; i++)
        used += (size_t)snprintf(ret + used, ret_bytes - used, "%u ", ids->ids[i]);
}

static void expect_ids(const char *what, const struct text_ids *ids, const json_t *expected)
{
    char got[2048];
    bool same = ids->count == json_array_size(expected);

    for (size_t i = 0; same && i < ids->count; i++)
        same = ids->ids[i] == json_integer_value(json_array_get(expected, i));
    if (same)
        return;
    ids_print(got, sizeof(got), ids);
    cr_expect(false, "%s: expected %s, got %s", what, json_dumps(expected, JSON_COMPACT), got);
}

/* What the ids add to running text, NUL-terminated; freed by the caller. */
static char *decode(const struct text_tokenizer *tokenizer, const struct text_ids *ids, size_t *ret)
{
    char *text = calloc(1, 1);
    size_t used = 0, bytes;

    for (size_t i = 0; i < ids->count; i++) {
        const char *piece = text_piece(tokenizer, ids->ids[i], &bytes);
        text = realloc(text, used + bytes + 1);
        memcpy(text + used, piece, bytes);
        used += bytes;
        text[used] = '\0';
    }
    *ret = used;
    return text;
}

static json_t *load_json(const char *path)
{
    json_error_t err;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &err);

    cr_assert_not_null(root, "%s: %s", path, err.text);
    return root;
}

Test(text_fixtures, the_prompts_of_the_demo_model)
{
    struct text_tokenizer *tokenizer = open_tokenizer(DEMO_FOLDER "/demo-q8_0.gguf");
    json_t *root = load_json(DEMO_FOLDER "/expected.json"), *cases = json_object_get(root, "cases");

    cr_assert_geq(json_array_size(cases), 12);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        json_t *one = json_array_get(cases, i);
        const char *prompt = json_string_value(json_object_get(one, "prompt"));
        struct text_ids ids =
            encode(tokenizer, prompt, strlen(prompt), TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL);
        expect_ids(prompt, &ids, json_object_get(one, "prompt_ids"));
        text_ids_release(&ids);

        const json_t *answer_ids = json_object_get(one, "ids");
        struct text_ids answer = {
            calloc(json_array_size(answer_ids), sizeof(uint32_t)), json_array_size(answer_ids)};
        for (size_t k = 0; k < answer.count; k++)
            answer.ids[k] = (uint32_t)json_integer_value(json_array_get(answer_ids, k));
        size_t bytes;
        char *text = decode(tokenizer, &answer, &bytes);
        cr_expect_str_eq(text, json_string_value(json_object_get(one, "text")));
        cr_expect(text_is_end(tokenizer, answer.ids[answer.count - 1]));
        free(text);
        free(answer.ids);
    }
    json_decref(root);
    text_tokenizer_close(&tokenizer);
}

static char *read_file(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    char *text;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    *ret_bytes = (size_t)ftell(file);
    rewind(file);
    text = calloc(1, *ret_bytes + 1);
    cr_assert_eq(fread(text, 1, *ret_bytes, file), *ret_bytes);
    (void)fclose(file);
    return text;
}

static struct text_tokenizer *open_json(const char *path)
{
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};
    size_t bytes;
    char *text = read_file(path, &bytes);

    cr_assert_not_null(text, "%s", path);
    cr_assert_eq(text_tokenizer_open_json(text, bytes, &tokenizer, &err), BASE_OK, "%s", err.text);
    free(text);
    return tokenizer;
}

static bool same_ids(const struct text_ids *ids, const json_t *expected)
{
    bool same = expected != NULL && ids->count == json_array_size(expected);

    for (size_t i = 0; same && i < ids->count; i++)
        same = ids->ids[i] == json_integer_value(json_array_get(expected, i));
    return same;
}

/* What a text is decoded to, all at once and through a stream, which shows no control tokens. */
static void expect_text(const char *what, const struct text_tokenizer *tokenizer,
    const json_t *id_list, const json_t *expected, bool controls)
{
    size_t count = json_array_size(id_list), bytes, used = 0;
    uint32_t *ids = calloc(count + 1, sizeof(*ids));
    struct text_stream *stream = NULL;
    const char *part;
    char *text = NULL, *streamed;
    bool stopped;

    for (size_t i = 0; i < count; i++)
        ids[i] = (uint32_t)json_integer_value(json_array_get(id_list, i));
    cr_assert_eq(text_decode(tokenizer, ids, count, controls, &text, &bytes), BASE_OK);
    cr_expect(bytes == json_string_length(expected) &&
                  memcmp(text, json_string_value(expected), bytes) == 0,
        "%s decodes to \"%s\", expected \"%s\"", what, text, json_string_value(expected));
    cr_assert_eq(text_stream_new(tokenizer, NULL, 0, false, &stream), BASE_OK);
    streamed = calloc(1, bytes * 3 + 1);
    for (size_t i = 0; i <= count && !controls; i++) {
        size_t part_bytes;
        if (i < count)
            cr_assert_eq(text_stream_push(stream, ids[i], &part, &part_bytes, &stopped), BASE_OK);
        else
            cr_assert_eq(text_stream_finish(stream, &part, &part_bytes), BASE_OK);
        memcpy(streamed + used, part, part_bytes);
        used += part_bytes;
    }
    cr_expect(controls || (used == bytes && memcmp(streamed, text, bytes) == 0),
        "%s streams \"%s\", expected \"%s\"", what, streamed, text);
    text_stream_destroy(&stream);
    base_free(text);
    free(streamed);
    free(ids);
}

/* What a case says of a Unigram text the library and SentencePiece answer differently: either. */
static void check_ids(const char *what, const struct text_tokenizer *tokenizer, const json_t *one,
    unsigned flags, const json_t *expected)
{
    const json_t *text = json_object_get(one, "text");
    struct text_ids ids =
        encode(tokenizer, json_string_value(text), json_string_length(text), flags);
    const json_t *other = json_object_get(one, "ids_sentencepiece");

    if (strncmp(what, "unigram", 7) != 0 || (flags & TEXT_ADD_SPECIAL) != 0 ||
        !same_ids(&ids, other))
        expect_ids(what, &ids, expected);
    text_ids_release(&ids);
}

static void check_case(const char *name, const struct text_tokenizer *tokenizer, const json_t *one)
{
    const json_t *only = json_object_get(one, "ids_text_only");
    const json_t *plain = json_object_get(one, "ids_no_special");
    const json_t *ids = json_object_get(one, "ids");
    char what[128];

    (void)snprintf(what, sizeof(what), "%s case %d (%s)", name,
        (int)json_integer_value(json_object_get(one, "id")),
        json_string_value(json_object_get(one, "tag")));
    if (json_object_get(one, "ids_sentencepiece") == NULL)
        check_ids(what, tokenizer, one, TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL, ids);
    check_ids(what, tokenizer, one, TEXT_PARSE_SPECIAL, plain);
    check_ids(what, tokenizer, one, 0, only != NULL ? only : plain);
    expect_text(what, tokenizer, ids, json_object_get(one, "decoded"), true);
    expect_text(what, tokenizer, ids, json_object_get(one, "decoded_skip_special"), false);
}

/* Every case from both kinds of file. */
static void check_fixture(const char *name)
{
    char path[512], what[64];

    (void)snprintf(path, sizeof(path), "%s/fixtures/tokenizers/%s/cases.json", SHARED_FOLDER, name);
    if (access(path, R_OK) != 0)
        cr_skip_test("%s is not here", path);
    json_t *root = load_json(path), *cases = json_object_get(root, "cases");
    cr_assert_gt(json_array_size(cases), 100);
    for (int kind = 0; kind < 2; kind++) {
        (void)snprintf(path, sizeof(path), "%s/fixtures/tokenizers/%s/%s", SHARED_FOLDER, name,
            kind == 0 ? "tokenizer.json" : "vocab.gguf");
        (void)snprintf(what, sizeof(what), "%s from %s", name, kind == 0 ? "json" : "gguf");
        struct text_tokenizer *tokenizer = kind == 0 ? open_json(path) : open_tokenizer(path);
        for (size_t i = 0; i < json_array_size(cases); i++)
            check_case(what, tokenizer, json_array_get(cases, i));
        text_tokenizer_close(&tokenizer);
    }
    json_decref(root);
}

Test(text_fixtures, bpe_gpt2)
{
    check_fixture("bpe_gpt2");
}

Test(text_fixtures, bpe_llama3)
{
    check_fixture("bpe_llama3");
}

Test(text_fixtures, bpe_qwen2)
{
    check_fixture("bpe_qwen2");
}

Test(text_fixtures, spm_bpe)
{
    check_fixture("spm_bpe");
}

Test(text_fixtures, unigram)
{
    check_fixture("unigram");
}

Test(text_fixtures, wordpiece)
{
    check_fixture("wordpiece");
}

/* One tokenizer of a model: the rendering of its chat, and its text prompt. */
static void check_model(const char *what, const struct text_tokenizer *tokenizer,
    const json_t *chat, const json_t *expected)
{
    const json_t *prompts = json_object_get(expected, "prompts");
    const json_t *rendered = json_object_get(chat, "rendered");

    if (rendered != NULL) {
        struct text_ids ids = encode(tokenizer, json_string_value(rendered),
            json_string_length(rendered), TEXT_PARSE_SPECIAL);
        expect_ids(what, &ids, json_object_get(chat, "ids"));
        text_ids_release(&ids);
    }
    for (size_t i = 0; i < json_array_size(prompts); i++) {
        const json_t *one = json_array_get(prompts, i), *text = json_object_get(one, "text");
        if (text == NULL)
            continue;
        struct text_ids ids = encode(tokenizer, json_string_value(text), json_string_length(text),
            TEXT_ADD_SPECIAL | TEXT_PARSE_SPECIAL);
        expect_ids(what, &ids, json_object_get(one, "ids"));
        text_ids_release(&ids);
    }
}

/* The tokenizers of the small models: Gemma's without a space in front, Phi-3's markup that takes
 * white space, and so on; from tokenizer.json and, where there is one, from the GGUF file. */
Test(text_fixtures, small_models)
{
    static const char *const names[] = {"bert_cls", "bert_embed", "gemma2", "llama", "llama3",
        "mistral", "mixtral", "phi3", "qwen2", "qwen3", "qwen3_cls", "qwen3_embed"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[512];
        json_t *chat = NULL;
        (void)snprintf(
            path, sizeof(path), "%s/fixtures/models/%s/expected.json", SHARED_FOLDER, names[i]);
        if (access(path, R_OK) != 0)
            cr_skip_test("%s is not here", path);
        json_t *expected = load_json(path);
        (void)snprintf(
            path, sizeof(path), "%s/fixtures/models/%s/chat.json", SHARED_FOLDER, names[i]);
        if (access(path, R_OK) == 0)
            chat = load_json(path);
        (void)snprintf(
            path, sizeof(path), "%s/fixtures/models/%s/hf/tokenizer.json", SHARED_FOLDER, names[i]);
        struct text_tokenizer *tokenizer = open_json(path);
        check_model(path, tokenizer, chat, expected);
        text_tokenizer_close(&tokenizer);
        (void)snprintf(
            path, sizeof(path), "%s/fixtures/models/%s/model-f32.gguf", SHARED_FOLDER, names[i]);
        if (access(path, R_OK) == 0) {
            tokenizer = open_tokenizer(path);
            check_model(path, tokenizer, chat, expected);
            text_tokenizer_close(&tokenizer);
        }
        json_decref(chat);
        json_decref(expected);
    }
}

/* Texts stand between separator lines, their ids on a line each. */
static void check_real(const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[512];
    int count = 0;

    (void)snprintf(path, sizeof(path), "%s/real-vocabs/ggml-vocab-%s.gguf", SHARED_FOLDER, name);
    if (access(path, R_OK) != 0)
        cr_skip_test("%s is not here", path);
    struct text_tokenizer *tokenizer = open_tokenizer(path);
    size_t path_bytes = strlen(path);
    memcpy(path + path_bytes, ".inp", 5);
    size_t bytes;
    char *texts = read_file(path, &bytes);
    memcpy(path + path_bytes, ".out", 5);
    char *lines = read_file(path, &bytes);
    cr_assert(texts != NULL && lines != NULL);
    char *text = texts, *line = lines;
    while (text != NULL && line != NULL && *line != '\0') {
        char *text_end = strstr(text, separator), *line_end = strchr(line, '\n');
        if (text_end != NULL)
            *text_end = '\0';
        if (line_end != NULL)
            *line_end = '\0';
        json_t *expected = json_array();
        for (char *token = strtok_r(line, " ", &line); token; token = strtok_r(NULL, " ", &line))
            json_array_append_new(expected, json_integer(strtol(token, NULL, 10)));
        struct text_ids ids = encode(tokenizer, text, strlen(text), 0);
        expect_ids(text, &ids, expected);
        text_ids_release(&ids);
        json_decref(expected);
        text = text_end != NULL ? text_end + strlen(separator) : NULL;
        line = line_end != NULL ? line_end + 1 : NULL;
        count++;
    }
    cr_expect_geq(count, 40);
    free(texts);
    free(lines);
    text_tokenizer_close(&tokenizer);
}

Test(text_fixtures, real_gpt_2)
{
    check_real("gpt-2");
}

Test(text_fixtures, real_llama_spm)
{
    check_real("llama-spm");
}

Test(text_fixtures, real_falcon)
{
    check_real("falcon");
}

Test(text_fixtures, real_deepseek_coder)
{
    check_real("deepseek-coder");
}

Test(text_fixtures, real_qwen2)
{
    check_real("qwen2");
}

Test(text_fixtures, real_bert_bge)
{
    check_real("bert-bge");
}
