#include "coordinator_keys.h"
#include "base_alloc.h"
#include "base_clock.h"
#include "base_log.h"
#include "keys.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MAY(role) (1u << WIRE_ROLE_##role)

struct coordinator_keys {
    struct net_context *context; /* borrowed */
    const char *folder;          /* borrowed */
    struct keys_store store;
    struct keys_stamp stamp;
    struct wire_admitted *admitted; /* owned [LIMIT_KEYS_MAX]: all */
    size_t admitted_count;
    struct wire_admitted *told; /* owned [LIMIT_KEYS_MAX]: of the last message */
    struct wire_message message;
    uint64_t until_s; /* when the next key expires; 0: none does */
    uint64_t next_ms; /* when to look again */
    bool is_broken;   /* the store could not be read when it was looked at last */
};

static int admit(struct coordinator_keys *self, struct base_error *err)
{
    self->admitted_count =
        keys_store_admitted(&self->store, keys_now_s(), 0, self->admitted, &self->until_s);
    const int rc = net_admit(self->context, self->admitted, self->admitted_count);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "admit %zu keys", self->admitted_count);
    base_log(BASE_LOG_INFO, "admission", "serial=%" PRIu64 " keys=%zu", self->store.serial,
        self->admitted_count);
    return BASE_OK;
}

static int read_store(struct coordinator_keys *self, struct base_error *err)
{
    struct keys_store fresh;
    struct keys_stamp stamp;
    const int rc = keys_store_read(self->folder, &fresh, &stamp, err);

    if (rc != BASE_OK)
        return rc;
    keys_store_release(&self->store);
    self->store = fresh;
    self->stamp = stamp;
    return admit(self, err);
}

int coordinator_keys_new(struct net_context *context, const char *folder,
    struct coordinator_keys **ret, struct base_error *err)
{
    struct coordinator_keys *self = base_alloc_zeroed(1, sizeof(*self));
    int rc = BASE_NOMEM;

    if (self) {
        self->context = context;
        self->folder = folder;
        self->admitted = base_alloc_zeroed(LIMIT_KEYS_MAX, sizeof(*self->admitted));
        self->told = base_alloc_zeroed(LIMIT_KEYS_MAX, sizeof(*self->told));
    }
    if (self && self->admitted && self->told)
        rc = read_store(self, err);
    else
        (void)base_error_set(err, rc, "no memory for the keys");
    if (rc != BASE_OK) {
        coordinator_keys_destroy(&self);
        return rc;
    }
    *ret = self;
    return BASE_OK;
}

void coordinator_keys_destroy(struct coordinator_keys **self_p)
{
    struct coordinator_keys *self = *self_p;

    if (!self)
        return;
    keys_store_release(&self->store);
    base_free(self->admitted);
    base_free(self->told);
    base_free(self);
    *self_p = NULL;
}

bool coordinator_keys_refresh(struct coordinator_keys *self, uint64_t now_ms)
{
    const bool has_expired = self->until_s != 0 && keys_now_s() >= self->until_s;
    struct base_error err = {0};

    if (now_ms < self->next_ms)
        return false;
    self->next_ms = now_ms + COORDINATOR_KEYS_CHECK_MS;
    if (!keys_store_changed(self->folder, &self->stamp))
        return has_expired && admit(self, &err) == BASE_OK;
    const int rc = read_store(self, &err);
    if (rc != BASE_OK && !self->is_broken)
        base_log(BASE_LOG_ERROR, "keys", "error=\"%s\": the keys stay as they were", err.text);
    self->is_broken = rc != BASE_OK;
    if (rc != BASE_OK)
        return has_expired && admit(self, &err) == BASE_OK;
    return true;
}

uint64_t coordinator_keys_next_ms(const struct coordinator_keys *self)
{
    return self->next_ms;
}

const struct wire_message *coordinator_keys_message(
    struct coordinator_keys *self, enum wire_role role)
{
    const uint32_t mask = role == WIRE_ROLE_WORKER
                              ? MAY(WORKER) | MAY(ROUTER)
                              : MAY(WORKER) | MAY(ROUTER) | MAY(CLIENT) | MAY(ADMIN);
    uint64_t until_s;

    self->message = (struct wire_message){.kind = WIRE_ADMISSION,
        .admission = {.serial = self->store.serial,
            .rows = self->told,
            .row_count =
                keys_store_admitted(&self->store, keys_now_s(), mask, self->told, &until_s)}};
    return &self->message;
}

enum wire_role coordinator_keys_role(const struct coordinator_keys *self, const char *public_key)
{
    for (size_t i = 0; i < self->admitted_count; i++)
        if (strcmp(self->admitted[i].public_key, public_key) == 0)
            return self->admitted[i].role;
    return (enum wire_role)0;
}

bool coordinator_keys_enrol(struct coordinator_keys *self, const struct net_sender *who,
    const struct wire_enrol *enrol, struct wire_message *ret)
{
    struct base_error err = {0};
    enum wire_role role = (enum wire_role)0;
    const int rc = keys_token_redeem(
        self->folder, who->public_key, enrol->node_id, enrol->public_key, &role, &err);

    if (rc != BASE_OK) {
        *ret = (struct wire_message){.kind = WIRE_ERROR, .error = {.code = rc}};
        memcpy(ret->error.text, err.text, sizeof(ret->error.text));
        memcpy(ret->error.node, enrol->node_id, sizeof(ret->error.node));
        if (rc == BASE_DENIED)
            net_refuse_count(self->context, NET_REFUSED_TOKEN, err.text);
        return false;
    }
    base_log(BASE_LOG_INFO, "enrolled", "node=%s role=%s", enrol->node_id, net_role_name(role));
    *ret = (struct wire_message){.kind = WIRE_ENROLLED, .enrolled = {.role = role}};
    const struct keys_row *router =
        keys_store_find_name(&self->store, WIRE_ROLE_ROUTER, "*", keys_now_s());
    if (router)
        memcpy(ret->enrolled.router_public_key, router->public_key, LIMIT_KEY_BYTES);
    self->next_ms = base_clock_ms(); /* read it again at once */
    return true;
}
