/* Text to token ids: added tokens, normaliser, pre-tokenizer, words. */
#include "text_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_alphabet.h"
#include "text_utf8.h"
#include "text_word.h"
#include <string.h>

/* State of one text_encode() call. */
struct encoder {
    const struct text_tokenizer *tokenizer;
    struct text_normal_run *normal; /* or NULL */
    struct text_split_run *split;   /* or NULL */
    struct text_word_work work;
    struct text_list list;
    char *word; /* a word out of the alphabet of bytes again */
    size_t word_bytes_max;
    bool controls; /* TEXT_PARSE_SPECIAL */
    struct base_error *err;
};

static int take_word(void *context, const char *word, size_t bytes)
{
    struct encoder *self = context;

    return text_word_encode(self->tokenizer, &self->work, word, bytes, &self->list);
}

/* A word of the alphabet: as bytes again. */
static int take_alphabet_word(void *context, const char *word, size_t bytes)
{
    struct encoder *self = context;
    size_t word_bytes;

    if (bytes > self->word_bytes_max) {
        char *grown = base_realloc_array(self->word, bytes + bytes / 2, 1);
        if (grown == NULL)
            return BASE_NOMEM;
        self->word = grown;
        self->word_bytes_max = bytes + bytes / 2;
    }
    (void)text_alphabet_decode(
        text_split_alphabet(self->tokenizer->split), word, bytes, self->word, &word_bytes);
    return take_word(context, self->word, word_bytes);
}

/* Whole characters: the pre-tokenizer, then each word. is_start: the whole text begins here. */
static int put_valid(struct encoder *self, const char *text, size_t bytes, bool is_start)
{
    if (self->split == NULL)
        return take_word(self, text, bytes);
    return text_split_run(self->split, text, bytes, is_start,
        text_split_is_alphabet(self->tokenizer->split) ? take_alphabet_word : take_word, self,
        self->err);
}

/* Normalised text without added tokens. A byte that is not UTF-8 is a token of its own. */
static int put_plain(struct encoder *self, const char *text, size_t bytes, bool is_start)
{
    size_t from = 0, at = 0;
    int rc = BASE_OK;

    while (rc == BASE_OK && from < bytes) {
        int length = at < bytes ? text_utf8_step(text + at, bytes - at) : 0;
        if (length > 0) {
            at += (size_t)length;
            continue;
        }
        if (at > from)
            rc = put_valid(self, text + from, at - from, is_start && from == 0);
        if (rc == BASE_OK && at < bytes)
            rc = text_word_put_bytes(self->tokenizer, text + at, 1, &self->list);
        from = ++at;
    }
    return rc;
}

static int put_fragment(struct encoder *self, const char *text, size_t bytes, bool is_start);

/* Cuts text at the added tokens of a set; what is between them goes to put_fragment() if the set is
 * the one for text as given, to put_plain() if not. */
static int put_text(struct encoder *self, const struct text_specials *specials, bool is_raw,
    const char *text, size_t bytes, bool is_start)
{
    size_t from = 0, begin, end;
    int rc = BASE_OK;

    while (rc == BASE_OK) {
        const struct text_special *found =
            text_specials_find(specials, text, bytes, from, self->controls, &begin, &end);
        if (found == NULL)
            begin = end = bytes;
        if (begin > from) {
            bool starts = is_start && from == 0;
            rc = is_raw ? put_fragment(self, text + from, begin - from, starts)
                        : put_plain(self, text + from, begin - from, starts);
        }
        if (found == NULL)
            break;
        if (rc == BASE_OK)
            rc = text_list_put(&self->list, found->id);
        from = end;
    }
    return rc;
}

/* Text between added tokens. */
static int put_fragment(struct encoder *self, const char *text, size_t bytes, bool is_start)
{
    int rc = BASE_OK;

    if (self->normal != NULL)
        rc = text_normal_run(self->normal, text, bytes, &text, &bytes, self->err);
    if (rc != BASE_OK || bytes == 0)
        return rc;
    return put_text(self, &self->tokenizer->normalized, false, text, bytes, is_start);
}

static int encode_all(struct encoder *self, const char *text, size_t bytes, unsigned flags)
{
    const struct text_tokenizer *tokenizer = self->tokenizer;
    bool special = (flags & TEXT_ADD_SPECIAL) != 0;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && special && i < tokenizer->prefix.count; i++)
        rc = text_list_put(&self->list, tokenizer->prefix.ids[i]);
    if (rc == BASE_OK)
        rc = put_text(self, &tokenizer->raw, true, text, bytes, true);
    for (size_t i = 0; rc == BASE_OK && special && i < tokenizer->suffix.count; i++)
        rc = text_list_put(&self->list, tokenizer->suffix.ids[i]);
    return rc;
}

int text_ids_append(struct text_ids *self, const uint32_t *ids, size_t count)
{
    size_t total;

    if (count == 0)
        return BASE_OK;
    if (!base_add_size(self->count, count, &total))
        return BASE_NOMEM;
    void *grown = base_realloc_array(self->ids, total, sizeof(*self->ids));
    if (grown == NULL)
        return BASE_NOMEM;
    self->ids = grown;
    memcpy(self->ids + self->count, ids, count * sizeof(*ids));
    self->count = total;
    return BASE_OK;
}

int text_encode(const struct text_tokenizer *self, const char *text, size_t bytes, unsigned flags,
    struct text_ids *ids, struct base_error *err)
{
    struct base_error reason = {0};
    struct encoder encoder = {
        .tokenizer = self, .controls = (flags & TEXT_PARSE_SPECIAL) != 0, .err = &reason};
    int rc = BASE_OK;

    if (bytes > LIMIT_PROMPT_BYTES)
        return base_error_set(err, BASE_TOO_BIG, "text: %zu bytes, limit %d (LIMIT_PROMPT_BYTES)",
            bytes, LIMIT_PROMPT_BYTES);
    text_cache_open(&encoder.work.cache, bytes);
    if (text_normal_step_count(self->normal) > 0)
        rc = text_normal_run_new(self->normal, &encoder.normal);
    if (rc == BASE_OK && self->split != NULL && text_split_step_count(self->split) > 0)
        rc = text_split_run_new(self->split, &encoder.split);
    if (rc == BASE_OK)
        rc = encode_all(&encoder, text, bytes, flags);
    if (rc == BASE_OK)
        rc = text_ids_append(ids, encoder.list.ids, encoder.list.count);
    if (rc != BASE_OK)
        (void)base_error_set(
            err, rc, "%s", reason.code != BASE_OK ? reason.text : "text: no memory to tokenise");
    text_split_run_destroy(&encoder.split);
    text_normal_run_destroy(&encoder.normal);
    text_word_work_release(&encoder.work);
    base_free(encoder.list.ids);
    base_free(encoder.word);
    return rc;
}

void text_ids_release(struct text_ids *self)
{
    base_free(self->ids);
    *self = (struct text_ids){0};
}
