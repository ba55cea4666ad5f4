#include "base_alloc.h"
#include "text_stream.h"
#include "text_test.h"

/*
 * A vocabulary of every part of a text, as user-defined tokens, which add their bytes as they are:
 * any way to cut the text is a sequence of tokens. Part [begin, end) has the id part_id().
 */
#define PARTS_BYTES_MAX 12

static uint32_t part_id(size_t begin, size_t end, size_t bytes)
{
    uint32_t id = 256;

    for (size_t i = 0; i < begin; i++)
        id += (uint32_t)(bytes - i);
    return id + (uint32_t)(end - begin - 1);
}

static struct text_tokenizer *open_parts(const char *text, size_t bytes)
{
    static struct text_gguf_writer writer;
    static struct text_gguf_token tokens[PARTS_BYTES_MAX * (PARTS_BYTES_MAX + 1) / 2];
    static char names[PARTS_BYTES_MAX * (PARTS_BYTES_MAX + 1) / 2][PARTS_BYTES_MAX + 1];
    static const char *const merge = "a b";
    size_t count = 0;

    for (size_t begin = 0; begin < bytes; begin++) {
        for (size_t end = begin + 1; end <= bytes; end++) {
            memset(names[count], 0, sizeof(names[count]));
            memcpy(names[count], text + begin, end - begin);
            tokens[count] = (struct text_gguf_token){names[count], 4, 0};
            count++;
        }
    }
    text_gguf_begin(&writer);
    text_gguf_string(&writer, "tokenizer.ggml.model", "gpt2");
    text_gguf_string(&writer, "tokenizer.ggml.pre", "gpt-2");
    text_gguf_tokens(&writer, 0, tokens, count);
    text_gguf_merges(&writer, &merge, 1);
    return text_test_open(&writer);
}

static bool is_utf8(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        unsigned lead = (uint8_t)text[i];
        size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        if ((lead & 0xc0) == 0x80 || i + length > bytes)
            return false;
        for (size_t k = 1; k < length; k++) {
            if (((uint8_t)text[i + k] & 0xc0) != 0x80)
                return false;
        }
        i += length;
    }
    return true;
}

struct shown {
    char text[256];
    size_t bytes;
    bool stopped;
};

static void show(struct shown *self, const char *text, size_t bytes)
{
    cr_assert_leq(self->bytes + bytes, sizeof(self->text));
    cr_assert(is_utf8(text, bytes), "half a character was shown");
    memcpy(self->text + self->bytes, text, bytes);
    self->bytes += bytes;
}

/* Pushes the tokens of one way to cut the text: bit i of cuts cuts behind byte i. */
static void run_cut(const struct text_tokenizer *tokenizer, size_t bytes, unsigned cuts,
    const struct text_stop *stops, size_t stop_count, struct shown *ret)
{
    struct text_stream *stream = NULL;
    const char *text;
    size_t text_bytes;

    *ret = (struct shown){0};
    cr_assert_eq(text_stream_new(tokenizer, stops, stop_count, true, &stream), BASE_OK);
    for (size_t begin = 0, end = 1; end <= bytes; end++) {
        if (end < bytes && (cuts >> (end - 1) & 1) == 0)
            continue;
        cr_assert_eq(
            text_stream_push(stream, part_id(begin, end, bytes), &text, &text_bytes, &ret->stopped),
            BASE_OK);
        show(ret, text, text_bytes);
        begin = end;
    }
    cr_assert_eq(text_stream_finish(stream, &text, &text_bytes), BASE_OK);
    show(ret, text, text_bytes);
    ret->stopped = text_stream_stopped(stream);
    cr_assert_eq(text_stream_finish(stream, &text, &text_bytes), BASE_OK);
    cr_assert_eq(text_bytes, 0);
    text_stream_destroy(&stream);
    cr_assert_null(stream);
}

/* Every way to cut the text into tokens shows the same. */
static void expect_shown(
    const char *text, const char *const *stop_texts, const char *expected, bool stopped)
{
    struct text_stop stops[8];
    size_t stop_count = 0, bytes = strlen(text);
    struct text_tokenizer *tokenizer = open_parts(text, bytes);

    for (; stop_texts[stop_count] != NULL; stop_count++)
        stops[stop_count] =
            (struct text_stop){stop_texts[stop_count], strlen(stop_texts[stop_count])};
    for (unsigned cuts = 0; cuts < 1u << (bytes - 1); cuts++) {
        struct shown shown;
        run_cut(tokenizer, bytes, cuts, stops, stop_count, &shown);
        cr_assert(shown.bytes == strlen(expected) &&
                      memcmp(shown.text, expected, shown.bytes) == 0 && shown.stopped == stopped,
            "\"%s\" cut by %x: \"%.*s\", expected \"%s\"", text, cuts, (int)shown.bytes, shown.text,
            expected);
    }
    text_tokenizer_close(&tokenizer);
}

#define STOPS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_STOPS   ((const char *const[]){NULL})

Test(text_stream, characters_come_out_whole)
{
    expect_shown("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", NO_STOPS,
        "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z", false);
}

Test(text_stream, bytes_that_are_no_character_are_replaced)
{
#define R "\xef\xbf\xbd"
    expect_shown("a\xff\xfe"
                 "b",
        NO_STOPS, "a" R R "b", false);
    expect_shown("\xe2\x82", NO_STOPS, R, false); /* one maximal part, at the end */
    expect_shown("\xe2\x82z\xf0\x9f", NO_STOPS, R "z" R, false);
    expect_shown("\xed\xa0\x80", NO_STOPS, R R R, false); /* a surrogate */
    expect_shown("\xc0\xaf\x80", NO_STOPS, R R R, false); /* overlong, then a lone continuation */
    expect_shown("\xe2\x82STOP", STOPS("STOP"), R, true);
#undef R
}

Test(text_stream, stop_strings_are_never_shown)
{
    expect_shown("hello STOP x", STOPS("STOP"), "hello ", true);
    expect_shown("hello STO", STOPS("STOP"), "hello STO", false);
    expect_shown("STSTOSTOPx", STOPS("STOP"), "STSTO", true);
    expect_shown("STOP", STOPS("STOP"), "", true);
    expect_shown("ab\n\nc", STOPS("\n\n", "c"), "ab", true);
    expect_shown("aaaab", STOPS("aab"), "aa", true);
    expect_shown("x\xe2\x82\xacy", STOPS("\xe2\x82\xac"), "x", true);
    expect_shown("abc", STOPS("", "z"), "abc", false); /* an empty one is none */
}

Test(text_stream, the_stop_string_that_begins_first_wins)
{
    expect_shown("xBBBAAA", STOPS("AAA", "BBB"), "x", true);
    expect_shown("abcde", STOPS("c", "bcd"), "a", true);     /* the shorter one waits */
    expect_shown("abcx", STOPS("c", "bcd"), "ab", true);     /* the longer one did not come */
    expect_shown("abc", STOPS("c", "bcd"), "ab", true);      /* nor before the end */
    expect_shown("abcabd", STOPS("abd", "bcab"), "a", true); /* begins first, ends first */
    expect_shown("aabaac", STOPS("abaad", "aac"), "aab", true);
}

Test(text_stream, a_space_of_the_tokenizer_is_dropped_at_the_start)
{
    struct text_tokenizer *tokenizer = text_test_spm();
    const uint32_t ids[] = {SPM_BOS, SPM_SPACE_A, SPM_SPACE_A, SPM_EOS};

    for (int continues = 0; continues < 2; continues++) {
        struct text_stream *stream = NULL;
        struct shown shown = {0};
        const char *text;
        size_t bytes;
        cr_assert_eq(text_stream_new(tokenizer, NULL, 0, continues, &stream), BASE_OK);
        for (size_t i = 0; i < 4; i++) {
            cr_assert_eq(text_stream_push(stream, ids[i], &text, &bytes, &shown.stopped), BASE_OK);
            show(&shown, text, bytes);
        }
        cr_expect_str_eq(shown.text, continues ? " a a" : "a a");
        text_stream_destroy(&stream);
    }
    text_tokenizer_close(&tokenizer);
}

Test(text_stream, ids_outside_the_vocabulary_add_nothing)
{
    struct text_tokenizer *tokenizer = text_test_spm();
    struct text_stream *stream = NULL;
    const char *text;
    size_t bytes = 1;
    bool stopped = true;

    cr_assert_eq(text_stream_new(tokenizer, NULL, 0, false, &stream), BASE_OK);
    cr_assert_eq(text_stream_push(stream, 269, &text, &bytes, &stopped), BASE_OK);
    cr_assert(bytes == 0 && !stopped);
    cr_assert_eq(text_stream_push(stream, UINT32_MAX, &text, &bytes, &stopped), BASE_OK);
    cr_assert(bytes == 0 && !stopped);
    text_stream_destroy(&stream);
    text_stream_destroy(&stream);
    text_tokenizer_close(&tokenizer);
}

Test(text_stream, a_push_that_ran_out_of_memory_can_be_repeated)
{
    struct text_tokenizer *tokenizer = text_test_spm();
    struct text_stop stop = {"b", 1};
    struct text_stream *stream = NULL;
    const char *text = NULL;
    size_t bytes = 0;
    bool stopped;
    int rc = BASE_NOMEM, faults = 0;

    for (unsigned long n = 1; rc != BASE_OK; n++) {
        base_alloc_fail_from(n);
        rc = text_stream_new(tokenizer, &stop, 1, false, &stream);
        base_alloc_fail_from(0);
    }
    rc = BASE_NOMEM;
    for (unsigned long n = 1; rc != BASE_OK; n++, faults++) {
        base_alloc_fail_from(n);
        rc = text_stream_push(stream, SPM_SPACE_A, &text, &bytes, &stopped);
        base_alloc_fail_from(0);
    }
    cr_assert_geq(faults, 2);
    cr_assert(bytes == 1 && text[0] == 'a', "the space in front was lost or kept by a failed push");
    text_stream_destroy(&stream);
    text_tokenizer_close(&tokenizer);
}
