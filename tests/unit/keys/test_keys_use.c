/* How a program becomes somebody at its start, or is kept from starting. */
#include "base_err.h"
#include "keys.h"
#include "net.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64], path[256];
static struct base_error err;
static struct net_context *context;
static struct keys_identity identity; /* what the file says */

static void start(void)
{
    (void)snprintf(folder, sizeof(folder), "%s/keys-use-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/w-1.key", folder);
    identity = (struct keys_identity){.role = WIRE_ROLE_WORKER, .name = "w-1"};
    struct net_key coordinator;
    cr_assert_eq(net_key_make(&identity.key, &err), BASE_OK);
    cr_assert_eq(net_key_make(&coordinator, &err), BASE_OK);
    memcpy(identity.coordinator_key, coordinator.public_key, LIMIT_KEY_BYTES);
    cr_assert_eq(keys_identity_write(path, &identity, false, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_context_new(&context, &err), BASE_OK);
}

static void stop(void)
{
    char command[128];

    net_context_destroy(&context);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(keys_use, .init = start, .fini = stop);

static int secure(const char *file, enum wire_role role, bool insecure, struct keys_identity *ret)
{
    /* Whatever was there before must not survive. */
    memset(ret, 'x', sizeof(*ret));
    return keys_secure(context, file, role, true, insecure, ret, &err);
}

/* What plain TCP comes to in this context. */
static int bind_tcp(void)
{
    struct net_socket *socket = NULL;
    const int rc = net_bind(context, NET_PLANE_DATA, "tcp://127.0.0.1:*", &socket, &err);

    net_close(&socket);
    return rc;
}

static bool has_no_secret(const struct keys_identity *self)
{
    static const char nothing[LIMIT_KEY_BYTES];

    return memcmp(self->key.secret_key, nothing, sizeof(nothing)) == 0;
}

/* Refused, and the program is nobody: no TCP at all, and no secret left about. */
static void expect_refusal(int code, const char *file, enum wire_role role)
{
    struct keys_identity ret;

    cr_assert_eq(secure(file, role, true, &ret), code, "%s", err.text);
    cr_assert(strstr(err.text, file) != NULL, "the file is not named: %s", err.text);
    cr_assert_not(net_context_is_secure(context));
    cr_assert_eq(bind_tcp(), BASE_DENIED, "a refused key fell back to plain TCP");
    cr_assert(has_no_secret(&ret));
}

Test(keys_use, a_key_encrypts_and_its_secret_is_not_handed_out)
{
    struct keys_identity ret;

    cr_assert_eq(secure(path, WIRE_ROLE_WORKER, false, &ret), BASE_OK, "%s", err.text);
    cr_assert(net_context_is_secure(context));
    cr_assert_str_eq(net_context_public_key(context), identity.key.public_key);
    cr_assert_eq(ret.role, WIRE_ROLE_WORKER);
    cr_assert_str_eq(ret.name, "w-1");
    cr_assert_str_eq(ret.coordinator_key, identity.coordinator_key);
    cr_assert_str_eq(ret.key.public_key, identity.key.public_key);
    cr_assert(has_no_secret(&ret));
    cr_assert_eq(bind_tcp(), BASE_OK, "%s", err.text);
}

Test(keys_use, without_a_key_plain_tcp_needs_the_word)
{
    struct keys_identity ret;

    cr_assert_eq(secure(NULL, WIRE_ROLE_WORKER, false, &ret), BASE_OK);
    cr_assert_eq(ret.role, 0);
    cr_assert_eq(ret.coordinator_key[0], 0);
    cr_assert(has_no_secret(&ret));
    cr_assert_eq(bind_tcp(), BASE_DENIED);
    cr_assert_eq(secure(NULL, WIRE_ROLE_WORKER, true, &ret), BASE_OK);
    cr_assert_eq(bind_tcp(), BASE_OK, "%s", err.text);
    cr_assert_not(net_context_is_secure(context));
}

Test(keys_use, the_key_of_another_role_is_refused)
{
    expect_refusal(BASE_DENIED, path, WIRE_ROLE_ROUTER);
    expect_refusal(BASE_DENIED, path, WIRE_ROLE_COORDINATOR);
}

Test(keys_use, a_file_that_is_not_there)
{
    char missing[300];

    (void)snprintf(missing, sizeof(missing), "%s.not", path);
    expect_refusal(BASE_NOT_FOUND, missing, WIRE_ROLE_WORKER);
}

Test(keys_use, a_file_that_others_may_read)
{
    cr_assert_eq(chmod(path, 0640), 0);
    expect_refusal(BASE_DENIED, path, WIRE_ROLE_WORKER);
}

static void replace(const char *text, size_t bytes)
{
    FILE *file = fopen(path, "w");

    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
}

/* The file as it was, with one word of it changed to another. */
static void edit(const char *word, const char *other)
{
    char text[1024], edited[1100];
    FILE *file = fopen(path, "r");

    cr_assert_not_null(file);
    const size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    cr_assert_eq(fclose(file), 0);
    text[bytes] = 0;
    const char *at = strstr(text, word);
    cr_assert_not_null(at, "%s is not in the file", word);
    const int length = snprintf(
        edited, sizeof(edited), "%.*s%s%s", (int)(at - text), text, other, at + strlen(word));
    replace(edited, (size_t)length);
}

Test(keys_use, damaged_files)
{
    struct net_key other;

    cr_assert_eq(net_key_make(&other, &err), BASE_OK);
    const char *const edits[][2] = {{"layermesh-key 1", "layermesh-key 2"},
        {"role worker", "role king"}, {"role worker", "rule worker"}, {"name w-1", "name w/1"},
        {"name w-1", "name w*1"}, {"name w-1", "nome w-1"}, {"coordinator ", "coordinatro "},
        {identity.key.public_key, other.public_key}, {identity.key.secret_key, "short"},
        {"name w-1", "name w-1 w-2"}};

    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        cr_assert_eq(keys_identity_write(path, &identity, true, &err), BASE_OK);
        edit(edits[i][0], edits[i][1]);
        expect_refusal(BASE_MALFORMED, path, WIRE_ROLE_WORKER);
    }
    replace("", 0);
    expect_refusal(BASE_MALFORMED, path, WIRE_ROLE_WORKER);
    replace("layermesh-key 1\0name w-1\n", 25);
    expect_refusal(BASE_MALFORMED, path, WIRE_ROLE_WORKER);
}
