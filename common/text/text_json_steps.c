/* Normalizer, pre-tokenizer, post-processor and decoder of a tokenizer.json. */
#include "text_json.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_charsmap.h"
#include "text_pre.h"
#include "text_unicode.h"
#include "text_utf8.h"
#include "text_vocab.h"
#include <string.h>

const char *text_json_string(const json_t *object, const char *key, size_t *ret_bytes)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_string(value))
        return NULL;
    *ret_bytes = json_string_length(value);
    return json_string_value(value);
}

const char *text_json_type(const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "type"));

    return type == NULL ? "" : type;
}

bool text_json_flag(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static int unknown(const char *what, const json_t *node, struct base_error *err)
{
    return base_error_set(
        err, BASE_UNSUPPORTED, "%s: \"%.64s\" is not known", what, text_json_type(node));
}

static int too_deep(const char *what, struct base_error *err)
{
    return base_error_set(err, BASE_TOO_BIG,
        "%s: nested more than %d deep "
        "(LIMIT_TOKENIZER_NESTING)",
        what, LIMIT_TOKENIZER_NESTING);
}

static int missing(const char *what, const char *key, struct base_error *err)
{
    return base_error_set(
        err, BASE_MALFORMED, "%s: \"%s\" is missing or of another type", what, key);
}

/* {"String": "x"} or {"Regex": "x"}. */
static const char *pattern_of(const json_t *node, bool *ret_regex, size_t *ret_bytes)
{
    const json_t *pattern = json_object_get(node, "pattern");
    const char *text = text_json_string(pattern, "String", ret_bytes);

    *ret_regex = text == NULL;
    return text != NULL ? text : text_json_string(pattern, "Regex", ret_bytes);
}

static int normalizer_replace(
    struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    size_t from_bytes, to_bytes;
    bool is_regex;
    const char *from = pattern_of(node, &is_regex, &from_bytes);
    const char *to = text_json_string(node, "content", &to_bytes);

    if (from == NULL || to == NULL)
        return missing("normalizer: Replace", from == NULL ? "pattern" : "content", err);
    return is_regex
               ? text_normal_add_replace_regex(self->normal, from, from_bytes, to, to_bytes, err)
               : text_normal_add_replace(self->normal, from, from_bytes, to, to_bytes, err);
}

static int normalizer_charsmap(
    struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    size_t bytes, data_bytes;
    const char *text = text_json_string(node, "precompiled_charsmap", &bytes);
    int rc;

    if (text == NULL)
        return missing("normalizer: Precompiled", "precompiled_charsmap", err);
    if (bytes == 0)
        return BASE_OK;
    if (bytes > LIMIT_CHARSMAP_BYTES)
        return base_error_set(err, BASE_TOO_BIG,
            "normalizer: Precompiled: %zu characters, limit %d (LIMIT_CHARSMAP_BYTES)", bytes,
            LIMIT_CHARSMAP_BYTES);
    char *data = base_alloc(bytes + 3);
    if (data == NULL)
        return text_vocab_no_memory(err);
    if (text_base64_decode(text, bytes, data, &data_bytes))
        rc = text_normal_add_charsmap(self->normal, data, data_bytes, err);
    else
        rc = base_error_set(err, BASE_MALFORMED, "normalizer: Precompiled: not base64");
    if (rc == BASE_OK && self->charsmap == NULL) {
        self->charsmap = data;
        self->charsmap_bytes = data_bytes;
        return BASE_OK;
    }
    base_free(data);
    return rc;
}

static int normalizer_bert(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    self->lowercase = text_json_flag(node, "lowercase", true);
    self->strip_accents = text_json_flag(node, "strip_accents", self->lowercase);
    unsigned flags = (text_json_flag(node, "clean_text", true) ? TEXT_BERT_CLEAN : 0) |
                     (text_json_flag(node, "handle_chinese_chars", true) ? TEXT_BERT_CHINESE : 0) |
                     (self->strip_accents ? TEXT_BERT_ACCENTS : 0) |
                     (self->lowercase ? TEXT_BERT_LOWER : 0);
    return text_normal_add_bert(self->normal, flags, err);
}

static int normalizer_one(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char *type = text_json_type(node);
    size_t bytes;

    for (size_t i = 0; i < 4; i++) {
        if (strcmp(type, forms[i]) == 0)
            return text_normal_add_form(self->normal, (enum text_unicode_form)i, err);
    }
    if (strcmp(type, "Lowercase") == 0)
        return text_normal_add_lowercase(self->normal, err);
    if (strcmp(type, "StripAccents") == 0)
        return text_normal_add_strip_accents(self->normal, err);
    if (strcmp(type, "Nmt") == 0)
        return text_normal_add_nmt(self->normal, err);
    if (strcmp(type, "BertNormalizer") == 0)
        return normalizer_bert(self, node, err);
    if (strcmp(type, "Replace") == 0)
        return normalizer_replace(self, node, err);
    if (strcmp(type, "Precompiled") == 0)
        return normalizer_charsmap(self, node, err);
    if (strcmp(type, "Strip") == 0)
        return text_normal_add_strip(self->normal, text_json_flag(node, "strip_left", true),
            text_json_flag(node, "strip_right", true), err);
    if (strcmp(type, "Prepend") == 0) {
        const char *text = text_json_string(node, "prepend", &bytes);
        self->add_space_prefix = text != NULL && strcmp(text, "\xe2\x96\x81") == 0;
        return text == NULL ? missing("normalizer: Prepend", "prepend", err)
                            : text_normal_add_prepend(self->normal, text, bytes, err);
    }
    return unknown("normalizer", node, err);
}

int text_json_normalizer(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err)
{
    const json_t *list = json_object_get(node, "normalizers");
    int rc = BASE_OK;

    if (node == NULL || json_is_null(node))
        return BASE_OK;
    if (depth == LIMIT_TOKENIZER_NESTING)
        return too_deep("normalizer", err);
    if (strcmp(text_json_type(node), "Sequence") != 0)
        return normalizer_one(self, node, err);
    if (!json_is_array(list))
        return missing("normalizer: Sequence", "normalizers", err);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(list); i++)
        rc = text_json_normalizer(self, json_array_get(list, i), depth + 1, err);
    return rc;
}

static bool behavior_of(
    const json_t *node, enum text_split_behavior fallback, enum text_split_behavior *ret)
{
    static const char *const names[] = {
        "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = json_string_value(json_object_get(node, "behavior"));

    *ret = fallback;
    if (name == NULL)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret = (enum text_split_behavior)i;
            return true;
        }
    }
    return false;
}

static int split_pattern(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    enum text_split_behavior behavior;
    bool invert = text_json_flag(node, "invert", false), is_regex;
    size_t bytes;
    const char *pattern = pattern_of(node, &is_regex, &bytes);

    if (pattern == NULL)
        return missing("pre_tokenizer: Split", "pattern", err);
    if (!behavior_of(node, TEXT_SPLIT_ISOLATED, &behavior))
        return missing("pre_tokenizer: Split", "behavior", err);
    return is_regex ? text_split_add_regex(self->split, pattern, bytes, behavior, invert, err)
                    : text_split_add_string(self->split, pattern, bytes, behavior, invert, err);
}

static int split_metaspace(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    const char *scheme = json_string_value(json_object_get(node, "prepend_scheme"));
    size_t bytes = 3;
    const char *replacement = text_json_string(node, "replacement", &bytes);
    bool prefixes = text_json_flag(node, "add_prefix_space", true);
    enum text_split_prepend prepend = prefixes ? TEXT_PREPEND_ALWAYS : TEXT_PREPEND_NEVER;

    if (replacement == NULL || bytes == 0 || text_utf8_step(replacement, bytes) != (int)bytes)
        return missing("pre_tokenizer: Metaspace", "replacement", err);
    if (scheme != NULL && strcmp(scheme, "always") == 0)
        prepend = TEXT_PREPEND_ALWAYS;
    else if (scheme != NULL && strcmp(scheme, "first") == 0)
        prepend = TEXT_PREPEND_FIRST;
    else if (scheme != NULL && strcmp(scheme, "never") == 0)
        prepend = TEXT_PREPEND_NEVER;
    else if (scheme != NULL)
        return missing("pre_tokenizer: Metaspace", "prepend_scheme", err);
    self->add_space_prefix = prepend != TEXT_PREPEND_NEVER;
    return text_split_add_metaspace(
        self->split, replacement, bytes, prepend, text_json_flag(node, "split", true), err);
}

/* A space in front, GPT-2's pattern, and the alphabet where steps come behind it. */
static int split_bytes(
    struct text_tokenizer *self, const json_t *node, bool is_last, struct base_error *err)
{
    int rc = BASE_OK;

    self->byte_words = true;
    if (text_json_flag(node, "add_prefix_space", true)) {
        self->unsaid = "a space in front of words (ByteLevel's add_prefix_space)";
        rc = text_split_add_space(self->split, err);
    }
    if (rc == BASE_OK && text_json_flag(node, "use_regex", true))
        rc = text_split_add_regex(
            self->split, text_pre_gpt2, strlen(text_pre_gpt2), TEXT_SPLIT_ISOLATED, false, err);
    return rc == BASE_OK && !is_last ? text_split_add_alphabet(self->split, err) : rc;
}

/* \w+ and [^\w\s]+ */
static int split_words(struct text_tokenizer *self, struct base_error *err)
{
    static const char pattern[] = "\\w+|[^\\w\\s]+";

    return text_split_add_regex(
        self->split, pattern, sizeof(pattern) - 1, TEXT_SPLIT_REMOVED, true, err);
}

static int split_digits(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    const char *pattern = text_json_flag(node, "individual_digits", false) ? "\\p{N}" : "\\p{N}+";

    return text_split_add_regex(
        self->split, pattern, strlen(pattern), TEXT_SPLIT_ISOLATED, false, err);
}

static int split_delimiter(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    size_t bytes;
    const char *delimiter = text_json_string(node, "delimiter", &bytes);

    if (delimiter == NULL)
        return missing("pre_tokenizer: CharDelimiterSplit", "delimiter", err);
    return text_split_add_string(self->split, delimiter, bytes, TEXT_SPLIT_REMOVED, false, err);
}

static int split_one(
    struct text_tokenizer *self, const json_t *node, bool is_last, struct base_error *err)
{
    const char *type = text_json_type(node);
    struct text_split *split = self->split;
    enum text_split_behavior behavior;
    int rc;

    if (strcmp(type, "Split") == 0)
        return split_pattern(self, node, err);
    if (strcmp(type, "ByteLevel") == 0)
        return split_bytes(self, node, is_last, err);
    if (strcmp(type, "Metaspace") == 0)
        return split_metaspace(self, node, err);
    if (strcmp(type, "Digits") == 0)
        return split_digits(self, node, err);
    if (strcmp(type, "Whitespace") == 0)
        return split_words(self, err);
    if (strcmp(type, "CharDelimiterSplit") == 0)
        return split_delimiter(self, node, err);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return text_split_add_characters(split, text_unicode_is_space, TEXT_SPLIT_REMOVED, err);
    if (strcmp(type, "BertPreTokenizer") == 0) {
        rc = text_split_add_characters(split, text_unicode_is_space, TEXT_SPLIT_REMOVED, err);
        return rc == BASE_OK ? text_split_add_characters(
                                   split, text_unicode_is_punctuation, TEXT_SPLIT_ISOLATED, err)
                             : rc;
    }
    if (strcmp(type, "Punctuation") == 0) {
        if (!behavior_of(node, TEXT_SPLIT_ISOLATED, &behavior))
            return missing("pre_tokenizer: Punctuation", "behavior", err);
        return text_split_add_characters(split, text_unicode_is_punctuation, behavior, err);
    }
    return unknown("pre_tokenizer", node, err);
}

static int split_sequence(struct text_tokenizer *self, const json_t *node, bool is_last,
    unsigned depth, struct base_error *err)
{
    const json_t *list = json_object_get(node, "pretokenizers");
    size_t count = json_array_size(list);
    int rc = BASE_OK;

    if (depth == LIMIT_TOKENIZER_NESTING)
        return too_deep("pre_tokenizer", err);
    if (strcmp(text_json_type(node), "Sequence") != 0)
        return split_one(self, node, is_last, err);
    if (!json_is_array(list))
        return missing("pre_tokenizer: Sequence", "pretokenizers", err);
    for (size_t i = 0; rc == BASE_OK && i < count; i++)
        rc = split_sequence(
            self, json_array_get(list, i), is_last && i + 1 == count, depth + 1, err);
    return rc;
}

int text_json_pre_tokenizer(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    if (node == NULL || json_is_null(node))
        return BASE_OK;
    return split_sequence(self, node, true, 0, err);
}

/* ["</s>", 2]: the id. */
static int64_t pair_id(const struct text_tokenizer *self, const json_t *node, const char *key)
{
    const json_t *id = json_array_get(json_object_get(node, key), 1);
    json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;

    return value >= 0 && (uint64_t)value < self->vocab_size ? value : -1;
}

/* The ids of one special token of a template. */
static int add_template_token(struct text_tokenizer *self, const json_t *node, const json_t *item,
    struct text_affix *affix, struct base_error *err)
{
    const char *name = json_string_value(json_object_get(item, "id"));
    const json_t *token =
        name == NULL ? NULL : json_object_get(json_object_get(node, "special_tokens"), name);
    const json_t *ids = json_object_get(token, "ids");
    int rc = BASE_OK;

    if (!json_is_array(ids))
        return base_error_set(err, BASE_MALFORMED,
            "post_processor: TemplateProcessing: no ids for \"%.64s\"", name == NULL ? "" : name);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            (uint64_t)json_integer_value(id) >= self->vocab_size)
            return base_error_set(err, BASE_MALFORMED,
                "post_processor: TemplateProcessing: \"%.64s\": id %zu is no token", name, i);
        rc = text_affix_add(affix, json_integer_value(id), err);
    }
    return rc == BASE_OK ? BASE_OK : base_error_prepend(err, rc, "post_processor");
}

static int post_template(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    const json_t *single = json_object_get(node, "single");
    struct text_affix *affix = &self->prefix;
    int rc = BASE_OK;

    if (!json_is_array(single))
        return missing("post_processor: TemplateProcessing", "single", err);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const json_t *special = json_object_get(item, "SpecialToken");
        if (special != NULL)
            rc = add_template_token(self, node, special, affix, err);
        else if (json_object_get(item, "Sequence") != NULL && affix == &self->prefix)
            affix = &self->suffix;
        else
            rc = base_error_set(err, BASE_UNSUPPORTED,
                "post_processor: TemplateProcessing: item %zu is no token and not the text", i);
    }
    return rc;
}

int text_json_post_processor(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err)
{
    const char *type = text_json_type(node);
    const json_t *list = json_object_get(node, "processors");
    int rc = BASE_OK;

    if (node == NULL || json_is_null(node) || strcmp(type, "ByteLevel") == 0)
        return BASE_OK;
    if (depth == LIMIT_TOKENIZER_NESTING)
        return too_deep("post_processor", err);
    if (strcmp(type, "TemplateProcessing") == 0)
        return post_template(self, node, err);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        rc = text_affix_add(&self->prefix, pair_id(self, node, "cls"), err);
        return rc == BASE_OK ? text_affix_add(&self->suffix, pair_id(self, node, "sep"), err) : rc;
    }
    if (strcmp(type, "Sequence") != 0 || !json_is_array(list))
        return unknown("post_processor", node, err);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(list); i++)
        rc = text_json_post_processor(self, json_array_get(list, i), depth + 1, err);
    return rc;
}

/* Names are kept in GGUF's form, so a WordPiece decoder has nothing left to say but this. */
static int decoder_wordpiece(
    struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    self->decoder.cleans = text_json_flag(node, "cleanup", true);
    self->decoder.first = TEXT_FIRST_DROPS_ONE;
    if (self->kind != TEXT_KIND_WORDPIECE)
        return unknown("decoder", node, err);
    return BASE_OK;
}

static int decoder_replace(struct text_tokenizer *self, const char *from, size_t from_bytes,
    const char *to, size_t to_bytes, struct base_error *err)
{
    if (to_bytes > from_bytes || self->decoder.from.count == LIMIT_NORMAL_STEPS)
        return base_error_set(err, BASE_UNSUPPORTED,
            "decoder: Replace: by something longer, or more than %d of them", LIMIT_NORMAL_STEPS);
    if (text_strings_append(&self->decoder.from, from, from_bytes) != BASE_OK ||
        text_strings_append(&self->decoder.to, to, to_bytes) != BASE_OK)
        return text_vocab_no_memory(err);
    return BASE_OK;
}

static int decoder_strip(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    size_t bytes;
    const char *content = text_json_string(node, "content", &bytes);
    json_int_t start = json_integer_value(json_object_get(node, "start"));

    if (content == NULL || bytes != 1 || content[0] != ' ' || start > 1 || start < 0 ||
        json_integer_value(json_object_get(node, "stop")) != 0)
        return base_error_set(
            err, BASE_UNSUPPORTED, "decoder: Strip: of anything but one space in front");
    if (start == 1)
        self->decoder.first = TEXT_FIRST_DROPS_ONE;
    return BASE_OK;
}

static int decoder_one(struct text_tokenizer *self, const json_t *node, struct base_error *err)
{
    const char *type = text_json_type(node), *from, *to;
    size_t from_bytes, to_bytes;
    bool is_regex;

    if (strcmp(type, "Fuse") == 0)
        return BASE_OK;
    if (strcmp(type, "ByteLevel") == 0) {
        self->decoder.alphabet = true;
        return BASE_OK;
    }
    if (strcmp(type, "ByteFallback") == 0) {
        self->decoder.bytes = true;
        return BASE_OK;
    }
    if (strcmp(type, "WordPiece") == 0)
        return decoder_wordpiece(self, node, err);
    if (strcmp(type, "Strip") == 0)
        return decoder_strip(self, node, err);
    if (strcmp(type, "Metaspace") == 0) {
        from = text_json_string(node, "replacement", &from_bytes);
        to = json_string_value(json_object_get(node, "prepend_scheme"));
        self->decoder.first =
            to != NULL && strcmp(to, "never") == 0 ? TEXT_FIRST_KEPT : TEXT_FIRST_DROPS_ALL;
        if (from == NULL || from_bytes == 0)
            return missing("decoder: Metaspace", "replacement", err);
        return decoder_replace(self, from, from_bytes, " ", 1, err);
    }
    if (strcmp(type, "BPEDecoder") == 0) {
        from = json_string_value(json_object_get(node, "suffix"));
        base_free(self->decoder.suffix);
        self->decoder.suffix = base_strdup(from == NULL ? "</w>" : from);
        return self->decoder.suffix == NULL ? text_vocab_no_memory(err) : BASE_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        from = pattern_of(node, &is_regex, &from_bytes);
        to = text_json_string(node, "content", &to_bytes);
        if (from == NULL || to == NULL || is_regex)
            return missing("decoder: Replace", "pattern", err);
        return decoder_replace(self, from, from_bytes, to, to_bytes, err);
    }
    return unknown("decoder", node, err);
}

int text_json_decoder(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err)
{
    const json_t *list = json_object_get(node, "decoders");
    int rc = BASE_OK;

    if (node == NULL || json_is_null(node)) {
        /* Tokens stand as they are, with spaces between them. */
        self->decoder.joins = self->kind != TEXT_KIND_WORDPIECE;
        self->decoder.first = TEXT_FIRST_DROPS_ONE;
        return BASE_OK;
    }
    if (depth == LIMIT_TOKENIZER_NESTING)
        return too_deep("decoder", err);
    if (strcmp(text_json_type(node), "Sequence") != 0)
        return decoder_one(self, node, err);
    if (!json_is_array(list))
        return missing("decoder: Sequence", "decoders", err);
    for (size_t i = 0; rc == BASE_OK && i < json_array_size(list); i++)
        rc = text_json_decoder(self, json_array_get(list, i), depth + 1, err);
    return rc;
}
