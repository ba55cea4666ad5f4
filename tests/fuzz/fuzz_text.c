/*
 * Any bytes through tokenizers of every kind, the streaming detokeniser and back. The first byte chooses the
 * flags and where the text is cut; byte-level BPE has to give back what went in.
 */
#include "../unit/text/text_gguf_writer.h"
#include "../unit/text/text_json_small.h"
#include "base_err.h"
#include "gguf.h"
#include "text_chat.h"
#include "text_stream.h"

#define GGUF_COUNT 8
#define KIND_COUNT 13

static struct text_tokenizer *tokenizers[KIND_COUNT];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void open_all(void)
{
    static const char *const pre[GGUF_COUNT] = {
        NULL, "llama-bpe", "falcon", "gpt-4o", "deepseek-llm", "kimi-k2", "tiny_aya", "superbpe"};
    static const char *const json[KIND_COUNT - GGUF_COUNT] = {
        text_json_bpe, text_json_llama, text_json_unigram, text_json_wordpiece, text_json_words};
    static struct text_gguf_writer writer;

    for (int i = 0; i < GGUF_COUNT; i++) {
        struct gguf *file = NULL;
        if (pre[i] == NULL)
            text_gguf_small_spm(&writer);
        else
            text_gguf_small_bpe(&writer, pre[i]);
        if (gguf_open_memory(writer.data, writer.bytes, "fuzz.gguf", &file, NULL) != BASE_OK ||
            text_tokenizer_open(file, &tokenizers[i], NULL) != BASE_OK)
            __builtin_trap();
        gguf_close(&file);
    }
    for (int i = GGUF_COUNT; i < KIND_COUNT; i++) {
        const char *text = json[i - GGUF_COUNT];
        if (text_tokenizer_open_json(text, strlen(text), &tokenizers[i], NULL) != BASE_OK)
            __builtin_trap();
    }
}

/* Pieces of the ids, joined, are the text; SentencePiece puts one space in front. */
static void check_pieces(const struct text_tokenizer *tokenizer, const struct text_ids *ids,
    const uint8_t *text, size_t bytes, int spm)
{
    size_t at = 0, piece_bytes;

    for (size_t i = 0; i < ids->count; i++) {
        const char *piece = text_piece(tokenizer, ids->ids[i], &piece_bytes);
        if (spm && i == 0 && piece_bytes > 0 && piece[0] == ' ') {
            piece++;
            piece_bytes--;
        }
        if (piece_bytes > bytes - at || memcmp(piece, text + at, piece_bytes) != 0)
            __builtin_trap();
        at += piece_bytes;
    }
    if (at != bytes)
        __builtin_trap();
}

static void stream_ids(
    const struct text_tokenizer *tokenizer, const struct text_ids *ids, const uint8_t *stop_bytes)
{
    struct text_stop stops[] = {{(const char *)stop_bytes, 1}, {"aab", 3}, {"he", 2}};
    struct text_stream *stream = NULL;
    const char *text;
    size_t bytes;
    bool stopped = false;

    if (text_stream_new(tokenizer, stops, 3, false, &stream) != BASE_OK)
        return;
    for (size_t i = 0; i < ids->count && !stopped; i++) {
        if (text_stream_push(stream, ids->ids[i], &text, &bytes, &stopped) != BASE_OK)
            break;
    }
    if (text_stream_finish(stream, &text, &bytes) == BASE_OK && stopped && bytes > 0)
        __builtin_trap();
    text_stream_destroy(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (tokenizers[0] == NULL)
        open_all();
    if (bytes < 2)
        return 0;
    int kind = (data[0] >> 2) % KIND_COUNT;
    const struct text_tokenizer *tokenizer = tokenizers[kind];
    unsigned flags = data[0] & 3;
    int spm = tokenizer == tokenizers[0];
    const uint8_t *text = data + 2;
    size_t text_bytes = bytes - 2;
    struct text_ids ids = {0};
    struct base_error err = {0};

    int rc = text_encode(tokenizer, (const char *)text, text_bytes, flags, &ids, &err);
    if (rc == BASE_OK) {
        for (size_t i = 0; i < ids.count; i++) {
            if (ids.ids[i] >= text_vocab_size(tokenizer))
                __builtin_trap();
            /* Without the flags no control token may come out. */
            if (flags == 0 && text_is_control(tokenizer, ids.ids[i]) &&
                ids.ids[i] != (uint32_t)text_unknown_id(tokenizer))
                __builtin_trap();
        }
        /* SentencePiece puts a space behind every added token, and U+2581 comes back as a space. */
        if (flags == 0 && kind < GGUF_COUNT &&
            !(spm && (memchr(text, '<', text_bytes) || memchr(text, 0xe2, text_bytes))))
            check_pieces(tokenizer, &ids, text, text_bytes, spm);
        stream_ids(tokenizer, &ids, data + 1);
    } else if (err.code != rc) {
        __builtin_trap();
    }
    text_ids_release(&ids);

    struct text_chat_message message = {"user", (const char *)text, text_bytes};
    if (text_chat_encode(tokenizer, &message, 1, &ids, &err) == BASE_OK) {
        size_t controls = 0;
        for (size_t i = 0; i < ids.count; i++)
            controls += text_is_control(tokenizer, ids.ids[i]);
        if (controls != 3 + (size_t)(ids.ids[0] == (uint32_t)text_bos_id(tokenizer)))
            __builtin_trap();
    }
    text_ids_release(&ids);
    return 0;
}
