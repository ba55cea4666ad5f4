/* The model: metadata, tensor table, weights. */
#include "tiny_builder.h"
#include "tiny_tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 32u

static void begin_tensor(struct tiny_builder *self, const char *name, uint32_t type,
    const uint64_t *dimensions, uint32_t dimension_count)
{
    tiny_put(&self->data, NULL, (ALIGNMENT - self->data.count % ALIGNMENT) % ALIGNMENT);
    tiny_put_tensor(&self->table, name, type, dimensions, dimension_count, self->data.count);
    self->tensor_count++;
}

void tiny_add_vector(
    struct tiny_builder *self, const char *name, uint64_t count, uint64_t rows, float base)
{
    const uint64_t dimensions[2] = {count, rows};
    size_t at;

    begin_tensor(self, name, TINY_F32, dimensions, rows == 0 ? 1 : 2);
    at = self->data.count;
    tiny_put_weights(self, TINY_F32, count * (rows == 0 ? 1 : rows), 0.25f);
    for (; base != 0 && at < self->data.count; at += sizeof(float)) {
        float value;
        memcpy(&value, self->data.data + at, sizeof(value));
        value += base;
        memcpy(self->data.data + at, &value, sizeof(value));
    }
}

void tiny_add_matrix(struct tiny_builder *self, const char *name, uint64_t columns, uint64_t rows,
    uint64_t depth, float limit)
{
    const uint64_t dimensions[3] = {columns, rows, depth};
    uint32_t type = self->options.weight_type;

    if (columns % tiny_block(type) != 0)
        type = TINY_F16;
    begin_tensor(self, name, type, dimensions, depth == 1 ? 2 : 3);
    tiny_put_weights(self, type, columns * rows * depth, limit);
}

static void add_entries(struct tiny_builder *self)
{
    const struct tiny_gguf_options *o = &self->options;
    const char *architecture = tiny_family_architecture(self->family);
    const struct {
        const char *key;
        uint32_t value;
    } integers[] = {
        {"block_count", o->layer_count},
        {"context_length", o->context_length},
        {"embedding_length", o->embedding_length},
        {"feed_forward_length", o->feed_forward},
        {"attention.head_count", o->head_count},
        {"attention.head_count_kv", o->kv_head_count},
        {"attention.key_length", o->head_dim},
        {"attention.value_length", o->head_dim},
        {"vocab_size", o->vocab_size},
    };
    char key[96];

    tiny_put_key_string(&self->entries, "general.architecture", architecture);
    tiny_put_key_string(&self->entries, "general.name", "tiny");
    (void)snprintf(key, sizeof(key), "%s.rope.freq_base", architecture);
    tiny_put_key_f32(&self->entries, key, 10000.0f);
    self->entry_count += 3;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++, self->entry_count++) {
        (void)snprintf(key, sizeof(key), "%s.%s", architecture, integers[i].key);
        tiny_put_key_u32(&self->entries, key, integers[i].value);
    }
    tiny_add_family_entries(self);
    if (o->extra_key != NULL && o->extra_text != NULL)
        tiny_put_key_string(&self->entries, o->extra_key, o->extra_text);
    else if (o->extra_key != NULL)
        tiny_put_key_u32(&self->entries, o->extra_key, o->extra_value);
    self->entry_count += o->extra_key != NULL;
    if (o->tokenizer != TINY_TOKENIZER_NONE)
        self->entry_count += tiny_tokenizer_put(&self->entries, o->tokenizer, o->vocab_size);
}

static void add_factors(struct tiny_builder *self, const char *name, uint32_t count, float step)
{
    const uint64_t dimensions[1] = {count};

    begin_tensor(self, name, TINY_F32, dimensions, 1);
    for (uint32_t i = 0; i < count; i++) {
        float factor = 1.0f + (float)i * step;
        tiny_put(&self->data, &factor, sizeof(factor));
    }
}

static void add_tensors(struct tiny_builder *self)
{
    const struct tiny_gguf_options *o = &self->options;
    bool encoder = tiny_family_encodes(self->family);
    uint32_t pairs = tiny_family_rotary(self->family, o->head_dim) / 2;

    tiny_add_matrix(self, "token_embd.weight", o->embedding_length, o->vocab_size, 1, 1.0f);
    if (encoder) {
        tiny_add_vector(self, "position_embd.weight", o->embedding_length, o->context_length, 0);
        tiny_add_vector(self, "token_types.weight", o->embedding_length, 2, 0);
        tiny_add_vector(self, "token_embd_norm.weight", o->embedding_length, 0, 1);
        tiny_add_vector(self, "token_embd_norm.bias", o->embedding_length, 0, 0);
    }
    if (tiny_family_longrope(self->family)) {
        add_factors(self, "rope_factors_long.weight", pairs, 0.7f);
        add_factors(self, "rope_factors_short.weight", pairs, 0.1f);
    } else if (o->rope_factors) {
        add_factors(self, "rope_freqs.weight", pairs, 0.75f);
    }
    for (uint32_t i = 0; i < o->layer_count; i++)
        tiny_add_layer(self, i);
    if (encoder)
        return;
    tiny_add_vector(self, "output_norm.weight", o->embedding_length, 0, 1.0f);
    if (!o->tied)
        tiny_add_matrix(self, "output.weight", o->embedding_length, o->vocab_size, 1, 0.3f);
}

static void default_u32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

uint8_t *tiny_gguf_build(const struct tiny_gguf_options *options, size_t *ret_bytes)
{
    struct tiny_builder self = {.options = *options, .random = options->seed};
    struct tiny_gguf_options *o = &self.options;
    struct tiny_bytes file = {0};

    default_u32(&o->layer_count, 2);
    default_u32(&o->embedding_length, 64);
    default_u32(&o->feed_forward, 96);
    default_u32(&o->head_count, 4);
    default_u32(&o->kv_head_count, 2);
    default_u32(&o->head_dim, o->embedding_length / o->head_count);
    default_u32(&o->vocab_size, 64);
    default_u32(&o->context_length, 256);
    default_u32(&o->expert_count, 4);
    o->weight_limit = o->weight_limit > 0 ? o->weight_limit : 0.2f;
    self.family = tiny_family_find(o->family != NULL ? o->family : "llama");
    if (o->tokenizer != TINY_TOKENIZER_NONE && o->vocab_size < TINY_TOKENIZER_VOCAB)
        o->vocab_size = TINY_TOKENIZER_VOCAB;
    add_entries(&self);
    add_tensors(&self);
    tiny_put_header(&file, 3, self.tensor_count, self.entry_count);
    tiny_put(&file, self.entries.data, self.entries.count);
    tiny_put(&file, self.table.data, self.table.count);
    tiny_put(&file, NULL, (ALIGNMENT - file.count % ALIGNMENT) % ALIGNMENT);
    tiny_put(&file, self.data.data, self.data.count);
    free(self.entries.data);
    free(self.table.data);
    free(self.data.data);
    *ret_bytes = file.count;
    /* Exact, so that a read past the end is seen by the sanitizer. */
    uint8_t *exact = realloc(file.data, file.count);
    return exact != NULL ? exact : file.data;
}

int tiny_gguf_write(const struct tiny_gguf_options *options, const char *path)
{
    size_t bytes = 0;
    uint8_t *data = tiny_gguf_build(options, &bytes);
    FILE *file = fopen(path, "wb");
    int rc = -1;

    if (file != NULL) {
        bool written = fwrite(data, 1, bytes, file) == bytes;
        rc = fclose(file) == 0 && written ? 0 : -1;
    }
    free(data);
    return rc;
}
