/*
 * GGUF files for tests, written in memory: a small model of random weights of any family, with a
 * small tokenizer, and the low-level writer that hostile files are made with.
 */
#ifndef TINY_GGUF_H
#define TINY_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow. Allocation failure ends the test program. */
struct tiny_bytes {
    uint8_t *data; /* free with free() */
    size_t count;
    size_t capacity;
};

void tiny_put(struct tiny_bytes *self, const void *data, size_t bytes);
void tiny_put_u32(struct tiny_bytes *self, uint32_t value);
void tiny_put_u64(struct tiny_bytes *self, uint64_t value);
void tiny_put_string(struct tiny_bytes *self, const char *text); /* u64 length, bytes */

/* Magic, version and the two counts. */
void tiny_put_header(
    struct tiny_bytes *self, uint32_t version, uint64_t tensor_count, uint64_t entry_count);

/* Whole metadata pairs. */
void tiny_put_key(struct tiny_bytes *self, const char *key, uint32_t value_type);
void tiny_put_key_u32(struct tiny_bytes *self, const char *key, uint32_t value);
void tiny_put_key_f32(struct tiny_bytes *self, const char *key, float value);
void tiny_put_key_bool(struct tiny_bytes *self, const char *key, bool value);
void tiny_put_key_string(struct tiny_bytes *self, const char *key, const char *value);
/* Key and the start of an array; count elements must follow. */
void tiny_put_key_array(
    struct tiny_bytes *self, const char *key, uint32_t element_type, uint64_t count);

/* One row of the tensor table. */
void tiny_put_tensor(struct tiny_bytes *self, const char *name, uint32_t type,
    const uint64_t *dimensions, uint32_t dimension_count, uint64_t offset);

enum tiny_tokenizer {
    TINY_TOKENIZER_NONE = 0,
    TINY_TOKENIZER_SPM = 1, /* 0 <unk>, 1 <s>, 2 </s>, 3..258 bytes, then pieces */
    TINY_TOKENIZER_BPE = 2, /* 0..255 bytes in gpt2's letters, then merges, <|im_*|>, llama-bpe */
};
#define TINY_TOKENIZER_VOCAB 320 /* tokens of either; vocab_size below it is raised to it */

/* Names that families go by here, up to NULL: architectures, and variants ("mixtral", "phi3-long"). */
extern const char *const tiny_gguf_families[];

/* A zero field takes the default in brackets. */
struct tiny_gguf_options {
    uint64_t seed;
    const char *family;        /* [llama] one of tiny_gguf_families */
    uint32_t weight_type;      /* GGUF's id, [F32] */
    uint32_t layer_count;      /* [2] */
    uint32_t embedding_length; /* [64] multiple of 32 */
    uint32_t feed_forward;     /* [96] multiple of 32 */
    uint32_t head_count;       /* [4] */
    uint32_t kv_head_count;    /* [2] */
    uint32_t head_dim;         /* [embedding_length / head_count] */
    uint32_t vocab_size;       /* [64] */
    uint32_t context_length;   /* [256] */
    uint32_t expert_count;     /* [4] where the family has experts */
    float weight_limit;        /* [0.2] about the largest weight of a layer's matrices */
    float rope_scaling_factor; /* linear scaling, when not 0 */
    bool tied;
    bool rope_factors; /* rope_freqs.weight */
    bool biases;       /* on q, k, v and the attention output, if the family has none itself */
    enum tiny_tokenizer tokenizer;
    const char *extra_key;  /* one more metadata pair, or NULL */
    const char *extra_text; /* its value; NULL: extra_value */
    uint32_t extra_value;
};

/* The file in memory; free with free(). The same options give the same bytes. */
uint8_t *tiny_gguf_build(const struct tiny_gguf_options *options, size_t *ret_bytes);

/* Writes it. Returns 0, or -1 with errno. */
int tiny_gguf_write(const struct tiny_gguf_options *options, const char *path);

#endif
