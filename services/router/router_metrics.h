/*
 * What the router counts about itself. Cells without I/O; router_admin.c gives them their names.
 * Users' requests only: the canary has its own. A GENERATE of several choices counts each choice.
 */
#ifndef ROUTER_METRICS_H
#define ROUTER_METRICS_H

#include "base_err.h"
#include "base_limits.h"
#include "metrics.h"

enum router_outcome {
    ROUTER_OUTCOME_STOP,
    ROUTER_OUTCOME_LENGTH,
    ROUTER_OUTCOME_CANCELLED,
    ROUTER_OUTCOME_ERROR,
    ROUTER_OUTCOME_REFUSED, /* at admission */
    ROUTER_OUTCOME_GONE,    /* the client was not there any more */
    ROUTER_OUTCOME_COUNT,
};

enum router_code {
#define X(name, text) ROUTER_CODE_##name,
    BASE_ERR_MAP(X)
#undef X
        ROUTER_CODE_COUNT,
};

struct router_metrics {
    struct metrics_counter outcomes[ROUTER_OUTCOME_COUNT];
    struct metrics_counter errors[ROUTER_CODE_COUNT]; /* of ERROR and REFUSED, by code */
    struct metrics_counter prompt_tokens, completion_tokens;
    struct metrics_histogram first_token, between_tokens, queue_wait, total;
    struct metrics_histogram round;                   /* a micro-batch, sent to returned */
    struct metrics_histogram hops[LIMIT_STAGES_MAX];  /* compute of each stage in it */
    struct metrics_counter batches, batch_tokens;     /* sent */
    struct metrics_counter steps_lost, steps_refused; /* by the way, by a stage */
    struct metrics_counter suspects, plans, unavailable, resumes;
    struct metrics_counter canaries_ok, canaries_failed;
};

#endif
