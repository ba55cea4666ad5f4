/* The vocabulary part of a GGUF file: tokens, types, scores and merges. */
#include "text_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf.h"
#include "text_utf8.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* GPT-2 writes a byte as a printable character: itself, or one of U+0100 to U+0143. */
#define ALPHABET_END 0x144

static bool byte_prints(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static void alphabet_make(uint16_t byte_to_character[256], int16_t character_to_byte[ALPHABET_END])
{
    uint16_t next = 0x100;

    for (unsigned i = 0; i < ALPHABET_END; i++)
        character_to_byte[i] = -1;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint16_t character = byte_prints(byte) ? (uint16_t)byte : next++;
        byte_to_character[byte] = character;
        character_to_byte[character] = (int16_t)byte;
    }
}

/* Bytes that text in the alphabet stands for, in place of what ret has room for: text's own
 * length. Returns false when a character is not of the alphabet; it is then copied as it is. */
static bool alphabet_decode(const int16_t character_to_byte[ALPHABET_END], const char *text,
    size_t bytes, char *ret, size_t *ret_bytes)
{
    size_t used = 0;
    bool all = true;

    for (size_t i = 0; i < bytes;) {
        const uint8_t *p = (const uint8_t *)text + i;
        int length = text_utf8_step(text + i, bytes - i);
        unsigned character = length == 1   ? p[0]
                             : length == 2 ? (unsigned)(p[0] & 0x1f) << 6 | (p[1] & 0x3f)
                                           : ALPHABET_END;
        if (character < ALPHABET_END && character_to_byte[character] >= 0) {
            ret[used++] = (char)character_to_byte[character];
            i += (size_t)length;
            continue;
        }
        all = false;
        for (int copied = 0; copied < (length > 0 ? length : 1); copied++)
            ret[used++] = text[i++];
    }
    *ret_bytes = used;
    return all;
}

/* U+2581 stands for a space. */
static size_t spaces_restore(const char *text, size_t bytes, char *ret)
{
    size_t used = 0;

    for (size_t i = 0; i < bytes;) {
        if (bytes - i >= 3 && memcmp(text + i, "\xe2\x96\x81", 3) == 0) {
            ret[used++] = ' ';
            i += 3;
        } else {
            ret[used++] = text[i++];
        }
    }
    return used;
}

/* "<0x41>" to 0x41, or -1. */
static int byte_parse(const char *text, size_t bytes)
{
    int value = 0;

    if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    for (int i = 3; i < 5; i++) {
        char c = text[i];
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

static int out_of_memory(struct base_error *err)
{
    return base_error_set(err, BASE_NOMEM, "tokenizer: no memory for the vocabulary");
}

static int read_names(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;
    struct gguf_string name;
    int rc = gguf_get_array(file, "tokenizer.ggml.tokens", &array, err);

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
            return rc == BASE_NOMEM ? out_of_memory(err)
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
    self->ends = base_alloc_zeroed(self->vocab_size, sizeof(*self->ends));
    if (self->types == NULL || self->ends == NULL)
        return out_of_memory(err);
    memset(self->types, TEXT_TYPE_NORMAL, self->vocab_size);
    int rc = gguf_get_array(file, "tokenizer.ggml.token_type", &array, err);
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

static void mark_ends(struct text_tokenizer *self)
{
    bool harmony = text_find(self, "<|return|>") >= 0 && text_find(self, "<|call|>") >= 0;

    for (size_t i = 0; i < sizeof(markup) / sizeof(markup[0]); i++) {
        int64_t id = text_find(self, markup[i]);
        if (id < 0)
            continue;
        self->types[id] = TEXT_TYPE_CONTROL;
        /* <|start|> ... <|end|> only closes one message where <|return|> ends the answer. */
        self->ends[id] =
            strcmp(markup[i], "<|im_start|>") != 0 && !(harmony && !strcmp(markup[i], "<|end|>"));
    }
    for (size_t i = 0; i < sizeof(markup_unless_normal) / sizeof(markup_unless_normal[0]); i++) {
        int64_t id = text_find(self, markup_unless_normal[i]);
        if (id < 0 || self->types[id] == TEXT_TYPE_NORMAL)
            continue;
        self->types[id] = TEXT_TYPE_CONTROL;
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

/*
 * What token id adds to running text, into ret (room for its name). *ret_merges: merging may
 * produce it.
 */
static size_t piece_make(const struct text_tokenizer *self, size_t id,
    const int16_t character_to_byte[ALPHABET_END], char *ret, bool *ret_merges)
{
    size_t bytes;
    const char *name = text_strings_at(&self->names, id, &bytes);
    enum text_type type = self->types[id];
    int byte = type == TEXT_TYPE_BYTE ? byte_parse(name, bytes) : -1;

    *ret_merges = false;
    if (type == TEXT_TYPE_CONTROL || type == TEXT_TYPE_UNKNOWN || bytes == 0)
        return 0;
    if (byte >= 0) {
        ret[0] = (char)byte;
        return 1;
    }
    if (self->kind == TEXT_KIND_SPM) {
        *ret_merges =
            type == TEXT_TYPE_NORMAL || type == TEXT_TYPE_UNUSED || type == TEXT_TYPE_USER_DEFINED;
        return spaces_restore(name, bytes, ret);
    }
    if (type == TEXT_TYPE_UNUSED)
        return 0;
    if (type == TEXT_TYPE_USER_DEFINED) {
        memcpy(ret, name, bytes);
        return bytes;
    }
    *ret_merges = alphabet_decode(character_to_byte, name, bytes, ret, &bytes);
    return bytes;
}

static int make_pieces(struct text_tokenizer *self, const int16_t *character_to_byte)
{
    size_t bytes_max = 0;
    int rc = BASE_OK;

    for (size_t i = 0; i < self->vocab_size; i++) {
        size_t bytes = self->names.starts[i + 1] - self->names.starts[i];
        bytes_max = bytes > bytes_max ? bytes : bytes_max;
    }
    char *piece = base_alloc(bytes_max);
    if (piece == NULL)
        return BASE_NOMEM;
    for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
        bool merges;
        size_t bytes = piece_make(self, i, character_to_byte, piece, &merges);
        rc = text_strings_append(&self->pieces, piece, bytes);
        if (rc == BASE_OK && merges)
            rc = text_table_add(
                &self->by_text, self->kind == TEXT_KIND_SPM ? &self->names : &self->pieces, i);
    }
    base_free(piece);
    return rc;
}

static int spm_bytes(struct text_tokenizer *self)
{
    for (unsigned byte = 0; byte < 256; byte++)
        self->byte_ids[byte] = TEXT_NONE;
    for (size_t i = self->vocab_size; i-- > 0;) {
        size_t bytes;
        const char *name = text_strings_at(&self->names, i, &bytes);
        int byte = self->types[i] == TEXT_TYPE_BYTE ? byte_parse(name, bytes) : -1;
        if (byte >= 0)
            self->byte_ids[byte] = (uint32_t)i;
    }
    return BASE_OK;
}

/* Every byte gets an id to begin merging with; bytes without token get an extra. */
static int bpe_bytes(struct text_tokenizer *self, const uint16_t byte_to_character[256])
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char text = (char)byte;
        int64_t id = text_table_find(&self->by_text, &text, 1);
        uint16_t character = byte_to_character[byte];
        char name[2] = {(char)(0xc0 | character >> 6), (char)(0x80 | (character & 0x3f))};

        /* Some files hold the rarest bytes only as added tokens, in their printable form. */
        if (id < 0 && character >= 0x80) {
            id = text_table_find(&self->by_name, name, sizeof(name));
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

int text_vocab_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    uint16_t byte_to_character[256];
    int16_t character_to_byte[ALPHABET_END];
    int rc = read_names(self, file, err);

    if (rc == BASE_OK)
        rc = read_types(self, file, err);
    if (rc != BASE_OK)
        return rc;
    alphabet_make(byte_to_character, character_to_byte);
    rc = index_names(self);
    if (rc == BASE_OK) {
        mark_ends(self);
        rc = make_pieces(self, character_to_byte);
    }
    if (rc == BASE_OK)
        rc = self->kind == TEXT_KIND_SPM ? spm_bytes(self) : bpe_bytes(self, byte_to_character);
    return rc == BASE_OK ? BASE_OK : out_of_memory(err);
}

int text_scores_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    struct gguf_array array;
    int rc = gguf_get_array(file, "tokenizer.ggml.scores", &array, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.scores is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    self->score_keys = base_alloc_array(self->vocab_size, sizeof(*self->score_keys));
    if (self->score_keys == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < self->vocab_size; i++) {
        float score;
        uint32_t bits;
        if (!gguf_array_next_f32(&array, &score) || isnan(score))
            return base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.scores: no number for token %zu of %zu", gguf_path(file), i,
                self->vocab_size);
        score += 0.0f; /* -0 to 0 */
        memcpy(&bits, &score, sizeof(bits));
        /* Order of floats as order of integers, turned round. */
        self->score_keys[i] = (bits & 0x80000000u) != 0 ? bits : 0x7fffffffu - bits;
    }
    return BASE_OK;
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

/* One rule "left right". Rules with characters outside the alphabet can never apply. */
static int merge_add(struct text_tokenizer *self, const int16_t *character_to_byte,
    const struct gguf_string *line, const char *space, uint32_t rank, char *buffer)
{
    size_t left_bytes, right_bytes;
    uint32_t left, right, both;

    if (!alphabet_decode(
            character_to_byte, line->data, (size_t)(space - line->data), buffer, &left_bytes) ||
        !alphabet_decode(character_to_byte, space + 1,
            line->bytes - (size_t)(space + 1 - line->data), buffer + left_bytes, &right_bytes))
        return BASE_OK;
    int rc = merge_part(self, buffer, left_bytes, &left);
    if (rc == BASE_OK)
        rc = merge_part(self, buffer + left_bytes, right_bytes, &right);
    if (rc == BASE_OK)
        rc = merge_part(self, buffer, left_bytes + right_bytes, &both);
    return rc == BASE_OK ? text_pairs_add(&self->merges, left, right, rank, both) : rc;
}

int text_merges_load(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    uint16_t byte_to_character[256];
    int16_t character_to_byte[ALPHABET_END];
    struct gguf_array array, lines;
    struct gguf_string line;
    size_t bytes_max = 0;
    uint32_t rank = 0;
    int rc = gguf_get_array(file, "tokenizer.ggml.merges", &array, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.merges is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    alphabet_make(byte_to_character, character_to_byte);
    for (lines = array; gguf_array_next_string(&lines, &line);)
        bytes_max = line.bytes > bytes_max ? line.bytes : bytes_max;
    char *buffer = base_alloc(bytes_max);
    if (buffer == NULL)
        return out_of_memory(err);
    while (rc == BASE_OK && gguf_array_next_string(&array, &line)) {
        /* A token may begin with a space, so the search begins behind the first byte. */
        const char *space = line.bytes < 3 ? NULL : memchr(line.data + 1, ' ', line.bytes - 2);
        if (space == NULL)
            rc = base_error_set(err, BASE_MALFORMED,
                "%s: tokenizer.ggml.merges: rule %u is not two parts", gguf_path(file), rank);
        else if (merge_add(self, character_to_byte, &line, space, rank++, buffer) != BASE_OK)
            rc = out_of_memory(err);
    }
    if (rc == BASE_OK && rank != array.count)
        rc = base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.merges: not strings", gguf_path(file));
    base_free(buffer);
    return rc;
}
