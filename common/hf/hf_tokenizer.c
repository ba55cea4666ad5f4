/* tokenizer_config.json, generation_config.json and chat templates to tokenizer.* keys. The
 * tokenizer itself stays what it is, tokenizer.json's text, or comes from a tokenizer.model. */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf_builder.h"
#include <stdio.h>
#include <string.h>

#define END_IDS_MAX 32 /* tokens that end generation */
#define KEY_BYTES   128

struct reader {
    const char *folder;
    const json_t *config;
    json_t *tokenizer;  /* tokenizer_config.json, or NULL */
    json_t *generation; /* generation_config.json, or NULL */
    json_t *added;      /* added_tokens of tokenizer.json, or NULL */
    struct gguf_builder *builder;
    struct base_error *err;
};

/* The list of added tokens, without parsing the vocabulary behind it, which may be long. */
static json_t *find_added(const char *text, size_t bytes)
{
    const char *key = "\"added_tokens\"";
    const char *at = memmem(text, bytes, key, strlen(key));
    const char *end = text + bytes;

    if (at == NULL)
        return NULL;
    at += strlen(key);
    at += strspn(at, " \t\r\n:");
    if (*at != '[')
        return NULL;
    json_t *list =
        json_loadb(at, (size_t)(end - at), JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL);
    if (list != NULL && !json_is_array(list)) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

static int read_vocabulary(struct reader *self)
{
    char *text = NULL;
    size_t bytes = 0;
    int rc = hf_read_text(
        self->folder, "tokenizer.json", LIMIT_TOKENIZER_JSON_BYTES, &text, &bytes, self->err);

    if (rc == BASE_OK) {
        self->added = find_added(text, bytes);
        gguf_builder_text(self->builder, "tokenizer.huggingface.json", text, bytes);
    } else if (rc == BASE_NOT_FOUND) {
        rc = hf_read_text(
            self->folder, "tokenizer.model", LIMIT_TOKENIZER_JSON_BYTES, &text, &bytes, self->err);
        if (rc == BASE_OK)
            rc = hf_read_sentencepiece((const uint8_t *)text, bytes, self->builder, self->err);
        /* A model without a tokenizer can still be loaded. */
        rc = rc == BASE_NOT_FOUND ? BASE_OK : rc;
    }
    base_free(text);
    return rc;
}

static int read_optional(const struct reader *self, const char *name, json_t **ret_json)
{
    int rc = hf_read_json(self->folder, name, LIMIT_CONFIG_JSON_BYTES, ret_json, self->err);

    return rc == BASE_NOT_FOUND ? BASE_OK : rc;
}

/* A token's text: the value, or its "content". */
static const char *token_text(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/* The id of an added token; -1: none. */
static int64_t find_token(const struct reader *self, const char *text)
{
    const json_t *decoder = json_object_get(self->tokenizer, "added_tokens_decoder");
    const char *id;
    json_t *value;
    size_t index;

    json_object_foreach((json_t *)decoder, id, value)
    {
        const char *content = token_text(value);
        unsigned long number = 0;
        if (content != NULL && strcmp(content, text) == 0 && sscanf(id, "%9lu", &number) == 1)
            return (int64_t)number;
    }
    json_array_foreach(self->added, index, value)
    {
        const char *content = token_text(value);
        const json_t *number = json_object_get(value, "id");
        if (content != NULL && strcmp(content, text) == 0 && json_is_integer(number))
            return json_integer_value(number);
    }
    return -1;
}

/* An id by number; the first where there is a list. -1: none. */
static int64_t number_of(const json_t *config, const char *key)
{
    const json_t *value = json_object_get(config, key);

    if (json_is_array(value))
        value = json_array_get(value, 0);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* By the token's text in tokenizer_config.json, else by number in config.json. */
static int64_t special_id(const struct reader *self, const char *name)
{
    const char *text = token_text(json_object_get(self->tokenizer, name));
    char key[KEY_BYTES];
    int64_t id = text != NULL ? find_token(self, text) : -1;

    (void)snprintf(key, sizeof(key), "%s_id", name);
    if (id < 0)
        id = number_of(self->config, key);
    if (id < 0)
        id = number_of(self->generation, key);
    return id < LIMIT_VOCAB_MAX ? id : -1;
}

static void put_id(const struct reader *self, const char *key, int64_t id)
{
    if (id >= 0 && !gguf_builder_has(self->builder, key))
        gguf_builder_u32(self->builder, key, (uint32_t)id);
}

static void note_end(uint32_t *ids, size_t *count, int64_t id)
{
    for (size_t i = 0; i < *count; i++)
        if (ids[i] == id)
            return;
    if (id >= 0 && id < LIMIT_VOCAB_MAX && *count < END_IDS_MAX)
        ids[(*count)++] = (uint32_t)id;
}

/* Every token that ends generation, where there are several. */
static void put_ends(const struct reader *self, int64_t first)
{
    const json_t *const places[] = {json_object_get(self->generation, "eos_token_id"),
        json_object_get(self->config, "eos_token_id")};
    uint32_t ids[END_IDS_MAX];
    size_t count = 0;

    note_end(ids, &count, first);
    for (size_t i = 0; i < 2; i++) {
        if (json_is_integer(places[i]))
            note_end(ids, &count, json_integer_value(places[i]));
        for (size_t j = 0; j < json_array_size(places[i]); j++)
            if (json_is_integer(json_array_get(places[i], j)))
                note_end(ids, &count, json_integer_value(json_array_get(places[i], j)));
    }
    if (count > 1)
        gguf_builder_array(
            self->builder, "tokenizer.ggml.eos_token_ids", GGUF_VALUE_U32, count, ids);
}

static void put_special(const struct reader *self)
{
    static const struct {
        const char *name, *key;
    } rows[] = {
        {"bos_token", "tokenizer.ggml.bos_token_id"},
        {"cls_token", "tokenizer.ggml.bos_token_id"}, /* of encoders, where there is no bos */
        {"eos_token", "tokenizer.ggml.eos_token_id"},
        {"sep_token", "tokenizer.ggml.eos_token_id"},
        {"unk_token", "tokenizer.ggml.unknown_token_id"},
        {"sep_token", "tokenizer.ggml.seperator_token_id"},
        {"pad_token", "tokenizer.ggml.padding_token_id"},
        {"mask_token", "tokenizer.ggml.mask_token_id"},
    };
    static const char *const flags[] = {"add_bos_token", "add_eos_token"};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        put_id(self, rows[i].key, special_id(self, rows[i].name));
    put_ends(self, special_id(self, "eos_token"));
    for (size_t i = 0; i < 2; i++) {
        const json_t *flag = json_object_get(self->tokenizer, flags[i]);
        char key[KEY_BYTES];
        (void)snprintf(key, sizeof(key), "tokenizer.ggml.%s", flags[i]);
        if (json_is_boolean(flag))
            gguf_builder_bool(self->builder, key, json_is_true(flag));
    }
}

static void put_template(const struct reader *self, const char *key, const json_t *text)
{
    if (json_is_string(text) && !gguf_builder_has(self->builder, key))
        gguf_builder_text(self->builder, key, json_string_value(text), json_string_length(text));
}

/* Templates by name: the one called default, and the others beside it. */
static void put_named_templates(const struct reader *self, const json_t *list)
{
    size_t index;
    json_t *item;

    json_array_foreach((json_t *)list, index, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        char key[KEY_BYTES];
        if (name == NULL || index >= LIMIT_CHAT_TEMPLATES)
            continue;
        if (strcmp(name, "default") == 0)
            (void)snprintf(key, sizeof(key), "tokenizer.chat_template");
        else
            (void)snprintf(key, sizeof(key), "tokenizer.chat_template.%.60s", name);
        put_template(self, key, json_object_get(item, "template"));
    }
}

static int put_templates(const struct reader *self)
{
    const json_t *inside = json_object_get(self->tokenizer, "chat_template");
    char *text = NULL;
    size_t bytes = 0;
    int rc = hf_read_text(
        self->folder, "chat_template.jinja", LIMIT_CONFIG_JSON_BYTES, &text, &bytes, self->err);

    if (rc == BASE_OK)
        gguf_builder_text(self->builder, "tokenizer.chat_template", text, bytes);
    base_free(text);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (json_is_array(inside))
        put_named_templates(self, inside);
    else
        put_template(self, "tokenizer.chat_template", inside);
    return BASE_OK;
}

/* What the model's makers recommend. */
static void put_sampling(const struct reader *self)
{
    static const struct {
        const char *name, *key;
    } rows[] = {
        {"temperature", "general.sampling.temp"},
        {"top_p", "general.sampling.top_p"},
        {"min_p", "general.sampling.min_p"},
        {"repetition_penalty", "general.sampling.penalty_repeat"},
    };
    const json_t *top_k = json_object_get(self->generation, "top_k");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const json_t *value = json_object_get(self->generation, rows[i].name);
        if (json_is_number(value))
            gguf_builder_f32(self->builder, rows[i].key, (float)json_number_value(value));
    }
    if (json_is_integer(top_k) && json_integer_value(top_k) >= 0 &&
        json_integer_value(top_k) < LIMIT_VOCAB_MAX)
        gguf_builder_u32(
            self->builder, "general.sampling.top_k", (uint32_t)json_integer_value(top_k));
}

int hf_read_tokenizer(
    const char *folder, const json_t *config, struct gguf_builder *builder, struct base_error *err)
{
    struct reader self = {.folder = folder, .config = config, .builder = builder, .err = err};
    int rc = read_vocabulary(&self);

    if (rc == BASE_OK)
        rc = read_optional(&self, "tokenizer_config.json", &self.tokenizer);
    if (rc == BASE_OK)
        rc = read_optional(&self, "generation_config.json", &self.generation);
    if (rc == BASE_OK)
        rc = put_templates(&self);
    if (rc == BASE_OK) {
        put_special(&self);
        put_sampling(&self);
    }
    json_decref(self.tokenizer);
    json_decref(self.generation);
    json_decref(self.added);
    return rc;
}
