/*
 * A model file understood: which family it is of, sizes, where each tensor is, what each layer
 * does, and what it costs. Families are data: a row of struct model_family and a struct
 * model_layer for every layer, read by the one forward pass in stage/.
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

/* Between the products of a feed-forward. */
enum model_activation {
    MODEL_SWIGLU = 0,     /* silu(gate) * up */
    MODEL_GEGLU,          /* gelu(gate) * up, gelu in its tanh form */
    MODEL_SWIGLU_CLAMPED, /* g * sigmoid(1.702 g) * (u + 1), g = min(gate, 7), u within 7 */
    MODEL_GELU,           /* gelu(up) with erf; there is no gate */
};

/* Where the norms of a sub-layer f stand. */
enum model_norm_place {
    MODEL_NORM_BEFORE = 0, /* x + f(norm(x)) */
    MODEL_NORM_AROUND,     /* x + norm(f(norm(x))) */
    MODEL_NORM_AFTER,      /* x + norm(f(x)) */
    MODEL_NORM_SUM,        /* norm(x + f(x)) */
};

/* RMSNorm of queries and keys, before they are rotated. */
enum model_qk_norm {
    MODEL_QK_PLAIN = 0,
    MODEL_QK_HEAD,  /* each head by itself */
    MODEL_QK_WHOLE, /* all heads of a token as one vector */
};

/* How one family differs from the plain pre-norm decoder with RMSNorm, rope and SwiGLU. What a
 * file says itself (windows, soft caps, scales, biases, experts) is not here but for the values
 * that the family means when the file is silent. */
struct model_family {
    const char *name; /* general.architecture */
    enum model_activation activation;
    enum model_norm_place norm_place;
    enum model_qk_norm qk_norm;
    bool rope_adjacent;            /* pairs (2i, 2i+1) rather than (i, i + n/2) */
    bool layer_norm;               /* LayerNorm with biases in place of RMSNorm */
    bool encoder;                  /* every token sees all; learned positions, no rope, no head */
    bool sinks;                    /* one more logit a head in the softmax of attention */
    bool embedding_root;           /* embeddings times sqrt(embedding_length) */
    bool local_rope;               /* windowed layers have a rope of their own, unscaled */
    bool plain_experts;            /* weights of the chosen experts are not brought to a sum of 1 */
    float local_rope_base;         /* of that rope; 0: the model's */
    float attention_softcap;       /* when the file has none; 0: none */
    float logit_softcap;           /* likewise */
    uint32_t window;               /* likewise */
    uint32_t window_period;        /* with a window, every n-th layer sees all; 0: none does */
    uint32_t no_rope_period;       /* every n-th layer has no rope; 0: all have it */
    uint32_t wide_scale_layers;    /* a model of this many layers scales attention by
                                         1/sqrt(embedding_length / head_count) */
    const char *feed_forward_norm; /* its tensor's name; NULL: "ffn_norm" */
};

enum model_rope_scaling {
    MODEL_ROPE_PLAIN = 0,
    MODEL_ROPE_LINEAR,
    MODEL_ROPE_YARN,
    MODEL_ROPE_LONG, /* other factors for contexts longer than original_length */
};

struct model_rope {
    enum model_rope_scaling scaling;
    float base;
    float factor;             /* of linear and yarn: frequencies are divided by it */
    uint32_t original_length; /* of yarn and longrope: positions of the first training */
    float beta_fast;          /* of yarn: turns within original_length where... */
    float beta_slow;          /* ...scaling begins and is complete */
    bool truncate;            /* of yarn: these bounds are rounded to whole pairs */
    float amplitude;          /* cosines and sines are multiplied by it */
    /* [rotary_dim / 2]: frequencies are divided by these, too. NULL: there are none. */
    const struct gguf_tensor *factors;
    const struct gguf_tensor *short_factors; /* longrope's, up to original_length */
};

#define MODEL_ROPES_MAX 2
#define MODEL_ROPE_NONE UINT32_MAX

struct model_config {
    const struct model_family *family;
    uint32_t layer_count;
    uint32_t embedding_length;
    uint32_t feed_forward_length; /* the largest of any layer, expert or shared expert */
    uint32_t head_count;
    uint32_t kv_head_count; /* divides head_count */
    uint32_t head_dim;      /* key and value length of one head */
    uint32_t rotary_dim;    /* <= head_dim, even */
    uint32_t vocab_size;
    uint32_t
        context_length; /* capped at LIMIT_CONTEXT_TOKENS_MAX; encoders: LIMIT_BATCH_TOKENS_MAX */
    float norm_epsilon;
    float attention_scale;   /* 1/sqrt(head_dim) unless the file or the family says otherwise */
    float attention_softcap; /* scores s become c tanh(s/c); 0: none */
    float embedding_scale;   /* embeddings are multiplied by it */
    float residual_scale;    /* what a sub-layer adds is multiplied by it */
    float
        temperature_scale; /* queries at position p are multiplied by 1 + scale * ln(1 + p / length),
                                the quotient rounded down; 0: they are not */
    uint32_t temperature_length;
    float logit_divisor;   /* logits are divided by it */
    float logit_softcap;   /* and capped like scores; 0: none */
    uint32_t expert_count; /* 0: no layer has experts */
    uint32_t expert_used_count;
    bool experts_renormalised; /* weights of the chosen experts add up to 1 */
    float expert_scale;        /* and are then multiplied by it */
    bool tied_output;          /* no output.weight: the head is the embedding matrix */
    bool has_head;             /* false: hidden states are all that comes out */
    struct model_rope ropes[MODEL_ROPES_MAX];
    uint32_t rope_count;
};

/* A range of a tensor. Fused tensors and stacked experts are several of these. */
struct model_part {
    const struct gguf_tensor *tensor; /* NULL: the model has none */
    uint64_t first;                   /* row of a matrix; element of a vector, rows in turn */
    uint64_t count;                   /* rows, or elements */
};

/* Matrices [count, tensor->dimensions[0]] of a layer, by place in model_layer.matrices. Experts
 * follow: gate, up and down of expert e from model_expert(MODEL_MATRICES, e) on. */
enum model_matrix {
    MODEL_Q = 0,
    MODEL_K,
    MODEL_V,
    MODEL_ATTENTION_OUTPUT,
    MODEL_GATE,
    MODEL_UP,
    MODEL_DOWN,
    MODEL_ROUTER,      /* [expert_count, embedding_length] */
    MODEL_SHARED_GATE, /* the expert that every token takes */
    MODEL_SHARED_UP,
    MODEL_SHARED_DOWN,
    MODEL_SHARED_ROUTER, /* [1, embedding_length]: the logit of its sigmoid weight */
    MODEL_MATRICES,
    MODEL_EMBEDDING = MODEL_Q, /* of layer 0 */
    MODEL_POSITIONS =
        MODEL_K,          /* of layer 0: learned positions [context_length, embedding_length] */
    MODEL_HEAD = MODEL_Q, /* of the last layer, unless tied */
};

/* Vectors of a layer, by place in model_layer.vectors; the bias of a norm stands behind it.
 * Biases of experts follow as their matrices do, from model_expert(MODEL_VECTORS, e) on. */
enum model_vector {
    MODEL_ATTENTION_NORM = 0,
    MODEL_ATTENTION_NORM_BIAS,
    MODEL_ATTENTION_POST_NORM, /* of what attention adds */
    MODEL_ATTENTION_POST_NORM_BIAS,
    MODEL_ATTENTION_SUM_NORM, /* of the sum */
    MODEL_ATTENTION_SUM_NORM_BIAS,
    MODEL_FEED_FORWARD_NORM,
    MODEL_FEED_FORWARD_NORM_BIAS,
    MODEL_FEED_FORWARD_POST_NORM,
    MODEL_FEED_FORWARD_POST_NORM_BIAS,
    MODEL_FEED_FORWARD_SUM_NORM,
    MODEL_FEED_FORWARD_SUM_NORM_BIAS,
    MODEL_Q_NORM, /* [head_dim] or all heads, see model_qk_norm */
    MODEL_K_NORM,
    MODEL_SINKS, /* [head_count] */
    MODEL_Q_BIAS,
    MODEL_K_BIAS,
    MODEL_V_BIAS,
    MODEL_ATTENTION_OUTPUT_BIAS,
    MODEL_GATE_BIAS,
    MODEL_UP_BIAS,
    MODEL_DOWN_BIAS,
    MODEL_ROUTER_BIAS,
    MODEL_VECTORS,
    MODEL_END_NORM = MODEL_ATTENTION_NORM, /* of layer 0, where there is one, and of the last */
    MODEL_TOKEN_TYPE = MODEL_Q_NORM,       /* of layer 0: what is added to a text's embeddings... */
    MODEL_SECOND_TYPE = MODEL_K_NORM,      /* ...and to those of a pair's second text */
};

enum model_expert_part { MODEL_EXPERT_GATE = 0, MODEL_EXPERT_UP, MODEL_EXPERT_DOWN };

/* One pseudo-layer: 0 the embedding, 1..layer_count blocks, layer_count + 1 norm and head. */
struct model_layer {
    const struct model_part *matrices; /* [MODEL_MATRICES + 3 * expert_count] */
    const struct model_part *vectors;  /* [MODEL_VECTORS + 3 * expert_count] */
    uint32_t expert_count;             /* 0: one dense feed-forward */
    uint32_t feed_forward_length;      /* of a dense one */
    uint32_t expert_length;            /* of each expert */
    uint32_t shared_length;            /* of the shared expert; 0: there is none */
    uint32_t window;                   /* positions that a token sees, its own counted; 0: all */
    uint32_t rope;                     /* index into config.ropes, or MODEL_ROPE_NONE */
};

/* Index of an expert's first part, behind the MODEL_MATRICES or MODEL_VECTORS others. */
static inline size_t model_expert(size_t behind, size_t expert)
{
    return behind + 3 * expert;
}

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
/* NULL beyond layer_count + 1. */
const struct model_layer *model_get_layer(const struct model *self, uint32_t index);

/* Cost of a pseudo-layer. Only the experts that a token uses count as operations. */
struct model_layer_cost {
    uint32_t weight_type;  /* type of most of its bytes */
    uint64_t weight_bytes; /* as packed in memory */
    uint64_t operations_per_token;
    uint32_t kv_bytes_per_token;
};
/* kv_type: of keys and values, see tensor_attention.h. */
void model_layer_cost(
    const struct model *self, uint32_t index, uint32_t kv_type, struct model_layer_cost *ret_cost);

#endif
