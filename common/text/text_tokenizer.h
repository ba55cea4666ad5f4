/*
 * Text to token ids and back: SentencePiece-style BPE with byte fallback ("llama") and byte-level
 * BPE ("gpt2" with its pre-tokenizer), as a GGUF file describes them. Immutable once opened; any
 * thread may use it.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf;
struct text_tokenizer;

/* Copies what it needs: file may be closed afterwards. Returns BASE_OK, BASE_MALFORMED,
 * BASE_UNSUPPORTED (tokenizer model or pre-tokenizer: what was found, what is known), BASE_NOMEM. */
int text_tokenizer_open(
    const struct gguf *file, struct text_tokenizer **ret_tokenizer, struct base_error *err);
void text_tokenizer_close(struct text_tokenizer **self_p);

enum text_encode_flags {
    TEXT_ADD_SPECIAL = 1,   /* put BOS in front (and EOS behind) if the model asks for it */
    TEXT_PARSE_SPECIAL = 2, /* control tokens written in the text become their ids */
};

struct text_ids {
    uint32_t *ids; /* owned; freed with text_ids_release() */
    size_t count;
};
void text_ids_release(struct text_ids *self);

/*
 * text: any bytes; what is not UTF-8 is encoded through byte tokens. Takes n log n time and
 * memory in proportion to n for every input of n bytes. Appends to *ids (start with {0}). Returns BASE_OK, BASE_TOO_BIG over
 * LIMIT_PROMPT_BYTES or BASE_NOMEM, with *ids as before the call.
 */
int text_encode(const struct text_tokenizer *self, const char *text, size_t bytes, unsigned flags,
    struct text_ids *ids, struct base_error *err);

size_t text_vocab_size(const struct text_tokenizer *self);
int64_t text_bos_id(const struct text_tokenizer *self); /* -1: none */
int64_t text_eos_id(const struct text_tokenizer *self);
bool text_is_end(const struct text_tokenizer *self, uint32_t id); /* ends generation */
bool text_is_control(const struct text_tokenizer *self, uint32_t id);

/* The bytes that a token adds to running text; control tokens add none. Borrowed. id < vocab size. */
const char *text_piece(const struct text_tokenizer *self, uint32_t id, size_t *ret_bytes);

/* Id of a token whose text is exactly this, or -1. */
int64_t text_find(const struct text_tokenizer *self, const char *text);

/* tokenizer.chat_template of the file, or NULL. Borrowed. */
const char *text_chat_template(const struct text_tokenizer *self);

#endif
