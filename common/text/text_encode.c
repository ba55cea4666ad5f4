/* Text to token ids. */
#include "text_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "text_utf8.h"
#include <string.h>

/* State of one text_encode() call. */
struct encoder {
    const struct text_tokenizer *tokenizer;
    struct text_merge_work merge;
    struct text_split_run *split; /* BPE */
    char *buffer;                 /* SPM: a fragment with its spaces written as U+2581 */
    size_t buffer_bytes_max;
    uint32_t *ids;
    size_t count, count_max;
};

static int put_id(struct encoder *self, uint32_t id)
{
    if (self->count == self->count_max) {
        size_t count_max = self->count_max * 2 + 64;
        void *ids = base_realloc_array(self->ids, count_max, sizeof(*self->ids));
        if (ids == NULL)
            return BASE_NOMEM;
        self->ids = ids;
        self->count_max = count_max;
    }
    self->ids[self->count++] = id;
    return BASE_OK;
}

/*
 * Text that is no token, byte by byte. Where a byte has no token either, one unknown token stands
 * for the whole; without an unknown token nothing does.
 */
static int put_bytes(struct encoder *self, const char *text, size_t bytes)
{
    const struct text_tokenizer *tokenizer = self->tokenizer;
    bool all = true;
    int rc = BASE_OK;

    for (size_t i = 0; i < bytes; i++)
        all = all && tokenizer->byte_ids[(uint8_t)text[i]] < tokenizer->vocab_size;
    if (!all)
        return tokenizer->unknown_id < 0 ? BASE_OK : put_id(self, (uint32_t)tokenizer->unknown_id);
    for (size_t i = 0; rc == BASE_OK && i < bytes; i++)
        rc = put_id(self, tokenizer->byte_ids[(uint8_t)text[i]]);
    return rc;
}

/* Ids of what merging left. */
static int put_symbols(struct encoder *self, const char *piece)
{
    int rc = BASE_OK;

    for (uint32_t i = 0; rc == BASE_OK && i != TEXT_NONE; i = self->merge.symbols[i].next) {
        const struct text_symbol *symbol = &self->merge.symbols[i];
        if (symbol->id < self->tokenizer->vocab_size)
            rc = put_id(self, symbol->id);
        else if (self->tokenizer->kind == TEXT_KIND_SPM)
            rc = put_bytes(self, piece + symbol->begin, symbol->bytes);
        else
            for (uint32_t k = 0; rc == BASE_OK && k < symbol->bytes; k++)
                rc = put_bytes(self, piece + symbol->begin + k, 1);
    }
    return rc;
}

static bool bpe_rule(const void *context, const char *piece, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    const struct text_tokenizer *tokenizer = context;

    return text_pairs_find(&tokenizer->merges, left->id, right->id, ret_key, ret_id);
}

static bool spm_rule(const void *context, const char *piece, const struct text_symbol *left,
    const struct text_symbol *right, uint32_t *ret_key, uint32_t *ret_id)
{
    const struct text_tokenizer *tokenizer = context;
    /* Symbols are tokens or single characters, so this stays short. */
    int64_t id =
        text_table_find(&tokenizer->by_text, piece + left->begin, left->bytes + right->bytes);

    if (id < 0)
        return false;
    *ret_id = (uint32_t)id;
    *ret_key = tokenizer->score_keys[id];
    return true;
}

/* One pre-token. */
static int bpe_piece(void *context, const char *piece, size_t bytes)
{
    struct encoder *self = context;
    const struct text_tokenizer *tokenizer = self->tokenizer;
    int rc = BASE_OK;

    if (text_split_ignores_merges(tokenizer->split)) {
        int64_t id = text_table_find(&tokenizer->by_text, piece, bytes);
        if (id >= 0 && id < (int64_t)tokenizer->vocab_size)
            return put_id(self, (uint32_t)id);
    }
    self->merge.symbol_count = 0;
    rc = text_merge_reserve(&self->merge, bytes);
    for (size_t i = 0; rc == BASE_OK && i < bytes; i++)
        rc = text_merge_add(&self->merge, (uint32_t)i, 1, tokenizer->byte_ids[(uint8_t)piece[i]]);
    if (rc == BASE_OK)
        rc = text_merge_run(&self->merge, piece, bpe_rule, tokenizer);
    return rc == BASE_OK ? put_symbols(self, piece) : rc;
}

/* Valid stretches go through the pre-tokenizer; a byte between them is a piece of its own. */
static int bpe_fragment(
    struct encoder *self, const char *text, size_t bytes, struct base_error *err)
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
            rc = text_split_run(self->split, text + from, at - from, bpe_piece, self, err);
        if (rc == BASE_OK && at < bytes)
            rc = put_bytes(self, text + at, 1);
        from = ++at;
    }
    return rc;
}

/* The fragment with a space in front if asked for and every space as U+2581, into buffer. */
static int spm_escape(
    struct encoder *self, const char *text, size_t bytes, bool prefix, size_t *ret_bytes)
{
    size_t needed = (bytes + 1) * 3, used = 0; /* bytes <= LIMIT_PROMPT_BYTES */

    if (needed > self->buffer_bytes_max) {
        void *buffer = base_realloc_array(self->buffer, needed, 1);
        if (buffer == NULL)
            return BASE_NOMEM;
        self->buffer = buffer;
        self->buffer_bytes_max = needed;
    }
    if (prefix) {
        memcpy(self->buffer, "\xe2\x96\x81", 3);
        used = 3;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] != ' ') {
            self->buffer[used++] = text[i];
            continue;
        }
        memcpy(self->buffer + used, "\xe2\x96\x81", 3);
        used += 3;
    }
    *ret_bytes = used;
    return BASE_OK;
}

static int spm_fragment(struct encoder *self, const char *text, size_t bytes)
{
    const struct text_tokenizer *tokenizer = self->tokenizer;
    size_t escaped_bytes;
    int rc = spm_escape(self, text, bytes, tokenizer->add_space_prefix, &escaped_bytes);

    self->merge.symbol_count = 0;
    for (size_t i = 0; rc == BASE_OK && i < escaped_bytes;) {
        int length = text_utf8_step(self->buffer + i, escaped_bytes - i);
        size_t symbol_bytes = length > 0 ? (size_t)length : 1;
        int64_t id = text_table_find(&tokenizer->by_text, self->buffer + i, symbol_bytes);
        rc = text_merge_add(
            &self->merge, (uint32_t)i, (uint32_t)symbol_bytes, id < 0 ? TEXT_NONE : (uint32_t)id);
        i += symbol_bytes;
    }
    if (rc == BASE_OK)
        rc = text_merge_run(&self->merge, self->buffer, spm_rule, tokenizer);
    return rc == BASE_OK ? put_symbols(self, self->buffer) : rc;
}

/* Text between added tokens. Each such fragment begins the text or follows an added token. */
static int put_fragment(
    struct encoder *self, const char *text, size_t bytes, struct base_error *err)
{
    if (bytes == 0)
        return BASE_OK;
    return self->tokenizer->kind == TEXT_KIND_SPM ? spm_fragment(self, text, bytes)
                                                  : bpe_fragment(self, text, bytes, err);
}

static int encode_all(
    struct encoder *self, const char *text, size_t bytes, unsigned flags, struct base_error *err)
{
    const struct text_tokenizer *tokenizer = self->tokenizer;
    bool controls = (flags & TEXT_PARSE_SPECIAL) != 0;
    bool special = (flags & TEXT_ADD_SPECIAL) != 0;
    size_t from = 0, at = 0;
    int rc = BASE_OK;

    if (special && tokenizer->add_bos && tokenizer->bos_id >= 0)
        rc = put_id(self, (uint32_t)tokenizer->bos_id);
    while (rc == BASE_OK) {
        const struct text_special *found =
            text_specials_find(&tokenizer->specials, text, bytes, from, controls, &at);
        if (found == NULL)
            break;
        rc = put_fragment(self, text + from, at - from, err);
        if (rc == BASE_OK)
            rc = put_id(self, found->id);
        from = at + found->bytes;
    }
    if (rc == BASE_OK)
        rc = put_fragment(self, text + from, bytes - from, err);
    if (rc == BASE_OK && special && tokenizer->add_eos && tokenizer->eos_id >= 0)
        rc = put_id(self, (uint32_t)tokenizer->eos_id);
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
    struct encoder encoder = {.tokenizer = self};
    struct base_error reason = {0};
    int rc = BASE_OK;

    if (bytes > LIMIT_PROMPT_BYTES)
        return base_error_set(err, BASE_TOO_BIG, "text: %zu bytes, limit %d (LIMIT_PROMPT_BYTES)",
            bytes, LIMIT_PROMPT_BYTES);
    if (self->kind == TEXT_KIND_BPE)
        rc = text_split_run_new(self->split, &encoder.split);
    if (rc == BASE_OK)
        rc = encode_all(&encoder, text, bytes, flags, &reason);
    if (rc == BASE_OK)
        rc = text_ids_append(ids, encoder.ids, encoder.count);
    if (rc != BASE_OK)
        (void)base_error_set(
            err, rc, "%s", reason.code != BASE_OK ? reason.text : "text: no memory to tokenise");
    text_split_run_destroy(&encoder.split);
    text_merge_release(&encoder.merge);
    base_free(encoder.buffer);
    base_free(encoder.ids);
    return rc;
}

void text_ids_release(struct text_ids *self)
{
    base_free(self->ids);
    *self = (struct text_ids){0};
}
