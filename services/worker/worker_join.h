/* How a worker gets its key: from a file, or by enrolling one of its own with a join token. Main
 * thread, before all others. */
#ifndef WORKER_JOIN_H
#define WORKER_JOIN_H

#include "keys.h"

#define WORKER_JOIN_MS 15000u /* longest wait for the coordinator's answer */

/* Where this worker's key is kept when no option says it: ~/.layermesh/NODE-ID.key. Returns false
 * without a home, or when that is too long. */
bool worker_join_usual_path(const char *node_id, char ret_path[KEYS_PATH_BYTES]);

/*
 * Enrols: makes a key, has the coordinator of the token admit it as node_id, writes it to path. A
 * key that was made by an earlier try whose answer got lost is used again. Returns BASE_OK;
 * BASE_DENIED (used, expired, the name has a key), BASE_TIMEOUT, BASE_CANCELLED (a signal came),
 * or what the key file cannot be written for.
 */
int worker_join(struct net_context *context, const struct keys_token *token, const char *node_id,
    const char *path, struct base_error *err);

#endif
