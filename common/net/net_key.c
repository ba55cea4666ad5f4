/* Keys as text, and the names of roles. */
#include "net_internal.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#define KEY_RAW_BYTES 32

static const char *const role_names[] = {
    [WIRE_ROLE_WORKER] = "worker",
    [WIRE_ROLE_ROUTER] = "router",
    [WIRE_ROLE_ADMIN] = "admin",
    [WIRE_ROLE_CLIENT] = "client",
    [WIRE_ROLE_COORDINATOR] = "coordinator",
    [WIRE_ROLE_JOIN] = "join",
};
#define ROLE_COUNT (sizeof(role_names) / sizeof(role_names[0]))

int net_key_make(struct net_key *ret, struct base_error *err)
{
    if (zmq_curve_keypair(ret->public_key, ret->secret_key) != 0)
        return base_error_set(err, BASE_IO, "make a key: %s", zmq_strerror(errno));
    return BASE_OK;
}

bool net_key_is_text(const char *text)
{
    uint8_t raw[KEY_RAW_BYTES];

    if (strnlen(text, LIMIT_KEY_BYTES) != LIMIT_KEY_BYTES - 1)
        return false;
    const bool is_key = zmq_z85_decode(raw, text) != NULL;
    explicit_bzero(raw, sizeof(raw));
    return is_key;
}

int net_key_derive(struct net_key *self, struct base_error *err)
{
    if (!net_key_is_text(self->secret_key) ||
        zmq_curve_public(self->public_key, self->secret_key) != 0)
        return base_error_set(err, BASE_INVALID, "the secret key is not 40 characters of Z85");
    return BASE_OK;
}

void net_key_forget(struct net_key *self)
{
    explicit_bzero(self, sizeof(*self));
}

void net_key_to_hex(const char *key, char ret_hex[NET_KEY_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[KEY_RAW_BYTES] = {0};

    (void)zmq_z85_decode(raw, key);
    for (size_t i = 0; i < KEY_RAW_BYTES; i++) {
        ret_hex[2 * i] = digits[raw[i] >> 4];
        ret_hex[2 * i + 1] = digits[raw[i] & 15];
    }
    ret_hex[NET_KEY_HEX_BYTES - 1] = 0;
    explicit_bzero(raw, sizeof(raw));
}

bool net_key_from_hex(const char *hex, char ret_key[LIMIT_KEY_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[KEY_RAW_BYTES];

    if (strnlen(hex, NET_KEY_HEX_BYTES) != NET_KEY_HEX_BYTES - 1)
        return false;
    for (size_t i = 0; i < KEY_RAW_BYTES; i++) {
        const char *high = strchr(digits, hex[2 * i]), *low = strchr(digits, hex[2 * i + 1]);
        if (high == NULL || low == NULL)
            return false;
        raw[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    const bool is_key = zmq_z85_encode(ret_key, raw, KEY_RAW_BYTES) != NULL;
    explicit_bzero(raw, sizeof(raw));
    return is_key;
}

const char *net_role_name(enum wire_role role)
{
    const bool is_known = (size_t)role < ROLE_COUNT && role_names[role] != NULL;

    return is_known ? role_names[role] : "nobody";
}

bool net_role_parse(const char *text, enum wire_role *ret)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (role_names[i] != NULL && strcmp(role_names[i], text) == 0) {
            *ret = (enum wire_role)i;
            return true;
        }
    }
    return false;
}

bool net_name_fits(const char *pattern, const char *name)
{
    const size_t bytes = strlen(pattern);

    if (bytes > 0 && pattern[bytes - 1] == '*')
        return name[0] != 0 && strncmp(pattern, name, bytes - 1) == 0;
    return strcmp(pattern, name) == 0;
}
