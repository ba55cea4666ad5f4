/* tokenizer.json, as Hugging Face's tokenizers write it, read as hostile input. */
#include "text_json.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "text_alphabet.h"
#include "text_pre.h"
#include "text_vocab.h"
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Names and types by id while the file is read; then they move to the tokenizer. */
struct builder {
    struct text_tokenizer *tokenizer;
    const char **names; /* [count] borrowed from the JSON tree; NULL: no token has this id */
    uint32_t *name_bytes;
    uint8_t *types;
    size_t count, count_max;
    const char *prefix; /* WORDPIECE: of continuations */
    size_t prefix_bytes;
    struct base_error *err;
};

static int no_memory(struct builder *self)
{
    return text_vocab_no_memory(self->err);
}

static int builder_reserve(struct builder *self, size_t count)
{
    size_t count_max = count + count / 2 + 256;

    if (count <= self->count_max)
        return BASE_OK;
    void *names = base_realloc_array(self->names, count_max, sizeof(*self->names));
    if (names != NULL)
        self->names = names;
    void *sizes = base_realloc_array(self->name_bytes, count_max, sizeof(*self->name_bytes));
    if (sizes != NULL)
        self->name_bytes = sizes;
    void *types = base_realloc_array(self->types, count_max, 1);
    if (types != NULL)
        self->types = types;
    if (names == NULL || sizes == NULL || types == NULL)
        return no_memory(self);
    self->count_max = count_max;
    return BASE_OK;
}

/* Gives id a name; what says where in the file. */
static int put_name(struct builder *self, const char *what, json_int_t id, const char *name,
    size_t bytes, enum text_type type)
{
    int rc;

    if (id < 0 || id >= LIMIT_VOCAB_MAX)
        return base_error_set(self->err, BASE_MALFORMED,
            "%s: \"%.64s\": id %" JSON_INTEGER_FORMAT " is not below %d (LIMIT_VOCAB_MAX)", what,
            name, id, LIMIT_VOCAB_MAX);
    if (bytes > LIMIT_TOKEN_BYTES)
        return base_error_set(self->err, BASE_TOO_BIG,
            "%s: a token of %zu bytes, limit %d (LIMIT_TOKEN_BYTES)", what, bytes,
            LIMIT_TOKEN_BYTES);
    rc = builder_reserve(self, (size_t)id + 1);
    if (rc != BASE_OK)
        return rc;
    for (; self->count <= (size_t)id; self->count++) {
        self->names[self->count] = NULL;
        self->types[self->count] = TEXT_TYPE_UNUSED;
    }
    if (self->names[id] != NULL &&
        (self->name_bytes[id] != bytes || memcmp(self->names[id], name, bytes) != 0))
        return base_error_set(self->err, BASE_MALFORMED,
            "%s: id %" JSON_INTEGER_FORMAT " is both \"%.64s\" and \"%.64s\"", what, id,
            self->names[id], name);
    self->names[id] = name;
    self->name_bytes[id] = (uint32_t)bytes;
    self->types[id] = (uint8_t)type;
    return BASE_OK;
}

/* {"text": id, ...} */
static int read_vocab_object(struct builder *self, const json_t *vocab)
{
    bool has_bytes = self->tokenizer->byte_fallback && self->tokenizer->kind != TEXT_KIND_BPE;
    const char *name;
    json_t *id;
    int rc = BASE_OK;

    json_object_foreach((json_t *)vocab, name, id)
    {
        size_t bytes = strlen(name); /* keys hold no NUL */
        if (!json_is_integer(id))
            return base_error_set(
                self->err, BASE_MALFORMED, "model.vocab: \"%.64s\" has no id", name);
        rc = put_name(self, "model.vocab", json_integer_value(id), name, bytes,
            has_bytes && text_byte_parse(name, bytes) >= 0 ? TEXT_TYPE_BYTE : TEXT_TYPE_NORMAL);
        if (rc != BASE_OK)
            return rc;
    }
    return rc;
}

/* [["text", score], ...] */
static int read_vocab_list(struct builder *self, const json_t *vocab)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    size_t count = json_array_size(vocab);

    if (count > LIMIT_VOCAB_MAX)
        return base_error_set(self->err, BASE_TOO_BIG,
            "model.vocab: %zu tokens, limit %d "
            "(LIMIT_VOCAB_MAX)",
            count, LIMIT_VOCAB_MAX);
    tokenizer->scores = base_alloc_zeroed(LIMIT_VOCAB_MAX, sizeof(*tokenizer->scores));
    if (tokenizer->scores == NULL)
        return no_memory(self);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(vocab, i);
        const json_t *name = json_array_get(pair, 0), *score = json_array_get(pair, 1);
        if (!json_is_string(name) || !json_is_number(score) ||
            fabs(json_number_value(score)) > (double)FLT_MAX)
            return base_error_set(
                self->err, BASE_MALFORMED, "model.vocab: element %zu is no text and score", i);
        const char *text = json_string_value(name);
        size_t bytes = json_string_length(name);
        bool is_byte = tokenizer->byte_fallback && text_byte_parse(text, bytes) >= 0;
        int rc = put_name(self, "model.vocab", (json_int_t)i, text, bytes,
            is_byte ? TEXT_TYPE_BYTE : TEXT_TYPE_NORMAL);
        if (rc != BASE_OK)
            return rc;
        tokenizer->scores[i] = (float)json_number_value(score);
    }
    return BASE_OK;
}

/* The added tokens: their types, and later what is looked for. */
static int read_added(struct builder *self, const json_t *added)
{
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < json_array_size(added); i++) {
        const json_t *node = json_array_get(added, i), *id = json_object_get(node, "id");
        size_t bytes;
        const char *content = text_json_string(node, "content", &bytes);
        bool is_special = text_json_flag(node, "special", false);
        if (content == NULL || !json_is_integer(id))
            return base_error_set(
                self->err, BASE_MALFORMED, "added_tokens: element %zu has no id or content", i);
        rc = put_name(self, "added_tokens", json_integer_value(id), content, bytes,
            is_special ? TEXT_TYPE_CONTROL : TEXT_TYPE_USER_DEFINED);
    }
    return rc;
}

/* WordPiece names in GGUF's form: U+2581 in front of what begins a word, nothing before the rest. */
static int put_wordpiece_name(struct builder *self, size_t id)
{
    char name[LIMIT_TOKEN_BYTES + 4];
    size_t bytes = self->name_bytes[id];

    if (self->types[id] == TEXT_TYPE_CONTROL || self->types[id] == TEXT_TYPE_UNKNOWN)
        return text_strings_append(&self->tokenizer->names, self->names[id], bytes);
    if (bytes > self->prefix_bytes &&
        memcmp(self->names[id], self->prefix, self->prefix_bytes) == 0)
        return text_strings_append(&self->tokenizer->names, self->names[id] + self->prefix_bytes,
            bytes - self->prefix_bytes);
    memcpy(name, "\xe2\x96\x81", 3);
    memcpy(name + 3, self->names[id], bytes);
    return text_strings_append(&self->tokenizer->names, name, bytes + 3);
}

/* Moves names and types to the tokenizer; ids without token become unused ones without text. */
static int builder_finish(struct builder *self)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    int rc = BASE_OK;

    if (self->count == 0)
        return base_error_set(self->err, BASE_MALFORMED, "model.vocab: no tokens");
    for (size_t i = 0; rc == BASE_OK && i < self->count; i++) {
        if (self->names[i] == NULL) {
            rc = text_strings_append(&tokenizer->names, "", 0);
        } else if (tokenizer->kind == TEXT_KIND_WORDPIECE) {
            rc = put_wordpiece_name(self, i);
        } else {
            rc = text_strings_append(&tokenizer->names, self->names[i], self->name_bytes[i]);
        }
    }
    if (rc != BASE_OK)
        return no_memory(self);
    tokenizer->vocab_size = self->count;
    tokenizer->types = self->types;
    self->types = NULL;
    return BASE_OK;
}

/* The unknown token by name or by number, when the model has one. */
static int read_unknown(struct builder *self, const json_t *model)
{
    const json_t *number = json_object_get(model, "unk_id");
    size_t bytes;
    const char *name = text_json_string(model, "unk_token", &bytes);
    int64_t id = json_is_integer(number) ? json_integer_value(number) : -1;

    for (size_t i = 0; name != NULL && i < self->count; i++) {
        if (self->names[i] != NULL && self->name_bytes[i] == bytes &&
            memcmp(self->names[i], name, bytes) == 0)
            id = (int64_t)i;
    }
    if (id >= (int64_t)self->count)
        return base_error_set(self->err, BASE_MALFORMED,
            "model.unk_id: %" PRId64 ", but there are %zu tokens", id, self->count);
    self->tokenizer->roles.unknown = id;
    if (id >= 0 && self->types[id] == TEXT_TYPE_NORMAL)
        self->types[id] = TEXT_TYPE_UNKNOWN;
    return BASE_OK;
}

/* "a b" or ["a", "b"]. */
static int read_merge(
    struct builder *self, const struct text_alphabet *alphabet, const json_t *node, uint32_t rank)
{
    const json_t *first = json_array_get(node, 0), *second = json_array_get(node, 1);
    const char *left, *right;
    size_t left_bytes, right_bytes;

    if (json_is_string(node)) {
        left = json_string_value(node);
        size_t bytes = json_string_length(node);
        right = bytes < 3 ? NULL : memchr(left + 1, ' ', bytes - 2);
        if (right == NULL)
            return BASE_MALFORMED;
        left_bytes = (size_t)(right - left);
        right_bytes = bytes - left_bytes - 1;
        right++;
    } else if (json_is_string(first) && json_is_string(second)) {
        left = json_string_value(first);
        left_bytes = json_string_length(first);
        right = json_string_value(second);
        right_bytes = json_string_length(second);
    } else {
        return BASE_MALFORMED;
    }
    return text_vocab_merge(self->tokenizer, alphabet, left, left_bytes, right, right_bytes, rank);
}

static int read_merges(struct builder *self, const json_t *model)
{
    const json_t *merges = json_object_get(model, "merges");
    struct text_alphabet alphabet;
    int rc = BASE_OK;

    if (!json_is_array(merges))
        return base_error_set(self->err, BASE_MALFORMED, "model.merges: not a list");
    if (json_array_size(merges) > LIMIT_MERGES_MAX)
        return base_error_set(self->err, BASE_TOO_BIG,
            "model.merges: %zu rules, limit %d (LIMIT_MERGES_MAX)", json_array_size(merges),
            LIMIT_MERGES_MAX);
    text_alphabet_make(&alphabet);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(merges); i++) {
        rc = read_merge(self, &alphabet, json_array_get(merges, i), (uint32_t)i);
        if (rc == BASE_MALFORMED)
            return base_error_set(self->err, rc, "model.merges: rule %zu is not two parts", i);
    }
    return rc == BASE_OK ? BASE_OK : no_memory(self);
}

/* What kind of model it is; BPE of bytes or of characters is decided by the pre-tokenizer. */
static int read_kind(struct builder *self, const json_t *model)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    const char *type = text_json_type(model);
    const json_t *dropout = json_object_get(model, "dropout");
    size_t bytes;

    /* Old files leave the type out; then the members tell. */
    if (*type == '\0' && json_object_get(model, "merges") != NULL)
        type = "BPE";
    tokenizer->byte_fallback = text_json_flag(model, "byte_fallback", false);
    tokenizer->ignores_merges = text_json_flag(model, "ignore_merges", false);
    tokenizer->fuses_unknown = text_json_flag(model, "fuse_unk", false);
    if (strcmp(type, "BPE") == 0)
        tokenizer->kind = tokenizer->byte_words ? TEXT_KIND_BPE : TEXT_KIND_CHARS;
    else if (strcmp(type, "Unigram") == 0)
        tokenizer->kind = TEXT_KIND_UNIGRAM;
    else if (strcmp(type, "WordPiece") == 0)
        tokenizer->kind = TEXT_KIND_WORDPIECE;
    else if (strcmp(type, "WordLevel") == 0)
        tokenizer->kind = TEXT_KIND_WORDS;
    else
        return base_error_set(self->err, BASE_UNSUPPORTED,
            "model.type: \"%.64s\" is not known; known: BPE Unigram WordPiece WordLevel", type);
    if (tokenizer->byte_words && tokenizer->kind != TEXT_KIND_BPE)
        return base_error_set(self->err, BASE_UNSUPPORTED,
            "pre_tokenizer: ByteLevel is known with BPE, not with %s", type);
    if (json_is_number(dropout) && json_number_value(dropout) > 0.0)
        return base_error_set(
            self->err, BASE_UNSUPPORTED, "model.dropout: random tokens are not known");
    if (tokenizer->kind == TEXT_KIND_BPE || tokenizer->kind == TEXT_KIND_CHARS) {
        const char *prefix = text_json_string(model, "continuing_subword_prefix", &bytes);
        if (prefix != NULL && bytes > 0)
            return base_error_set(self->err, BASE_UNSUPPORTED,
                "model.continuing_subword_prefix: \"%.64s\" is not known with BPE", prefix);
        const char *suffix = text_json_string(model, "end_of_word_suffix", &bytes);
        if (suffix != NULL && bytes > 0)
            return base_error_set(self->err, BASE_UNSUPPORTED,
                "model.end_of_word_suffix: \"%.64s\" is not known", suffix);
    }
    return BASE_OK;
}

static int read_wordpiece(struct builder *self, const json_t *model)
{
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    json_int_t value = json_is_integer(most) ? json_integer_value(most) : 100;

    self->prefix_bytes = 2;
    self->prefix = text_json_string(model, "continuing_subword_prefix", &self->prefix_bytes);
    if (self->prefix == NULL)
        self->prefix = "##";
    if (value < 0 || value > LIMIT_TOKEN_BYTES)
        return base_error_set(self->err, BASE_MALFORMED,
            "model.max_input_chars_per_word: %" JSON_INTEGER_FORMAT ", need 0 to %d", value,
            LIMIT_TOKEN_BYTES);
    self->tokenizer->word_characters_max = (size_t)value;
    if (text_strings_append(&self->tokenizer->decoder.from, "\xe2\x96\x81", 3) != BASE_OK ||
        text_strings_append(&self->tokenizer->decoder.to, " ", 1) != BASE_OK)
        return no_memory(self);
    return BASE_OK;
}

/* Tokens of model and added_tokens, up to the point where they can be looked up. */
static int read_model(struct builder *self, const json_t *root, const json_t *model)
{
    const json_t *vocab = json_object_get(model, "vocab");
    enum text_kind kind = self->tokenizer->kind;
    int rc = BASE_OK;

    if (kind == TEXT_KIND_WORDPIECE)
        rc = read_wordpiece(self, model);
    if (rc == BASE_OK && kind == TEXT_KIND_UNIGRAM && json_is_array(vocab))
        rc = read_vocab_list(self, vocab);
    else if (rc == BASE_OK && kind != TEXT_KIND_UNIGRAM && json_is_object(vocab))
        rc = read_vocab_object(self, vocab);
    else if (rc == BASE_OK)
        rc = base_error_set(self->err, BASE_MALFORMED, "model.vocab: missing or of another type");
    if (rc == BASE_OK)
        rc = read_added(self, json_object_get(root, "added_tokens"));
    if (rc == BASE_OK)
        rc = read_unknown(self, model);
    return rc == BASE_OK ? builder_finish(self) : rc;
}

/* One added token as something to look for. A normalised one is looked for in its normal form. */
static int add_special(struct builder *self, const json_t *node, struct text_normal_run *normal,
    const struct text_strings *texts, size_t index)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    json_int_t id = json_integer_value(json_object_get(node, "id"));
    bool is_special = text_json_flag(node, "special", false);
    bool is_normalized = text_json_flag(node, "normalized", !is_special) && normal != NULL;
    size_t bytes;
    const char *text = text_strings_at(texts, index, &bytes);
    struct text_special item = {.text = text,
        .bytes = (uint32_t)bytes,
        .id = (uint32_t)id,
        .always =
            tokenizer->types[id] != TEXT_TYPE_CONTROL && tokenizer->types[id] != TEXT_TYPE_UNKNOWN,
        .single_word = text_json_flag(node, "single_word", false),
        .lstrip = text_json_flag(node, "lstrip", false),
        .rstrip = text_json_flag(node, "rstrip", false)};

    return text_specials_add(
        is_normalized ? &tokenizer->normalized : &tokenizer->raw, &item, self->err);
}

/* Texts of all added tokens, then their places in the two sets: the texts must not move. */
static int add_specials(struct builder *self, const json_t *added)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    struct text_normal_run *normal = NULL;
    int rc = BASE_OK;

    if (text_normal_step_count(tokenizer->normal) > 0 &&
        text_normal_run_new(tokenizer->normal, &normal) != BASE_OK)
        return no_memory(self);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(added); i++) {
        const json_t *node = json_array_get(added, i);
        bool is_special = text_json_flag(node, "special", false);
        size_t bytes;
        const char *text = text_json_string(node, "content", &bytes);
        if (normal != NULL && text_json_flag(node, "normalized", !is_special))
            rc = text_normal_run(normal, text, bytes, &text, &bytes, self->err);
        if (rc == BASE_OK && text_strings_append(&tokenizer->special_texts, text, bytes) != BASE_OK)
            rc = no_memory(self);
    }
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(added); i++)
        rc = add_special(self, json_array_get(added, i), normal, &tokenizer->special_texts, i);
    text_normal_run_destroy(&normal);
    return rc;
}

/* Whether a normalizer, or each part of a sequence, is of one of the types, between spaces. */
static bool only_types(const json_t *node, const char *types)
{
    const json_t *list = json_object_get(node, "normalizers");
    char word[64];
    bool all = true;

    if (node == NULL || json_is_null(node))
        return true;
    for (size_t i = 0; all && i < json_array_size(list); i++)
        all = only_types(json_array_get(list, i), types);
    if (json_is_array(list))
        return all;
    (void)snprintf(word, sizeof(word), " %.60s ", text_json_type(node));
    return strstr(types, word) != NULL;
}

/* Whether a pre-tokenizer cuts, if at all, where SentencePiece's tokens do not go on. */
static bool cuts_at_spaces(const json_t *node)
{
    const char *type = text_json_type(node);
    const char *string =
        json_string_value(json_object_get(json_object_get(node, "pattern"), "String"));

    return node == NULL || json_is_null(node) || strcmp(type, "Metaspace") == 0 ||
           (strcmp(type, "Split") == 0 && string != NULL && strcmp(string, " ") == 0);
}

/* The name that GGUF has for the pre-tokenizer, and what it has no words for. */
static void recognise(struct text_tokenizer *self, const json_t *root)
{
    const json_t *normalizer = json_object_get(root, "normalizer");
    const json_t *pre = json_object_get(root, "pre_tokenizer");
    bool nfc = strcmp(text_json_type(normalizer), "NFC") == 0, said = true;

    switch (self->kind) {
    case TEXT_KIND_BPE:
        if (self->unsaid == NULL &&
            text_pre_recognise(self->split, self->ignores_merges, nfc, &self->pre) == NULL)
            self->unsaid = "the patterns of this pre-tokenizer";
        said = nfc || text_normal_step_count(self->normal) == 0;
        break;
    case TEXT_KIND_UNIGRAM:
        said = only_types(normalizer, " Precompiled Strip Replace ");
        self->remove_extra_whitespaces =
            !only_types(normalizer, " Precompiled ") && self->unsaid == NULL;
        break;
    case TEXT_KIND_WORDPIECE:
        said =
            text_normal_step_count(self->normal) > 0 && only_types(normalizer, " BertNormalizer ");
        break;
    default:
        said = only_types(normalizer, " Prepend Replace ");
        break;
    }
    if (!said)
        self->unsaid = "this normalizer";
    if ((self->kind == TEXT_KIND_UNIGRAM || self->kind == TEXT_KIND_CHARS) && !cuts_at_spaces(pre))
        self->unsaid = "this pre-tokenizer";
}

/* BOS and EOS when no key says them: what the template puts around a text. */
static void guess_roles(struct text_tokenizer *self)
{
    struct text_roles *roles = &self->roles;

    if (self->prefix.count > 0)
        roles->bos = self->prefix.ids[0];
    if (self->suffix.count > 0 && self->kind == TEXT_KIND_WORDPIECE)
        roles->separator = self->suffix.ids[self->suffix.count - 1];
    else if (self->suffix.count > 0)
        roles->eos = self->suffix.ids[self->suffix.count - 1];
}

/* A file without template may still ask for BOS or EOS by flags. */
static int read_flags(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    bool bos = false, eos = false;
    int rc = gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &bos, err);

    if (rc == BASE_OK || rc == BASE_NOT_FOUND)
        rc = gguf_get_bool(file, "tokenizer.ggml.add_eos_token", &eos, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (bos && self->prefix.count == 0)
        (void)text_affix_add(&self->prefix, self->roles.bos, NULL);
    if (eos && self->suffix.count == 0)
        (void)text_affix_add(&self->suffix, self->roles.eos, NULL);
    return BASE_OK;
}

/* Members in the order in which they need each other. */
static int load_root(struct builder *self, const json_t *root, const struct gguf *file)
{
    struct text_tokenizer *tokenizer = self->tokenizer;
    const json_t *model = json_object_get(root, "model");
    struct base_error *err = self->err;
    int rc;

    if (!json_is_object(root) || !json_is_object(model))
        return base_error_set(err, BASE_MALFORMED, "\"model\" is missing or no object");
    rc = text_json_normalizer(tokenizer, json_object_get(root, "normalizer"), 0, err);
    if (rc == BASE_OK)
        rc = text_json_pre_tokenizer(tokenizer, json_object_get(root, "pre_tokenizer"), err);
    if (rc == BASE_OK)
        rc = read_kind(self, model);
    if (rc == BASE_OK)
        rc = text_json_decoder(tokenizer, json_object_get(root, "decoder"), 0, err);
    if (rc == BASE_OK && tokenizer->kind == TEXT_KIND_BPE) {
        tokenizer->decoder.alphabet = true;
        tokenizer->decoder.joins = false;
        tokenizer->byte_fallback = true;
    } else if (rc == BASE_OK && tokenizer->decoder.alphabet) {
        rc = base_error_set(
            err, BASE_UNSUPPORTED, "decoder: ByteLevel without a pre-tokenizer of that type");
    }
    if (rc == BASE_OK)
        rc = read_model(self, root, model);
    if (rc == BASE_OK)
        rc = text_vocab_index(tokenizer, err);
    if (rc == BASE_OK && (tokenizer->kind == TEXT_KIND_BPE || tokenizer->kind == TEXT_KIND_CHARS))
        rc = read_merges(self, model);
    if (rc == BASE_OK)
        rc = text_json_post_processor(tokenizer, json_object_get(root, "post_processor"), 0, err);
    if (rc == BASE_OK)
        guess_roles(tokenizer);
    if (rc == BASE_OK && file != NULL)
        rc = text_gguf_roles(tokenizer, file, err);
    if (rc == BASE_OK && file != NULL)
        rc = read_flags(tokenizer, file, err);
    if (rc == BASE_OK)
        rc = add_specials(self, json_object_get(root, "added_tokens"));
    if (rc == BASE_OK)
        recognise(tokenizer, root);
    return rc == BASE_OK ? text_vocab_finish(tokenizer, err) : rc;
}

int text_json_load(struct text_tokenizer *self, const char *json, size_t bytes,
    const struct gguf *file, struct base_error *err)
{
    struct builder builder = {.tokenizer = self, .err = err};
    json_error_t reason;
    int rc;

    if (bytes > LIMIT_TOKENIZER_JSON_BYTES)
        return base_error_set(err, BASE_TOO_BIG,
            "tokenizer.json: %zu bytes, limit %d (LIMIT_TOKENIZER_JSON_BYTES)", bytes,
            LIMIT_TOKENIZER_JSON_BYTES);
    self->roles = (struct text_roles){-1, -1, -1, -1, -1, -1, -1, -1};
    if (text_normal_new(&self->normal) != BASE_OK || text_split_new(&self->split) != BASE_OK)
        return text_vocab_no_memory(err);
    json_t *root = json_loadb(json, bytes, JSON_ALLOW_NUL, &reason);
    if (root == NULL)
        return base_error_set(err, BASE_MALFORMED, "tokenizer.json: line %d column %d: %s",
            reason.line, reason.column, reason.text);
    rc = load_root(&builder, root, file);
    json_decref(root);
    base_free(builder.names);
    base_free(builder.name_bytes);
    base_free(builder.types);
    return rc == BASE_OK ? BASE_OK : base_error_prepend(err, rc, "tokenizer.json");
}
