/* Shared by the files of model/ only. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include <inttypes.h>

#define MODEL_KEY_BYTES 96
#define MODEL_REQUIRED  UINT32_MAX /* in place of a default */
#define MODEL_SIZE_MAX  (1u << 24) /* of one dimension; keeps products within 64 bits */

struct model {
    struct gguf *file;
    struct model_config config;
    struct model_layer *layers; /* [layer_count + 2], by pseudo-layer */
};

#define model_fail_key(self, code, key, format, ...)                                               \
    base_error_set(err, code, "%s: byte %" PRIu64 ": %s: " format,                                 \
        gguf_path_tail(gguf_path((self)->file)), gguf_key_offset((self)->file, key), key,          \
        __VA_ARGS__)

/* NULL when the name is of no row. */
const struct model_family *model_family_find(const char *name, size_t bytes);
/* "llama, qwen2": for messages. */
void model_family_names(char *ret_text, size_t bytes);

/* model_key.c. Keys without their family: "rope.freq_base". */
void model_key(const struct model *self, const char *name, char ret_key[MODEL_KEY_BYTES]);
/* An integer within 1..max, or its default when absent. */
int model_read_size(const struct model *self, const char *name, uint32_t otherwise, uint32_t max,
    uint32_t *ret_value, struct base_error *err);
/* The same, but 0 is a value, and the default. */
int model_read_count(const struct model *self, const char *name, uint32_t max, uint32_t *ret_value,
    struct base_error *err);
/* For every layer: one number for all, or an array of them. 0..max. */
int model_read_sizes(const struct model *self, const char *name, uint32_t otherwise, uint32_t max,
    uint32_t *ret_values, struct base_error *err);
/* A finite float above min, or *value as it was when absent. */
int model_read_float(
    const struct model *self, const char *name, float min, float *value, struct base_error *err);
/* *value as it was when absent. */
int model_read_bool(
    const struct model *self, const char *name, bool *value, struct base_error *err);

/* Fills config from metadata, all but what the tensors say (vocab_size, tied_output), and what
 * metadata says of each layer. Allocates layers. */
int model_read_config(struct model *self, struct base_error *err);
/* model_rope.c: ropes and which layer has which; windows. */
int model_read_ropes(struct model *self, struct base_error *err);

/* Fills the parts of all layers, and checks shapes and types. config must be read. */
int model_bind_tensors(struct model *self, struct base_error *err);

#endif
