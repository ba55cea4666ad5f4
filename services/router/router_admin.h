/* The router's numbers under their names, and its readiness. Main thread only. */
#ifndef ROUTER_ADMIN_H
#define ROUTER_ADMIN_H

#include "admin.h"
#include "metrics.h"
#include "router.h"

struct router_admin {
    struct admin *admin; /* borrowed; NULL: none */
    char stages[LIMIT_STAGES_MAX][4];
    struct metrics_gauge running, waiting, pages_total, pages_used, pages_saved, epoch, ready;
    struct metrics_gauge coordinator_up;
    uint64_t told_us;
};

/* Registers the core's cells and our own. Returns as metrics_register(). */
int router_admin_register(struct router_admin *self, struct router *core, struct metrics *metrics,
    struct base_error *err);

/* Once in each turn of the loop. */
void router_admin_update(
    struct router_admin *self, const struct router *core, uint64_t now_us, bool coordinator_up);

#endif
