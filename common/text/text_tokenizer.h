/*
 * Text to token ids and back: SentencePiece-style BPE and Unigram, byte-level BPE with its
 * pre-tokenizers, WordPiece and whole words, as a GGUF file or a tokenizer.json describes them.
 * Immutable once opened; any thread may use it.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf;
struct text_tokenizer;

/*
 * From tokenizer.ggml.* where a file has them, else from tokenizer.huggingface.json, the text of a
 * tokenizer.json; with that, ids and the chat template come from tokenizer.* keys all the same.
 * Copies what it needs: file may be closed afterwards. Returns BASE_OK, BASE_MALFORMED,
 * BASE_TOO_BIG, BASE_UNSUPPORTED (what was found, what is known) or BASE_NOMEM.
 */
int text_tokenizer_open(
    const struct gguf *file, struct text_tokenizer **ret_tokenizer, struct base_error *err);

/* From the text of a tokenizer.json alone, which the function only borrows. */
int text_tokenizer_open_json(
    const char *json, size_t bytes, struct text_tokenizer **ret_tokenizer, struct base_error *err);
void text_tokenizer_close(struct text_tokenizer **self_p);

enum text_encode_flags {
    TEXT_ADD_SPECIAL = 1, /* put in front and behind what the model asks for: BOS, EOS, [CLS]... */
    TEXT_PARSE_SPECIAL = 2, /* control tokens written in the text become their ids */
};

struct text_ids {
    uint32_t *ids; /* owned; freed with text_ids_release() */
    size_t count;
};
void text_ids_release(struct text_ids *self);

/*
 * text: any bytes; what is not UTF-8 is encoded through byte tokens. Takes n log n time and
 * memory in proportion to n for every input of n bytes, but for patterns of a tokenizer.json that
 * are known to nobody. Appends to *ids (start with {0}). Returns BASE_OK, BASE_TOO_BIG over
 * LIMIT_PROMPT_BYTES or LIMIT_NORMAL_BYTES, BASE_UNSUPPORTED when such a pattern needs more than
 * LIMIT_REGEX_*, or BASE_NOMEM, with *ids as before the call.
 */
int text_encode(const struct text_tokenizer *self, const char *text, size_t bytes, unsigned flags,
    struct text_ids *ids, struct base_error *err);

size_t text_vocab_size(const struct text_tokenizer *self);
int64_t text_bos_id(const struct text_tokenizer *self); /* -1: none */
int64_t text_eos_id(const struct text_tokenizer *self);
int64_t text_unknown_id(const struct text_tokenizer *self);       /* -1: none */
bool text_is_end(const struct text_tokenizer *self, uint32_t id); /* ends generation */
bool text_is_control(const struct text_tokenizer *self, uint32_t id);

/* The bytes that a token adds to running text; control tokens add none. Borrowed. id < vocab size. */
const char *text_piece(const struct text_tokenizer *self, uint32_t id, size_t *ret_bytes);

/* The text of a token as GGUF has it: in the alphabet of bytes, with U+2581 for a space, or the name
 * of a control token. Borrowed. id < vocab size. */
const char *text_name(const struct text_tokenizer *self, uint32_t id, size_t *ret_bytes);

/* Id of a token whose text is exactly this, or -1. */
int64_t text_find(const struct text_tokenizer *self, const char *text);

/* tokenizer.chat_template of the file, or NULL. Borrowed. */
const char *text_chat_template(const struct text_tokenizer *self);

#endif
