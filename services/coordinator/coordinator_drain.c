/* Taking a worker out without a pause: the old plan serves until the new one is ready. */
#include "base_err.h"
#include "coordinator_core.h"
#include <stdio.h>
#include <string.h>

static bool holds_stage(const struct coordinator *self, const struct coordinator_member *member)
{
    return coordinator_stage_of(&self->current, member) >= 0 ||
           coordinator_stage_of(&self->next, member) >= 0;
}

void coordinator_drain(struct coordinator *self, uint64_t peer, const struct wire_drain *drain)
{
    struct coordinator_member *member = coordinator_find_worker(self, drain->node_id);

    if (!member || !member->live) {
        coordinator_refuse(self, peer, BASE_NOT_FOUND, drain->node_id, "no worker %s is registered",
            drain->node_id);
        return;
    }
    member->drained = false; /* asked again: tell again */
    if (member->peer != peer) {
        member->drain_by_admin = true;
        member->drain_peer = peer;
    }
    if (member->draining)
        return;
    member->draining = true;
    self->stale = true;
    if (!holds_stage(self, member))
        return;
    if (coordinator_stage_of(&self->next, member) >= 0)
        self->next.broken = true;
    coordinator_set_cause(
        self, member->identity.node_id, "%s is being drained", member->identity.node_id);
}

void coordinator_drain_release(struct coordinator *self)
{
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        struct coordinator_member *member = &self->workers[i];
        struct wire_message message = {.kind = WIRE_DRAIN};

        if (!member->used || !member->live || !member->draining || member->drained ||
            holds_stage(self, member))
            continue;
        member->drained = true;
        memcpy(message.drain.node_id, member->identity.node_id, LIMIT_NAME_BYTES);
        coordinator_send(self, member->peer, &message);
        if (member->drain_by_admin)
            coordinator_send(self, member->drain_peer, &message);
        member->drain_by_admin = false;
    }
}

/* No placement exists without those that drain: they stay. False when nobody drains. */
bool coordinator_drain_give_up(struct coordinator *self, const char *why)
{
    bool any = false;

    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        struct coordinator_member *member = &self->workers[i];

        if (!member->used || !member->live || !member->draining || member->drained)
            continue;
        any = true;
        member->draining = false;
        member->drain_refused_ms = self->now_ms;
        coordinator_refuse(self, member->drain_by_admin ? member->drain_peer : member->peer,
            BASE_UNAVAILABLE, member->identity.node_id, "%s cannot be spared: %s",
            member->identity.node_id, why);
        member->drain_by_admin = false;
    }
    return any;
}
