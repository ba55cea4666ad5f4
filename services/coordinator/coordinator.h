/*
 * The coordinator's core: membership, leases, plan epochs. A step function without sockets,
 * clock or random source: the daemon, the simulator and the fuzzer drive the same code.
 *
 * Life of a plan: PREPARE to its workers (they load in the background and report READY), then
 * ACTIVE to router and workers; or UNAVAILABLE to the router when no placement exists. Epochs
 * only grow; one plan per epoch.
 */
#ifndef COORDINATOR_H
#define COORDINATOR_H

#include "wire_message.h"

struct coordinator;
struct coordinator_census;
struct coordinator_metrics;

struct coordinator_options {
    uint64_t incarnation;           /* random, of this process start */
    uint32_t heartbeat_interval_ms; /* 500 */
    uint32_t lease_ms;              /* silence after which a peer is lost; 2000 */
    uint32_t hang_ms;               /* a step in compute longer than this is a hang; 20000 */
    uint32_t min_workers;           /* no first plan before so many registered; 1 */
    uint32_t settle_ms;             /* no first plan before so long without a join; 300 */
    uint32_t stage_count;           /* exactly so many stages when possible; 0: free */
    uint64_t kv_tokens;             /* wanted KV positions; halved until it fits, not below 512 */
    uint32_t batch_tokens;          /* micro-batch that placement optimises for */
    double min_gain;                /* a voluntary re-plan needs this gain; 0.10 */
    uint32_t cooldown_ms;           /* between voluntary re-plans; 60000 */
};

void coordinator_options_default(struct coordinator_options *ret);

/* Where decisions go. peer is the caller's handle of a connection. message is borrowed. send()
 * must not call back: a peer found unreachable is told by coordinator_peer_gone() afterwards. */
struct coordinator_sink {
    void *context;
    void (*send)(void *context, uint64_t peer, const struct wire_message *message);
};

/* Returns BASE_OK or BASE_NOMEM. sink is copied and called from within the steps below. */
int coordinator_new(const struct coordinator_options *options, const struct coordinator_sink *sink,
    struct coordinator **ret);
void coordinator_destroy(struct coordinator **self_p);

/* The three events. now_ms never decreases. A message of a kind that does not belong here, or
 * from a peer that has not registered, is answered with WIRE_ERROR and changes nothing; status
 * queries and drains are for anybody. A WIRE_ERROR is never answered. */
void coordinator_message(
    struct coordinator *self, uint64_t now_ms, uint64_t peer, const struct wire_message *message);
void coordinator_peer_gone(struct coordinator *self, uint64_t now_ms, uint64_t peer);
void coordinator_tick(struct coordinator *self, uint64_t now_ms);

/* Latest time by which coordinator_tick() must be called again. */
uint64_t coordinator_next_tick_ms(const struct coordinator *self);

/* For io: sends a PROBE to every registered peer, because some connection was lost. */
void coordinator_probe(struct coordinator *self);

/* What it counts, for as long as it is there; how things stand, with a text for people
 * (coordinator_metrics.h). */
struct coordinator_metrics *coordinator_get_metrics(struct coordinator *self);
void coordinator_take_census(const struct coordinator *self, uint64_t now_ms,
    struct coordinator_census *ret, char *ret_text, size_t text_bytes);

/* For tests and the simulator's invariants. */
uint64_t coordinator_epoch(const struct coordinator *self);

#endif
