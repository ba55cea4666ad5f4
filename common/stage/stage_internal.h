/* Shared by the files of stage/ only. */
#ifndef STAGE_INTERNAL_H
#define STAGE_INTERNAL_H

#include "model.h"
#include "stage.h"
#include "tensor_attention.h"
#include "tensor_matrix.h"
#include <stdatomic.h>

struct gguf_tensor;
struct kv;

#define STAGE_THREADS_MAX          256 /* of a pool */
#define STAGE_HEAD_ROWS            32  /* rows of logits computed at a time */
#define STAGE_ATTENTION_BLOCK_ROWS (4 * TENSOR_ATTENTION_ROWS) /* of a stage_attention_block */

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
    float *cos_sin;           /* [rope_count, T, 2, rotary_dim] */
    float *partials;          /* [stage_attention_slots()] states, see tensor_attention.h */
    float *attention_scratch; /* [STAGE_THREADS_MAX]; touched by the threads there are, as own */
    float *own; /* [STAGE_THREADS_MAX, 2, embedding_length] x and normed of a single token */
    struct stage_attention_block *attention_blocks; /* [stage_attention_blocks_max()] */
    float *logits;    /* [STAGE_HEAD_ROWS, vocab_size]; last stage only */
    uint8_t *payload; /* last stage only */
    struct stage_row *rows;
    uint32_t *row_tokens; /* [T] of the batch, by row */
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

/* How one layer's attention is cut into tasks. Made by one thread, read by all. */
struct stage_attention_plan {
    bool made;       /* in this run */
    uint32_t window; /* that it was made for */
    uint32_t block_count;
    uint32_t slot_count;
    bool whole_tokens; /* no block has only some of the heads of a token */
    bool by_split;     /* splits are tasks, and results are merged afterwards */
    uint32_t task_count;
    atomic_uint next_task;
};

struct stage {
    const struct model *model;
    const struct model_config *config;
    struct stage_options options;
    struct stage_unit **blocks; /* [options.layer_count] */
    struct stage_unit *embedding;
    struct stage_unit *head;
    uint64_t products_per_token; /* multiplications with weights of the blocks */
    struct kv *kv;
    float *frequencies; /* [rope_count, rotary_dim / 2] radians per position */
    struct stage_buffers buffers;
    uint8_t *memory; /* that the buffers are cut from */
    size_t payload_bytes_max;
    /* Activations prepared for products: of embedding_length columns, and of others. What reads
     * one of them may write the other. */
    struct tensor_input *outer;
    struct tensor_input *inner;
    struct stage_attention_plan attention_plan;
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

/*
 * One thread's view of a run. All threads walk through the same phases, each with a view of its
 * own; a phase is split by what its values depend on, and a barrier stands where it reads what
 * other threads wrote.
 *
 * A single token cannot be split: each thread then has a residual stream of its own, computes all
 * of its norms and prepares all of its activations itself, so that no thread waits for another.
 */
struct stage_run_context {
    struct stage *stage;
    struct tensor_pool *pool; /* that all threads are in; NULL: there is one */
    uint32_t thread_index;
    uint32_t thread_count;
    uint32_t token_count;
    size_t row_count; /* wanted from the head */
    bool own;         /* a single token, and each thread has x, normed and outer of its own */
    float *x;         /* [token_count, embedding_length], as normed */
    float *normed;
    uint32_t layer;                        /* of the stage's own blocks, for the cache */
    const struct stage_unit *block;        /* of this layer */
    const struct stage_unit *previous;     /* whose feed-forward is yet to be added to x; or NULL */
    const struct model_layer *description; /* of block */
    struct stage_attention attention;      /* of block */
    struct tensor_activations outer;       /* of embedding_length columns, from x or normed */
    struct tensor_activations inner;       /* between the two products of a sub-layer */
};

/* stage_share.c: a thread's share of a phase. None of these waits for others. */

/* [*first, *last) of count items. */
void stage_split(
    const struct stage_run_context *run, size_t count, size_t *ret_first, size_t *ret_last);
/* Returns when all threads are here, and have written what they wrote before. */
void stage_barrier(const struct stage_run_context *run);

/* fn on this thread's tokens; where threads have x of their own, on the single token. */
typedef void stage_token_fn(struct stage_run_context *run, uint32_t token);
void stage_for_tokens(struct stage_run_context *run, stage_token_fn *fn);
/* A barrier, if others need what stage_for_tokens() wrote. */
void stage_tokens_done(const struct stage_run_context *run);

/* Forms that a matrix wants; NULL: none. */
uint32_t stage_forms(const struct tensor_matrix *w);
/* Columns in which activations of these forms can be prepared piece by piece. */
size_t stage_form_unit(uint32_t forms);
/* Activations of embedding_length columns for these forms, this thread's own if it has any. */
void stage_set_outer(
    struct stage_run_context *run, const float *x, size_t token_count, uint32_t forms);
void stage_set_inner(struct stage_run_context *run, const float *x, size_t token_count,
    size_t column_count, uint32_t forms);
/* This thread's part of all tokens and columns. */
void stage_prepare(const struct stage_run_context *run, const struct tensor_activations *x);

/* y [token_count, rows of w] = x times w. */
struct stage_product {
    const struct tensor_matrix *w;
    float *y;
};
/* This thread's rows of several products with the same activations, as if they were one. */
void stage_multiply(const struct stage_run_context *run, const struct stage_product *products,
    size_t product_count, const struct tensor_activations *x);

/* stage_embed.c: input [token_count] ids or rows into x, and the angles of the rope. */
void stage_embed(struct stage_run_context *run, const uint8_t *input);

/* stage_norm.c */
/* y = the family's norm of x [embedding_length], as unit has it; y may be x. */
void stage_norm(const struct stage *self, const struct stage_unit *unit, enum model_vector which,
    const float *x, float *y);
/* x += scale * norm(projected + bias), then the norm of the sum, as far as unit has them. */
enum stage_branch { STAGE_BRANCH_ATTENTION = 0, STAGE_BRANCH_FEED_FORWARD };
void stage_add_branch(struct stage_run_context *run, const struct stage_unit *unit,
    enum stage_branch branch, uint32_t token);

/* stage_block.c: one block on x, but for the last sum: what its feed-forward adds is in
 * buffers.projected, and the next block or stage_end_blocks() adds it. */
void stage_run_block(struct stage_run_context *run);
void stage_end_blocks(struct stage_run_context *run);

/* stage_feed_forward.c: of one expert, or of all tokens. */
struct stage_gate {
    const struct tensor_matrix *gate; /* NULL: there is none */
    const struct tensor_matrix *up;
    const struct tensor_matrix *down; /* for its forms */
    const float *gate_bias;           /* NULL: there is none, as below */
    const float *up_bias;
    size_t length; /* rows of gate and up */
};
/* inner = activation(outer times gate, outer times up), prepared. */
void stage_run_gate(struct stage_run_context *run, const struct stage_gate *gate);
/* From outer into projected, with a barrier before and none behind. */
void stage_feed_forward(struct stage_run_context *run);
/* stage_experts.c: the same, each token through its experts. x: what outer was prepared from. */
void stage_experts(struct stage_run_context *run, const float *x);

/* stage_rope.c */
int stage_rope_init(struct stage *self, struct base_error *err);
void stage_rope_angles(struct stage_run_context *run, uint32_t token);
/* Of a token, for the rope of the layer at hand: [2, rotary_dim]. */
const float *stage_rope_token(const struct stage_run_context *run, uint32_t token);

/* stage_heads.c: buffers.q, k and v out of outer: products, biases, norms, rotation; keys and
 * values of the whole batch are stored in the cache. */
void stage_run_heads(struct stage_run_context *run);

/* stage_attention_plan.c: cuts the layer's attention into tasks; by one thread, while no other is
 * in stage_attention(). */
void stage_attention_make_plan(const struct stage_run_context *run);
/* One row of a block: its query and the positions that it sees. */
struct tensor_attention_row stage_attention_row(const struct stage_run_context *run,
    const struct stage_attention_block *block, uint32_t kv_head, uint32_t index);

/* stage_attention.c: attention of all tokens from buffers.q and the cache into buffers.attention,
 * prepared for products with w as inner. */
void stage_attention(struct stage_run_context *run, const struct tensor_matrix *w);
/* For the buffers: how many of each. */
uint32_t stage_attention_blocks_max(const struct model_config *config, uint32_t tokens);
uint32_t stage_attention_slots(
    const struct model_config *config, const struct stage_options *options);
size_t stage_attention_scratch_floats(const struct tensor_attention_layout *layout);

/* stage_head.c */
/* Lists the wanted rows in buffers.rows. Returns how many there are and their payload. */
size_t stage_list_rows(struct stage *self, const struct stage_sequence *sequences,
    size_t sequence_count, size_t *ret_payload_bytes);
/* Norm, head and reduction of the wanted rows. */
void stage_run_head(struct stage_run_context *run);

#endif
