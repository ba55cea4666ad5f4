/* A model cut into stages within one process: the hidden states go from stage to stage by pointer. */
#ifndef TINY_MESH_H
#define TINY_MESH_H

#include "stage.h"

struct base_error;
struct model;
struct tensor_pool;

#define TINY_MESH_STAGES_MAX 64

struct tiny_mesh {
    struct stage *stages[TINY_MESH_STAGES_MAX];
    uint32_t stage_count;
    struct tensor_pool *pool;
    size_t hidden_bytes; /* of one token */
};

struct tiny_mesh_options {
    uint64_t cuts; /* bit i: a new stage begins at layer i + 1 */
    uint32_t threads;
    uint32_t page_tokens;
    uint32_t page_count;
    uint32_t batch_tokens_max;
    uint32_t context_length; /* 0: the model's */
    bool fast_float;
    uint32_t kv_type;
};

/* Returns BASE_OK and fills *ret_mesh, which tiny_mesh_release() empties, or an error. The model
 * is borrowed until then. */
int tiny_mesh_init(struct model *model, const struct tiny_mesh_options *options,
    struct tiny_mesh *ret_mesh, struct base_error *err);
void tiny_mesh_release(struct tiny_mesh *self);

/* Runs a batch of token ids through all stages; ret_output is the last one's. */
int tiny_mesh_run(struct tiny_mesh *self, const struct stage_sequence *sequences,
    size_t sequence_count, const uint32_t *tokens, size_t token_count,
    struct stage_output *ret_output, struct base_error *err);

/* Logits of a FULL row. */
const float *tiny_mesh_logits(const struct stage_output *output, size_t row);

#endif
