/*
 * Streaming detokeniser: tokens in, complete UTF-8 out, stop strings found across token borders
 * and never shown. A pure function of the tokens pushed, so it can be rebuilt from a token log.
 */
#ifndef TEXT_STREAM_H
#define TEXT_STREAM_H

#include "text_tokenizer.h"

struct text_stream;

struct text_stop {
    const char *data;
    size_t bytes;
};

/* Copies stops. continues: text goes on after a prompt, so a leading space is kept as it is.
 * Returns BASE_OK or BASE_NOMEM. */
int text_stream_new(const struct text_tokenizer *tokenizer, const struct text_stop *stops,
    size_t stop_count, bool continues, struct text_stream **ret_stream);
void text_stream_destroy(struct text_stream **self_p);

/*
 * Pushes one token. *ret_text (borrowed until the next call) is what can be shown now: whole
 * characters that belong to no possible stop string. *ret_stopped: a stop string was met; text
 * before it was returned, nothing more will come. Returns BASE_OK or BASE_NOMEM.
 */
int text_stream_push(struct text_stream *self, uint32_t id, const char **ret_text,
    size_t *ret_bytes, bool *ret_stopped);

/* The rest at the end; bytes that never became a character come out as U+FFFD. */
int text_stream_finish(struct text_stream *self, const char **ret_text, size_t *ret_bytes);

#endif
