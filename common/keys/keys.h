/*
 * Keys on disk: the file that makes a program somebody (an identity), the coordinator's list of who
 * is admitted (the store), and join tokens. Text files, mode 0600 in a folder of mode 0700; wider
 * ones are refused. Secrets are never logged. Any thread; nothing is kept between calls.
 */
#ifndef KEYS_H
#define KEYS_H

#include "net_security.h"
#include <sys/types.h>

#define KEYS_NAME_STORE       "store"
#define KEYS_NAME_COORDINATOR "coordinator.key"
#define KEYS_NAME_ROUTER      "router.key"
#define KEYS_NAME_ADMIN       "admin.key"
#define KEYS_PATH_BYTES       4096

/* ---- identity: one file for one program ---- */

struct keys_identity {
    enum wire_role role;
    char name[LIMIT_NAME_BYTES]; /* node ids that it may claim; may end in "*" */
    struct net_key key;
    char coordinator_key[LIMIT_KEY_BYTES];  /* public; whom to trust */
    char router_key[LIMIT_KEY_BYTES];       /* public; "": not known */
    char coordinator[LIMIT_ENDPOINT_BYTES]; /* endpoint, when it came with a token; else "" */
};

/* Reads and checks. Returns BASE_OK, BASE_NOT_FOUND, BASE_DENIED (others may read the file),
 * BASE_MALFORMED, BASE_IO; *err names the file. */
int keys_identity_read(const char *path, struct keys_identity *ret, struct base_error *err);

/* Writes a new file, on disk when it returns; replaces one that exists only when replace is set.
 * Returns BASE_OK, BASE_FULL (it exists) or BASE_IO. */
int keys_identity_write(
    const char *path, const struct keys_identity *identity, bool replace, struct base_error *err);

/* Overwrites what was secret. */
void keys_identity_forget(struct keys_identity *self);

/* Whether role is one that may be used with this file; *err says which file and role if not. */
int keys_identity_expect(const struct keys_identity *self, const char *path, enum wire_role role,
    struct base_error *err);

/*
 * What every program does at start, before its first socket. path NULL: it has no key, and plain TCP
 * is allowed when insecure says so. Else the file's role must be role, and the context is secured
 * (net_context_secure()) with its key. *ret: the identity without its secret; zeroed without path.
 */
int keys_secure(struct net_context *context, const char *path, enum wire_role role, bool serves,
    bool insecure, struct keys_identity *ret, struct base_error *err);

/* ---- store: who is admitted ---- */

struct keys_row {
    char public_key[LIMIT_KEY_BYTES];
    enum wire_role role;
    char name[LIMIT_NAME_BYTES];
    uint64_t issued_s, expires_s, revoked_s; /* seconds since 1970; 0: never */
    /* Of a join token: */
    enum wire_role grants;
    char used_by[LIMIT_KEY_BYTES]; /* the key that it let in; "": not used */
};

struct keys_store {
    uint64_t serial; /* grows with each change */
    struct keys_row *rows;
    size_t count; /* <= LIMIT_KEYS_MAX */
};

/* What a file was when it was read, to find out whether it has changed. */
struct keys_stamp {
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

/* folder/name into path. Returns BASE_OK or BASE_INVALID when that is too long. */
int keys_path(
    const char *folder, const char *name, char ret_path[KEYS_PATH_BYTES], struct base_error *err);

/* Returns BASE_OK, or as keys_identity_read(). The rows are released by keys_store_release(). */
int keys_store_read(const char *folder, struct keys_store *ret, struct keys_stamp *ret_stamp,
    struct base_error *err);
void keys_store_release(struct keys_store *self);

/* Whether the store on disk may differ from what stamp was made of. */
bool keys_store_changed(const char *folder, const struct keys_stamp *stamp);

/* Only the holder of the lock may write. wait: until whoever has it is done, else BASE_AGAIN. */
int keys_store_lock(const char *folder, bool wait, int *ret_lock, struct base_error *err);
void keys_store_unlock(int lock);

/* Counts serial up and replaces the file at once; either the old or the new one is there. */
int keys_store_write(const char *folder, struct keys_store *self, struct base_error *err);

/* Room for one more row, zeroed; NULL with *err: the store is full, or out of memory. Tokens that
 * ended over a week ago make room. */
struct keys_row *keys_store_add(struct keys_store *self, uint64_t now_s, struct base_error *err);

/* The admitted row of this role and name, NULL: none. */
struct keys_row *keys_store_find_name(
    struct keys_store *self, enum wire_role role, const char *name, uint64_t now_s);
struct keys_row *keys_store_find_key(struct keys_store *self, const char *public_key);

bool keys_row_is_admitted(const struct keys_row *row, uint64_t now_s);

/* Rows for net_admit(): those admitted now; of these roles when mask is not 0 (bit 1 << role).
 * *ret_until_s: when the next of them expires (0: never). out has room for self->count. */
size_t keys_store_admitted(const struct keys_store *self, uint64_t now_s, uint32_t mask,
    struct wire_admitted *out, uint64_t *ret_until_s);

/* Makes folder with the keys of a mesh: coordinator, router, admin. BASE_FULL: it has some. */
int keys_store_init(const char *folder, struct base_error *err);

/* Makes a key for role and name, admits it and writes its file to path. expires_s 0: never. */
int keys_store_issue(const char *folder, enum wire_role role, const char *name, uint64_t expires_s,
    const char *path, struct base_error *err);

/* Ends all keys of this name. *ret_count: how many. BASE_NOT_FOUND: none. */
int keys_store_revoke(
    const char *folder, const char *name, size_t *ret_count, struct base_error *err);

/* ---- join tokens ---- */

#define KEYS_TOKEN_BYTES (2 * NET_KEY_HEX_BYTES + LIMIT_ENDPOINT_BYTES + 16)

/* What the line says: where the coordinator is, which key it has, and a key that enrols once. */
struct keys_token {
    char coordinator[LIMIT_ENDPOINT_BYTES];
    char coordinator_key[LIMIT_KEY_BYTES];
    struct net_key key;
};

/* Makes a token for role, for any node id that fits name, and its line. */
int keys_token_issue(const char *folder, enum wire_role role, const char *name, uint64_t expires_s,
    const char *coordinator, char ret_line[KEYS_TOKEN_BYTES], struct base_error *err);
int keys_token_parse(const char *line, struct keys_token *ret, struct base_error *err);

/*
 * The coordinator's side: admits public_key as node_id because the bearer of token_key asks. A
 * token works once; the same key may ask again (its answer got lost). Returns BASE_OK with
 * *ret_role, BASE_DENIED with *err (used, expired, another name), BASE_AGAIN (the store is being
 * written), or what reading and writing fail with.
 */
int keys_token_redeem(const char *folder, const char *token_key, const char *node_id,
    const char *public_key, enum wire_role *ret_role, struct base_error *err);

/* Seconds since 1970. */
uint64_t keys_now_s(void);

/* Whether a name may be issued: a node id, or the begin of one and "*". */
bool keys_is_name(const char *name);

#endif
