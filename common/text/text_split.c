#include "text_split.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "base_limits.h"
#include "text_alphabet.h"
#include "text_match.h"
#include "text_regex.h"
#include "text_unicode.h"
#include <string.h>

enum step_kind {
    STEP_REGEX,
    STEP_MATCHER, /* a pattern that has a hand-written matcher */
    STEP_STRING,
    STEP_CHARACTERS,
    STEP_METASPACE,
    STEP_SPACE,
    STEP_ALPHABET,
};

struct step {
    enum step_kind kind;
    enum text_split_behavior behavior;
    bool invert, splits;
    enum text_split_prepend prepend;
    char *text; /* pattern, string or replacement */
    size_t text_bytes;
    struct text_regex *regex;
    const struct text_matcher *matcher;
    bool (*is_match)(uint32_t character);
};

struct text_split {
    struct step steps[LIMIT_SPLIT_STEPS];
    size_t step_count;
    bool has_regex, is_alphabet;
    struct text_alphabet alphabet;
};

/* Text that a step has changed. */
struct text_buffer {
    char *data;
    size_t bytes, bytes_max;
};

struct text_split_run {
    const struct text_split *split;
    struct text_regex_run *regex; /* NULL when no step needs it */
    struct text_buffer buffers[LIMIT_SPLIT_STEPS];
    const char *start; /* of the text being cut; NULL: not the start of the whole */
    text_split_sink *sink;
    void *context;
    struct base_error *err;
};

int text_split_new(struct text_split **ret_split)
{
    struct text_split *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    text_alphabet_make(&self->alphabet);
    *ret_split = self;
    return BASE_OK;
}

void text_split_destroy(struct text_split **self_p)
{
    struct text_split *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < self->step_count; i++) {
        base_free(self->steps[i].text);
        text_regex_destroy(&self->steps[i].regex);
    }
    base_free(self);
    *self_p = NULL;
}

/* A new last step with a copy of text. */
static int add_step(struct text_split *self, enum step_kind kind, const char *text, size_t bytes,
    struct step **ret_step, struct base_error *err)
{
    struct step *step = &self->steps[0];

    *ret_step = step;
    if (self->step_count == LIMIT_SPLIT_STEPS)
        return base_error_set(err, BASE_TOO_BIG,
            "pre-tokenizer of more than %d steps (LIMIT_SPLIT_STEPS)", LIMIT_SPLIT_STEPS);
    step = &self->steps[self->step_count];
    *step = (struct step){.kind = kind, .text_bytes = bytes, .behavior = TEXT_SPLIT_ISOLATED};
    step->text = base_alloc(bytes + 1);
    if (step->text == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the pre-tokenizer");
    if (bytes > 0)
        memcpy(step->text, text, bytes);
    step->text[bytes] = '\0';
    self->step_count++;
    *ret_step = step;
    return BASE_OK;
}

int text_split_add_regex(struct text_split *self, const char *pattern, size_t bytes,
    enum text_split_behavior behavior, bool invert, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_REGEX, pattern, bytes, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->behavior = behavior;
    step->invert = invert;
    step->matcher = text_matcher_find(pattern, bytes);
    if (step->matcher != NULL) {
        step->kind = STEP_MATCHER;
        return BASE_OK;
    }
    self->has_regex = true;
    return text_regex_new(pattern, bytes, &step->regex, err);
}

int text_split_add_string(struct text_split *self, const char *string, size_t bytes,
    enum text_split_behavior behavior, bool invert, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_STRING, string, bytes, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->behavior = behavior;
    step->invert = invert;
    return BASE_OK;
}

int text_split_add_characters(struct text_split *self, bool (*is_match)(uint32_t character),
    enum text_split_behavior behavior, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_CHARACTERS, NULL, 0, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->behavior = behavior;
    step->is_match = is_match;
    return BASE_OK;
}

int text_split_add_metaspace(struct text_split *self, const char *replacement, size_t bytes,
    enum text_split_prepend prepend, bool splits, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_METASPACE, replacement, bytes, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->behavior = TEXT_SPLIT_MERGED_WITH_NEXT;
    step->prepend = prepend;
    step->splits = splits;
    return BASE_OK;
}

int text_split_add_space(struct text_split *self, struct base_error *err)
{
    struct step *step;

    return add_step(self, STEP_SPACE, NULL, 0, &step, err);
}

int text_split_add_alphabet(struct text_split *self, struct base_error *err)
{
    struct step *step;

    self->is_alphabet = true;
    return add_step(self, STEP_ALPHABET, NULL, 0, &step, err);
}

size_t text_split_step_count(const struct text_split *self)
{
    return self->step_count;
}

const char *text_split_pattern(const struct text_split *self, size_t at, size_t *ret_bytes)
{
    const struct step *step = &self->steps[at];

    base_assert(at < self->step_count);
    if ((step->kind != STEP_REGEX && step->kind != STEP_MATCHER) || step->invert ||
        step->behavior != TEXT_SPLIT_ISOLATED)
        return NULL;
    *ret_bytes = step->text_bytes;
    return step->text;
}

bool text_split_is_alphabet(const struct text_split *self)
{
    return self->is_alphabet;
}

const struct text_alphabet *text_split_alphabet(const struct text_split *self)
{
    return &self->alphabet;
}

int text_split_run_new(const struct text_split *split, struct text_split_run **ret_run)
{
    struct text_split_run *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->split = split;
    if (split->has_regex && text_regex_run_new(&self->regex) != BASE_OK) {
        text_split_run_destroy(&self);
        return BASE_NOMEM;
    }
    *ret_run = self;
    return BASE_OK;
}

void text_split_run_destroy(struct text_split_run **self_p)
{
    struct text_split_run *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < LIMIT_SPLIT_STEPS; i++)
        base_free(self->buffers[i].data);
    text_regex_run_destroy(&self->regex);
    base_free(self);
    *self_p = NULL;
}

static int run_level(struct text_split_run *self, size_t level, const char *text, size_t bytes);

/*
 * The next match at or after from; at the end of the text BASE_NOT_FOUND. Empty matches are cuts:
 * their begin is their end.
 */
static int next_match(struct text_split_run *self, const struct step *step,
    struct text_match_state *state, const char *text, size_t bytes, size_t from, size_t *ret_begin,
    size_t *ret_end)
{
    const char *found;
    size_t length;

    if (from >= bytes)
        return BASE_NOT_FOUND;
    switch (step->kind) {
    case STEP_MATCHER:
        return text_matcher_next(step->matcher, state, text, bytes, from, ret_begin, ret_end)
                   ? BASE_OK
                   : BASE_NOT_FOUND;
    case STEP_REGEX:
        return text_regex_next(
            step->regex, self->regex, text, bytes, from, ret_begin, ret_end, self->err);
    case STEP_CHARACTERS:
        for (size_t at = from; at < bytes; at += length) {
            if (!step->is_match(text_unicode_at(text + at, bytes - at, &length)))
                continue;
            *ret_begin = at;
            *ret_end = at + length;
            return BASE_OK;
        }
        return BASE_NOT_FOUND;
    default: /* STEP_STRING, STEP_METASPACE */
        found = step->text_bytes == 0
                    ? NULL
                    : memmem(text + from, bytes - from, step->text, step->text_bytes);
        if (found == NULL)
            return BASE_NOT_FOUND;
        *ret_begin = (size_t)(found - text);
        *ret_end = *ret_begin + step->text_bytes;
        return BASE_OK;
    }
}

/* Parts of a text, matches and gaps, on their way to becoming pieces. */
struct joiner {
    struct text_split_run *run;
    size_t level;
    const char *text;
    enum text_split_behavior behavior;
    size_t begin, end; /* a piece that may still grow; empty: none */
    bool was_match;    /* the part before this one */
};

static int flush(struct joiner *self)
{
    size_t begin = self->begin, end = self->end;

    self->begin = self->end;
    if (begin == end)
        return BASE_OK;
    return run_level(self->run, self->level + 1, self->text + begin, end - begin);
}

/* One part, not empty. */
static int join(struct joiner *self, size_t begin, size_t end, bool is_match)
{
    bool grows = false, was_match = self->was_match;
    int rc;

    self->was_match = is_match;
    switch (self->behavior) {
    case TEXT_SPLIT_REMOVED:
        return is_match ? BASE_OK
                        : run_level(self->run, self->level + 1, self->text + begin, end - begin);
    case TEXT_SPLIT_ISOLATED:
        return run_level(self->run, self->level + 1, self->text + begin, end - begin);
    case TEXT_SPLIT_MERGED_WITH_PREVIOUS:
        grows = is_match && !was_match;
        break;
    case TEXT_SPLIT_MERGED_WITH_NEXT:
        grows = !is_match && was_match;
        break;
    case TEXT_SPLIT_CONTIGUOUS:
        grows = is_match == was_match;
        break;
    }
    if (grows && self->end > self->begin) {
        self->end = end;
        return BASE_OK;
    }
    rc = flush(self);
    self->begin = begin;
    self->end = end;
    return rc;
}

/* A cut without text: what is before it and what comes next are pieces of their own. */
static int cut(struct joiner *self)
{
    self->was_match = false;
    return flush(self);
}

static int run_matches(struct text_split_run *self, size_t level, const char *text, size_t bytes)
{
    const struct step *step = &self->split->steps[level];
    struct joiner joiner = {.run = self, .level = level, .text = text, .behavior = step->behavior};
    struct text_match_state state = {0};
    size_t from = 0, search = 0;
    int rc = BASE_OK;

    while (rc == BASE_OK && from < bytes) {
        size_t begin = bytes, end = bytes;
        rc = next_match(self, step, &state, text, bytes, search, &begin, &end);
        if (rc == BASE_NOT_FOUND) {
            begin = end = bytes;
            rc = BASE_OK;
        }
        if (rc == BASE_OK && begin > from)
            rc = join(&joiner, from, begin, step->invert);
        if (rc == BASE_OK && end > begin)
            rc = join(&joiner, begin, end, !step->invert);
        else if (rc == BASE_OK && begin < bytes)
            rc = cut(&joiner);
        from = search = end;
        /* Behind an empty match the search goes on with the next character. */
        if (end == begin && end < bytes) {
            size_t length;
            (void)text_unicode_at(text + end, bytes - end, &length);
            search += length;
        }
    }
    return rc == BASE_OK ? flush(&joiner) : rc;
}

static int buffer_reserve(struct text_buffer *self, size_t bytes)
{
    if (bytes <= self->bytes_max)
        return BASE_OK;
    char *data = base_realloc_array(self->data, bytes + bytes / 2, 1);
    if (data == NULL)
        return BASE_NOMEM;
    self->data = data;
    self->bytes_max = bytes + bytes / 2;
    return BASE_OK;
}

static int no_memory(struct text_split_run *self)
{
    return base_error_set(self->err, BASE_NOMEM, "tokenizer: no memory to cut the text");
}

/* Spaces as the replacement, and one in front if asked for. */
static int run_metaspace(struct text_split_run *self, size_t level, const char *text, size_t bytes)
{
    const struct step *step = &self->split->steps[level];
    struct text_buffer *buffer = &self->buffers[level];
    size_t spaces = 1;
    bool starts = bytes >= step->text_bytes && memcmp(text, step->text, step->text_bytes) == 0;
    bool prepends = step->prepend == TEXT_PREPEND_ALWAYS ||
                    (step->prepend == TEXT_PREPEND_FIRST && text == self->start);

    for (size_t i = 0; i < bytes; i++)
        spaces += text[i] == ' ';
    if (spaces > SIZE_MAX / LIMIT_NORMAL_STRING_BYTES ||
        buffer_reserve(buffer, bytes + spaces * step->text_bytes) != BASE_OK)
        return no_memory(self);
    buffer->bytes = 0;
    if (prepends && !starts && text[0] != ' ') {
        memcpy(buffer->data, step->text, step->text_bytes);
        buffer->bytes = step->text_bytes;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != ' ') {
            buffer->data[buffer->bytes++] = text[i];
            continue;
        }
        memcpy(buffer->data + buffer->bytes, step->text, step->text_bytes);
        buffer->bytes += step->text_bytes;
    }
    return step->splits ? run_matches(self, level, buffer->data, buffer->bytes)
                        : run_level(self, level + 1, buffer->data, buffer->bytes);
}

/* A space in front, or the alphabet of bytes. */
static int run_change(struct text_split_run *self, size_t level, const char *text, size_t bytes)
{
    const struct step *step = &self->split->steps[level];
    struct text_buffer *buffer = &self->buffers[level];

    if (step->kind == STEP_SPACE && text[0] == ' ')
        return run_level(self, level + 1, text, bytes);
    if (buffer_reserve(buffer, bytes * 2 + 1) != BASE_OK)
        return no_memory(self);
    if (step->kind == STEP_ALPHABET) {
        buffer->bytes = text_alphabet_encode(&self->split->alphabet, text, bytes, buffer->data);
    } else {
        buffer->data[0] = ' ';
        memcpy(buffer->data + 1, text, bytes);
        buffer->bytes = bytes + 1;
    }
    return run_level(self, level + 1, buffer->data, buffer->bytes);
}

/* Recursion is as deep as there are steps. */
static int run_level(struct text_split_run *self, size_t level, const char *text, size_t bytes)
{
    if (bytes == 0)
        return BASE_OK;
    if (level == self->split->step_count)
        return self->sink(self->context, text, bytes);
    switch (self->split->steps[level].kind) {
    case STEP_METASPACE:
        return run_metaspace(self, level, text, bytes);
    case STEP_SPACE:
    case STEP_ALPHABET:
        return run_change(self, level, text, bytes);
    default:
        return run_matches(self, level, text, bytes);
    }
}

int text_split_run(struct text_split_run *self, const char *text, size_t bytes, bool is_start,
    text_split_sink *sink, void *context, struct base_error *err)
{
    self->start = is_start ? text : NULL;
    self->sink = sink;
    self->context = context;
    self->err = err;
    return run_level(self, 0, text, bytes);
}
