#include "worker_internal.h"

#include "base_alloc.h"
#include "base_assert.h"
#include <stdio.h>
#include <string.h>

#define STATUS_INTERVAL_MS 200u

/* ---- pages ---- */

void worker_pages_take(struct worker_slot *slot, const uint32_t *pages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << (pages[i] % 64);
        uint64_t *word = &slot->page_bits[pages[i] / 64];
        if ((*word & bit) == 0)
            slot->pages_used++;
        *word |= bit;
    }
}

void worker_pages_release(struct worker_slot *slot, const uint32_t *pages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bit = UINT64_C(1) << (pages[i] % 64);
        uint64_t *word = &slot->page_bits[pages[i] / 64];
        if ((*word & bit) != 0)
            slot->pages_used--;
        *word &= ~bit;
    }
}

/* ---- slots ---- */

void worker_slot_destroy(struct worker_slot **self_p)
{
    struct worker_slot *self = *self_p;

    if (self == NULL)
        return;
    base_free((void *)self->plan.stages);
    base_free(self->page_bits);
    base_free(self);
    *self_p = NULL;
}

static bool find_stage(const struct worker *self, const struct wire_plan *plan, size_t *ret_index)
{
    for (size_t i = 0; i < plan->stage_count; i++) {
        if (plan->stages[i].incarnation == self->options.identity.incarnation &&
            strcmp(plan->stages[i].node_id, self->options.identity.node_id) == 0) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* Copies the plan. NULL when memory fails. */
static struct worker_slot *slot_new(const struct wire_plan *plan, size_t index)
{
    struct worker_slot *slot = base_alloc_zeroed(1, sizeof(*slot));

    if (slot == NULL)
        return NULL;
    struct wire_stage *stages = base_alloc_array(plan->stage_count, sizeof(*stages));
    slot->page_bits = base_alloc_zeroed((size_t)plan->page_count / 64 + 1, sizeof(uint64_t));
    slot->plan = *plan;
    slot->plan.stages = stages;
    slot->index = index;
    if (stages == NULL || slot->page_bits == NULL) {
        worker_slot_destroy(&slot);
        return NULL;
    }
    memcpy(stages, plan->stages, plan->stage_count * sizeof(*stages));
    return slot;
}

/* What the core can know to be wrong with a plan; the rest is found by the loader. */
static bool plan_fits(
    const struct worker *self, const struct wire_plan *plan, size_t index, struct wire_fault *ret)
{
    const struct wire_model_card *model = &self->options.identity.model;
    const struct wire_stage *stage = &plan->stages[index];
    const char *what = NULL;

    if (plan->fingerprint != model->fingerprint)
        what = "is for another model file than this worker has";
    else if (plan->embedding_length != model->embedding_length ||
             plan->vocab_size != model->vocab_size)
        what = "has other sizes than this worker's model";
    else if (stage->layer_count == 0 || stage->layer_first >= model->layer_count ||
             stage->layer_count > model->layer_count - stage->layer_first)
        what = "names layers that the model does not have";
    else if (plan->page_tokens == 0 || plan->page_count == 0 || plan->page_count > LIMIT_PAGES_MAX)
        what = "has no KV pages";
    if (what == NULL)
        return true;
    ret->code = BASE_INVALID;
    (void)snprintf(
        ret->text, sizeof(ret->text), "plan %llu %s", (unsigned long long)plan->epoch, what);
    memcpy(ret->node, self->options.identity.node_id, LIMIT_NAME_BYTES);
    return false;
}

static void send_status_of(struct worker *self, uint64_t epoch, enum wire_stage_state state,
    double progress, const struct wire_fault *error)
{
    struct wire_message message = {.kind = WIRE_STAGE_STATUS};
    struct wire_stage_status *status = &message.stage_status;

    memcpy(status->node_id, self->options.identity.node_id, LIMIT_NAME_BYTES);
    status->incarnation = self->options.identity.incarnation;
    status->epoch = epoch;
    status->state = state;
    status->progress = progress;
    if (error != NULL)
        status->error = *error;
    worker_send_coordinator(self, &message);
}

void worker_send_status(struct worker *self, uint64_t now_ms)
{
    const struct worker_slot *slot = self->pending;

    switch (slot->state) {
    case WORKER_LOAD_RUNNING:
        self->status_sent_ms = now_ms;
        send_status_of(self, slot->plan.epoch, WIRE_STAGE_LOADING, slot->progress, NULL);
        break;
    case WORKER_LOAD_READY:
        send_status_of(self, slot->plan.epoch, WIRE_STAGE_READY, 1.0, NULL);
        break;
    case WORKER_LOAD_FAILED:
        send_status_of(self, slot->plan.epoch, WIRE_STAGE_FAILED, 0.0, &slot->error);
        break;
    }
}

/* ---- life of a plan ---- */

/* Starts loading our stage of a plan that was not seen before. */
static void prepare(struct worker *self, uint64_t now_ms, const struct wire_plan *plan,
    size_t index, bool activate_when_ready)
{
    struct wire_fault error = {0};

    worker_slot_destroy(&self->pending);
    struct worker_slot *slot = NULL;
    if (plan_fits(self, plan, index, &error)) {
        slot = slot_new(plan, index);
        if (slot == NULL) {
            error.code = BASE_NOMEM;
            (void)snprintf(error.text, sizeof(error.text), "no memory to keep plan %llu",
                (unsigned long long)plan->epoch);
            memcpy(error.node, self->options.identity.node_id, LIMIT_NAME_BYTES);
        }
    }
    if (slot == NULL) {
        send_status_of(self, plan->epoch, WIRE_STAGE_FAILED, 0.0, &error);
        return;
    }
    slot->activate_when_ready = activate_when_ready;
    self->pending = slot;
    self->last_progress_ms = now_ms;
    worker_send_status(self, now_ms);
    self->sink.load(self->sink.context, slot->plan.epoch, &slot->plan, index);
}

static void link_hops(struct worker *self)
{
    const struct worker_slot *slot = self->serving;
    const struct wire_plan *plan = &slot->plan;
    const bool is_last = slot->index + 1 == plan->stage_count;
    const struct wire_stage *next_stage = &plan->stages[is_last ? slot->index : slot->index + 1];
    const struct worker_hop next = {next_stage->endpoint, next_stage->public_key},
                            router = {plan->router_endpoint, plan->router_public_key};

    self->sink.link(self->sink.context, plan->epoch, is_last ? NULL : &next, &router);
}

void worker_activate(struct worker *self, uint64_t now_ms)
{
    base_assert(self->pending != NULL && self->pending->state == WORKER_LOAD_READY);
    worker_steps_forget(self);
    worker_slot_destroy(&self->serving);
    self->serving = self->pending;
    self->pending = NULL;
    self->last_progress_ms = now_ms;
    metrics_add(&self->metrics->activations, 1);
    self->sink.activate(self->sink.context, self->serving->plan.epoch);
    link_hops(self);
    worker_beat(self, now_ms);
}

/* The mesh goes on without us: frees the stage. */
static void stop_serving(struct worker *self, uint64_t now_ms)
{
    worker_steps_forget(self);
    worker_slot_destroy(&self->pending);
    worker_slot_destroy(&self->serving);
    self->sink.activate(self->sink.context, 0);
    if (self->draining)
        worker_finish_drain(self, "drained: its stage moved");
    else
        worker_beat(self, now_ms);
}

static void take_router(struct wire_plan *plan, const struct wire_plan *from)
{
    memcpy(plan->router_endpoint, from->router_endpoint, LIMIT_ENDPOINT_BYTES);
    memcpy(plan->router_node_id, from->router_node_id, LIMIT_NAME_BYTES);
    memcpy(plan->router_public_key, from->router_public_key, LIMIT_KEY_BYTES);
}

static void on_active(struct worker *self, uint64_t now_ms, const struct wire_plan *plan)
{
    size_t index;

    if (!find_stage(self, plan, &index)) {
        stop_serving(self, now_ms);
        return;
    }
    if (self->serving != NULL && self->serving->plan.epoch == plan->epoch) {
        /* A plan is prepared before a router is known, or activated by the first step. */
        if (strcmp(self->serving->plan.router_endpoint, plan->router_endpoint) != 0 ||
            strcmp(self->serving->plan.router_public_key, plan->router_public_key) != 0) {
            take_router(&self->serving->plan, plan);
            link_hops(self);
        }
        return;
    }
    if (self->pending == NULL || self->pending->plan.epoch != plan->epoch) {
        prepare(self, now_ms, plan, index, true);
        return;
    }
    take_router(&self->pending->plan, plan);
    self->pending->activate_when_ready = true;
    if (self->pending->state == WORKER_LOAD_READY)
        worker_activate(self, now_ms);
}

static void on_prepare(
    struct worker *self, uint64_t now_ms, const struct wire_plan *plan, bool is_new)
{
    size_t index;

    if (!find_stage(self, plan, &index)) {
        worker_slot_destroy(&self->pending);
        if (self->draining && self->serving == NULL)
            worker_finish_drain(self, "drained: held no stage");
    } else if (is_new) {
        prepare(self, now_ms, plan, index, false);
    } else if (self->pending != NULL && self->pending->plan.epoch == plan->epoch) {
        worker_send_status(self, now_ms); /* asked again: the answer got lost */
    } else if (self->serving != NULL && self->serving->plan.epoch == plan->epoch) {
        send_status_of(self, plan->epoch, WIRE_STAGE_READY, 1.0, NULL);
    } else {
        prepare(self, now_ms, plan, index, false); /* could not even be kept last time */
    }
}

void worker_plan_message(struct worker *self, uint64_t now_ms, const struct wire_plan *plan)
{
    if (plan->epoch < self->newest_epoch || plan->epoch == 0)
        return;
    bool is_new = plan->epoch > self->newest_epoch;
    self->newest_epoch = plan->epoch;
    switch (plan->state) {
    case WIRE_PLAN_PREPARE:
        on_prepare(self, now_ms, plan, is_new);
        break;
    case WIRE_PLAN_ACTIVE:
        on_active(self, now_ms, plan);
        break;
    case WIRE_PLAN_UNAVAILABLE:
        /* No step will come; what is loaded stays, because the next plan shares its layers. */
        worker_slot_destroy(&self->pending);
        break;
    }
}

void worker_load_progress(struct worker *self, uint64_t now_ms, uint64_t epoch, double progress)
{
    struct worker_slot *slot = self->pending;

    if (slot == NULL || slot->plan.epoch != epoch || slot->state != WORKER_LOAD_RUNNING)
        return;
    slot->progress = progress;
    self->last_progress_ms = now_ms;
    if (now_ms - self->status_sent_ms >= STATUS_INTERVAL_MS)
        worker_send_status(self, now_ms);
}

void worker_loaded(struct worker *self, uint64_t now_ms, uint64_t epoch, uint32_t kv_pages_total,
    const struct wire_fault *error)
{
    struct worker_slot *slot = self->pending;

    if (slot == NULL || slot->plan.epoch != epoch || slot->state != WORKER_LOAD_RUNNING)
        return;
    self->last_progress_ms = now_ms;
    if (error != NULL && error->code != BASE_OK) {
        slot->state = WORKER_LOAD_FAILED;
        slot->error = *error;
        metrics_add(&self->metrics->loads_failed, 1);
        if (slot->error.node[0] == 0)
            memcpy(slot->error.node, self->options.identity.node_id, LIMIT_NAME_BYTES);
        worker_send_status(self, now_ms);
        return;
    }
    slot->state = WORKER_LOAD_READY;
    metrics_add(&self->metrics->loads_ok, 1);
    slot->progress = 1.0;
    slot->kv_pages_total = kv_pages_total;
    worker_beat(self, now_ms);
    worker_send_status(self, now_ms);
    if (slot->activate_when_ready)
        worker_activate(self, now_ms);
}
