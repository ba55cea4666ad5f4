#include "text_normal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "text_charsmap.h"
#include "text_regex.h"
#include "text_utf8.h"
#include <string.h>

enum step_kind {
    STEP_FORM,
    STEP_LOWERCASE,
    STEP_STRIP_ACCENTS,
    STEP_NMT,
    STEP_BERT_CLEAN,
    STEP_BERT_CHINESE,
    STEP_NONSPACING, /* marks of BERT's accents, after NFD */
    STEP_STRIP,
    STEP_PREPEND,
    STEP_REPLACE,
    STEP_REPLACE_REGEX,
    STEP_CHARSMAP,
    STEP_COLLAPSE,
};

struct step {
    enum step_kind kind;
    enum text_unicode_form form;
    bool left, right; /* STRIP */
    char *from, *to;  /* what is replaced, or the charsmap; by what, or what is prepended */
    size_t from_bytes, to_bytes;
    struct text_regex *regex;
    struct text_charsmap charsmap;
};

struct text_normal {
    struct step steps[LIMIT_NORMAL_STEPS];
    size_t step_count;
    bool has_regex;
};

struct buffer {
    char *data;
    size_t bytes, bytes_max;
};

struct text_normal_run {
    const struct text_normal *normal;
    struct buffer buffers[2]; /* one is read while the other is written */
    struct text_unicode_work work;
    struct text_regex_run *regex;
    struct base_error *err;
};

int text_normal_new(struct text_normal **ret_normal)
{
    struct text_normal *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    *ret_normal = self;
    return BASE_OK;
}

void text_normal_destroy(struct text_normal **self_p)
{
    struct text_normal *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < self->step_count; i++) {
        base_free(self->steps[i].from);
        base_free(self->steps[i].to);
        text_regex_destroy(&self->steps[i].regex);
    }
    base_free(self);
    *self_p = NULL;
}

size_t text_normal_step_count(const struct text_normal *self)
{
    return self == NULL ? 0 : self->step_count;
}

static int copy_text(
    const char *text, size_t bytes, size_t bytes_max, char **ret, struct base_error *err)
{
    if (bytes > bytes_max)
        return base_error_set(
            err, BASE_TOO_BIG, "normalizer: a text of %zu bytes, limit %zu", bytes, bytes_max);
    *ret = base_alloc(bytes + 1);
    if (*ret == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the normalizer");
    if (bytes > 0)
        memcpy(*ret, text, bytes);
    (*ret)[bytes] = '\0';
    return BASE_OK;
}

static int add_step(
    struct text_normal *self, enum step_kind kind, struct step **ret_step, struct base_error *err)
{
    *ret_step = &self->steps[0];
    if (self->step_count == LIMIT_NORMAL_STEPS)
        return base_error_set(err, BASE_TOO_BIG,
            "normalizer of more than %d steps (LIMIT_NORMAL_STEPS)", LIMIT_NORMAL_STEPS);
    *ret_step = &self->steps[self->step_count++];
    **ret_step = (struct step){.kind = kind};
    return BASE_OK;
}

int text_normal_add_form(
    struct text_normal *self, enum text_unicode_form form, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_FORM, &step, err);

    if (rc == BASE_OK)
        step->form = form;
    return rc;
}

int text_normal_add_lowercase(struct text_normal *self, struct base_error *err)
{
    struct step *step;

    return add_step(self, STEP_LOWERCASE, &step, err);
}

int text_normal_add_strip_accents(struct text_normal *self, struct base_error *err)
{
    struct step *step;

    return add_step(self, STEP_STRIP_ACCENTS, &step, err);
}

int text_normal_add_nmt(struct text_normal *self, struct base_error *err)
{
    struct step *step;

    return add_step(self, STEP_NMT, &step, err);
}

int text_normal_add_bert(struct text_normal *self, unsigned flags, struct base_error *err)
{
    struct step *step;
    int rc = BASE_OK;

    if ((flags & TEXT_BERT_CLEAN) != 0)
        rc = add_step(self, STEP_BERT_CLEAN, &step, err);
    if (rc == BASE_OK && (flags & TEXT_BERT_CHINESE) != 0)
        rc = add_step(self, STEP_BERT_CHINESE, &step, err);
    if (rc == BASE_OK && (flags & TEXT_BERT_ACCENTS) != 0) {
        rc = text_normal_add_form(self, TEXT_UNICODE_NFD, err);
        if (rc == BASE_OK)
            rc = add_step(self, STEP_NONSPACING, &step, err);
    }
    if (rc == BASE_OK && (flags & TEXT_BERT_LOWER) != 0)
        rc = text_normal_add_lowercase(self, err);
    return rc;
}

int text_normal_add_strip(struct text_normal *self, bool left, bool right, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_STRIP, &step, err);

    if (rc == BASE_OK) {
        step->left = left;
        step->right = right;
    }
    return rc;
}

int text_normal_add_prepend(
    struct text_normal *self, const char *text, size_t bytes, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_PREPEND, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->to_bytes = bytes;
    return copy_text(text, bytes, LIMIT_NORMAL_STRING_BYTES, &step->to, err);
}

int text_normal_add_replace(struct text_normal *self, const char *from, size_t from_bytes,
    const char *to, size_t to_bytes, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_REPLACE, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->from_bytes = from_bytes;
    step->to_bytes = to_bytes;
    rc = copy_text(from, from_bytes, LIMIT_NORMAL_STRING_BYTES, &step->from, err);
    return rc == BASE_OK ? copy_text(to, to_bytes, LIMIT_NORMAL_STRING_BYTES, &step->to, err) : rc;
}

int text_normal_add_replace_regex(struct text_normal *self, const char *pattern, size_t bytes,
    const char *to, size_t to_bytes, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_REPLACE_REGEX, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->to_bytes = to_bytes;
    self->has_regex = true;
    rc = copy_text(to, to_bytes, LIMIT_NORMAL_STRING_BYTES, &step->to, err);
    return rc == BASE_OK ? text_regex_new(pattern, bytes, &step->regex, err) : rc;
}

int text_normal_add_charsmap(
    struct text_normal *self, const char *data, size_t bytes, struct base_error *err)
{
    struct step *step;
    int rc = add_step(self, STEP_CHARSMAP, &step, err);

    if (rc != BASE_OK)
        return rc;
    step->from_bytes = bytes;
    rc = copy_text(data, bytes, LIMIT_CHARSMAP_BYTES, &step->from, err);
    return rc == BASE_OK ? text_charsmap_open(&step->charsmap, step->from, bytes, err) : rc;
}

int text_normal_add_collapse(struct text_normal *self, struct base_error *err)
{
    struct step *step;

    return add_step(self, STEP_COLLAPSE, &step, err);
}

int text_normal_run_new(const struct text_normal *normal, struct text_normal_run **ret_run)
{
    struct text_normal_run *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    self->normal = normal;
    if (normal->has_regex && text_regex_run_new(&self->regex) != BASE_OK) {
        text_normal_run_destroy(&self);
        return BASE_NOMEM;
    }
    *ret_run = self;
    return BASE_OK;
}

void text_normal_run_destroy(struct text_normal_run **self_p)
{
    struct text_normal_run *self = *self_p;

    if (self == NULL)
        return;
    base_free(self->buffers[0].data);
    base_free(self->buffers[1].data);
    text_unicode_work_release(&self->work);
    text_regex_run_destroy(&self->regex);
    base_free(self);
    *self_p = NULL;
}

/* Room for bytes more behind what is there. */
static int reserve(struct text_normal_run *self, struct buffer *out, size_t bytes)
{
    if (bytes > LIMIT_NORMAL_BYTES - out->bytes)
        return base_error_set(self->err, BASE_TOO_BIG,
            "text: normalised, more than %d bytes (LIMIT_NORMAL_BYTES)", LIMIT_NORMAL_BYTES);
    if (bytes <= out->bytes_max - out->bytes)
        return BASE_OK;
    size_t bytes_max = out->bytes + bytes;
    bytes_max += bytes_max / 2 + 64;
    char *data = base_realloc_array(out->data, bytes_max, 1);
    if (data == NULL)
        return base_error_set(self->err, BASE_NOMEM, "tokenizer: no memory to normalise");
    out->data = data;
    out->bytes_max = bytes_max;
    return BASE_OK;
}

static int put(struct text_normal_run *self, struct buffer *out, const char *text, size_t bytes)
{
    int rc = reserve(self, out, bytes);

    if (rc == BASE_OK && bytes > 0) {
        memcpy(out->data + out->bytes, text, bytes);
        out->bytes += bytes;
    }
    return rc;
}

static int put_character(struct text_normal_run *self, struct buffer *out, uint32_t character)
{
    int rc = reserve(self, out, 4);

    if (rc == BASE_OK)
        out->bytes += text_unicode_put(character, out->data + out->bytes);
    return rc;
}

/* Bytes at the start of text that are whole characters. */
static size_t valid_bytes(const char *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes) {
        int length = text_utf8_step(text + at, bytes - at);
        if (length <= 0)
            break;
        at += (size_t)length;
    }
    return at;
}

/* ASCII behind ASCII stays as it is and ends what may combine; only what is between changes. */
static int run_form(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    int rc = BASE_OK;

    for (size_t at = 0; rc == BASE_OK && at < bytes;) {
        size_t plain = text_unicode_plain(text + at, bytes - at), end;
        rc = put(self, out, text + at, plain);
        at += plain;
        for (end = at; rc == BASE_OK && end < bytes;) {
            if (end + 1 < bytes && end > at && (uint8_t)text[end] < 0x80 &&
                (uint8_t)text[end + 1] < 0x80)
                break;
            int length = text_utf8_step(text + end, bytes - end);
            if (length <= 0)
                break;
            end += (size_t)length;
        }
        if (rc == BASE_OK)
            rc = text_unicode_normalize(&self->work, step->form, text + at, end - at);
        for (size_t i = 0; rc == BASE_OK && i < self->work.count; i++)
            rc = put_character(self, out, (uint32_t)self->work.characters[i]);
        at = end;
        if (rc == BASE_OK && at < bytes && text_utf8_step(text + at, bytes - at) <= 0)
            rc = put(self, out, text + at++, 1);
    }
    return rc;
}

/* What the "nmt" rules of SentencePiece drop, and what they make a space. */
static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f ||
           c == 0x9f;
}

static bool nmt_spaces(uint32_t c)
{
    return c == 9 || c == 0xa || c == 0xc || c == 0xd || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == 0xfffd;
}

/* A step that looks at one character at a time; bytes that are none are copied before. */
static int put_changed(
    struct text_normal_run *self, const struct step *step, uint32_t c, struct buffer *out)
{
    uint32_t lower[2];

    switch (step->kind) {
    case STEP_LOWERCASE:
        if (text_unicode_lower(c, lower) == 2) {
            int rc = put_character(self, out, lower[0]);
            return rc == BASE_OK ? put_character(self, out, lower[1]) : rc;
        }
        return put_character(self, out, lower[0]);
    case STEP_STRIP_ACCENTS:
        return text_unicode_is_mark(c) ? BASE_OK : put_character(self, out, c);
    case STEP_NONSPACING:
        return text_unicode_is_nonspacing_mark(c) ? BASE_OK : put_character(self, out, c);
    case STEP_NMT:
        return nmt_drops(c) ? BASE_OK : put_character(self, out, nmt_spaces(c) ? ' ' : c);
    case STEP_BERT_CLEAN:
        if (c == 0 || c == 0xfffd || text_unicode_is_control(c))
            return BASE_OK;
        return put_character(self, out, text_unicode_is_space(c) ? ' ' : c);
    default: /* STEP_BERT_CHINESE */
        if (!text_unicode_is_chinese(c))
            return put_character(self, out, c);
        int rc = put(self, out, " ", 1);
        if (rc == BASE_OK)
            rc = put_character(self, out, c);
        return rc == BASE_OK ? put(self, out, " ", 1) : rc;
    }
}

static int run_characters(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    int rc = BASE_OK;

    for (size_t at = 0, length; rc == BASE_OK && at < bytes; at += length) {
        uint32_t c = text_unicode_at(text + at, bytes - at, &length);
        rc = c == TEXT_UNICODE_BAD ? put(self, out, text + at, 1) : put_changed(self, step, c, out);
    }
    return rc;
}

static int run_strip(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    size_t begin = 0, end = bytes, length;

    while (step->left && begin < end &&
           text_unicode_is_space(text_unicode_at(text + begin, end - begin, &length)))
        begin += length;
    while (step->right && end > begin) {
        size_t last = end - 1;
        while (last > begin && end - last < 4 && ((uint8_t)text[last] & 0xc0) == 0x80)
            last--;
        if (!text_unicode_is_space(text_unicode_at(text + last, end - last, &length)) ||
            last + length != end)
            break;
        end = last;
    }
    return put(self, out, text + begin, end - begin);
}

static int run_replace(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    size_t from = 0;
    int rc = BASE_OK;

    while (rc == BASE_OK && step->from_bytes > 0) {
        const char *found = memmem(text + from, bytes - from, step->from, step->from_bytes);
        if (found == NULL)
            break;
        rc = put(self, out, text + from, (size_t)(found - text) - from);
        if (rc == BASE_OK)
            rc = put(self, out, step->to, step->to_bytes);
        from = (size_t)(found - text) + step->from_bytes;
    }
    return rc == BASE_OK ? put(self, out, text + from, bytes - from) : rc;
}

/* One stretch of whole characters. An empty match right behind another one is none. */
static int replace_stretch(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    size_t from = 0, search = 0, begin, end, length;
    bool matched = false;
    int rc = BASE_OK;

    while (rc == BASE_OK && search <= bytes) {
        rc =
            text_regex_next(step->regex, self->regex, text, bytes, search, &begin, &end, self->err);
        if (rc != BASE_OK)
            break;
        search = end;
        if (end > begin || !matched || begin > from) {
            rc = put(self, out, text + from, begin - from);
            if (rc == BASE_OK)
                rc = put(self, out, step->to, step->to_bytes);
            from = end;
        }
        matched = true;
        if (end == begin && end < bytes) {
            (void)text_unicode_at(text + end, bytes - end, &length);
            search += length;
        } else if (end == begin) {
            break;
        }
    }
    if (rc == BASE_NOT_FOUND)
        rc = BASE_OK;
    return rc == BASE_OK ? put(self, out, text + from, bytes - from) : rc;
}

static int run_replace_regex(struct text_normal_run *self, const struct step *step,
    const char *text, size_t bytes, struct buffer *out)
{
    int rc = BASE_OK;

    for (size_t at = 0; rc == BASE_OK && at < bytes;) {
        size_t valid = valid_bytes(text + at, bytes - at);
        if (valid > 0)
            rc = replace_stretch(self, step, text + at, valid, out);
        at += valid;
        if (rc == BASE_OK && at < bytes)
            rc = put(self, out, text + at++, 1);
    }
    return rc;
}

static int run_charsmap(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    int rc = BASE_OK;

    for (size_t at = 0; rc == BASE_OK && at < bytes;) {
        const char *to;
        size_t to_bytes,
            length = text_charsmap_find(&step->charsmap, text + at, bytes - at, &to, &to_bytes);
        if (length > 0) {
            rc = put(self, out, to, to_bytes);
        } else {
            (void)text_unicode_at(text + at, bytes - at, &length);
            rc = put(self, out, text + at, length);
        }
        at += length;
    }
    return rc;
}

static int run_collapse(
    struct text_normal_run *self, const char *text, size_t bytes, struct buffer *out)
{
    bool waiting = false;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < bytes; i++) {
        if (text[i] == ' ') {
            waiting = out->bytes > 0;
            continue;
        }
        if (waiting)
            rc = put(self, out, " ", 1);
        waiting = false;
        if (rc == BASE_OK)
            rc = put(self, out, text + i, 1);
    }
    return rc;
}

static int run_step(struct text_normal_run *self, const struct step *step, const char *text,
    size_t bytes, struct buffer *out)
{
    int rc;

    switch (step->kind) {
    case STEP_FORM:
        return run_form(self, step, text, bytes, out);
    case STEP_STRIP:
        return run_strip(self, step, text, bytes, out);
    case STEP_PREPEND:
        if (bytes == 0)
            return BASE_OK;
        rc = put(self, out, step->to, step->to_bytes);
        return rc == BASE_OK ? put(self, out, text, bytes) : rc;
    case STEP_REPLACE:
        return run_replace(self, step, text, bytes, out);
    case STEP_REPLACE_REGEX:
        return run_replace_regex(self, step, text, bytes, out);
    case STEP_CHARSMAP:
        return run_charsmap(self, step, text, bytes, out);
    case STEP_COLLAPSE:
        return run_collapse(self, text, bytes, out);
    default:
        return run_characters(self, step, text, bytes, out);
    }
}

int text_normal_run(struct text_normal_run *self, const char *text, size_t bytes,
    const char **ret_text, size_t *ret_bytes, struct base_error *err)
{
    unsigned turn = 0;
    int rc = BASE_OK;

    self->err = err;
    for (size_t i = 0; rc == BASE_OK && i < self->normal->step_count; i++) {
        const struct step *step = &self->normal->steps[i];
        struct buffer *out = &self->buffers[turn & 1];
        /* What is in a normal form already needs no copy. */
        if (step->kind == STEP_FORM && text_unicode_plain(text, bytes) + 1 >= bytes &&
            (bytes == 0 || (uint8_t)text[bytes - 1] < 0x80))
            continue;
        turn++;
        out->bytes = 0;
        rc = run_step(self, step, text, bytes, out);
        text = out->data == NULL ? "" : out->data;
        bytes = out->bytes;
    }
    if (rc == BASE_OK) {
        *ret_text = text;
        *ret_bytes = bytes;
    }
    return rc;
}
