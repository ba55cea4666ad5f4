#include "text_vocab.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_alphabet.h"
#include "text_decode.h"
#include "text_utf8.h"
#include <float.h>
#include <math.h>
#include <string.h>

static const char space[] = "\xe2\x96\x81"; /* U+2581 stands for a space */

int text_vocab_no_memory(struct base_error *err)
{
    return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the vocabulary");
}

int text_byte_parse(const char *name, size_t bytes)
{
    int value = 0;

    if (bytes != 6 || memcmp(name, "<0x", 3) != 0 || name[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = name[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

int text_affix_add(struct text_affix *self, int64_t id, struct base_error *err)
{
    if (id < 0)
        return BASE_OK;
    if (self->count == LIMIT_TOKENIZER_AFFIX)
        return base_error_set(err, BASE_TOO_BIG,
            "more than %d tokens beside a text (LIMIT_TOKENIZER_AFFIX)", LIMIT_TOKENIZER_AFFIX);
    self->ids[self->count++] = (uint32_t)id;
    return BASE_OK;
}

/*
 * Markup and ends of text that files sometimes declare as ordinary or user-defined tokens. Taken
 * for control tokens all the same, so that text of a user never becomes one. Those of the second
 * list are only markup when the file does not call them ordinary: "</s>" is also HTML.
 */
static const char *const markup[] = {"<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|end|>",
    "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<|endoftext|>", "<|eom_id|>",
    "<|end_of_text|>", "<|tool_response>", "<｜end▁of▁sentence｜>"};
static const char *const markup_unless_normal[] = {"<end_of_turn>", "</s>", "<EOT>", "_<EOT>",
    "[EOT]", "[EOS]", "<end_of_utterance>", "<eos>", "<turn|>", "[e~["};
/* Where a prompt is meant to be completed in its middle: these end the middle. */
static const char *const fill_in[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>"};

static int64_t find_name(const struct text_tokenizer *self, const char *name)
{
    return text_table_find(&self->by_name, name, strlen(name));
}

static void mark_ends(struct text_tokenizer *self)
{
    bool harmony = find_name(self, "<|return|>") >= 0 && find_name(self, "<|call|>") >= 0;

    for (size_t i = 0; i < sizeof(markup) / sizeof(markup[0]); i++) {
        int64_t id = find_name(self, markup[i]);
        if (id < 0)
            continue;
        self->types[id] = TEXT_TYPE_CONTROL;
        /* <|start|> ... <|end|> only closes one message where <|return|> ends the answer. */
        self->ends[id] =
            strcmp(markup[i], "<|im_start|>") != 0 && !(harmony && !strcmp(markup[i], "<|end|>"));
    }
    for (size_t i = 0; i < sizeof(markup_unless_normal) / sizeof(markup_unless_normal[0]); i++) {
        int64_t id = find_name(self, markup_unless_normal[i]);
        if (id < 0 || self->types[id] == TEXT_TYPE_NORMAL)
            continue;
        self->types[id] = TEXT_TYPE_CONTROL;
        self->ends[id] = true;
    }
    for (size_t i = 0; i < sizeof(fill_in) / sizeof(fill_in[0]); i++) {
        int64_t id = find_name(self, fill_in[i]);
        if (id >= 0 && self->types[id] != TEXT_TYPE_NORMAL)
            self->ends[id] = true;
    }
}

/* Fills by_name, control tokens first so that they win over ordinary ones of the same text. */
static int index_names(struct text_tokenizer *self)
{
    int rc = BASE_OK;

    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
            if ((self->types[i] == TEXT_TYPE_CONTROL) == (pass == 0))
                rc = text_table_add(&self->by_name, &self->names, i);
        }
    }
    return rc;
}

/* Whether merging may produce a token. */
static bool merges(const struct text_tokenizer *self, size_t id, bool is_whole)
{
    enum text_type type = self->types[id];

    if (self->kind == TEXT_KIND_BPE)
        return type == TEXT_TYPE_NORMAL && is_whole;
    return type == TEXT_TYPE_NORMAL || type == TEXT_TYPE_UNUSED || type == TEXT_TYPE_USER_DEFINED;
}

static int make_pieces(struct text_tokenizer *self, const struct text_alphabet *alphabet)
{
    char *piece = NULL;
    size_t piece_max = 0;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
        size_t bytes;
        bool is_whole;
        const char *name = text_strings_at(&self->names, i, &bytes);
        rc = text_decode_piece(&self->decoder, alphabet, name, bytes, self->types[i], &piece,
            &piece_max, &bytes, &is_whole);
        if (rc == BASE_OK)
            rc = text_strings_append(&self->pieces, piece, bytes);
        if (rc == BASE_OK && bytes > 0 && merges(self, i, is_whole))
            rc = text_table_add(
                &self->by_text, self->kind == TEXT_KIND_BPE ? &self->pieces : &self->names, i);
    }
    base_free(piece);
    return rc;
}

static void find_byte_tokens(struct text_tokenizer *self)
{
    for (size_t i = self->vocab_size; i-- > 0;) {
        size_t bytes;
        const char *name = text_strings_at(&self->names, i, &bytes);
        int byte = self->types[i] == TEXT_TYPE_BYTE ? text_byte_parse(name, bytes) : -1;
        if (byte >= 0)
            self->byte_ids[byte] = (uint32_t)i;
    }
}

/* Every byte gets an id to begin merging with; bytes without token get an extra. */
static int make_byte_tokens(struct text_tokenizer *self, const struct text_alphabet *alphabet)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text = (char)byte, name[2];
        int64_t id = text_table_find(&self->by_text, &text, 1);
        size_t name_bytes = text_alphabet_encode(alphabet, &text, 1, name);

        /* Some files hold the rarest bytes only as added tokens, in their printable form. */
        if (id < 0 && name_bytes > 1) {
            id = text_table_find(&self->by_name, name, name_bytes);
            if (id >= 0 && self->types[id] != TEXT_TYPE_USER_DEFINED)
                id = -1;
        }
        if (id < 0) {
            id = (int64_t)self->pieces.count;
            int rc = text_strings_append(&self->pieces, &text, 1);
            if (rc == BASE_OK)
                rc = text_table_add(&self->by_text, &self->pieces, (size_t)id);
            if (rc != BASE_OK)
                return rc;
        }
        self->byte_ids[byte] = (uint32_t)id;
    }
    return BASE_OK;
}

int text_vocab_index(struct text_tokenizer *self, struct base_error *err)
{
    struct text_alphabet alphabet;
    int rc;

    text_alphabet_make(&alphabet);
    self->ends = base_alloc_zeroed(self->vocab_size, sizeof(*self->ends));
    if (self->ends == NULL)
        return text_vocab_no_memory(err);
    for (unsigned byte = 0; byte < 256; byte++)
        self->byte_ids[byte] = TEXT_NONE;
    rc = index_names(self);
    if (rc == BASE_OK) {
        mark_ends(self);
        rc = make_pieces(self, &alphabet);
    }
    if (rc == BASE_OK && self->kind == TEXT_KIND_BPE)
        rc = make_byte_tokens(self, &alphabet);
    else if (rc == BASE_OK)
        find_byte_tokens(self);
    return rc == BASE_OK ? BASE_OK : text_vocab_no_memory(err);
}

/* Id of a part of a merge: a token, or an extra made for it. */
static int merge_part(struct text_tokenizer *self, const char *text, size_t bytes, uint32_t *ret_id)
{
    int64_t id = text_table_find(&self->by_text, text, bytes);
    int rc = BASE_OK;

    if (id < 0 && bytes == 1)
        id = self->byte_ids[(uint8_t)text[0]];
    if (id < 0) {
        id = (int64_t)self->pieces.count;
        rc = text_strings_append(&self->pieces, text, bytes);
        if (rc == BASE_OK)
            rc = text_table_add(&self->by_text, &self->pieces, (size_t)id);
    }
    *ret_id = (uint32_t)id;
    return rc;
}

static int merge_bytes(
    struct text_tokenizer *self, const char *both, size_t left_bytes, size_t bytes, uint32_t rank)
{
    uint32_t left, right, merged;
    int rc = merge_part(self, both, left_bytes, &left);

    if (rc == BASE_OK)
        rc = merge_part(self, both + left_bytes, bytes - left_bytes, &right);
    if (rc == BASE_OK)
        rc = merge_part(self, both, bytes, &merged);
    return rc == BASE_OK ? text_pairs_add(&self->merges, left, right, rank, merged) : rc;
}

int text_vocab_merge(struct text_tokenizer *self, const struct text_alphabet *alphabet,
    const char *left, size_t left_bytes, const char *right, size_t right_bytes, uint32_t rank)
{
    char small[256], *both = small;
    size_t left_decoded = left_bytes, right_decoded = right_bytes;
    bool decodes = true;
    int rc = BASE_OK;

    if (left_bytes + right_bytes > sizeof(small)) {
        both = base_alloc(left_bytes + right_bytes);
        if (both == NULL)
            return BASE_NOMEM;
    }
    if (self->kind == TEXT_KIND_BPE) {
        decodes =
            text_alphabet_decode(alphabet, left, left_bytes, both, &left_decoded) &&
            text_alphabet_decode(alphabet, right, right_bytes, both + left_decoded, &right_decoded);
        /* Rules with characters outside the alphabet can never apply. */
        if (decodes)
            rc = merge_bytes(self, both, left_decoded, left_decoded + right_decoded, rank);
    } else {
        memcpy(both, left, left_bytes);
        memcpy(both + left_bytes, right, right_bytes);
        int64_t left_id = text_table_find(&self->by_text, left, left_bytes);
        int64_t right_id = text_table_find(&self->by_text, right, right_bytes);
        int64_t id = text_table_find(&self->by_text, both, left_bytes + right_bytes);
        if (left_id >= 0 && right_id >= 0 && id >= 0)
            rc = text_pairs_add(
                &self->merges, (uint32_t)left_id, (uint32_t)right_id, rank, (uint32_t)id);
    }
    if (both != small)
        base_free(both);
    return rc;
}

static int make_score_keys(struct text_tokenizer *self)
{
    self->score_keys = base_alloc_array(self->vocab_size, sizeof(*self->score_keys));
    if (self->score_keys == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; i < self->vocab_size; i++) {
        float score = self->scores[i] + 0.0f; /* -0 to 0 */
        uint32_t bits;
        memcpy(&bits, &score, sizeof(bits));
        /* Order of floats as order of integers, turned round. */
        self->score_keys[i] = (bits & 0x80000000u) != 0 ? bits : 0x7fffffffu - bits;
    }
    return BASE_OK;
}

static int make_trie(struct text_tokenizer *self)
{
    double least = DBL_MAX;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
        size_t bytes;
        const char *name = text_strings_at(&self->names, i, &bytes);
        if (self->scores != NULL && self->types[i] == TEXT_TYPE_NORMAL && self->scores[i] < least)
            least = self->scores[i];
        if (bytes == 0 || self->types[i] == TEXT_TYPE_CONTROL ||
            self->types[i] == TEXT_TYPE_UNKNOWN || self->types[i] == TEXT_TYPE_BYTE)
            continue;
        if (self->kind == TEXT_KIND_WORDPIECE && bytes > 3 && memcmp(name, space, 3) == 0)
            rc = text_trie_add(&self->initials, name + 3, bytes - 3, (uint32_t)i);
        else
            rc = text_trie_add(&self->trie, name, bytes, (uint32_t)i);
    }
    self->unknown_score = (least == DBL_MAX ? 0.0 : least) - 10.0;
    return rc;
}

/* Whether no token goes on behind a space that follows something else, and a space is a token. */
static bool can_cut(const struct text_tokenizer *self)
{
    if (text_table_find(&self->by_text, space, 3) < 0)
        return false;
    for (size_t i = 0; i < self->vocab_size; i++) {
        size_t bytes, at = 0;
        const char *name = text_strings_at(&self->names, i, &bytes);
        if (self->types[i] == TEXT_TYPE_CONTROL || self->types[i] == TEXT_TYPE_UNKNOWN)
            continue;
        while (bytes - at >= 3 && memcmp(name + at, space, 3) == 0)
            at += 3;
        if (bytes - at >= 3 && memmem(name + at, bytes - at, space, 3) != NULL)
            return false;
    }
    return true;
}

/* The added tokens of a GGUF file are those of certain types. */
static int add_specials(struct text_tokenizer *self, struct base_error *err)
{
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
        size_t bytes;
        const char *text = text_strings_at(&self->names, i, &bytes);
        bool always = self->types[i] == TEXT_TYPE_USER_DEFINED;

        if (always || self->types[i] == TEXT_TYPE_CONTROL || self->types[i] == TEXT_TYPE_UNKNOWN) {
            struct text_special item = {
                .text = text, .bytes = (uint32_t)bytes, .id = (uint32_t)i, .always = always};
            rc = text_specials_add(&self->raw, &item, err);
        }
    }
    return rc;
}

int text_vocab_finish(struct text_tokenizer *self, struct base_error *err)
{
    bool spaced = self->kind == TEXT_KIND_SPM || self->kind == TEXT_KIND_CHARS ||
                  self->kind == TEXT_KIND_UNIGRAM;
    int rc = BASE_OK;

    if (self->kind == TEXT_KIND_SPM)
        rc = make_score_keys(self);
    else if (self->kind == TEXT_KIND_UNIGRAM || self->kind == TEXT_KIND_WORDPIECE)
        rc = make_trie(self);
    if (rc != BASE_OK)
        return text_vocab_no_memory(err);
    self->cuts_at_spaces = spaced && !self->ignores_merges && can_cut(self);
    if (self->raw.count == 0 && self->normalized.count == 0)
        rc = add_specials(self, err);
    text_specials_seal(&self->raw);
    text_specials_seal(&self->normalized);
    return rc;
}
