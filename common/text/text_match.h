/*
 * Hand-written matchers for the commonest patterns of pre-tokenizers, several times as fast as the
 * patterns, and for a few that no engine matches in linear time. Private to this module.
 */
#ifndef TEXT_MATCH_H
#define TEXT_MATCH_H

#include <stdbool.h>
#include <stddef.h>

struct text_matcher;

/* What one pass over one text remembers. Starts zeroed. */
struct text_match_state {
    size_t run_end; /* of the digits that the last match was in */
};

/* The matcher for exactly this pattern, static storage; NULL: there is none. */
const struct text_matcher *text_matcher_find(const char *pattern, size_t bytes);

/*
 * As text_regex_next(): the first match in text (valid UTF-8) at or after from, false if there is
 * none. from does not go back within a pass.
 */
bool text_matcher_next(const struct text_matcher *self, struct text_match_state *state,
    const char *text, size_t bytes, size_t from, size_t *ret_begin, size_t *ret_end);

/* Matchers, for tests: the pattern of each. */
size_t text_matcher_count(void);
const char *text_matcher_pattern(size_t index);

#endif
