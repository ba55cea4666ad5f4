/*
 * The coordinator's core on a socket: one ROUTER, one thread, a loop that ends by signal. A closed
 * connection is found by probing, since the transport does not say whose it was.
 */
#ifndef COORDINATOR_IO_H
#define COORDINATOR_IO_H

#include "coordinator.h"
#include "net.h"

struct admin;
struct coordinator_io;
struct metrics;

/* Binds listen. keys: the folder with the key store, NULL when the context has no key. context and
 * keys are borrowed for the life of *ret. Returns BASE_OK, BASE_NOMEM, BASE_IO, BASE_INVALID or
 * BASE_DENIED with *err filled. */
int coordinator_io_new(struct net_context *context, const char *listen, const char *keys,
    const struct coordinator_options *options, struct coordinator_io **ret, struct base_error *err);

/* Frees and nulls. Accepts a pointer to NULL. */
void coordinator_io_destroy(struct coordinator_io **self_p);

/* Registers what the coordinator counts; before admin_start(). As metrics_register(). */
int coordinator_io_register(
    struct coordinator_io *self, struct metrics *metrics, struct base_error *err);

/* Serves until SIGINT or SIGTERM. admin is borrowed; may be NULL. */
void coordinator_io_run(struct coordinator_io *self, struct admin *admin);

#endif
