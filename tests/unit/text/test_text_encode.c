/* Long and hostile text, with every pre-tokenizer: what goes in comes out. */
#include "base_alloc.h"
#include "text_decode.h"
#include "text_pre.h"
#include "text_test.h"
#include "text_unicode.h"

#define BYTES      262144
#define BYTES_MANY 65536 /* where there are many cases */

/* Byte-level BPE of row i of the table; NULL for a row whose words are not bytes. */
static struct text_tokenizer *open_row(size_t i)
{
    const struct text_pre *row = text_pre_at(i);

    return (row->flags & (TEXT_PRE_RAW | TEXT_PRE_REMOVES_GAPS)) != 0
               ? NULL
               : text_test_bpe(text_pre_name(row));
}

static void expect_round_trip(
    const struct text_tokenizer *tokenizer, const char *what, const char *text, size_t bytes)
{
    struct text_ids ids = text_test_encode(tokenizer, text, bytes, 0);
    size_t decoded_bytes;
    char *decoded = text_test_decode(tokenizer, &ids, &decoded_bytes);
    size_t skip = decoded_bytes - bytes; /* the space that SentencePiece puts in front */

    cr_expect(
        decoded_bytes - skip == bytes && skip <= 1 && memcmp(decoded + skip, text, bytes) == 0,
        "%s: %zu bytes became %zu", what, bytes, decoded_bytes);
    cr_expect_leq(ids.count, bytes + 1);
    free(decoded);
    text_ids_release(&ids);
}

/* Text of one unit repeated, with an end that makes regular expressions step back. */
static size_t repeat(char *text, size_t bytes_max, const char *unit, const char *end)
{
    size_t unit_bytes = strlen(unit), bytes = 0;

    while (bytes + unit_bytes + strlen(end) <= bytes_max) {
        memcpy(text + bytes, unit, unit_bytes);
        bytes += unit_bytes;
    }
    memcpy(text + bytes, end, strlen(end));
    return bytes + strlen(end);
}

static void expect_long_texts(
    const struct text_tokenizer *tokenizer, const char *what, size_t bytes_max)
{
    static const char *const units[] = {"a", " ", "\n", " \n", "A", "7", "!", "'", "he", " a",
        "\xf0\x9f\x98\x80", "\xe4\xb8\xad", "\xcc\x81", "\xe2\x80\x83", "\xff", "\xe2\x82", "<user",
        "<|im_start|", "aB", "\r", "\t x"};
    char *text = malloc(BYTES);

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        expect_round_trip(
            tokenizer, what, text, repeat(text, bytes_max, units[i], i % 2 == 0 ? "x" : ""));
    free(text);
}

Test(text_encode, long_text_of_one_kind_spm)
{
    struct text_tokenizer *tokenizer = text_test_spm();

    expect_long_texts(tokenizer, "spm", BYTES);
    text_tokenizer_close(&tokenizer);
}

Test(text_encode, long_text_of_one_kind_bpe)
{
    for (size_t i = 0; i < text_pre_count(); i++) {
        struct text_tokenizer *tokenizer = open_row(i);
        if (tokenizer == NULL)
            continue;
        expect_long_texts(
            tokenizer, text_pre_name(text_pre_at(i)), i == 0 || i == 2 ? BYTES : BYTES_MANY);
        text_tokenizer_close(&tokenizer);
    }
}

Test(text_encode, any_bytes_come_back)
{
    static const char *const parts[] = {"hello", " he", "<user>", "<|im_end|>", "\xff", "\xc3\xa9",
        "\xf0\x9f", "  ", "\n", "'S", "123", "\xe4\xb8\xad\xe6\x96\x87", "\xed\xa0\x80", "Ab", "$"};
    uint64_t state = 1;

    for (size_t i = 0; i < text_pre_count(); i++) {
        struct text_tokenizer *tokenizer = open_row(i);
        for (int round = 0; tokenizer != NULL && round < 200; round++) {
            char text[512] = "";
            size_t bytes = 0;
            for (uint32_t left = text_test_random(&state) % 20; left > 0; left--) {
                const char *part =
                    parts[text_test_random(&state) % (sizeof(parts) / sizeof(parts[0]))];
                memcpy(text + bytes, part, strlen(part));
                bytes += strlen(part);
            }
            expect_round_trip(tokenizer, text_pre_name(text_pre_at(i)), text, bytes);
        }
        text_tokenizer_close(&tokenizer);
    }
}

/* A thousand added tokens that begin alike. */
Test(text_encode, many_added_tokens)
{
    enum { COUNT = 1000 };
    static struct text_gguf_writer writer;
    static char names[COUNT][24];
    static struct text_gguf_token tokens[COUNT];
    static const char *const merge = "a b";
    char *text = malloc(BYTES);
    size_t bytes = 0;

    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "<token_%d>", i);
        tokens[i] = (struct text_gguf_token){names[i], 4, 0};
    }
    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "gpt2");
    text_gguf_string(&writer, "tokenizer.ggml.pre", "gpt-2");
    text_gguf_tokens(&writer, 0, tokens, COUNT);
    text_gguf_merges(&writer, &merge, 1);
    struct text_tokenizer *tokenizer = text_test_open(&writer);
    expect_round_trip(tokenizer, "prefixes", text, repeat(text, BYTES, "<token_", ""));
    for (int i = 0; i < COUNT; i++) {
        memcpy(text + bytes, names[i], strlen(names[i]));
        bytes += strlen(names[i]);
    }
    struct text_ids ids = text_test_encode(tokenizer, text, bytes, 0);
    cr_assert_eq(ids.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(ids.ids[i], 256 + i);
    text_ids_release(&ids);
    text_tokenizer_close(&tokenizer);
    free(text);
}

/* Characters of every kind, as a user may type them: whole text comes back, by any tokenizer. */
Test(text_encode, any_text_comes_back)
{
    static const uint32_t some[] = {'a', 'b', 'A', ' ', ' ', '\n', '1', '!', 0xe9, 0x4e2d, 0x1f600,
        0x3000, 0x661, 0xac00, 0x10ffff, 0};
    struct text_tokenizer *tokenizers[] = {
        text_test_spm(), text_test_bpe("gpt-2"), text_test_bpe("tekken"), text_test_bpe("youtu")};
    uint64_t state = 4;

    for (size_t i = 0; i < sizeof(tokenizers) / sizeof(tokenizers[0]); i++) {
        for (int round = 0; round < 2000; round++) {
            char text[256], *decoded = NULL;
            size_t bytes = 0, decoded_bytes;
            for (uint32_t left = text_test_random(&state) % 32; left > 0; left--)
                bytes += text_unicode_put(
                    some[text_test_random(&state) % (sizeof(some) / sizeof(some[0]))],
                    text + bytes);
            struct text_ids ids = text_test_encode(tokenizers[i], text, bytes, TEXT_ADD_SPECIAL);
            cr_assert_eq(
                text_decode(tokenizers[i], ids.ids, ids.count, false, &decoded, &decoded_bytes),
                BASE_OK);
            cr_expect(decoded_bytes == bytes && memcmp(decoded, text, bytes) == 0,
                "\"%.*s\" became \"%s\"", (int)bytes, text, decoded);
            base_free(decoded);
            text_ids_release(&ids);
        }
        text_tokenizer_close(&tokenizers[i]);
    }
}
