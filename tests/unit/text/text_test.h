/* What the tests of this folder share. */
#ifndef TEXT_TEST_H
#define TEXT_TEST_H

#include "base_err.h"
#include "gguf.h"
#include "text_gguf_writer.h"
#include "text_tokenizer.h"
#include <criterion/criterion.h>
#include <stdio.h>

static inline struct text_tokenizer *text_test_open(const struct text_gguf_writer *writer)
{
    struct gguf *file = NULL;
    struct text_tokenizer *tokenizer = NULL;
    struct base_error err = {0};

    cr_assert_eq(gguf_open_memory(writer->data, writer->bytes, "small.gguf", &file, &err), BASE_OK,
        "%s", err.text);
    cr_assert_eq(text_tokenizer_open(file, &tokenizer, &err), BASE_OK, "%s", err.text);
    gguf_close(&file);
    return tokenizer;
}

static inline struct text_tokenizer *text_test_spm(void)
{
    static struct text_gguf_writer writer;

    text_gguf_small_spm(&writer);
    return text_test_open(&writer);
}

static inline struct text_tokenizer *text_test_bpe(const char *pre)
{
    static struct text_gguf_writer writer;

    text_gguf_small_bpe(&writer, pre);
    return text_test_open(&writer);
}

static inline struct text_ids text_test_encode(
    const struct text_tokenizer *tokenizer, const char *text, size_t bytes, unsigned flags)
{
    struct text_ids ids = {0};
    struct base_error err = {0};

    cr_assert_eq(text_encode(tokenizer, text, bytes, flags, &ids, &err), BASE_OK, "%s", err.text);
    return ids;
}

/* The bytes that ids add to running text; freed by the caller. */
static inline char *text_test_decode(
    const struct text_tokenizer *tokenizer, const struct text_ids *ids, size_t *ret_bytes)
{
    size_t used = 0, bytes;

    for (size_t i = 0; i < ids->count; i++) {
        (void)text_piece(tokenizer, ids->ids[i], &bytes);
        used += bytes;
    }
    char *text = calloc(1, used + 1);
    used = 0;
    for (size_t i = 0; i < ids->count; i++) {
        const char *piece = text_piece(tokenizer, ids->ids[i], &bytes);
        memcpy(text + used, piece, bytes);
        used += bytes;
    }
    *ret_bytes = used;
    return text;
}

/* Encodes text and compares with the ids given as "1 2 3". */
static inline void text_test_expect(const struct text_tokenizer *tokenizer, const char *text,
    size_t bytes, unsigned flags, const char *expected)
{
    struct text_ids ids = text_test_encode(tokenizer, text, bytes, flags);
    char got[1024] = "";
    size_t used = 0;

    for (size_t i = 0; i < ids.count && used < sizeof(got) - 16; i++)
        used += (size_t)snprintf(got + used, sizeof(got) - used, i == 0 ? "%u" : " %u", ids.ids[i]);
    cr_expect_str_eq(got, expected, "\"%s\": got %s, expected %s", text, got, expected);
    text_ids_release(&ids);
}

/* A small deterministic generator; good enough to choose test inputs. */
static inline uint32_t text_test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

#endif
