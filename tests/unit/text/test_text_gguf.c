#include "text_test.h"

/* Tokens of any model; type 0 ends the list. */
static struct text_tokenizer *open_model(const char *model, const struct text_gguf_token *tokens,
    void (*more)(struct text_gguf_writer *))
{
    static struct text_gguf_writer writer;
    size_t count = 0;

    while (tokens[count].type != 0)
        count++;
    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", model);
    text_gguf_array(&writer, "tokenizer.ggml.tokens", 8, count);
    for (size_t i = 0; i < count; i++)
        text_gguf_put_string(&writer, tokens[i].text, strlen(tokens[i].text));
    text_gguf_array(&writer, "tokenizer.ggml.token_type", 5, count);
    for (size_t i = 0; i < count; i++)
        text_gguf_put_u32(&writer, tokens[i].type);
    text_gguf_array(&writer, "tokenizer.ggml.scores", 6, count);
    for (size_t i = 0; i < count; i++)
        text_gguf_put(&writer, &tokens[i].score, 4);
    if (more != NULL)
        more(&writer);
    return text_test_open(&writer);
}

#define SPACE "\xe2\x96\x81"

Test(text_gguf, t5)
{
    static const struct text_gguf_token tokens[] = {{"<pad>", 3, 0}, {"</s>", 3, 0},
        {"<unk>", 2, 0}, {SPACE, 1, -2}, {"a", 1, -3}, {"ab", 1, -3.5f}, {SPACE "a", 1, -4},
        {"b", 1, -3}, {"<user>", 4, 0}, {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("t5", tokens, NULL);

    text_test_expect(tokenizer, "a ab", 4, TEXT_ADD_SPECIAL, "6 3 5 1");
    text_test_expect(tokenizer, "xx", 2, 0, "3 2");
    text_test_expect(tokenizer, "a  b", 4, 0, "6 3 3 7");
    text_test_expect(tokenizer, "a<user>", 7, 0, "6 8");
    text_test_expect(tokenizer, "", 0, TEXT_ADD_SPECIAL, "1");
    text_tokenizer_close(&tokenizer);
}

static void t5_options(struct text_gguf_writer *writer)
{
    text_gguf_bool(writer, "tokenizer.ggml.remove_extra_whitespaces", 1);
    text_gguf_bool(writer, "tokenizer.ggml.add_space_prefix", 0);
    text_gguf_bool(writer, "tokenizer.ggml.add_eos_token", 0);
}

Test(text_gguf, t5_with_options)
{
    static const struct text_gguf_token tokens[] = {
        {"<pad>", 3, 0}, {"</s>", 3, 0}, {"<unk>", 2, 0}, {SPACE, 1, -2}, {"a", 1, -3}, {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("t5", tokens, t5_options);

    text_test_expect(tokenizer, "  a   a ", 8, TEXT_ADD_SPECIAL, "4 3 4");
    text_tokenizer_close(&tokenizer);
}

static void bert_ids(struct text_gguf_writer *writer)
{
    text_gguf_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
    text_gguf_u32(writer, "tokenizer.ggml.cls_token_id", 1);
    text_gguf_u32(writer, "tokenizer.ggml.seperator_token_id", 2);
}

static void bert_cased(struct text_gguf_writer *writer)
{
    bert_ids(writer);
    text_gguf_bool(writer, "tokenizer.ggml.normalizer.lowercase", 0);
}

Test(text_gguf, bert)
{
    static const struct text_gguf_token tokens[] = {{"[UNK]", 3, 0}, {"[CLS]", 3, 0},
        {"[SEP]", 3, 0}, {SPACE "un", 1, 0}, {"do", 1, 0}, {SPACE "do", 1, 0}, {SPACE ".", 1, 0},
        {SPACE "Un", 1, 0}, {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("bert", tokens, bert_ids);

    text_test_expect(tokenizer, "Undo do.", 8, TEXT_ADD_SPECIAL, "1 3 4 5 6 2");
    text_test_expect(tokenizer, "dodo dox", 8, 0, "5 4 0");
    text_test_expect(tokenizer, "\xc3\x9cndo", 5, 0, "3 4"); /* no accents where lower case is */
    text_tokenizer_close(&tokenizer);
    tokenizer = open_model("bert", tokens, bert_cased);
    text_test_expect(tokenizer, "Undo", 4, 0, "7 4");
    text_tokenizer_close(&tokenizer);
}

static void gemma_merges(struct text_gguf_writer *writer)
{
    static const char *const merges[] = {"a b", SPACE " ab", "\n \n"};

    text_gguf_merges(writer, merges, 3);
    text_gguf_u32(writer, "tokenizer.ggml.bos_token_id", 0);
    text_gguf_bool(writer, "tokenizer.ggml.add_bos_token", 0);
}

Test(text_gguf, gemma4)
{
    static const struct text_gguf_token tokens[] = {{"<bos>", 3, 0}, {SPACE, 1, 0}, {"a", 1, 0},
        {"b", 1, 0}, {"ab", 1, 0}, {SPACE "ab", 1, 0}, {"<0xC3>", 6, 0}, {"<0xA9>", 6, 0},
        {"\n", 1, 0}, {"\n\n", 1, 0}, {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("gemma4", tokens, gemma_merges);

    text_test_expect(tokenizer, "ab ab\n\n\xc3\xa9", 9, TEXT_ADD_SPECIAL, "0 4 5 9 6 7");
    text_tokenizer_close(&tokenizer);
}

/* No rules: the ids say what is merged first. */
Test(text_gguf, kimi_k2)
{
    static struct text_gguf_writer writer;
    static const struct text_gguf_token tokens[] = {{"ab", 1, 0}, {"bc", 1, 0}, {"abc", 1, 0}};

    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "gpt2");
    text_gguf_string(&writer, "tokenizer.ggml.pre", "kimi-k2");
    text_gguf_tokens(&writer, 0, tokens, 3);
    struct text_tokenizer *tokenizer = text_test_open(&writer);
    text_test_expect(tokenizer, "abcbc", 5, 0, "258 257");
    text_tokenizer_close(&tokenizer);
}

static void phi3(struct text_gguf_writer *writer)
{
    text_gguf_string(writer, "general.architecture", "phi3");
}

/* GGUF has no key for it: Phi-3's markup takes the white space behind it. */
Test(text_gguf, white_space_behind_markup)
{
    static const struct text_gguf_token tokens[] = {{"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0},
        {SPACE, 1, -3}, {"a", 1, -2}, {SPACE "a", 1, -1}, {"<|end|>", 3, 0}, {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("llama", tokens, phi3);

    text_test_expect(tokenizer, "a<|end|>\n a<s> a", 16, TEXT_PARSE_SPECIAL, "5 6 5 1 3 5");
    text_tokenizer_close(&tokenizer);
    tokenizer = open_model("llama", tokens, NULL);
    text_test_expect(tokenizer, "a<|end|> a", 10, TEXT_PARSE_SPECIAL, "5 6 3 5");
    text_tokenizer_close(&tokenizer);
}

/* Ends of text that files do not name, and gpt-oss, where <|end|> only ends a message. */
Test(text_gguf, what_ends_generation)
{
    static const struct text_gguf_token harmony[] = {{"<unk>", 2, 0}, {"<|end|>", 3, 0},
        {"<|return|>", 3, 0}, {"<|call|>", 3, 0}, {"<|channel|>", 3, 0}, {"", 0, 0}};
    static const struct text_gguf_token phi[] = {{"<unk>", 2, 0}, {"<|end|>", 3, 0},
        {"<|return|>", 3, 0}, {"<end_of_turn>", 4, 0}, {"</s>", 1, 0}, {"<|file_sep|>", 3, 0},
        {"", 0, 0}};
    struct text_tokenizer *tokenizer = open_model("llama", harmony, NULL);

    cr_assert(!text_is_end(tokenizer, 1) && text_is_end(tokenizer, 2) &&
              text_is_end(tokenizer, 3) && !text_is_end(tokenizer, 4));
    text_tokenizer_close(&tokenizer);
    tokenizer = open_model("llama", phi, NULL);
    cr_assert(text_is_end(tokenizer, 1) && text_is_end(tokenizer, 2) && text_is_end(tokenizer, 3));
    cr_assert(!text_is_end(tokenizer, 4) && text_is_end(tokenizer, 5));
    text_tokenizer_close(&tokenizer);
}
