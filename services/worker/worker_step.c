#include "worker_internal.h"

#include "base_assert.h"
#include "wire_codec.h"
#include <stdio.h>
#include <string.h>

#define STEP_WEIGHT 0.2 /* of the newest step in the moving average */

/* ---- ring of accepted steps ---- */

static struct worker_entry *entry_at(struct worker *self, size_t index)
{
    return &self->entries[(self->entry_head + index) % WORKER_STEPS_MAX];
}

void worker_steps_forget(struct worker *self)
{
    self->entry_count = 0;
    self->has_accepted = false;
    self->last_accepted_id = 0;
    self->last_finished_id = 0;
    self->step_ms = self->step_tokens = self->step_context = 0.0;
}

/* Copies what is passed on. Returns BASE_OK or BASE_NOMEM. */
static int entry_fill(struct worker_entry *entry, const struct wire_step *step)
{
    struct base_arena *arena = &entry->arena;

    base_arena_reset(arena);
    entry->step = *step;
    entry->computes = step->sequence_count > 0;
    entry->fault.code = BASE_OK;

    uint32_t *hop_us = base_arena_alloc_zeroed(arena, step->hop_count + 1, sizeof(*hop_us));
    uint32_t *released =
        base_arena_copy(arena, step->released_pages, step->released_page_count * sizeof(*released));
    struct wire_sequence *sequences =
        base_arena_copy(arena, step->sequences, step->sequence_count * sizeof(*sequences));
    if (hop_us == NULL || released == NULL || sequences == NULL)
        return BASE_NOMEM;
    if (step->hop_count > 0)
        memcpy(hop_us, step->hop_us, step->hop_count * sizeof(*hop_us));
    for (size_t i = 0; i < step->sequence_count; i++) {
        sequences[i].pages = base_arena_copy(
            arena, sequences[i].pages, sequences[i].page_count * sizeof(*sequences[i].pages));
        if (sequences[i].pages == NULL)
            return BASE_NOMEM;
    }
    entry->step.hop_us = hop_us;
    entry->step.released_pages = released;
    entry->step.sequences = sequences;
    return BASE_OK;
}

/* ---- credits ---- */

/* Steps that the previous hop may have here at once: enough that no stage waits for credit
 * while the router keeps one micro-batch per stage in flight. */
static uint32_t window_of(const struct worker_slot *slot)
{
    return (uint32_t)slot->plan.stage_count + 2;
}

static void grant(struct worker *self, struct worker_slot *slot, uint32_t count)
{
    struct wire_message message = {
        .kind = WIRE_CREDIT, .credit = {.epoch = slot->plan.epoch, .count = count}};

    slot->upstream_left += count;
    self->sink.grant(self->sink.context, slot->upstream, &message);
}

static struct worker_slot *slot_of_epoch(struct worker *self, uint64_t epoch)
{
    if (self->serving != NULL && self->serving->plan.epoch == epoch)
        return self->serving;
    if (self->pending != NULL && self->pending->plan.epoch == epoch)
        return self->pending;
    return NULL;
}

/* Whether the sender is the hop before us: the router, or the previous stage. */
static bool hello_is_from_previous(
    const struct worker_slot *slot, const struct wire_link_hello *hello)
{
    if (slot->index == 0)
        return slot->plan.router_node_id[0] == 0 ||
               strcmp(hello->node_id, slot->plan.router_node_id) == 0;
    const struct wire_stage *previous = &slot->plan.stages[slot->index - 1];
    return hello->incarnation == previous->incarnation &&
           strcmp(hello->node_id, previous->node_id) == 0;
}

/* Whether that is the key of the hop before us. A node id is only a claim, and several keys may be
 * allowed to make it. */
static bool key_is_of_previous(const struct worker_slot *slot, const char *public_key)
{
    const char *planned = slot->index == 0 ? slot->plan.router_public_key
                                           : slot->plan.stages[slot->index - 1].public_key;

    return public_key[0] == 0 || strcmp(public_key, planned) == 0;
}

static void on_hello(struct worker *self, struct worker_slot *slot, uint64_t peer,
    const struct wire_link_hello *hello)
{
    if (slot == NULL || !hello_is_from_previous(slot, hello))
        return;
    /* A new connection starts from nothing; what the old one left here still takes room. */
    uint32_t window = window_of(slot);
    uint32_t held = slot == self->serving ? (uint32_t)self->entry_count : 0;
    slot->has_upstream = true;
    slot->upstream = peer;
    slot->upstream_left = 0;
    if (held < window)
        grant(self, slot, window - held);
}

/* ---- passing on ---- */

static void send_step_error(
    struct worker *self, uint64_t epoch, uint64_t batch_id, const struct wire_fault *error)
{
    struct wire_message message = {.kind = WIRE_STEP_ERROR,
        .step_error = {.epoch = epoch, .batch_id = batch_id, .error = *error}};

    memcpy(message.step_error.error.node, self->options.identity.node_id, LIMIT_NAME_BYTES);
    metrics_add(&self->metrics->step_errors, 1);
    self->sink.send_router(self->sink.context, &message);
}

static void refuse(struct worker *self, const struct wire_step *step, int code, const char *text)
{
    struct wire_fault error = {.code = code};

    (void)snprintf(error.text, sizeof(error.text), "step %llu of epoch %llu: %s",
        (unsigned long long)step->batch_id, (unsigned long long)step->epoch, text);
    send_step_error(self, step->epoch, step->batch_id, &error);
}

/* Sends the oldest step on and gives its room back. result is NULL for one that only passes. */
static void finish_head(struct worker *self, const struct worker_run_result *result)
{
    struct worker_slot *slot = self->serving;
    struct worker_entry *entry = entry_at(self, 0);
    struct wire_step *step = &entry->step;
    struct wire_message message = {.kind = WIRE_STEP};

    ((uint32_t *)step->hop_us)[step->hop_count++] = result == NULL ? 0 : result->compute_us;
    if (result != NULL)
        entry->fault.code = result->error.code;
    if (entry->fault.code != BASE_OK) {
        send_step_error(
            self, step->epoch, step->batch_id, result == NULL ? &entry->fault : &result->error);
    } else if (slot->index + 1 < slot->plan.stage_count) {
        message.step = *step;
        message.step.embedding_length = slot->plan.embedding_length;
        self->sink.send_next(self->sink.context, &message);
    } else {
        message.kind = WIRE_RESULT;
        message.result = (struct wire_result){.epoch = step->epoch,
            .batch_id = step->batch_id,
            .rows = result == NULL ? NULL : result->rows,
            .row_count = result == NULL ? 0 : result->row_count,
            .hop_us = step->hop_us,
            .hop_count = step->hop_count};
        self->sink.send_router(self->sink.context, &message);
    }
    self->last_finished_id = step->batch_id;
    self->entry_head = (self->entry_head + 1) % WORKER_STEPS_MAX;
    self->entry_count--;
    if (slot->has_upstream)
        grant(self, slot, 1);
}

/* Steps without work go on as soon as nothing older is before them. */
static void pass_through(struct worker *self, uint64_t now_ms)
{
    while (self->entry_count > 0 && !entry_at(self, 0)->computes) {
        finish_head(self, NULL);
        self->last_progress_ms = now_ms;
    }
}

/* A step that compute refused while older ones are before it. */
static void fail_in_turn(struct worker *self, const struct worker_run_result *result)
{
    for (size_t i = 1; i < self->entry_count; i++) {
        struct worker_entry *entry = entry_at(self, i);
        if (entry->computes && entry->step.batch_id == result->batch_id) {
            entry->computes = false;
            entry->fault = result->error;
        }
    }
}

static void average(double *value, double newest, bool is_first)
{
    *value = is_first ? newest : *value + STEP_WEIGHT * (newest - *value);
}

/* What a step took and how large it was, so that predictions can be held against it. */
static void measure(struct worker *self, const struct wire_step *step, uint32_t compute_us)
{
    const bool is_first = !(self->step_ms > 0.0);
    double positions = 0.0;

    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *sequence = &step->sequences[i];
        positions +=
            sequence->token_count * (sequence->first_position + (sequence->token_count + 1) / 2.0);
    }
    metrics_add(&self->metrics->steps, 1);
    metrics_add(&self->metrics->tokens, step->token_count);
    metrics_add(&self->metrics->busy_us, compute_us);
    metrics_observe_us(&self->metrics->step, compute_us);
    average(&self->step_ms, compute_us / 1000.0, is_first);
    average(&self->step_tokens, step->token_count, is_first);
    average(&self->step_context, positions / step->token_count, is_first);
}

void worker_ran(struct worker *self, uint64_t now_ms, const struct worker_run_result *result)
{
    /* Runs of an epoch that was left meanwhile have nowhere to go. */
    if (self->serving == NULL || self->serving->plan.epoch != result->epoch ||
        self->entry_count == 0)
        return;
    const struct worker_entry *head = entry_at(self, 0);
    if (!head->computes || head->step.batch_id != result->batch_id) {
        if (result->error.code != BASE_OK)
            fail_in_turn(self, result);
        return;
    }
    measure(self, &head->step, result->compute_us);
    self->last_progress_ms = now_ms;
    finish_head(self, result);
    pass_through(self, now_ms);
    self->head_since_ms = now_ms;
}

/* ---- accepting ---- */

static const char *sequence_fault(
    const struct wire_plan *plan, const struct wire_sequence *sequence)
{
    uint64_t end = (uint64_t)sequence->first_position + sequence->token_count;

    if (sequence->token_count == 0)
        return "a sequence without tokens";
    if (end > plan->context_length)
        return "a position beyond the context";
    if ((uint64_t)sequence->page_count * plan->page_tokens < end)
        return "a sequence with too few pages";
    for (size_t i = 0; i < sequence->page_count; i++) {
        if (sequence->pages[i] >= plan->page_count)
            return "a page that the plan does not have";
    }
    return NULL;
}

/* What is wrong with a step of the slot's epoch, or NULL. */
static const char *step_fault(
    const struct worker_slot *slot, const struct wire_message *message, size_t tensor_bytes)
{
    const struct wire_step *step = &message->step;
    const struct wire_plan *plan = &slot->plan;
    uint64_t token_count = 0;

    if (step->embedding_length != (slot->index == 0 ? 0 : plan->embedding_length))
        return slot->index == 0 ? "the first stage takes token ids"
                                : "hidden states of another size";
    if (step->hop_count >= LIMIT_STAGES_MAX || step->sequence_count > LIMIT_BATCH_SEQUENCES_MAX ||
        step->released_page_count > LIMIT_RELEASES_PER_STEP)
        return "too many hops, sequences or releases";
    for (size_t i = 0; i < step->sequence_count; i++) {
        const char *fault = sequence_fault(plan, &step->sequences[i]);
        if (fault != NULL)
            return fault;
        token_count += step->sequences[i].token_count;
    }
    if (token_count != step->token_count || token_count > LIMIT_BATCH_TOKENS_MAX)
        return "token count is not the sum over sequences";
    for (size_t i = 0; i < step->released_page_count; i++) {
        if (step->released_pages[i] >= plan->page_count)
            return "releases a page that the plan does not have";
    }
    if (wire_tensor_check(message, tensor_bytes, NULL) != BASE_OK)
        return "tensor frame of the wrong size";
    return NULL;
}

static void take_pages(struct worker_slot *slot, const struct wire_step *step)
{
    worker_pages_release(slot, step->released_pages, step->released_page_count);
    for (size_t i = 0; i < step->sequence_count; i++) {
        const struct wire_sequence *sequence = &step->sequences[i];
        uint64_t end = (uint64_t)sequence->first_position + sequence->token_count;
        worker_pages_take(slot, sequence->pages,
            (size_t)((end + slot->plan.page_tokens - 1) / slot->plan.page_tokens));
    }
}

static void accept(struct worker *self, uint64_t now_ms, struct worker_slot *slot,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes)
{
    struct worker_entry *entry = entry_at(self, self->entry_count);

    base_assert(self->entry_count < WORKER_STEPS_MAX);
    if (entry_fill(entry, &message->step) != BASE_OK) {
        refuse(self, &message->step, BASE_NOMEM, "no memory to queue it");
        grant(self, slot, 1);
        return;
    }
    self->has_accepted = true;
    self->last_accepted_id = message->step.batch_id;
    take_pages(slot, &message->step);
    if (self->entry_count++ == 0)
        self->head_since_ms = now_ms;
    if (entry->computes)
        self->sink.run(self->sink.context, message, tensor, tensor_bytes);
    else
        pass_through(self, now_ms);
}

static void on_step(struct worker *self, uint64_t now_ms, struct worker_slot *slot, uint64_t peer,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes)
{
    const struct wire_step *step = &message->step;

    if (slot == NULL) {
        refuse(self, step, BASE_STALE, "this worker does not serve that epoch");
        return;
    }
    if (slot->state != WORKER_LOAD_READY) {
        refuse(self, step, BASE_STALE, "the stage is not loaded");
        return;
    }
    if (!slot->has_upstream || slot->upstream != peer || slot->upstream_left == 0) {
        refuse(self, step, BASE_FULL, "sent without credit");
        return;
    }
    slot->upstream_left--;
    const char *fault = step_fault(slot, message, tensor_bytes);
    if (fault != NULL) {
        refuse(self, step, BASE_INVALID, fault);
        grant(self, slot, 1);
        return;
    }
    if (slot == self->pending) {
        /* The router sends only when every stage is ready: our ACTIVE is still on its way. */
        worker_activate(self, now_ms);
        slot = self->serving;
    }
    if (self->has_accepted && step->batch_id <= self->last_accepted_id) {
        grant(self, slot, 1); /* a second copy: the first one is answered */
        return;
    }
    accept(self, now_ms, slot, message, tensor, tensor_bytes);
}

bool worker_data_message(struct worker *self, uint64_t now_ms, const struct worker_origin *from,
    const struct wire_message *message, const void *tensor, size_t tensor_bytes)
{
    const bool is_hello = message->kind == WIRE_LINK_HELLO;

    if (!is_hello && message->kind != WIRE_STEP)
        return true;
    struct worker_slot *slot =
        slot_of_epoch(self, is_hello ? message->link_hello.epoch : message->step.epoch);
    /* Before all else: not even an error may be told to the router for a stranger's step, or it
     * would give up the real one of that number. */
    if (slot != NULL && !key_is_of_previous(slot, from->public_key))
        return false;
    if (is_hello)
        on_hello(self, slot, from->peer, &message->link_hello);
    else
        on_step(self, now_ms, slot, from->peer, message, tensor, tensor_bytes);
    return true;
}
