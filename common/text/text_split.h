/*
 * Pre-tokenizers: a sequence of steps, each of which cuts every piece that the ones before it left.
 * What they end in are the words within which tokens are made. Private to this module.
 */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct text_alphabet;
struct text_split;

/* What becomes of a match. The names are those of tokenizer.json. */
enum text_split_behavior {
    TEXT_SPLIT_REMOVED,
    TEXT_SPLIT_ISOLATED,
    TEXT_SPLIT_MERGED_WITH_PREVIOUS,
    TEXT_SPLIT_MERGED_WITH_NEXT,
    TEXT_SPLIT_CONTIGUOUS, /* isolated, and matches in a row stay one piece */
};

/* When U+2581 is put in front. */
enum text_split_prepend {
    TEXT_PREPEND_NEVER,
    TEXT_PREPEND_FIRST, /* only at the start of the whole text */
    TEXT_PREPEND_ALWAYS,
};

int text_split_new(struct text_split **ret_split); /* BASE_OK or BASE_NOMEM; no steps yet */
void text_split_destroy(struct text_split **self_p);

/*
 * Each appends a step. Return BASE_OK, BASE_TOO_BIG beyond LIMIT_SPLIT_STEPS, BASE_NOMEM, or what
 * text_regex_new() returns. After the last one any thread may use the object.
 */
int text_split_add_regex(struct text_split *self, const char *pattern, size_t bytes,
    enum text_split_behavior behavior, bool invert, struct base_error *err);
int text_split_add_string(struct text_split *self, const char *string, size_t bytes,
    enum text_split_behavior behavior, bool invert, struct base_error *err);
/* Every character of which it is true is a match. */
int text_split_add_characters(struct text_split *self, bool (*is_match)(uint32_t character),
    enum text_split_behavior behavior, struct base_error *err);
/* Spaces become the replacement, one is put in front; cuts in front of each when splits. */
int text_split_add_metaspace(struct text_split *self, const char *replacement, size_t bytes,
    enum text_split_prepend prepend, bool splits, struct base_error *err);
/* Puts a space in front of each piece that has none. */
int text_split_add_space(struct text_split *self, struct base_error *err);
/* Writes the pieces in the alphabet of bytes, for steps that come behind it. */
int text_split_add_alphabet(struct text_split *self, struct base_error *err);

/*
 * The pre-tokenizer that GGUF calls name. Returns BASE_OK, BASE_UNSUPPORTED (the message lists the
 * known names) or BASE_NOMEM.
 */
struct text_pre;
int text_split_named(const char *name, size_t name_bytes, struct text_split **ret_split,
    const struct text_pre **ret_pre, struct base_error *err);

/* The patterns of the steps as text, for recognising them: number of steps, and one of them; NULL
 * for a step that is no isolating pattern. */
size_t text_split_step_count(const struct text_split *self);
const char *text_split_pattern(const struct text_split *self, size_t step, size_t *ret_bytes);

/* Whether words come out in the alphabet of bytes. */
bool text_split_is_alphabet(const struct text_split *self);
const struct text_alphabet *text_split_alphabet(const struct text_split *self);

/* State of one run. Owned by one thread. */
struct text_split_run;
int text_split_run_new(const struct text_split *split, struct text_split_run **ret_run);
void text_split_run_destroy(struct text_split_run **self_p);

/* Takes one word; another value than BASE_OK ends the run. */
typedef int text_split_sink(void *context, const char *word, size_t bytes);

/*
 * Cuts text (valid UTF-8) and hands the words to sink in order. is_start: the whole text begins
 * here. Returns BASE_OK, what the sink returned, BASE_NOMEM, or BASE_UNSUPPORTED when a pattern
 * needs more than its limits.
 */
int text_split_run(struct text_split_run *self, const char *text, size_t bytes, bool is_start,
    text_split_sink *sink, void *context, struct base_error *err);

#endif
