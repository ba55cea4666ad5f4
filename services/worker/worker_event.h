/* What the threads of the daemon tell each other. Events go by base_queue and are owned by
 * whoever popped them. */
#ifndef WORKER_EVENT_H
#define WORKER_EVENT_H

#include "net.h"
#include <stdatomic.h>

struct base_queue;
struct worker_stage;

/* Events that may wait for the data thread. Compute needs at most WORKER_JOBS_MAX of them and is
 * never refused, because the others stop at WORKER_EVENTS_OTHERS. */
#define WORKER_EVENTS_MAX    1024
#define WORKER_EVENTS_OTHERS 512
#define WORKER_JOBS_MAX      256

/* Output of a run: shared by the retries of a send and freed with the last reference. */
struct worker_buffer {
    atomic_uint references;
    size_t bytes;
    _Alignas(16) uint8_t data[];
};

/* One reference; NULL when memory fails. */
struct worker_buffer *worker_buffer_new(size_t bytes);
struct worker_buffer *worker_buffer_hold(struct worker_buffer *self);
void worker_buffer_drop(struct worker_buffer **self_p); /* accepts a pointer to NULL */

enum worker_event_kind {
    WORKER_EVENT_STOP,
    WORKER_EVENT_DRAIN,
    WORKER_EVENT_CONNECTED, /* to the coordinator */
    WORKER_EVENT_LOST,      /* the coordinator */
    WORKER_EVENT_CONTROL,   /* a message of the coordinator */
    WORKER_EVENT_PROGRESS,
    WORKER_EVENT_LOADED,
    WORKER_EVENT_RAN,
};

/* To the data thread. */
struct worker_event {
    enum worker_event_kind kind;
    struct net_inbound *inbound; /* CONTROL; owned */
    uint64_t epoch;              /* PROGRESS, LOADED, RAN */
    double progress;
    struct worker_stage *stage; /* LOADED: a reference, or NULL and fault says why */
    uint64_t batch_id;          /* RAN... */
    uint32_t compute_us;
    struct wire_row_result *rows; /* owned */
    size_t row_count;
    struct worker_buffer *output; /* a reference, or NULL */
    struct wire_fault fault;
};

/* Zeroed; NULL when memory fails. */
struct worker_event *worker_event_new(enum worker_event_kind kind);
/* Frees it and all that it owns. */
void worker_event_destroy(struct worker_event **self_p);
/* Takes event on success; on failure it is destroyed. */
int worker_event_push(struct base_queue *queue, struct worker_event **event_p);

/* Releases and frees a message that lives on the heap. Accepts a pointer to NULL. */
void worker_inbound_destroy(struct net_inbound **self_p);

enum worker_notice_kind {
    WORKER_NOTICE_READY,   /* the data thread serves */
    WORKER_NOTICE_FAILED,  /* it could not start, or the coordinator refused us: text */
    WORKER_NOTICE_DRAINED, /* nothing is held here any more */
};

/* To the main thread. */
struct worker_notice {
    enum worker_notice_kind kind;
    char text[BASE_ERROR_TEXT_BYTES];
};

#endif
