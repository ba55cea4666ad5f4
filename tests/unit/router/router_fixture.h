/* A router with one fake stage behind it, clients that note what they get, and a clock by hand. */
#ifndef ROUTER_FIXTURE_H
#define ROUTER_FIXTURE_H

#include "router.h"
#include "sim_model.h"

#define FIXTURE_VOCAB   50u
#define FIXTURE_STEPS   128
#define FIXTURE_ANSWERS 128
#define FIXTURE_TOKENS  2048

/* A step on its way to the stage; owned. */
struct fixture_step {
    struct wire_step step;
    uint32_t *tokens;
};

/* What a client got for one request. */
struct fixture_answer {
    uint64_t client, request_id;
    uint32_t choice;
    uint32_t ids[FIXTURE_TOKENS];
    float logprobs[FIXTURE_TOKENS];
    size_t id_count;
    size_t partial_count;
    char text[8192];
    size_t text_bytes;
    struct wire_top_logprob top[LIMIT_TOP_LOGPROBS]; /* of the newest token */
    size_t top_count;
    char pieces[8192]; /* of all tokens, when asked for */
    size_t piece_bytes;
    float scores[FIXTURE_TOKENS]; /* at the index of the token that they are of */
    size_t score_count;
    float *logits; /* rows in order of arrival */
    uint32_t row_count, first_row;
    int final_count;
    struct wire_final final;
};

struct fixture {
    struct router *router;
    uint64_t now_us;
    struct sim_kv kv;
    bool pages_used[4096];
    uint32_t vocab_size;

    struct fixture_step steps[FIXTURE_STEPS]; /* sent, not yet run */
    size_t step_count;
    uint64_t steps_sent;
    bool link_full;
    char sender_key[LIMIT_KEY_BYTES]; /* of the stage's results; "": plain */
    bool is_taken;                    /* what the router said to the last one */

    struct fixture_answer answers[FIXTURE_ANSWERS];
    size_t answer_count;
    enum router_sent client_takes[8]; /* by client */
    int partials_taken[8];            /* PARTIALs that there is still room for; -1: no bound */

    struct wire_message coordinator[64]; /* newest messages; pointers are not kept */
    size_t coordinator_count;
    uint64_t linked_epoch;
    char linked_endpoint[LIMIT_ENDPOINT_BYTES];
    bool is_linked;
    struct wire_router_status status; /* newest ROUTER_STATUS */
    int status_count;
};

struct fixture *fixture_new(
    const struct router_options *options, const struct text_tokenizer *tokenizer);
void fixture_destroy(struct fixture *self);
struct router_options fixture_options(void);

/* Makes a plan of one stage with so many pages active; the stage's pages are new. */
void fixture_plan(struct fixture *self, uint64_t epoch, uint32_t page_count);
void fixture_plan_state(
    struct fixture *self, uint64_t epoch, enum wire_plan_state state, const char *error_node);

void fixture_send(struct fixture *self, uint64_t client, const struct wire_message *message);
/* A greedy request for count tokens of ids. */
struct wire_message fixture_generate(
    uint64_t request_id, const uint32_t *ids, size_t count, uint32_t max_tokens);

/* The stage runs the oldest step; the router gets its result. false: there was none. */
bool fixture_step_once(struct fixture *self);
/* The oldest step is lost on the way. */
void fixture_lose(struct fixture *self);
/* Until nothing is under way. */
void fixture_run(struct fixture *self);
/* Sets the clock forward in steps that tick as told. */
void fixture_wait_ms(struct fixture *self, uint32_t ms);

struct fixture_answer *fixture_answer_of(
    struct fixture *self, uint64_t client, uint64_t request_id);
struct fixture_answer *fixture_choice_of(
    struct fixture *self, uint64_t client, uint64_t request_id, uint32_t choice);
size_t fixture_pages_used(const struct fixture *self);

/* What greedy decoding gives, token by token, without any cluster. */
void fixture_greedy(const uint32_t *ids, size_t count, uint32_t wanted, uint32_t *ret);

#endif
