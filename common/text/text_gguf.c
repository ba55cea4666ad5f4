/* The tokenizer.ggml.* keys of a GGUF file. */
#include "text_vocab.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "text_alphabet.h"
#include "text_pre.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define KEY(name) "tokenizer.ggml." name

static int read_names(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;
    struct gguf_string name;
    int rc = gguf_get_array(file, KEY("tokens"), &array, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.tokens is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    if (array.count == 0 || array.count > LIMIT_VOCAB_MAX)
        return base_error_set(err, BASE_MALFORMED,
            "%s: tokenizer.ggml.tokens: %" PRIu64 " tokens, need 1 to %d", gguf_path(file),
            array.count, LIMIT_VOCAB_MAX);
    while (gguf_array_next_string(&array, &name)) {
        rc = text_strings_append(&self->names, name.data, name.bytes);
        if (rc != BASE_OK)
            return rc == BASE_NOMEM ? text_vocab_no_memory(err)
                                    : base_error_set(err, rc, "%s: tokenizer.ggml.tokens: too big",
                                          gguf_path(file));
    }
    self->vocab_size = self->names.count;
    if (self->vocab_size != array.count)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.tokens: not strings", gguf_path(file));
    return BASE_OK;
}

static int read_types(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;

    self->types = base_alloc(self->vocab_size);
    if (self->types == NULL)
        return text_vocab_no_memory(err);
    memset(self->types, TEXT_TYPE_NORMAL, self->vocab_size);
    int rc = gguf_get_array(file, KEY("token_type"), &array, err);
    if (rc == BASE_NOT_FOUND)
        return BASE_OK;
    if (rc != BASE_OK)
        return rc;
    for (size_t i = 0; i < self->vocab_size; i++) {
        int64_t type;
        if (!gguf_array_next_i64(&array, &type))
            return base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.token_type: no integer for token %zu of %zu", gguf_path(file),
                i, self->vocab_size);
        if (type >= TEXT_TYPE_NORMAL && type <= TEXT_TYPE_BYTE)
            self->types[i] = (uint8_t)type;
    }
    return BASE_OK;
}

static int read_scores(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;
    int rc = gguf_get_array(file, KEY("scores"), &array, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.scores is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    self->scores = base_alloc_array(self->vocab_size, sizeof(*self->scores));
    if (self->scores == NULL)
        return text_vocab_no_memory(err);
    for (size_t i = 0; i < self->vocab_size; i++) {
        float score;
        if (!gguf_array_next_f32(&array, &score) || isnan(score))
            return base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.scores: no number for token %zu of %zu", gguf_path(file), i,
                self->vocab_size);
        self->scores[i] = score;
    }
    return BASE_OK;
}

static int read_merges(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct text_alphabet alphabet;
    struct gguf_array array;
    struct gguf_string line;
    uint32_t rank = 0;
    int rc = gguf_get_array(file, KEY("merges"), &array, err);

    if (rc == BASE_NOT_FOUND && self->merges_by_id)
        return BASE_OK;
    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.merges is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    text_alphabet_make(&alphabet);
    while (rc == BASE_OK && gguf_array_next_string(&array, &line)) {
        /* A token may begin with a space, so the search begins behind the first byte. */
        const char *gap = line.bytes < 3 ? NULL : memchr(line.data + 1, ' ', line.bytes - 2);
        if (gap == NULL)
            rc = base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.merges: rule %u is not two parts", gguf_path(file), rank);
        else if (text_vocab_merge(self, &alphabet, line.data, (size_t)(gap - line.data), gap + 1,
                     line.bytes - (size_t)(gap + 1 - line.data), rank++) != BASE_OK)
            rc = text_vocab_no_memory(err);
    }
    if (rc == BASE_OK && rank != array.count)
        rc = base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.merges: not strings", gguf_path(file));
    return rc;
}

/* A token id by key. *id keeps its default when the key is absent or the file says "none". */
static int read_id(const struct text_tokenizer *self, const struct gguf *file, const char *key,
    int64_t *id, struct base_error *err)
{
    uint32_t value;
    int rc = gguf_get_u32(file, key, &value, err);

    if (rc == BASE_NOT_FOUND) {
        if (*id >= (int64_t)self->vocab_size)
            *id = -1;
        return BASE_OK;
    }
    if (rc != BASE_OK)
        return rc;
    if (value == UINT32_MAX) {
        *id = -1;
        return BASE_OK;
    }
    if (value >= self->vocab_size)
        return base_error_set(err, BASE_MALFORMED, "%s: %s: %u, but there are %zu tokens",
            gguf_path(file), key, value, self->vocab_size);
    *id = value;
    return BASE_OK;
}

/* All that end generation, as generation_config.json may list them. */
static int read_ends(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    static const char *const keys[] = {KEY("eot_token_id"), KEY("eom_token_id"),
        KEY("fim_pad_token_id"), KEY("fim_rep_token_id"), KEY("fim_sep_token_id")};
    struct gguf_array array;
    int64_t id;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < sizeof(keys) / sizeof(keys[0]); i++) {
        id = -1;
        rc = read_id(self, file, keys[i], &id, err);
        if (rc == BASE_OK && id >= 0)
            self->ends[id] = true;
    }
    if (rc == BASE_OK)
        rc = gguf_get_array(file, KEY("eos_token_ids"), &array, err);
    if (rc != BASE_OK)
        return rc == BASE_NOT_FOUND ? BASE_OK : rc;
    for (uint64_t i = 0; i < array.count; i++) {
        if (!gguf_array_next_i64(&array, &id) || id < 0 || (uint64_t)id >= self->vocab_size)
            return base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.eos_token_ids: element %" PRIu64 " is no token",
                gguf_path(file), i);
        self->ends[id] = true;
    }
    return BASE_OK;
}

static int read_template(
    struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_string text;
    int rc = gguf_get_string(file, "tokenizer.chat_template", &text, err);

    if (rc != BASE_OK)
        return rc == BASE_NOT_FOUND ? BASE_OK : rc;
    self->chat_template = base_alloc(text.bytes + 1);
    if (self->chat_template == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the chat template");
    if (text.bytes > 0)
        memcpy(self->chat_template, text.data, text.bytes);
    self->chat_template[text.bytes] = '\0';
    return BASE_OK;
}

int text_gguf_roles(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct text_roles *roles = &self->roles;
    const struct {
        const char *key;
        int64_t *id;
    } rows[] = {{KEY("unknown_token_id"), &roles->unknown}, {KEY("cls_token_id"), &roles->bos},
        {KEY("bos_token_id"), &roles->bos}, {KEY("eos_token_id"), &roles->eos},
        {KEY("eot_token_id"), &roles->eot}, {KEY("eom_token_id"), &roles->eom},
        {KEY("seperator_token_id"), &roles->separator}, {KEY("padding_token_id"), &roles->padding},
        {KEY("mask_token_id"), &roles->mask}};
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < sizeof(rows) / sizeof(rows[0]); i++)
        rc = read_id(self, file, rows[i].key, rows[i].id, err);
    if (rc == BASE_OK && roles->eos >= 0)
        self->ends[roles->eos] = true;
    if (rc == BASE_OK)
        rc = read_ends(self, file, err);
    return rc == BASE_OK ? read_template(self, file, err) : rc;
}

/* A flag by key; *value keeps its default when the key is absent. */
static int read_flag(const struct gguf *file, const char *key, bool *value, struct base_error *err)
{
    int rc = gguf_get_bool(file, key, value, err);

    return rc == BASE_NOT_FOUND ? BASE_OK : rc;
}

/* What is put in front of a text and behind it. */
static int read_affixes(struct text_tokenizer *self, const struct gguf *file,
    const struct text_pre *pre, struct base_error *err)
{
    bool wordpiece = self->kind == TEXT_KIND_WORDPIECE;
    bool bos = self->kind == TEXT_KIND_SPM || wordpiece ||
               (pre != NULL && (pre->flags & TEXT_PRE_ADDS_BOS) != 0);
    bool eos = self->kind == TEXT_KIND_UNIGRAM;
    bool separator = wordpiece || (pre != NULL && (pre->flags & TEXT_PRE_ADDS_EOS) != 0);
    int rc = read_flag(file, KEY("add_bos_token"), &bos, err);

    if (rc == BASE_OK)
        rc = read_flag(file, KEY("add_eos_token"), &eos, err);
    if (rc == BASE_OK)
        rc = read_flag(file, KEY("add_sep_token"), &separator, err);
    if (rc != BASE_OK)
        return rc;
    bos = bos || (pre != NULL && (pre->flags & TEXT_PRE_FORCES_BOS) != 0);
    /* BERT's text ends in its separator, however the file names it. */
    if (eos && !wordpiece)
        (void)text_affix_add(&self->suffix, self->roles.eos, NULL);
    else if (eos || separator)
        (void)text_affix_add(&self->suffix,
            self->roles.separator >= 0 ? self->roles.separator : self->roles.eos, NULL);
    return bos ? text_affix_add(&self->prefix, self->roles.bos, err) : BASE_OK;
}

static const struct kind_row {
    const char *model;
    enum text_kind kind;
    int64_t bos, eos, unknown, separator, padding, mask; /* when the file does not say */
    bool scores;
} kind_rows[] = {
    {"llama", TEXT_KIND_SPM, 1, 2, 0, -1, -1, -1, true},
    {"gpt2", TEXT_KIND_BPE, -1, -1, -1, -1, -1, -1, false},
    {"gemma4", TEXT_KIND_CHARS, -1, -1, -1, -1, -1, -1, false},
    {"bert", TEXT_KIND_WORDPIECE, 101, -1, 100, 102, 0, 103, false},
    {"t5", TEXT_KIND_UNIGRAM, -1, 1, 2, -1, 0, -1, true},
};

static int read_kind(const struct gguf *file, struct text_tokenizer *self,
    const struct kind_row **ret_row, struct base_error *err)
{
    struct gguf_string model;
    int rc = gguf_get_string(file, KEY("model"), &model, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.model is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    for (size_t i = 0; i < sizeof(kind_rows) / sizeof(kind_rows[0]); i++) {
        const struct kind_row *row = &kind_rows[i];
        if (model.bytes != strlen(row->model) || memcmp(model.data, row->model, model.bytes) != 0)
            continue;
        self->kind = row->kind;
        self->roles = (struct text_roles){.bos = row->bos,
            .eos = row->eos,
            .eot = -1,
            .eom = -1,
            .unknown = row->unknown,
            .separator = row->separator,
            .padding = row->padding,
            .mask = row->mask};
        *ret_row = row;
        return BASE_OK;
    }
    return base_error_set(err, BASE_UNSUPPORTED,
        "%s: tokenizer.ggml.model: \"%.*s\" is not known; known: llama gpt2 gemma4 bert t5",
        gguf_path(file), (int)(model.bytes < 64 ? model.bytes : 64), model.data);
}

/* The pre-tokenizer of byte-level BPE, and what its name implies. */
static int read_pre(struct text_tokenizer *self, const struct gguf *file,
    const struct text_pre **ret_pre, struct base_error *err)
{
    struct gguf_string pre = {"default", 7};
    int rc = BASE_OK;

    if (self->kind == TEXT_KIND_CHARS)
        pre = (struct gguf_string){"gemma4", 6};
    else
        rc = gguf_get_string(file, KEY("pre"), &pre, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    rc = text_split_named(pre.data, pre.bytes, &self->split, ret_pre, err);
    if (rc != BASE_OK)
        return base_error_prepend(err, rc, "%s", gguf_path(file));
    self->pre = text_pre_name(*ret_pre);
    self->ignores_merges = ((*ret_pre)->flags & TEXT_PRE_IGNORES_MERGES) != 0;
    self->merges_by_id = ((*ret_pre)->flags & TEXT_PRE_BY_ID) != 0;
    if (((*ret_pre)->flags & TEXT_PRE_RAW) != 0)
        self->kind = TEXT_KIND_CHARS;
    return BASE_OK;
}

/* The steps of SentencePiece's models: a space in front, spaces as U+2581. */
static int set_spm(struct text_tokenizer *self, struct base_error *err)
{
    int rc = BASE_OK;

    if (self->kind == TEXT_KIND_UNIGRAM && self->charsmap != NULL)
        rc = text_normal_add_charsmap(self->normal, self->charsmap, self->charsmap_bytes, err);
    if (rc == BASE_OK && self->remove_extra_whitespaces)
        rc = text_normal_add_collapse(self->normal, err);
    if (rc == BASE_OK && self->add_space_prefix)
        rc = text_normal_add_prepend(self->normal, " ", 1, err);
    return rc == BASE_OK ? text_normal_add_replace(self->normal, " ", 1, "\xe2\x96\x81", 3, err)
                         : rc;
}

static int set_wordpiece(struct text_tokenizer *self, struct base_error *err)
{
    unsigned flags = TEXT_BERT_CLEAN | TEXT_BERT_CHINESE |
                     (self->strip_accents ? TEXT_BERT_ACCENTS : 0) |
                     (self->lowercase ? TEXT_BERT_LOWER : 0);
    int rc = text_normal_add_bert(self->normal, flags, err);

    self->word_characters_max = 100;
    if (text_split_new(&self->split) != BASE_OK)
        return text_vocab_no_memory(err);
    if (rc == BASE_OK)
        rc = text_split_add_characters(self->split, text_unicode_is_space, TEXT_SPLIT_REMOVED, err);
    return rc == BASE_OK ? text_split_add_characters(
                               self->split, text_unicode_is_punctuation, TEXT_SPLIT_ISOLATED, err)
                         : rc;
}

/* What comes before the words, and how tokens are shown. */
static int set_steps(
    struct text_tokenizer *self, const struct text_pre *pre, struct base_error *err)
{
    struct text_decoder *decoder = &self->decoder;

    if (text_normal_new(&self->normal) != BASE_OK)
        return text_vocab_no_memory(err);
    if (self->kind == TEXT_KIND_BPE) {
        decoder->alphabet = true;
        self->byte_fallback = true;
        return (pre->flags & TEXT_PRE_NFC) != 0
                   ? text_normal_add_form(self->normal, TEXT_UNICODE_NFC, err)
                   : BASE_OK;
    }
    self->byte_fallback = self->kind != TEXT_KIND_WORDPIECE;
    self->fuses_unknown = true;
    decoder->bytes = true;
    decoder->cleans = self->kind == TEXT_KIND_WORDPIECE;
    decoder->first = self->add_space_prefix || self->kind == TEXT_KIND_WORDPIECE
                         ? TEXT_FIRST_DROPS_ONE
                         : TEXT_FIRST_KEPT;
    if (text_strings_append(&decoder->from, "\xe2\x96\x81", 3) != BASE_OK ||
        text_strings_append(&decoder->to, " ", 1) != BASE_OK)
        return text_vocab_no_memory(err);
    if (self->kind == TEXT_KIND_WORDPIECE)
        return set_wordpiece(self, err);
    if (pre != NULL && (pre->flags & TEXT_PRE_REMOVES_GAPS) != 0)
        return BASE_OK;
    return set_spm(self, err);
}

/* The flags that shape the steps. */
static int read_options(
    struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;
    int64_t byte;
    int rc;

    self->add_space_prefix = self->kind == TEXT_KIND_SPM || self->kind == TEXT_KIND_UNIGRAM;
    self->remove_extra_whitespaces = false;
    self->lowercase = true;
    rc = read_flag(file, KEY("add_space_prefix"), &self->add_space_prefix, err);
    if (self->kind != TEXT_KIND_SPM && self->kind != TEXT_KIND_UNIGRAM)
        self->add_space_prefix = false;
    if (rc == BASE_OK && self->kind == TEXT_KIND_UNIGRAM)
        rc = read_flag(file, KEY("remove_extra_whitespaces"), &self->remove_extra_whitespaces, err);
    if (rc == BASE_OK)
        rc = read_flag(file, KEY("normalizer.lowercase"), &self->lowercase, err);
    self->strip_accents = self->lowercase;
    if (rc == BASE_OK)
        rc = read_flag(file, KEY("normalizer.strip_accents"), &self->strip_accents, err);
    if (rc != BASE_OK || self->kind != TEXT_KIND_UNIGRAM)
        return rc;
    rc = gguf_get_array(file, KEY("precompiled_charsmap"), &array, err);
    if (rc != BASE_OK)
        return rc == BASE_NOT_FOUND ? BASE_OK : rc;
    if (array.count > LIMIT_CHARSMAP_BYTES)
        return base_error_set(err, BASE_TOO_BIG,
            "%s: tokenizer.ggml.precompiled_charsmap: limit %d bytes (LIMIT_CHARSMAP_BYTES)",
            gguf_path(file), LIMIT_CHARSMAP_BYTES);
    self->charsmap = base_alloc((size_t)array.count + 1);
    if (self->charsmap == NULL)
        return text_vocab_no_memory(err);
    for (; self->charsmap_bytes < array.count; self->charsmap_bytes++) {
        if (!gguf_array_next_i64(&array, &byte))
            return base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.precompiled_charsmap: not bytes", gguf_path(file));
        self->charsmap[self->charsmap_bytes] = (char)byte;
    }
    return BASE_OK;
}

/* Whether a string of the file contains word, in any case of ASCII letters. */
static bool says(const struct gguf *file, const char *key, const char *word)
{
    struct gguf_string text;
    size_t bytes = strlen(word);

    if (gguf_get_string(file, key, &text, NULL) != BASE_OK)
        return false;
    for (size_t i = 0; i + bytes <= text.bytes; i++) {
        if (strncasecmp(text.data + i, word, bytes) == 0)
            return true;
    }
    return false;
}

/* White space that added tokens take; GGUF has no key for it, so known models are known by name. */
static int add_specials(struct text_tokenizer *self, const struct gguf *file,
    const struct text_pre *pre, struct base_error *err)
{
    bool phi3 = self->kind == TEXT_KIND_SPM &&
                (says(file, "general.architecture", "phi3") || says(file, "general.name", "phi-3"));
    bool roberta = pre != NULL && strcmp(text_pre_name(pre), "roberta-bpe") == 0;
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && (phi3 || roberta) && i < self->vocab_size; i++) {
        size_t bytes;
        const char *text = text_strings_at(&self->names, i, &bytes);
        enum text_type type = self->types[i];
        if (type != TEXT_TYPE_CONTROL && type != TEXT_TYPE_UNKNOWN &&
            type != TEXT_TYPE_USER_DEFINED)
            continue;
        struct text_special item = {.text = text,
            .bytes = (uint32_t)bytes,
            .id = (uint32_t)i,
            .always = type == TEXT_TYPE_USER_DEFINED};
        item.rstrip = phi3 && (int64_t)i != self->roles.unknown && (int64_t)i != self->roles.bos &&
                      !(bytes == 13 && memcmp(text, "<|endoftext|>", 13) == 0);
        item.lstrip = roberta && bytes == 6 && memcmp(text, "<mask>", 6) == 0;
        rc = text_specials_add(&self->raw, &item, err);
    }
    return rc;
}

int text_gguf_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    const struct kind_row *row = NULL;
    const struct text_pre *pre = NULL;
    int rc = read_kind(file, self, &row, err);

    if (rc == BASE_OK && (self->kind == TEXT_KIND_BPE || self->kind == TEXT_KIND_CHARS))
        rc = read_pre(self, file, &pre, err);
    if (rc == BASE_OK)
        rc = read_options(self, file, err);
    if (rc == BASE_OK)
        rc = set_steps(self, pre, err);
    if (rc == BASE_OK)
        rc = read_names(self, file, err);
    if (rc == BASE_OK)
        rc = read_types(self, file, err);
    if (rc == BASE_OK)
        rc = text_vocab_index(self, err);
    if (rc == BASE_OK && row->scores)
        rc = read_scores(self, file, err);
    else if (rc == BASE_OK && self->kind != TEXT_KIND_WORDPIECE)
        rc = read_merges(self, file, err);
    if (rc == BASE_OK)
        rc = text_gguf_roles(self, file, err);
    if (rc == BASE_OK)
        rc = read_affixes(self, file, pre, err);
    if (rc == BASE_OK)
        rc = add_specials(self, file, pre, err);
    if (rc != BASE_OK)
        return rc;
    rc = text_vocab_finish(self, err);
    return rc == BASE_OK ? BASE_OK : base_error_prepend(err, rc, "%s", gguf_path(file));
}
