/* A worker core with a sink that writes down what it was told, for the tests of this folder. */
#ifndef WORKER_RECORDER_H
#define WORKER_RECORDER_H

#include "worker.h"

#define RECORDER_MAX    128
#define RECORDER_LAYERS 6u
#define RECORDER_WIDTH  8u  /* embedding length */
#define RECORDER_PAGES  16u /* of 64 positions */

enum recorder_kind {
    RECORDER_COORDINATOR,
    RECORDER_LOAD,
    RECORDER_ACTIVATE,
    RECORDER_RUN,
    RECORDER_LINK,
    RECORDER_NEXT,
    RECORDER_ROUTER,
    RECORDER_GRANT,
};

/* One call of a sink function. Of messages only what needs no arena is kept, and counts. */
struct recorder_call {
    enum recorder_kind kind;
    enum wire_kind message_kind;
    uint64_t epoch, batch_id;
    struct wire_message message; /* pointers inside are dead */
    uint32_t last_hop_us;
    size_t stage_index;
    char next[LIMIT_ENDPOINT_BYTES], router[LIMIT_ENDPOINT_BYTES]; /* LINK; next "-": none */
    uint64_t peer;
    uint32_t first_page; /* STEP: of its first sequence */
};

struct recorder {
    struct worker *worker;
    struct recorder_call calls[RECORDER_MAX];
    size_t count;
    bool has_keys;                    /* plans name the keys of recorder_key() */
    char sender_key[LIMIT_KEY_BYTES]; /* of all that is sent to the worker; "": plain */
    bool is_taken;                    /* what worker_data_message() said last */
};

/* The key of a node: the name, and k up to its length. */
void recorder_key(const char *node, char ret_key[LIMIT_KEY_BYTES]);

/* A worker "me" of incarnation 7 that has not met its coordinator. */
void recorder_start(struct recorder *self);
void recorder_stop(struct recorder *self);

/* Connected and registered at now_ms; the calls of that are forgotten. */
void recorder_register(struct recorder *self, uint64_t now_ms);

void recorder_clear(struct recorder *self);
size_t recorder_count(const struct recorder *self, enum recorder_kind kind);
/* The newest call of that kind, or NULL. */
const struct recorder_call *recorder_last(const struct recorder *self, enum recorder_kind kind);

/* A plan of stage_count stages "w0", "w1"... of which index is "me" (SIZE_MAX: none). */
void recorder_plan(struct recorder *self, uint64_t now_ms, uint64_t epoch,
    enum wire_plan_state state, size_t stage_count, size_t index);
/* PREPARE, loaded, ACTIVE, and the previous hop (peer 5) with its credit. Calls are forgotten. */
void recorder_serve(struct recorder *self, uint64_t epoch, size_t stage_count, size_t index);

void recorder_hello(
    struct recorder *self, uint64_t peer, uint64_t epoch, const char *node, uint64_t incarnation);

/* One sequence of token_count tokens at first_position on pages 1, 2...; 0: no sequence. */
struct recorder_step {
    uint64_t epoch, batch_id, peer;
    uint32_t first_position, token_count;
    uint32_t first_page;
    uint32_t embedding_length;
    const uint32_t *released;
    size_t released_count;
    size_t tensor_bytes; /* 0: what belongs to it */
};
void recorder_step(struct recorder *self, uint64_t now_ms, const struct recorder_step *step);
void recorder_ran(struct recorder *self, uint64_t now_ms, uint64_t epoch, uint64_t batch_id);

#endif
