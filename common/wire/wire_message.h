/*
 * Every message of the mesh as plain structs. What a field means is written once, in
 * proto/; here are the C types and the bounds that wire_decode() has already checked.
 *
 * Strings are NUL-terminated and valid UTF-8 without embedded NUL; byte strings carry a
 * length. Pointers of a decoded message live in the arena given to wire_decode(); those of
 * a message to be encoded are borrowed for the call. A {0} struct is the empty message.
 */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

#include "base_err.h"
#include "base_limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PROTOCOL_VERSION 1u
#define WIRE_PROTOCOL_MIN     1u

/* Feature bits at registration; a bit not known here is ignored. */
#define WIRE_FEATURE_TOP_LOGITS UINT64_C(1) /* last stage reduces logits */

/* The values are on the wire: never renumber or reuse. */
enum wire_kind {
    WIRE_REGISTER = 1,
    WIRE_REGISTERED = 2,
    WIRE_HEARTBEAT = 3,
    WIRE_HEARTBEAT_ACK = 4,
    WIRE_PLAN = 5,
    WIRE_STAGE_STATUS = 6,
    WIRE_SUSPECT = 7,
    WIRE_DRAIN = 8,
    WIRE_GOODBYE = 9,
    WIRE_PROBE = 10,
    WIRE_STATUS_QUERY = 11,
    WIRE_STATUS_REPLY = 12,
    WIRE_ERROR = 13, /* body: wire_fault */
    WIRE_ADMISSION = 14,
    WIRE_ENROL = 15,
    WIRE_ENROLLED = 16,

    WIRE_STEP = 32,
    WIRE_RESULT = 33,
    WIRE_STEP_ERROR = 34,
    WIRE_LINK_HELLO = 35,
    WIRE_CREDIT = 36,

    WIRE_GENERATE = 64,
    WIRE_SCORE = 65,
    WIRE_CANCEL = 66,
    WIRE_PING = 67,
    WIRE_PARTIAL = 68,
    WIRE_FINAL = 69,
    WIRE_ROUTER_STATUS_QUERY = 70,
    WIRE_ROUTER_STATUS = 71,
};

struct wire_bytes {
    const uint8_t *data;
    size_t bytes;
};

/* message Error. code is an enum base_err (BASE_OK: no error). */
struct wire_fault {
    int code;
    char text[BASE_ERROR_TEXT_BYTES];
    char node[LIMIT_NAME_BYTES];
};

/* ---- control ---- */

enum wire_role {
    WIRE_ROLE_WORKER = 1,
    WIRE_ROLE_ROUTER = 2,
    WIRE_ROLE_ADMIN = 3,
    WIRE_ROLE_CLIENT = 4,
    WIRE_ROLE_COORDINATOR = 5,
    WIRE_ROLE_JOIN = 6, /* the bearer of a join token */
};

struct wire_rate {
    uint32_t weight_type;
    double gops;            /* > 0, finite */
    double gigabytes_per_s; /* > 0, finite */
};

struct wire_layer_cost {
    uint32_t weight_type;
    uint64_t weight_bytes;
    uint64_t operations_per_token;
    uint32_t kv_bytes_per_token;
};

/* layers has layer_count + 2 rows (embedding, blocks, norm and head), or 0 in a StatusReply. */
struct wire_model_card {
    uint64_t fingerprint;
    char name[LIMIT_HOST_BYTES];
    char architecture[LIMIT_NAME_BYTES];
    uint32_t layer_count; /* 1..LIMIT_LAYERS_MAX; 0: no card */
    uint32_t embedding_length;
    uint32_t vocab_size;
    uint32_t context_length;
    uint32_t kv_type; /* of keys and values, as tensor_attention.h has it */
    const struct wire_layer_cost *layers;
    size_t layers_count;
};

struct wire_register {
    uint32_t protocol_version, min_version;
    uint64_t features;
    enum wire_role role;
    char node_id[LIMIT_NAME_BYTES]; /* [A-Za-z0-9._-]+ */
    uint64_t incarnation;
    char host[LIMIT_HOST_BYTES];
    uint32_t pid;
    char data_endpoint[LIMIT_ENDPOINT_BYTES];
    uint64_t memory_bytes;
    uint32_t thread_count;
    const struct wire_rate *rates;
    size_t rate_count; /* <= LIMIT_RATES_MAX */
    struct wire_model_card model;
    bool standby;
    uint64_t plan_epoch;
    /* Not on the wire: the coordinator's socket fills in the key that the sender proved to have. */
    char public_key[LIMIT_KEY_BYTES];
};

struct wire_registered {
    uint32_t protocol_version;
    uint64_t features;
    uint32_t heartbeat_interval_ms;
    uint32_t lease_ms;
    uint64_t coordinator_incarnation;
    uint64_t plan_epoch;
};

enum wire_worker_state {
    WIRE_WORKER_SPARE = 1,
    WIRE_WORKER_LOADING = 2,
    WIRE_WORKER_READY = 3,
    WIRE_WORKER_DRAINING = 4,
    WIRE_WORKER_LOST = 5,
};

struct wire_heartbeat {
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    uint64_t plan_epoch;
    enum wire_worker_state state; /* routers send READY */
    uint64_t last_progress_ms;
    uint32_t busy_ms;
    uint32_t queue_depth;
    uint32_t kv_pages_used, kv_pages_total;
    double step_ms, step_tokens, step_context; /* >= 0, finite */
    uint64_t last_batch_id;
    uint32_t requests_running, requests_waiting;
};

struct wire_heartbeat_ack {
    uint64_t coordinator_incarnation;
    uint64_t plan_epoch;
};

struct wire_stage {
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    char endpoint[LIMIT_ENDPOINT_BYTES];
    uint32_t layer_first, layer_count;
    uint64_t weight_bytes, kv_bytes;
    double predicted_ms;
    char public_key[LIMIT_KEY_BYTES]; /* "": its data socket is plain */
};

enum wire_plan_state {
    WIRE_PLAN_PREPARE = 1,
    WIRE_PLAN_ACTIVE = 2,
    WIRE_PLAN_UNAVAILABLE = 3,
};

/* PREPARE and ACTIVE: stages cover all layers in order without gap (checked by decode). */
struct wire_plan {
    uint64_t epoch;
    enum wire_plan_state state;
    uint64_t fingerprint;
    const struct wire_stage *stages;
    size_t stage_count; /* <= LIMIT_STAGES_MAX */
    char router_node_id[LIMIT_NAME_BYTES];
    char router_endpoint[LIMIT_ENDPOINT_BYTES]; /* may be "" while no router is there */
    uint32_t page_tokens, page_count;
    uint32_t context_length, embedding_length, vocab_size;
    char reason[LIMIT_HOST_BYTES];
    struct wire_fault error;
    char router_public_key[LIMIT_KEY_BYTES];
};

enum wire_stage_state {
    WIRE_STAGE_LOADING = 1,
    WIRE_STAGE_READY = 2,
    WIRE_STAGE_FAILED = 3,
};

struct wire_stage_status {
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    uint64_t epoch;
    enum wire_stage_state state;
    double progress; /* 0..1 */
    struct wire_fault error;
};

struct wire_suspect {
    uint64_t epoch, batch_id;
    uint32_t waited_ms;
};

struct wire_drain {
    char node_id[LIMIT_NAME_BYTES];
};

struct wire_goodbye {
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
    char reason[LIMIT_HOST_BYTES];
};

/* A key that may talk to the receiver. */
struct wire_admitted {
    char public_key[LIMIT_KEY_BYTES]; /* Z85, 40 characters */
    enum wire_role role;
    char name[LIMIT_NAME_BYTES]; /* may end in "*": any name that begins so */
};

struct wire_admission {
    uint64_t serial;
    const struct wire_admitted *rows;
    size_t row_count; /* <= LIMIT_KEYS_MAX */
};

struct wire_enrol {
    char node_id[LIMIT_NAME_BYTES];
    char public_key[LIMIT_KEY_BYTES];
};

struct wire_enrolled {
    enum wire_role role;
    char router_public_key[LIMIT_KEY_BYTES]; /* "": the mesh has none */
};

struct wire_worker_row {
    char node_id[LIMIT_NAME_BYTES];
    uint32_t pid;
    char host[LIMIT_HOST_BYTES];
    enum wire_worker_state state;
    bool has_stage;
    uint32_t layer_first, layer_count;
    uint64_t memory_bytes, weight_bytes, kv_bytes;
    uint32_t kv_pages_used, kv_pages_total;
    double predicted_ms, measured_ms;
    uint64_t last_progress_ms;
    char reason[LIMIT_HOST_BYTES];
    double load_progress;
};

struct wire_status_reply {
    uint64_t plan_epoch;
    int plan_state; /* enum wire_plan_state; 0: no plan was ever made */
    char plan_reason[LIMIT_HOST_BYTES];
    double bottleneck_ms;
    uint32_t requests_running, requests_waiting;
    const struct wire_worker_row *workers;
    size_t worker_count; /* <= LIMIT_WORKERS_MAX */
    struct wire_model_card model;
    uint32_t router_count;
    struct wire_fault error;
};

/* ---- data ---- */

enum wire_logits_mode {
    WIRE_LOGITS_NONE = 0,
    WIRE_LOGITS_TOP = 1,
    WIRE_LOGITS_FULL = 2,
    WIRE_LOGITS_FULL_ALL = 3,
};

struct wire_sequence {
    uint64_t sequence_id;
    uint32_t first_position;
    uint32_t token_count;  /* >= 1 */
    const uint32_t *pages; /* covers first_position + token_count positions */
    size_t page_count;
    enum wire_logits_mode logits;
    uint32_t top_count; /* TOP: 1..LIMIT_TOP_LOGITS_MAX */
};

/* token_count is the sum over sequences, <= LIMIT_BATCH_TOKENS_MAX (checked by decode). */
struct wire_step {
    uint64_t epoch, batch_id;
    uint32_t token_count;
    uint32_t embedding_length;
    const struct wire_sequence *sequences;
    size_t sequence_count;
    const uint32_t *released_pages;
    size_t released_page_count;
    const uint32_t *hop_us;
    size_t hop_count;
};

struct wire_row_result {
    uint64_t sequence_id;
    uint32_t position;
    enum wire_logits_mode logits; /* TOP or FULL */
    uint32_t count;
    float log_sum_exp;
};

struct wire_result {
    uint64_t epoch, batch_id;
    const struct wire_row_result *rows;
    size_t row_count;
    const uint32_t *hop_us;
    size_t hop_count;
};

struct wire_step_error {
    uint64_t epoch, batch_id;
    struct wire_fault error;
};

struct wire_link_hello {
    uint64_t epoch;
    char node_id[LIMIT_NAME_BYTES];
    uint64_t incarnation;
};

struct wire_credit {
    uint64_t epoch;
    uint32_t count; /* 1..LIMIT_BATCHES_IN_FLIGHT * 2 */
};

/* ---- client ---- */

struct wire_logit_bias {
    uint32_t token_id;
    float bias; /* not NaN, not +inf; -inf bans */
};

/* Every float is finite and within the range that proto/client.proto names. */
struct wire_sampling {
    float temperature; /* 0..100 */
    uint32_t top_k;
    float top_p, min_p;   /* 0..1 */
    float repeat_penalty; /* 0..100 */
    uint32_t repeat_last_n;
    float presence_penalty, frequency_penalty; /* -100..100 */
    uint64_t seed;
    const struct wire_logit_bias *logit_biases;
    size_t logit_bias_count;
    uint32_t top_logprobs; /* <= LIMIT_TOP_LOGPROBS */
    float typical_p;       /* 0..1 */
    uint32_t min_keep;
    float top_n_sigma;                       /* 0..1000 */
    float dynatemp_range, dynatemp_exponent; /* 0..100 */
    float xtc_probability, xtc_threshold;    /* 0..1 */
    float dry_multiplier, dry_base;          /* 0..100 */
    uint32_t dry_allowed_length, dry_last_n;
    const struct wire_bytes *dry_breakers; /* each 1..LIMIT_STOP_BYTES */
    size_t dry_breaker_count;              /* <= LIMIT_DRY_BREAKERS */
    bool token_bytes;
};

enum wire_prompt_kind {
    WIRE_PROMPT_TEXT = 1,
    WIRE_PROMPT_IDS = 2,
    WIRE_PROMPT_CHAT = 3,
};

struct wire_chat_message {
    char role[LIMIT_NAME_BYTES];
    struct wire_bytes content;
};

struct wire_generate {
    uint64_t request_id;
    enum wire_prompt_kind prompt_kind;
    struct wire_bytes text;
    const uint32_t *ids;
    size_t id_count; /* <= LIMIT_CONTEXT_TOKENS_MAX */
    const struct wire_chat_message *messages;
    size_t message_count;
    uint32_t max_tokens;
    struct wire_sampling sampling;
    const struct wire_bytes *stops;
    size_t stop_count;
    bool ignore_eos;
    uint32_t deadline_ms;
    uint32_t min_tokens;
    const uint32_t *stop_ids;
    size_t stop_id_count; /* <= LIMIT_STOP_IDS */
    const uint32_t *suppress;
    size_t suppress_count; /* <= LIMIT_LOGIT_BIASES */
    uint32_t choices;      /* <= LIMIT_CHOICES */
};

struct wire_score {
    uint64_t request_id;
    const uint32_t *ids;
    size_t id_count;
    bool all_positions, want_logits, want_logprobs;
    uint32_t deadline_ms;
};

struct wire_cancel {
    uint64_t request_id;
    bool one_choice;
    uint32_t choice; /* < LIMIT_CHOICES */
};

struct wire_top_logprob {
    uint32_t token_id;
    float logprob;
    struct wire_bytes piece; /* <= LIMIT_PIECE_BYTES */
};

struct wire_token_part {
    uint32_t token_id;
    float logprob;
    const struct wire_top_logprob *top;
    size_t top_count;
    struct wire_bytes piece;
};

struct wire_partial {
    uint64_t request_id;
    uint32_t sequence;
    const struct wire_token_part *tokens;
    size_t token_count;
    struct wire_bytes text;
    uint32_t first_position, row_count, vocab_size;
    const float *logprobs;
    size_t logprob_count;
    uint32_t choice; /* < LIMIT_CHOICES */
};

enum wire_finish_reason {
    WIRE_FINISH_STOP = 1,
    WIRE_FINISH_LENGTH = 2,
    WIRE_FINISH_CANCELLED = 3,
    WIRE_FINISH_ERROR = 4,
};

struct wire_final {
    uint64_t request_id;
    enum wire_finish_reason finish_reason;
    struct wire_fault error;
    uint32_t prompt_tokens, completion_tokens;
    double ttft_ms, total_ms;
    uint32_t resume_count;
    uint32_t choice, choices_open; /* < LIMIT_CHOICES */
    uint32_t shared_tokens, total_completion_tokens;
};

struct wire_router_status {
    bool ready;
    uint64_t plan_epoch;
    uint32_t requests_running, requests_waiting;
    uint32_t kv_pages_used, kv_pages_total;
    uint32_t kv_pages_saved;
};

/* One message of any kind. Kinds without a member (PROBE, STATUS_QUERY, PING,
 * ROUTER_STATUS_QUERY) have an empty body. */
struct wire_message {
    enum wire_kind kind;
    union {
        struct wire_register register_;
        struct wire_registered registered;
        struct wire_heartbeat heartbeat;
        struct wire_heartbeat_ack heartbeat_ack;
        struct wire_plan plan;
        struct wire_stage_status stage_status;
        struct wire_suspect suspect;
        struct wire_drain drain;
        struct wire_goodbye goodbye;
        struct wire_status_reply status_reply;
        struct wire_fault error;
        struct wire_admission admission;
        struct wire_enrol enrol;
        struct wire_enrolled enrolled;
        struct wire_step step;
        struct wire_result result;
        struct wire_step_error step_error;
        struct wire_link_hello link_hello;
        struct wire_credit credit;
        struct wire_generate generate;
        struct wire_score score;
        struct wire_cancel cancel;
        struct wire_partial partial;
        struct wire_final final;
        struct wire_router_status router_status;
    };
};

#endif
