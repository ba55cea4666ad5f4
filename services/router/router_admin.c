#include "router_admin.h"

#include <stdio.h>

#include "base_err.h"
#include "router_metrics.h"

#define PREFIX        "layermesh_"
#define TELL_US       200000u /* between two texts of readiness */
#define COUNT_OF(row) (sizeof(row) / sizeof((row)[0]))

static int register_requests(
    struct router_metrics *cells, struct metrics *metrics, struct base_error *err)
{
    static const char *const outcomes[] = {
        "stop", "length", "cancelled", "error", "refused", "gone"};
    static const char *const codes[] = {
#define X(name, text) #name,
        BASE_ERR_MAP(X)
#undef X
    };
    int rc = BASE_OK;
    for (size_t i = 0; i < COUNT_OF(outcomes) && rc == BASE_OK; i++) {
        const struct metrics_series series = {PREFIX "requests_total",
            "Answers that ended, by how; each choice of a request counts.", METRICS_COUNTER,
            {{"outcome", outcomes[i]}}, &cells->outcomes[i], false};
        rc = metrics_register(metrics, &series, 1, err);
    }
    for (size_t i = 0; i < COUNT_OF(codes) && rc == BASE_OK; i++) {
        const struct metrics_series series = {PREFIX "request_errors_total",
            "Outcomes error and refused, by the code that the client got.", METRICS_COUNTER,
            {{"code", codes[i]}}, &cells->errors[i], false};
        rc = metrics_register(metrics, &series, 1, err);
    }
    return rc;
}

static int register_steps(struct router_admin *self, struct router_metrics *cells,
    struct metrics *metrics, struct base_error *err)
{
    int rc = BASE_OK;
    for (size_t i = 0; i < LIMIT_STAGES_MAX && rc == BASE_OK; i++) {
        (void)snprintf(self->stages[i], sizeof(self->stages[i]), "%zu", i);
        const struct metrics_series series = {PREFIX "hop_seconds",
            "Compute of one stage on one micro-batch, by place in the pipeline.", METRICS_HISTOGRAM,
            {{"stage", self->stages[i]}}, &cells->hops[i], true};
        rc = metrics_register(metrics, &series, 1, err);
    }
    return rc;
}

static int register_rest(struct router_admin *self, struct router_metrics *cells,
    struct metrics *metrics, struct base_error *err)
{
    const struct metrics_series series[] = {
        {PREFIX "time_to_first_token_seconds", "From a request's arrival to its first token.",
            METRICS_HISTOGRAM, {{0}}, &cells->first_token, false},
        {PREFIX "between_tokens_seconds", "From one token of an answer to its next.",
            METRICS_HISTOGRAM, {{0}}, &cells->between_tokens, false},
        {PREFIX "queue_wait_seconds", "From arrival to the first micro-batch.", METRICS_HISTOGRAM,
            {{0}}, &cells->queue_wait, false},
        {PREFIX "request_duration_seconds", "From arrival to the end of the answer.",
            METRICS_HISTOGRAM, {{0}}, &cells->total, false},
        {PREFIX "round_duration_seconds", "A micro-batch through all stages and back.",
            METRICS_HISTOGRAM, {{0}}, &cells->round, false},
        {PREFIX "prompt_tokens_total", "Tokens of prompts of ended requests.", METRICS_COUNTER,
            {{0}}, &cells->prompt_tokens, false},
        {PREFIX "completion_tokens_total", "Tokens of answers of ended requests.", METRICS_COUNTER,
            {{0}}, &cells->completion_tokens, false},
        {PREFIX "batches_total", "Micro-batches sent.", METRICS_COUNTER, {{0}}, &cells->batches,
            false},
        {PREFIX "batch_tokens_total", "Tokens in these micro-batches.", METRICS_COUNTER, {{0}},
            &cells->batch_tokens, false},
        {PREFIX "steps_lost_total", "Micro-batches that did not come back or came too early.",
            METRICS_COUNTER, {{0}}, &cells->steps_lost, false},
        {PREFIX "steps_refused_total", "Micro-batches that a stage called wrong.", METRICS_COUNTER,
            {{0}}, &cells->steps_refused, false},
        {PREFIX "suspects_total", "Times that the coordinator was told of a late micro-batch.",
            METRICS_COUNTER, {{0}}, &cells->suspects, false},
        {PREFIX "resumes_total", "Running requests that were moved to another plan.",
            METRICS_COUNTER, {{0}}, &cells->resumes, false},
        {PREFIX "plans_total", "Plans taken into service.", METRICS_COUNTER, {{0}}, &cells->plans,
            false},
        {PREFIX "plans_unavailable_total", "Times that there was no plan to serve.",
            METRICS_COUNTER, {{0}}, &cells->unavailable, false},
        {PREFIX "canaries_total", "Tokens of our own that were sent round, by how it went.",
            METRICS_COUNTER, {{"outcome", "ok"}}, &cells->canaries_ok, false},
        {PREFIX "canaries_total", "Tokens of our own that were sent round, by how it went.",
            METRICS_COUNTER, {{"outcome", "failed"}}, &cells->canaries_failed, false},
        {PREFIX "requests_running", "Requests that hold KV pages now.", METRICS_GAUGE, {{0}},
            &self->running, false},
        {PREFIX "requests_waiting", "Requests that wait now.", METRICS_GAUGE, {{0}}, &self->waiting,
            false},
        {PREFIX "kv_pages", "KV pages of the plan.", METRICS_GAUGE, {{0}}, &self->pages_total,
            false},
        {PREFIX "kv_pages_used", "KV pages in use now.", METRICS_GAUGE, {{0}}, &self->pages_used,
            false},
        {PREFIX "kv_pages_saved", "KV pages that choices of one prompt share now.", METRICS_GAUGE,
            {{0}}, &self->pages_saved, false},
        {PREFIX "epoch", "Epoch of the plan in service, or of the newest one heard of.",
            METRICS_GAUGE, {{0}}, &self->epoch, false},
        {PREFIX "ready", "1: a token went round lately on the plan in force.", METRICS_GAUGE, {{0}},
            &self->ready, false},
        {PREFIX "coordinator_up", "1: the coordinator is connected.", METRICS_GAUGE, {{0}},
            &self->coordinator_up, false},
    };
    return metrics_register(metrics, series, COUNT_OF(series), err);
}

int router_admin_register(
    struct router_admin *self, struct router *core, struct metrics *metrics, struct base_error *err)
{
    struct router_metrics *cells = router_get_metrics(core);
    int rc = register_requests(cells, metrics, err);
    if (rc == BASE_OK)
        rc = register_steps(self, cells, metrics, err);
    if (rc == BASE_OK)
        rc = register_rest(self, cells, metrics, err);
    return rc;
}

void router_admin_update(
    struct router_admin *self, const struct router *core, uint64_t now_us, bool coordinator_up)
{
    struct wire_router_status status;
    char text[ADMIN_TEXT_BYTES];
    router_status(core, &status);
    bool ready = router_is_ready(core, now_us, text, sizeof(text));
    metrics_set(&self->running, status.requests_running);
    metrics_set(&self->waiting, status.requests_waiting);
    metrics_set(&self->pages_total, status.kv_pages_total);
    metrics_set(&self->pages_used, status.kv_pages_used);
    metrics_set(&self->pages_saved, status.kv_pages_saved);
    metrics_set(&self->epoch, (double)status.plan_epoch);
    metrics_set(&self->coordinator_up, coordinator_up ? 1 : 0);
    admin_beat(self->admin);
    if (ready == (metrics_gauge_get(&self->ready) > 0) && now_us - self->told_us < TELL_US)
        return;
    self->told_us = now_us;
    metrics_set(&self->ready, ready ? 1 : 0);
    admin_set_ready(self->admin, ready, "%s", text);
}
