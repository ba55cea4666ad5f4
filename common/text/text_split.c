#define PCRE2_CODE_UNIT_WIDTH 8
#include "text_split.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include <pcre2.h>
#include <string.h>

/* What \s means in the patterns as published: White_Space. PCRE2's \s has U+180E besides. */
#define SP                                                                                         \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

#define SHORT "'s|'t|'re|'ve|'m|'ll|'d"
#define TAIL  "[" SP "]*[\\r\\n]+|[" SP "]+(?![^" SP "])|[" SP "]+"

#define GPT2 SHORT "| ?\\p{L}+| ?\\p{N}+| ?[^" SP "\\p{L}\\p{N}]+|[" SP "]+(?![^" SP "])|[" SP "]+"

/* Llama 3 and its relatives; they differ in how digits are taken. */
#define LLAMA3(digits)                                                                             \
    "(?i:" SHORT ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^" SP                              \
    "\\p{L}\\p{N}]+[\\r\\n]*|" TAIL

#define QWEN35                                                                                     \
    "(?i:" SHORT ")|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"                                  \
    "| ?[^" SP "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" TAIL

/* Words in which lower case follows upper case; suffix: contractions, or nothing. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(suffix, digits)                                                                      \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER  \
    "*" suffix "|" digits "| ?[^" SP "\\p{L}\\p{N}]+[\\r\\n/]*|" TAIL

#define CJK "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"

#define FALCON_PUNCTUATION "[\\p{P}\\$\\+<=>\\^~\\|`]+"

#define PATTERNS_MAX 5

enum split_flags {
    IGNORES_MERGES = 1,
    ADDS_BOS = 2,
};

/* One row per kind of split; names: all that mean it, between spaces. */
static const struct split_row {
    const char *names;
    unsigned flags;
    const char *patterns[PATTERNS_MAX + 1];
} split_rows[] = {
    {" gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat jina-es jina-de jina-v2-es "
     "jina-v2-de a.x-4.0 mellum exaone4 ",
        0, {GPT2}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 ",
        IGNORES_MERGES | ADDS_BOS, {LLAMA3("\\p{N}{1,3}")}},
    {" dbrx smaug-bpe chatglm-bpe glm4 ", 0, {LLAMA3("\\p{N}{1,3}")}},
    {" qwen2 deepseek-r1-qwen kormo megrez stablelm2 hunyuan solar-open ", 0, {LLAMA3("\\p{N}")}},
    {" qwen35 ", 0, {QWEN35}},
    {" starcoder refact command-r smollm codeshell exaone minerva-7b ", 0, {"\\p{N}", GPT2}},
    {" falcon ", 0, {FALCON_PUNCTUATION, GPT2, "[0-9][0-9][0-9]"}},
    {" deepseek-coder ", 0, {"[\\r\\n]", "[" SP "]?\\p{L}+", "[" SP "]?\\p{P}+", CJK, "\\p{N}"}},
    {" deepseek-v3 hunyuan-dense ", 0,
        {"\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
            "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" TAIL}},
    {" gpt-4o llama4 minimax-m2 kanana2 ", 0, {CASED("(?i:" SHORT ")?", "\\p{N}{1,3}")}},
    {" tekken ", IGNORES_MERGES | ADDS_BOS, {CASED("", "\\p{N}")}},
    {" default ", 0, {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

#define ROW_COUNT (sizeof(split_rows) / sizeof(split_rows[0]))

struct text_split {
    const struct split_row *row;
    pcre2_general_context *memory;
    pcre2_code *codes[PATTERNS_MAX];
    size_t code_count;
};

struct text_split_run {
    const struct text_split *split;
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

static const struct split_row *row_find(const char *name, size_t name_bytes)
{
    char word[64];

    if (name_bytes == 0 || name_bytes > sizeof(word) - 3 || memchr(name, ' ', name_bytes) != NULL ||
        memchr(name, '\0', name_bytes) != NULL)
        return NULL;
    word[0] = ' ';
    memcpy(word + 1, name, name_bytes);
    word[name_bytes + 1] = ' ';
    word[name_bytes + 2] = '\0';
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (strstr(split_rows[i].names, word) != NULL)
            return &split_rows[i];
    }
    return NULL;
}

/* The message has room for the first name of each row. */
static int refuse(const char *name, size_t name_bytes, struct base_error *err)
{
    char known[BASE_ERROR_TEXT_BYTES];
    size_t used = 0;

    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *first = split_rows[i].names; /* begins with a space */
        size_t bytes = 1 + strcspn(first + 1, " ");
        if (used + bytes >= sizeof(known))
            break;
        memcpy(known + used, first, bytes);
        used += bytes;
    }
    known[used] = '\0';
    return base_error_set(err, BASE_UNSUPPORTED,
        "tokenizer.ggml.pre: \"%.*s\" is not known; known, with their aliases:%s",
        (int)(name_bytes < 64 ? name_bytes : 64), name, known);
}

static int compile_all(struct text_split *self, struct base_error *err)
{
    for (size_t i = 0; i < PATTERNS_MAX && self->row->patterns[i] != NULL; i++) {
        int code;
        PCRE2_SIZE offset;
        pcre2_compile_context *context = pcre2_compile_context_create(self->memory);

        if (context == NULL)
            return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the pre-tokenizer");
        self->codes[i] = pcre2_compile((PCRE2_SPTR)self->row->patterns[i], PCRE2_ZERO_TERMINATED,
            PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context);
        pcre2_compile_context_free(context);
        /* The patterns are constants that the tests compile: only memory can fail here. */
        if (self->codes[i] == NULL)
            return base_error_set(err, BASE_NOMEM,
                "tokenizer: pre-tokenizer pattern %zu: PCRE2 error %d at %zu", i, code, offset);
        self->code_count = i + 1;
        /* Without JIT (no executable memory, say) matching is slower, not different. */
        (void)pcre2_jit_compile(self->codes[i], PCRE2_JIT_COMPLETE);
    }
    return BASE_OK;
}

int text_split_new(
    const char *name, size_t name_bytes, struct text_split **ret_split, struct base_error *err)
{
    const struct split_row *row = row_find(name, name_bytes);
    struct text_split *self;
    int rc;

    if (row == NULL)
        return refuse(name, name_bytes, err);
    self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the pre-tokenizer");
    self->row = row;
    self->memory = pcre2_general_context_create(pcre2_take, pcre2_give, NULL);
    if (self->memory == NULL)
        rc = base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the pre-tokenizer");
    else
        rc = compile_all(self, err);
    if (rc != BASE_OK)
        text_split_destroy(&self);
    else
        *ret_split = self;
    return rc;
}

void text_split_destroy(struct text_split **self_p)
{
    struct text_split *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < self->code_count; i++)
        pcre2_code_free(self->codes[i]);
    pcre2_general_context_free(self->memory);
    base_free(self);
    *self_p = NULL;
}

bool text_split_ignores_merges(const struct text_split *self)
{
    return (self->row->flags & IGNORES_MERGES) != 0;
}

bool text_split_adds_bos(const struct text_split *self)
{
    return (self->row->flags & ADDS_BOS) != 0;
}

int text_split_run_new(const struct text_split *split, struct text_split_run **ret_run)
{
    struct text_split_run *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->split = split;
    self->context = pcre2_match_context_create(split->memory);
    self->match = pcre2_match_data_create(1, split->memory);
    self->jit_stack = pcre2_jit_stack_create(32 * 1024, 1024 * 1024, split->memory);
    if (self->context == NULL || self->match == NULL) {
        text_split_run_destroy(&self);
        return BASE_NOMEM;
    }
    /* NULL leaves PCRE2 on its 32 KiB, which these patterns do not fill. */
    if (self->jit_stack != NULL)
        pcre2_jit_stack_assign(self->context, NULL, self->jit_stack);
    /* Steps back over a run of one class are counted; one prompt may be one run. */
    (void)pcre2_set_match_limit(self->context, 100 * 1000 * 1000);
    (void)pcre2_set_heap_limit(self->context, 256 * 1024); /* KiB */
    *ret_run = self;
    return BASE_OK;
}

void text_split_run_destroy(struct text_split_run **self_p)
{
    struct text_split_run *self = *self_p;

    if (self == NULL)
        return;
    pcre2_match_data_free(self->match);
    pcre2_match_context_free(self->context);
    pcre2_jit_stack_free(self->jit_stack);
    base_free(self);
    *self_p = NULL;
}

/* The next match of a pattern in text at or after from: BASE_OK, BASE_NOT_FOUND or a failure. */
static int next_match(struct text_split_run *self, size_t level, const char *text, size_t bytes,
    size_t from, size_t *ret_begin, size_t *ret_end, struct base_error *err)
{
    const pcre2_code *code = self->split->codes[level];
    int rc = pcre2_match(
        code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK, self->match, self->context);

    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(code, (PCRE2_SPTR)text, bytes, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
            self->match, self->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return BASE_NOT_FOUND;
    if (rc < 0) {
        bool memory = rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT;
        return base_error_set(err, memory ? BASE_NOMEM : BASE_INTERNAL,
            "tokenizer: pre-tokenizer \"%s\" pattern %zu: PCRE2 error %d at byte %zu of %zu",
            self->split->row->names, level, rc, from, bytes);
    }
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(self->match);
    base_assert(offsets[0] >= from && offsets[1] > offsets[0] && offsets[1] <= bytes);
    *ret_begin = offsets[0];
    *ret_end = offsets[1];
    return BASE_OK;
}

/* Each pattern cuts every piece that the ones before it left into matches and gaps. */
static int split_level(struct text_split_run *self, size_t level, const char *text, size_t bytes,
    text_split_sink *sink, void *context, struct base_error *err)
{
    size_t from = 0;
    int rc = BASE_OK;

    if (level == self->split->code_count)
        return bytes == 0 ? BASE_OK : sink(context, text, bytes);
    while (rc == BASE_OK && from < bytes) {
        size_t begin = bytes, end = bytes;
        rc = next_match(self, level, text, bytes, from, &begin, &end, err);
        if (rc == BASE_NOT_FOUND)
            rc = BASE_OK;
        if (rc == BASE_OK && begin > from)
            rc = split_level(self, level + 1, text + from, begin - from, sink, context, err);
        if (rc == BASE_OK && end > begin)
            rc = split_level(self, level + 1, text + begin, end - begin, sink, context, err);
        from = end;
    }
    return rc;
}

int text_split_run(struct text_split_run *self, const char *text, size_t bytes,
    text_split_sink *sink, void *context, struct base_error *err)
{
    return split_level(self, 0, text, bytes, sink, context, err);
}
