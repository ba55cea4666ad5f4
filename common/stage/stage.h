/*
 * A stage: a contiguous range of a model's layers, loaded and ready to run. The weights are
 * immutable and shared by reference count between stages; the KV pages belong to one stage.
 * Knows no sockets, epochs or requests.
 *
 * Bit-identity: what a token's row comes out as depends on the tokens of its sequence only. Not
 * on batch neighbours, chunking of the prompt, threads, page ids, or where the model was cut.
 */
#ifndef STAGE_H
#define STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct model;
struct stage;
struct tensor_pool;

struct stage_options {
    uint32_t layer_first;      /* first block */
    uint32_t layer_count;      /* blocks, >= 1 */
    bool embeds;               /* first stage: input is token ids */
    bool has_head;             /* last stage: output is rows */
    uint32_t page_tokens;      /* positions per KV page, power of two */
    uint32_t page_count;       /* KV pages; memory is touched when first written */
    uint32_t batch_tokens_max; /* 1..LIMIT_BATCH_TOKENS_MAX */
    uint32_t context_length;   /* positions per sequence */
    uint32_t kv_type;          /* of keys and values: TENSOR_F32, TENSOR_F16, or TENSOR_Q8_0 (int8);
                                * part of what tokens depend on */
    const char *pack_cache; /* folder of packed weights, see stage_pack.h, borrowed while the stage
                                * lives; NULL: none */
    bool map_weights;       /* weights found there are mapped, and read again when memory is short,
                                * rather than copied to memory; for models larger than that */
    bool fast_float;        /* see tensor_matrix.h: gives up bit-identity */
};

/* Called between load units from the loading thread; progress 0..1. Return false to give up. */
typedef bool stage_progress_fn(void *context, double progress);

/*
 * Loads the range from model (a borrowed open model, see model.h; it must outlive the stage).
 * Layers that previous (may be NULL) already holds are shared, not read again. Packing runs on
 * threads of its own, so a serving pool is not disturbed. Returns BASE_OK and a stage freed
 * with stage_destroy(), or BASE_INVALID (options), BASE_NOMEM, BASE_MALFORMED, BASE_CANCELLED.
 * options: context_length is at most the model's, embeds needs the first block, has_head the last.
 */
int stage_load(struct model *model, const struct stage_options *options,
    const struct stage *previous, stage_progress_fn *progress, void *progress_context,
    struct stage **ret_stage, struct base_error *err);
void stage_destroy(struct stage **self_p);

/* What a stage of these options would hold, in bytes, before loading it. KV memory counts all
 * pages, activations as many threads as tensor_pool_default_threads(). Returns BASE_OK or
 * BASE_INVALID. */
int stage_cost(const struct model *model, const struct stage_options *options,
    uint64_t *ret_weight_bytes, uint64_t *ret_kv_bytes, uint64_t *ret_activation_bytes);

enum stage_logits {
    STAGE_LOGITS_NONE = 0,
    STAGE_LOGITS_TOP = 1,
    STAGE_LOGITS_FULL = 2,
    STAGE_LOGITS_FULL_ALL = 3,
    STAGE_HIDDEN_ALL = 4, /* no logits: every token's state behind the output norm */
};

/* One sequence's part of a batch. */
struct stage_sequence {
    uint32_t first_position;
    uint32_t token_count;     /* >= 1 */
    const uint32_t *pages;    /* page ids; page i holds positions [i * page_tokens, ...) */
    size_t page_count;        /* covers first_position + token_count */
    enum stage_logits logits; /* of the last token; *_ALL: of every token */
    uint32_t top_count;       /* for TOP: 1..min(vocab_size, LIMIT_TOP_LOGITS_MAX) */
    uint32_t second_text;     /* encoders: position where a pair's second text begins; 0: none */
};

/* One row out. */
struct stage_row {
    uint32_t sequence; /* index into the batch */
    uint32_t position;
    enum stage_logits logits; /* TOP, FULL or HIDDEN_ALL */
    uint32_t count;           /* candidates, vocabulary size, or embedding length */
    float log_sum_exp;        /* of logits */
    size_t offset;            /* of this row's payload in stage_output.payload, in bytes */
};

/* Memory of the stage, valid until its next run. */
struct stage_output {
    const float *hidden; /* [token_count, embedding_length] f32 when the stage has no head */
    const struct stage_row *rows;
    size_t row_count;
    const uint8_t *payload; /* TOP: u32 ids [count], f32 logits [count]; others: f32 [count] */
    size_t payload_bytes;
};

/*
 * Runs a batch and appends its K and V to the pages. Earlier positions of each sequence must
 * have been run through this stage with the same pages.
 *   tokens  [token_count] u32, when the stage embeds (each < vocab_size, checked)
 *   hidden  [token_count, embedding_length] f32, otherwise; any alignment
 * Returns BASE_OK, or BASE_INVALID with *err naming the sequence and field when the batch does
 * not fit the stage (positions, pages, token ids, counts): nothing was run.
 * Models without a head (encoders) give HIDDEN_ALL rows only, and take each sequence whole: in
 * one batch, from position 0.
 * All rows of a batch together are at most LIMIT_TENSOR_BYTES of payload; more is BASE_INVALID.
 * One thread at a time; the pool's threads do the work (NULL: the caller alone).
 */
int stage_run(struct stage *self, struct tensor_pool *pool, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    struct stage_output *ret_output, struct base_error *err);

const struct stage_options *stage_get_options(const struct stage *self);

#endif
