/* Shared by the files of hf/ only. */
#ifndef HF_INTERNAL_H
#define HF_INTERNAL_H

#include "hf.h"
#include "hf_json.h"
#include "hf_safetensors.h"

#include "gguf.h"

struct gguf_builder;

/* How the tensors of a family are named and what becomes of them. */
enum hf_style {
    HF_STYLE_DECODER, /* llama's names: the plain pre-norm decoder */
    HF_STYLE_GEMMA,   /* four norms a layer, stored less one */
    HF_STYLE_POST,    /* olmo2: norms behind the sub-layers only */
    HF_STYLE_GPT_OSS, /* second norm is post_attention_norm; fused experts */
    HF_STYLE_BERT,
};

/* A family: a row of hf_family.c. Numbers are what config.json leaves out when it means them
 * (transformers' own defaults); 0: it must say. */
struct hf_family {
    const char *model_type; /* config.json's */
    const char *gguf;       /* general.architecture */
    enum hf_style style;
    bool rope_adjacent; /* GGUF wants rows of q and k permuted */
    bool tied;          /* tie_word_embeddings when not said */
    bool layer_norm;
    const char *activation; /* the one hidden_act that the forward pass has */
    uint32_t kv_head_count; /* 0: as many as heads */
    uint32_t head_dim;      /* 0: hidden_size / heads */
    uint32_t window;        /* sliding_window; 0: none */
    uint32_t window_period; /* every how manieth layer is global; 0: none */
    double norm_epsilon;
    double rope_theta;
    double partial_rotary; /* 0: 1 */
    double attention_softcap, logit_softcap;
    uint32_t query_scalar; /* query_pre_attn_scalar; 0: there is no such thing */
    /* Of text parts of multimodal models, whose configs say little. */
    uint32_t hidden_size, intermediate_size, layer_count, head_count, max_positions;
};

/* Finds the row for a config. Returns BASE_OK, BASE_MALFORMED or BASE_UNSUPPORTED (with the list
 * of what is supported). */
int hf_family_find(
    const struct hf_object *config, const struct hf_family **ret_family, struct base_error *err);

/* config.json understood, as far as tensors need it. */
struct hf_config {
    const struct hf_family *family;
    uint32_t hidden_size, layer_count, head_count, kv_head_count, head_dim, rotary_dim;
    uint32_t intermediate_size, max_positions, expert_count;
    bool tied;
    bool classifier; /* a head of classes on top */
    /* Tensors that only config.json has: [rotary_dim / 2] f32 each, owned; NULL: none. */
    float *rope_factors;      /* rope_freqs.weight */
    float *rope_long_factors; /* rope_factors_long.weight */
    float *rope_short_factors;
};

/* Reads config.json's object into *ret_config and adds all metadata of the architecture. What
 * ret_config holds is freed with hf_config_release(), after failure too. */
int hf_read_config(const json_t *root, struct gguf_builder *builder, struct hf_config *ret_config,
    struct base_error *err);
void hf_config_release(struct hf_config *self);

/* hf_rope.c: rope keys, and the factors of config. object is the (text) config. */
int hf_read_rope(
    const struct hf_object *object, struct gguf_builder *builder, struct hf_config *config);

/* How the rows of one GGUF tensor are made. */
enum hf_operation {
    HF_ROWS,      /* rows of the source, in another order where permuted */
    HF_ROWS_F32,  /* the same, as f32, plus addend */
    HF_TRANSPOSE, /* source [expert, in, out]: row r is column first + r * step, as f32 or as is */
    HF_SLICE,     /* source [expert, rows, in]: its rows first + r */
    HF_ELEMENTS,  /* source [rows, n]: elements first + i * step of each row, as f32 */
    HF_MXFP4,     /* source blocks [expert, out, in/32, 16] and scales: row first + r * step */
    HF_COMPUTED,  /* f32 in memory */
};

struct hf_output {
    char name[64];
    uint32_t type; /* of GGUF */
    uint32_t dimension_count;
    uint64_t dimensions[GGUF_DIMENSIONS_MAX];
    enum hf_operation operation;
    uint32_t heads; /* of a permutation; 0: none */
    uint32_t first, step;
    float addend;
    /* One for each index of the slowest dimension (experts), or one for all. */
    const struct hf_tensor **sources; /* [source_count], owned */
    size_t source_count;
    const struct hf_tensor *scales; /* of HF_MXFP4 */
    const float *computed;          /* of HF_COMPUTED; borrowed from the config */
    uint32_t layer;                 /* for the order: 0 ends, block + 1, UINT32_MAX last */
};

struct hf_outputs {
    struct hf_output *items;
    size_t count;
    size_t capacity;
};

/* hf_tensors.c: the GGUF tensors of a model, in the order of layers. Refuses a weight that no name
 * fits. Freed with hf_outputs_release(), after failure too. */
int hf_map_tensors(const struct hf_weights *weights, const struct hf_config *config,
    struct hf_outputs *ret_outputs, struct base_error *err);
void hf_outputs_release(struct hf_outputs *self);

/* hf_rows.c: as gguf_read_rows(); the rows exist. */
int hf_read_rows(const struct hf_output *output, uint64_t row_first, uint64_t row_count,
    uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err);

/* hf_tokenizer.c: tokenizer keys from what files the folder has. config is config.json. */
int hf_read_tokenizer(
    const char *folder, const json_t *config, struct gguf_builder *builder, struct base_error *err);

/* hf_sentencepiece.c: tokens, scores and types from a tokenizer.model. */
int hf_read_sentencepiece(
    const uint8_t *data, size_t bytes, struct gguf_builder *builder, struct base_error *err);

#endif
