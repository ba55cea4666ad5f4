/*
 * Who is admitted to the mesh: the key store on disk, read again when it changes, and what the
 * others are told of it. Thread of the coordinator's loop.
 */
#ifndef COORDINATOR_KEYS_H
#define COORDINATOR_KEYS_H

#include "net.h"

#define COORDINATOR_KEYS_CHECK_MS 200 /* between looks at the store */

struct coordinator_keys;

/* Reads the store in folder and admits its keys to context; both are borrowed. */
int coordinator_keys_new(struct net_context *context, const char *folder,
    struct coordinator_keys **ret, struct base_error *err);
void coordinator_keys_destroy(struct coordinator_keys **self_p);

/* Looks at the store when that is due. Returns true when another set of keys is admitted now. A
 * store that cannot be read is logged, and the keys stay as they were. */
bool coordinator_keys_refresh(struct coordinator_keys *self, uint64_t now_ms);

/* When to look again. */
uint64_t coordinator_keys_next_ms(const struct coordinator_keys *self);

/* The message for a member: ADMISSION with what concerns its role. Borrowed until the next call. */
const struct wire_message *coordinator_keys_message(
    struct coordinator_keys *self, enum wire_role role);

/* The role under which a key is admitted now; 0: none. */
enum wire_role coordinator_keys_role(const struct coordinator_keys *self, const char *public_key);

/* Answers ENROL of who bears a token: *ret is ENROLLED or ERROR. Returns true when a key was
 * admitted by it. */
bool coordinator_keys_enrol(struct coordinator_keys *self, const struct net_sender *who,
    const struct wire_enrol *enrol, struct wire_message *ret);

#endif
