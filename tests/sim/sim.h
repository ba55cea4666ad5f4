/*
 * A whole mesh in one process and in virtual time: the real cores of coordinator, router and
 * workers, connections that delay, hold and lose messages, and faults drawn from a seed. The same
 * seed gives the same run.
 */
#ifndef SIM_H
#define SIM_H

#include "base_arena.h"
#include "coordinator.h"
#include "router.h"
#include "sim_model.h"
#include "worker.h"

#define SIM_VOCAB         40u
#define SIM_NODES         6   /* workers that may exist */
#define SIM_PROCESSES_MAX 96  /* over one run, restarts included */
#define SIM_CONNS_MAX     512 /* over one run */
#define SIM_PROMPTS_MAX   16
#define SIM_CHOICES       4 /* answers to one prompt, at most */
#define SIM_REQUESTS_MAX  (SIM_PROMPTS_MAX * SIM_CHOICES)
#define SIM_CLIENTS       4
#define SIM_TOKENS_MAX    512
#define SIM_HEAL_US       16000000u /* no more faults, and those there are end */

enum sim_kind {
    SIM_COORDINATOR,
    SIM_ROUTER,
    SIM_WORKER,
    SIM_CLIENT,
};

enum sim_plane {
    SIM_CONTROL,
    SIM_DATA,
    SIM_CLIENT_PLANE,
};

/* A message as bytes, as on the wire. */
struct sim_packet {
    enum wire_kind kind;
    uint8_t *body; /* owned */
    size_t bytes;
    uint8_t *tensor; /* owned; NULL: none */
    size_t tensor_bytes;
};

/* A connection: made by process `from` to process `to`, which knows it by its index. */
struct sim_conn {
    int from, to;
    enum sim_plane plane;
    int slot; /* which link of `from` */
    bool open;
    uint64_t held_until_us; /* a partition: nothing arrives before */
    uint64_t last_us[2];    /* newest delivery per direction: order is kept */
};

/* The owner's end of a data connection, as the daemons' io files have it. */
struct sim_link {
    char endpoint[LIMIT_ENDPOINT_BYTES]; /* "": points nowhere */
    uint64_t epoch;
    int conn; /* -1: not connected */
    uint64_t attempt;
    bool by_credit, greeted;
    uint32_t credit;
    struct sim_packet queue[256];
    size_t queue_count;
};

/* A stage that a worker loaded. */
struct sim_stage {
    uint64_t epoch; /* 0: free */
    bool is_last;
    struct sim_kv kv;
};

struct sim_run {
    struct sim_packet packet; /* the STEP */
};

struct sim_process {
    enum sim_kind kind;
    bool alive;
    int node; /* workers: which node it is; clients: which client */
    uint64_t incarnation;
    char name[LIMIT_NAME_BYTES];
    char endpoint[LIMIT_ENDPOINT_BYTES];
    char public_key[LIMIT_KEY_BYTES]; /* each process has another: nodes change theirs at times */
    uint64_t frozen_until_us;
    uint64_t ticked_us;
    int control;              /* connection to the coordinator, or -1 */
    struct sim_link links[2]; /* next stage (router: first stage), router */

    struct coordinator *coordinator;
    struct router *router;
    struct worker *worker;
    struct sim_stage stages[4];
    struct sim_run runs[128]; /* oldest first; runs[0] is in compute */
    size_t run_count;
    uint64_t run_number; /* of runs[0] */
    uint64_t hangs_until_us;
    struct wire_row_result rows[LIMIT_BATCH_TOKENS_MAX]; /* what worker_ran() is being told */
    uint8_t *output;
    size_t output_bytes;
};

/* What a client asked for and got: one choice of it. Those of one request follow each other. */
struct sim_request {
    int client; /* process */
    uint64_t id;
    uint32_t choice, choices; /* choices: of the whole request */
    bool is_score, sent, cancelled;
    uint64_t start_us, cancel_us;
    uint32_t prompt[SIM_TOKENS_MAX], prompt_count, max_tokens;
    struct wire_sampling sampling;
    uint32_t tokens[SIM_TOKENS_MAX], token_count;
    float scores[SIM_TOKENS_MAX];
    uint32_t score_count;
    uint32_t partial_count;
    int final_count;
    struct wire_final final;
};

enum sim_event_kind {
    SIM_EVENT_DELIVER, /* conn, direction, packet */
    SIM_EVENT_CONNECT, /* process, slot (-1: control), number: attempt */
    SIM_EVENT_LOST,    /* conn: its maker notices */
    SIM_EVENT_GONE,    /* conn: the coordinator notices */
    SIM_EVENT_RAN,     /* process, number */
    SIM_EVENT_LOADED,  /* process, number: epoch */
    SIM_EVENT_FAULT,
    SIM_EVENT_START, /* node: a worker process of it starts */
    SIM_EVENT_REQUEST,
    SIM_EVENT_CANCEL,
    SIM_EVENT_PING, /* process: a client */
    SIM_EVENT_HEAL,
};

struct sim_event {
    uint64_t time_us, order;
    enum sim_event_kind kind;
    int process, conn, direction, slot;
    uint64_t number;
    struct sim_packet packet;
};

/* Which plan an epoch is, as first said by a coordinator. */
struct sim_plan_seen {
    uint64_t epoch, hash;
    uint64_t receivers[2]; /* processes, as bits */
};

struct sim {
    uint64_t seed, random;
    uint64_t now_us, order;
    bool verbose;
    bool faults; /* faults are allowed in this run */
    bool healed;
    char failure[512]; /* "": none so far */

    struct sim_event *heap;
    size_t heap_count, heap_capacity;
    struct sim_conn conns[SIM_CONNS_MAX];
    int conn_count;
    struct sim_process *processes[SIM_PROCESSES_MAX];
    int process_count;
    int coordinator, router; /* the present processes */
    uint32_t node_count;
    int node_process[SIM_NODES]; /* -1: not running */
    uint64_t node_memory[SIM_NODES];
    double node_speed[SIM_NODES];
    uint64_t router_newest_seen;
    struct sim_plan_seen plans[256];
    size_t plan_count;
    struct sim_request requests[SIM_REQUESTS_MAX];
    size_t request_count;
    int clients[SIM_CLIENTS];
    bool client_dead[SIM_CLIENTS];
    uint64_t client_slow_until_us[SIM_CLIENTS];
    uint64_t progress_us; /* when a client got something last */
    struct base_arena arena;
    struct coordinator_options coordinator_options;

    /* What happened, for the summary. */
    uint64_t event_count, step_count, epoch_count, fault_count, resumed_count, shared_count;
    uint32_t done_count, cancelled_count, error_count;
};

/* sim.c: one run. Returns true when every invariant held; else failure says what did not. */
bool sim_run(struct sim *self, uint64_t seed, bool verbose);
void sim_release(struct sim *self);

void sim_fail(struct sim *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim *self, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t sim_random(struct sim *self, uint64_t bound); /* 0..bound-1 */
bool sim_chance(struct sim *self, uint32_t percent);
void sim_push(struct sim *self, struct sim_event event, uint64_t delay_us);
struct sim_process *sim_process_new(struct sim *self, enum sim_kind kind, int node);
void sim_at(struct sim *self, int process); /* lets it tick when it is due */

/* sim_net.c */
struct sim_packet sim_packet_of(
    struct sim *self, const struct wire_message *message, const void *tensor, size_t tensor_bytes);
struct sim_packet sim_packet_copy(const struct sim_packet *packet);
void sim_packet_release(struct sim_packet *packet);
int sim_connect(struct sim *self, int from, int to, enum sim_plane plane, int slot);
void sim_conn_send(struct sim *self, int conn, int direction, struct sim_packet packet);
/* What is under way is lost. noticed: both ends will find out soon; else only by silence. */
void sim_conn_break(struct sim *self, int conn, bool noticed);
void sim_link_point(struct sim *self, int process, int slot, uint64_t epoch, const char *endpoint);
/* Sends or, for workers, queues. Returns false when it may not go out now and is not queued. */
bool sim_link_send(struct sim *self, int process, int slot, struct sim_packet packet, bool queue);
void sim_link_connect(struct sim *self, int process, int slot, uint64_t attempt);
void sim_link_lost(struct sim *self, int process, int slot, int conn);
void sim_link_credit(struct sim *self, int process, int slot, const struct wire_credit *credit);
void sim_deliver(struct sim *self, const struct sim_event *event);
void sim_control_connect(struct sim *self, int process);

/* sim_daemon.c: coordinator, router and worker processes */
void sim_start_coordinator(struct sim *self);
void sim_start_router(struct sim *self);
void sim_start_worker(struct sim *self, int node);
void sim_kill(struct sim *self, int process, bool noticed);
void sim_ran(struct sim *self, int process, uint64_t number);
void sim_loaded(struct sim *self, int process, uint64_t epoch);
void sim_compute_next(struct sim *self, int process);
void sim_plan_check(struct sim *self, int receiver, const struct wire_plan *plan);

/* sim_client.c */
void sim_start_clients(struct sim *self);
void sim_request_send(struct sim *self, size_t index);
void sim_request_cancel(struct sim *self, size_t index);
void sim_client_ping(struct sim *self, int process);
void sim_client_message(
    struct sim *self, int process, const struct wire_message *message, const void *tensor);
enum router_sent sim_client_takes(struct sim *self, int conn);
void sim_request_plan(struct sim *self, uint64_t start_us);
void sim_requests_check(struct sim *self);
bool sim_requests_done(const struct sim *self);
void sim_requests_watch(struct sim *self);

/* sim_fault.c */
void sim_faults_plan(struct sim *self);
void sim_fault(struct sim *self);
void sim_heal(struct sim *self);

#endif
