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

/* For the thread that will call tensor_pool_run() and make no threads: where the pool has a thread
 * for each core that the caller may use, pins each of them, and the caller, to a core of its own.
 * With fewer threads others share the cores, and the system places threads better: nothing is
 * done then. Advice: nothing to do about failure. */
void tensor_pool_pin(struct tensor_pool *self);

/* Cores this process may use: affinity mask, capped by the cgroup cpu quota (v1 or v2), >= 1. */
uint32_t tensor_pool_default_threads(void);

typedef void tensor_pool_fn(void *context, uint32_t thread_index, uint32_t thread_count);
void tensor_pool_run(struct tensor_pool *self, tensor_pool_fn *fn, void *context);

/* Called within a running job by all of its threads: returns in each when all have called it, with
 * what they wrote before it visible to all. So one run can hold several dependent phases. NULL, or
 * a pool of one thread: returns at once. */
void tensor_pool_barrier(struct tensor_pool *self);

#endif
