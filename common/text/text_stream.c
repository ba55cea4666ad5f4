#include "text_stream.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_decode.h"
#include "text_internal.h"
#include "text_utf8.h"
#include <string.h>

static const char replacement[3] = "\xef\xbf\xbd"; /* U+FFFD */

struct text_stream {
    const struct text_tokenizer *tokenizer; /* borrowed */
    struct text_strings stops;
    char *held; /* bytes not shown yet */
    size_t held_bytes, held_bytes_max;
    size_t
        cleared_bytes; /* of held, from the front: part of no stop string, but no character yet */
    char *text;        /* what the last call returned */
    size_t text_bytes, text_bytes_max;
    bool
        drops_space; /* the next token is the first of the text; a space there is not the model's */
    bool stopped;
};

int text_stream_new(const struct text_tokenizer *tokenizer, const struct text_stop *stops,
    size_t stop_count, bool continues, struct text_stream **ret_stream)
{
    struct text_stream *self = base_alloc_zeroed(1, sizeof(*self));
    int rc = BASE_OK;

    if (self == NULL)
        return BASE_NOMEM;
    self->tokenizer = tokenizer;
    self->drops_space = !continues;
    for (size_t i = 0; rc == BASE_OK && i < stop_count; i++) {
        if (stops[i].bytes > 0)
            rc = text_strings_append(&self->stops, stops[i].data, stops[i].bytes);
    }
    if (rc != BASE_OK) {
        text_stream_destroy(&self);
        return BASE_NOMEM;
    }
    *ret_stream = self;
    return BASE_OK;
}

void text_stream_destroy(struct text_stream **self_p)
{
    struct text_stream *self = *self_p;

    if (self == NULL)
        return;
    text_strings_release(&self->stops);
    base_free(self->held);
    base_free(self->text);
    base_free(self);
    *self_p = NULL;
}

static int reserve(char **memory, size_t *bytes_max, size_t bytes)
{
    if (bytes <= *bytes_max)
        return BASE_OK;
    void *grown = base_realloc_array(*memory, bytes * 2, 1);
    if (grown == NULL)
        return BASE_NOMEM;
    *memory = grown;
    *bytes_max = bytes * 2;
    return BASE_OK;
}

enum stop_match { STOP_NONE, STOP_PARTIAL, STOP_WHOLE };

/* Whether a stop string is at the start of text, or may be once more text comes. */
static enum stop_match stop_at(const struct text_stream *self, const char *text, size_t bytes)
{
    enum stop_match match = STOP_NONE;

    for (size_t i = 0; i < self->stops.count; i++) {
        size_t stop_bytes;
        const char *stop = text_strings_at(&self->stops, i, &stop_bytes);
        if (memcmp(stop, text, stop_bytes < bytes ? stop_bytes : bytes) != 0)
            continue;
        if (stop_bytes <= bytes)
            return STOP_WHOLE;
        match = STOP_PARTIAL;
    }
    return match;
}

/*
 * Moves cleared_bytes up to the first place where a stop string is or may be. A stop string that
 * begins later is not looked at while one that began earlier is still possible: which one cuts the
 * text must not depend on how tokens divide it.
 */
static void clear_held(struct text_stream *self, bool last)
{
    while (self->cleared_bytes < self->held_bytes) {
        enum stop_match match =
            stop_at(self, self->held + self->cleared_bytes, self->held_bytes - self->cleared_bytes);
        if (match == STOP_WHOLE) {
            self->stopped = true;
            self->held_bytes = self->cleared_bytes;
        } else if (match == STOP_PARTIAL && !last) {
            return;
        } else {
            self->cleared_bytes++;
        }
    }
}

static void put(struct text_stream *self, const char *bytes, size_t count)
{
    memcpy(self->text + self->text_bytes, bytes, count);
    self->text_bytes += count;
}

/* Moves whole characters of the cleared bytes into text, which has room. */
static void show_cleared(struct text_stream *self, bool last)
{
    size_t at = 0;

    while (at < self->cleared_bytes) {
        int length = text_utf8_step(self->held + at, self->cleared_bytes - at);
        if (length > 0) {
            put(self, self->held + at, (size_t)length);
            at += (size_t)length;
        } else if (length < 0) {
            put(self, replacement, sizeof(replacement));
            at += (size_t)-length;
        } else if (last) {
            put(self, replacement, sizeof(replacement));
            at = self->cleared_bytes;
        } else {
            break;
        }
    }
    memmove(self->held, self->held + at, self->held_bytes - at);
    self->held_bytes -= at;
    self->cleared_bytes -= at;
}

int text_stream_push(struct text_stream *self, uint32_t id, const char **ret_text,
    size_t *ret_bytes, bool *ret_stopped)
{
    const char *piece = "";
    size_t bytes = 0;
    bool drops_space = self->drops_space;

    if (id < self->tokenizer->vocab_size && !self->stopped &&
        self->tokenizer->types[id] != TEXT_TYPE_CONTROL &&
        self->tokenizer->types[id] != TEXT_TYPE_UNKNOWN) {
        piece = text_piece(self->tokenizer, id, &bytes);
        size_t dropped = text_decode_dropped(self->tokenizer, piece, bytes, &drops_space);
        piece += dropped;
        bytes -= dropped;
    }
    /* Every byte may turn into a replacement character. */
    size_t needed = self->held_bytes + bytes + 1;
    if (reserve(&self->held, &self->held_bytes_max, needed) != BASE_OK ||
        reserve(&self->text, &self->text_bytes_max, needed * sizeof(replacement)) != BASE_OK)
        return BASE_NOMEM;
    self->drops_space = drops_space;
    self->text_bytes = 0;
    memcpy(self->held + self->held_bytes, piece, bytes);
    self->held_bytes += bytes;
    clear_held(self, false);
    show_cleared(self, self->stopped);
    *ret_text = self->text;
    *ret_bytes = self->text_bytes;
    *ret_stopped = self->stopped;
    return BASE_OK;
}

int text_stream_finish(struct text_stream *self, const char **ret_text, size_t *ret_bytes)
{
    if (reserve(&self->text, &self->text_bytes_max, (self->held_bytes + 1) * sizeof(replacement)) !=
        BASE_OK)
        return BASE_NOMEM;
    self->text_bytes = 0;
    if (self->held_bytes > 0) {
        clear_held(self, true);
        show_cleared(self, true);
    }
    *ret_text = self->text;
    *ret_bytes = self->text_bytes;
    return BASE_OK;
}

bool text_stream_stopped(const struct text_stream *self)
{
    return self->stopped;
}
