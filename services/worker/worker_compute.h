/* The compute thread: runs the steps of the active stage, one after the other. */
#ifndef WORKER_COMPUTE_H
#define WORKER_COMPUTE_H

#include "base_err.h"
#include <stddef.h>
#include <stdint.h>

struct base_queue;
struct net_inbound;
struct stage;
struct tensor_pool;
struct wire_fault;
struct worker_compute;
struct worker_stage;

/* A loaded stage, shared by the loader (whose next stage takes over layers) and compute; freed
 * with its last reference. Any thread. */
struct worker_stage *worker_stage_new(
    struct stage **stage_p, uint64_t epoch, uint32_t embedding_length); /* takes; NULL: no memory */
struct worker_stage *worker_stage_hold(struct worker_stage *self);
void worker_stage_drop(struct worker_stage **self_p); /* accepts a pointer to NULL */
const struct stage *worker_stage_get(const struct worker_stage *self);
uint64_t worker_stage_epoch(const struct worker_stage *self);

/* Starts the thread. pool and events are borrowed; runs end as WORKER_EVENT_RAN in events. */
int worker_compute_new(struct tensor_pool *pool, struct base_queue *events,
    struct worker_compute **ret, struct base_error *err);

/* Ends the thread after the step that it is in; steps that wait are dropped. */
void worker_compute_destroy(struct worker_compute **self_p);

/* Whether the thread can be joined without waiting longer than timeout_ms. */
int worker_compute_stop(struct worker_compute *self, uint32_t timeout_ms);

/* Makes stage (taken; NULL: none) the one whose epoch is run from now on. *ret_old: the one
 * before, for the caller to drop. */
void worker_compute_activate(
    struct worker_compute *self, struct worker_stage *stage, struct worker_stage **ret_old);

/* Queues a STEP, taking it from *inbound_p. Returns BASE_OK, BASE_FULL or BASE_NOMEM with the
 * message still the caller's. */
int worker_compute_run(struct worker_compute *self, struct net_inbound **inbound_p);

/* error as it goes over the wire. */
void worker_fault_set(struct wire_fault *fault, const struct base_error *err);

#endif
