/* Which plan is served, and how requests move from one to the next. */
#include "router_internal.h"

#include <stdio.h>
#include <string.h>

#include "base_alloc.h"

static void deactivate(struct router *self, uint64_t now_us)
{
    router_batches_forget(self);
    (void)schedule_reset(self->schedule, 0, 1);
    if (self->plan.active) {
        self->plan.active = false;
        self->plan_lost_us = now_us;
        self->sink.link_first_stage(self->sink.context, self->plan.epoch, NULL, NULL);
    }
}

static void end_all(struct router *self, uint64_t now_us, const struct wire_fault *fault)
{
    for (size_t i = 0; i < self->request_count; i++)
        router_end(self, now_us, self->requests[i], WIRE_FINISH_ERROR, fault);
}

static void become_unavailable(struct router *self, uint64_t now_us, const struct wire_fault *fault)
{
    deactivate(self, now_us);
    self->unavailable = *fault;
    metrics_add(&self->metrics.unavailable, 1);
    end_all(self, now_us, fault);
}

/* What keeps this router from serving an active plan; code BASE_OK: nothing. */
static struct wire_fault plan_fault(struct router *self, const struct wire_plan *plan)
{
    if (plan->stage_count == 0 || plan->page_tokens != LIMIT_PAGE_TOKENS || plan->vocab_size == 0 ||
        plan->context_length == 0)
        return router_fault(BASE_INVALID, NULL, "plan %llu: no stages, or pages of %u tokens",
            (unsigned long long)plan->epoch, plan->page_tokens);
    if (self->tokenizer != NULL && text_vocab_size(self->tokenizer) > plan->vocab_size)
        return router_fault(BASE_INVALID, NULL,
            "plan %llu: its model has %u tokens, the router's tokenizer %zu: other model files?",
            (unsigned long long)plan->epoch, plan->vocab_size, text_vocab_size(self->tokenizer));
    return (struct wire_fault){0};
}

static void activate(struct router *self, uint64_t now_us, const struct wire_plan *plan)
{
    struct wire_fault fault = plan_fault(self, plan);
    if (fault.code != BASE_OK) {
        become_unavailable(self, now_us, &fault);
        return;
    }
    router_batches_forget(self);
    int rc = schedule_reset(self->schedule, plan->page_count, 1);
    struct text_candidate *scratch =
        base_realloc_array(self->scratch, plan->vocab_size, sizeof(*scratch));
    if (scratch != NULL)
        self->scratch = scratch;
    if (rc != BASE_OK || scratch == NULL) {
        fault = router_fault(BASE_NOMEM, self->options.node_id, "no memory to serve plan %llu",
            (unsigned long long)plan->epoch);
        become_unavailable(self, now_us, &fault);
        return;
    }
    self->plan = (struct router_plan){.active = true,
        .epoch = plan->epoch,
        .page_count = plan->page_count,
        .context_length = plan->context_length,
        .vocab_size = plan->vocab_size,
        .batches_max = (uint32_t)plan->stage_count + 1,
        .stage_count = plan->stage_count};
    for (size_t i = 0; i < plan->stage_count; i++)
        memcpy(self->plan.keys[i], plan->stages[i].public_key, LIMIT_KEY_BYTES);
    self->pace = (struct schedule_pace){.stage_count = plan->stage_count};
    memcpy(self->plan.reason, plan->reason, sizeof(self->plan.reason));
    memcpy(self->plan.last_node, plan->stages[plan->stage_count - 1].node_id, LIMIT_NAME_BYTES);
    self->unavailable = (struct wire_fault){0};
    self->canary_at_us = 0;
    metrics_add(&self->metrics.plans, 1);
    self->hold_until_us = 0;
    self->link_full = false;
    self->repeated_count = 0;
    for (size_t i = 0; i < self->request_count; i++) {
        struct router_request *request = self->requests[i];
        if (request->ended)
            continue;
        if (request->started) {
            request->resume_count++;
            if (!router_is_canary(request->client))
                metrics_add(&self->metrics.resumes, 1);
        }
        request->started = false;
        router_request_fit(self, now_us, request);
    }
    self->sink.link_first_stage(
        self->sink.context, plan->epoch, plan->stages[0].endpoint, plan->stages[0].public_key);
    router_pump(self, now_us);
}

static void on_active(struct router *self, uint64_t now_us, const struct wire_plan *plan)
{
    if (strcmp(plan->router_node_id, self->options.node_id) != 0) {
        /* Another router's plan, or one made before anybody knew of us: ours will come. */
        deactivate(self, now_us);
        return;
    }
    if (!self->plan.active || plan->epoch > self->plan.epoch)
        activate(self, now_us, plan);
}

bool router_plan_lets_say(
    const struct router *self, const char *public_key, const struct wire_message *message)
{
    const struct router_plan *plan = &self->plan;
    const bool is_result = message->kind == WIRE_RESULT;
    if (public_key[0] == 0 || !plan->active || (!is_result && message->kind != WIRE_STEP_ERROR))
        return true;
    /* Of another epoch: nobody looks at it. */
    if ((is_result ? message->result.epoch : message->step_error.epoch) != plan->epoch)
        return true;
    for (size_t i = is_result ? plan->stage_count - 1 : 0; i < plan->stage_count; i++)
        if (strcmp(plan->keys[i], public_key) == 0)
            return true;
    return false;
}

void router_plan_message(struct router *self, uint64_t now_us, const struct wire_plan *plan)
{
    if (plan->epoch < self->epoch_seen)
        return;
    self->epoch_seen = plan->epoch;
    switch (plan->state) {
    case WIRE_PLAN_PREPARE:
        /* What runs goes on: the present plan may be whole, and if it is not, nothing returns. */
        self->epoch_prepared = plan->epoch;
        break;
    case WIRE_PLAN_ACTIVE:
        on_active(self, now_us, plan);
        break;
    case WIRE_PLAN_UNAVAILABLE: {
        struct wire_fault fault = plan->error;
        fault.code = BASE_UNAVAILABLE;
        if (fault.text[0] == 0)
            (void)snprintf(fault.text, sizeof(fault.text), "no placement exists: %s", plan->reason);
        become_unavailable(self, now_us, &fault);
        break;
    }
    }
}
