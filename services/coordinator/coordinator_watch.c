/* What heartbeats and routers tell about stages that run: hangs, lost micro-batches, drift. */
#include "coordinator_core.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SLOWDOWN_MIN 0.1
#define SLOWDOWN_MAX 10.0

/* Out of every plan, though its lease runs on: it beats, but it does not compute. */
static void quarantine(struct coordinator *self, struct coordinator_member *member)
{
    int stage = coordinator_stage_of(&self->current, member);

    member->quarantined = true;
    metrics_add(&self->metrics.hangs, 1);
    self->stale = true;
    (void)snprintf(member->note, sizeof(member->note),
        "hangs: one step in compute for %" PRIu32 " ms", member->heartbeat.busy_ms);
    if (stage >= 0 && !self->current.broken)
        coordinator_set_cause(self, member->identity.node_id,
            "%s with layers %" PRIu32 "..%" PRIu32 " was lost (one step in compute for %" PRIu32
            " ms)",
            member->identity.node_id, self->current.stages[stage].layer_first,
            self->current.stages[stage].layer_first + self->current.stages[stage].layer_count - 1,
            member->heartbeat.busy_ms);
    coordinator_break(self, member);
}

/* It ended the step that it hung in. */
static void release(struct coordinator *self, struct coordinator_member *member)
{
    member->quarantined = false;
    member->note[0] = '\0';
    self->stale = self->wanted = true;
    if (coordinator_serves(self))
        coordinator_set_cause(
            self, member->identity.node_id, "%s computes again", member->identity.node_id);
}

/* A plan that did not arrive, or whose answer did not, is sent again. */
static void send_again(struct coordinator *self, struct coordinator_member *member)
{
    uint64_t newest = self->next.epoch ? self->next.epoch : self->current.epoch;
    int stage = coordinator_stage_of(&self->next, member);
    bool silent = stage >= 0 && !self->next.ready[stage] &&
                  self->now_ms - member->load_ms >= COORDINATOR_RESEND_INTERVAL_MS;

    if ((member->heartbeat.plan_epoch >= newest && !silent) ||
        self->now_ms - member->plan_sent_ms < COORDINATOR_RESEND_INTERVAL_MS)
        return;
    member->plan_sent_ms = self->now_ms;
    coordinator_send_plans(self, member);
}

void coordinator_watch_heartbeat(struct coordinator *self, struct coordinator_member *member)
{
    const struct wire_heartbeat *heartbeat = &member->heartbeat;

    send_again(self, member);
    if (coordinator_is_router(self, member))
        return;
    if (!member->quarantined && heartbeat->busy_ms > self->options.hang_ms)
        quarantine(self, member);
    else if (member->quarantined && heartbeat->busy_ms <= self->options.hang_ms)
        release(self, member);
    /* It wanted to leave and could not be spared; somebody has joined since. */
    if (heartbeat->state == WIRE_WORKER_DRAINING && !member->draining &&
        self->joined_ms > member->drain_refused_ms) {
        struct wire_drain drain;

        memcpy(drain.node_id, member->identity.node_id, sizeof(drain.node_id));
        coordinator_drain(self, member->peer, &drain);
    }
}

/* The first stage that has not finished the micro-batch; NULL: all have. */
static struct coordinator_member *find_culprit(struct coordinator *self, uint64_t batch_id)
{
    for (size_t i = 0; i < self->current.stage_count; i++) {
        struct coordinator_member *member =
            coordinator_find_worker(self, self->current.stages[i].node_id);

        if (member && member->live && member->heartbeat.last_batch_id < batch_id)
            return member;
    }
    return NULL;
}

void coordinator_suspect(struct coordinator *self, const struct coordinator_member *member,
    const struct wire_suspect *suspect)
{
    struct coordinator_member *culprit;
    uint64_t stale_ms = (uint64_t)self->options.heartbeat_interval_ms * 5 / 2;
    char why[LIMIT_HOST_BYTES];

    if (member != coordinator_active_router(self) || !coordinator_serves(self) ||
        suspect->epoch != self->current.epoch || self->next.epoch)
        return;
    culprit = find_culprit(self, suspect->batch_id);
    if (culprit && culprit->heartbeat.busy_ms > self->options.hang_ms) {
        quarantine(self, culprit);
    } else if (culprit && self->now_ms - culprit->heard_ms > stale_ms) {
        (void)snprintf(why, sizeof(why),
            "micro-batch %" PRIu64 " did not return and it was silent for %" PRIu64 " ms",
            suspect->batch_id, self->now_ms - culprit->heard_ms);
        coordinator_lose(self, culprit, why);
    } else if (culprit && culprit->heartbeat.busy_ms > 0 &&
               suspect->waited_ms <= self->options.hang_ms) {
        return; /* slow, not lost: it computes, and hang_ms bounds that */
    } else {
        (void)snprintf(why, sizeof(why), "micro-batch %" PRIu64 " got lost at %s",
            suspect->batch_id, culprit ? culprit->identity.node_id : "the way back");
        coordinator_reset(self, why);
    }
}

/* ---- drift ---- */

/* Measured over predicted time of a stage; 0 when it did not run lately. */
static double time_ratio(struct coordinator *self, size_t stage)
{
    const struct coordinator_member *member =
        coordinator_find_worker(self, self->current.stages[stage].node_id);
    double predicted_ms = coordinator_stage_predicted_ms(self, &self->current, stage, true);

    if (!member || member->heartbeat.plan_epoch < self->current.epoch ||
        member->heartbeat.last_progress_ms > COORDINATOR_DRIFT_INTERVAL_MS ||
        !(member->heartbeat.step_ms > 0) || !(predicted_ms > 0))
        return 0;
    return member->heartbeat.step_ms / predicted_ms;
}

/*
 * All stages compute the same micro-batches on machines that all deviate somewhat from their
 * probe. So it is the ratio to the geometric mean of all stages that tells a slow worker.
 */
static bool evaluate(struct coordinator *self, double *ret_ratios)
{
    double logarithms = 0;
    bool due = false;

    for (size_t i = 0; i < self->current.stage_count; i++) {
        ret_ratios[i] = time_ratio(self, i);
        if (ret_ratios[i] <= 0)
            return false;
        logarithms += log(ret_ratios[i]);
    }
    for (size_t i = 0; i < self->current.stage_count; i++) {
        struct coordinator_member *member =
            coordinator_find_worker(self, self->current.stages[i].node_id);

        ret_ratios[i] /= exp(logarithms / (double)self->current.stage_count);
        if (fabs(ret_ratios[i] - 1) > COORDINATOR_DRIFT_RATIO)
            member->drift_rounds++;
        else
            member->drift_rounds = 0;
        due |= member->drift_rounds >= COORDINATOR_DRIFT_ROUNDS;
    }
    return due;
}

void coordinator_drift(struct coordinator *self)
{
    double ratios[LIMIT_STAGES_MAX];

    if (!coordinator_serves(self) || self->now_ms < self->drift_at_ms)
        return;
    self->drift_at_ms = self->now_ms + COORDINATOR_DRIFT_INTERVAL_MS;
    if (self->current.stage_count < 2 || !evaluate(self, ratios))
        return;
    for (size_t i = 0; i < self->current.stage_count; i++) {
        struct coordinator_member *member =
            coordinator_find_worker(self, self->current.stages[i].node_id);

        member->slowdown = fmin(fmax(member->slowdown * ratios[i], SLOWDOWN_MIN), SLOWDOWN_MAX);
        member->drift_rounds = 0;
    }
    self->wanted = true;
    coordinator_set_cause(self, "", "measured stage times differ from the predicted ones");
}
