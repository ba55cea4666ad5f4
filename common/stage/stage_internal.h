/* Shared by the files of stage/ only. */
#ifndef STAGE_INTERNAL_H
#define STAGE_INTERNAL_H

#include "model.h"
#include "stage.h"
#include <stdatomic.h>

struct gguf_tensor;
struct kv;
struct tensor_attention_layout;
struct tensor_input;
struct tensor_matrix;

#define STAGE_THREADS_MAX 256 /* of a pool */
#define STAGE_HEAD_ROWS   32  /* rows of logits computed at a time */

/* What is loaded and shared as one: a block, the embedding (pseudo-layer 0) or the head
 * (layer_count + 1). Immutable once loaded. */
struct stage_unit {
    atomic_uint references;
    const struct model *model; /* identity: units of one model are interchangeable */
    uint32_t index;            /* pseudo-layer, see model_layer_cost() */
    bool fast_float;
    uint32_t expert_count;
    /* By model_matrix and model_vector, experts behind them; NULL: the model has none. */
    struct tensor_matrix **matrices;
    float **vectors;
    /* The packed weights lie in one piece: memory of our own, or a mapping of a pack cache.
     * Neither with fast_float. */
    uint8_t *memory;        /* owned */
    const uint8_t *mapping; /* read-only */
    size_t bytes;           /* of either */
};

/*
 * What one layer's attention does, beside the products. Every sum and maximum runs over the
 * positions that a query sees, in ascending order.
 */
struct stage_attention {
    float scale;        /* of q . k */
    float softcap;      /* s = softcap * tanh(s / softcap), before the mask; 0: none */
    uint32_t window;    /* positions seen including its own; 0: all. Not causal: those at most
                         * window / 2 away */
    bool causal;        /* false: every position of the sequence that is in the cache after this
                         * batch's keys and values were written */
    const float *sinks; /* [head_count] one more logit in each softmax's denominator; or NULL */
};

/* One token of the batch being run. */
struct stage_token {
    const struct stage_sequence *sequence;
    uint32_t position;
    float temperature; /* queries are multiplied by it */
};

/* Neighbouring query rows of one sequence, of any one head that holds keys: row r is head r % group
 * of token r / group, group = head_count / kv_head_count. */
struct stage_attention_block {
    const struct stage_sequence *sequence;
    uint32_t token; /* of the batch, the first of the sequence */
    uint32_t row_first;
    uint32_t row_count;
    uint32_t split_first; /* of the context, as tensor_attention.h cuts it */
    uint32_t split_count;
    uint32_t slot; /* of its partial results */
};

/* Activations. T: batch_tokens_max; all row-major, f32, fastest dimension last. */
struct stage_buffers {
    float *x;                 /* [T, embedding_length] the residual stream */
    float *normed;            /* [T, embedding_length] */
    float *projected;         /* [T, embedding_length] */
    float *q;                 /* [T, head_count, head_dim] */
    float *k;                 /* [T, kv_head_count, head_dim] */
    float *v;                 /* [T, kv_head_count, head_dim] */
    float *attention;         /* [T, head_count, head_dim] */
    float *gate;              /* [T, feed_forward_length] */
    float *up;                /* [T, feed_forward_length] */
    float *cos_sin;           /* [rope_count, T, rotary_dim / 2, 2] */
    float *partials;          /* [stage_attention_slots()] states, see tensor_attention.h */
    float *attention_scratch; /* [STAGE_THREADS_MAX]; touched by the threads there are */
    struct stage_attention_block *attention_blocks; /* [stage_attention_blocks_max()] */
    float *logits;    /* [STAGE_HEAD_ROWS, vocab_size]; last stage only */
    uint8_t *payload; /* last stage only */
    struct stage_row *rows;
    struct stage_token *tokens;

    /* Experts, where the model has them. E: expert_count, U: expert_used_count. */
    float *router;           /* [T, E] logits, then weights before they are chosen */
    uint32_t *chosen;        /* [T, U] experts of a token, the heaviest first */
    float *chosen_weights;   /* [T, U] */
    float *chosen_logits;    /* [T, U] */
    uint32_t *expert_first;  /* [E + 1] where an expert's tokens begin in expert_tokens */
    uint32_t *expert_tokens; /* [T * U] index into chosen: token * U + place */
    float *expert_input;     /* [T, embedding_length] rows of normed that one expert takes */
    float *expert_output;    /* [T, embedding_length] */
};

struct stage {
    const struct model *model;
    const struct model_config *config;
    struct stage_options options;
    struct stage_unit **blocks; /* [options.layer_count] */
    struct stage_unit *embedding;
    struct stage_unit *head;
    struct kv *kv;
    float *frequencies; /* [rope_count, rotary_dim / 2] radians per position */
    struct stage_buffers buffers;
    uint8_t *memory; /* that the buffers are cut from */
    size_t payload_bytes_max;
    struct tensor_input *input;
};

/* stage_unit.c */
uint64_t stage_unit_bytes(const struct model *model, uint32_t index, bool fast_float);
struct stage_unit *stage_unit_share(struct stage_unit *unit);
/* Drops one reference and nulls. Accepts a pointer to NULL. */
void stage_unit_release(struct stage_unit **unit_p);

/* Counts bytes as they are packed. */
struct stage_load_progress {
    stage_progress_fn *progress; /* or NULL */
    void *context;
    uint64_t bytes_done;
    uint64_t bytes_total;
    const char *pack_cache;   /* or NULL, as in stage_options */
    bool map_weights;         /* as in stage_options */
    struct tensor_pool *pool; /* the loader's own; or NULL */
};
int stage_unit_load(const struct model *model, uint32_t index, bool fast_float,
    struct stage_load_progress *progress, struct stage_unit **ret_unit, struct base_error *err);
/* A vector as f32, [part->count]; freed with base_free(). */
int stage_load_vector(const struct model *model, const struct model_part *part, float **ret_vector,
    struct base_error *err);

/* For weights that are mapped: reads ahead, or lets go behind. Nothing for others. */
void stage_unit_advise(const struct stage_unit *unit, bool will_need);

/* stage_check.c */
int stage_check_options(
    const struct model *model, const struct stage_options *options, struct base_error *err);
/* Whole batch against the stage. Fills *ret_token_count. */
int stage_check_batch(const struct stage *self, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    uint32_t *ret_token_count, struct base_error *err);
/* Payload bytes of one row. */
size_t stage_row_bytes(const struct stage *self, enum stage_logits logits, uint32_t top_count);
/* Whether rows of every token are asked for, not of the last one only. */
bool stage_wants_all(enum stage_logits logits);

/* stage_run.c: context of the pool functions of one run. */
struct stage_run_context {
    struct stage *stage;
    struct tensor_pool *pool;
    const struct stage_unit *block;
    const struct model_layer *description;   /* of block */
    const struct stage_attention *attention; /* of this layer */
    uint32_t layer;                          /* of the stage's own blocks, for the cache */
    uint32_t token_count;
    size_t row_first; /* of the head's chunk */
    size_t row_count;
};
typedef void stage_token_fn(struct stage_run_context *run, uint32_t token);
/* fn on every token, spread over the pool when there is enough to do. */
void stage_for_tokens(struct stage_run_context *run, size_t values_per_token, stage_token_fn *fn);

/* Prepares x [count, columns] for products with up to three matrices. */
void stage_prepare(struct stage_run_context *run, const float *x, size_t count,
    const struct tensor_matrix *a, const struct tensor_matrix *b, const struct tensor_matrix *c);

/* y [count, rows of w] = the prepared input times w. */
void stage_multiply(struct stage_run_context *run, const struct tensor_matrix *w, float *y);
/* y = the family's norm of x [embedding_length], as unit has it; y may be x. */
void stage_norm(const struct stage *self, const struct stage_unit *unit, enum model_vector which,
    const float *x, float *y);

/* stage_block.c: one block on buffers.x. */
void stage_run_block(struct stage_run_context *run);

/* stage_feed_forward.c: from buffers.normed, or x where there is no norm, into projected. */
void stage_feed_forward(struct stage_run_context *run, const float *x);
/* gate [count] = activation(gate, up), biases added before (NULL: there are none). */
void stage_activate(const struct model_config *config, float *gate, float *up, size_t count,
    const float *gate_bias, const float *up_bias);
/* stage_experts.c: the same, each token through its experts. */
void stage_experts(struct stage_run_context *run, const float *x);

/* stage_rope.c */
int stage_rope_init(struct stage *self, struct base_error *err);
void stage_rope_angles(struct stage_run_context *run, uint32_t token);
/* Of a token, for the rope of the layer at hand: [rotary_dim / 2, 2]. */
const float *stage_rope_token(const struct stage_run_context *run, uint32_t token);

/* stage_attention.c: stores buffers.k and v of the whole batch in the cache, then attention of all
 * tokens from buffers.q and the cache into buffers.attention, as run->attention says. */
void stage_attention(struct stage_run_context *run);
/* For the buffers: how many of each. */
uint32_t stage_attention_blocks_max(const struct model_config *config, uint32_t tokens);
uint32_t stage_attention_slots(
    const struct model_config *config, const struct stage_options *options);
size_t stage_attention_scratch_floats(const struct tensor_attention_layout *layout);

/* stage_head.c: norm, head and reduction of the wanted rows. */
void stage_run_head(struct stage_run_context *run, const struct stage_sequence *sequences,
    size_t sequence_count, struct stage_output *ret_output);

#endif
