#include "text_match.h"

#include "text_patterns.h"
#include "text_unicode.h"
#include <string.h>
#include <utf8proc.h>

/* Classes of characters, as bits so that sets of them are one test. */
enum class {
    UPPER = 1,        /* Lu Lt */
    LOWER = 2,        /* Ll */
    OTHER_LETTER = 4, /* Lm Lo */
    MARK = 8,         /* M */
    NUMBER = 16,      /* N */
    SPACE = 32,       /* White_Space but for the line ends */
    NEWLINE = 64,     /* \r \n */
    REST = 128,
};

#define LETTER (UPPER | LOWER | OTHER_LETTER)
#define SPACES (SPACE | NEWLINE)

enum family {
    GPT2,   /* a letter run takes a space in front; digits and rest too */
    LLAMA3, /* a letter run takes any one character in front */
    CASED,  /* ...and lower case follows upper case */
    GROUPS,
    GROUP_CUTS,
    GROUPS_ANY,
};

struct text_matcher {
    const char *pattern;
    enum family family;
    unsigned digits_max; /* in one match */
    unsigned letters;    /* classes that make a word */
    bool suffix;         /* CASED: contractions belong to the word */
};

static const struct text_matcher matchers[] = {
    {TEXT_PATTERN_GPT2, GPT2, 0, LETTER, false},
    {TEXT_PATTERN_LLAMA3("\\p{N}{1,3}"), LLAMA3, 3, LETTER, false},
    {TEXT_PATTERN_LLAMA3("\\p{N}"), LLAMA3, 1, LETTER, false},
    {TEXT_PATTERN_QWEN35, LLAMA3, 1, LETTER | MARK, false},
    {TEXT_PATTERN_GPT4O, CASED, 3, 0, true},
    {TEXT_PATTERN_TEKKEN, CASED, 1, 0, false},
    {TEXT_PATTERN_GROUPS, GROUPS, 3, 0, false},
    {TEXT_PATTERN_GROUP_CUTS, GROUP_CUTS, 3, 0, false},
    {TEXT_PATTERN_GROUPS_ANY, GROUPS_ANY, 3, 0, false},
};

size_t text_matcher_count(void)
{
    return sizeof(matchers) / sizeof(matchers[0]);
}

const char *text_matcher_pattern(size_t index)
{
    return matchers[index].pattern;
}

const struct text_matcher *text_matcher_find(const char *pattern, size_t bytes)
{
    for (size_t i = 0; i < text_matcher_count(); i++) {
        if (strlen(matchers[i].pattern) == bytes &&
            memcmp(matchers[i].pattern, pattern, bytes) == 0)
            return &matchers[i];
    }
    return NULL;
}

#define A UPPER
#define B LOWER
#define N NUMBER
#define S SPACE
#define E NEWLINE
#define R REST
static const uint8_t ascii[128] = {R, R, R, R, R, R, R, R, R, S, E, S, S, E, R, R, R, R, R, R, R, R,
    R, R, R, R, R, R, R, R, R, R, S, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, N, N, N, N, N, N,
    N, N, N, N, R, R, R, R, R, R, R, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A,
    A, A, A, A, A, R, R, R, R, R, R, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    B, B, B, B, B, R, R, R, R, R};
#undef A
#undef B
#undef N
#undef S
#undef E
#undef R

static unsigned wide_class(uint32_t character)
{
    if (text_unicode_is_space(character))
        return SPACE;
    switch (utf8proc_category((utf8proc_int32_t)character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT:
        return UPPER;
    case UTF8PROC_CATEGORY_LL:
        return LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return OTHER_LETTER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return NUMBER;
    default:
        return REST;
    }
}

/* The text and how far it goes. */
struct view {
    const char *text;
    size_t bytes;
};

/* Class and length of the character at `at`; 0 at the end. */
static inline unsigned class_at(const struct view *view, size_t at, size_t *ret_length)
{
    if (at >= view->bytes)
        return 0;
    uint8_t c = (uint8_t)view->text[at];
    if (c < 0x80) {
        *ret_length = 1;
        return ascii[c];
    }
    return wide_class(text_unicode_at(view->text + at, view->bytes - at, ret_length));
}

/* End of the run of characters of these classes that begins at `at`. */
static inline size_t run_end(const struct view *view, size_t at, unsigned classes)
{
    size_t length = 0;

    while ((class_at(view, at, &length) & classes) != 0)
        at += length;
    return at;
}

/* As run_end(), at most count characters. */
static size_t run_of(const struct view *view, size_t at, unsigned classes, unsigned count)
{
    size_t length = 0;

    for (; count > 0 && (class_at(view, at, &length) & classes) != 0; count--)
        at += length;
    return at;
}

/* Bytes of a contraction ('s 't 're 've 'm 'll 'd) at `at`, or 0. U+017F folds to s. */
static size_t contraction(const struct view *view, size_t at, bool caseless)
{
    char second, third;

    if (view->bytes - at < 2 || view->text[at] != '\'')
        return 0;
    second = view->text[at + 1];
    third = view->bytes - at > 2 ? view->text[at + 2] : '\0';
    if (caseless && second == '\xc5' && third == '\xbf')
        return 3;
    if (caseless && (uint8_t)second < 0x80)
        second |= 0x20;
    if (caseless && (uint8_t)third < 0x80)
        third |= 0x20;
    if (second == 's' || second == 't' || second == 'm' || second == 'd')
        return 2;
    return ((second == 'r' || second == 'v') && third == 'e') || (second == 'l' && third == 'l')
               ? 3
               : 0;
}

/* \s+(?!\S)|\s+ at the start of white space that ends at end: all but its last character, if text
 * follows. */
static size_t spaces_end(const struct view *view, size_t at, size_t end)
{
    size_t last = end;

    if (end == view->bytes)
        return end;
    do
        last--;
    while (((uint8_t)view->text[last] & 0xc0) == 0x80);
    return last > at ? last : end;
}

static size_t gpt2_end(const struct view *view, size_t at)
{
    size_t length = 1, next = at, end = contraction(view, at, false);
    unsigned class;

    if (end > 0)
        return at + end;
    if (view->text[at] == ' ')
        next = at + 1;
    class = class_at(view, next, &length);
    if ((class & SPACES) == 0 && class != 0) {
        unsigned classes = (class & LETTER) != 0 ? LETTER : class == NUMBER ? NUMBER : MARK | REST;
        return run_end(view, next + length, classes);
    }
    return spaces_end(view, at, run_end(view, at, SPACES));
}

/* White space: \s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t white_end(const struct view *view, size_t at)
{
    size_t end = at, newline = 0, length = 0;
    unsigned class;

    while (((class = class_at(view, end, &length)) & SPACES) != 0) {
        end += length;
        if (class == NEWLINE)
            newline = end;
    }
    return newline > 0 ? newline : spaces_end(view, at, end);
}

/* What is no word and no number: ` ?[^\s...]+` and what may follow it. */
static size_t rest_end(const struct view *view, size_t at, unsigned classes, bool takes_slash)
{
    size_t end = run_end(view, at, classes);

    while (end < view->bytes && (view->text[end] == '\r' || view->text[end] == '\n' ||
                                    (takes_slash && view->text[end] == '/')))
        end++;
    return end;
}

static size_t llama3_end(const struct text_matcher *self, const struct view *view, size_t at)
{
    size_t length = 1, next_length = 1, end = contraction(view, at, true);
    unsigned class = class_at(view, at, &length), next_class;
    unsigned rest = (MARK | REST) & ~self->letters;

    if (end > 0)
        return at + end;
    next_class = class_at(view, at + length, &next_length);
    if ((class & (NEWLINE | LETTER | NUMBER)) == 0 && (next_class & self->letters) != 0)
        return run_end(view, at + length + next_length, self->letters);
    if ((class & self->letters) != 0)
        return run_end(view, at + length, self->letters);
    if (class == NUMBER)
        return run_of(view, at, NUMBER, self->digits_max);
    if ((class & rest) != 0 || (view->text[at] == ' ' && (next_class & rest) != 0))
        return rest_end(view, at + length, rest, false);
    return white_end(view, at);
}

/* [UPPER...]*[LOWER...]+ from at, or 0. */
static size_t cased_first(const struct view *view, size_t at)
{
    const unsigned upper = UPPER | OTHER_LETTER | MARK, lower = LOWER | OTHER_LETTER | MARK;
    size_t end = at, both_end = 0, length = 0;
    unsigned class;

    while (((class = class_at(view, end, &length)) & upper) != 0) {
        end += length;
        if ((class & lower) != 0)
            both_end = end;
    }
    return (class & lower) != 0 ? run_end(view, end, lower) : both_end;
}

/* [UPPER...]+[LOWER...]* from at, or 0. */
static size_t cased_second(const struct view *view, size_t at)
{
    const unsigned upper = UPPER | OTHER_LETTER | MARK, lower = LOWER | OTHER_LETTER | MARK;
    size_t end = run_end(view, at, upper);

    return end == at ? 0 : run_end(view, end, lower);
}

static size_t cased_end(const struct text_matcher *self, const struct view *view, size_t at)
{
    size_t length = 1, next_length = 1, end = 0;
    unsigned class = class_at(view, at, &length), next_class;
    bool prefix = (class & (NEWLINE | LETTER | NUMBER)) == 0;

    next_class = class_at(view, at + length, &next_length);
    prefix = prefix && (next_class & (LETTER | MARK)) != 0;
    if (prefix)
        end = cased_first(view, at + length);
    if (end == 0 && (class & (LETTER | MARK)) != 0)
        end = cased_first(view, at);
    if (end == 0 && prefix)
        end = cased_second(view, at + length);
    if (end == 0 && (class & (LETTER | MARK)) != 0)
        end = cased_second(view, at);
    if (end > 0)
        return end + (self->suffix && end < view->bytes ? contraction(view, end, true) : 0);
    if (class == NUMBER)
        return run_of(view, at, NUMBER, self->digits_max);
    if ((class & (MARK | REST)) != 0 ||
        (view->text[at] == ' ' && (next_class & (MARK | REST)) != 0))
        return rest_end(view, at + length, MARK | REST, true);
    return white_end(view, at);
}

/* \d is Nd; GROUPS_ANY counts every number. */
static bool is_digit(
    const struct text_matcher *self, const struct view *view, size_t at, size_t *ret_length)
{
    uint32_t character;

    if (at >= view->bytes)
        return false;
    character = text_unicode_at(view->text + at, view->bytes - at, ret_length);
    if (character < 0x80)
        return character >= '0' && character <= '9';
    return self->family == GROUPS_ANY
               ? text_unicode_is_number(character)
               : utf8proc_category((utf8proc_int32_t)character) == UTF8PROC_CATEGORY_ND;
}

/* Whether the digits that end at `end` are a word's end, as \b says. */
static bool ends_word(const struct view *view, size_t end)
{
    size_t length;

    return end == view->bytes ||
           !text_unicode_is_word(text_unicode_at(view->text + end, view->bytes - end, &length));
}

/* The next run of digits at or after from that counts, and how many they are. */
static bool find_digits(const struct text_matcher *self, const struct view *view, size_t from,
    size_t *ret_begin, size_t *ret_end, size_t *ret_count)
{
    size_t length = 1, count;

    for (size_t at = from, end;; at = end) {
        while (at < view->bytes && !is_digit(self, view, at, &length)) {
            (void)text_unicode_at(view->text + at, view->bytes - at, &length);
            at += length;
        }
        if (at >= view->bytes)
            return false;
        for (end = at, count = 0; is_digit(self, view, end, &length); end += length)
            count++;
        if (self->family != GROUPS || ends_word(view, end)) {
            *ret_begin = at;
            *ret_end = end;
            *ret_count = count;
            return true;
        }
    }
}

/* The end of count digits from at. */
static size_t digits_end(
    const struct text_matcher *self, const struct view *view, size_t at, size_t count)
{
    size_t length = 1;

    for (; count > 0 && is_digit(self, view, at, &length); count--)
        at += length;
    return at;
}

/*
 * Groups of three from the right. A run is counted once, when its first group begins; behind that
 * one all groups are whole.
 */
static bool group_next(const struct text_matcher *self, struct text_match_state *state,
    const struct view *view, size_t from, size_t *ret_begin, size_t *ret_end)
{
    size_t begin = from, count = 0;

    if (from >= state->run_end && !find_digits(self, view, from, &begin, &state->run_end, &count))
        return false;
    *ret_begin = begin;
    *ret_end = digits_end(self, view, begin, count % 3 == 0 ? 3 : count % 3);
    return true;
}

/* Where those groups begin, as empty matches. Within a run, from is one digit behind the last. */
static bool cut_next(const struct text_matcher *self, struct text_match_state *state,
    const struct view *view, size_t from, size_t *ret_begin, size_t *ret_end)
{
    for (size_t at = from, skip = 2;; at = state->run_end) {
        size_t count;
        if (at >= state->run_end) {
            if (!find_digits(self, view, at, &at, &state->run_end, &count))
                return false;
            skip = count % 3;
        }
        at = digits_end(self, view, at, skip);
        if (at < state->run_end) {
            *ret_begin = *ret_end = at;
            return true;
        }
    }
}

bool text_matcher_next(const struct text_matcher *self, struct text_match_state *state,
    const char *text, size_t bytes, size_t from, size_t *ret_begin, size_t *ret_end)
{
    struct view view = {text, bytes};

    if (from >= bytes)
        return false;
    *ret_begin = from;
    switch (self->family) {
    case GPT2:
        *ret_end = gpt2_end(&view, from);
        return true;
    case LLAMA3:
        *ret_end = llama3_end(self, &view, from);
        return true;
    case CASED:
        *ret_end = cased_end(self, &view, from);
        return true;
    case GROUP_CUTS:
        return cut_next(self, state, &view, from, ret_begin, ret_end);
    default:
        return group_next(self, state, &view, from, ret_begin, ret_end);
    }
}
