/*
 * Bounded queue of pointers between threads: any number of producers, one consumer.
 * The consumer waits in base_queue_pop_wait() or polls base_queue_fd() beside its sockets.
 * Ownership of an item passes with a successful push and a successful pop.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct base_queue;

/* Returns BASE_OK and a queue freed with base_queue_destroy(), or BASE_NOMEM / BASE_IO. */
int base_queue_new(size_t capacity, struct base_queue **ret_queue);

/* Frees and nulls. Items still inside are not freed: drain first. Accepts a pointer to NULL. */
void base_queue_destroy(struct base_queue **self_p);

/* Returns BASE_OK, or BASE_FULL with the item still the caller's. Any thread; never blocks long. */
int base_queue_push(struct base_queue *self, void *item);

/* The oldest item, or NULL when empty. Consumer only. */
void *base_queue_pop(struct base_queue *self);

/* As pop, but waits up to timeout_ms (-1: for ever). NULL on timeout. Consumer only. */
void *base_queue_pop_wait(struct base_queue *self, int timeout_ms);

/* Items inside now. Any thread. */
size_t base_queue_count(struct base_queue *self);

/* A descriptor that polls readable while the queue holds items. Owned by the queue. */
int base_queue_fd(const struct base_queue *self);

#endif
