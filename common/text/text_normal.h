/*
 * Normalisers: a sequence of steps that change text before it is cut into words. Private to this
 * module.
 */
#ifndef TEXT_NORMAL_H
#define TEXT_NORMAL_H

#include "text_unicode.h"
#include <stdbool.h>
#include <stddef.h>

struct base_error;
struct text_normal;

/* What BERT's normaliser does, in this order. */
enum text_normal_bert {
    TEXT_BERT_CLEAN = 1,   /* no control characters, every white space is a space */
    TEXT_BERT_CHINESE = 2, /* spaces around CJK ideographs */
    TEXT_BERT_ACCENTS = 4, /* NFD without nonspacing marks */
    TEXT_BERT_LOWER = 8,
};

int text_normal_new(struct text_normal **ret_normal); /* BASE_OK or BASE_NOMEM; no steps yet */
void text_normal_destroy(struct text_normal **self_p);
size_t text_normal_step_count(const struct text_normal *self); /* NULL has none */

/*
 * Each appends a step. Return BASE_OK, BASE_TOO_BIG beyond LIMIT_NORMAL_STEPS or
 * LIMIT_NORMAL_STRING_BYTES, BASE_NOMEM, BASE_MALFORMED (charsmap) or what text_regex_new()
 * returns. After the last one any thread may use the object.
 */
int text_normal_add_form(
    struct text_normal *self, enum text_unicode_form form, struct base_error *err);
int text_normal_add_lowercase(struct text_normal *self, struct base_error *err);
int text_normal_add_strip_accents(struct text_normal *self, struct base_error *err); /* all marks */
int text_normal_add_nmt(struct text_normal *self, struct base_error *err);
int text_normal_add_bert(struct text_normal *self, unsigned flags, struct base_error *err);
int text_normal_add_strip(struct text_normal *self, bool left, bool right, struct base_error *err);
int text_normal_add_prepend(
    struct text_normal *self, const char *text, size_t bytes, struct base_error *err);
int text_normal_add_replace(struct text_normal *self, const char *from, size_t from_bytes,
    const char *to, size_t to_bytes, struct base_error *err);
int text_normal_add_replace_regex(struct text_normal *self, const char *pattern, size_t bytes,
    const char *to, size_t to_bytes, struct base_error *err);
int text_normal_add_charsmap(
    struct text_normal *self, const char *data, size_t bytes, struct base_error *err);
/* Runs of spaces become one, those at both ends go. */
int text_normal_add_collapse(struct text_normal *self, struct base_error *err);

/* State of one run. Owned by one thread. */
struct text_normal_run;
int text_normal_run_new(const struct text_normal *normal, struct text_normal_run **ret_run);
void text_normal_run_destroy(struct text_normal_run **self_p);

/*
 * Runs all steps over text (any bytes; those that are not UTF-8 pass as they are). *ret_text is
 * borrowed until the next call, and may be text itself. Returns BASE_OK, BASE_TOO_BIG when it grows
 * beyond LIMIT_NORMAL_BYTES, BASE_NOMEM or what text_regex_next() returns.
 */
int text_normal_run(struct text_normal_run *self, const char *text, size_t bytes,
    const char **ret_text, size_t *ret_bytes, struct base_error *err);

#endif
