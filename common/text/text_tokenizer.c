#include "text_tokenizer.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "gguf.h"
#include "text_internal.h"
#include "text_vocab.h"
#include <string.h>

/* A new tokenizer, filled from one of the two kinds of file; file may be NULL for JSON alone. */
static int open_any(const struct gguf *file, const char *json, size_t bytes,
    struct text_tokenizer **ret_tokenizer, struct base_error *err)
{
    struct text_tokenizer *self = base_alloc_zeroed(1, sizeof(*self));
    int rc;

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "tokenizer: no memory");
    rc = json == NULL ? text_gguf_load(self, file, err)
                      : text_json_load(self, json, bytes, file, err);
    if (rc == BASE_OK)
        *ret_tokenizer = self;
    else
        text_tokenizer_close(&self);
    return rc;
}

int text_tokenizer_open(
    const struct gguf *file, struct text_tokenizer **ret_tokenizer, struct base_error *err)
{
    struct gguf_string model, json;

    if (gguf_get_string(file, "tokenizer.ggml.model", &model, NULL) == BASE_OK)
        return open_any(file, NULL, 0, ret_tokenizer, err);
    int rc = gguf_get_string(file, "tokenizer.huggingface.json", &json, err);
    if (rc == BASE_NOT_FOUND)
        return open_any(file, NULL, 0, ret_tokenizer, err); /* which says what is missing */
    return rc == BASE_OK ? open_any(file, json.data, json.bytes, ret_tokenizer, err) : rc;
}

int text_tokenizer_open_json(
    const char *json, size_t bytes, struct text_tokenizer **ret_tokenizer, struct base_error *err)
{
    return open_any(NULL, json, bytes, ret_tokenizer, err);
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
    text_specials_release(&self->raw);
    text_specials_release(&self->normalized);
    text_strings_release(&self->special_texts);
    text_pairs_release(&self->merges);
    text_trie_release(&self->trie);
    text_trie_release(&self->initials);
    text_normal_destroy(&self->normal);
    text_split_destroy(&self->split);
    text_strings_release(&self->decoder.from);
    text_strings_release(&self->decoder.to);
    base_free(self->decoder.suffix);
    base_free(self->types);
    base_free(self->ends);
    base_free(self->scores);
    base_free(self->score_keys);
    base_free(self->charsmap);
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
    return self->roles.bos;
}

int64_t text_eos_id(const struct text_tokenizer *self)
{
    return self->roles.eos;
}

int64_t text_unknown_id(const struct text_tokenizer *self)
{
    return self->roles.unknown;
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

const char *text_name(const struct text_tokenizer *self, uint32_t id, size_t *ret_bytes)
{
    base_assert(id < self->vocab_size);
    return text_strings_at(&self->names, id, ret_bytes);
}

int64_t text_find(const struct text_tokenizer *self, const char *text)
{
    return text_table_find(&self->by_name, text, strlen(text));
}

const char *text_chat_template(const struct text_tokenizer *self)
{
    return self->chat_template;
}
