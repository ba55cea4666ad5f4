/* Small vocabularies of both kinds. Unused ids at the end are control tokens "<unused7>". */
#include "tiny_tokenizer.h"

#include <stdio.h>
#include <string.h>

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_BYTE = 6 };

#define TOKEN_TEXT_MAX 32

/* \xe2\x96\x81 is U+2581, SentencePiece's space. Longer pieces score higher. */
static const char *const spm_pieces[] = {"\xe2\x96\x81", "e", "t", "a", "o", "n", "i", "h", "s",
    "r", "l", "d", "w", ".", ",", "\xe2\x96\x81t", "he", "\xe2\x96\x81the", "in", "re", "or", "ll",
    "llo", "\xe2\x96\x81h", "\xe2\x96\x81he", "\xe2\x96\x81hello", "\xe2\x96\x81w",
    "\xe2\x96\x81wor", "ld", "\xe2\x96\x81world", "an", "nd",
    "\xe2\x96\x81"
    "a",
    "\xe2\x96\x81"
    "and"};

/* Pairs in order of rank; \xc4\xa0 is U+0120, gpt2's space. */
static const char *const bpe_merges[][2] = {{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"},
    {"\xc4\xa0", "w"}, {"o", "r"}, {"\xc4\xa0w", "or"}, {"l", "d"}, {"\xc4\xa0wor", "ld"},
    {"\xc4\xa0", "t"}, {"\xc4\xa0t", "he"}, {"i", "n"}, {"a", "n"}, {"an", "d"},
    {"\xc4\xa0", "and"}};
static const char *const bpe_specials[] = {"<|im_start|>", "<|im_end|>", "<|endoftext|>"};

struct vocabulary {
    char texts[TINY_TOKENIZER_VOCAB][TOKEN_TEXT_MAX];
    float scores[TINY_TOKENIZER_VOCAB];
    uint32_t types[TINY_TOKENIZER_VOCAB];
    uint32_t count;
};

static uint32_t add(struct vocabulary *self, const char *text, uint32_t type, float score)
{
    (void)snprintf(self->texts[self->count], TOKEN_TEXT_MAX, "%s", text);
    self->types[self->count] = type;
    self->scores[self->count] = score;
    return self->count++;
}

/* gpt2's letter for a byte: printable Latin-1 stands for itself, the others follow from U+0100. */
static void byte_letter(unsigned byte, char ret_text[3])
{
    unsigned code = 256;

    for (unsigned i = 0; i <= byte; i++) {
        bool plain = (i >= 33 && i <= 126) || (i >= 161 && i <= 172) || (i >= 174 && i <= 255);
        if (i == byte && plain)
            code = byte;
        else if (i < byte && !plain)
            code++;
    }
    memset(ret_text, 0, 3);
    if (code < 128) {
        ret_text[0] = (char)code;
    } else {
        ret_text[0] = (char)(0xc0u | (code >> 6));
        ret_text[1] = (char)(0x80u | (code & 63u));
    }
}

static void fill_spm(struct vocabulary *self)
{
    char text[TOKEN_TEXT_MAX];

    (void)add(self, "<unk>", TOKEN_UNKNOWN, 0);
    (void)add(self, "<s>", TOKEN_CONTROL, 0);
    (void)add(self, "</s>", TOKEN_CONTROL, 0);
    for (unsigned i = 0; i < 256; i++) {
        (void)snprintf(text, sizeof(text), "<0x%02X>", i);
        (void)add(self, text, TOKEN_BYTE, 0);
    }
    for (size_t i = 0; i < sizeof(spm_pieces) / sizeof(spm_pieces[0]); i++)
        (void)add(self, spm_pieces[i], TOKEN_NORMAL, (float)strlen(spm_pieces[i]) - 100.0f);
}

static void fill_bpe(struct vocabulary *self)
{
    char text[TOKEN_TEXT_MAX];

    for (unsigned i = 0; i < 256; i++) {
        byte_letter(i, text);
        (void)add(self, text, TOKEN_NORMAL, 0);
    }
    for (size_t i = 0; i < sizeof(bpe_merges) / sizeof(bpe_merges[0]); i++) {
        (void)snprintf(text, sizeof(text), "%s%s", bpe_merges[i][0], bpe_merges[i][1]);
        (void)add(self, text, TOKEN_NORMAL, 0);
    }
    for (size_t i = 0; i < sizeof(bpe_specials) / sizeof(bpe_specials[0]); i++)
        (void)add(self, bpe_specials[i], TOKEN_CONTROL, 0);
}

static void put_tokens(
    struct tiny_bytes *entries, const struct vocabulary *vocabulary, uint32_t vocab_size)
{
    tiny_put_key_array(entries, "tokenizer.ggml.tokens", 8, vocab_size);
    for (uint32_t i = 0; i < vocab_size; i++) {
        char text[TOKEN_TEXT_MAX];
        (void)snprintf(text, sizeof(text), "<unused%u>", i);
        tiny_put_string(entries, i < vocabulary->count ? vocabulary->texts[i] : text);
    }
    tiny_put_key_array(entries, "tokenizer.ggml.token_type", 5, vocab_size);
    for (uint32_t i = 0; i < vocab_size; i++)
        tiny_put_u32(entries, i < vocabulary->count ? vocabulary->types[i] : TOKEN_CONTROL);
}

static uint64_t put_spm(
    struct tiny_bytes *entries, const struct vocabulary *vocabulary, uint32_t vocab_size)
{
    tiny_put_key_string(entries, "tokenizer.ggml.model", "llama");
    put_tokens(entries, vocabulary, vocab_size);
    tiny_put_key_array(entries, "tokenizer.ggml.scores", 6, vocab_size);
    for (uint32_t i = 0; i < vocab_size; i++) {
        float score = i < vocabulary->count ? vocabulary->scores[i] : 0.0f;
        tiny_put(entries, &score, sizeof(score));
    }
    tiny_put_key_u32(entries, "tokenizer.ggml.unknown_token_id", 0);
    tiny_put_key_u32(entries, "tokenizer.ggml.bos_token_id", 1);
    tiny_put_key_u32(entries, "tokenizer.ggml.eos_token_id", 2);
    tiny_put_key_bool(entries, "tokenizer.ggml.add_bos_token", true);
    tiny_put_key_bool(entries, "tokenizer.ggml.add_space_prefix", true);
    return 9;
}

static uint64_t put_bpe(
    struct tiny_bytes *entries, const struct vocabulary *vocabulary, uint32_t vocab_size)
{
    size_t merge_count = sizeof(bpe_merges) / sizeof(bpe_merges[0]);
    uint32_t special = vocabulary->count - 3;

    tiny_put_key_string(entries, "tokenizer.ggml.model", "gpt2");
    tiny_put_key_string(entries, "tokenizer.ggml.pre", "llama-bpe");
    put_tokens(entries, vocabulary, vocab_size);
    tiny_put_key_array(entries, "tokenizer.ggml.merges", 8, merge_count);
    for (size_t i = 0; i < merge_count; i++) {
        char text[TOKEN_TEXT_MAX];
        (void)snprintf(text, sizeof(text), "%s %s", bpe_merges[i][0], bpe_merges[i][1]);
        tiny_put_string(entries, text);
    }
    tiny_put_key_u32(entries, "tokenizer.ggml.bos_token_id", special + 2);
    tiny_put_key_u32(entries, "tokenizer.ggml.eos_token_id", special + 1);
    tiny_put_key_bool(entries, "tokenizer.ggml.add_bos_token", false);
    return 8;
}

uint64_t tiny_tokenizer_put(
    struct tiny_bytes *entries, enum tiny_tokenizer kind, uint32_t vocab_size)
{
    struct vocabulary vocabulary = {.count = 0};

    if (kind == TINY_TOKENIZER_SPM)
        fill_spm(&vocabulary);
    else
        fill_bpe(&vocabulary);
    return kind == TINY_TOKENIZER_SPM ? put_spm(entries, &vocabulary, vocab_size)
                                      : put_bpe(entries, &vocabulary, vocab_size);
}
