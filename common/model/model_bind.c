/* Finds every tensor by name and checks what it is. A tensor that nobody asked for is an error:
 * a weight that is ignored gives wrong output without a word. */
#include "model_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf.h"
#include "tensor_type.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct binder {
    struct model *model;
    bool *bound; /* [gguf_tensor_count] */
    struct base_error *err;
};

#define fail(self, code, name, offset, format, ...)                                                \
    base_error_set((self)->err, code, "%s: byte %" PRIu64 ": %s: " format,                         \
        gguf_path_tail(gguf_path((self)->model->file)), (uint64_t)(offset), name, __VA_ARGS__)

/* rows 0: a vector of columns elements. */
static int check_shape(
    const struct binder *self, const struct gguf_tensor *tensor, uint64_t columns, uint64_t rows)
{
    const uint64_t *d = tensor->dimensions;
    uint64_t wanted_rows = rows == 0 ? 1 : rows;

    if (!tensor_type_supported(tensor->type))
        return fail(self, BASE_UNSUPPORTED, tensor->name, tensor->table_offset,
            "type %s is not supported (supported: F32, F16, BF16, Q8_0, Q4_0)",
            gguf_type_name(tensor->type));
    if (d[0] != columns || d[1] != wanted_rows || d[2] != 1 || d[3] != 1)
        return fail(self, BASE_MALFORMED, tensor->name, tensor->table_offset,
            "shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "], but [%" PRIu64 ", %" PRIu64
            ", 1, 1] is wanted",
            d[0], d[1], d[2], d[3], columns, wanted_rows);
    return BASE_OK;
}

/* Finds a tensor and notes that it was asked for. An optional one that is absent gives NULL. */
static int bind(struct binder *self, const char *name, bool optional, uint64_t columns,
    uint64_t rows, const struct gguf_tensor **ret_tensor)
{
    const struct gguf *file = self->model->file;
    const struct gguf_tensor *tensor = gguf_tensor_find(file, name);

    *ret_tensor = NULL;
    if (tensor == NULL && optional)
        return BASE_OK;
    if (tensor == NULL)
        return fail(self, BASE_MALFORMED, name,
            gguf_tensor_count(file) > 0 ? gguf_tensor_at(file, 0)->table_offset : 0, "%s",
            "the tensor is missing");
    int rc = check_shape(self, tensor, columns, rows);
    if (rc == BASE_OK) {
        self->bound[tensor - gguf_tensor_at(file, 0)] = true;
        *ret_tensor = tensor;
    }
    return rc;
}

static int bind_layer(struct binder *self, uint32_t layer)
{
    const struct model_config *c = &self->model->config;
    struct model_layer_tensors *t = &self->model->layers[layer];
    uint64_t wide = c->embedding_length;
    uint64_t q_rows = (uint64_t)c->head_count * c->head_dim;
    uint64_t kv_rows = (uint64_t)c->kv_head_count * c->head_dim;
    const struct {
        const char *name;
        bool optional;
        uint64_t columns, rows;
        const struct gguf_tensor **slot;
    } parts[] = {
        {"attn_norm.weight", false, wide, 0, &t->attention_norm},
        {"attn_q.weight", false, wide, q_rows, &t->q},
        {"attn_k.weight", false, wide, kv_rows, &t->k},
        {"attn_v.weight", false, wide, kv_rows, &t->v},
        {"attn_output.weight", false, q_rows, wide, &t->attention_output},
        {"attn_q.bias", true, q_rows, 0, &t->q_bias},
        {"attn_k.bias", true, kv_rows, 0, &t->k_bias},
        {"attn_v.bias", true, kv_rows, 0, &t->v_bias},
        {"attn_output.bias", true, wide, 0, &t->attention_output_bias},
        {"ffn_norm.weight", false, wide, 0, &t->feed_forward_norm},
        {"ffn_gate.weight", false, wide, c->feed_forward_length, &t->gate},
        {"ffn_up.weight", false, wide, c->feed_forward_length, &t->up},
        {"ffn_down.weight", false, c->feed_forward_length, wide, &t->down},
    };

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "blk.%" PRIu32 ".%s", layer, parts[i].name);
        int rc =
            bind(self, name, parts[i].optional, parts[i].columns, parts[i].rows, parts[i].slot);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

static int bind_ends(struct binder *self)
{
    struct model *model = self->model;
    struct model_config *c = &model->config;
    const char *embedding = "token_embd.weight";
    const struct gguf_tensor *found = gguf_tensor_find(model->file, embedding);
    uint64_t vocab = found != NULL ? found->dimensions[1] : 1;

    if (vocab > LIMIT_VOCAB_MAX)
        return fail(self, BASE_TOO_BIG, embedding, found->table_offset,
            "vocabulary of %" PRIu64 ", at most %d", vocab, LIMIT_VOCAB_MAX);
    int rc = bind(self, embedding, false, c->embedding_length, vocab, &model->token_embedding);
    if (rc == BASE_OK)
        rc = bind(self, "output_norm.weight", false, c->embedding_length, 0, &model->output_norm);
    if (rc == BASE_OK)
        rc = bind(self, "output.weight", true, c->embedding_length, vocab, &model->output);
    if (rc == BASE_OK)
        rc = bind(self, "rope_freqs.weight", true, c->rotary_dim / 2, 0, &model->rope_factors);
    if (rc != BASE_OK)
        return rc;
    c->vocab_size = (uint32_t)vocab;
    c->tied_output = model->output == NULL;
    if (c->tied_output)
        model->output = model->token_embedding;
    return BASE_OK;
}

static int refuse_unbound(const struct binder *self)
{
    const struct gguf *file = self->model->file;

    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        if (!self->bound[i])
            return fail(self, BASE_UNSUPPORTED, tensor->name, tensor->table_offset,
                "family %s has no use for this tensor", self->model->config.family->name);
    }
    return BASE_OK;
}

int model_bind_tensors(struct model *self, struct base_error *err)
{
    struct binder binder = {.model = self, .err = err};
    size_t count = gguf_tensor_count(self->file);

    binder.bound = base_alloc_zeroed(count > 0 ? count : 1, sizeof(*binder.bound));
    self->layers = base_alloc_zeroed(self->config.layer_count, sizeof(*self->layers));
    int rc = binder.bound != NULL && self->layers != NULL
                 ? bind_ends(&binder)
                 : base_error_set(
                       err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(self->file)));
    for (uint32_t i = 0; i < self->config.layer_count && rc == BASE_OK; i++)
        rc = bind_layer(&binder, i);
    if (rc == BASE_OK)
        rc = refuse_unbound(&binder);
    base_free(binder.bound);
    return rc;
}
