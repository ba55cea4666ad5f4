/* The set of keys that may talk to us, and what was refused. */
#include "net_internal.h"

#include "base_alloc.h"
#include "base_log.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct wire_admitted *)a)->public_key,
        ((const struct wire_admitted *)b)->public_key);
}

int net_admission_init(struct net_admission *self)
{
    *self = (struct net_admission){.rows = NULL};
    return pthread_mutex_init(&self->lock, NULL) == 0 ? BASE_OK : BASE_NOMEM;
}

void net_admission_release(struct net_admission *self)
{
    base_free(self->rows);
    self->rows = NULL;
    (void)pthread_mutex_destroy(&self->lock);
}

int net_admit(struct net_context *self, const struct wire_admitted *rows, size_t count)
{
    struct net_admission *admission = &self->admission;

    if (count > LIMIT_KEYS_MAX)
        return BASE_TOO_BIG;
    for (size_t i = 0; i < count; i++)
        if (!net_key_is_text(rows[i].public_key))
            return BASE_INVALID;
    struct wire_admitted *copy = base_alloc_zeroed(count + 1, sizeof(*copy));
    if (copy == NULL)
        return BASE_NOMEM;
    if (count > 0)
        memcpy(copy, rows, count * sizeof(*copy));
    qsort(copy, count, sizeof(*copy), compare);
    (void)pthread_mutex_lock(&admission->lock);
    struct wire_admitted *old = admission->rows;
    admission->rows = copy;
    admission->count = count;
    (void)pthread_mutex_unlock(&admission->lock);
    base_free(old);
    return BASE_OK;
}

bool net_admission_find(
    struct net_admission *self, const char *public_key, struct net_sender *ret_sender)
{
    struct wire_admitted wanted = {.role = WIRE_ROLE_WORKER};
    bool is_found = false;

    if (strnlen(public_key, LIMIT_KEY_BYTES) != LIMIT_KEY_BYTES - 1)
        return false;
    memcpy(wanted.public_key, public_key, LIMIT_KEY_BYTES);
    (void)pthread_mutex_lock(&self->lock);
    const struct wire_admitted *row =
        self->count == 0 ? NULL
                         : bsearch(&wanted, self->rows, self->count, sizeof(*self->rows), compare);
    if (row != NULL) {
        is_found = true;
        ret_sender->role = row->role;
        memcpy(ret_sender->name, row->name, sizeof(ret_sender->name));
        memcpy(ret_sender->public_key, row->public_key, sizeof(ret_sender->public_key));
    }
    (void)pthread_mutex_unlock(&self->lock);
    return is_found;
}

/* ---- what was refused ---- */

const char *net_refusal_name(enum net_refusal reason)
{
    static const char *const names[NET_REFUSAL_COUNT] = {
        [NET_REFUSED_FRAMES] = "frames",
        [NET_REFUSED_MALFORMED] = "malformed",
        [NET_REFUSED_KEY] = "key",
        [NET_REFUSED_REVOKED] = "revoked",
        [NET_REFUSED_ROLE] = "role",
        [NET_REFUSED_NAME] = "name",
        [NET_REFUSED_RATE] = "rate",
        [NET_REFUSED_HANDSHAKE] = "handshake",
        [NET_REFUSED_HALF_OPEN] = "half_open",
        [NET_REFUSED_BACKLOG] = "backlog",
        [NET_REFUSED_TOKEN] = "token",
        [NET_REFUSED_HOP] = "hop",
    };

    return (unsigned)reason < NET_REFUSAL_COUNT ? names[reason] : "unknown";
}

uint64_t net_refusals(const struct net_context *self, enum net_refusal reason)
{
    return atomic_load(&self->refusals[reason]);
}

void net_refuse_count(struct net_context *self, enum net_refusal reason, const char *text)
{
    const uint64_t count = atomic_fetch_add(&self->refusals[reason], 1) + 1;

    if ((count & (count - 1)) == 0)
        base_log(BASE_LOG_WARN, "refused", "reason=%s count=%" PRIu64 " text=\"%s\"",
            net_refusal_name(reason), count, text);
    else
        base_log(
            BASE_LOG_DEBUG, "refused", "reason=%s text=\"%s\"", net_refusal_name(reason), text);
}
