/* Opening, accessors, and what each layer costs. */
#include "model.h"
#include "model_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
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
    int rc = gguf_open(path, &file, err);

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

const struct model_layer_tensors *model_layer(const struct model *self, uint32_t layer)
{
    return layer < self->config.layer_count ? &self->layers[layer] : NULL;
}

const struct gguf_tensor *model_token_embedding(const struct model *self)
{
    return self->token_embedding;
}

const struct gguf_tensor *model_output_norm(const struct model *self)
{
    return self->output_norm;
}

const struct gguf_tensor *model_output(const struct model *self)
{
    return self->output;
}

const struct gguf_tensor *model_rope_factors(const struct model *self)
{
    return self->rope_factors;
}

static uint64_t matrix_bytes(const struct gguf_tensor *tensor)
{
    return tensor_matrix_bytes(
        tensor->type, (size_t)tensor->dimensions[1], (size_t)tensor->dimensions[0]);
}

static uint64_t vector_bytes(const struct gguf_tensor *tensor)
{
    return tensor == NULL ? 0 : tensor->dimensions[0] * sizeof(float);
}

static uint64_t product_operations(const struct gguf_tensor *tensor)
{
    return 2 * tensor->dimensions[0] * tensor->dimensions[1];
}

static void block_cost(const struct model *self, uint32_t layer, struct model_layer_cost *ret_cost)
{
    const struct model_layer_tensors *t = &self->layers[layer];
    const struct gguf_tensor *const matrices[] = {
        t->q, t->k, t->v, t->attention_output, t->gate, t->up, t->down};
    const struct gguf_tensor *const vectors[] = {t->attention_norm, t->feed_forward_norm, t->q_bias,
        t->k_bias, t->v_bias, t->attention_output_bias};
    size_t matrix_count = sizeof(matrices) / sizeof(matrices[0]);
    uint64_t largest = 0;

    for (size_t i = 0; i < matrix_count; i++) {
        uint64_t of_type = 0;
        ret_cost->weight_bytes += matrix_bytes(matrices[i]);
        ret_cost->operations_per_token += product_operations(matrices[i]);
        for (size_t j = 0; j < matrix_count; j++)
            of_type += matrices[j]->type == matrices[i]->type ? matrix_bytes(matrices[j]) : 0;
        if (of_type > largest) {
            largest = of_type;
            ret_cost->weight_type = matrices[i]->type;
        }
    }
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        ret_cost->weight_bytes += vector_bytes(vectors[i]);
    ret_cost->kv_bytes_per_token =
        (uint32_t)(2 * (size_t)self->config.kv_head_count * self->config.head_dim * sizeof(float));
}

void model_layer_cost(const struct model *self, uint32_t index, struct model_layer_cost *ret_cost)
{
    *ret_cost = (struct model_layer_cost){0};
    if (index == 0) {
        ret_cost->weight_type = self->token_embedding->type;
        ret_cost->weight_bytes = matrix_bytes(self->token_embedding);
    } else if (index <= self->config.layer_count) {
        block_cost(self, index - 1, ret_cost);
    } else if (index == self->config.layer_count + 1) {
        ret_cost->weight_type = self->output->type;
        ret_cost->weight_bytes = matrix_bytes(self->output) + vector_bytes(self->output_norm);
        ret_cost->operations_per_token = product_operations(self->output);
    }
}
