/*
 * Keys and values of past positions, in pages. A page holds page_tokens consecutive positions of
 * one sequence, in every layer of the stage; which page holds what is the caller's business (the
 * router hands out page ids). All of it is one mapping made at start: memory is touched when a
 * page is first written, and nothing is allocated afterwards.
 *
 * Layout per layer: keys [page_count, kv_head_count, page_tokens, head_dim] f32, then values
 * likewise, so that one head's positions of a page are contiguous.
 *
 * Different threads may write different positions and read what was written before.
 */
#ifndef KV_H
#define KV_H

#include <stdint.h>

struct base_error;
struct kv;

/* Fixed for the lifetime. All at least 1. */
struct kv_options {
    uint32_t layer_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
    uint32_t page_tokens; /* power of two */
    uint32_t page_count;
};

/* Bytes of address space, and of memory once every page is written. Returns BASE_OK, or
 * BASE_INVALID for a zero, a page_tokens that is no power of two, or a size beyond size_t. */
int kv_bytes(const struct kv_options *options, uint64_t *ret_bytes, struct base_error *err);

/* Returns BASE_OK and a cache freed with kv_destroy(), or BASE_INVALID as kv_bytes(), or
 * BASE_NOMEM. New pages read as zero. */
int kv_new(const struct kv_options *options, struct kv **ret_kv, struct base_error *err);

/* Frees and nulls. Accepts a pointer to NULL. */
void kv_destroy(struct kv **self_p);

const struct kv_options *kv_get_options(const struct kv *self);

/*
 * Stores one position: slot (position % page_tokens) of page.
 *   k, v  [kv_head_count, head_dim] f32, borrowed
 */
void kv_write(
    struct kv *self, uint32_t layer, uint32_t page, uint32_t slot, const float *k, const float *v);

/* [page_tokens, head_dim] f32 of one head in a page; row i is the position in slot i. */
const float *kv_keys(const struct kv *self, uint32_t layer, uint32_t page, uint32_t kv_head);
const float *kv_values(const struct kv *self, uint32_t layer, uint32_t page, uint32_t kv_head);

#endif
