#include "text_tokenizer.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "gguf.h"
#include "text_internal.h"
#include <string.h>

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

static int read_ids(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    static const char *const end_keys[] = {"tokenizer.ggml.eot_token_id",
        "tokenizer.ggml.eom_token_id", "tokenizer.ggml.fim_pad_token_id",
        "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};
    bool spm = self->kind == TEXT_KIND_SPM;

    self->unknown_id = spm ? 0 : -1;
    self->bos_id = spm ? 1 : -1;
    self->eos_id = spm ? 2 : -1;
    int rc = read_id(self, file, "tokenizer.ggml.unknown_token_id", &self->unknown_id, err);
    if (rc == BASE_OK)
        rc = read_id(self, file, "tokenizer.ggml.bos_token_id", &self->bos_id, err);
    if (rc == BASE_OK)
        rc = read_id(self, file, "tokenizer.ggml.eos_token_id", &self->eos_id, err);
    if (rc == BASE_OK && self->eos_id >= 0)
        self->ends[self->eos_id] = true;
    for (size_t i = 0; rc == BASE_OK && i < sizeof(end_keys) / sizeof(end_keys[0]); i++) {
        int64_t id = -1;
        rc = read_id(self, file, end_keys[i], &id, err);
        if (rc == BASE_OK && id >= 0)
            self->ends[id] = true;
    }
    return rc;
}

/* A flag by key; *value keeps its default when the key is absent. */
static int read_flag(const struct gguf *file, const char *key, bool *value, struct base_error *err)
{
    int rc = gguf_get_bool(file, key, value, err);

    return rc == BASE_NOT_FOUND ? BASE_OK : rc;
}

static int read_flags(struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    bool spm = self->kind == TEXT_KIND_SPM;

    self->add_bos = spm || text_split_adds_bos(self->split);
    self->add_space_prefix = spm;
    int rc = read_flag(file, "tokenizer.ggml.add_bos_token", &self->add_bos, err);
    if (rc == BASE_OK)
        rc = read_flag(file, "tokenizer.ggml.add_eos_token", &self->add_eos, err);
    if (rc == BASE_OK && spm)
        rc = read_flag(file, "tokenizer.ggml.add_space_prefix", &self->add_space_prefix, err);
    return rc;
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

static int add_specials(
    struct text_tokenizer *self, const struct gguf *file, struct base_error *err)
{
    int rc = BASE_OK;

    for (size_t i = 0; rc == BASE_OK && i < self->vocab_size; i++) {
        size_t bytes;
        const char *text = text_strings_at(&self->names, i, &bytes);
        bool always = self->types[i] == TEXT_TYPE_USER_DEFINED;

        if (always || self->types[i] == TEXT_TYPE_CONTROL || self->types[i] == TEXT_TYPE_UNKNOWN) {
            struct text_special item = {text, (uint32_t)bytes, (uint32_t)i, always};
            rc = text_specials_add(&self->specials, &item, err);
        }
    }
    text_specials_seal(&self->specials);
    return rc == BASE_OK ? BASE_OK : base_error_prepend(err, rc, "%s", gguf_path(file));
}

static int read_kind(const struct gguf *file, struct text_tokenizer *self, struct base_error *err)
{
    struct gguf_string model, pre = {"default", 7};
    int rc = gguf_get_string(file, "tokenizer.ggml.model", &model, err);

    if (rc == BASE_NOT_FOUND)
        return base_error_set(
            err, BASE_MALFORMED, "%s: tokenizer.ggml.model is missing", gguf_path(file));
    if (rc != BASE_OK)
        return rc;
    if (model.bytes == 5 && memcmp(model.data, "llama", 5) == 0) {
        self->kind = TEXT_KIND_SPM;
        return BASE_OK;
    }
    if (model.bytes != 4 || memcmp(model.data, "gpt2", 4) != 0)
        return base_error_set(err, BASE_UNSUPPORTED,
            "%s: tokenizer.ggml.model: \"%.*s\" is not known; known: llama gpt2", gguf_path(file),
            (int)(model.bytes < 64 ? model.bytes : 64), model.data);
    self->kind = TEXT_KIND_BPE;
    rc = gguf_get_string(file, "tokenizer.ggml.pre", &pre, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    rc = text_split_new(pre.data, pre.bytes, &self->split, err);
    return rc == BASE_OK ? BASE_OK : base_error_prepend(err, rc, "%s", gguf_path(file));
}

int text_tokenizer_open(
    const struct gguf *file, struct text_tokenizer **ret_tokenizer, struct base_error *err)
{
    struct text_tokenizer *self = base_alloc_zeroed(1, sizeof(*self));
    int rc;

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory");
    rc = read_kind(file, self, err);
    if (rc == BASE_OK)
        rc = text_vocab_load(self, file, err);
    if (rc == BASE_OK && self->kind == TEXT_KIND_SPM)
        rc = text_scores_load(self, file, err);
    else if (rc == BASE_OK)
        rc = text_merges_load(self, file, err);
    if (rc == BASE_OK)
        rc = read_ids(self, file, err);
    if (rc == BASE_OK)
        rc = read_flags(self, file, err);
    if (rc == BASE_OK)
        rc = read_template(self, file, err);
    if (rc == BASE_OK)
        rc = add_specials(self, file, err);
    if (rc == BASE_OK)
        *ret_tokenizer = self;
    else
        text_tokenizer_close(&self);
    return rc;
}

void text_tokenizer_close(struct text_tokenizer **self_p)
{
    struct text_tokenizer *self = *self_p;

    if (self == NULL)
        return;
    text_strings_release(&self->names);
    text_strings_release(&self->pieces);
    text_table_release(&self->by_name);
    text_table_release(&self->by_text);
    text_specials_release(&self->specials);
    text_pairs_release(&self->merges);
    text_split_destroy(&self->split);
    base_free(self->types);
    base_free(self->ends);
    base_free(self->score_keys);
    base_free(self->chat_template);
    base_free(self);
    *self_p = NULL;
}

size_t text_vocab_size(const struct text_tokenizer *self)
{
    return self->vocab_size;
}

int64_t text_bos_id(const struct text_tokenizer *self)
{
    return self->bos_id;
}

int64_t text_eos_id(const struct text_tokenizer *self)
{
    return self->eos_id;
}

bool text_is_end(const struct text_tokenizer *self, uint32_t id)
{
    return id < self->vocab_size && self->ends[id];
}

bool text_is_control(const struct text_tokenizer *self, uint32_t id)
{
    return id < self->vocab_size && self->types[id] == TEXT_TYPE_CONTROL;
}

const char *text_piece(const struct text_tokenizer *self, uint32_t id, size_t *ret_bytes)
{
    base_assert(id < self->vocab_size);
    return text_strings_at(&self->pieces, id, ret_bytes);
}

int64_t text_find(const struct text_tokenizer *self, const char *text)
{
    return text_table_find(&self->by_name, text, strlen(text));
}

const char *text_chat_template(const struct text_tokenizer *self)
{
    return self->chat_template;
}
