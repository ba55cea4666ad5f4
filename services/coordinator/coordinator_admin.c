#include "coordinator_admin.h"

#include "base_err.h"
#include "coordinator_metrics.h"
#include <stdio.h>

#define PREFIX        "layermesh_"
#define TELL_MS       200 /* between two looks */
#define COUNT_OF(row) (sizeof(row) / sizeof((row)[0]))

static int register_counters(
    struct coordinator_metrics *cells, struct metrics *metrics, struct base_error *err)
{
    static const char *const causes[] = {"first", "forced", "voluntary", "again"};
    const struct metrics_series series[] = {
        {PREFIX "plans_activated_total", "Plans that came into force.", METRICS_COUNTER, {{0}},
            &cells->activated, false},
        {PREFIX "plans_unavailable_total", "Times that no placement existed.", METRICS_COUNTER,
            {{0}}, &cells->unavailable, false},
        {PREFIX "workers_joined_total", "Workers that joined or came back.", METRICS_COUNTER, {{0}},
            &cells->joined, false},
        {PREFIX "peers_lost_total",
            "Peers that were lost: connection closed, lease over, goodbye, restart.",
            METRICS_COUNTER, {{"role", "worker"}}, &cells->lost_workers, false},
        {PREFIX "peers_lost_total",
            "Peers that were lost: connection closed, lease over, goodbye, restart.",
            METRICS_COUNTER, {{"role", "router"}}, &cells->lost_routers, false},
        {PREFIX "worker_hangs_total", "Workers set aside for a step that did not end.",
            METRICS_COUNTER, {{0}}, &cells->hangs, false},
        {PREFIX "suspects_total", "Reports of the router that a micro-batch is late.",
            METRICS_COUNTER, {{0}}, &cells->suspects, false},
        {PREFIX "drains_total", "Requests to take a worker's stage away.", METRICS_COUNTER, {{0}},
            &cells->drains, false},
    };
    int rc = BASE_OK;

    for (size_t i = 0; i < COORDINATOR_PLAN_CAUSES && rc == BASE_OK; i++) {
        const struct metrics_series plans = {PREFIX "plans_total", "Plans made, by why.",
            METRICS_COUNTER, {{"cause", causes[i]}}, &cells->plans[i], false};
        rc = metrics_register(metrics, &plans, 1, err);
    }
    return rc == BASE_OK ? metrics_register(metrics, series, COUNT_OF(series), err) : rc;
}

int coordinator_admin_register(struct coordinator_admin *self, struct coordinator *core,
    struct metrics *metrics, struct base_error *err)
{
    static const char workers[] = "Workers by state; lost ones for a minute.";
    const struct metrics_series series[] = {
        {PREFIX "workers", workers, METRICS_GAUGE, {{"state", "spare"}}, &self->spare, false},
        {PREFIX "workers", workers, METRICS_GAUGE, {{"state", "loading"}}, &self->loading, false},
        {PREFIX "workers", workers, METRICS_GAUGE, {{"state", "ready"}}, &self->ready, false},
        {PREFIX "workers", workers, METRICS_GAUGE, {{"state", "draining"}}, &self->draining, false},
        {PREFIX "workers", workers, METRICS_GAUGE, {{"state", "lost"}}, &self->lost, false},
        {PREFIX "routers", "Routers that are registered.", METRICS_GAUGE, {{0}}, &self->routers,
            false},
        {PREFIX "peer_silence_max_seconds", "Longest silence of any registered peer.",
            METRICS_GAUGE, {{0}}, &self->silence_s, false},
        {PREFIX "plan_in_force", "1: a plan serves.", METRICS_GAUGE, {{0}}, &self->in_force, false},
        {PREFIX "epoch", "Epoch of the plan.", METRICS_GAUGE, {{0}}, &self->epoch, false},
        {PREFIX "stages", "Stages of the plan.", METRICS_GAUGE, {{0}}, &self->stages, false},
        {PREFIX "kv_pages", "KV pages of the plan.", METRICS_GAUGE, {{0}}, &self->kv_pages, false},
        {PREFIX "bottleneck_seconds", "Predicted time of the slowest stage for one micro-batch.",
            METRICS_GAUGE, {{0}}, &self->bottleneck_s, false},
    };
    int rc = register_counters(coordinator_get_metrics(core), metrics, err);

    return rc == BASE_OK ? metrics_register(metrics, series, COUNT_OF(series), err) : rc;
}

void coordinator_admin_update(
    struct coordinator_admin *self, const struct coordinator *core, uint64_t now_ms)
{
    struct coordinator_census census;
    char text[ADMIN_TEXT_BYTES];

    admin_beat(self->admin);
    if (self->told_ms != 0 && now_ms - self->told_ms < TELL_MS)
        return;
    self->told_ms = now_ms;
    coordinator_take_census(core, now_ms, &census, text, sizeof(text));
    metrics_set(&self->spare, census.spare);
    metrics_set(&self->loading, census.loading);
    metrics_set(&self->ready, census.ready);
    metrics_set(&self->draining, census.draining);
    metrics_set(&self->lost, census.lost);
    metrics_set(&self->routers, census.routers);
    metrics_set(&self->silence_s, (double)census.silence_ms / 1e3);
    metrics_set(&self->in_force, census.serves ? 1 : 0);
    metrics_set(&self->epoch, (double)census.epoch);
    metrics_set(&self->stages, census.stages);
    metrics_set(&self->kv_pages, census.kv_pages);
    metrics_set(&self->bottleneck_s, census.bottleneck_ms / 1e3);
    admin_set_ready(self->admin, true, "%s", text);
}
