/* What a worker counts. Cells without I/O; worker_admin.c gives them their names. */
#ifndef WORKER_METRICS_H
#define WORKER_METRICS_H

#include "metrics.h"

struct worker_metrics {
    struct metrics_counter steps, tokens, busy_us; /* computed */
    struct metrics_histogram step;                 /* compute of one step */
    struct metrics_counter step_errors;            /* told to the router */
    struct metrics_counter loads_ok, loads_failed, activations;
    struct metrics_gauge queued, credits; /* steps here; steps that the previous hop may send */
    struct metrics_gauge pages_total, pages_used, epoch, layers;
};

#endif
