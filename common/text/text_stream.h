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

/* Copies stops; empty ones are ignored. Borrows tokenizer. continues: text goes on after a prompt,
 * so a leading space is kept as it is. Returns BASE_OK or BASE_NOMEM. */
int text_stream_new(const struct text_tokenizer *tokenizer, const struct text_stop *stops,
    size_t stop_count, bool continues, struct text_stream **ret_stream);
void text_stream_destroy(struct text_stream **self_p);

/*
 * Pushes one token; an id outside the vocabulary adds nothing. *ret_text (borrowed until the next
 * call) is what can be shown now: whole characters that belong to no possible stop string.
 * *ret_stopped: a stop string was met; text before it was returned, nothing more will come. Of
 * several, the one that begins first in the text counts, so one that is there already waits while
 * another that began before it may still be coming. Returns BASE_OK, or BASE_NOMEM with the token
 * not pushed.
 */
int text_stream_push(struct text_stream *self, uint32_t id, const char **ret_text,
    size_t *ret_bytes, bool *ret_stopped);

/* The rest at the end; bytes that never became a character come out as U+FFFD. Still cut
 * at a stop string that was waiting for a longer one. Returns BASE_OK or BASE_NOMEM. */
int text_stream_finish(struct text_stream *self, const char **ret_text, size_t *ret_bytes);

/* Whether a stop string has cut the text, in a push or at the end. */
bool text_stream_stopped(const struct text_stream *self);

#endif
