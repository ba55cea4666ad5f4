/* Making, ending and handing out keys. Each change is made under the lock of the store. */
#include "keys_internal.h"

#include "base_alloc.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A key of this mesh, admitted by a row of store and written to path. */
static int make(struct keys_store *store, struct keys_identity *identity, uint64_t expires_s,
    const char *path, struct base_error *err)
{
    int rc = net_key_make(&identity->key, err);

    if (rc != BASE_OK)
        return rc;
    if (identity->role == WIRE_ROLE_COORDINATOR)
        memcpy(identity->coordinator_key, identity->key.public_key, LIMIT_KEY_BYTES);
    if (identity->role == WIRE_ROLE_ROUTER && identity->router_key[0] == 0)
        memcpy(identity->router_key, identity->key.public_key, LIMIT_KEY_BYTES);
    struct keys_row *row = keys_store_add(store, keys_now_s(), err);
    if (row == NULL)
        return BASE_FULL;
    memcpy(row->public_key, identity->key.public_key, LIMIT_KEY_BYTES);
    memcpy(row->name, identity->name, LIMIT_NAME_BYTES);
    row->role = identity->role;
    row->expires_s = expires_s;
    return keys_identity_write(path, identity, false, err);
}

static int make_all(const char *folder, struct keys_store *store, struct base_error *err)
{
    const struct {
        enum wire_role role;
        const char *name, *file;
    } first[] = {{WIRE_ROLE_COORDINATOR, "coordinator", KEYS_NAME_COORDINATOR},
        {WIRE_ROLE_ROUTER, "*", KEYS_NAME_ROUTER}, {WIRE_ROLE_ADMIN, "admin", KEYS_NAME_ADMIN}};
    struct keys_identity identity = {.role = (enum wire_role)0};
    char path[KEYS_PATH_BYTES];
    int rc = BASE_OK;

    for (size_t i = 0; i < sizeof(first) / sizeof(first[0]) && rc == BASE_OK; i++) {
        identity.role = first[i].role;
        memcpy(identity.name, first[i].name, strlen(first[i].name) + 1);
        rc = keys_path(folder, first[i].file, path, err);
        if (rc == BASE_OK)
            rc = make(store, &identity, 0, path, err);
    }
    keys_identity_forget(&identity);
    return rc;
}

int keys_store_init(const char *folder, struct base_error *err)
{
    char path[KEYS_PATH_BYTES];
    struct stat info;
    int lock = -1;
    int rc = keys_path(folder, KEYS_NAME_STORE, path, err);

    if (rc != BASE_OK)
        return rc;
    if (mkdir(folder, S_IRWXU) != 0 && errno != EEXIST)
        return base_error_set(err, BASE_IO, "%s: %s", folder, strerror(errno));
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return base_error_set(err, BASE_IO, "%s: is no folder", folder);
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return base_error_set(err, BASE_DENIED,
            "%s: has mode %04o; a folder with keys must be its owner's only (chmod 700)", folder,
            (unsigned)(info.st_mode & 07777));
    rc = keys_store_lock(folder, true, &lock, err);
    if (rc != BASE_OK)
        return rc;
    struct keys_store store = {.rows = base_alloc_zeroed(LIMIT_KEYS_MAX, sizeof(*store.rows))};
    if (access(path, F_OK) == 0)
        rc = base_error_set(err, BASE_FULL, "%s: is there already", path);
    else if (store.rows == NULL)
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", path);
    else
        rc = make_all(folder, &store, err);
    if (rc == BASE_OK)
        rc = keys_store_write(folder, &store, err);
    keys_store_release(&store);
    keys_store_unlock(lock);
    return rc;
}

/* Lock and contents, for a change. */
static int open_store(
    const char *folder, bool wait, int *ret_lock, struct keys_store *ret, struct base_error *err)
{
    int rc = keys_store_lock(folder, wait, ret_lock, err);

    if (rc != BASE_OK)
        return rc;
    rc = keys_store_read(folder, ret, NULL, err);
    if (rc != BASE_OK)
        keys_store_unlock(*ret_lock);
    return rc;
}

static int write_and_close(
    const char *folder, int rc, int lock, struct keys_store *store, struct base_error *err)
{
    if (rc == BASE_OK)
        rc = keys_store_write(folder, store, err);
    keys_store_release(store);
    keys_store_unlock(lock);
    return rc;
}

/* The public keys that everybody of the mesh must know. */
static int take_anchors(struct keys_store *store, struct keys_identity *ret, struct base_error *err)
{
    const uint64_t now_s = keys_now_s();
    const struct keys_row *coordinator =
        keys_store_find_name(store, WIRE_ROLE_COORDINATOR, "coordinator", now_s);
    const struct keys_row *router = keys_store_find_name(store, WIRE_ROLE_ROUTER, "*", now_s);

    if (coordinator == NULL)
        return base_error_set(err, BASE_NOT_FOUND, "the store has no key of a coordinator");
    memcpy(ret->coordinator_key, coordinator->public_key, LIMIT_KEY_BYTES);
    if (router != NULL)
        memcpy(ret->router_key, router->public_key, LIMIT_KEY_BYTES);
    return BASE_OK;
}

int keys_store_issue(const char *folder, enum wire_role role, const char *name, uint64_t expires_s,
    const char *path, struct base_error *err)
{
    struct keys_identity identity = {.role = role};
    struct keys_store store;
    int lock = -1;

    if (!keys_is_name(name))
        return base_error_set(err, BASE_INVALID,
            "%s: 1 to %d letters, digits, dots, dashes or underscores, and * at the end for any "
            "rest",
            name, LIMIT_NAME_BYTES - 1);
    if (role == WIRE_ROLE_COORDINATOR || role == WIRE_ROLE_JOIN)
        return base_error_set(
            err, BASE_INVALID, "a key for a %s is not issued", net_role_name(role));
    int rc = open_store(folder, true, &lock, &store, err);
    if (rc != BASE_OK)
        return rc;
    memcpy(identity.name, name, strlen(name) + 1);
    if (keys_store_find_name(&store, role, name, keys_now_s()) != NULL)
        rc = base_error_set(err, BASE_FULL, "%s has a key already: revoke it first", name);
    if (rc == BASE_OK)
        rc = take_anchors(&store, &identity, err);
    if (rc == BASE_OK)
        rc = make(&store, &identity, expires_s, path, err);
    keys_identity_forget(&identity);
    return write_and_close(folder, rc, lock, &store, err);
}

int keys_store_revoke(
    const char *folder, const char *name, size_t *ret_count, struct base_error *err)
{
    const uint64_t now_s = keys_now_s();
    struct keys_store store;
    int lock = -1;
    int rc = open_store(folder, true, &lock, &store, err);

    *ret_count = 0;
    if (rc != BASE_OK)
        return rc;
    for (size_t i = 0; i < store.count; i++) {
        if (strcmp(store.rows[i].name, name) == 0 && store.rows[i].revoked_s == 0) {
            store.rows[i].revoked_s = now_s;
            ++*ret_count;
        }
    }
    if (*ret_count == 0)
        rc = base_error_set(err, BASE_NOT_FOUND, "the store has no key for %s to revoke", name);
    return write_and_close(folder, rc, lock, &store, err);
}
