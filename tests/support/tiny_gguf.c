/* The model: metadata, tensor table, random weights in each type's own blocks. */
#include "tiny_gguf.h"
#include "tiny_tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPE_F32 = 0, TYPE_F16 = 1, TYPE_Q4_0 = 2, TYPE_Q8_0 = 8, TYPE_BF16 = 30 };

#define ALIGNMENT 32u

struct builder {
    struct tiny_gguf_options options;
    struct tiny_bytes entries;
    struct tiny_bytes table;
    struct tiny_bytes data;
    uint64_t entry_count;
    uint64_t tensor_count;
    uint64_t random;
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t random_next(struct builder *self)
{
    uint64_t z = self->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (-limit, limit). */
static float random_float(struct builder *self, float limit)
{
    int32_t part = (int32_t)(random_next(self) >> 40) - (1 << 23);

    return (float)part / (float)(1 << 23) * limit;
}

/* To half precision, cut rather than rounded; for normal numbers. */
static uint16_t half_cut(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    int32_t exponent = (int32_t)((bits >> 23) & 0xffu) - 112;
    if (exponent <= 0)
        return (uint16_t)((bits >> 16) & 0x8000u);
    return (
        uint16_t)(((bits >> 16) & 0x8000u) | ((uint32_t)exponent << 10) | ((bits >> 13) & 0x3ffu));
}

static void put_weights(struct builder *self, uint32_t type, uint64_t count, float limit)
{
    uint32_t block = type == TYPE_Q8_0 || type == TYPE_Q4_0 ? 32 : 1;

    for (uint64_t i = 0; i < count; i += block) {
        float value = random_float(self, limit);
        uint16_t half = half_cut(value);
        if (type == TYPE_F32) {
            tiny_put(&self->data, &value, sizeof(value));
        } else if (type == TYPE_F16) {
            tiny_put(&self->data, &half, sizeof(half));
        } else if (type == TYPE_BF16) {
            uint32_t bits;
            memcpy(&bits, &value, sizeof(bits));
            half = (uint16_t)(bits >> 16);
            tiny_put(&self->data, &half, sizeof(half));
        } else {
            uint64_t quants[4];
            half = half_cut(limit / (type == TYPE_Q8_0 ? 127.0f : 8.0f));
            tiny_put(&self->data, &half, sizeof(half));
            for (unsigned j = 0; j < 4; j++)
                quants[j] = random_next(self);
            tiny_put(&self->data, quants, type == TYPE_Q8_0 ? 32 : 16);
        }
    }
}

/* base + a little: norms and biases, always F32. */
static void put_near(struct builder *self, uint64_t count, float base)
{
    for (uint64_t i = 0; i < count; i++) {
        float value = base + random_float(self, 0.25f);
        tiny_put(&self->data, &value, sizeof(value));
    }
}

static void begin_tensor(
    struct builder *self, const char *name, uint32_t type, uint64_t columns, uint64_t rows)
{
    uint64_t dimensions[2] = {columns, rows};

    tiny_put(&self->data, NULL, (ALIGNMENT - self->data.count % ALIGNMENT) % ALIGNMENT);
    tiny_put_tensor(&self->table, name, type, dimensions, rows == 0 ? 1 : 2, self->data.count);
    self->tensor_count++;
}

static void add_vector(struct builder *self, const char *name, uint64_t count, float base)
{
    begin_tensor(self, name, TYPE_F32, count, 0);
    put_near(self, count, base);
}

static void add_matrix(
    struct builder *self, const char *name, uint64_t columns, uint64_t rows, float limit)
{
    begin_tensor(self, name, self->options.weight_type, columns, rows);
    put_weights(self, self->options.weight_type, columns * rows, limit);
}

static void add_layer(struct builder *self, uint32_t layer)
{
    const struct tiny_gguf_options *o = &self->options;
    uint32_t q_rows = o->head_count * o->head_dim;
    uint32_t kv_rows = o->kv_head_count * o->head_dim;
    const struct {
        const char *name;
        uint32_t columns, rows; /* rows 0: a norm; columns 0: a bias of that many rows */
    } parts[] = {
        {"attn_norm.weight", o->embedding_length, 0},
        {"attn_q.weight", o->embedding_length, q_rows},
        {"attn_k.weight", o->embedding_length, kv_rows},
        {"attn_v.weight", o->embedding_length, kv_rows},
        {"attn_output.weight", q_rows, o->embedding_length},
        {"ffn_norm.weight", o->embedding_length, 0},
        {"ffn_gate.weight", o->embedding_length, o->feed_forward},
        {"ffn_up.weight", o->embedding_length, o->feed_forward},
        {"ffn_down.weight", o->feed_forward, o->embedding_length},
        {"attn_q.bias", 0, q_rows},
        {"attn_k.bias", 0, kv_rows},
        {"attn_v.bias", 0, kv_rows},
        {"attn_output.bias", 0, o->embedding_length},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "blk.%u.%s", layer, parts[i].name);
        if (parts[i].rows == 0)
            add_vector(self, name, parts[i].columns, 1.0f);
        else if (parts[i].columns > 0)
            add_matrix(self, name, parts[i].columns, parts[i].rows, 0.2f);
        else if (o->biases)
            add_vector(self, name, parts[i].rows, 0.0f);
    }
}

static void add_entries(struct builder *self)
{
    const struct tiny_gguf_options *o = &self->options;
    const struct {
        const char *key;
        uint32_t value;
    } integers[] = {
        {"llama.block_count", o->layer_count},
        {"llama.context_length", o->context_length},
        {"llama.embedding_length", o->embedding_length},
        {"llama.feed_forward_length", o->feed_forward},
        {"llama.attention.head_count", o->head_count},
        {"llama.attention.head_count_kv", o->kv_head_count},
        {"llama.attention.key_length", o->head_dim},
        {"llama.attention.value_length", o->head_dim},
        {"llama.rope.dimension_count", o->head_dim},
        {"llama.vocab_size", o->vocab_size},
    };

    tiny_put_key_string(&self->entries, "general.architecture", "llama");
    tiny_put_key_string(&self->entries, "general.name", "tiny");
    tiny_put_key_f32(&self->entries, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    tiny_put_key_f32(&self->entries, "llama.rope.freq_base", 10000.0f);
    self->entry_count += 4;
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++, self->entry_count++)
        tiny_put_key_u32(&self->entries, integers[i].key, integers[i].value);
    if (o->rope_scaling_factor != 0) {
        tiny_put_key_string(&self->entries, "llama.rope.scaling.type", "linear");
        tiny_put_key_f32(&self->entries, "llama.rope.scaling.factor", o->rope_scaling_factor);
        self->entry_count += 2;
    }
    if (o->extra_key != NULL && o->extra_text != NULL)
        tiny_put_key_string(&self->entries, o->extra_key, o->extra_text);
    else if (o->extra_key != NULL)
        tiny_put_key_u32(&self->entries, o->extra_key, o->extra_value);
    self->entry_count += o->extra_key != NULL;
    if (o->tokenizer != TINY_TOKENIZER_NONE)
        self->entry_count += tiny_tokenizer_put(&self->entries, o->tokenizer, o->vocab_size);
}

static void add_tensors(struct builder *self)
{
    const struct tiny_gguf_options *o = &self->options;

    add_matrix(self, "token_embd.weight", o->embedding_length, o->vocab_size, 1.0f);
    if (o->rope_factors) {
        begin_tensor(self, "rope_freqs.weight", TYPE_F32, o->head_dim / 2, 0);
        for (uint32_t i = 0; i < o->head_dim / 2; i++) {
            float factor = 1.0f + (float)i * 0.75f;
            tiny_put(&self->data, &factor, sizeof(factor));
        }
    }
    for (uint32_t i = 0; i < o->layer_count; i++)
        add_layer(self, i);
    add_vector(self, "output_norm.weight", o->embedding_length, 1.0f);
    if (!o->tied)
        add_matrix(self, "output.weight", o->embedding_length, o->vocab_size, 0.3f);
}

static void default_u32(uint32_t *value, uint32_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

uint8_t *tiny_gguf_build(const struct tiny_gguf_options *options, size_t *ret_bytes)
{
    struct builder self = {.options = *options, .random = options->seed};
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
