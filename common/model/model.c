/* Opening, accessors, and what each layer costs. */
#include "model.h"
#include "model_internal.h"

#include "base_alloc.h"
#include "base_limits.h"
#include "hf.h"
#include "tensor_attention.h"
#include "tensor_matrix.h"

int model_open_gguf(struct gguf **file_p, struct model **ret_model, struct base_error *err)
{
    struct model *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(gguf_path(*file_p)));
    self->file = *file_p;
    int rc = model_read_config(self, err);
    if (rc == BASE_OK)
        rc = model_bind_tensors(self, err);
    if (rc != BASE_OK) {
        self->file = NULL; /* stays the caller's */
        model_close(&self);
        return rc;
    }
    *file_p = NULL;
    *ret_model = self;
    return BASE_OK;
}

int model_open(const char *path, struct model **ret_model, struct base_error *err)
{
    struct gguf *file = NULL;
    int rc = hf_open_model(path, &file, err);

    if (rc == BASE_OK)
        rc = model_open_gguf(&file, ret_model, err);
    gguf_close(&file);
    return rc;
}

void model_close(struct model **self_p)
{
    struct model *self = *self_p;

    if (self == NULL)
        return;
    gguf_close(&self->file);
    /* Vectors stand behind the matrices in one block. */
    for (uint32_t i = 0; self->layers != NULL && i < self->config.layer_count + 2; i++)
        base_free((void *)self->layers[i].matrices);
    base_free(self->layers);
    base_free(self);
    *self_p = NULL;
}

const struct model_config *model_get_config(const struct model *self)
{
    return &self->config;
}

const struct gguf *model_file(const struct model *self)
{
    return self->file;
}

const struct model_layer *model_get_layer(const struct model *self, uint32_t index)
{
    return index < self->config.layer_count + 2 ? &self->layers[index] : NULL;
}

static uint64_t matrix_bytes(const struct model_part *part)
{
    return part->tensor == NULL ? 0
                                : tensor_matrix_bytes(part->tensor->type, (size_t)part->count,
                                      (size_t)part->tensor->dimensions[0]);
}

static uint64_t matrix_operations(const struct model_part *part)
{
    return part->tensor == NULL ? 0 : 2 * part->tensor->dimensions[0] * part->count;
}

/* The type that most bytes of a layer are of. */
static uint32_t main_type(const struct model_layer *layer, size_t matrix_count)
{
    uint64_t largest = 0;
    uint32_t type = 0;

    for (size_t i = 0; i < matrix_count; i++) {
        uint64_t of_type = 0;
        if (layer->matrices[i].tensor == NULL ||
            (largest > 0 && layer->matrices[i].tensor->type == type))
            continue;
        for (size_t j = i; j < matrix_count; j++)
            if (layer->matrices[j].tensor != NULL &&
                layer->matrices[j].tensor->type == layer->matrices[i].tensor->type)
                of_type += matrix_bytes(&layer->matrices[j]);
        if (of_type > largest) {
            largest = of_type;
            type = layer->matrices[i].tensor->type;
        }
    }
    return type;
}

/* Keys and values of one position of one block, as a page holds them. */
static uint32_t kv_bytes_per_token(const struct model_config *config, uint32_t kv_type)
{
    struct tensor_attention_layout layout = {0};

    (void)tensor_attention_layout_init(
        &layout, kv_type, LIMIT_PAGE_TOKENS, config->head_dim, config->head_dim);
    return (uint32_t)(layout.bytes * config->kv_head_count / LIMIT_PAGE_TOKENS);
}

void model_layer_cost(
    const struct model *self, uint32_t index, uint32_t kv_type, struct model_layer_cost *ret_cost)
{
    const struct model_config *c = &self->config;
    const struct model_layer *layer = model_get_layer(self, index);

    *ret_cost = (struct model_layer_cost){0};
    if (layer == NULL)
        return;
    size_t matrix_count = model_expert(MODEL_MATRICES, layer->expert_count);
    size_t vector_count = model_expert(MODEL_VECTORS, layer->expert_count);
    uint64_t of_experts = 0;
    for (size_t i = 0; i < matrix_count; i++) {
        uint64_t operations = matrix_operations(&layer->matrices[i]);
        ret_cost->weight_bytes += matrix_bytes(&layer->matrices[i]);
        if (i < MODEL_MATRICES)
            ret_cost->operations_per_token += operations;
        else
            of_experts += operations;
    }
    if (layer->expert_count > 0)
        ret_cost->operations_per_token += of_experts / layer->expert_count * c->expert_used_count;
    for (size_t i = 0; i < vector_count; i++)
        ret_cost->weight_bytes += layer->vectors[i].count * sizeof(float);
    ret_cost->weight_type = main_type(layer, matrix_count);
    if (index == 0) {
        ret_cost->operations_per_token = 0; /* rows are looked up */
    } else if (index <= c->layer_count) {
        ret_cost->kv_bytes_per_token = kv_bytes_per_token(c, kv_type);
    } else if (c->tied_output) {
        const struct model_part *embedding = &self->layers[0].matrices[MODEL_EMBEDDING];
        ret_cost->weight_type = embedding->tensor->type;
        ret_cost->weight_bytes += matrix_bytes(embedding);
        ret_cost->operations_per_token = matrix_operations(embedding);
    }
}
