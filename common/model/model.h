/*
 * A model file understood: architecture row, sizes, where each tensor is, and what each layer
 * costs. Families are data: a row of struct model_family read by the one forward pass in stage/.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf;
struct gguf_tensor;
struct model;

/* How one family differs from the plain pre-norm decoder. More switches come with more rows. */
struct model_family {
    const char *name;   /* general.architecture */
    bool rope_adjacent; /* pairs (2i, 2i+1) rather than (i, i + n/2) */
};

struct model_config {
    const struct model_family *family;
    uint32_t layer_count;
    uint32_t embedding_length;
    uint32_t feed_forward_length;
    uint32_t head_count;
    uint32_t kv_head_count; /* divides head_count */
    uint32_t head_dim;      /* key and value length of one head */
    uint32_t rotary_dim;    /* <= head_dim, even */
    uint32_t vocab_size;
    uint32_t context_length; /* capped at LIMIT_CONTEXT_TOKENS_MAX */
    float norm_epsilon;
    float rope_base;
    float rope_scale;      /* linear scaling: angles are multiplied by this (1: none) */
    float attention_scale; /* 1/sqrt(head_dim) unless the file says otherwise */
    bool tied_output;      /* no output.weight: the head is the embedding matrix */
};

/* Weights of one block as they stand in the file. NULL: the model has none. */
struct model_layer_tensors {
    const struct gguf_tensor *attention_norm, *q, *k, *v, *attention_output;
    const struct gguf_tensor *q_bias, *k_bias, *v_bias, *attention_output_bias;
    const struct gguf_tensor *feed_forward_norm, *gate, *up, *down;
};

/*
 * Reads the configuration and binds every tensor, checking its shape and type, so that a model
 * that opens can be loaded at any cut. Tensor data is not touched. Returns BASE_OK and a model
 * closed with model_close(), or BASE_IO, BASE_MALFORMED, BASE_UNSUPPORTED (family, type or
 * feature: what was found and what is supported), BASE_NOMEM.
 */
int model_open(const char *path, struct model **ret_model, struct base_error *err);
/* Takes file on success (it is closed with the model); on failure it stays the caller's. */
int model_open_gguf(struct gguf **file_p, struct model **ret_model, struct base_error *err);
void model_close(struct model **self_p);

const struct model_config *model_get_config(const struct model *self);
const struct gguf *model_file(const struct model *self);
const struct model_layer_tensors *model_layer(const struct model *self, uint32_t layer);
const struct gguf_tensor *model_token_embedding(const struct model *self);
const struct gguf_tensor *model_output_norm(const struct model *self);
const struct gguf_tensor *model_output(const struct model *self);       /* tied: the embedding */
const struct gguf_tensor *model_rope_factors(const struct model *self); /* llama-3; or NULL */

/* Cost of pseudo-layer index: 0 embedding, 1..layer_count blocks, layer_count + 1 norm and head. */
struct model_layer_cost {
    uint32_t weight_type;  /* type of most of its bytes */
    uint64_t weight_bytes; /* as packed in memory */
    uint64_t operations_per_token;
    uint32_t kv_bytes_per_token;
};
void model_layer_cost(const struct model *self, uint32_t index, struct model_layer_cost *ret_cost);

#endif
