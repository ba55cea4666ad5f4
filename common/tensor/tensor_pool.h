/*
 * A fixed set of compute threads. One caller at a time runs one function on all of them
 * (the caller is thread 0) and returns when all are done. Between calls the others wait
 * without spinning for long.
 */
#ifndef TENSOR_POOL_H
#define TENSOR_POOL_H

#include <stdint.h>

struct tensor_pool;

/* thread_count 1..256. Returns BASE_OK, BASE_INVALID, BASE_NOMEM or BASE_IO. */
int tensor_pool_new(uint32_t thread_count, struct tensor_pool **ret_pool);
void tensor_pool_destroy(struct tensor_pool **self_p);
uint32_t tensor_pool_threads(const struct tensor_pool *self);

/* Cores this process may use: affinity mask, capped by the cgroup cpu quota (v1 or v2), >= 1. */
uint32_t tensor_pool_default_threads(void);

typedef void tensor_pool_fn(void *context, uint32_t thread_index, uint32_t thread_count);
void tensor_pool_run(struct tensor_pool *self, tensor_pool_fn *fn, void *context);

#endif
