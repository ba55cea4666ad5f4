/* What the coordinator counts. Cells without I/O; coordinator_admin.c gives them their names. */
#ifndef COORDINATOR_METRICS_H
#define COORDINATOR_METRICS_H

#include "metrics.h"

/* Why a plan was made. */
enum coordinator_plan_cause {
    COORDINATOR_PLAN_FIRST,
    COORDINATOR_PLAN_FORCED,    /* a stage was lost or has to go */
    COORDINATOR_PLAN_VOLUNTARY, /* a better placement exists */
    COORDINATOR_PLAN_AGAIN,     /* the same stages: another router, or a lost micro-batch */
    COORDINATOR_PLAN_CAUSES,
};

struct coordinator_metrics {
    struct metrics_counter plans[COORDINATOR_PLAN_CAUSES]; /* prepared */
    struct metrics_counter activated, unavailable;
    struct metrics_counter joined, lost_workers, lost_routers, hangs, suspects, drains;
};

/* How things stand. */
struct coordinator_census {
    uint32_t spare, loading, ready, draining, lost; /* workers by state, as status shows them */
    uint32_t routers;
    uint64_t silence_ms; /* the longest of any live peer */
    bool serves;
    uint64_t epoch; /* of the plan that is shown */
    uint32_t stages, kv_pages;
    double bottleneck_ms;
};

#endif
