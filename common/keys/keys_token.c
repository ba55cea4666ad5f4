/* Join tokens: lmj1.COORDINATOR-KEY.SECRET.ENDPOINT, keys in hexadecimal: safe in any shell. */
#include "keys_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MARK      "lmj1."
#define HEX_BYTES (NET_KEY_HEX_BYTES - 1)

int keys_token_parse(const char *line, struct keys_token *ret, struct base_error *err)
{
    struct keys_token token = {{0}};
    char hex[NET_KEY_HEX_BYTES] = "";
    const size_t mark = strlen(MARK), head = mark + 2 * (HEX_BYTES + 1);
    const size_t bytes = strnlen(line, KEYS_TOKEN_BYTES);

    if (bytes <= head || bytes - head >= LIMIT_ENDPOINT_BYTES || strncmp(line, MARK, mark) != 0 ||
        line[mark + HEX_BYTES] != '.' || line[head - 1] != '.')
        return base_error_set(
            err, BASE_INVALID, "this is no join token: it is one word that starts with " MARK);
    memcpy(hex, line + mark, HEX_BYTES);
    bool is_valid = net_key_from_hex(hex, token.coordinator_key);
    memcpy(hex, line + mark + HEX_BYTES + 1, HEX_BYTES);
    is_valid = is_valid && net_key_from_hex(hex, token.key.secret_key);
    explicit_bzero(hex, sizeof(hex));
    if (!is_valid || net_key_derive(&token.key, NULL) != BASE_OK)
        return base_error_set(err, BASE_INVALID, "this join token is damaged");
    memcpy(token.coordinator, line + head, bytes - head + 1);
    *ret = token;
    net_key_forget(&token.key);
    return BASE_OK;
}

/* Adds the row of a token; the lock is held. */
static int add_token(struct keys_store *store, enum wire_role role, const char *name,
    uint64_t expires_s, const struct net_key *key, struct base_error *err)
{
    struct keys_row *row = keys_store_add(store, keys_now_s(), err);

    if (row == NULL)
        return BASE_FULL;
    row->role = WIRE_ROLE_JOIN;
    row->grants = role;
    row->expires_s = expires_s;
    memcpy(row->name, name, strlen(name) + 1);
    memcpy(row->public_key, key->public_key, LIMIT_KEY_BYTES);
    return BASE_OK;
}

int keys_token_issue(const char *folder, enum wire_role role, const char *name, uint64_t expires_s,
    const char *coordinator, char ret_line[KEYS_TOKEN_BYTES], struct base_error *err)
{
    struct keys_store store;
    struct net_key key;
    char public_hex[NET_KEY_HEX_BYTES], secret_hex[NET_KEY_HEX_BYTES];
    int lock = -1;

    if (role != WIRE_ROLE_WORKER && role != WIRE_ROLE_CLIENT)
        return base_error_set(
            err, BASE_INVALID, "a %s cannot join with a token", net_role_name(role));
    if (!keys_is_name(name) || strlen(coordinator) >= LIMIT_ENDPOINT_BYTES)
        return base_error_set(err, BASE_INVALID, "%.64s: no name, or endpoint too long", name);
    int rc = net_key_make(&key, err);
    if (rc == BASE_OK)
        rc = keys_store_lock(folder, true, &lock, err);
    if (rc != BASE_OK)
        return rc;
    rc = keys_store_read(folder, &store, NULL, err);
    if (rc == BASE_OK) {
        const struct keys_row *own =
            keys_store_find_name(&store, WIRE_ROLE_COORDINATOR, "coordinator", keys_now_s());
        if (own == NULL)
            rc = base_error_set(err, BASE_NOT_FOUND, "the store has no key of a coordinator");
        else
            net_key_to_hex(own->public_key, public_hex);
        if (rc == BASE_OK)
            rc = add_token(&store, role, name, expires_s, &key, err);
        if (rc == BASE_OK)
            rc = keys_store_write(folder, &store, err);
        keys_store_release(&store);
    }
    keys_store_unlock(lock);
    if (rc == BASE_OK) {
        net_key_to_hex(key.secret_key, secret_hex);
        (void)snprintf(
            ret_line, KEYS_TOKEN_BYTES, MARK "%s.%s.%s", public_hex, secret_hex, coordinator);
        explicit_bzero(secret_hex, sizeof(secret_hex));
    }
    net_key_forget(&key);
    return rc;
}

static int redeem(struct keys_store *store, struct keys_row *token, const char *node_id,
    const char *public_key, bool *ret_changed, struct base_error *err)
{
    const uint64_t now_s = keys_now_s();

    *ret_changed = false;
    if (token == NULL || token->role != WIRE_ROLE_JOIN || token->revoked_s != 0)
        return base_error_set(err, BASE_DENIED, "this join token is not known here");
    if (strcmp(token->used_by, public_key) == 0)
        return BASE_OK;
    if (token->used_by[0] != 0)
        return base_error_set(err, BASE_DENIED, "this join token was used already");
    if (token->expires_s != 0 && token->expires_s <= now_s)
        return base_error_set(err, BASE_DENIED, "this join token has expired");
    if (!net_name_fits(token->name, node_id))
        return base_error_set(
            err, BASE_DENIED, "this join token is for %s, not for %s", token->name, node_id);
    if (keys_store_find_name(store, token->grants, node_id, now_s) != NULL ||
        keys_store_find_key(store, public_key) != NULL)
        return base_error_set(err, BASE_DENIED,
            "%s has a key already: another --node-id, or 'layermesh keys revoke %s' first", node_id,
            node_id);
    const enum wire_role role = token->grants;
    memcpy(token->used_by, public_key, LIMIT_KEY_BYTES);
    struct keys_row *row = keys_store_add(store, now_s, err); /* moves the rows */
    if (row == NULL)
        return BASE_FULL;
    row->role = role;
    memcpy(row->name, node_id, strlen(node_id) + 1);
    memcpy(row->public_key, public_key, LIMIT_KEY_BYTES);
    *ret_changed = true;
    return BASE_OK;
}

int keys_token_redeem(const char *folder, const char *token_key, const char *node_id,
    const char *public_key, enum wire_role *ret_role, struct base_error *err)
{
    struct keys_store store;
    bool is_changed = false;
    int lock = -1;

    if (!keys_is_name(node_id) || strchr(node_id, '*') != NULL || !net_key_is_text(public_key))
        return base_error_set(err, BASE_INVALID, "no node id, or no key");
    int rc = keys_store_lock(folder, false, &lock, err);
    if (rc != BASE_OK)
        return rc;
    rc = keys_store_read(folder, &store, NULL, err);
    if (rc == BASE_OK) {
        struct keys_row *token = keys_store_find_key(&store, token_key);
        const enum wire_role role = token == NULL ? (enum wire_role)0 : token->grants;
        rc = redeem(&store, token, node_id, public_key, &is_changed, err);
        if (rc == BASE_OK && is_changed)
            rc = keys_store_write(folder, &store, err);
        if (rc == BASE_OK)
            *ret_role = role;
        keys_store_release(&store);
    }
    keys_store_unlock(lock);
    return rc;
}
