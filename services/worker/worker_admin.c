#include "worker_admin.h"

#include "base_err.h"

#define PREFIX  "layermesh_"
#define TELL_MS 200 /* between two texts of readiness */

int worker_admin_register(
    struct worker_admin *self, struct metrics *metrics, struct base_error *err)
{
    struct worker_metrics *cells = &self->cells;
    const struct metrics_series series[] = {
        {PREFIX "steps_total", "Steps computed.", METRICS_COUNTER, {{0}}, &cells->steps, false},
        {PREFIX "step_tokens_total", "Tokens in these steps.", METRICS_COUNTER, {{0}},
            &cells->tokens, false},
        {PREFIX "busy_seconds_total", "Time in compute: its rate is the busy share.",
            METRICS_SECONDS, {{0}}, &cells->busy_us, false},
        {PREFIX "step_seconds", "Compute of one step.", METRICS_HISTOGRAM, {{0}}, &cells->step,
            false},
        {PREFIX "step_errors_total", "Steps that ended in an error told to the router.",
            METRICS_COUNTER, {{0}}, &cells->step_errors, false},
        {PREFIX "stage_loads_total", "Stages loaded, by how it went.", METRICS_COUNTER,
            {{"outcome", "ok"}}, &cells->loads_ok, false},
        {PREFIX "stage_loads_total", "Stages loaded, by how it went.", METRICS_COUNTER,
            {{"outcome", "failed"}}, &cells->loads_failed, false},
        {PREFIX "activations_total", "Plans taken into service here.", METRICS_COUNTER, {{0}},
            &cells->activations, false},
        {PREFIX "steps_queued", "Steps that are here now.", METRICS_GAUGE, {{0}}, &cells->queued,
            false},
        {PREFIX "credits_granted", "Steps that the previous hop may send now.", METRICS_GAUGE,
            {{0}}, &cells->credits, false},
        {PREFIX "kv_pages", "KV pages of the stage.", METRICS_GAUGE, {{0}}, &cells->pages_total,
            false},
        {PREFIX "kv_pages_used", "KV pages that hold positions now.", METRICS_GAUGE, {{0}},
            &cells->pages_used, false},
        {PREFIX "epoch", "Epoch that is served; 0: none.", METRICS_GAUGE, {{0}}, &cells->epoch,
            false},
        {PREFIX "stage_layers", "Layers of the stage; 0: none.", METRICS_GAUGE, {{0}},
            &cells->layers, false},
        {PREFIX "ready", "1: the stage serves its epoch, or this is a spare.", METRICS_GAUGE, {{0}},
            &self->ready, false},
        {PREFIX "coordinator_up", "1: the coordinator is connected.", METRICS_GAUGE, {{0}},
            &self->coordinator_up, false},
        {PREFIX "memory_offered_bytes", "Memory that the coordinator may place layers in.",
            METRICS_GAUGE, {{0}}, &self->memory_bytes, false},
        {PREFIX "compute_threads", "Threads that compute.", METRICS_GAUGE, {{0}}, &self->threads,
            false},
    };

    cells->step.bounds_us = metrics_bounds_step;
    return metrics_register(metrics, series, sizeof(series) / sizeof(series[0]), err);
}

void worker_admin_update(
    struct worker_admin *self, const struct worker *core, uint64_t now_ms, bool coordinator_up)
{
    char text[ADMIN_TEXT_BYTES];

    worker_gauges(core, &self->cells);
    metrics_set(&self->coordinator_up, coordinator_up ? 1 : 0);
    admin_beat(self->admin);
    bool ready = worker_is_ready(core, text, sizeof(text));
    if (ready == (metrics_gauge_get(&self->ready) > 0) && self->told_ms != 0 &&
        now_ms - self->told_ms < TELL_MS)
        return;
    self->told_ms = now_ms;
    metrics_set(&self->ready, ready ? 1 : 0);
    admin_set_ready(self->admin, ready, "%s", text);
}
