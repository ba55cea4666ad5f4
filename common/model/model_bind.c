/* Finds every tensor by name and checks what it is. A tensor that nobody asked for is an error:
 * a weight that is ignored gives wrong output without a word. */
#include "model_internal.h"

#include "base_alloc.h"
#include "base_limits.h"
#include "tensor_type.h"
#include <stdio.h>
#include <string.h>

#define ENDS UINT32_MAX /* in place of a block's number */

/* What bind functions share. The first failure stays in rc, and the others do nothing. */
struct binder {
    struct model *model;
    bool *bound; /* [gguf_tensor_count] */
    uint32_t block;
    struct model_layer *layer;
    struct model_part *matrices;
    struct model_part *vectors;
    int rc;
    struct base_error *err;
};

enum presence { NEVER = 0, MAYBE, ALWAYS };

#define fail(self, code, name, offset, format, ...)                                                \
    base_error_set((self)->err, code, "%s: byte %" PRIu64 ": %s: " format,                         \
        gguf_path_tail(gguf_path((self)->model->file)), (uint64_t)(offset), name, __VA_ARGS__)

/* "F32, F16": of the types that there are kernels for. */
static void type_names(char *ret_text, size_t bytes)
{
    size_t used = 0;

    ret_text[0] = '\0';
    for (uint32_t type = 0; type < 64 && used < bytes; type++)
        if (tensor_type_supported(type) && gguf_type_name(type) != NULL)
            used += (size_t)snprintf(
                ret_text + used, bytes - used, "%s%s", used > 0 ? ", " : "", gguf_type_name(type));
}

static int check_shape(const struct binder *self, const struct gguf_tensor *tensor,
    uint64_t columns, uint64_t rows, uint64_t depth)
{
    const uint64_t *d = tensor->dimensions;

    if (!tensor_type_supported(tensor->type)) {
        char names[160];
        type_names(names, sizeof(names));
        return fail(self, BASE_UNSUPPORTED, tensor->name, tensor->table_offset,
            "type %s is not supported (supported: %s)", gguf_type_name(tensor->type), names);
    }
    if (d[0] != columns || d[1] != rows || d[2] != depth || d[3] != 1)
        return fail(self, BASE_MALFORMED, tensor->name, tensor->table_offset,
            "shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "], but [%" PRIu64 ", %" PRIu64
            ", %" PRIu64 ", 1] is wanted",
            d[0], d[1], d[2], d[3], columns, rows, depth);
    return BASE_OK;
}

static void full_name(const struct binder *self, const char *name, char ret_name[64])
{
    if (self->block == ENDS)
        (void)snprintf(ret_name, 64, "%s", name);
    else
        (void)snprintf(ret_name, 64, "blk.%" PRIu32 ".%s", self->block, name);
}

static const struct gguf_tensor *find(const struct binder *self, const char *name)
{
    char full[64];

    full_name(self, name, full);
    return gguf_tensor_find(self->model->file, full);
}

/* Finds a tensor and notes that it was asked for. NULL when it is absent, or on failure. */
static const struct gguf_tensor *bind(struct binder *self, const char *name, enum presence presence,
    uint64_t columns, uint64_t rows, uint64_t depth)
{
    const struct gguf *file = self->model->file;
    const struct gguf_tensor *tensor = find(self, name);
    char full[64];

    if (self->rc != BASE_OK || presence == NEVER || (tensor == NULL && presence == MAYBE))
        return NULL;
    full_name(self, name, full);
    if (tensor == NULL)
        self->rc = fail(self, BASE_MALFORMED, full,
            gguf_tensor_count(file) > 0 ? gguf_tensor_at(file, 0)->table_offset : 0, "%s",
            "the tensor is missing");
    else
        self->rc = check_shape(self, tensor, columns, rows, depth);
    if (self->rc != BASE_OK)
        return NULL;
    self->bound[tensor - gguf_tensor_at(file, 0)] = true;
    return tensor;
}

static struct model_part part(const struct gguf_tensor *tensor, uint64_t first, uint64_t count)
{
    return (struct model_part){tensor, tensor != NULL ? first : 0, tensor != NULL ? count : 0};
}

static void matrix(struct binder *self, const char *name, enum presence presence, uint64_t columns,
    uint64_t rows, enum model_matrix which)
{
    self->matrices[which] = part(bind(self, name, presence, columns, rows, 1), 0, rows);
}

static void vector(struct binder *self, const char *name, enum presence presence, uint64_t count,
    enum model_vector which)
{
    self->vectors[which] = part(bind(self, name, presence, count, 1, 1), 0, count);
}

/* "NAME.weight", and "NAME.bias" where norms have one. */
static void norm(struct binder *self, const char *name, bool wanted, enum model_vector which)
{
    const struct model_config *c = &self->model->config;
    char full[48];

    (void)snprintf(full, sizeof(full), "%s.weight", name);
    vector(self, full, wanted ? ALWAYS : NEVER, c->embedding_length, which);
    (void)snprintf(full, sizeof(full), "%s.bias", name);
    vector(self, full, wanted && c->family->layer_norm ? ALWAYS : NEVER, c->embedding_length,
        which + 1);
}

static void bind_norms(struct binder *self)
{
    const struct model_family *family = self->model->config.family;
    enum model_norm_place place = family->norm_place;
    bool before = place == MODEL_NORM_BEFORE || place == MODEL_NORM_AROUND;
    bool after = place == MODEL_NORM_AFTER || place == MODEL_NORM_AROUND;
    const char *second = family->feed_forward_norm != NULL ? family->feed_forward_norm : "ffn_norm";

    norm(self, "attn_norm", before, MODEL_ATTENTION_NORM);
    norm(self, second, before, MODEL_FEED_FORWARD_NORM);
    norm(self, "post_attention_norm", after, MODEL_ATTENTION_POST_NORM);
    norm(self, "post_ffw_norm", after, MODEL_FEED_FORWARD_POST_NORM);
    norm(self, "attn_output_norm", place == MODEL_NORM_SUM, MODEL_ATTENTION_SUM_NORM);
    norm(self, "layer_output_norm", place == MODEL_NORM_SUM, MODEL_FEED_FORWARD_SUM_NORM);
}

/* One tensor whose rows are those of q, k and v. */
static void bind_fused_qkv(struct binder *self, uint64_t q_rows, uint64_t kv_rows)
{
    uint64_t wide = self->model->config.embedding_length, rows = q_rows + 2 * kv_rows;
    const struct gguf_tensor *w = bind(self, "attn_qkv.weight", ALWAYS, wide, rows, 1);
    const struct gguf_tensor *b = bind(self, "attn_qkv.bias", MAYBE, rows, 1, 1);

    self->matrices[MODEL_Q] = part(w, 0, q_rows);
    self->matrices[MODEL_K] = part(w, q_rows, kv_rows);
    self->matrices[MODEL_V] = part(w, q_rows + kv_rows, kv_rows);
    self->vectors[MODEL_Q_BIAS] = part(b, 0, q_rows);
    self->vectors[MODEL_K_BIAS] = part(b, q_rows, kv_rows);
    self->vectors[MODEL_V_BIAS] = part(b, q_rows + kv_rows, kv_rows);
}

static void bind_attention(struct binder *self)
{
    const struct model_config *c = &self->model->config;
    uint64_t wide = c->embedding_length;
    uint64_t q_rows = (uint64_t)c->head_count * c->head_dim;
    uint64_t kv_rows = (uint64_t)c->kv_head_count * c->head_dim;
    bool whole = c->family->qk_norm == MODEL_QK_WHOLE;
    enum presence qk_norm = c->family->qk_norm == MODEL_QK_PLAIN ? NEVER : ALWAYS;

    if (find(self, "attn_qkv.weight") != NULL) {
        bind_fused_qkv(self, q_rows, kv_rows);
    } else {
        matrix(self, "attn_q.weight", ALWAYS, wide, q_rows, MODEL_Q);
        matrix(self, "attn_k.weight", ALWAYS, wide, kv_rows, MODEL_K);
        matrix(self, "attn_v.weight", ALWAYS, wide, kv_rows, MODEL_V);
        vector(self, "attn_q.bias", MAYBE, q_rows, MODEL_Q_BIAS);
        vector(self, "attn_k.bias", MAYBE, kv_rows, MODEL_K_BIAS);
        vector(self, "attn_v.bias", MAYBE, kv_rows, MODEL_V_BIAS);
    }
    vector(self, "attn_q_norm.weight", qk_norm, whole ? q_rows : c->head_dim, MODEL_Q_NORM);
    vector(self, "attn_k_norm.weight", qk_norm, whole ? kv_rows : c->head_dim, MODEL_K_NORM);
    vector(
        self, "attn_sinks.weight", c->family->sinks ? ALWAYS : NEVER, c->head_count, MODEL_SINKS);
    matrix(self, "attn_output.weight", ALWAYS, q_rows, wide, MODEL_ATTENTION_OUTPUT);
    vector(self, "attn_output.bias", MAYBE, wide, MODEL_ATTENTION_OUTPUT_BIAS);
}

static void bind_dense(struct binder *self)
{
    const struct model_config *c = &self->model->config;
    uint64_t wide = c->embedding_length, inner = self->layer->feed_forward_length;
    bool gated = c->family->activation != MODEL_GELU;

    if (gated && find(self, "ffn_gate.weight") == NULL) {
        /* One tensor: the rows of gate, then those of up. */
        const struct gguf_tensor *w = bind(self, "ffn_up.weight", ALWAYS, wide, 2 * inner, 1);
        self->matrices[MODEL_GATE] = part(w, 0, inner);
        self->matrices[MODEL_UP] = part(w, inner, inner);
    } else {
        matrix(self, "ffn_gate.weight", gated ? ALWAYS : NEVER, wide, inner, MODEL_GATE);
        matrix(self, "ffn_up.weight", ALWAYS, wide, inner, MODEL_UP);
        vector(self, "ffn_gate.bias", gated ? MAYBE : NEVER, inner, MODEL_GATE_BIAS);
        vector(self, "ffn_up.bias", MAYBE, inner, MODEL_UP_BIAS);
    }
    matrix(self, "ffn_down.weight", ALWAYS, inner, wide, MODEL_DOWN);
    vector(self, "ffn_down.bias", MAYBE, wide, MODEL_DOWN_BIAS);
}

/* One of the three matrices of every expert: stacked in one tensor, or a tensor for each. */
static void bind_expert_matrices(struct binder *self, const char *name, uint64_t columns,
    uint64_t rows, enum model_expert_part which)
{
    uint32_t count = self->model->config.expert_count;
    char full[48];

    (void)snprintf(full, sizeof(full), "ffn_%s_exps.weight", name);
    const struct gguf_tensor *all = find(self, full);
    if (all != NULL)
        all = bind(self, full, ALWAYS, columns, rows, count);
    (void)snprintf(full, sizeof(full), "ffn_%s_exps.bias", name);
    const struct gguf_tensor *biases = bind(self, full, MAYBE, rows, count, 1);
    for (uint32_t e = 0; e < count && self->rc == BASE_OK; e++) {
        const struct gguf_tensor *own = all;
        if (all == NULL) {
            (void)snprintf(full, sizeof(full), "ffn_%s.%" PRIu32 ".weight", name, e);
            own = bind(self, full, ALWAYS, columns, rows, 1);
        }
        self->matrices[model_expert(MODEL_MATRICES, e) + which] =
            part(own, all != NULL ? e * rows : 0, rows);
        self->vectors[model_expert(MODEL_VECTORS, e) + which] = part(biases, e * rows, rows);
    }
}

/* Gate and up of every expert in one tensor, the rows of gate first. */
static void bind_merged_experts(struct binder *self, uint64_t wide, uint64_t inner)
{
    uint32_t count = self->model->config.expert_count;
    const struct gguf_tensor *all =
        bind(self, "ffn_gate_up_exps.weight", ALWAYS, wide, 2 * inner, count);

    for (uint32_t e = 0; e < count; e++) {
        struct model_part *parts = self->matrices + model_expert(MODEL_MATRICES, e);
        parts[MODEL_EXPERT_GATE] = part(all, 2 * e * inner, inner);
        parts[MODEL_EXPERT_UP] = part(all, (2 * e + 1) * inner, inner);
    }
}

/* The expert that every token takes. Its size is that of its tensors. */
static void bind_shared_expert(struct binder *self, uint64_t wide)
{
    const struct gguf_tensor *up = find(self, "ffn_up_shexp.weight");

    if (up == NULL)
        return;
    uint64_t inner = up->dimensions[1] <= MODEL_SIZE_MAX ? up->dimensions[1] : MODEL_SIZE_MAX;
    matrix(self, "ffn_gate_shexp.weight", ALWAYS, wide, inner, MODEL_SHARED_GATE);
    matrix(self, "ffn_up_shexp.weight", ALWAYS, wide, inner, MODEL_SHARED_UP);
    matrix(self, "ffn_down_shexp.weight", ALWAYS, inner, wide, MODEL_SHARED_DOWN);
    matrix(self, "ffn_gate_inp_shexp.weight", MAYBE, wide, 1, MODEL_SHARED_ROUTER);
    self->layer->shared_length = (uint32_t)inner;
}

static void bind_experts(struct binder *self)
{
    const struct model_config *c = &self->model->config;
    uint64_t wide = c->embedding_length, inner = self->layer->expert_length;

    matrix(self, "ffn_gate_inp.weight", ALWAYS, wide, c->expert_count, MODEL_ROUTER);
    vector(self, "ffn_gate_inp.bias", MAYBE, c->expert_count, MODEL_ROUTER_BIAS);
    if (find(self, "ffn_gate_up_exps.weight") != NULL) {
        bind_merged_experts(self, wide, inner);
    } else {
        bind_expert_matrices(self, "gate", wide, inner, MODEL_EXPERT_GATE);
        bind_expert_matrices(self, "up", wide, inner, MODEL_EXPERT_UP);
    }
    bind_expert_matrices(self, "down", inner, wide, MODEL_EXPERT_DOWN);
    bind_shared_expert(self, wide);
}

static void note_length(struct model_config *config, uint32_t length)
{
    if (length > config->feed_forward_length)
        config->feed_forward_length = length;
}

/* Makes room for a layer's parts. */
static void begin_layer(struct binder *self, uint32_t index, uint32_t expert_count)
{
    struct model_layer *layer = &self->model->layers[index];
    size_t matrices = model_expert(MODEL_MATRICES, expert_count);
    size_t vectors = model_expert(MODEL_VECTORS, expert_count);

    self->layer = layer;
    layer->expert_count = expert_count;
    self->matrices = base_alloc_zeroed(matrices + vectors, sizeof(*self->matrices));
    self->vectors = self->matrices != NULL ? self->matrices + matrices : NULL;
    layer->matrices = self->matrices;
    layer->vectors = self->vectors;
    if (self->matrices == NULL)
        self->rc = base_error_set(
            self->err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(self->model->file)));
}

static void bind_block(struct binder *self, uint32_t block)
{
    struct model_config *c = &self->model->config;

    self->block = block;
    /* What is asked for is bounded by what is there: a router has a row for each expert. */
    const struct gguf_tensor *router =
        c->expert_count > 0 ? find(self, "ffn_gate_inp.weight") : NULL;
    if (router != NULL)
        self->rc = check_shape(self, router, c->embedding_length, c->expert_count, 1);
    if (self->rc == BASE_OK)
        begin_layer(self, block + 1, router != NULL ? c->expert_count : 0);
    if (self->rc != BASE_OK)
        return;
    bind_norms(self);
    bind_attention(self);
    if (router != NULL)
        bind_experts(self);
    else
        bind_dense(self);
    note_length(c, router != NULL ? self->layer->expert_length : self->layer->feed_forward_length);
    note_length(c, self->layer->shared_length);
}

/* The divisors of rope frequencies: llama-3's, or longrope's two sets. */
static void bind_rope_factors(struct binder *self)
{
    struct model_config *c = &self->model->config;
    struct model_rope *rope = &c->ropes[0];
    uint64_t count = c->rotary_dim / 2;
    bool is_long = rope->scaling == MODEL_ROPE_LONG;

    if (c->family->encoder)
        return;
    rope->factors = bind(self, is_long ? "rope_factors_long.weight" : "rope_freqs.weight",
        is_long ? ALWAYS : MAYBE, count, 1, 1);
    rope->short_factors =
        bind(self, "rope_factors_short.weight", is_long ? ALWAYS : NEVER, count, 1, 1);
}

static void bind_embedding(struct binder *self)
{
    struct model_config *c = &self->model->config;
    const struct gguf_tensor *found = find(self, "token_embd.weight");
    uint64_t vocab = found != NULL ? found->dimensions[1] : 1;
    uint64_t wide = c->embedding_length;

    if (vocab > LIMIT_VOCAB_MAX)
        self->rc = fail(self, BASE_TOO_BIG, "token_embd.weight", found->table_offset,
            "vocabulary of %" PRIu64 ", at most %d", vocab, LIMIT_VOCAB_MAX);
    matrix(self, "token_embd.weight", ALWAYS, wide, vocab, MODEL_EMBEDDING);
    c->vocab_size = (uint32_t)vocab;
    if (!c->family->encoder)
        return;
    const struct gguf_tensor *positions = find(self, "position_embd.weight");
    uint64_t rows = positions != NULL ? positions->dimensions[1] : 0;
    matrix(self, "position_embd.weight", ALWAYS, wide,
        rows > c->context_length ? rows : c->context_length, MODEL_POSITIONS);
    const struct gguf_tensor *types = find(self, "token_types.weight");
    types = types == NULL ? NULL
                          : bind(self, "token_types.weight", ALWAYS, wide, types->dimensions[1], 1);
    self->vectors[MODEL_TOKEN_TYPE] = part(types, 0, wide);
    if (types != NULL && types->dimensions[1] > 1)
        self->vectors[MODEL_SECOND_TYPE] = part(types, wide, wide);
    norm(self, "token_embd_norm", true, MODEL_END_NORM);
}

static void bind_head(struct binder *self)
{
    struct model_config *c = &self->model->config;

    c->has_head = !c->family->encoder;
    if (!c->has_head)
        return;
    norm(self, "output_norm", true, MODEL_END_NORM);
    matrix(self, "output.weight", MAYBE, c->embedding_length, c->vocab_size, MODEL_HEAD);
    c->tied_output = self->matrices[MODEL_HEAD].tensor == NULL;
}

static void bind_ends(struct binder *self)
{
    self->block = ENDS;
    begin_layer(self, 0, 0);
    if (self->rc == BASE_OK)
        bind_embedding(self);
    if (self->rc == BASE_OK)
        begin_layer(self, self->model->config.layer_count + 1, 0);
    if (self->rc == BASE_OK)
        bind_head(self);
    bind_rope_factors(self);
}

/* A classifier's own head stands behind the trunk and is not part of it. */
static bool is_classifier(const struct model_family *family, const char *name)
{
    return family->encoder && strncmp(name, "cls.", 4) == 0;
}

static void refuse_unbound(struct binder *self)
{
    const struct gguf *file = self->model->file;
    const struct model_family *family = self->model->config.family;

    for (size_t i = 0; i < gguf_tensor_count(file) && self->rc == BASE_OK; i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        if (!self->bound[i] && !is_classifier(family, tensor->name))
            self->rc = fail(self, BASE_UNSUPPORTED, tensor->name, tensor->table_offset,
                "family %s has no use for this tensor", family->name);
    }
}

int model_bind_tensors(struct model *self, struct base_error *err)
{
    struct binder binder = {.model = self, .err = err};
    size_t count = gguf_tensor_count(self->file);

    binder.bound = base_alloc_zeroed(count > 0 ? count : 1, sizeof(*binder.bound));
    if (binder.bound == NULL)
        return base_error_set(
            err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(self->file)));
    bind_ends(&binder);
    for (uint32_t i = 0; i < self->config.layer_count && binder.rc == BASE_OK; i++)
        bind_block(&binder, i);
    refuse_unbound(&binder);
    base_free(binder.bound);
    return binder.rc;
}
