/*
 * Regular expressions of tokenizers: written for Oniguruma, run by PCRE2 under limits. Private to
 * this module.
 */
#ifndef TEXT_REGEX_H
#define TEXT_REGEX_H

#include <stdbool.h>
#include <stddef.h>

struct base_error;
struct text_regex;

/*
 * Compiles a pattern, which may come from a hostile file. Where Oniguruma and PCRE2 read it
 * differently, it is rewritten: \s is White_Space, \h a hexadecimal digit, $ and ^ stand at every
 * line, an intersection of classes becomes a lookahead. Returns BASE_OK, BASE_TOO_BIG over
 * LIMIT_REGEX_BYTES, BASE_UNSUPPORTED (what and where in the pattern) or BASE_NOMEM. Immutable
 * afterwards; any thread may use it.
 */
int text_regex_new(
    const char *pattern, size_t bytes, struct text_regex **ret_regex, struct base_error *err);
void text_regex_destroy(struct text_regex **self_p);

/* State for matching: owned by one thread, serves any regex. */
struct text_regex_run;
int text_regex_run_new(struct text_regex_run **ret_run);
void text_regex_run_destroy(struct text_regex_run **self_p);

/*
 * The first match in text (valid UTF-8) at or after from; it may be empty. Returns BASE_OK,
 * BASE_NOT_FOUND, BASE_NOMEM, or BASE_UNSUPPORTED when the pattern needs more steps, depth or
 * memory than LIMIT_REGEX_* allow.
 */
int text_regex_next(const struct text_regex *self, struct text_regex_run *run, const char *text,
    size_t bytes, size_t from, size_t *ret_begin, size_t *ret_end, struct base_error *err);

#endif
