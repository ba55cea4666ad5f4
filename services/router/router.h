/*
 * The router's core: client requests in, micro-batches out, tokens back. Owns the token log of
 * every request, so that losing a stage costs a pause and nothing else. A step function without
 * sockets, clock or random source: daemon, simulator and fuzzer drive the same code.
 */
#ifndef ROUTER_H
#define ROUTER_H

#include "wire_message.h"

struct router;
struct router_metrics;
struct text_tokenizer;

struct router_options {
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    char data_endpoint[LIMIT_ENDPOINT_BYTES]; /* where others reach our data ROUTER */
    char host[LIMIT_HOST_BYTES];
    uint32_t pid;
    uint32_t batch_tokens;      /* most tokens in one micro-batch; 96 */
    uint32_t requests_running;  /* most requests that hold pages; 64 */
    uint32_t requests_waiting;  /* queue bound; more are refused; 256 */
    uint32_t client_silence_ms; /* requests of a client silent so long are cancelled; 10000 */
    uint32_t step_deadline_ms;  /* floor of the wait for a micro-batch before SUSPECT; 3000 */
    uint32_t unavailable_ms;    /* requests wait so long for a plan before they fail; 4000 */
    size_t unread_bytes;        /* of answers that a client has not taken; LIMIT_UNREAD_BYTES */
    uint32_t canary_ms;         /* without a result for so long, a token of our own goes round; 0:
                                 * never. The daemon has another default. */
};

/* All but node_id, incarnation, data_endpoint, host and pid, which are zeroed. */
void router_options_default(struct router_options *ret);

/* What send_client() came to. */
enum router_sent {
    ROUTER_SENT,
    ROUTER_SENT_NOT, /* no room in the client's queue now: keep and retry on tick */
    ROUTER_CLIENT_GONE,
};

/* Where decisions go; everything is borrowed for the call. */
struct router_sink {
    void *context;
    void (*send_coordinator)(void *context, const struct wire_message *message);
    /* Opens a link to the first stage and drops the old one. endpoint NULL: none. */
    void (*link_first_stage)(
        void *context, uint64_t epoch, const char *endpoint, const char *public_key);
    /* false: the link has no room now; the step is kept and retried on tick or credit. */
    bool (*send_step)(
        void *context, const struct wire_message *message, const void *tensor, size_t bytes);
    enum router_sent (*send_client)(void *context, uint64_t client,
        const struct wire_message *message, const void *tensor, size_t bytes);
};

/* tokenizer is borrowed for the router's life; NULL: only id prompts work, text stays empty and
 * nothing is an end token. Returns BASE_OK, BASE_INVALID for an option out of range (batch_tokens,
 * requests_running and requests_waiting have limits in base_limits.h), or BASE_NOMEM. */
int router_new(const struct router_options *options, const struct router_sink *sink,
    const struct text_tokenizer *tokenizer, struct router **ret);
void router_destroy(struct router **self_p);

/* Events. now_us never decreases (microseconds, for timings). Registration goes out with the first
 * tick, and again until it is answered; also when io says that the connection was made anew. */
void router_coordinator_connected(struct router *self, uint64_t now_us);
void router_coordinator_message(
    struct router *self, uint64_t now_us, const struct wire_message *message);
/* RESULT (with its tensor frame), STEP_ERROR, CREDIT of the first stage's link. public_key: of the
 * sender's connection; "": it is plain, and anybody may be there. Returns false, and does nothing,
 * when that is not the key that the plan in force has for its last stage (RESULT) or for any of its
 * stages (STEP_ERROR). */
bool router_data_message(struct router *self, uint64_t now_us, const char *public_key,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes);
void router_client_message(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_message *message);
void router_client_gone(struct router *self, uint64_t now_us, uint64_t client);
void router_tick(struct router *self, uint64_t now_us);

/* Latest time by which router_tick() must be called again. */
uint64_t router_next_tick_us(const struct router *self);

/* Refuses new requests from now on; requests_running + waiting reach 0 when all are done. */
void router_drain(struct router *self);

/* Ends every request with UNAVAILABLE: the router stops now. */
void router_stop(struct router *self, uint64_t now_us);

/* Whether a token went round lately on the plan in force, and what there is to say about it. */
bool router_is_ready(const struct router *self, uint64_t now_us, char *ret_text, size_t text_bytes);

/* What it counts (router_metrics.h); for as long as the router is there. */
struct router_metrics *router_get_metrics(struct router *self);

/* For heartbeats. Without the canary. */
void router_status(const struct router *self, struct wire_router_status *ret);

#endif
