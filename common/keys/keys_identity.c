/* The file that makes a program somebody. */
#include "keys_internal.h"

#include "base_alloc.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HEAD    "layermesh-key"
#define VERSION "1"

bool keys_is_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-";
    const size_t bytes = strnlen(name, LIMIT_NAME_BYTES), plain = strspn(name, allowed);

    return bytes > 0 && bytes < LIMIT_NAME_BYTES &&
           (plain == bytes || (plain + 1 == bytes && name[plain] == '*'));
}

uint64_t keys_now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec;
}

static bool take_text(char *out, size_t capacity, const char *word)
{
    if (strlen(word) >= capacity)
        return false;
    memcpy(out, word, strlen(word) + 1);
    return true;
}

static bool take_key(char *out, const char *word)
{
    return net_key_is_text(word) && take_text(out, LIMIT_KEY_BYTES, word);
}

/* One line; unknown ones are left for later versions. */
static bool take_line(struct keys_identity *self, const char *what, const char *value)
{
    if (strcmp(what, "name") == 0)
        return keys_is_name(value) && take_text(self->name, sizeof(self->name), value);
    if (strcmp(what, "role") == 0)
        return net_role_parse(value, &self->role);
    if (strcmp(what, "public") == 0)
        return take_key(self->key.public_key, value);
    if (strcmp(what, "secret") == 0)
        return take_key(self->key.secret_key, value);
    if (strcmp(what, "coordinator") == 0)
        return take_key(self->coordinator_key, value);
    if (strcmp(what, "router") == 0)
        return take_key(self->router_key, value);
    if (strcmp(what, "endpoint") == 0)
        return take_text(self->coordinator, sizeof(self->coordinator), value);
    return true;
}

static int parse(const char *path, char *text, struct keys_identity *ret, struct base_error *err)
{
    char *words[KEYS_WORDS_MAX];
    int line = 1;
    int count = keys_next_line(&text, words);

    if (count != 2 || strcmp(words[0], HEAD) != 0 || strcmp(words[1], VERSION) != 0)
        return base_error_set(
            err, BASE_MALFORMED, "%s: does not start with '%s %s'", path, HEAD, VERSION);
    while ((count = keys_next_line(&text, words)) >= 0) {
        line++;
        if (count > 0 && (count != 2 || !take_line(ret, words[0], words[1])))
            return base_error_set(err, BASE_MALFORMED, "%s: line %d is not valid", path, line);
    }
    struct net_key derived = ret->key;
    const int rc = net_key_derive(&derived, err);
    const bool is_pair = rc == BASE_OK && strcmp(derived.public_key, ret->key.public_key) == 0;
    net_key_forget(&derived);
    if (!is_pair || ret->role == 0 || ret->name[0] == 0 || ret->coordinator_key[0] == 0)
        return base_error_set(err, BASE_MALFORMED,
            "%s: needs name, role, coordinator, and public and secret that belong together", path);
    return BASE_OK;
}

int keys_identity_read(const char *path, struct keys_identity *ret, struct base_error *err)
{
    char *text = NULL;
    int rc = keys_text_read(path, &text, NULL, err);

    if (rc != BASE_OK)
        return rc;
    struct keys_identity identity = {.role = (enum wire_role)0};
    const size_t bytes = strlen(text);
    rc = parse(path, text, &identity, err);
    explicit_bzero(text, bytes);
    base_free(text);
    if (rc == BASE_OK)
        *ret = identity;
    keys_identity_forget(&identity);
    return rc;
}

int keys_identity_write(
    const char *path, const struct keys_identity *identity, bool replace, struct base_error *err)
{
    char text[1024];
    int bytes = snprintf(text, sizeof(text),
        HEAD " " VERSION "\nname %s\nrole %s\npublic %s\nsecret %s\ncoordinator %s\n",
        identity->name, net_role_name(identity->role), identity->key.public_key,
        identity->key.secret_key, identity->coordinator_key);

    if (identity->router_key[0] != 0)
        bytes += snprintf(
            text + bytes, sizeof(text) - (size_t)bytes, "router %s\n", identity->router_key);
    if (identity->coordinator[0] != 0)
        bytes += snprintf(
            text + bytes, sizeof(text) - (size_t)bytes, "endpoint %s\n", identity->coordinator);
    const int rc = keys_text_write(path, text, (size_t)bytes, replace, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

void keys_identity_forget(struct keys_identity *self)
{
    explicit_bzero(self, sizeof(*self));
}

int keys_identity_expect(
    const struct keys_identity *self, const char *path, enum wire_role role, struct base_error *err)
{
    if (self->role == role)
        return BASE_OK;
    return base_error_set(err, BASE_DENIED, "%s: is the key of a %s, not of a %s", path,
        net_role_name(self->role), net_role_name(role));
}
