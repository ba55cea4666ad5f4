/*
 * Continuous batching: which tokens of which sequences make up the next micro-batch. Pure
 * bookkeeping: no tokens, sockets or clock. One thread.
 *
 * A sequence has a log of `length` known tokens. Its first `sent` positions have been put into
 * micro-batches. When sent reaches length it waits until the caller has chosen its next token
 * (schedule_append). Until then later micro-batches may already carry its earlier positions, so
 * the prefill of one long prompt fills all stages.
 *
 * Waiting sequences start in order of arrival, when the pages of all their tokens and one more
 * are free. When pages run out, the youngest running sequence gives its pages up and waits again;
 * it is recomputed from its log later. The oldest sequence therefore always goes on: no deadlock,
 * no starvation.
 *
 * Sequences of one group begin with the same tokens, and share the full pages of those: one that
 * starts takes them over from one that runs and has had them computed. While one of them is at
 * that, the others wait. No group has more than half of the running places (but one). A page is shared only once results have come back for all of it: then
 * every stage has it, and no step that is lost later can take it away.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include "base_limits.h"
#include "schedule_pages.h"

struct schedule;

struct schedule_options {
    uint32_t batch_tokens; /* most tokens in a micro-batch; 1..LIMIT_BATCH_TOKENS_MAX */
    uint32_t running_max;  /* most sequences that hold pages; 1..LIMIT_REQUESTS_RUNNING */
    uint32_t waiting_max;  /* schedule_add() refuses beyond */
    uint64_t result_bytes; /* most bytes of logits that one micro-batch may return */
};

enum schedule_state {
    SCHEDULE_OUT = 0, /* not in any queue */
    SCHEDULE_WAITING,
    SCHEDULE_RUNNING,
};

/*
 * One sequence; embedded in the caller's request, zeroed before schedule_add(). The caller sets
 * the first group before adding and may change the second at any time between two calls; the rest
 * is the schedule's, to be read only.
 */
struct schedule_sequence {
    void *owner;
    uint32_t length;  /* tokens known so far; grows with schedule_append() */
    uint32_t limit;   /* tokens it can come to at most, >= length */
    uint64_t arrival; /* order of arrival: unique, ascending */
    uint64_t group;   /* 0: none */
    uint32_t prefix;  /* tokens that it has in common with the others of its group, <= length */

    uint32_t row_bytes; /* of the logits of one row */
    bool every_row;     /* logits of all positions are wanted, else of the last known one */
    bool paused;        /* not to be batched now */

    enum schedule_state state;
    uint64_t id; /* new each time it starts; results of an earlier life are void */
    uint32_t sent, done;
    uint32_t shared; /* pages taken over when it started, the first of its table */
    uint32_t *pages; /* owned */
    uint32_t page_count, page_capacity;
    uint64_t ready; /* order in which sequences became able to go on */
    struct schedule_sequence *previous, *next;
};

struct schedule_item {
    struct schedule_sequence *sequence;
    uint64_t id; /* of the sequence when this was built */
    uint32_t first_position, token_count;
    bool last; /* holds the last known token */
};

struct schedule_batch {
    struct schedule_item items[LIMIT_BATCH_SEQUENCES_MAX];
    size_t item_count;
    size_t decode_count; /* items of sequences that decode; the first */
    uint32_t token_count;
    const uint32_t *released; /* pages to announce; borrowed until schedule_sent() */
    size_t released_count;
};

/* Starts without pages: nothing runs before schedule_reset(). Returns BASE_OK, BASE_INVALID for
 * options out of range, or BASE_NOMEM. */
int schedule_new(const struct schedule_options *options, struct schedule **ret_schedule);

/* Sequences still inside are detached and lose their pages. */
void schedule_destroy(struct schedule **self_p);

/*
 * New stages with empty KV: every running sequence starts again from its first token; the pages
 * are new. groups: into how many micro-batches decodes are split, 1..LIMIT_BATCHES_IN_FLIGHT.
 * Returns BASE_OK, or BASE_NOMEM or BASE_TOO_BIG, and then there are no pages.
 */
int schedule_reset(struct schedule *self, uint32_t page_count, uint32_t groups);

/* From now on decodes are split into `groups`, and so many micro-batches that have some are in
 * flight: until there are fewer than `groups`, no other one gets any. */
void schedule_set_groups(struct schedule *self, uint32_t groups, uint32_t in_flight);

/* Queues. Returns BASE_OK or BASE_FULL. */
int schedule_add(struct schedule *self, struct schedule_sequence *sequence);

/* Takes out of whatever queue it is in; its pages are released. */
void schedule_remove(struct schedule *self, struct schedule_sequence *sequence);

/* Its KV is not to be trusted: back to waiting, to start again from its first token. */
void schedule_restart(struct schedule *self, struct schedule_sequence *sequence);

/* One more token is known. */
void schedule_append(struct schedule *self, struct schedule_sequence *sequence);

/*
 * Builds the next micro-batch: decodes first, at most ceil(running / groups) of them, then prompts
 * in order of arrival as far as the token budget goes. Starts waiting sequences. Returns false when there is nothing to send now. *ret may have no items and still have to be sent: then
 * it only announces pages for which somebody waits (or, with idle set, any). Nothing is marked as
 * sent before schedule_sent(); an unsent batch is just forgotten.
 */
bool schedule_build(struct schedule *self, bool idle, struct schedule_batch *ret);

/* The batch just built has left. */
void schedule_sent(struct schedule *self, const struct schedule_batch *batch);

/* An item came back. Returns false when it is of an earlier life of the sequence. */
bool schedule_returned(struct schedule_sequence *sequence, uint64_t id, uint32_t token_count);

/* A micro-batch that announced these pages was lost. */
void schedule_announce_again(struct schedule *self, const uint32_t *ids, size_t count);

const struct schedule_pages *schedule_get_pages(const struct schedule *self);
uint32_t schedule_running_count(const struct schedule *self);
uint32_t schedule_waiting_count(const struct schedule *self);

#endif
