/*
 * The router's state, shared by its files. router.c: events and the coordinator;
 * router_admit.c: admission; router_requests.c: plans, deadlines and end; router_group.c: what the
 * choices of a request share; router_batch.c: micro-batches out and results in;
 * router_sample.c: logits to tokens and scores; router_emit.c: answers to clients;
 * router_plan.c: the plan that is served; router_canary.c: a token of our own.
 */
#ifndef ROUTER_INTERNAL_H
#define ROUTER_INTERNAL_H

#include "router.h"
#include "router_metrics.h"
#include "schedule.h"
#include "schedule_pace.h"
#include "text_sampler.h"
#include "text_stream.h"
#include "text_tokenizer.h"

/* Most bytes of logits that one micro-batch asks for. */
#define ROUTER_RESULT_BYTES (UINT64_C(8) << 20)
/* FINALs of refused requests that wait for room in their client's queue. */
#define ROUTER_REFUSALS_MAX 256
/* A request whose client leaves so much unread is not computed on. */
#define ROUTER_UNREAD_TOKENS_MAX 256
#define ROUTER_UNREAD_SCORES_MAX 4

/* A part of a score's answer; of one that could not be sent yet the numbers follow the struct. */
struct router_score_part {
    struct router_score_part *next;
    uint32_t first_position, row_count;
    size_t logprob_count;
    float *logprobs;
    uint8_t *tensor; /* f32 [row_count, vocab_size] */
    size_t bytes;    /* of a copy, all in all */
};

/* What a client has not been sent yet, in order. */
struct router_outbox {
    struct wire_token_part *tokens; /* owned; .top is set when sent */
    size_t token_count, token_capacity;
    struct wire_top_logprob *tops; /* owned; of all tokens, one after the other */
    size_t top_count, top_capacity;
    char *text; /* owned */
    size_t text_bytes, text_capacity;
    struct router_score_part *first_score, *last_score; /* owned */
    size_t score_count, score_bytes;
    uint64_t unsent_since_us; /* something waits, and the client has taken nothing since; 0: none */
};

/* What the choices of one GENERATE have in common; a request with one choice has it as well. */
struct router_group {
    uint32_t references;   /* choices that point here */
    uint32_t choices_open; /* choices whose FINAL is not sent yet */
    uint32_t completion_tokens;
    struct text_sampling sampling;  /* .seed: of choice 0 */
    struct text_logit_bias *biases; /* owned */
    uint8_t *dry_breakers;          /* owned; NULL: the router's, or none */
    uint32_t *banned;               /* owned: end tokens, then stop ids */
    size_t end_count, banned_count;
    uint32_t max_tokens; /* 0: to the end of the context */
    uint32_t min_tokens;
    uint32_t top_logprobs;
    bool ignore_eos, token_bytes;
};

/* A score, or one choice of a GENERATE. */
struct router_request {
    struct schedule_sequence sequence; /* .length: tokens in the log */
    uint64_t client, request_id;
    uint32_t choice;
    bool is_score;
    struct router_group *group; /* of a GENERATE; shared */

    uint64_t arrived_us, heard_us, first_token_us, last_token_us;
    uint64_t first_sent_us; /* in its first micro-batch; 0: not yet */
    uint64_t deadline_us;   /* 0: none */

    /* The token log: prompt, then what was generated. All that is needed to rebuild it. */
    uint32_t *tokens; /* owned [token_capacity] */
    uint32_t token_capacity, prompt_count;

    /* generate */
    uint32_t granted; /* longest length of the log on its first plan; 0: had none yet */
    struct text_sampling sampling;
    enum wire_logits_mode logits; /* of the next row */
    uint32_t top_count;
    struct text_stream *stream; /* owned; NULL without tokenizer */

    /* score */
    bool all_positions, want_logits, want_logprobs;
    uint32_t scored; /* positions whose numbers are in the outbox or sent */

    uint32_t partial_sequence;
    struct router_outbox outbox;
    uint32_t resume_count;
    uint32_t refused_count;  /* micro-batches with it that a stage called invalid */
    uint32_t repeated_count; /* micro-batches with it that were lost or came too early */
    bool started;            /* was in a micro-batch of the present plan */
    bool ended;              /* final is set; the schedule does not know it any more */
    bool dead;               /* to be freed at the end of the event */
    struct wire_final final;
};

struct router_batch_item {
    uint64_t sequence_id;
    uint32_t first_position, token_count;
    enum wire_logits_mode logits;
    uint32_t top_count;
    bool last;
};

/* A micro-batch in flight. */
struct router_batch {
    uint64_t batch_id;
    uint64_t sent_us, overdue_us;
    uint32_t suspect_count;
    struct router_batch_item items[LIMIT_BATCH_SEQUENCES_MAX];
    size_t item_count;
    uint32_t token_count;
    bool has_decodes;
    bool is_alone;      /* nothing else was in flight with it so far */
    uint32_t *released; /* owned; the pages that it announces */
    size_t released_count;
};

/* The plan that is served. */
struct router_plan {
    bool active;
    uint64_t epoch;
    uint32_t page_count, context_length, vocab_size, batches_max;
    char last_node[LIMIT_NAME_BYTES];             /* of the last stage */
    char keys[LIMIT_STAGES_MAX][LIMIT_KEY_BYTES]; /* of each stage; "": its socket is plain */
    size_t stage_count;
    char reason[LIMIT_HOST_BYTES]; /* why it was made */
};

struct router_refusal {
    uint64_t client;
    struct wire_final final;
};

struct router {
    struct router_options options;
    struct router_sink sink;
    const struct text_tokenizer *tokenizer; /* borrowed */
    uint32_t *end_ids;                      /* tokens that end generation; owned */
    size_t end_id_count;
    uint8_t *dry_breakers; /* the usual ones, made when first asked for; owned */
    struct schedule *schedule;

    struct router_request **requests; /* in order of arrival; [requests_max] */
    size_t request_count, requests_max;
    uint64_t arrival_newest;
    struct router_refusal *refusals; /* ring [ROUTER_REFUSALS_MAX] */
    size_t refusal_head, refusal_count;

    struct router_batch *batches; /* in order of batch_id; [LIMIT_BATCHES_IN_FLIGHT] */
    size_t batch_count;
    uint64_t batch_id_newest;
    struct schedule_pace pace;
    double batch_us;         /* moving average from sent to returned */
    uint64_t hold_until_us;  /* no step before, because a stage was not ready */
    bool link_full;          /* the last step was not taken */
    uint32_t repeated_count; /* times that all in flight was given up, since the last result */
    uint64_t progress_us;    /* of the last result */

    struct router_plan plan;
    uint64_t epoch_seen;            /* newest plan of any state */
    uint64_t epoch_prepared;        /* newest plan that is being loaded */
    struct wire_fault unavailable;  /* code BASE_OK: requests may wait for a plan */
    uint64_t plan_lost_us;          /* since when there is no plan */
    struct text_candidate *scratch; /* owned [plan.vocab_size] */

    uint64_t now_us; /* of the last event */
    bool registered;
    uint64_t register_at_us, heartbeat_at_us, coordinator_heard_us;
    uint64_t coordinator_incarnation;
    uint32_t heartbeat_interval_ms;
    bool draining;

    uint64_t round_epoch; /* of the plan that the last result went round on */
    bool canary_open;
    uint64_t canary_newest, canary_at_us; /* no new one before */
    struct router_metrics metrics;
};

/* The number of no client. */
#define ROUTER_CANARY_CLIENT UINT64_MAX

/* ---- router_canary.c ---- */
bool router_is_canary(uint64_t client);
/* The sink's, for all but the canary. */
enum router_sent router_send_client(struct router *self, uint64_t client,
    const struct wire_message *message, const void *tensor, size_t bytes);
void router_canary_tick(struct router *self, uint64_t now_us);
uint64_t router_canary_next_us(const struct router *self);

/* ---- router_admit.c ---- */
void router_generate(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_generate *generate);
void router_score(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_score *score);

/* ---- router_requests.c ---- */
/* One that is not over, whatever its choice; NULL: none. */
struct router_request *router_request_find(
    struct router *self, uint64_t client, uint64_t request_id);
/* Why a request cannot run on the active plan at all; code BASE_OK: it can. */
struct wire_fault router_request_misfit(
    const struct router *self, const struct router_request *request);
/* Tokens that its log can come to on the active plan, or on any when there is none. */
uint32_t router_request_limit(const struct router *self, const struct router_request *request);
void router_cancel(
    struct router *self, uint64_t now_us, uint64_t client, const struct wire_cancel *cancel);
/* Ids that may not be chosen next; borrowed. */
const uint32_t *router_request_banned(const struct router_request *request, size_t *ret_count);
/* Ends a request: pages back, what is left in the outbox, then FINAL. fault: only for ERROR. */
void router_end(struct router *self, uint64_t now_us, struct router_request *request,
    enum wire_finish_reason reason, const struct wire_fault *fault);
/* The client does not read: drops what it has not taken of this answer and tells it so in a FINAL,
 * for which there may be room. */
void router_end_unread(struct router *self, uint64_t now_us, struct router_request *request,
    const struct wire_fault *fault);
/* No FINAL can reach that client any more. */
void router_drop_client(struct router *self, uint64_t client);
/* Fits limits, ids and logits of a live request to the plan just made active; may end it. */
void router_request_fit(struct router *self, uint64_t now_us, struct router_request *request);
/* The log has reached its limit: LENGTH, or an error when a plan with less room set that limit. */
void router_end_at_limit(struct router *self, uint64_t now_us, struct router_request *request);
/* Which logits its next row needs. */
void router_request_want(struct router *self, struct router_request *request);
struct router_request *router_request_of_sequence(struct router *self, uint64_t sequence_id);
/* Deadlines, silent clients, waits for a plan. */
void router_requests_tick(struct router *self, uint64_t now_us);
uint64_t router_requests_next_us(const struct router *self);
void router_sweep(struct router *self); /* frees what is dead */
void router_request_destroy(struct router_request **request_p);
/* A user's request is over; code: of an error, else BASE_OK. */
void router_count_outcome(struct router *self, enum router_outcome outcome, int code);
struct wire_fault router_fault(int code, const char *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- router_group.c ---- */
/* Returns BASE_OK, or BASE_INVALID, BASE_TOO_BIG or BASE_NOMEM with the reason in *err. */
int router_group_new(struct router *self, const struct wire_generate *generate,
    struct router_group **ret_group, struct base_error *err);
/* One reference less; freed with the last. */
void router_group_release(struct router_group **group_p);

/* ---- router_batch.c ---- */
void router_pump(struct router *self, uint64_t now_us);
void router_result(struct router *self, uint64_t now_us, const struct wire_result *result,
    const void *tensor, size_t tensor_bytes);
void router_step_error(
    struct router *self, uint64_t now_us, const struct wire_step_error *step_error);
void router_batches_forget(struct router *self); /* a new plan: nothing will come back */
void router_batches_tick(struct router *self, uint64_t now_us);
uint64_t router_batches_next_us(const struct router *self);

/* ---- router_sample.c ---- */
/* Whether rows and tensor are what the batch asked for. */
bool router_rows_valid(const struct router *self, const struct router_batch *batch,
    const struct wire_result *result, const uint8_t *tensor, size_t tensor_bytes);
size_t router_row_bytes(const struct wire_row_result *row);
void router_take_token(struct router *self, uint64_t now_us, struct router_request *request,
    const struct wire_row_result *row, const uint8_t *payload);
void router_take_scores(struct router *self, uint64_t now_us, struct router_request *request,
    const struct router_batch_item *item, const struct wire_row_result *rows,
    const uint8_t *payload);

/* ---- router_emit.c ---- */
/* Adds a token (may be NULL) and text to the outbox. Returns BASE_OK or BASE_NOMEM. */
int router_emit_token(struct router_request *request, const struct wire_token_part *token,
    const char *text, size_t text_bytes);
/* Sends, or keeps a copy when the client has no room now. Returns BASE_OK or BASE_NOMEM. */
int router_emit_score(struct router *self, uint64_t now_us, struct router_request *request,
    const struct router_score_part *part);
/* Sends what it can of outbox and FINAL. */
void router_flush(struct router *self, uint64_t now_us, struct router_request *request);
void router_outbox_release(struct router_outbox *self);
void router_refuse(
    struct router *self, uint64_t client, uint64_t request_id, const struct wire_fault *fault);
void router_flush_all(struct router *self, uint64_t now_us);
bool router_has_unsent(const struct router *self);

/* ---- router_plan.c ---- */
/* Whether who holds this key ("": nobody knows) may say that of the plan in force. */
bool router_plan_lets_say(
    const struct router *self, const char *public_key, const struct wire_message *message);
void router_plan_message(struct router *self, uint64_t now_us, const struct wire_plan *plan);

#endif
