#include "tiny_reference.h"

#include "gguf.h"
#include "model.h"
#include "tensor_type.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct reference {
    const struct model_config *config;
    uint32_t count; /* tokens */
    double *x;      /* [count, embedding_length] */
    double *keys;   /* [count, kv rows] of the layer at hand */
    double *values;
};

static double *numbers(size_t count)
{
    double *memory = calloc(count, sizeof(double));

    if (memory == NULL)
        exit(1);
    return memory;
}

/* A row of a tensor as it is in the file, of count elements. */
static const float *row_of(const struct gguf_tensor *tensor, size_t row)
{
    static float values[1 << 16];
    size_t count = tensor->dimensions[0];

    if (count > sizeof(values) / sizeof(values[0]))
        exit(1);
    tensor_dequantize_row(
        tensor->type, tensor->data + row * tensor_row_bytes(tensor->type, count), count, values);
    return values;
}

/* Element of a vector. */
static double element(const struct gguf_tensor *tensor, size_t index)
{
    return (double)row_of(tensor, 0)[index];
}

/* Weights of a layer that stand in tensors of their own. */
static const struct gguf_tensor *matrix(const struct model_layer *layer, enum model_matrix which)
{
    return layer->matrices[which].tensor;
}

static const struct gguf_tensor *vector(const struct model_layer *layer, enum model_vector which)
{
    return layer->vectors[which].tensor;
}

/* y[o] = sum_i w[o, i] x[i] + bias[o] */
static void multiply(
    const struct gguf_tensor *w, const struct gguf_tensor *bias, const double *x, double *y)
{
    for (size_t o = 0; o < w->dimensions[1]; o++) {
        y[o] = bias != NULL ? element(bias, o) : 0.0;
        const float *row = row_of(w, o);
        for (size_t i = 0; i < w->dimensions[0]; i++)
            y[o] += (double)row[i] * x[i];
    }
}

static void norm(
    const struct reference *self, const struct gguf_tensor *w, const double *x, double *y)
{
    size_t count = self->config->embedding_length;
    double sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += x[i] * x[i];
    for (size_t i = 0; i < count; i++)
        y[i] =
            x[i] / sqrt(sum / (double)count + (double)self->config->norm_epsilon) * element(w, i);
}

/* Turns the pairs (2i, 2i + 1) of every head. */
static void rotate(const struct reference *self, double *x, uint32_t heads, uint32_t position)
{
    const struct model_rope *rope = &self->config->ropes[0];
    uint32_t dim = self->config->head_dim;

    for (uint32_t h = 0; h < heads; h++)
        for (uint32_t i = 0; i < self->config->rotary_dim / 2; i++) {
            double *pair = x + h * dim + 2 * i;
            double angle = position / (double)rope->factor *
                           pow((double)rope->base, -2.0 * i / self->config->rotary_dim);
            if (rope->factors != NULL)
                angle /= element(rope->factors, i);
            double a = pair[0], b = pair[1];
            pair[0] = a * cos(angle) - b * sin(angle);
            pair[1] = a * sin(angle) + b * cos(angle);
        }
}

/* y = softmax(q . k / sqrt(dim)) v of one head, over positions up to the last one given. */
static void attend(
    const struct reference *self, const double *q, uint32_t kv_head, uint32_t last, double *y)
{
    uint32_t dim = self->config->head_dim;
    size_t stride = (size_t)self->config->kv_head_count * dim;
    double sum = 0;

    for (uint32_t p = 0; p <= last; p++) {
        double score = 0;
        for (uint32_t i = 0; i < dim; i++)
            score += q[i] * self->keys[p * stride + kv_head * dim + i];
        double weight = exp(score / sqrt((double)dim));
        sum += weight;
        for (uint32_t i = 0; i < dim; i++)
            y[i] += weight * self->values[p * stride + kv_head * dim + i];
    }
    for (uint32_t i = 0; i < dim; i++)
        y[i] /= sum;
}

static void attention(struct reference *self, const struct model_layer *layer)
{
    const struct model_config *c = self->config;
    size_t wide = c->embedding_length;
    size_t q_rows = (size_t)c->head_count * c->head_dim;
    size_t kv_rows = (size_t)c->kv_head_count * c->head_dim;
    double *normed = numbers(wide), *q = numbers(self->count * q_rows), *mixed = numbers(q_rows);

    for (uint32_t p = 0; p < self->count; p++) {
        norm(self, vector(layer, MODEL_ATTENTION_NORM), self->x + p * wide, normed);
        multiply(matrix(layer, MODEL_Q), vector(layer, MODEL_Q_BIAS), normed, q + p * q_rows);
        multiply(
            matrix(layer, MODEL_K), vector(layer, MODEL_K_BIAS), normed, self->keys + p * kv_rows);
        multiply(matrix(layer, MODEL_V), vector(layer, MODEL_V_BIAS), normed,
            self->values + p * kv_rows);
        rotate(self, q + p * q_rows, c->head_count, p);
        rotate(self, self->keys + p * kv_rows, c->kv_head_count, p);
    }
    for (uint32_t p = 0; p < self->count; p++) {
        memset(mixed, 0, q_rows * sizeof(double));
        for (uint32_t h = 0; h < c->head_count; h++)
            attend(self, q + p * q_rows + h * c->head_dim, h / (c->head_count / c->kv_head_count),
                p, mixed + h * c->head_dim);
        multiply(matrix(layer, MODEL_ATTENTION_OUTPUT), vector(layer, MODEL_ATTENTION_OUTPUT_BIAS),
            mixed, normed);
        for (size_t i = 0; i < wide; i++)
            self->x[p * wide + i] += normed[i];
    }
    free(normed);
    free(q);
    free(mixed);
}

static void feed_forward(struct reference *self, const struct model_layer *layer)
{
    size_t wide = self->config->embedding_length;
    size_t inner = self->config->feed_forward_length;
    double *normed = numbers(wide), *gate = numbers(inner), *up = numbers(inner);

    for (uint32_t p = 0; p < self->count; p++) {
        norm(self, vector(layer, MODEL_FEED_FORWARD_NORM), self->x + p * wide, normed);
        multiply(matrix(layer, MODEL_GATE), NULL, normed, gate);
        multiply(matrix(layer, MODEL_UP), NULL, normed, up);
        for (size_t i = 0; i < inner; i++)
            gate[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
        multiply(matrix(layer, MODEL_DOWN), NULL, gate, normed);
        for (size_t i = 0; i < wide; i++)
            self->x[p * wide + i] += normed[i];
    }
    free(normed);
    free(gate);
    free(up);
}

void tiny_reference_logits(
    const struct model *model, const uint32_t *tokens, uint32_t count, double *ret_logits)
{
    const struct model_config *c = model_get_config(model);
    size_t wide = c->embedding_length;
    size_t kv_rows = (size_t)c->kv_head_count * c->head_dim;
    const struct gguf_tensor *embedding = matrix(model_get_layer(model, 0), MODEL_EMBEDDING);
    struct reference self = {
        c, count, numbers(count * wide), numbers(count * kv_rows), numbers(count * kv_rows)};
    double *normed = numbers(wide);

    for (uint32_t p = 0; p < count; p++)
        for (size_t i = 0; i < wide; i++)
            self.x[p * wide + i] = (double)row_of(embedding, tokens[p])[i];
    for (uint32_t i = 1; i <= c->layer_count; i++) {
        attention(&self, model_get_layer(model, i));
        feed_forward(&self, model_get_layer(model, i));
    }
    const struct model_layer *last = model_get_layer(model, c->layer_count + 1);
    norm(&self, vector(last, MODEL_END_NORM), self.x + (count - 1) * wide, normed);
    multiply(c->tied_output ? embedding : matrix(last, MODEL_HEAD), NULL, normed, ret_logits);
    free(self.x);
    free(self.keys);
    free(self.values);
    free(normed);
}
