/*
 * Pre-tokenizers of byte-level BPE: named sequences of regular expressions that cut text into the
 * pieces within which merging happens. Private to this module.
 */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

struct base_error;
struct text_split;

/*
 * Compiles the pre-tokenizer that GGUF calls name. Returns BASE_OK, BASE_UNSUPPORTED (the message
 * lists the known names) or BASE_NOMEM. Immutable afterwards; any thread may use it.
 */
int text_split_new(
    const char *name, size_t name_bytes, struct text_split **ret_split, struct base_error *err);
void text_split_destroy(struct text_split **self_p);

/* What else the name implies. */
bool text_split_ignores_merges(const struct text_split *self); /* a whole piece may be a token */
bool text_split_adds_bos(const struct text_split *self);       /* when the file does not say */

/* State of one run: a context, a stack and match data. Owned by one thread. */
struct text_split_run;
int text_split_run_new(const struct text_split *split, struct text_split_run **ret_run);
void text_split_run_destroy(struct text_split_run **self_p);

/* Takes one piece; another value than BASE_OK ends the run. */
typedef int text_split_sink(void *context, const char *piece, size_t bytes);

/*
 * Cuts text (valid UTF-8) and hands the pieces to sink in order; together they are the text.
 * Returns BASE_OK, what the sink returned, BASE_NOMEM, or BASE_INTERNAL when a match failed.
 */
int text_split_run(struct text_split_run *self, const char *text, size_t bytes,
    text_split_sink *sink, void *context, struct base_error *err);

#endif
