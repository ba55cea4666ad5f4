#define PCRE2_CODE_UNIT_WIDTH 8
#include "text_regex.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "base_limits.h"
#include <pcre2.h>
#include <string.h>

/* White_Space, for inside of a class. PCRE2's \s has U+180E besides. */
#define SPACES                                                                                     \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACES                                                                                 \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"      \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"                 \
    "\\x{3001}-\\x{10ffff}"
#define HEX      "0-9A-Fa-f"
#define WORD     "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}"
#define BOUNDARY "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"

struct text_regex {
    pcre2_general_context *memory;
    pcre2_code *code;
    bool jit;
};

struct text_regex_run {
    pcre2_general_context *memory;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack;
    pcre2_match_data *match;
};

static void *pcre2_take(size_t bytes, void *unused)
{
    return base_alloc(bytes);
}

static void pcre2_give(void *memory, void *unused)
{
    base_free(memory);
}

/* A pattern on its way from one dialect to the other. */
struct rewrite {
    const char *pattern;
    size_t bytes, at;
    char *text; /* room for all that it can become */
    size_t used, room;
};

static void put(struct rewrite *self, const char *text, size_t bytes)
{
    base_assert(bytes <= self->room - self->used);
    memcpy(self->text + self->used, text, bytes);
    self->used += bytes;
}

static void put_text(struct rewrite *self, const char *text)
{
    put(self, text, strlen(text));
}

/* A backslash and what follows; class: inside of [ ]. */
static void put_escape(struct rewrite *self, bool class)
{
    char c = self->at + 1 < self->bytes ? self->pattern[self->at + 1] : '\0';

    switch (c) {
    case 's':
        put_text(self, class ? SPACES : "[" SPACES "]");
        break;
    case 'S':
        put_text(self, class ? NOT_SPACES : "[^" SPACES "]");
        break;
    case 'w': /* as a class in Oniguruma; PCRE2 leaves marks and some punctuation out */
        put_text(self, class ? WORD : "[" WORD "]");
        break;
    case 'b': /* between \\w and what is none */
        put_text(self, class ? "\\b" : BOUNDARY);
        break;
    case 'h':
        put_text(self, class ? HEX : "[" HEX "]");
        break;
    case '\0':
        put(self, self->pattern + self->at, 1);
        self->at++;
        return;
    default:
        put(self, self->pattern + self->at, 2);
        break;
    }
    self->at += 2;
}

/* Whether pattern goes on with text here. */
static bool follows(const struct rewrite *self, const char *text)
{
    size_t bytes = strlen(text);

    return self->bytes - self->at >= bytes && memcmp(self->pattern + self->at, text, bytes) == 0;
}

/* What stands in a class up to its ] or an &&, without either. Returns false on what is not known. */
static bool put_class_items(struct rewrite *self)
{
    bool first = true;

    for (; self->at < self->bytes; first = false) {
        char c = self->pattern[self->at];
        if ((c == ']' && !first) || follows(self, "&&"))
            return true;
        if (c == '\\') {
            put_escape(self, true);
            continue;
        }
        if (c == '[' && follows(self, "[:")) {
            const char *end = memchr(self->pattern + self->at, ']', self->bytes - self->at);
            if (end == NULL)
                return false;
            size_t bytes = (size_t)(end + 1 - (self->pattern + self->at));
            put(self, self->pattern + self->at, bytes);
            self->at += bytes;
            continue;
        }
        if (c == '[')
            return false; /* a class in a class */
        put(self, &c, 1);
        self->at++;
    }
    return false;
}

/*
 * [...], or [a&&[^b]] as (?:(?![b])[a]). self->at stands on the [. Returns false on what is not
 * known.
 */
static bool put_class(struct rewrite *self)
{
    size_t begin = self->used;
    bool negated = false;

    put_text(self, "[");
    self->at++;
    if (follows(self, "^")) {
        put_text(self, "^");
        self->at++;
        negated = true;
    }
    if (!put_class_items(self))
        return false;
    put_text(self, "]");
    while (!negated && follows(self, "&&")) {
        size_t left_bytes = self->used - begin;
        self->at += 2;
        if (!follows(self, "[^"))
            return false;
        self->at += 2;
        /* (?:(?![right])left): the right side is written behind the left one, then turned round. */
        size_t right = self->used;
        put_text(self, "(?:(?![");
        if (!put_class_items(self) || !follows(self, "]"))
            return false;
        self->at++;
        put_text(self, "])");
        put(self, self->text + begin, left_bytes);
        put_text(self, ")");
        memmove(self->text + begin, self->text + right, self->used - right);
        self->used -= left_bytes;
    }
    if (!follows(self, "]"))
        return false;
    self->at++;
    return true;
}

static bool rewrite_all(struct rewrite *self)
{
    while (self->at < self->bytes) {
        char c = self->pattern[self->at];
        if (c == '\\') {
            put_escape(self, false);
        } else if (c == '[') {
            if (!put_class(self))
                return false;
        } else {
            put(self, &c, 1);
            self->at++;
        }
    }
    return true;
}

static int compile(struct text_regex *self, const struct rewrite *text, struct base_error *err)
{
    pcre2_compile_context *context = pcre2_compile_context_create(self->memory);
    char reason[128] = "";
    int code;
    PCRE2_SIZE offset;

    if (context == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for a pattern");
    (void)pcre2_set_parens_nest_limit(context, LIMIT_REGEX_NESTING);
    self->code = pcre2_compile((PCRE2_SPTR)text->text, text->used,
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK,
        &code, &offset, context);
    pcre2_compile_context_free(context);
    if (self->code == NULL) {
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof(reason));
        return base_error_set(err,
            code == PCRE2_ERROR_NOMEMORY || code == 121 ? BASE_NOMEM : BASE_UNSUPPORTED,
            "pattern \"%.*s\": %s, at byte %zu of it", (int)(text->bytes < 60 ? text->bytes : 60),
            text->pattern, reason, offset);
    }
    /* Without JIT (no executable memory, say) matching is slower, not different. */
    self->jit = pcre2_jit_compile(self->code, PCRE2_JIT_COMPLETE) == 0;
    return BASE_OK;
}

/* Bytes that one byte of a pattern may become: "\S" in a class and "\b" are the longest. */
#define GROWTH (sizeof(NOT_SPACES) + sizeof(BOUNDARY))

int text_regex_new(
    const char *pattern, size_t bytes, struct text_regex **ret_regex, struct base_error *err)
{
    struct rewrite text = {.pattern = pattern, .bytes = bytes};
    struct text_regex *self;
    int rc;

    if (bytes > LIMIT_REGEX_BYTES)
        return base_error_set(err, BASE_TOO_BIG,
            "pattern of %zu bytes, limit %d (LIMIT_REGEX_BYTES)", bytes, LIMIT_REGEX_BYTES);
    self = base_alloc_zeroed(1, sizeof(*self));
    /* An intersection copies its left side once more for each &&. */
    text.room = (bytes + 1) * GROWTH * 2;
    text.text = base_alloc(text.room);
    if (self != NULL)
        self->memory = pcre2_general_context_create(pcre2_take, pcre2_give, NULL);
    if (self == NULL || text.text == NULL || self->memory == NULL)
        rc = base_error_set(err, BASE_NOMEM, "tokenizer: no memory for a pattern");
    else if (!rewrite_all(&text))
        rc = base_error_set(err, BASE_UNSUPPORTED,
            "pattern \"%.*s\": the class at byte %zu is not known", (int)(bytes < 60 ? bytes : 60),
            pattern, text.at);
    else
        rc = compile(self, &text, err);
    base_free(text.text);
    if (rc != BASE_OK)
        text_regex_destroy(&self);
    else
        *ret_regex = self;
    return rc;
}

void text_regex_destroy(struct text_regex **self_p)
{
    struct text_regex *self = *self_p;

    if (self == NULL)
        return;
    pcre2_code_free(self->code);
    pcre2_general_context_free(self->memory);
    base_free(self);
    *self_p = NULL;
}

int text_regex_run_new(struct text_regex_run **ret_run)
{
    struct text_regex_run *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->memory = pcre2_general_context_create(pcre2_take, pcre2_give, NULL);
    if (self->memory != NULL) {
        self->context = pcre2_match_context_create(self->memory);
        self->match = pcre2_match_data_create(1, self->memory);
        self->jit_stack = pcre2_jit_stack_create(32 * 1024, LIMIT_REGEX_STACK_BYTES, self->memory);
    }
    if (self->memory == NULL || self->context == NULL || self->match == NULL) {
        text_regex_run_destroy(&self);
        return BASE_NOMEM;
    }
    /* NULL leaves PCRE2 on its 32 KiB, which the usual patterns do not fill. */
    if (self->jit_stack != NULL)
        pcre2_jit_stack_assign(self->context, NULL, self->jit_stack);
    (void)pcre2_set_match_limit(self->context, LIMIT_REGEX_STEPS);
    (void)pcre2_set_depth_limit(self->context, LIMIT_REGEX_STEPS);
    (void)pcre2_set_heap_limit(self->context, LIMIT_REGEX_HEAP_KIB);
    *ret_run = self;
    return BASE_OK;
}

void text_regex_run_destroy(struct text_regex_run **self_p)
{
    struct text_regex_run *self = *self_p;

    if (self == NULL)
        return;
    pcre2_match_data_free(self->match);
    pcre2_match_context_free(self->context);
    pcre2_jit_stack_free(self->jit_stack);
    pcre2_general_context_free(self->memory);
    base_free(self);
    *self_p = NULL;
}

int text_regex_next(const struct text_regex *self, struct text_regex_run *run, const char *text,
    size_t bytes, size_t from, size_t *ret_begin, size_t *ret_end, struct base_error *err)
{
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;

    if (self->jit)
        rc =
            pcre2_jit_match(self->code, (PCRE2_SPTR)text, bytes, from, 0, run->match, run->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(self->code, (PCRE2_SPTR)text, bytes, from,
            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, run->match, run->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return BASE_NOT_FOUND;
    if (rc < 0) {
        bool memory = rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT;
        return base_error_set(err, memory ? BASE_NOMEM : BASE_UNSUPPORTED,
            "tokenizer: a pattern needs more than it may have: PCRE2 error %d at byte %zu of %zu",
            rc, from, bytes);
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(run->match);
    /* \K in a lookbehind may turn a match round. */
    if (offsets[0] < from || offsets[1] < offsets[0] || offsets[1] > bytes)
        return base_error_set(err, BASE_UNSUPPORTED,
            "tokenizer: a pattern matches backwards at byte %zu of %zu", from, bytes);
    *ret_begin = offsets[0];
    *ret_end = offsets[1];
    return BASE_OK;
}
