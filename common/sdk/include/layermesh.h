/*
 * liblayermesh: the client side of layermesh. One client object talks to one router; it is not
 * thread-safe, but any number of clients may exist. Nothing here blocks longer than the timeout
 * it is given. Signal handlers and masks of the program are left as they are.
 *
 * Text is bytes in UTF-8. Every function that can fail returns LMESH_OK or a negative code and
 * leaves a sentence in lmesh_client_error().
 */
#ifndef LAYERMESH_H
#define LAYERMESH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LMESH_API __attribute__((visibility("default")))

enum lmesh_code {
    LMESH_OK = 0,
    LMESH_ERR_INVALID = -1,     /* an argument is out of range */
    LMESH_ERR_NOMEM = -2,       /* out of memory */
    LMESH_ERR_CONNECT = -3,     /* no router answered within the timeout */
    LMESH_ERR_TIMEOUT = -4,     /* the deadline passed */
    LMESH_ERR_REFUSED = -5,     /* the router refused: queue full, prompt too long, not allowed */
    LMESH_ERR_UNAVAILABLE = -6, /* no stage can serve; the text names the lost hop */
    LMESH_ERR_FAILED = -7,      /* the request failed for another reason */
    LMESH_ERR_AGAIN = -8,       /* lmesh_next(): nothing came yet, call again */
};

enum lmesh_finish {
    LMESH_FINISH_NONE = 0, /* still running */
    LMESH_FINISH_STOP = 1, /* end token or stop string */
    LMESH_FINISH_LENGTH = 2,
    LMESH_FINISH_CANCELLED = 3,
    LMESH_FINISH_ERROR = 4,
};

struct lmesh_client;
struct lmesh_request;

struct lmesh_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
};

struct lmesh_logit_bias {
    uint32_t token_id;
    float bias; /* added to the logit; -INFINITY bans */
};

/* What to generate. Zero it, then set what is wanted; exactly one of prompt, ids, messages. */
struct lmesh_generate_options {
    const char *prompt;
    size_t prompt_bytes; /* 0: strlen(prompt) */
    const uint32_t *ids;
    size_t id_count;
    const struct lmesh_message *messages;
    size_t message_count;
    uint32_t max_tokens; /* 0: to the end of the context */
    float temperature;   /* 0: greedy */
    uint32_t top_k;      /* 0: off, as all that follow */
    float top_p;
    float min_p;
    float repeat_penalty;
    uint32_t repeat_last_n;
    float presence_penalty;
    float frequency_penalty;
    uint64_t seed;
    const struct lmesh_logit_bias *logit_biases;
    size_t logit_bias_count;
    const char *const *stops;
    size_t stop_count;
    int ignore_eos;
    uint32_t top_logprobs; /* alternatives reported with each token */
    uint32_t deadline_ms;  /* from arrival at the router */
    /*
     * So many answers to the prompt, 1 to 128; 0: 1. Answer i is the one that a request of its own
     * with seed + i would get; together they compute the prompt and keep it in memory once.
     */
    uint32_t choices;
    int token_bytes; /* report the bytes of each token and alternative */
    /* Further samplers, zero is off. They apply in this order, among those above: biases, penalties,
     * DRY, top_n_sigma, top_k, typical_p, top_p, min_p, XTC, temperature. */
    float dry_multiplier;
    float dry_base;                  /* 0: 1.75 */
    uint32_t dry_allowed_length;     /* 0: 2 */
    uint32_t dry_last_n;             /* 0: 8192, which is the most */
    const char *const *dry_breakers; /* at most 16; none: newline, colon, quote, asterisk */
    size_t dry_breaker_count;
    float top_n_sigma;
    float typical_p;
    float xtc_probability;
    float xtc_threshold;      /* 0: 0.1 */
    float dynatemp_range;     /* temperature -+ this, by the entropy of what is left */
    float dynatemp_exponent;  /* 0: 1 */
    uint32_t min_keep;        /* what typical_p, top_p, min_p and XTC leave at least */
    uint32_t min_tokens;      /* no end token and no stop id before so many */
    const uint32_t *stop_ids; /* end the answer as end tokens do; at most 64 */
    size_t stop_id_count;
    const uint32_t *suppress; /* are never chosen; at most 1024 */
    size_t suppress_count;
};

struct lmesh_score_options {
    const uint32_t *ids;
    size_t id_count;
    int all_positions; /* logits of every position, else of the last */
    int want_logits;
    int want_logprobs; /* of each id but the first */
    uint32_t deadline_ms;
};

struct lmesh_top_logprob {
    uint32_t id;
    float logprob;
    const char *bytes; /* what it adds to a text, not terminated; when token_bytes was asked for */
    size_t byte_count;
};

struct lmesh_token {
    uint32_t id;
    float logprob;                        /* natural log, before any sampler */
    const struct lmesh_top_logprob *tops; /* best first; when top_logprobs was asked for */
    size_t top_count;
    const char *bytes; /* as above; no whole characters, perhaps */
    size_t byte_count;
};

/* A piece of an answer. Borrowed from the request until its next call. */
struct lmesh_part {
    const char *text; /* complete UTF-8, NUL-terminated, may be "" */
    size_t text_bytes;
    const struct lmesh_token *tokens;
    size_t token_count;
    /* score only */
    uint32_t first_position;
    const float *logits; /* [row_count, vocab_size] or NULL */
    uint32_t row_count, vocab_size;
    const float *logprobs; /* of the ids at first_position + 1 ... */
    size_t logprob_count;
    /* at the end */
    enum lmesh_finish finish; /* NONE: more of this choice will come */
    uint32_t prompt_tokens, completion_tokens;
    double ttft_ms, total_ms; /* as the router measured them */
    uint32_t resume_count;    /* times the mesh rebuilt this request after losing a stage */
    /* several choices */
    uint32_t choice; /* which answer this is of, 0, 1, ... */
    uint32_t
        choices_open; /* at the end of one: how many have not ended; 0: this was the last part */
    uint32_t shared_tokens;           /* of the prompt, that another choice had computed */
    uint32_t total_completion_tokens; /* of the choices that have ended */
    const char *error;                /* finish is ERROR: why this choice failed; else "" */
};

struct lmesh_status {
    int ready;
    uint64_t plan_epoch;
    uint32_t requests_running, requests_waiting;
    uint32_t kv_pages_used, kv_pages_total;
    uint32_t kv_pages_saved; /* that would be in use as well if choices did not share theirs */
};

/*
 * endpoint: "tcp://host:port" or "ipc://path"; NULL: the environment's LAYERMESH_ROUTER.
 * Connecting happens in the background. Over TCP the client needs its key file ('layermesh keys
 * issue NAME --role client'), named by the environment's LAYERMESH_KEY; in the clear it needs
 * LAYERMESH_INSECURE=1. On failure *ret_client is still set, to be asked for the reason and
 * destroyed, unless memory ran out (then NULL).
 */
LMESH_API int lmesh_client_new(const char *endpoint, struct lmesh_client **ret_client);

/* The same with the path of the key file; NULL: LAYERMESH_KEY. It is read during the call. */
LMESH_API int lmesh_client_new_with_key(
    const char *endpoint, const char *key_file, struct lmesh_client **ret_client);

/* Frees and nulls. Requests that still exist fail from then on; destroy them too. */
LMESH_API void lmesh_client_destroy(struct lmesh_client **client);

/* The last failure, for a person. Never NULL. */
LMESH_API const char *lmesh_client_error(const struct lmesh_client *client);

/*
 * Start a request; options are copied. It leaves as soon as the router is connected, at the latest
 * within lmesh_next(). It is freed with lmesh_request_destroy(), which cancels it when unfinished.
 */
LMESH_API int lmesh_generate(struct lmesh_client *client,
    const struct lmesh_generate_options *options, struct lmesh_request **ret_request);
LMESH_API int lmesh_score(struct lmesh_client *client, const struct lmesh_score_options *options,
    struct lmesh_request **ret_request);

/*
 * Waits up to timeout_ms (-1: for ever) for the next part. Returns LMESH_OK with *ret_part,
 * LMESH_ERR_AGAIN when nothing came in that time or a signal arrived (call again), or the failure
 * of the request, then and ever after. After the part whose finish is not NONE nothing comes:
 * LMESH_ERR_INVALID. Of several choices each ends with such a part, also one that fails alone (its
 * finish is ERROR); after the one whose choices_open is 0 nothing comes. Several requests of one client may be read in any order; what arrives for
 * the others is kept, up to 65536 parts or 256 MiB each, after which such a request fails.
 *
 * A router takes a client for dead that is silent for 10 s: call this, for any request, more often.
 */
LMESH_API int lmesh_next(
    struct lmesh_request *request, int timeout_ms, const struct lmesh_part **ret_part);

/* Asks for cancellation; the final part (CANCELLED) still comes through lmesh_next(). */
LMESH_API int lmesh_cancel(struct lmesh_request *request);
/* The same for one of several choices; the others go on. */
LMESH_API int lmesh_cancel_choice(struct lmesh_request *request, uint32_t choice);
LMESH_API void lmesh_request_destroy(struct lmesh_request **request);

/* Returns LMESH_OK, LMESH_ERR_CONNECT when no router was reached in that time, LMESH_ERR_TIMEOUT
 * when one was but did not answer, or LMESH_ERR_AGAIN when a signal arrived. */
LMESH_API int lmesh_status(
    struct lmesh_client *client, int timeout_ms, struct lmesh_status *ret_status);

/* "0.1.0" */
LMESH_API const char *lmesh_version(void);

#ifdef __cplusplus
}
#endif

#endif
