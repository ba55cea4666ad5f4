/*
 * The worker's core: which plan it serves, which it is loading, which steps it may run and where
 * results go. No sockets, clock, threads or tensors: the daemon gives it loader and compute
 * threads, the simulator a stub.
 */
#ifndef WORKER_H
#define WORKER_H

#include "wire_message.h"

struct worker;
struct worker_metrics;

struct worker_options {
    struct wire_register
        identity; /* sent at registration; pointers borrowed for the worker's life */
    struct worker_metrics *metrics; /* where to count; borrowed; NULL: nowhere that is seen */
};

/* Where the next message goes. */
struct worker_hop {
    const char *endpoint;
    const char *public_key; /* "": its socket is plain */
};

/* Where decisions go; everything is borrowed for the call. */
struct worker_sink {
    void *context;
    void (*send_coordinator)(void *context, const struct wire_message *message);
    /* Starts loading this plan's stage in the background; supersedes an unfinished load. Ends in
     * worker_loaded() with the same epoch. */
    void (*load)(void *context, uint64_t epoch, const struct wire_plan *plan, size_t stage_index);
    /* The stage loaded for epoch is the one to run now; older stages may be freed. 0: none. */
    void (*activate)(void *context, uint64_t epoch);
    /* Hands a step to compute; ends in worker_ran() with the same epoch and batch id, in the order
     * of the calls (one that is refused at once may come out of turn). */
    void (*run)(void *context, const struct wire_message *step, const void *tensor, size_t bytes);
    /* (Re)opens the links to the next stage (NULL for the last) and to the router. */
    void (*link)(void *context, uint64_t epoch, const struct worker_hop *next,
        const struct worker_hop *router);
    /* Sends on; the io layer queues while the link lacks credit (bounded by the credits that this
     * worker gives upstream). The tensor of STEP and RESULT is the output of the run that just
     * ended. */
    void (*send_next)(void *context, const struct wire_message *message);
    void (*send_router)(void *context, const struct wire_message *message);
    /* Allows the previous hop count more steps. */
    void (*grant)(void *context, uint64_t peer, const struct wire_message *credit);
};

/* Returns BASE_OK or BASE_NOMEM. */
int worker_new(
    const struct worker_options *options, const struct worker_sink *sink, struct worker **ret);
void worker_destroy(struct worker **self_p);

/* Events. now_ms never decreases. A sink function may call worker_loaded() and worker_ran() from
 * within load() and run(); no other event from within a sink function. */
void worker_connected(struct worker *self, uint64_t now_ms); /* to the coordinator: registers */
void worker_coordinator_message(
    struct worker *self, uint64_t now_ms, const struct wire_message *message);
/* Who sent it. */
struct worker_origin {
    uint64_t peer;          /* the connection, for grant() */
    const char *public_key; /* "": it is plain, and anybody may be there */
};
/* STEP (with its tensor frame) or LINK_HELLO. Returns false, and does nothing, when its epoch's
 * plan has another key than the sender's before us: that of the router, or of the stage there. */
bool worker_data_message(struct worker *self, uint64_t now_ms, const struct worker_origin *from,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes);
/* While loading, any number of times; and at its end with progress 1 or an error. */
void worker_load_progress(struct worker *self, uint64_t now_ms, uint64_t epoch, double progress);
void worker_loaded(struct worker *self, uint64_t now_ms, uint64_t epoch, uint32_t kv_pages_total,
    const struct wire_fault *error);

/* End of a run: rows describe the output when this is the last stage. */
struct worker_run_result {
    uint64_t epoch, batch_id;
    uint32_t compute_us;
    const struct wire_row_result *rows;
    size_t row_count;
    struct wire_fault error; /* code BASE_OK: fine */
};
void worker_ran(struct worker *self, uint64_t now_ms, const struct worker_run_result *result);
void worker_tick(struct worker *self, uint64_t now_ms); /* heartbeats */
uint64_t worker_next_tick_ms(const struct worker *self);

/* Says goodbye: asks the coordinator to take the stage away, then worker_is_drained(). */
void worker_drain(struct worker *self, uint64_t now_ms);
bool worker_is_drained(const struct worker *self);

/* Why the coordinator will not have this worker (UNSUPPORTED, INVALID, DENIED): nothing is tried
 * any more. NULL: it was not refused. */
const struct wire_fault *worker_refusal(const struct worker *self);

/* Whether it does its part, as stage or as spare, and what there is to say about it. */
bool worker_is_ready(const struct worker *self, char *ret_text, size_t text_bytes);
/* Brings the gauges of *metrics up to date. */
void worker_gauges(const struct worker *self, struct worker_metrics *metrics);

/* For tests and the simulator's invariants. */
uint64_t worker_epoch(const struct worker *self); /* being served; 0: none */
uint32_t worker_pages_used(const struct worker *self);

#endif
