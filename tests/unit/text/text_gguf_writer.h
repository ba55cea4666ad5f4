/* Small vocabularies as GGUF files in memory, for tests and the fuzz harness. */
#ifndef TEXT_GGUF_WRITER_H
#define TEXT_GGUF_WRITER_H

#include "base_bytes.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct text_gguf_writer {
    uint8_t data[65536];
    size_t bytes;
    uint64_t key_count;
};

static inline void text_gguf_put(struct text_gguf_writer *self, const void *data, size_t bytes)
{
    if (bytes > sizeof(self->data) - self->bytes)
        abort();
    memcpy(self->data + self->bytes, data, bytes);
    self->bytes += bytes;
}

static inline void text_gguf_put_u32(struct text_gguf_writer *self, uint32_t value)
{
    text_gguf_put(self, &value, sizeof(value));
}

static inline void text_gguf_put_u64(struct text_gguf_writer *self, uint64_t value)
{
    text_gguf_put(self, &value, sizeof(value));
}

static inline void text_gguf_put_string(
    struct text_gguf_writer *self, const char *text, size_t bytes)
{
    text_gguf_put_u64(self, bytes);
    text_gguf_put(self, text, bytes);
}

/* Call first. */
static inline void text_gguf_begin(struct text_gguf_writer *self)
{
    self->bytes = 0;
    self->key_count = 0;
    text_gguf_put(self, "GGUF", 4);
    text_gguf_put_u32(self, 3);
    text_gguf_put_u64(self, 0); /* tensors */
    text_gguf_put_u64(self, 0); /* keys: written by each key */
}

static inline void text_gguf_key(struct text_gguf_writer *self, const char *key, uint32_t type)
{
    uint64_t count = ++self->key_count;

    memcpy(self->data + 16, &count, sizeof(count));
    text_gguf_put_string(self, key, strlen(key));
    text_gguf_put_u32(self, type);
}

static inline void text_gguf_string(
    struct text_gguf_writer *self, const char *key, const char *value)
{
    text_gguf_key(self, key, 8);
    text_gguf_put_string(self, value, strlen(value));
}

static inline void text_gguf_u32(struct text_gguf_writer *self, const char *key, uint32_t value)
{
    text_gguf_key(self, key, 4);
    text_gguf_put_u32(self, value);
}

static inline void text_gguf_bool(struct text_gguf_writer *self, const char *key, uint8_t value)
{
    text_gguf_key(self, key, 7);
    text_gguf_put(self, &value, 1);
}

static inline void text_gguf_array(
    struct text_gguf_writer *self, const char *key, uint32_t type, size_t count)
{
    text_gguf_key(self, key, 9);
    text_gguf_put_u32(self, type);
    text_gguf_put_u64(self, count);
}

/* A token, for the two functions below. */
struct text_gguf_token {
    const char *text;
    uint32_t type; /* 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte */
    float score;
};

/* Tokens, types and scores; in front of the given ones, one for each byte. */
static inline void text_gguf_tokens(
    struct text_gguf_writer *self, int spm, const struct text_gguf_token *tokens, size_t count)
{
    unsigned next = 0x100;

    text_gguf_array(self, "tokenizer.ggml.tokens", 8, 256 + count);
    for (unsigned byte = 0; byte < 256; byte++) {
        static const char digits[] = "0123456789ABCDEF";
        char code[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
        int prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        unsigned character = prints ? byte : next++;
        char wide[2] = {(char)(0xc0 | character >> 6), (char)(0x80 | (character & 63))};
        char narrow = (char)character;
        if (spm)
            text_gguf_put_string(self, code, 6);
        else if (character < 0x80)
            text_gguf_put_string(self, &narrow, 1);
        else
            text_gguf_put_string(self, wide, 2);
    }
    for (size_t i = 0; i < count; i++)
        text_gguf_put_string(self, tokens[i].text, strlen(tokens[i].text));
    text_gguf_array(self, "tokenizer.ggml.token_type", 5, 256 + count);
    for (size_t i = 0; i < 256 + count; i++)
        text_gguf_put_u32(self, i >= 256 ? tokens[i - 256].type : spm ? 6 : 1);
    if (!spm)
        return;
    text_gguf_array(self, "tokenizer.ggml.scores", 6, 256 + count);
    for (size_t i = 0; i < 256 + count; i++) {
        float score = i < 256 ? 0.0f : tokens[i - 256].score;
        text_gguf_put(self, &score, sizeof(score));
    }
}

static inline void text_gguf_merges(
    struct text_gguf_writer *self, const char *const *merges, size_t count)
{
    text_gguf_array(self, "tokenizer.ggml.merges", 8, count);
    for (size_t i = 0; i < count; i++)
        text_gguf_put_string(self, merges[i], strlen(merges[i]));
}

/*
 * The two vocabularies that tests share. Ids from 256 on are those of enum text_small_spm and
 * enum text_small_bpe.
 */
enum text_small_spm {
    SPM_UNKNOWN = 256,
    SPM_BOS,
    SPM_EOS,
    SPM_SPACE, /* ▁ */
    SPM_A,
    SPM_B,
    SPM_AA,
    SPM_AB,
    SPM_SPACE_A,
    SPM_AAAA,
    SPM_USER, /* <user> */
    SPM_IM_START,
    SPM_IM_END,
};

static inline void text_gguf_small_spm(struct text_gguf_writer *self)
{
    static const struct text_gguf_token tokens[] = {{"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0},
        {"\xe2\x96\x81", 1, -10}, {"a", 1, -11}, {"b", 1, -12}, {"aa", 1, -2}, {"ab", 1, -1},
        {"\xe2\x96\x81"
         "a",
            1, -3},
        {"aaaa", 1, -4}, {"<user>", 4, 0}, {"<|im_start|>", 3, 0}, {"<|im_end|>", 4, 0}};

    text_gguf_begin(self);
    text_gguf_string(self, "tokenizer.ggml.model", "llama");
    text_gguf_tokens(self, 1, tokens, sizeof(tokens) / sizeof(tokens[0]));
    text_gguf_u32(self, "tokenizer.ggml.unknown_token_id", SPM_UNKNOWN);
    text_gguf_u32(self, "tokenizer.ggml.bos_token_id", SPM_BOS);
    text_gguf_u32(self, "tokenizer.ggml.eos_token_id", SPM_EOS);
}

enum text_small_bpe {
    BPE_HE = 256,
    BPE_LL,
    BPE_HELL,
    BPE_HELLO,
    BPE_SPACE_HE,
    BPE_AA,
    BPE_AAAA,
    BPE_END,
    BPE_IM_START,
    BPE_IM_END,
    BPE_USER, /* <user> */
    BPE_USER_LONG,
    BPE_UNUSED,
};

static inline void text_gguf_small_bpe(struct text_gguf_writer *self, const char *pre)
{
    static const struct text_gguf_token tokens[] = {{"he", 1, 0}, {"ll", 1, 0}, {"hell", 1, 0},
        {"hello", 1, 0}, {"\xc4\xa0he", 1, 0}, {"aa", 1, 0}, {"aaaa", 1, 0},
        {"<|endoftext|>", 3, 0}, {"<|im_start|>", 3, 0}, {"<|im_end|>", 3, 0}, {"<user>", 4, 0},
        {"<user>longer", 4, 0}, {"unused", 5, 0}};
    /* "x y" has no token: its bytes come out again. "hello" needs no rule when merges are ignored. */
    static const char *const merges[] = {
        "h e", "l l", "he ll", "\xc4\xa0 he", "a a", "aa aa", "x y", "xy z"};

    text_gguf_begin(self);
    text_gguf_string(self, "tokenizer.ggml.model", "gpt2");
    text_gguf_string(self, "tokenizer.ggml.pre", pre);
    text_gguf_tokens(self, 0, tokens, sizeof(tokens) / sizeof(tokens[0]));
    text_gguf_merges(self, merges, sizeof(merges) / sizeof(merges[0]));
    text_gguf_u32(self, "tokenizer.ggml.bos_token_id", BPE_END);
    text_gguf_u32(self, "tokenizer.ggml.eos_token_id", BPE_IM_END);
}

#endif
