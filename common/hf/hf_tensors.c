/* Names of a folder's tensors to GGUF's, and what has to be done to their rows. */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_LAYER UINT32_MAX /* in the order: behind the blocks */
#define NAME_BYTES 64         /* of a GGUF name, with the NUL */

enum kind {
    PLAIN,
    QUERY,  /* rows permuted by heads where the family wants it */
    KEY,    /* by key/value heads */
    NORM,   /* stored less one in gemma */
    FLOATS, /* F32 whatever it is stored in */
    SKIP,
};

struct name_row {
    const char *from; /* without ".weight" or ".bias" */
    const char *to;
    enum kind kind;
};

static const struct name_row decoder_ends[] = {
    {"embed_tokens", "token_embd", PLAIN},
    {"norm", "output_norm", NORM},
    {"lm_head", "output", PLAIN},
};

static const struct name_row bert_ends[] = {
    {"embeddings.word_embeddings", "token_embd", PLAIN},
    {"embeddings.position_embeddings", "position_embd", FLOATS},
    {"embeddings.token_type_embeddings", "token_types", FLOATS},
    {"embeddings.LayerNorm", "token_embd_norm", PLAIN},
    {"pooler.dense", "cls", PLAIN},
    {"classifier", "cls.output", PLAIN},
};

static const struct name_row decoder_blocks[] = {
    {"self_attn.q_proj", "attn_q", QUERY},
    {"self_attn.k_proj", "attn_k", KEY},
    {"self_attn.v_proj", "attn_v", PLAIN},
    {"self_attn.o_proj", "attn_output", PLAIN},
    {"self_attn.qkv_proj", "attn_qkv", PLAIN},
    {"self_attn.q_norm", "attn_q_norm", NORM},
    {"self_attn.k_norm", "attn_k_norm", NORM},
    {"self_attn.sinks", "attn_sinks", FLOATS},
    {"input_layernorm", "attn_norm", NORM},
    {"post_attention_layernorm", "ffn_norm", NORM}, /* llama; others: see below */
    {"pre_feedforward_layernorm", "ffn_norm", NORM},
    {"post_feedforward_layernorm", "post_ffw_norm", NORM},
    {"mlp.gate_proj", "ffn_gate", PLAIN},
    {"mlp.up_proj", "ffn_up", PLAIN},
    {"mlp.down_proj", "ffn_down", PLAIN},
    {"mlp.gate_up_proj", "ffn_up", PLAIN},
    {"mlp.gate", "ffn_gate_inp", FLOATS},
    {"mlp.router", "ffn_gate_inp", FLOATS},
    {"block_sparse_moe.gate", "ffn_gate_inp", FLOATS},
    {"block_sparse_moe.router.layer", "ffn_gate_inp", FLOATS},
    {"block_sparse_moe.output_linear", "ffn_down_exps", PLAIN},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp", PLAIN},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp", PLAIN},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp", PLAIN},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp", FLOATS},
};

static const struct name_row bert_blocks[] = {
    {"attention.self.query", "attn_q", PLAIN},
    {"attention.self.key", "attn_k", PLAIN},
    {"attention.self.value", "attn_v", PLAIN},
    {"attention.output.dense", "attn_output", PLAIN},
    {"attention.output.LayerNorm", "attn_output_norm", PLAIN},
    {"intermediate.dense", "ffn_up", PLAIN},
    {"output.dense", "ffn_down", PLAIN},
    {"output.LayerNorm", "layer_output_norm", PLAIN},
};

/* One matrix of one expert: "mlp.experts.17.up_proj". */
static const struct name_row expert_rows[] = {
    {"gate_proj", "ffn_gate_exps", PLAIN},
    {"up_proj", "ffn_up_exps", PLAIN},
    {"down_proj", "ffn_down_exps", PLAIN},
    {"w1", "ffn_gate_exps", PLAIN},
    {"w3", "ffn_up_exps", PLAIN},
    {"w2", "ffn_down_exps", PLAIN},
};

struct mapper {
    const struct hf_weights *weights;
    const struct hf_config *config;
    struct hf_outputs *outputs;
    struct base_error *err;
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#define fail(self, tensor, code, format, ...)                                                      \
    base_error_set((self)->err, code, "%.120s: " format, (tensor)->name, __VA_ARGS__)

void hf_outputs_release(struct hf_outputs *self)
{
    for (size_t i = 0; i < self->count; i++)
        base_free(self->items[i].sources);
    base_free(self->items);
    *self = (struct hf_outputs){0};
}

/* A zeroed item with a name and room for sources. NULL when memory fails. */
static struct hf_output *output_add(
    struct mapper *self, const char *name, uint32_t layer, size_t source_count)
{
    struct hf_outputs *outputs = self->outputs;

    if (outputs->count == outputs->capacity) {
        size_t capacity = outputs->capacity == 0 ? 64 : outputs->capacity * 2;
        void *items = base_realloc_array(outputs->items, capacity, sizeof(*outputs->items));
        if (items == NULL)
            return NULL;
        outputs->items = items;
        outputs->capacity = capacity;
    }
    struct hf_output *output = &outputs->items[outputs->count];
    memset(output, 0, sizeof(*output));
    output->sources =
        base_alloc_zeroed(source_count > 0 ? source_count : 1, sizeof(*output->sources));
    if (output->sources == NULL)
        return NULL;
    output->source_count = source_count;
    output->layer = layer;
    output->step = 1;
    (void)snprintf(output->name, sizeof(output->name), "%s", name);
    outputs->count++;
    return output;
}

static int no_memory(const struct mapper *self)
{
    return base_error_set(self->err, BASE_NOMEM, "tensors: no memory");
}

static bool gguf_type_of(enum hf_type type, uint32_t *ret_type)
{
    if (type != HF_F32 && type != HF_F16 && type != HF_BF16)
        return false;
    *ret_type = type == HF_F32 ? GGUF_F32 : type == HF_F16 ? GGUF_F16 : GGUF_BF16;
    return true;
}

/* Type and dimensions of a float tensor of at most three dimensions. */
static int check_floats(
    const struct mapper *self, const struct hf_tensor *tensor, uint32_t *ret_type)
{
    if (!gguf_type_of(tensor->type, ret_type))
        return fail(self, tensor, BASE_UNSUPPORTED,
            "dtype %s is not supported (supported: F32, F16, BF16)", tensor->type_name);
    if (tensor->dimension_count < 1 || tensor->dimension_count > 3 || tensor->bytes == 0)
        return fail(self, tensor, BASE_MALFORMED, "%" PRIu32 " dimensions, %zu bytes",
            tensor->dimension_count, tensor->bytes);
    return BASE_OK;
}

/* One tensor, perhaps with its rows in another order. */
static int map_plain(struct mapper *self, const struct hf_tensor *tensor, const char *name,
    uint32_t layer, enum kind kind)
{
    const struct hf_config *c = self->config;
    uint32_t type = 0;
    int rc = check_floats(self, tensor, &type);

    if (rc != BASE_OK)
        return rc;
    struct hf_output *output = output_add(self, name, layer, 1);
    if (output == NULL)
        return no_memory(self);
    output->sources[0] = tensor;
    output->dimension_count = tensor->dimension_count;
    for (uint32_t i = 0; i < tensor->dimension_count; i++)
        output->dimensions[i] = tensor->shape[tensor->dimension_count - 1 - i];
    if (kind == NORM && c->family->style == HF_STYLE_GEMMA)
        output->addend = 1;
    if (c->family->rope_adjacent && (kind == QUERY || kind == KEY))
        output->heads = kind == QUERY ? c->head_count : c->kv_head_count;
    bool floats = tensor->dimension_count == 1 || kind == FLOATS || kind == NORM;
    output->operation = floats ? HF_ROWS_F32 : HF_ROWS;
    output->type = floats ? GGUF_F32 : type;
    uint64_t rows = output->dimensions[output->dimension_count - 1];
    if (output->heads > 0 && rows % (2 * (uint64_t)output->heads) != 0)
        return fail(self, tensor, BASE_MALFORMED, "%" PRIu64 " rows for %" PRIu32 " heads", rows,
            output->heads);
    return BASE_OK;
}

/* The output of a name, looked for from the end: experts of a layer follow each other. */
static struct hf_output *output_find(const struct mapper *self, const char *name)
{
    for (size_t i = self->outputs->count; i-- > 0;)
        if (strcmp(self->outputs->items[i].name, name) == 0)
            return &self->outputs->items[i];
    return NULL;
}

/* A slice of the stack of all experts of a layer. */
static int map_expert(struct mapper *self, const struct hf_tensor *tensor, const char *name,
    uint32_t layer, uint32_t expert)
{
    uint32_t count = self->config->expert_count;
    uint32_t type = 0;
    int rc = check_floats(self, tensor, &type);

    if (rc == BASE_OK && (expert >= count || tensor->dimension_count != 2))
        rc =
            fail(self, tensor, BASE_MALFORMED, "not a matrix of one of %" PRIu32 " experts", count);
    if (rc != BASE_OK)
        return rc;
    struct hf_output *output = output_find(self, name);
    if (output == NULL) {
        output = output_add(self, name, layer, count);
        if (output == NULL)
            return no_memory(self);
        output->operation = HF_ROWS;
        output->type = type;
        output->dimension_count = 3;
        output->dimensions[0] = tensor->shape[1];
        output->dimensions[1] = tensor->shape[0];
        output->dimensions[2] = count;
    }
    if (output->type != type || output->dimensions[0] != tensor->shape[1] ||
        output->dimensions[1] != tensor->shape[0])
        return fail(self, tensor, BASE_MALFORMED, "%s", "experts differ in shape or dtype");
    output->sources[expert] = tensor;
    return BASE_OK;
}

/* Gate and up stand in even and odd columns (or rows, in blocks): one output for each. */
static int add_fused(struct mapper *self, const struct hf_tensor *tensor, const char *prefix,
    const char *suffix, uint32_t layer, const struct hf_output *like)
{
    static const char *const names[] = {"ffn_gate_exps", "ffn_up_exps"};

    for (uint32_t i = 0; i < 2; i++) {
        char name[NAME_BYTES];
        (void)snprintf(name, sizeof(name), "%s%s%s", prefix, names[i], suffix);
        struct hf_output *output = output_add(self, name, layer, 1);
        if (output == NULL)
            return no_memory(self);
        const struct hf_tensor **sources = output->sources;
        *output = *like;
        output->sources = sources;
        output->source_count = 1;
        output->sources[0] = tensor;
        output->layer = layer;
        output->first = i;
        output->step = 2;
        memcpy(output->name, name, sizeof(name));
    }
    return BASE_OK;
}

static int add_whole(struct mapper *self, const struct hf_tensor *tensor, const char *prefix,
    const char *suffix, uint32_t layer, const struct hf_output *like)
{
    char name[NAME_BYTES];

    (void)snprintf(name, sizeof(name), "%sffn_down_exps%s", prefix, suffix);
    struct hf_output *output = output_add(self, name, layer, 1);
    if (output == NULL)
        return no_memory(self);
    const struct hf_tensor **sources = output->sources;
    *output = *like;
    output->sources = sources;
    output->source_count = 1;
    output->sources[0] = tensor;
    output->layer = layer;
    output->step = 1;
    memcpy(output->name, name, sizeof(name));
    return BASE_OK;
}

/* The scales of blocks, checked against them. NULL with *self->err filled. */
static const struct hf_tensor *find_scales(struct mapper *self, const struct hf_tensor *blocks)
{
    size_t length = strlen(blocks->name) - strlen("blocks");
    char name[256];

    (void)snprintf(name, sizeof(name), "%.*sscales", (int)length, blocks->name);
    const struct hf_tensor *scales = hf_weights_find(self->weights, name);
    bool fits = scales != NULL && scales->type == HF_U8 && scales->dimension_count == 3 &&
                blocks->type == HF_U8 && blocks->dimension_count == 4 && blocks->bytes > 0 &&
                blocks->shape[3] == 16;
    for (int i = 0; fits && i < 3; i++)
        fits = scales->shape[i] == blocks->shape[i];
    if (fits)
        return scales;
    (void)fail(self, blocks, BASE_MALFORMED, "%s",
        "not U8 of [experts, rows, blocks, 16] with scales beside it");
    return NULL;
}

static int map_blocks(struct mapper *self, const struct hf_tensor *tensor, bool fused,
    const char *prefix, uint32_t layer)
{
    const struct hf_tensor *scales = find_scales(self, tensor);

    if (scales == NULL)
        return BASE_MALFORMED;
    if (fused && tensor->shape[1] % 2 != 0)
        return fail(self, tensor, BASE_MALFORMED, "%s", "an odd number of rows");
    struct hf_output like = {.type = GGUF_MXFP4,
        .dimension_count = 3,
        .dimensions = {tensor->shape[2] * 32, tensor->shape[1] / (fused ? 2 : 1), tensor->shape[0]},
        .operation = HF_MXFP4,
        .scales = scales};
    return fused ? add_fused(self, tensor, prefix, ".weight", layer, &like)
                 : add_whole(self, tensor, prefix, ".weight", layer, &like);
}

/* gpt-oss: all experts in one tensor, [expert, in, out], or as blocks [expert, out, in]. */
static int map_fused_experts(struct mapper *self, const struct hf_tensor *tensor, const char *tail,
    const char *prefix, uint32_t layer)
{
    bool fused = strncmp(tail, "gate_up_proj", 12) == 0;
    const char *rest = tail + (fused ? 12 : strlen("down_proj"));
    struct hf_output like = {0};

    if (strcmp(rest, "_scales") == 0)
        return BASE_OK; /* with their blocks */
    if (strcmp(rest, "_blocks") == 0)
        return map_blocks(self, tensor, fused, prefix, layer);
    bool bias = strcmp(rest, "_bias") == 0;
    uint32_t dimensions = bias ? 2 : 3;
    int rc = check_floats(self, tensor, &like.type);
    if (rc != BASE_OK)
        return rc;
    uint64_t width = tensor->shape[dimensions - 1];
    if ((!bias && rest[0] != '\0') || tensor->dimension_count != dimensions ||
        (fused && width % 2 != 0))
        return fail(self, tensor, BASE_MALFORMED, "%s", "not the experts of a layer");
    width /= fused ? 2 : 1;
    like.operation = bias ? HF_ELEMENTS : HF_TRANSPOSE;
    like.dimension_count = dimensions;
    like.dimensions[0] = bias ? width : tensor->shape[1];
    like.dimensions[1] = bias ? tensor->shape[0] : width;
    like.dimensions[2] = bias ? 1 : tensor->shape[0];
    like.type = bias ? GGUF_F32 : like.type;
    const char *suffix = bias ? ".bias" : ".weight";
    return fused ? add_fused(self, tensor, prefix, suffix, layer, &like)
                 : add_whole(self, tensor, prefix, suffix, layer, &like);
}

/* granitemoe: the rows of gate, then those of up, of every expert. */
static int map_halves(
    struct mapper *self, const struct hf_tensor *tensor, const char *prefix, uint32_t layer)
{
    struct hf_output like = {.operation = HF_SLICE, .dimension_count = 3};
    int rc = check_floats(self, tensor, &like.type);

    if (rc == BASE_OK && (tensor->dimension_count != 3 || tensor->shape[1] % 2 != 0))
        rc = fail(self, tensor, BASE_MALFORMED, "%s", "not the experts of a layer");
    if (rc != BASE_OK)
        return rc;
    like.dimensions[0] = tensor->shape[2];
    like.dimensions[1] = tensor->shape[1] / 2;
    like.dimensions[2] = tensor->shape[0];
    rc = add_fused(self, tensor, prefix, ".weight", layer, &like);
    if (rc == BASE_OK)
        self->outputs->items[self->outputs->count - 1].first = (uint32_t)like.dimensions[1];
    return rc;
}

/* Cuts ".weight" or ".bias" off. The suffix that GGUF has; "" when there is none. */
static const char *cut_suffix(char *name)
{
    static const struct {
        const char *from, *to;
    } suffixes[] = {
        {".weight", ".weight"}, {".bias", ".bias"}, {".gamma", ".weight"}, {".beta", ".bias"}};
    size_t length = strlen(name);

    for (size_t i = 0; i < COUNT(suffixes); i++) {
        size_t tail = strlen(suffixes[i].from);
        if (length > tail && strcmp(name + length - tail, suffixes[i].from) == 0) {
            name[length - tail] = '\0';
            return suffixes[i].to;
        }
    }
    return "";
}

static const struct name_row *row_find(const struct name_row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].from, name) == 0)
            return &rows[i];
    return NULL;
}

static int unknown(const struct mapper *self, const struct hf_tensor *tensor)
{
    return fail(self, tensor, BASE_UNSUPPORTED, "family %s has no use for this tensor",
        self->config->family->model_type);
}

/* tail: of the name, behind the layer's number. */
static int map_block(
    struct mapper *self, const struct hf_tensor *tensor, uint32_t layer, const char *tail)
{
    enum hf_style style = self->config->family->style;
    bool bert = style == HF_STYLE_BERT;
    char cut[128], name[NAME_BYTES], prefix[16];
    unsigned expert = 0;
    int used = 0;

    (void)snprintf(prefix, sizeof(prefix), "blk.%" PRIu32 ".", layer);
    (void)snprintf(cut, sizeof(cut), "%s", tail);
    if (style == HF_STYLE_GPT_OSS && strncmp(tail, "mlp.experts.", 12) == 0 &&
        (strncmp(tail + 12, "gate_up_proj", 12) == 0 || strncmp(tail + 12, "down_proj", 9) == 0))
        return map_fused_experts(self, tensor, tail + 12, prefix, layer + 1);
    const char *suffix = cut_suffix(cut);
    if ((sscanf(cut, "mlp.experts.%u.%n", &expert, &used) == 1 && used > 0) ||
        (sscanf(cut, "block_sparse_moe.experts.%u.%n", &expert, &used) == 1 && used > 0)) {
        const struct name_row *of = row_find(expert_rows, COUNT(expert_rows), cut + used);
        if (of == NULL || strcmp(suffix, ".weight") != 0)
            return unknown(self, tensor);
        (void)snprintf(name, sizeof(name), "%s%s.weight", prefix, of->to);
        return map_expert(self, tensor, name, layer + 1, expert);
    }
    if (strcmp(cut, "block_sparse_moe.input_linear") == 0)
        return map_halves(self, tensor, prefix, layer + 1);
    const struct name_row *row = bert ? row_find(bert_blocks, COUNT(bert_blocks), cut)
                                      : row_find(decoder_blocks, COUNT(decoder_blocks), cut);
    if (row == NULL)
        return unknown(self, tensor);
    const char *to = row->to;
    if (style != HF_STYLE_DECODER && strcmp(cut, "post_attention_layernorm") == 0)
        to = "post_attention_norm";
    (void)snprintf(
        name, sizeof(name), "%s%s%s", prefix, to, suffix[0] != '\0' ? suffix : ".weight");
    return map_plain(self, tensor, name, layer + 1, row->kind);
}

static int map_end(struct mapper *self, const struct hf_tensor *tensor, const char *tail)
{
    const struct hf_config *c = self->config;
    bool bert = c->family->style == HF_STYLE_BERT;
    char cut[128], name[NAME_BYTES];

    (void)snprintf(cut, sizeof(cut), "%s", tail);
    const char *suffix = cut_suffix(cut);
    const struct name_row *row = bert ? row_find(bert_ends, COUNT(bert_ends), cut)
                                      : row_find(decoder_ends, COUNT(decoder_ends), cut);
    if (row == NULL || suffix[0] == '\0')
        return unknown(self, tensor);
    /* A tied head is a copy of the embedding, a pooler without a classifier is of no use. */
    if ((strcmp(cut, "lm_head") == 0 && c->tied) ||
        (strcmp(cut, "pooler.dense") == 0 && !c->classifier))
        return BASE_OK;
    bool last = strncmp(row->to, "output", 6) == 0 || strncmp(row->to, "cls", 3) == 0;
    (void)snprintf(name, sizeof(name), "%s%s", row->to, suffix);
    return map_plain(self, tensor, name, last ? LAST_LAYER : 0, row->kind);
}

/* Buffers and parts of other modalities that no forward pass here needs. */
static bool skipped(const struct hf_config *config, const char *name)
{
    static const char *const tails[] = {"rotary_emb.inv_freq", "embeddings.position_ids"};
    static const char *const vision[] = {"vision_tower.", "multi_modal_projector.",
        "model.vision_tower.", "model.multi_modal_projector."};
    size_t length = strlen(name);

    for (size_t i = 0; i < COUNT(tails); i++) {
        size_t tail = strlen(tails[i]);
        if (length >= tail && strcmp(name + length - tail, tails[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < COUNT(vision) && config->family->style == HF_STYLE_GEMMA; i++)
        if (strncmp(name, vision[i], strlen(vision[i])) == 0)
            return true;
    return config->family->style == HF_STYLE_BERT && strncmp(name, "cls.", 4) == 0;
}

static const char *strip_prefix(const struct hf_config *config, const char *name)
{
    static const char *const prefixes[] = {
        "language_model.model.", "model.language_model.", "language_model.", "model."};

    if (config->family->style == HF_STYLE_BERT)
        return strncmp(name, "bert.", 5) == 0 ? name + 5 : name;
    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return name + strlen(prefixes[i]);
    return name;
}

static int map_tensor(struct mapper *self, const struct hf_tensor *tensor)
{
    const char *name = strip_prefix(self->config, tensor->name);
    bool bert = self->config->family->style == HF_STYLE_BERT;
    unsigned layer = 0;
    int used = 0;

    if (skipped(self->config, tensor->name))
        return BASE_OK;
    if (strlen(name) > 100)
        return unknown(self, tensor);
    if (sscanf(name, bert ? "encoder.layer.%5u.%n" : "layers.%5u.%n", &layer, &used) == 1 &&
        used > 0)
        return layer < self->config->layer_count ? map_block(self, tensor, layer, name + used)
                                                 : unknown(self, tensor);
    return map_end(self, tensor, name);
}

static int add_computed(struct mapper *self, const char *name, const float *values)
{
    if (values == NULL)
        return BASE_OK;
    struct hf_output *output = output_add(self, name, 0, 0);
    if (output == NULL)
        return no_memory(self);
    output->operation = HF_COMPUTED;
    output->type = GGUF_F32;
    output->dimension_count = 1;
    output->dimensions[0] = self->config->rotary_dim / 2;
    output->computed = values;
    return BASE_OK;
}

static int by_layer(const void *a, const void *b)
{
    const struct hf_output *one = a;
    const struct hf_output *two = b;

    if (one->layer != two->layer)
        return one->layer < two->layer ? -1 : 1;
    return strcmp(one->name, two->name);
}

static int check_experts(const struct mapper *self)
{
    for (size_t i = 0; i < self->outputs->count; i++) {
        const struct hf_output *output = &self->outputs->items[i];
        for (size_t j = 0; j < output->source_count; j++)
            if (output->sources[j] == NULL)
                return base_error_set(
                    self->err, BASE_MALFORMED, "%s: expert %zu is missing", output->name, j);
    }
    return BASE_OK;
}

int hf_map_tensors(const struct hf_weights *weights, const struct hf_config *config,
    struct hf_outputs *ret_outputs, struct base_error *err)
{
    struct mapper mapper = {weights, config, ret_outputs, err};
    int rc = BASE_OK;

    *ret_outputs = (struct hf_outputs){0};
    for (size_t i = 0; i < hf_weights_count(weights) && rc == BASE_OK; i++)
        rc = map_tensor(&mapper, hf_weights_at(weights, i));
    if (rc == BASE_OK)
        rc = check_experts(&mapper);
    if (rc == BASE_OK)
        rc = add_computed(&mapper, "rope_freqs.weight", config->rope_factors);
    if (rc == BASE_OK)
        rc = add_computed(&mapper, "rope_factors_long.weight", config->rope_long_factors);
    if (rc == BASE_OK)
        rc = add_computed(&mapper, "rope_factors_short.weight", config->rope_short_factors);
    if (rc == BASE_OK && ret_outputs->count > 0)
        qsort(ret_outputs->items, ret_outputs->count, sizeof(*ret_outputs->items), by_layer);
    return rc;
}
