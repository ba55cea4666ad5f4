/*
 * Life of a plan: made, prepared, active, replaced. At most one plan serves (current) and at most
 * one is being prepared (next); every plan has its own epoch.
 */
#include "base_err.h"
#include "coordinator_core.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int coordinator_stage_of(
    const struct coordinator_placement *placement, const struct coordinator_member *member)
{
    for (size_t i = 0; placement->epoch && i < placement->stage_count; i++)
        if (placement->stages[i].incarnation == member->identity.incarnation &&
            strcmp(placement->stages[i].node_id, member->identity.node_id) == 0)
            return (int)i;
    return -1;
}

bool coordinator_serves(const struct coordinator *self)
{
    return self->current.epoch && self->current.state == WIRE_PLAN_ACTIVE && !self->current.broken;
}

void coordinator_break(struct coordinator *self, const struct coordinator_member *member)
{
    if (coordinator_stage_of(&self->current, member) >= 0)
        self->current.broken = true;
    if (coordinator_stage_of(&self->next, member) >= 0)
        self->next.broken = true;
}

/* ---- sending ---- */

static void send_plan(struct coordinator *self, const struct coordinator_placement *placement,
    const struct coordinator_member *member)
{
    struct wire_message message = {
        .kind = WIRE_PLAN,
        .plan =
            {
                .epoch = placement->epoch,
                .state = placement->state,
                .fingerprint = placement->fingerprint,
                .stages = placement->stages,
                .stage_count = placement->stage_count,
                .page_tokens = LIMIT_PAGE_TOKENS,
                .page_count = (uint32_t)(placement->kv_tokens / LIMIT_PAGE_TOKENS),
                .context_length = placement->context_length,
                .embedding_length = placement->embedding_length,
                .vocab_size = placement->vocab_size,
                .error = placement->error,
            },
    };
    struct wire_plan *plan = &message.plan;

    memcpy(plan->router_node_id, placement->router_node_id, sizeof(plan->router_node_id));
    memcpy(plan->router_endpoint, placement->router_endpoint, sizeof(plan->router_endpoint));
    memcpy(plan->router_public_key, placement->router_public_key, sizeof(plan->router_public_key));
    memcpy(plan->reason, placement->reason, sizeof(plan->reason));
    coordinator_send(self, member->peer, &message);
}

/* To all workers, the last stage first, so that each finds its next hop ready; then the router. */
static void broadcast(struct coordinator *self, const struct coordinator_placement *placement)
{
    struct coordinator_member *router = coordinator_active_router(self);

    for (size_t i = placement->stage_count; i-- > 0;) {
        struct coordinator_member *member =
            coordinator_find_worker(self, placement->stages[i].node_id);

        if (!member || !member->live)
            continue;
        member->plan_sent_ms = self->now_ms;
        send_plan(self, placement, member);
    }
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        struct coordinator_member *member = &self->workers[i];

        if (!member->used || !member->live || coordinator_stage_of(placement, member) >= 0)
            continue;
        member->plan_sent_ms = self->now_ms;
        send_plan(self, placement, member);
    }
    if (router) {
        router->plan_sent_ms = self->now_ms;
        send_plan(self, placement, router);
    }
}

static bool is_for_router(
    const struct coordinator_placement *placement, const struct coordinator_member *router)
{
    return strcmp(placement->router_node_id, router->identity.node_id) == 0 &&
           placement->router_incarnation == router->identity.incarnation &&
           strcmp(placement->router_public_key, router->identity.public_key) == 0 &&
           strcmp(placement->router_endpoint, router->identity.data_endpoint) == 0;
}

/* What is in force, to a member that may have missed it. */
void coordinator_send_plans(struct coordinator *self, const struct coordinator_member *member)
{
    bool is_router = coordinator_is_router(self, member);
    bool unavailable = self->current.epoch && self->current.state == WIRE_PLAN_UNAVAILABLE;

    if (is_router && member != coordinator_active_router(self))
        return;
    if (unavailable ||
        (coordinator_serves(self) && (!is_router || is_for_router(&self->current, member))))
        send_plan(self, &self->current, member);
    if (self->next.epoch)
        send_plan(self, &self->next, member);
}

/* ---- from prepared to active ---- */

/* The placement in scratch becomes the one being prepared. */
static void install(struct coordinator *self, const char *reason)
{
    struct coordinator_member *router = coordinator_active_router(self);
    struct coordinator_placement *next = &self->next;

    *next = self->scratch;
    next->epoch = ++self->epoch;
    next->state = WIRE_PLAN_PREPARE;
    next->broken = false;
    memset(next->ready, 0, sizeof(next->ready));
    next->router_node_id[0] = next->router_endpoint[0] = next->router_public_key[0] = '\0';
    next->router_incarnation = 0;
    if (router) {
        memcpy(next->router_node_id, router->identity.node_id, sizeof(next->router_node_id));
        memcpy(
            next->router_endpoint, router->identity.data_endpoint, sizeof(next->router_endpoint));
        memcpy(next->router_public_key, router->identity.public_key, LIMIT_KEY_BYTES);
        next->router_incarnation = router->identity.incarnation;
    }
    (void)snprintf(next->reason, sizeof(next->reason), "%s", reason);
    self->ever_planned = true;
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        struct coordinator_member *member = &self->workers[i];

        if (!member->used || !member->live)
            continue;
        member->load_progress = 0;
        member->load_ms = self->now_ms;
        if (!member->failed && !member->quarantined)
            member->note[0] = '\0'; /* the plan tells why it was left out, if it was */
    }
    broadcast(self, next);
}

/* The same stages under a new epoch: for another router, or after a lost micro-batch. */
static void install_again(
    struct coordinator *self, const struct coordinator_placement *from, const char *reason)
{
    metrics_add(&self->metrics.plans[COORDINATOR_PLAN_AGAIN], 1);
    self->scratch = *from;
    install(self, reason);
}

static void activate_when_ready(struct coordinator *self)
{
    struct coordinator_member *router = coordinator_active_router(self);

    for (size_t i = 0; i < self->next.stage_count; i++)
        if (!self->next.ready[i])
            return;
    if (!router)
        return; /* loaded and waiting for somebody to serve */
    if (!is_for_router(&self->next, router)) {
        char reason[LIMIT_HOST_BYTES];

        memcpy(reason, self->next.reason, sizeof(reason));
        install_again(self, &self->next, reason);
        return;
    }
    self->next.state = WIRE_PLAN_ACTIVE;
    metrics_add(&self->metrics.activated, 1);
    self->current = self->next;
    self->next = (struct coordinator_placement){0};
    self->drift_at_ms = self->now_ms + COORDINATOR_DRIFT_INTERVAL_MS;
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++)
        self->workers[i].drift_rounds = 0;
    broadcast(self, &self->current);
}

static void stage_failed(struct coordinator *self, struct coordinator_member *member,
    const struct wire_stage *stage, const struct wire_fault *error)
{
    member->failed = true;
    self->stale = true;
    (void)snprintf(member->note, sizeof(member->note), "failed: %.200s",
        error->text[0] ? error->text : base_err_text(error->code));
    coordinator_set_cause(self, member->identity.node_id,
        "%s failed with layers %" PRIu32 "..%" PRIu32 " (%.120s)", member->identity.node_id,
        stage->layer_first, stage->layer_first + stage->layer_count - 1,
        error->text[0] ? error->text : base_err_text(error->code));
}

void coordinator_stage_status(struct coordinator *self, struct coordinator_member *member,
    const struct wire_stage_status *status)
{
    struct coordinator_placement *placement =
        status->epoch == self->next.epoch ? &self->next : &self->current;
    int stage = coordinator_stage_of(placement, member);

    if (status->epoch != placement->epoch || stage < 0)
        return; /* of a plan that has been replaced */
    if (status->state == WIRE_STAGE_FAILED) {
        stage_failed(self, member, &placement->stages[stage], &status->error);
        placement->broken = true;
        return;
    }
    if (placement != &self->next)
        return;
    if (status->progress > member->load_progress || status->state == WIRE_STAGE_READY)
        member->load_ms = self->now_ms;
    member->load_progress = status->state == WIRE_STAGE_READY ? 1 : status->progress;
    if (status->state == WIRE_STAGE_READY)
        self->next.ready[stage] = true;
}

void coordinator_reset(struct coordinator *self, const char *why)
{
    if (!coordinator_serves(self) || self->next.epoch ||
        (self->reset_ever && self->now_ms - self->reset_ms < COORDINATOR_RESET_INTERVAL_MS))
        return;
    self->reset_ever = true;
    self->reset_ms = self->now_ms;
    install_again(self, &self->current, why);
}

/* ---- making ---- */

static void make_unavailable(struct coordinator *self, const struct base_error *err)
{
    struct wire_fault error = {.code = BASE_UNAVAILABLE};
    struct base_error text = *err;

    if (self->cause[0])
        (void)base_error_prepend(&text, BASE_UNAVAILABLE,
            "%.180s, and the remaining workers cannot take over", self->cause);
    else
        (void)base_error_prepend(&text, BASE_UNAVAILABLE, "no placement exists");
    memcpy(error.text, text.text, sizeof(error.text));
    memcpy(error.node, self->cause_node, sizeof(error.node));
    self->ever_planned = true;
    if (self->current.epoch && self->current.state == WIRE_PLAN_UNAVAILABLE &&
        strcmp(self->current.error.text, error.text) == 0)
        return;
    metrics_add(&self->metrics.unavailable, 1);
    self->current = (struct coordinator_placement){
        .epoch = ++self->epoch,
        .state = WIRE_PLAN_UNAVAILABLE,
        .fingerprint = self->card.fingerprint,
        .error = error,
    };
    memset(self->current.exclusion, COORDINATOR_NOT_CONSIDERED, sizeof(self->current.exclusion));
    (void)snprintf(self->current.reason, sizeof(self->current.reason), "%s",
        self->cause[0] ? self->cause : "no placement exists");
    broadcast(self, &self->current);
}

/* Whether the first plan still waits for workers to arrive. */
static bool first_plan_waits(const struct coordinator *self)
{
    size_t least = self->options.min_workers ? self->options.min_workers : 1;

    return !self->ever_planned && (coordinator_live_count(self) < least ||
                                      self->now_ms < self->joined_ms + self->options.settle_ms);
}

/* A plan is needed: none serves, or one of its workers has to go. */
static void plan_now(struct coordinator *self)
{
    struct base_error err = {0};
    int rc;

    if (!self->stale || first_plan_waits(self))
        return;
    self->stale = self->wanted = false;
    rc = coordinator_solve(self, &self->scratch, &err);
    if (rc != BASE_OK && coordinator_drain_give_up(self, err.text)) {
        if (coordinator_serves(self))
            return;
        rc = coordinator_solve(self, &self->scratch, &err);
    }
    if (rc == BASE_OK) {
        bool is_first = !self->ever_planned;
        metrics_add(
            &self->metrics.plans[is_first ? COORDINATOR_PLAN_FIRST : COORDINATOR_PLAN_FORCED], 1);
        coordinator_keep(self, &self->scratch);
        install(self, self->cause[0] ? self->cause : "first plan");
    } else if (!coordinator_serves(self)) {
        make_unavailable(self, &err);
    }
}

static bool current_has_unwanted(struct coordinator *self)
{
    for (size_t i = 0; i < self->current.stage_count; i++) {
        const struct coordinator_member *member =
            coordinator_find_worker(self, self->current.stages[i].node_id);

        if (member && (member->draining || member->failed))
            return true;
    }
    return false;
}

static bool same_stages(
    const struct coordinator_placement *a, const struct coordinator_placement *b)
{
    if (a->stage_count != b->stage_count || a->kv_tokens != b->kv_tokens)
        return false;
    for (size_t i = 0; i < a->stage_count; i++)
        if (strcmp(a->stages[i].node_id, b->stages[i].node_id) != 0 ||
            a->stages[i].layer_first != b->stages[i].layer_first ||
            a->stages[i].layer_count != b->stages[i].layer_count)
            return false;
    return true;
}

static uint32_t stages_missed(
    const struct coordinator *self, const struct coordinator_placement *placement)
{
    uint32_t asked = self->options.stage_count, count = (uint32_t)placement->stage_count;

    if (asked == 0)
        return 0;
    return asked > count ? asked - count : count - asked;
}

static bool is_worth_it(
    const struct coordinator *self, const struct coordinator_placement *other, double now_ms)
{
    if (same_stages(&self->current, other))
        return false;
    return other->bottleneck_ms < now_ms * (1 - self->options.min_gain) ||
           stages_missed(self, other) < stages_missed(self, &self->current) ||
           other->kv_tokens > self->current.kv_tokens;
}

/* Tells those who would be used, but are not, why. */
static void note_spares(struct coordinator *self, double now_ms)
{
    for (size_t row = 0; row < LIMIT_WORKERS_MAX; row++) {
        struct coordinator_member *member = &self->workers[row];

        if (!member->used || !member->live || member->failed || member->quarantined ||
            coordinator_stage_of(&self->current, member) >= 0)
            continue;
        self->current.exclusion[row] = self->scratch.exclusion[row];
        if (self->scratch.exclusion[row] != PLAN_USED)
            continue;
        (void)snprintf(member->note, sizeof(member->note),
            "with it the slowest stage would take %.3g ms instead of %.3g ms: a change of plan "
            "needs a gain of %.0f %%",
            self->scratch.bottleneck_ms, now_ms, self->options.min_gain * 100);
    }
}

static bool cooling_down(const struct coordinator *self)
{
    return self->voluntary_ever && self->now_ms - self->voluntary_ms < self->options.cooldown_ms;
}

/* The plan serves; would another one do much better? */
static void plan_better(struct coordinator *self)
{
    struct base_error err = {0};
    double now_ms;

    if (!self->wanted || cooling_down(self))
        return;
    self->wanted = false;
    if (coordinator_solve(self, &self->scratch, &err) != BASE_OK)
        return;
    now_ms = coordinator_current_ms(self);
    if (!is_worth_it(self, &self->scratch, now_ms)) {
        note_spares(self, now_ms);
        return;
    }
    self->voluntary_ever = true;
    metrics_add(&self->metrics.plans[COORDINATOR_PLAN_VOLUNTARY], 1);
    self->voluntary_ms = self->now_ms;
    install(self, self->cause[0] ? self->cause : "a better placement exists");
}

void coordinator_settle(struct coordinator *self)
{
    struct coordinator_member *router = coordinator_active_router(self);

    if (self->next.epoch && self->next.broken)
        self->next = (struct coordinator_placement){0};
    if (self->next.epoch) {
        activate_when_ready(self);
    } else if (!coordinator_serves(self) || (self->stale && current_has_unwanted(self))) {
        plan_now(self);
    } else if (router && !is_for_router(&self->current, router)) {
        char reason[LIMIT_HOST_BYTES];

        (void)snprintf(reason, sizeof(reason), "%s is the router now", router->identity.node_id);
        install_again(self, &self->current, reason);
    } else {
        plan_better(self);
    }
    coordinator_drain_release(self);
}

uint64_t coordinator_plan_next_ms(const struct coordinator *self)
{
    uint64_t next_ms = UINT64_MAX;

    if (!self->ever_planned && self->stale && coordinator_live_count(self) > 0 &&
        coordinator_live_count(self) >= self->options.min_workers)
        next_ms = self->joined_ms + self->options.settle_ms;
    if (coordinator_serves(self) && self->drift_at_ms < next_ms)
        next_ms = self->drift_at_ms;
    if (coordinator_serves(self) && !self->next.epoch && self->wanted && self->voluntary_ever &&
        self->voluntary_ms + self->options.cooldown_ms < next_ms)
        next_ms = self->voluntary_ms + self->options.cooldown_ms;
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        const struct coordinator_member *member = &self->workers[i];
        int stage = member->used ? coordinator_stage_of(&self->next, member) : -1;

        if (stage >= 0 && !self->next.ready[stage] &&
            member->load_ms + COORDINATOR_LOAD_SILENCE_MS < next_ms)
            next_ms = member->load_ms + COORDINATOR_LOAD_SILENCE_MS;
    }
    return next_ms;
}
