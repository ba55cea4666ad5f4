/*
 * Inside the coordinator's core: its state and the functions that its files share. Every function
 * runs on the caller's thread within one of the steps of coordinator.h.
 */
#ifndef COORDINATOR_CORE_H
#define COORDINATOR_CORE_H

#include "coordinator.h"
#include "coordinator_metrics.h"
#include "plan.h"

#define COORDINATOR_KV_TOKENS_MIN      512
#define COORDINATOR_LOST_ROW_MS        60000 /* how long status shows who is gone */
#define COORDINATOR_DRIFT_INTERVAL_MS  10000
#define COORDINATOR_DRIFT_ROUNDS       3
#define COORDINATOR_DRIFT_RATIO        0.15
#define COORDINATOR_RESET_INTERVAL_MS  2000  /* between new epochs for lost messages */
#define COORDINATOR_RESEND_INTERVAL_MS 1000  /* between repeats of a plan to a peer */
#define COORDINATOR_LOAD_SILENCE_MS    60000 /* a load without progress has failed */
#define COORDINATOR_EPOCH_MAX          (UINT64_C(1) << 62) /* a peer cannot claim more */
#define COORDINATOR_SUPERSEDED_MAX     4
#define COORDINATOR_NOT_CONSIDERED     255 /* by the placement in question */

/* A worker or a router; also, for a while, one that is gone. */
struct coordinator_member {
    bool used;                     /* the row is taken */
    bool live;                     /* registered, lease running; peer is valid */
    uint64_t peer;                 /* the sink's handle */
    uint64_t order;                /* of registration */
    struct wire_register identity; /* rates point to rates; model has no layers */
    struct wire_rate rates[LIMIT_RATES_MAX];
    uint64_t superseded[COORDINATOR_SUPERSEDED_MAX]; /* older incarnations of the node, a ring */
    unsigned superseded_count;
    uint64_t heard_ms; /* any message */
    uint64_t lost_ms;
    struct wire_heartbeat heartbeat; /* the last one */
    uint64_t heartbeat_ms;           /* 0: none yet */
    uint64_t plan_sent_ms;           /* last repeat of a plan */

    /* Workers only. */
    bool draining, drained; /* drained: it was told that it may leave */
    bool drain_by_admin;
    uint64_t drain_peer;       /* who asked, if an admin */
    uint64_t drain_refused_ms; /* when it last turned out that it cannot be spared */
    bool quarantined;          /* hangs in compute; its lease runs on */
    bool failed;               /* could not load or keep a stage; until it registers again */
    double slowdown;
    unsigned drift_rounds;
    double load_progress;
    uint64_t load_ms;            /* when load_progress last grew */
    char note[LIMIT_HOST_BYTES]; /* why lost, quarantined, failed or left out */
};

/* A plan with what the coordinator must remember of it. epoch 0: none. */
struct coordinator_placement {
    uint64_t epoch;
    enum wire_plan_state state;
    bool broken; /* a stage or its worker is gone: cannot serve */
    uint64_t fingerprint;
    struct wire_stage stages[LIMIT_STAGES_MAX];
    double without_ms[LIMIT_STAGES_MAX]; /* per stage, see plan.h */
    bool ready[LIMIT_STAGES_MAX];
    uint8_t exclusion[LIMIT_WORKERS_MAX]; /* per row of workers: enum plan_exclusion, or 255 */
    size_t stage_count;
    char router_node_id[LIMIT_NAME_BYTES];
    uint64_t router_incarnation;
    char router_endpoint[LIMIT_ENDPOINT_BYTES];
    char router_public_key[LIMIT_KEY_BYTES];
    uint64_t kv_tokens;
    uint32_t context_length, embedding_length, vocab_size;
    double bottleneck_ms;
    char reason[LIMIT_HOST_BYTES];
    struct wire_fault error;
};

struct coordinator {
    struct coordinator_options options;
    struct coordinator_sink sink;
    uint64_t now_ms; /* of the present event */
    struct coordinator_member workers[LIMIT_WORKERS_MAX];
    struct coordinator_member routers[LIMIT_ROUTERS_MAX];
    uint64_t order_last;

    struct wire_model_card card; /* layer_count 0: none adopted; layers are below */
    struct plan_layer layers[PLAN_LAYERS_MAX];

    uint64_t epoch;                       /* newest ever issued or heard of */
    struct coordinator_placement current; /* ACTIVE or UNAVAILABLE */
    struct coordinator_placement next;    /* being prepared */
    struct coordinator_placement scratch; /* being made */
    bool ever_planned;
    bool stale;  /* who may be used has changed since the last attempt */
    bool wanted; /* a voluntary re-plan may be worth it */
    uint64_t joined_ms;
    uint64_t voluntary_ms; /* of the last voluntary re-plan */
    bool voluntary_ever;
    uint64_t reset_ms;
    bool reset_ever;
    uint64_t drift_at_ms;         /* next evaluation */
    char cause[LIMIT_HOST_BYTES]; /* what broke or changed last, for reasons and errors */
    char cause_node[LIMIT_NAME_BYTES];

    struct wire_worker_row rows[LIMIT_WORKERS_MAX]; /* of a status reply */
    struct coordinator_metrics metrics;
};

/* coordinator.c */
void coordinator_send(struct coordinator *self, uint64_t peer, const struct wire_message *message);
void coordinator_refuse(struct coordinator *self, uint64_t peer, int code, const char *node,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
void coordinator_set_cause(struct coordinator *self, const char *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* coordinator_members.c */
void coordinator_register(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity);
struct coordinator_member *coordinator_find_peer(struct coordinator *self, uint64_t peer);
struct coordinator_member *coordinator_find_worker(struct coordinator *self, const char *node_id);
struct coordinator_member *coordinator_active_router(struct coordinator *self);
bool coordinator_is_router(const struct coordinator *self, const struct coordinator_member *member);
size_t coordinator_live_count(const struct coordinator *self); /* workers */
void coordinator_lose(struct coordinator *self, struct coordinator_member *member, const char *why);
void coordinator_goodbye(struct coordinator *self, struct coordinator_member *member,
    const struct wire_goodbye *goodbye);
void coordinator_expire(struct coordinator *self); /* leases, rows of the lost, silent loads */

/* coordinator_drain.c */
void coordinator_drain(struct coordinator *self, uint64_t peer, const struct wire_drain *drain);
void coordinator_drain_release(struct coordinator *self);
bool coordinator_drain_give_up(struct coordinator *self, const char *why);

/* coordinator_plan.c: life of a plan */
int coordinator_stage_of(
    const struct coordinator_placement *placement, const struct coordinator_member *member);
bool coordinator_serves(const struct coordinator *self); /* the current plan can */
void coordinator_break(struct coordinator *self, const struct coordinator_member *member);
void coordinator_stage_status(struct coordinator *self, struct coordinator_member *member,
    const struct wire_stage_status *status);
void coordinator_send_plans(struct coordinator *self, const struct coordinator_member *member);
void coordinator_reset(struct coordinator *self, const char *why);
void coordinator_settle(struct coordinator *self); /* after each event */
uint64_t coordinator_plan_next_ms(const struct coordinator *self);

/* coordinator_solve.c: the planner's problem from members, its answer as a placement */
int coordinator_solve(
    struct coordinator *self, struct coordinator_placement *ret, struct base_error *err);
double coordinator_current_ms(struct coordinator *self);
/* as_seen: for steps of the size that the worker last reported, to be held against what it
 * measured; else for the micro-batch that placement optimises for. */
double coordinator_stage_predicted_ms(struct coordinator *self,
    const struct coordinator_placement *placement, size_t stage, bool as_seen);

/* Whether the worker of a stage has the memory for it. */
bool coordinator_stage_fits(struct coordinator *self, const struct wire_stage *stage);

/* coordinator_keep.c: puts the workers of a placement where they are now, if that costs little */
void coordinator_keep(struct coordinator *self, struct coordinator_placement *placement);

/* coordinator_watch.c: hangs, lost micro-batches, drift */
void coordinator_watch_heartbeat(struct coordinator *self, struct coordinator_member *member);
void coordinator_suspect(struct coordinator *self, const struct coordinator_member *member,
    const struct wire_suspect *suspect);
void coordinator_drift(struct coordinator *self);

/* coordinator_status.c */
void coordinator_status(struct coordinator *self, uint64_t peer);

#endif
