/* A worker's numbers under their names, and its readiness. */
#ifndef WORKER_ADMIN_H
#define WORKER_ADMIN_H

#include "admin.h"
#include "metrics.h"
#include "worker.h"
#include "worker_metrics.h"

/* Made by the main thread before all others; then the data thread's. */
struct worker_admin {
    struct admin *admin; /* borrowed; NULL: none */
    struct worker_metrics cells;
    struct metrics_gauge ready, coordinator_up, memory_bytes, threads;
    uint64_t told_ms;
};

/* Returns as metrics_register(). Main thread. */
int worker_admin_register(
    struct worker_admin *self, struct metrics *metrics, struct base_error *err);

/* Once in each turn of the loop. Data thread. */
void worker_admin_update(
    struct worker_admin *self, const struct worker *core, uint64_t now_ms, bool coordinator_up);

#endif
