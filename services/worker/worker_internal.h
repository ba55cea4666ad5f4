/* Shared by worker.c, worker_plan.c and worker_step.c; not for users of the core. */
#ifndef WORKER_INTERNAL_H
#define WORKER_INTERNAL_H

#include "base_arena.h"
#include "worker.h"
#include "worker_metrics.h"

/* Steps that may wait here: the widest window that is ever granted, see worker_window(). */
#define WORKER_STEPS_MAX (LIMIT_STAGES_MAX + 2)

/* A step that was accepted and is not yet passed on. */
struct worker_entry {
    struct base_arena arena; /* owns what step points to; kept between uses */
    struct wire_step step;   /* as it will leave: hop_us has room for one more */
    bool computes;           /* false: nothing to run, only passes through in its turn */
    struct wire_fault fault; /* compute would not take it: told to the router in its turn */
};

enum worker_load_state {
    WORKER_LOAD_RUNNING,
    WORKER_LOAD_READY,
    WORKER_LOAD_FAILED,
};

/* A plan that holds a stage for this worker. */
struct worker_slot {
    struct wire_plan plan; /* stages are owned by the slot */
    size_t index;          /* of our stage */
    enum worker_load_state state;
    bool activate_when_ready; /* the plan is already active elsewhere */
    double progress;
    uint32_t kv_pages_total;
    struct wire_fault error; /* FAILED: why */

    uint64_t *page_bits; /* [page_count] bits: pages that hold positions; owned */
    uint32_t pages_used;

    bool has_upstream; /* the one link that may send steps */
    uint64_t upstream;
    uint32_t upstream_left; /* steps that it may still send */
};

enum worker_membership {
    WORKER_UNREGISTERED, /* no connection was made yet */
    WORKER_REGISTERING,
    WORKER_REGISTERED,
    WORKER_REFUSED,
};

struct worker {
    struct worker_options options;
    struct worker_sink sink;

    enum worker_membership membership;
    uint64_t register_at_ms; /* REGISTERING: when to ask again */
    uint64_t heartbeat_at_ms;
    uint32_t heartbeat_interval_ms;
    uint64_t coordinator_incarnation;
    struct wire_fault refusal;

    uint64_t newest_epoch;       /* of any plan seen */
    struct worker_slot *pending; /* loading, or ready and not yet active */
    struct worker_slot *serving;
    uint64_t status_sent_ms; /* last StageStatus LOADING */

    struct worker_entry entries[WORKER_STEPS_MAX]; /* ring */
    size_t entry_head, entry_count;
    uint64_t head_since_ms;    /* when the oldest step was handed to compute */
    uint64_t last_accepted_id; /* batch ids are accepted in ascending order */
    uint64_t last_finished_id;
    bool has_accepted;
    double step_ms, step_tokens, step_context; /* moving averages */
    uint64_t last_progress_ms;

    bool draining, drained;

    struct worker_metrics *metrics; /* the caller's, or our own */
    struct worker_metrics own_metrics;
};

/* worker.c */
void worker_send_coordinator(struct worker *self, const struct wire_message *message);
/* A heartbeat out of turn: what status shows has changed. */
void worker_beat(struct worker *self, uint64_t now_ms);
void worker_finish_drain(struct worker *self, const char *reason);

/* worker_plan.c */
void worker_plan_message(struct worker *self, uint64_t now_ms, const struct wire_plan *plan);
void worker_slot_destroy(struct worker_slot **self_p);
void worker_activate(struct worker *self, uint64_t now_ms);
void worker_send_status(struct worker *self, uint64_t now_ms);
void worker_pages_release(struct worker_slot *slot, const uint32_t *pages, size_t count);
void worker_pages_take(struct worker_slot *slot, const uint32_t *pages, size_t count);

/* worker_step.c */
void worker_steps_forget(struct worker *self);

#endif
