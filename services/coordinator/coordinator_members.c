/* Who is registered: admission, leases, loss. */
#include "base_err.h"
#include "coordinator_core.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool coordinator_is_router(const struct coordinator *self, const struct coordinator_member *member)
{
    return member >= self->routers && member < self->routers + LIMIT_ROUTERS_MAX;
}

static struct coordinator_member *find(
    struct coordinator_member *members, size_t count, const char *node_id)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].used && strcmp(members[i].identity.node_id, node_id) == 0)
            return &members[i];
    return NULL;
}

struct coordinator_member *coordinator_find_worker(struct coordinator *self, const char *node_id)
{
    return find(self->workers, LIMIT_WORKERS_MAX, node_id);
}

static struct coordinator_member *find_peer(
    struct coordinator_member *members, size_t count, uint64_t peer)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].used && members[i].live && members[i].peer == peer)
            return &members[i];
    return NULL;
}

struct coordinator_member *coordinator_find_peer(struct coordinator *self, uint64_t peer)
{
    struct coordinator_member *member = find_peer(self->workers, LIMIT_WORKERS_MAX, peer);

    return member ? member : find_peer(self->routers, LIMIT_ROUTERS_MAX, peer);
}

struct coordinator_member *coordinator_active_router(struct coordinator *self)
{
    struct coordinator_member *first = NULL;

    for (size_t i = 0; i < LIMIT_ROUTERS_MAX; i++) {
        struct coordinator_member *router = &self->routers[i];

        if (router->used && router->live && (!first || router->order < first->order))
            first = router;
    }
    return first;
}

size_t coordinator_live_count(const struct coordinator *self)
{
    size_t count = 0;

    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++)
        count += self->workers[i].used && self->workers[i].live;
    return count;
}

/* ---- admission ---- */

static bool version_fits(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity)
{
    if (identity->min_version <= WIRE_PROTOCOL_VERSION &&
        identity->protocol_version >= WIRE_PROTOCOL_MIN)
        return true;
    coordinator_refuse(self, peer, BASE_UNSUPPORTED, identity->node_id,
        "%s speaks protocol versions %" PRIu32 "..%" PRIu32 ", the coordinator %u..%u",
        identity->node_id, identity->min_version, identity->protocol_version, WIRE_PROTOCOL_MIN,
        WIRE_PROTOCOL_VERSION);
    return false;
}

/* A worker brings the model; all workers bring the same, and routers a matching one or none. */
static bool model_fits(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity)
{
    const struct wire_model_card *card = &identity->model;
    bool complete = card->layer_count > 0 && card->layer_count <= LIMIT_LAYERS_MAX &&
                    card->layers_count == (size_t)card->layer_count + 2 && card->layers &&
                    card->embedding_length > 0 && card->vocab_size > 0 && card->context_length > 0;

    if (identity->role == WIRE_ROLE_ROUTER && card->layer_count == 0)
        return true;
    if (identity->role == WIRE_ROLE_WORKER && !complete) {
        coordinator_refuse(self, peer, BASE_INVALID, identity->node_id,
            "%s registered without a complete model card", identity->node_id);
        return false;
    }
    if (self->card.layer_count != 0 && self->card.fingerprint == card->fingerprint &&
        identity->role == WIRE_ROLE_WORKER && self->card.kv_type != card->kv_type) {
        /* Tokens depend on how keys and values are rounded, so they may not depend on the stage. */
        coordinator_refuse(self, peer, BASE_INVALID, identity->node_id,
            "%s keeps keys and values as type %" PRIu32 ", this mesh as %" PRIu32
            " (0 f32, 1 f16, 8 int8): start all workers with the same --kv-type",
            identity->node_id, card->kv_type, self->card.kv_type);
        return false;
    }
    if (self->card.layer_count == 0 || self->card.fingerprint == card->fingerprint)
        return true;
    coordinator_refuse(self, peer, BASE_INVALID, identity->node_id,
        "%s has model %.60s with fingerprint %016" PRIx64
        ", this mesh serves %.60s with fingerprint %016" PRIx64,
        identity->node_id, card->name, card->fingerprint, self->card.name, self->card.fingerprint);
    return false;
}

static bool identity_fits(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity)
{
    if (!version_fits(self, peer, identity))
        return false;
    if (identity->role != WIRE_ROLE_WORKER && identity->role != WIRE_ROLE_ROUTER) {
        coordinator_refuse(self, peer, BASE_UNSUPPORTED, identity->node_id,
            "only workers and routers register; status and drain need no registration");
        return false;
    }
    if (identity->node_id[0] == '\0' || identity->data_endpoint[0] == '\0' ||
        identity->rate_count > LIMIT_RATES_MAX || identity->plan_epoch > COORDINATOR_EPOCH_MAX) {
        coordinator_refuse(self, peer, BASE_INVALID, identity->node_id,
            "a registration needs a node id, a data endpoint, at most %d rates and a plan epoch "
            "of at most 2^62",
            LIMIT_RATES_MAX);
        return false;
    }
    return model_fits(self, peer, identity);
}

/* A row for a new node: free, or that of whoever is gone longest. NULL: all are live. */
static struct coordinator_member *new_row(struct coordinator_member *members, size_t count)
{
    struct coordinator_member *oldest = NULL;

    for (size_t i = 0; i < count; i++) {
        if (!members[i].used)
            return &members[i];
        if (!members[i].live && (!oldest || members[i].lost_ms < oldest->lost_ms))
            oldest = &members[i];
    }
    return oldest;
}

static void adopt_card(struct coordinator *self, const struct wire_model_card *card)
{
    self->card = *card;
    self->card.layers = NULL;
    self->card.layers_count = 0;
    for (size_t i = 0; i < card->layers_count; i++)
        self->layers[i] = (struct plan_layer){
            .weight_type = card->layers[i].weight_type,
            .weight_bytes = card->layers[i].weight_bytes,
            .operations_per_token = card->layers[i].operations_per_token,
            .kv_bytes_per_token = card->layers[i].kv_bytes_per_token,
        };
}

static void keep_identity(struct coordinator_member *member, const struct wire_register *identity)
{
    member->identity = *identity;
    for (size_t i = 0; i < identity->rate_count; i++)
        member->rates[i] = identity->rates[i];
    member->identity.rates = member->rates;
    member->identity.model.layers = NULL;
    member->identity.model.layers_count = 0;
}

static bool is_superseded(const struct coordinator_member *member, uint64_t incarnation)
{
    for (unsigned i = 0; i < COORDINATOR_SUPERSEDED_MAX && i < member->superseded_count; i++)
        if (member->superseded[i] == incarnation)
            return true;
    return false;
}

/* A new process under a known name takes the old one's place. */
static void supersede(struct coordinator *self, struct coordinator_member *member, uint64_t peer)
{
    member->superseded[member->superseded_count++ % COORDINATOR_SUPERSEDED_MAX] =
        member->identity.incarnation;
    if (!member->live)
        return;
    if (member->peer != peer)
        coordinator_refuse(self, member->peer, BASE_STALE, member->identity.node_id,
            "another process registered as %s: the newest one is %s from now on",
            member->identity.node_id, member->identity.node_id);
    coordinator_lose(self, member, "it restarted");
}

/* The row for this registration, with everything that belonged to an older process dropped. */
static struct coordinator_member *admit(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity)
{
    bool is_router = identity->role == WIRE_ROLE_ROUTER;
    struct coordinator_member *members = is_router ? self->routers : self->workers;
    size_t count = is_router ? LIMIT_ROUTERS_MAX : LIMIT_WORKERS_MAX;
    struct coordinator_member *bound = coordinator_find_peer(self, peer);
    struct coordinator_member *member = find(members, count, identity->node_id);

    if (bound && bound != member) {
        coordinator_refuse(self, peer, BASE_INVALID, identity->node_id,
            "this connection has already registered as %s", bound->identity.node_id);
        return NULL;
    }
    if (member && is_superseded(member, identity->incarnation)) {
        coordinator_refuse(self, peer, BASE_DENIED, identity->node_id,
            "a newer process registered as %s", identity->node_id);
        return NULL;
    }
    if (member && member->identity.incarnation == identity->incarnation &&
        strcmp(member->identity.data_endpoint, identity->data_endpoint) == 0)
        return member;
    if (member) {
        struct coordinator_member kept;

        supersede(self, member, peer);
        kept = *member;
        *member = (struct coordinator_member){.superseded_count = kept.superseded_count};
        memcpy(member->superseded, kept.superseded, sizeof(member->superseded));
    } else {
        member = new_row(members, count);
        if (!member) {
            coordinator_refuse(self, peer, BASE_FULL, identity->node_id, "%zu %s are registered",
                count, is_router ? "routers" : "workers");
            return NULL;
        }
        *member = (struct coordinator_member){0};
    }
    member->slowdown = 1;
    return member;
}

static void send_registered(
    struct coordinator *self, uint64_t peer, uint64_t features, uint32_t protocol_version)
{
    struct wire_message message = {
        .kind = WIRE_REGISTERED,
        .registered =
            {
                .protocol_version = protocol_version < WIRE_PROTOCOL_VERSION
                                        ? protocol_version
                                        : WIRE_PROTOCOL_VERSION,
                .features = features & WIRE_FEATURE_TOP_LOGITS,
                .heartbeat_interval_ms = self->options.heartbeat_interval_ms,
                .lease_ms = self->options.lease_ms,
                .coordinator_incarnation = self->options.incarnation,
                .plan_epoch = self->epoch,
            },
    };

    coordinator_send(self, peer, &message);
}

void coordinator_register(
    struct coordinator *self, uint64_t peer, const struct wire_register *identity)
{
    struct coordinator_member *member;
    bool is_worker = identity->role == WIRE_ROLE_WORKER, joins;

    if (!identity_fits(self, peer, identity))
        return;
    member = admit(self, peer, identity);
    if (!member)
        return;
    if (is_worker && self->card.layer_count == 0)
        adopt_card(self, &identity->model);
    joins = !member->live || member->failed;
    if (!member->live)
        member->order = ++self->order_last;
    member->used = member->live = true;
    member->peer = peer;
    member->heard_ms = self->now_ms;
    member->failed = false;
    member->drained = false;
    keep_identity(member, identity);
    if (identity->plan_epoch > self->epoch)
        self->epoch = identity->plan_epoch;
    send_registered(self, peer, identity->features, identity->protocol_version);
    if (joins && is_worker) {
        self->current.exclusion[member - self->workers] = COORDINATOR_NOT_CONSIDERED;
        self->next.exclusion[member - self->workers] = COORDINATOR_NOT_CONSIDERED;
        member->note[0] = '\0';
        member->quarantined = false;
        self->joined_ms = self->now_ms;
        metrics_add(&self->metrics.joined, 1);
        self->stale = self->wanted = true;
        if (coordinator_serves(self))
            coordinator_set_cause(
                self, member->identity.node_id, "%s joined", member->identity.node_id);
    }
    coordinator_send_plans(self, member);
}

/* ---- loss ---- */

static void forget_model(struct coordinator *self)
{
    if (coordinator_live_count(self) == 0)
        self->card = (struct wire_model_card){0};
}

/* Says which layers are gone with a worker. */
static void name_loss(
    struct coordinator *self, const struct coordinator_member *member, const char *why)
{
    const struct coordinator_placement *placement = &self->current;
    int stage = coordinator_stage_of(placement, member);
    const char *node_id = member->identity.node_id;

    if (stage < 0 || placement->broken) {
        placement = &self->next;
        stage = coordinator_stage_of(placement, member);
    }
    if (stage < 0)
        return;
    coordinator_set_cause(self, node_id,
        "%s with layers %" PRIu32 "..%" PRIu32 " was lost (%.100s)", node_id,
        placement->stages[stage].layer_first,
        placement->stages[stage].layer_first + placement->stages[stage].layer_count - 1, why);
}

void coordinator_lose(struct coordinator *self, struct coordinator_member *member, const char *why)
{
    if (!member->live)
        return;
    member->live = false;
    member->lost_ms = self->now_ms;
    metrics_add(coordinator_is_router(self, member) ? &self->metrics.lost_routers
                                                    : &self->metrics.lost_workers,
        1);
    (void)snprintf(member->note, sizeof(member->note), "%s", why);
    if (coordinator_is_router(self, member))
        return; /* the next plan goes to the next router, see coordinator_settle() */
    name_loss(self, member, why);
    coordinator_break(self, member);
    self->stale = true;
    member->draining = false;
    forget_model(self);
}

void coordinator_goodbye(
    struct coordinator *self, struct coordinator_member *member, const struct wire_goodbye *goodbye)
{
    bool needed =
        !coordinator_is_router(self, member) &&
        ((coordinator_serves(self) && coordinator_stage_of(&self->current, member) >= 0) ||
            coordinator_stage_of(&self->next, member) >= 0);
    char why[LIMIT_HOST_BYTES];

    (void)snprintf(why, sizeof(why), "it said goodbye: %.200s", goodbye->reason);
    coordinator_lose(self, member, why);
    if (!needed)
        *member = (struct coordinator_member){0}; /* nobody misses it: no row for the lost */
}

static void expire_lease(struct coordinator *self, struct coordinator_member *member)
{
    char why[LIMIT_HOST_BYTES];

    if (!member->used)
        return;
    if (!member->live) {
        if (self->now_ms - member->lost_ms >= COORDINATOR_LOST_ROW_MS)
            *member = (struct coordinator_member){0};
        return;
    }
    if (self->now_ms - member->heard_ms <= self->options.lease_ms)
        return;
    (void)snprintf(why, sizeof(why), "silent for %" PRIu64 " ms", self->now_ms - member->heard_ms);
    coordinator_lose(self, member, why);
}

/* A load that makes no progress holds everybody up. */
static void expire_load(struct coordinator *self, struct coordinator_member *member)
{
    int stage = coordinator_stage_of(&self->next, member);
    struct wire_stage_status status = {.epoch = self->next.epoch, .state = WIRE_STAGE_FAILED};

    if (stage < 0 || !member->live || self->next.ready[stage] ||
        self->now_ms - member->load_ms < COORDINATOR_LOAD_SILENCE_MS)
        return;
    status.error.code = BASE_TIMEOUT;
    (void)snprintf(status.error.text, sizeof(status.error.text),
        "loading made no progress for %d s", COORDINATOR_LOAD_SILENCE_MS / 1000);
    coordinator_stage_status(self, member, &status);
}

void coordinator_expire(struct coordinator *self)
{
    for (size_t i = 0; i < LIMIT_WORKERS_MAX; i++) {
        expire_lease(self, &self->workers[i]);
        if (self->workers[i].used)
            expire_load(self, &self->workers[i]);
    }
    for (size_t i = 0; i < LIMIT_ROUTERS_MAX; i++)
        expire_lease(self, &self->routers[i]);
}
