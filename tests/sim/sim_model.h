/*
 * A model whose arithmetic is hashing, with the data flow of a transformer: what a layer makes of
 * a position depends on its input, on what the same layer stored in the KV pages for the position
 * before, and on one more earlier position. A wrong page, a position that was left out, run twice
 * or run out of order changes every logit that follows. The result does not depend on where the
 * layers are cut.
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "wire_message.h"

#define SIM_LAYERS    6u
#define SIM_EMBEDDING 2u /* floats: the bits of one hash */

/* The KV pages of a contiguous range of layers. */
struct sim_kv {
    uint32_t layer_first, layer_count, page_count;
    uint64_t *states;    /* [layer_count, page_count, LIMIT_PAGE_TOKENS] */
    uint64_t *sequences; /* [page_count, LIMIT_PAGE_TOKENS] who wrote the slot last; 0: nobody */
    uint32_t *positions; /* [page_count, LIMIT_PAGE_TOKENS] and for which position */
};

/* noise: what uninitialised pages hold. Exits when memory fails: this is a test. */
void sim_kv_init(struct sim_kv *self, uint32_t layer_first, uint32_t layer_count,
    uint32_t page_count, uint64_t noise);
void sim_kv_release(struct sim_kv *self);

/*
 * Runs a step over the layers. input: u32 token ids when layer_first is 0, else hashes; output:
 * hashes [token_count]. Returns NULL, or what was wrong: a position run twice in this KV for one
 * sequence id.
 */
const char *sim_kv_run(
    struct sim_kv *self, const struct wire_step *step, const void *input, uint64_t *output);

/* Logit of a token after the last layer's hash; in [-8, 8). */
float sim_logit(uint64_t hash, uint32_t id);

/*
 * What a last stage returns for a step whose output is hashes: rows and payload, for the caller to
 * free with base_free(). rows has room for the step's tokens.
 */
void sim_result(const struct wire_step *step, const uint64_t *hashes, uint32_t vocab_size,
    struct wire_row_result *rows, size_t *ret_row_count, uint8_t **ret_payload,
    size_t *ret_payload_bytes);

/* A log of tokens without pages or stages: what the model makes of it, token by token. */
struct sim_log {
    uint64_t *states; /* [capacity, SIM_LAYERS] */
    uint32_t count, capacity;
};

/* Adds a token; returns the last layer's hash. Starts zeroed. */
uint64_t sim_log_push(struct sim_log *self, uint32_t token);
void sim_log_release(struct sim_log *self);

/* The last layer's hash after each token of a log. */
void sim_log_hashes(const uint32_t *tokens, uint32_t count, uint64_t *ret);

/* log(sum(exp(logit))) over the vocabulary. */
float sim_log_sum_exp(uint64_t hash, uint32_t vocab_size);

uint64_t sim_mix(uint64_t a, uint64_t b);

#endif
