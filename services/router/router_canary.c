/*
 * One token that goes through all stages when nothing else does, so that readiness is something
 * that was seen and not hoped for. To the rest of the router it is a client like any other, whose
 * messages end here.
 */
#include "router_internal.h"

#include <stdio.h>

#define RETRY_US 1000000u
/* Ready as long as the last round is no older than so many intervals, and two usual rounds. */
#define INTERVALS_MAX 3u

bool router_is_canary(uint64_t client)
{
    return client == ROUTER_CANARY_CLIENT;
}

enum router_sent router_send_client(struct router *self, uint64_t client,
    const struct wire_message *message, const void *tensor, size_t bytes)
{
    if (!router_is_canary(client))
        return self->sink.send_client(self->sink.context, client, message, tensor, bytes);
    if (message->kind != WIRE_FINAL)
        return ROUTER_SENT;
    bool is_ok = message->final.finish_reason == WIRE_FINISH_LENGTH ||
                 message->final.finish_reason == WIRE_FINISH_STOP;
    metrics_add(is_ok ? &self->metrics.canaries_ok : &self->metrics.canaries_failed, 1);
    self->canary_open = false;
    self->canary_at_us = self->now_us + RETRY_US; /* no sooner, whatever it came to */
    return ROUTER_SENT;
}

/* When one is due; UINT64_MAX: not now. */
static uint64_t due_us(const struct router *self)
{
    if (self->options.canary_ms == 0 || !self->plan.active || self->draining || self->canary_open)
        return UINT64_MAX;
    uint64_t due = self->round_epoch == self->plan.epoch
                       ? self->progress_us + (uint64_t)self->options.canary_ms * 1000
                       : 0;
    return due > self->canary_at_us ? due : self->canary_at_us;
}

void router_canary_tick(struct router *self, uint64_t now_us)
{
    if (now_us < due_us(self))
        return;
    uint32_t id = self->end_id_count > 0 ? self->end_ids[0] : 0;
    const struct wire_generate generate = {.request_id = ++self->canary_newest,
        .prompt_kind = WIRE_PROMPT_IDS,
        .ids = &id,
        .id_count = 1,
        .max_tokens = 1,
        .ignore_eos = true,
        .sampling = {.top_p = 1, .typical_p = 1, .repeat_penalty = 1}};
    self->canary_open = true;
    router_generate(self, now_us, ROUTER_CANARY_CLIENT, &generate);
}

uint64_t router_canary_next_us(const struct router *self)
{
    return due_us(self);
}

bool router_is_ready(const struct router *self, uint64_t now_us, char *ret_text, size_t text_bytes)
{
    uint64_t age_us = now_us > self->progress_us ? now_us - self->progress_us : 0;
    uint64_t limit_us = (uint64_t)self->options.canary_ms * 1000 * INTERVALS_MAX;
    unsigned long long epoch = (unsigned long long)self->plan.epoch;

    if (self->batch_us > 0)
        limit_us += (uint64_t)(2 * self->batch_us);
    if (self->draining)
        (void)snprintf(ret_text, text_bytes, "draining");
    else if (!self->plan.active && self->unavailable.code != BASE_OK)
        (void)snprintf(ret_text, text_bytes, "unavailable: %s", self->unavailable.text);
    else if (!self->plan.active)
        (void)snprintf(ret_text, text_bytes, "waiting for a plan");
    else if (self->options.canary_ms == 0)
        (void)snprintf(ret_text, text_bytes, "plan %llu is in force, no canary", epoch);
    else if (self->round_epoch != self->plan.epoch)
        (void)snprintf(ret_text, text_bytes, "no token has gone round on plan %llu yet", epoch);
    else if (age_us > limit_us)
        (void)snprintf(ret_text, text_bytes, "no token has gone round for %llu ms",
            (unsigned long long)(age_us / 1000));
    else {
        (void)snprintf(ret_text, text_bytes, "a token went round on plan %llu %llu ms ago", epoch,
            (unsigned long long)(age_us / 1000));
        return true;
    }
    return self->plan.active && !self->draining && self->options.canary_ms == 0;
}
