/* The coordinator's numbers under their names, and its readiness. Main thread only. */
#ifndef COORDINATOR_ADMIN_H
#define COORDINATOR_ADMIN_H

#include "admin.h"
#include "coordinator.h"
#include "metrics.h"

struct coordinator_admin {
    struct admin *admin; /* borrowed; NULL: none */
    struct metrics_gauge spare, loading, ready, draining, lost, routers, silence_s;
    struct metrics_gauge in_force, epoch, stages, kv_pages, bottleneck_s;
    uint64_t told_ms;
};

/* Registers the core's cells and our own. Returns as metrics_register(). */
int coordinator_admin_register(struct coordinator_admin *self, struct coordinator *core,
    struct metrics *metrics, struct base_error *err);

/*
 * Once in each turn of the loop. A coordinator that waits for workers is ready as well: it is
 * there for them to come to, and says what it waits for.
 */
void coordinator_admin_update(
    struct coordinator_admin *self, const struct coordinator *core, uint64_t now_ms);

#endif
