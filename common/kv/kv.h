/*
 * Keys and values of past positions, in pages. A page holds page_tokens consecutive positions of
 * one sequence, in every layer of the stage; which page holds what is the caller's business (the
 * router hands out page ids). All of it is one mapping made at start: memory is touched when a
 * page is first written, and nothing is allocated afterwards.
 *
 * Layout per layer: [kv_head_count, page_count] pieces of one head as tensor_attention.h lays them
 * out. Threads go through the pages of one head, so neighbouring page ids share memory pages.
 *
 * Different threads may write different heads, or different positions, and read what was written
 * before. Up to 32 neighbouring positions of a head share cache lines: threads that write them at
 * the same time are slow.
 */
#ifndef KV_H
#define KV_H

#include "tensor_attention.h"
#include <stdint.h>

struct base_error;
struct kv;

/* Fixed for the lifetime. All at least 1, but for value_dim and type. */
struct kv_options {
    uint32_t layer_count;
    uint32_t kv_head_count;
    uint32_t head_dim;
    uint32_t page_tokens; /* power of two */
    uint32_t page_count;
    uint32_t type;      /* TENSOR_F32, TENSOR_F16, or TENSOR_Q8_0: see tensor_attention.h */
    uint32_t value_dim; /* of a value; 0: head_dim */
};

/* Bytes of address space, and of memory once every page is written. Returns BASE_OK, or
 * BASE_INVALID for a zero, a page_tokens that is no power of two, an unknown type, or a size
 * beyond size_t. */
int kv_bytes(const struct kv_options *options, uint64_t *ret_bytes, struct base_error *err);

/* Returns BASE_OK and a cache freed with kv_destroy(), or BASE_INVALID as kv_bytes(), or
 * BASE_NOMEM. New pages read as zero. */
int kv_new(const struct kv_options *options, struct kv **ret_kv, struct base_error *err);

/* Frees and nulls. Accepts a pointer to NULL. */
void kv_destroy(struct kv **self_p);

const struct kv_options *kv_get_options(const struct kv *self);

/*
 * Stores one position of one head: slot (position % page_tokens) of page.
 *   k [head_dim], v [value_dim] f32, borrowed
 */
void kv_write(struct kv *self, uint32_t layer, uint32_t kv_head, uint32_t page, uint32_t slot,
    const float *k, const float *v);

/* The same position back, as it was rounded when it was stored. */
void kv_read(const struct kv *self, uint32_t layer, uint32_t kv_head, uint32_t page, uint32_t slot,
    float *k, float *v);

/* What attention needs to read one head of a layer; the caller fills in pages, position_count,
 * scale and softcap. */
struct tensor_attention_cache kv_view(const struct kv *self, uint32_t layer, uint32_t kv_head);

#endif
