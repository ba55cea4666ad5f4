/* The data thread: owns the worker's core, the ROUTER that takes steps, and the links to the next
 * stage and to the router. Never computes, so that the core is always there to answer. */
#ifndef WORKER_DATA_IO_H
#define WORKER_DATA_IO_H

#include "wire_message.h"

struct base_queue;
struct net_context;
struct worker_admin;
struct worker_compute;
struct worker_control;
struct worker_data;
struct worker_loader;

/* All is borrowed for the thread's life. */
struct worker_data_options {
    struct net_context *context;
    struct worker_control *control;
    struct worker_compute *compute;
    struct worker_loader *loader;
    struct base_queue *events;     /* where the other threads push; emptied by us */
    struct base_queue *notices;    /* struct worker_notice for the main thread */
    const char *listen;            /* endpoint to bind */
    const char *advertise;         /* NULL: as bound */
    struct wire_register identity; /* data_endpoint is filled once bound */
    uint32_t batch_tokens_max;
    bool fast_float;
    struct worker_admin *admin; /* the data thread's from now on */
    const char *pack_cache;     /* folder of packed weights, or NULL; borrowed */
};

/* Starts the thread; WORKER_NOTICE_READY or _FAILED says how it went. */
int worker_data_new(
    const struct worker_data_options *options, struct worker_data **ret, struct base_error *err);

/* Asks for a drain; ends in WORKER_NOTICE_DRAINED. Any thread. */
void worker_data_drain(struct worker_data *self);

/* Ends the thread at once. */
void worker_data_destroy(struct worker_data **self_p);

#endif
