/*
 * Blocks are quantised once for each type and row length, a pool of them from near-normal numbers,
 * and rows are drawn from the pool: no slower than the disk, and of the size that weights have.
 */
#include "cli_synth.h"
#include "cli_command.h"
#include "cli_recipe.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "gguf_builder.h"
#include "gguf_view.h"
#include "gguf_writer.h"
#include "tensor_quantize.h"
#include "tensor_type.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

#define POOL_BLOCKS 2048u
#define CHUNK_BYTES ((size_t)4 << 20)
#define BYTE_TOKENS 256u
#define FIRST_BYTE  3u /* behind <unk>, <s>, </s> */
#define FIRST_WORD  (FIRST_BYTE + BYTE_TOKENS)
#define TOKEN_BYTES 16
#define NAME_BYTES  64

struct cli_shape {
    const char *name;
    uint32_t hidden, layers, inner, heads, kv_heads, vocab, experts, experts_used;
    bool tied;
    float rope_base;
};

static const struct cli_shape shapes[] = {
    {"tiny", 256, 4, 768, 4, 2, 4096, 0, 0, false, 1e4f},
    {"110m", 768, 12, 2048, 12, 12, 32000, 0, 0, true, 1e4f},
    {"1b", 2048, 22, 5632, 32, 4, 32000, 0, 0, false, 1e4f},
    {"3b", 3072, 28, 8192, 24, 8, 128256, 0, 0, true, 5e5f},
    {"7b", 4096, 32, 11008, 32, 32, 32000, 0, 0, false, 1e4f},
    {"8b", 4096, 32, 14336, 32, 8, 128256, 0, 0, false, 5e5f},
    {"moe", 1024, 16, 3584, 16, 8, 32000, 8, 2, false, 1e6f},
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

const struct cli_shape *cli_shape_find(const char *name)
{
    for (size_t i = 0; i < SHAPES; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

const char *cli_shape_names(void)
{
    static char names[128];
    size_t used = 0;

    for (size_t i = 0; i < SHAPES && used < sizeof(names); i++)
        used += (size_t)snprintf(
            names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "", shapes[i].name);
    return names;
}

/* ---- random numbers: splitmix64, the same on every machine ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The sum of four uniform numbers, with a variance of 1. */
static float next_normal(uint64_t *state)
{
    uint64_t bits = next_random(state);
    int sum = 0;

    for (int i = 0; i < 4; i++)
        sum += (int)(bits >> 16 * i & 0xffff);
    return ((float)sum / 65536.0f - 2.0f) * 1.7320508f;
}

/* ---- description ---- */

static void put_tokens(struct gguf_builder *builder, uint32_t vocab)
{
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    char text[TOKEN_BYTES];

    gguf_builder_strings(builder, "tokenizer.ggml.tokens", vocab);
    for (uint32_t i = 0; i < vocab; i++) {
        if (i < FIRST_BYTE) {
            (void)snprintf(text, sizeof(text), "%s", special[i]);
        } else if (i < FIRST_WORD) {
            (void)snprintf(text, sizeof(text), "<0x%02X>", i - FIRST_BYTE);
        } else if (i == FIRST_WORD) {
            (void)snprintf(text, sizeof(text), "\xe2\x96\x81"); /* the space */
        } else {
            /* a to z, aa to zz, aaa...: numbers without a zero, to the base of 26. */
            size_t at = sizeof(text) - 1;
            text[at] = '\0';
            for (uint32_t n = i - FIRST_WORD; n > 0; n = (n - 1) / 26)
                text[--at] = (char)('a' + (n - 1) % 26);
            memmove(text, text + at, sizeof(text) - at);
        }
        gguf_builder_element(builder, text, strlen(text));
    }
}

static int put_tokenizer(struct gguf_builder *builder, uint32_t vocab)
{
    float *scores = base_alloc_zeroed(vocab, sizeof(*scores));
    int32_t *types = base_alloc_zeroed(vocab, sizeof(*types));
    int rc = scores != NULL && types != NULL ? BASE_OK : BASE_NOMEM;

    if (rc == BASE_OK) {
        for (uint32_t i = 0; i < vocab; i++) {
            types[i] = i == 0 ? 2 : i < FIRST_BYTE ? 3 : i < FIRST_WORD ? 6 : 1;
            scores[i] = i < FIRST_WORD ? 0 : -(float)(i - FIRST_WORD);
        }
        gguf_builder_string(builder, "tokenizer.ggml.model", "llama");
        gguf_builder_string(builder, "tokenizer.ggml.pre", "default");
        put_tokens(builder, vocab);
        gguf_builder_array(builder, "tokenizer.ggml.scores", GGUF_VALUE_F32, vocab, scores);
        gguf_builder_array(builder, "tokenizer.ggml.token_type", GGUF_VALUE_I32, vocab, types);
        gguf_builder_u32(builder, "tokenizer.ggml.unknown_token_id", 0);
        gguf_builder_u32(builder, "tokenizer.ggml.bos_token_id", 1);
        gguf_builder_u32(builder, "tokenizer.ggml.eos_token_id", 2);
        gguf_builder_bool(builder, "tokenizer.ggml.add_bos_token", true);
        gguf_builder_bool(builder, "tokenizer.ggml.add_eos_token", false);
    }
    base_free(scores);
    base_free(types);
    return rc;
}

static int put_metadata(struct gguf_builder *builder, const struct cli_synth_options *o)
{
    const struct cli_shape *s = o->shape;
    char name[NAME_BYTES];

    (void)snprintf(name, sizeof(name), "random weights, shape %s", s->name);
    gguf_builder_string(builder, "general.architecture", "llama");
    gguf_builder_string(builder, "general.type", "model");
    gguf_builder_string(builder, "general.name", name);
    gguf_builder_u32(builder, "general.file_type", cli_recipe_file_type(o->recipe));
    gguf_builder_u32(builder, "general.quantization_version", 2);
    gguf_builder_u32(builder, "llama.context_length", o->context);
    gguf_builder_u32(builder, "llama.embedding_length", s->hidden);
    gguf_builder_u32(builder, "llama.block_count", s->layers);
    gguf_builder_u32(builder, "llama.feed_forward_length", s->inner);
    gguf_builder_u32(builder, "llama.attention.head_count", s->heads);
    gguf_builder_u32(builder, "llama.attention.head_count_kv", s->kv_heads);
    gguf_builder_u32(builder, "llama.rope.dimension_count", s->hidden / s->heads);
    gguf_builder_f32(builder, "llama.rope.freq_base", s->rope_base);
    gguf_builder_f32(builder, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_builder_u32(builder, "llama.vocab_size", s->vocab);
    if (s->experts > 0) {
        gguf_builder_u32(builder, "llama.expert_count", s->experts);
        gguf_builder_u32(builder, "llama.expert_used_count", s->experts_used);
    }
    return put_tokenizer(builder, s->vocab);
}

static void put_tensor(struct gguf_builder *builder, int layer, const char *name, uint64_t columns,
    uint64_t rows, uint64_t depth)
{
    const uint64_t shape[] = {columns, rows, depth};
    char full[NAME_BYTES];

    if (layer < 0)
        (void)snprintf(full, sizeof(full), "%s.weight", name);
    else
        (void)snprintf(full, sizeof(full), "blk.%d.%s.weight", layer, name);
    gguf_builder_tensor(builder, full, GGUF_F32, depth > 0 ? 3 : rows > 0 ? 2 : 1, shape);
}

/* All of F32; what type each gets is the recipe's to say. */
static void put_table(struct gguf_builder *builder, const struct cli_shape *s)
{
    uint32_t kv = s->hidden / s->heads * s->kv_heads;

    put_tensor(builder, -1, "token_embd", s->hidden, s->vocab, 0);
    for (int i = 0; i < (int)s->layers; i++) {
        put_tensor(builder, i, "attn_norm", s->hidden, 0, 0);
        put_tensor(builder, i, "attn_q", s->hidden, s->hidden, 0);
        put_tensor(builder, i, "attn_k", s->hidden, kv, 0);
        put_tensor(builder, i, "attn_v", s->hidden, kv, 0);
        put_tensor(builder, i, "attn_output", s->hidden, s->hidden, 0);
        put_tensor(builder, i, "ffn_norm", s->hidden, 0, 0);
        if (s->experts > 0) {
            put_tensor(builder, i, "ffn_gate_inp", s->hidden, s->experts, 0);
            put_tensor(builder, i, "ffn_gate_exps", s->hidden, s->inner, s->experts);
            put_tensor(builder, i, "ffn_up_exps", s->hidden, s->inner, s->experts);
            put_tensor(builder, i, "ffn_down_exps", s->inner, s->hidden, s->experts);
        } else {
            put_tensor(builder, i, "ffn_gate", s->hidden, s->inner, 0);
            put_tensor(builder, i, "ffn_up", s->hidden, s->inner, 0);
            put_tensor(builder, i, "ffn_down", s->inner, s->hidden, 0);
        }
    }
    put_tensor(builder, -1, "output_norm", s->hidden, 0, 0);
    if (!s->tied)
        put_tensor(builder, -1, "output", s->hidden, s->vocab, 0);
}

static int no_rows(void *context, size_t tensor, uint64_t row_first, uint64_t row_count,
    uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err)
{
    return base_error_set(err, BASE_INTERNAL, "a shape has no weights");
}

/* The shape as a model, for the recipe to look at. */
static int open_shape(
    const struct cli_synth_options *o, struct gguf **ret_model, struct base_error *err)
{
    struct gguf_source source = {NULL, no_rows, NULL, NULL};
    struct gguf_builder *builder = NULL;
    int rc = gguf_builder_new(&builder);

    if (rc == BASE_OK)
        rc = put_metadata(builder, o);
    if (rc != BASE_OK) {
        gguf_builder_destroy(&builder);
        return base_error_set(err, rc, "no memory");
    }
    put_table(builder, o->shape);
    rc = gguf_open_view(builder, o->shape->name, &source, "", 0, ret_model, err);
    gguf_builder_destroy(&builder);
    return rc;
}

/* ---- weights ---- */

struct filler {
    struct gguf_writer *writer;
    uint64_t state;
    uint8_t *pool; /* POOL_BLOCKS blocks of the type and row length at hand */
    uint32_t pool_type;
    uint64_t pool_columns;
    size_t block_bytes;
    uint8_t *chunk;
};

/* Elements of 1 / sqrt(columns), so that products keep the size of their input. */
static int make_pool(struct filler *self, uint32_t type, uint64_t columns, struct base_error *err)
{
    size_t block = tensor_block_columns(type);
    float scale = 1.0f / sqrtf((float)columns), x[256];

    if (self->pool != NULL && self->pool_type == type && self->pool_columns == columns)
        return BASE_OK;
    /* Float types have blocks of one element: sixteen at a time are fewer steps. */
    if (block == 1)
        block = 16;
    base_free(self->pool);
    self->pool_type = type;
    self->pool_columns = columns;
    self->block_bytes = tensor_row_bytes(type, block);
    self->pool = base_alloc_array(POOL_BLOCKS, self->block_bytes);
    if (self->pool == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory");
    for (size_t i = 0; i < POOL_BLOCKS; i++) {
        for (size_t j = 0; j < block; j++)
            x[j] = next_normal(&self->state) * scale;
        if (!tensor_quantize_row(type, x, block, self->pool + i * self->block_bytes))
            return base_error_set(err, BASE_INTERNAL, "random weights do not fit their type");
    }
    return BASE_OK;
}

static int fill_random(
    struct filler *self, uint64_t bytes, uint32_t type, uint64_t columns, struct base_error *err)
{
    int rc = make_pool(self, type, columns, err);
    size_t chunk_bytes = CHUNK_BYTES / self->block_bytes * self->block_bytes;

    for (uint64_t at = 0; at < bytes && rc == BASE_OK; at += chunk_bytes) {
        size_t count = bytes - at < chunk_bytes ? (size_t)(bytes - at) : chunk_bytes;
        for (size_t i = 0; i < count; i += self->block_bytes)
            memcpy(self->chunk + i,
                self->pool + next_random(&self->state) % POOL_BLOCKS * self->block_bytes,
                self->block_bytes);
        rc = gguf_writer_append(self->writer, self->chunk, count, err);
        if (rc == BASE_OK && cli_interrupt_seen())
            rc = base_error_set(err, BASE_CANCELLED, "interrupted; nothing was written");
    }
    return rc;
}

static int fill_ones(struct filler *self, uint64_t columns, struct base_error *err)
{
    const float one = 1;
    int rc = BASE_OK;

    for (uint64_t i = 0; i < columns && rc == BASE_OK; i++)
        rc = gguf_writer_append(self->writer, &one, sizeof(one), err);
    return rc;
}

static int write_model(const struct cli_synth_options *o, const struct gguf *model,
    struct gguf_builder *builder, struct filler *filler, struct base_error *err)
{
    int rc = gguf_writer_new(o->target, builder, 0, &filler->writer, err);

    for (size_t i = 0; i < gguf_tensor_count(model) && rc == BASE_OK; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(model, i);
        if (tensor->dimension_count == 1)
            rc = fill_ones(filler, tensor->dimensions[0], err);
        else
            rc = fill_random(filler, gguf_builder_tensor_bytes(builder, i),
                cli_recipe_type(o->recipe, model, tensor), tensor->dimensions[0], err);
    }
    return rc == BASE_OK ? gguf_writer_finish(filler->writer, err) : rc;
}

int cli_synth(const struct cli_synth_options *options, uint64_t *ret_bytes, struct base_error *err)
{
    struct filler filler = {.state = options->seed};
    struct gguf_builder *builder = NULL;
    struct gguf *model = NULL;
    uint64_t bytes = 0;
    int rc = open_shape(options, &model, err);

    filler.chunk = base_alloc(CHUNK_BYTES);
    if (rc == BASE_OK && (gguf_builder_new(&builder) != BASE_OK || filler.chunk == NULL))
        rc = base_error_set(err, BASE_NOMEM, "no memory");
    for (size_t i = 0; rc == BASE_OK && i < gguf_pair_count(model); i++)
        gguf_builder_copy(builder, model, i);
    for (size_t i = 0; rc == BASE_OK && i < gguf_tensor_count(model); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(model, i);
        gguf_builder_tensor(builder, t->name, cli_recipe_type(options->recipe, model, t),
            t->dimension_count, t->dimensions);
        bytes += gguf_builder_tensor_bytes(builder, i);
    }
    if (rc == BASE_OK)
        rc = write_model(options, model, builder, &filler, err);
    gguf_writer_destroy(&filler.writer);
    base_free(filler.pool);
    base_free(filler.chunk);
    gguf_builder_destroy(&builder);
    gguf_close(&model);
    if (rc == BASE_OK)
        *ret_bytes = bytes;
    return rc;
}
