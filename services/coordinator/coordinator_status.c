/* What people see: who holds what and why. */
#include "coordinator_core.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *exclusion_text(uint8_t exclusion)
{
    switch (exclusion) {
    case PLAN_EXCLUDED_MEMORY:
        return "its memory cannot hold a single layer with KV and buffers";
    case PLAN_EXCLUDED_STANDBY:
        return "standby: kept as a spare while the others can do";
    case PLAN_EXCLUDED_SLOWER:
        return "with it the slowest stage would not get faster";
    case PLAN_EXCLUDED_STAGE_COUNT:
        return "the asked number of stages is reached without it";
    case PLAN_EXCLUDED_NO_RATE:
        return "it measured no speed for the model's weight types";
    default:
        return "joined after the plan was made: weighed at the next change of plan";
    }
}

/* The plan that status shows: what serves, or else what is coming. */
static const struct coordinator_placement *shown(const struct coordinator *self)
{
    if (self->next.epoch && !coordinator_serves(self))
        return &self->next;
    return &self->current;
}

static enum wire_worker_state state_of(
    const struct coordinator *self, const struct coordinator_member *member)
{
    int coming = coordinator_stage_of(&self->next, member);

    if (!member->live || member->quarantined)
        return WIRE_WORKER_LOST;
    if (member->draining)
        return WIRE_WORKER_DRAINING;
    if (coordinator_serves(self) && coordinator_stage_of(&self->current, member) >= 0)
        return WIRE_WORKER_READY;
    if (coming >= 0)
        return self->next.ready[coming] ? WIRE_WORKER_READY : WIRE_WORKER_LOADING;
    return WIRE_WORKER_SPARE;
}

static void fill_stage(struct coordinator *self, const struct coordinator_member *member,
    const struct coordinator_placement *placement, int stage, struct wire_worker_row *row)
{
    const struct wire_stage *which = &placement->stages[stage];
    uint32_t last = which->layer_first + which->layer_count - 1;
    double without_ms = placement->without_ms[stage];

    row->has_stage = true;
    row->layer_first = which->layer_first;
    row->layer_count = which->layer_count;
    row->weight_bytes = which->weight_bytes;
    row->kv_bytes = which->kv_bytes;
    row->predicted_ms = coordinator_stage_predicted_ms(self, placement, (size_t)stage, true);
    row->measured_ms = member->heartbeat.step_ms;
    row->kv_pages_used = member->heartbeat.kv_pages_used;
    row->kv_pages_total = member->heartbeat.kv_pages_total;
    row->load_progress = placement == &self->current ? 1 : member->load_progress;
    int used = snprintf(row->reason, sizeof(row->reason),
        "%" PRIu32 " tokens through layers %" PRIu32 "..%" PRIu32
        " take %.3g ms, the slowest stage %.3g ms; ",
        self->options.batch_tokens, which->layer_first, last, which->predicted_ms,
        placement->bottleneck_ms);
    if (used < 0 || (size_t)used >= sizeof(row->reason))
        return;
    if (without_ms >= 0)
        (void)snprintf(row->reason + used, sizeof(row->reason) - (size_t)used,
            "without it the slowest would take %.3g ms", without_ms);
    else
        (void)snprintf(row->reason + used, sizeof(row->reason) - (size_t)used,
            "without it no placement exists");
}

static void fill_row(
    struct coordinator *self, const struct coordinator_member *member, struct wire_worker_row *row)
{
    const struct coordinator_placement *placement = shown(self);
    const struct wire_heartbeat *heartbeat = &member->heartbeat;
    int stage = coordinator_stage_of(placement, member);

    *row = (struct wire_worker_row){
        .pid = member->identity.pid,
        .state = state_of(self, member),
        .memory_bytes = member->identity.memory_bytes,
        .last_progress_ms = member->heartbeat_ms
                                ? heartbeat->last_progress_ms + self->now_ms - member->heartbeat_ms
                                : 0,
    };
    memcpy(row->node_id, member->identity.node_id, sizeof(row->node_id));
    memcpy(row->host, member->identity.host, sizeof(row->host));
    if (row->state == WIRE_WORKER_LOST)
        (void)snprintf(row->reason, sizeof(row->reason), "lost: %.240s", member->note);
    else if (stage >= 0)
        fill_stage(self, member, placement, stage, row);
    else if (member->draining)
        (void)snprintf(row->reason, sizeof(row->reason), "drained: it may leave");
    else if (member->note[0])
        memcpy(row->reason, member->note, sizeof(row->reason));
    else if (!placement->epoch)
        (void)snprintf(row->reason, sizeof(row->reason), "no plan has been made yet");
    else if (placement->state == WIRE_PLAN_UNAVAILABLE)
        (void)snprintf(row->reason, sizeof(row->reason), "no placement exists");
    else
        (void)snprintf(row->reason, sizeof(row->reason), "%s",
            exclusion_text(placement->exclusion[member - self->workers]));
}

void coordinator_status(struct coordinator *self, uint64_t peer)
{
    const struct coordinator_placement *placement = shown(self);
    const struct coordinator_member *router = coordinator_active_router(self);
    struct wire_message message = {.kind = WIRE_STATUS_REPLY};
    struct wire_status_reply *reply = &message.status_reply;

    reply->plan_epoch = placement->epoch;
    reply->plan_state = placement->epoch ? (int)placement->state : 0;
    memcpy(reply->plan_reason, placement->reason, sizeof(reply->plan_reason));
    if (!placement->epoch)
        (void)snprintf(reply->plan_reason, sizeof(reply->plan_reason),
            "no plan yet: %zu of at least %" PRIu32 " workers are registered",
            coordinator_live_count(self),
            self->options.min_workers ? self->options.min_workers : 1);
    reply->bottleneck_ms = placement->bottleneck_ms;
    reply->error = placement->error;
    reply->model = self->card;
    reply->workers = self->rows;
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++)
        if (self->workers[i].used)
            fill_row(self, &self->workers[i], &self->rows[reply->worker_count++]);
    for (size_t i = 0; i < LIMIT_ROUTERS_MAX; i++)
        reply->router_count += self->routers[i].used && self->routers[i].live;
    if (router) {
        reply->requests_running = router->heartbeat.requests_running;
        reply->requests_waiting = router->heartbeat.requests_waiting;
    }
    coordinator_send(self, peer, &message);
}

/* ---- census ---- */

static void count_member(const struct coordinator *self, const struct coordinator_member *member,
    struct coordinator_census *ret)
{
    switch (state_of(self, member)) {
    case WIRE_WORKER_LOADING:
        ret->loading++;
        break;
    case WIRE_WORKER_READY:
        ret->ready++;
        break;
    case WIRE_WORKER_DRAINING:
        ret->draining++;
        break;
    case WIRE_WORKER_LOST:
        ret->lost++;
        break;
    default:
        ret->spare++;
        break;
    }
}

void coordinator_take_census(const struct coordinator *self, uint64_t now_ms,
    struct coordinator_census *ret, char *ret_text, size_t text_bytes)
{
    const struct coordinator_placement *placement = shown(self);

    *ret = (struct coordinator_census){.serves = coordinator_serves(self)};
    for (size_t i = 0; i < LIMIT_WORKERS_MAX + LIMIT_ROUTERS_MAX; i++) {
        const struct coordinator_member *member =
            i < LIMIT_WORKERS_MAX ? &self->workers[i] : &self->routers[i - LIMIT_WORKERS_MAX];

        if (!member->used)
            continue;
        if (member->live && now_ms > member->heard_ms &&
            now_ms - member->heard_ms > ret->silence_ms)
            ret->silence_ms = now_ms - member->heard_ms;
        if (i < LIMIT_WORKERS_MAX)
            count_member(self, member, ret);
        else
            ret->routers += member->live;
    }
    ret->epoch = placement->epoch;
    ret->stages = (uint32_t)placement->stage_count;
    ret->kv_pages = (uint32_t)(placement->kv_tokens / LIMIT_PAGE_TOKENS);
    ret->bottleneck_ms = placement->bottleneck_ms;
    if (ret->serves)
        (void)snprintf(ret_text, text_bytes, "plan %" PRIu64 " is in force: %zu stages",
            placement->epoch, placement->stage_count);
    else if (!placement->epoch)
        (void)snprintf(ret_text, text_bytes,
            "waiting: %zu of at least %" PRIu32 " workers are registered",
            coordinator_live_count(self), self->options.min_workers);
    else if (placement->state == WIRE_PLAN_UNAVAILABLE)
        (void)snprintf(ret_text, text_bytes, "waiting: %s", placement->error.text);
    else
        (void)snprintf(ret_text, text_bytes, "waiting: plan %" PRIu64 " is being loaded%s",
            placement->epoch, ret->routers == 0 ? ", and no router is registered" : "");
}
