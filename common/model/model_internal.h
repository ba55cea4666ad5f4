/* Shared by the files of model/ only. */
#ifndef MODEL_INTERNAL_H
#define MODEL_INTERNAL_H

#include "model.h"

struct model {
    struct gguf *file;
    struct model_config config;
    struct model_layer_tensors *layers;
    const struct gguf_tensor *token_embedding;
    const struct gguf_tensor *output_norm;
    const struct gguf_tensor *output; /* token_embedding when tied */
    const struct gguf_tensor *rope_factors;
};

/* NULL when the name is of no row. */
const struct model_family *model_family_find(const char *name, size_t bytes);
/* "llama, qwen2": for messages. */
void model_family_names(char *ret_text, size_t bytes);

/* Fills config from metadata, all but what the tensors say (vocab_size, tied_output). */
int model_read_config(struct model *self, struct base_error *err);

/* Fills layers and the other tensors, and checks shapes and types. config must be read. */
int model_bind_tensors(struct model *self, struct base_error *err);

#endif
