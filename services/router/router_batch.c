/* Micro-batches: sent, in flight, returned, lost. */
#include "router_internal.h"

#include <string.h>

#include "base_alloc.h"
#include "base_assert.h"
#include "base_bytes.h"

#define BATCH_US_WEIGHT       0.2 /* of the newest micro-batch in the moving average */
#define OVERDUE_FACTOR        8.0
#define HOLD_US               50000u /* before the next step when a stage was not ready */
#define SUSPECTS_BEFORE_RETRY 3u
#define GIVE_UP_US            60000000u /* whatever the coordinator says: longer than any hang */
#define RETRIES_MAX           3u        /* without any result, before the requests fail */
#define REFUSED_MAX           2u
#define REPEATED_MAX          100u
#define COORDINATOR_SILENT_US 10000000u

/* ---- the table of what is in flight ---- */

static void batch_remove(struct router *self, size_t index)
{
    base_free(self->batches[index].released);
    self->batch_count--;
    memmove(&self->batches[index], &self->batches[index + 1],
        (self->batch_count - index) * sizeof(self->batches[0]));
}

void router_batches_forget(struct router *self)
{
    while (self->batch_count > 0)
        batch_remove(self, self->batch_count - 1);
}

static bool batch_find(const struct router *self, uint64_t batch_id, size_t *ret_index)
{
    for (size_t i = 0; i < self->batch_count; i++) {
        if (self->batches[i].batch_id == batch_id) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* ---- sending ---- */

/* Which logits this part of a sequence asks for. */
static void item_logits(const struct router_request *request, struct router_batch_item *item)
{
    item->logits = WIRE_LOGITS_NONE;
    item->top_count = 0;
    if (request->is_score && request->sequence.every_row) {
        /* After a change of plan: what was told already is only computed for its K and V. */
        if (item->first_position + item->token_count > request->scored)
            item->logits = WIRE_LOGITS_FULL_ALL;
    } else if (item->last) {
        item->logits = request->logits;
        item->top_count = request->logits == WIRE_LOGITS_TOP ? request->top_count : 0;
    }
}

static uint64_t overdue_after_us(const struct router *self)
{
    double wait_us = self->batch_us * OVERDUE_FACTOR;
    uint64_t floor_us = (uint64_t)self->options.step_deadline_ms * 1000;
    return wait_us > (double)floor_us ? (uint64_t)wait_us : floor_us;
}

/* Tells the link; true when it took the step. */
static bool send_step(
    struct router *self, const struct schedule_batch *batch, const struct router_batch *entry)
{
    struct wire_sequence sequences[LIMIT_BATCH_SEQUENCES_MAX];
    uint32_t tokens[LIMIT_BATCH_TOKENS_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct router_batch_item *item = &entry->items[i];
        const struct router_request *request = batch->items[i].sequence->owner;
        uint32_t end = item->first_position + item->token_count;
        sequences[i] = (struct wire_sequence){.sequence_id = item->sequence_id,
            .first_position = item->first_position,
            .token_count = item->token_count,
            .pages = request->sequence.pages,
            .page_count = (end + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS,
            .logits = item->logits,
            .top_count = item->top_count};
        memcpy(&tokens[count], &request->tokens[item->first_position],
            item->token_count * sizeof(tokens[0]));
        count += item->token_count;
    }
    struct wire_message message = {.kind = WIRE_STEP,
        .step = {.epoch = self->plan.epoch,
            .batch_id = entry->batch_id,
            .token_count = count,
            .sequences = sequences,
            .sequence_count = batch->item_count,
            .released_pages = batch->released,
            .released_page_count = batch->released_count}};
    return self->sink.send_step(
        self->sink.context, &message, tokens, (size_t)count * sizeof(tokens[0]));
}

static void count_sent(
    struct router *self, uint64_t now_us, struct router_request *request, uint32_t token_count)
{
    request->started = true;
    metrics_add(&self->metrics.batch_tokens, token_count);
    if (request->first_sent_us != 0)
        return;
    request->first_sent_us = now_us;
    if (!router_is_canary(request->client))
        metrics_observe_us(&self->metrics.queue_wait, now_us - request->arrived_us);
}

static bool batch_send(struct router *self, uint64_t now_us, const struct schedule_batch *batch)
{
    struct router_batch *entry = &self->batches[self->batch_count];
    *entry = (struct router_batch){.batch_id = self->batch_id_newest + 1,
        .sent_us = now_us,
        .overdue_us = now_us + overdue_after_us(self),
        .item_count = batch->item_count,
        .token_count = batch->token_count,
        .has_decodes = batch->decode_count > 0,
        .is_alone = self->batch_count == 0,
        .released_count = batch->released_count};
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct schedule_item *from = &batch->items[i];
        entry->items[i] = (struct router_batch_item){.sequence_id = from->id,
            .first_position = from->first_position,
            .token_count = from->token_count,
            .last = from->last};
        item_logits(from->sequence->owner, &entry->items[i]);
    }
    if (batch->released_count > 0) {
        entry->released = base_alloc_array(batch->released_count, sizeof(*entry->released));
        if (entry->released == NULL)
            return false; /* tried again by the clock */
        memcpy(entry->released, batch->released, batch->released_count * sizeof(*batch->released));
    }
    if (!send_step(self, batch, entry)) {
        base_free(entry->released);
        return false;
    }
    for (size_t i = 0; i < batch->item_count; i++)
        count_sent(self, now_us, batch->items[i].sequence->owner, batch->items[i].token_count);
    metrics_add(&self->metrics.batches, 1);
    schedule_sent(self->schedule, batch);
    self->batch_id_newest++;
    if (self->batch_count++ > 0)
        self->batches[0].is_alone = false;
    return true;
}

/* All places in flight are for prompts; decodes have as few as keep the stages busy. */
static void split_decodes(struct router *self)
{
    uint32_t in_flight = 0;
    for (size_t i = 0; i < self->batch_count; i++)
        in_flight += self->batches[i].has_decodes;
    schedule_set_groups(self->schedule,
        schedule_pace_groups(&self->pace, schedule_running_count(self->schedule)), in_flight);
}

void router_pump(struct router *self, uint64_t now_us)
{
    self->link_full = false;
    while (self->plan.active && now_us >= self->hold_until_us &&
           self->batch_count < self->plan.batches_max) {
        struct schedule_batch batch;
        split_decodes(self);
        if (!schedule_build(self->schedule, self->batch_count == 0, &batch))
            return;
        if (!batch_send(self, now_us, &batch)) {
            self->link_full = true;
            return;
        }
    }
}

/* ---- giving up ---- */

static void send_suspect(struct router *self, uint64_t now_us, const struct router_batch *batch)
{
    uint64_t waited_ms = (now_us - batch->sent_us) / 1000;
    struct wire_message message = {.kind = WIRE_SUSPECT,
        .suspect = {.epoch = self->plan.epoch,
            .batch_id = batch->batch_id,
            .waited_ms = waited_ms < UINT32_MAX ? (uint32_t)waited_ms : UINT32_MAX}};
    metrics_add(&self->metrics.suspects, 1);
    self->sink.send_coordinator(self->sink.context, &message);
}

/*
 * The micro-batch at index will not return, and later ones ran without what it would have put
 * into the KV: its sequences start again from their logs. Those at fault end with *fault:
 * blame says that a stage found the content wrong, which is tried once more only.
 */
static void batch_fail(
    struct router *self, uint64_t now_us, size_t index, bool blame, const struct wire_fault *fault)
{
    struct router_batch batch = self->batches[index];
    self->batches[index].released = NULL; /* ours now */
    metrics_add(blame ? &self->metrics.steps_refused : &self->metrics.steps_lost, 1);
    batch_remove(self, index);
    schedule_announce_again(self->schedule, batch.released, batch.released_count);
    base_free(batch.released);
    for (size_t i = 0; i < batch.item_count; i++) {
        struct router_request *request =
            router_request_of_sequence(self, batch.items[i].sequence_id);
        if (request == NULL)
            continue;
        schedule_restart(self->schedule, &request->sequence);
        uint32_t count = blame ? ++request->refused_count : ++request->repeated_count;
        if (count >= (blame ? REFUSED_MAX : REPEATED_MAX))
            router_end(self, now_us, request, WIRE_FINISH_ERROR, fault);
    }
}

void router_step_error(
    struct router *self, uint64_t now_us, const struct wire_step_error *step_error)
{
    size_t index;
    if (!self->plan.active || step_error->epoch != self->plan.epoch ||
        !batch_find(self, step_error->batch_id, &index))
        return;
    struct wire_fault fault = step_error->error;
    if (fault.code == BASE_OK)
        fault.code = BASE_INTERNAL;
    /* The stage is between two plans, or lost count of credits: not the requests' fault. */
    bool is_early = fault.code == BASE_STALE || fault.code == BASE_FULL ||
                    fault.code == BASE_AGAIN || fault.code == BASE_NOMEM;
    if (is_early)
        self->hold_until_us = now_us + HOLD_US;
    else
        send_suspect(self, now_us, &self->batches[index]);
    batch_fail(self, now_us, index, !is_early, &fault);
    router_pump(self, now_us);
}

/* ---- results ---- */

static void batch_take(struct router *self, uint64_t now_us, const struct router_batch *batch,
    const struct wire_result *result, const uint8_t *tensor)
{
    const struct wire_row_result *row = result->rows;
    for (size_t i = 0; i < batch->item_count; i++) {
        const struct router_batch_item *item = &batch->items[i];
        size_t row_count = item->logits == WIRE_LOGITS_NONE       ? 0
                           : item->logits == WIRE_LOGITS_FULL_ALL ? item->token_count
                                                                  : 1;
        const uint8_t *payload = tensor;
        const struct wire_row_result *first = row;
        for (size_t k = 0; k < row_count; k++)
            tensor += router_row_bytes(row++);
        struct router_request *request = router_request_of_sequence(self, item->sequence_id);
        if (request != NULL &&
            schedule_returned(&request->sequence, item->sequence_id, item->token_count)) {
            request->refused_count = request->repeated_count = 0;
            if (request->is_score)
                router_take_scores(self, now_us, request, item, first, payload);
            else if (row_count > 0)
                router_take_token(self, now_us, request, first, payload);
        }
    }
}

void router_result(struct router *self, uint64_t now_us, const struct wire_result *result,
    const void *tensor, size_t tensor_bytes)
{
    size_t index;
    if (!self->plan.active || result->epoch != self->plan.epoch ||
        !batch_find(self, result->batch_id, &index))
        return;
    /* Every hop keeps order, so what should have come before this was lost on the way. */
    struct wire_fault lost = router_fault(
        BASE_UNREACHABLE, NULL, "steps were lost between stages %u times", REPEATED_MAX);
    for (; index > 0; index--)
        batch_fail(self, now_us, 0, false, &lost);

    if (!router_rows_valid(self, &self->batches[0], result, tensor, tensor_bytes)) {
        struct wire_fault fault = router_fault(BASE_MALFORMED, self->plan.last_node,
            "result of step %llu of epoch %llu is not what was asked for",
            (unsigned long long)result->batch_id, (unsigned long long)result->epoch);
        send_suspect(self, now_us, &self->batches[0]);
        batch_fail(self, now_us, 0, true, &fault);
        router_pump(self, now_us);
        return;
    }
    struct router_batch batch = self->batches[0];
    batch_remove(self, 0);
    double took_us = (double)(now_us - batch.sent_us);
    self->batch_us = self->batch_us > 0
                         ? self->batch_us + BATCH_US_WEIGHT * (took_us - self->batch_us)
                         : took_us;
    self->repeated_count = 0;
    self->progress_us = now_us;
    self->round_epoch = self->plan.epoch;
    metrics_observe_us(&self->metrics.round, now_us - batch.sent_us);
    for (size_t i = 0; i < result->hop_count && i < LIMIT_STAGES_MAX; i++)
        metrics_observe_us(&self->metrics.hops[i], result->hop_us[i]);
    schedule_pace_observe(&self->pace, batch.token_count, result->hop_us, result->hop_count,
        batch.is_alone ? now_us - batch.sent_us : 0);
    batch_take(self, now_us, &batch, result, tensor);
    router_pump(self, now_us);
}

/* ---- time ---- */

/*
 * Whether waiting for the oldest micro-batch is no use any more. The coordinator finds out what
 * became of it and makes a new plan if need be, and while one is loaded we wait; only if nobody
 * does, it falls to us.
 */
static bool waited_enough(const struct router *self, uint64_t now_us)
{
    const struct router_batch *oldest = &self->batches[0];
    bool is_loading = self->epoch_prepared > self->plan.epoch;
    bool is_alone = now_us - self->coordinator_heard_us >= COORDINATOR_SILENT_US;
    if (oldest->suspect_count < SUSPECTS_BEFORE_RETRY)
        return false;
    return is_alone || (!is_loading && now_us - oldest->sent_us >= GIVE_UP_US);
}

/* Nothing came back, and no other plan either: all that is in flight was lost, or hangs. */
static void give_up_in_flight(struct router *self, uint64_t now_us)
{
    struct wire_fault fault = router_fault(BASE_TIMEOUT, NULL,
        "no stage answered step %llu of epoch %llu for %llu ms, tried %u times",
        (unsigned long long)self->batches[0].batch_id, (unsigned long long)self->plan.epoch,
        (unsigned long long)((now_us - self->batches[0].sent_us) / 1000), RETRIES_MAX);
    if (++self->repeated_count >= RETRIES_MAX) {
        for (size_t i = 0; i < self->request_count; i++)
            if (self->requests[i]->sequence.state == SCHEDULE_RUNNING)
                router_end(self, now_us, self->requests[i], WIRE_FINISH_ERROR, &fault);
    }
    while (self->batch_count > 0)
        batch_fail(self, now_us, 0, false, &fault);
}

void router_batches_tick(struct router *self, uint64_t now_us)
{
    for (size_t i = 0; i < self->batch_count; i++) {
        struct router_batch *batch = &self->batches[i];
        if (now_us < batch->overdue_us)
            continue;
        batch->suspect_count++;
        batch->overdue_us = now_us + overdue_after_us(self);
        send_suspect(self, now_us, batch);
        if (i == 0 && waited_enough(self, now_us)) {
            give_up_in_flight(self, now_us);
            break;
        }
    }
    router_pump(self, now_us);
}

uint64_t router_batches_next_us(const struct router *self)
{
    uint64_t next_us = UINT64_MAX;
    for (size_t i = 0; i < self->batch_count; i++)
        if (self->batches[i].overdue_us < next_us)
            next_us = self->batches[i].overdue_us;
    return next_us;
}
