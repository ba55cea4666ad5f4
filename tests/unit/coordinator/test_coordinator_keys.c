/* Who is admitted: a real store on disk, read again as it changes, and what members are told. */
#include "base_clock.h"
#include "base_err.h"
#include "coordinator_keys.h"
#include "keys.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WAIT_MS 5000

static char top[64], folder[80], path[256];
static struct base_error err;
static struct net_context *context;
static struct coordinator_keys *keys;

static const char *in_folder(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void issue(const char *name, enum wire_role role, uint64_t expires_s)
{
    char file[LIMIT_NAME_BYTES + 8];

    (void)snprintf(file, sizeof(file), "%s.key", name);
    cr_assert_eq(keys_store_issue(folder, role, name, expires_s, in_folder(file), &err), BASE_OK,
        "%s", err.text);
}

static struct keys_identity identity_of(const char *file)
{
    struct keys_identity identity;

    cr_assert_eq(keys_identity_read(in_folder(file), &identity, &err), BASE_OK, "%s", err.text);
    return identity;
}

static void start(void)
{
    (void)snprintf(top, sizeof(top), "%s/keys-XXXXXX", P_tmpdir);
    cr_assert_not_null(mkdtemp(top));
    (void)snprintf(folder, sizeof(folder), "%s/store", top);
    cr_assert_eq(keys_store_init(folder, &err), BASE_OK, "%s", err.text);
    issue("w-1", WIRE_ROLE_WORKER, 0);
    issue("app", WIRE_ROLE_CLIENT, 0);
    cr_assert_eq(net_context_new(&context, &err), BASE_OK);
    cr_assert_eq(coordinator_keys_new(context, folder, &keys, &err), BASE_OK, "%s", err.text);
}

static void stop(void)
{
    char command[128];

    coordinator_keys_destroy(&keys);
    cr_assert_null(keys);
    coordinator_keys_destroy(&keys);
    net_context_destroy(&context);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", top);
    cr_assert_eq(system(command), 0);
}

TestSuite(coordinator_keys, .init = start, .fini = stop);

static enum wire_role role_of(const char *file)
{
    const struct keys_identity identity = identity_of(file);

    return coordinator_keys_role(keys, identity.key.public_key);
}

/* A look at the store whose time has come. */
static bool refresh(void)
{
    return coordinator_keys_refresh(keys, coordinator_keys_next_ms(keys));
}

/* Which roles a member of this role is told of, as bits. */
static uint32_t told(enum wire_role role)
{
    const struct wire_message *message = coordinator_keys_message(keys, role);
    uint32_t mask = 0;

    cr_assert_eq(message->kind, WIRE_ADMISSION);
    for (size_t i = 0; i < message->admission.row_count; i++)
        mask |= 1u << message->admission.rows[i].role;
    return mask;
}

Test(coordinator_keys, keys_have_their_roles)
{
    cr_assert_eq(role_of("w-1.key"), WIRE_ROLE_WORKER);
    cr_assert_eq(role_of("app.key"), WIRE_ROLE_CLIENT);
    cr_assert_eq(role_of(KEYS_NAME_ADMIN), WIRE_ROLE_ADMIN);
    cr_assert_eq(role_of(KEYS_NAME_ROUTER), WIRE_ROLE_ROUTER);
    cr_assert_eq(coordinator_keys_role(keys, ""), 0);
    cr_assert_eq(coordinator_keys_role(keys, "0123456789012345678901234567890123456789"), 0);
}

/* A worker opens its door to hops only, a router to clients as well; nobody learns of tokens. */
Test(coordinator_keys, a_member_is_told_what_concerns_it)
{
    char line[KEYS_TOKEN_BYTES];
    const uint32_t hops = 1u << WIRE_ROLE_WORKER | 1u << WIRE_ROLE_ROUTER,
                   clients = 1u << WIRE_ROLE_CLIENT | 1u << WIRE_ROLE_ADMIN;

    cr_assert_eq(
        keys_token_issue(folder, WIRE_ROLE_WORKER, "*", 0, "tcp://h:1", line, &err), BASE_OK);
    cr_assert(refresh());
    cr_assert_eq(told(WIRE_ROLE_WORKER), hops);
    cr_assert_eq(told(WIRE_ROLE_ROUTER), hops | clients);
}

Test(coordinator_keys, the_store_is_looked_at_now_and_then)
{
    const uint64_t now_ms = coordinator_keys_next_ms(keys) + 1;

    cr_assert_not(coordinator_keys_refresh(keys, now_ms), "nothing has changed");
    cr_assert_eq(coordinator_keys_next_ms(keys), now_ms + COORDINATOR_KEYS_CHECK_MS);
    issue("w-2", WIRE_ROLE_WORKER, 0);
    cr_assert_not(coordinator_keys_refresh(keys, now_ms + COORDINATOR_KEYS_CHECK_MS - 1));
    cr_assert_eq(role_of("w-2.key"), 0);
    cr_assert(coordinator_keys_refresh(keys, now_ms + COORDINATOR_KEYS_CHECK_MS));
    cr_assert_eq(role_of("w-2.key"), WIRE_ROLE_WORKER);
}

Test(coordinator_keys, a_revoked_key_is_nobodys_and_the_serial_grows)
{
    const uint64_t serial = coordinator_keys_message(keys, WIRE_ROLE_WORKER)->admission.serial;
    size_t count;

    cr_assert_eq(keys_store_revoke(folder, "w-1", &count, &err), BASE_OK);
    cr_assert(refresh());
    cr_assert_eq(role_of("w-1.key"), 0);
    cr_assert_gt(coordinator_keys_message(keys, WIRE_ROLE_WORKER)->admission.serial, serial);
    cr_assert_eq(told(WIRE_ROLE_WORKER), 1u << WIRE_ROLE_ROUTER);
}

Test(coordinator_keys, a_key_expires_without_a_change_on_disk)
{
    const uint64_t end_ms = base_clock_ms() + WAIT_MS;

    issue("brief", WIRE_ROLE_WORKER, keys_now_s() + 2);
    cr_assert(refresh());
    cr_assert_eq(role_of("brief.key"), WIRE_ROLE_WORKER);
    while (!refresh()) {
        cr_assert_lt(base_clock_ms(), end_ms, "it never expires");
        (void)net_poll(NULL, 0, 20);
    }
    cr_assert_eq(role_of("brief.key"), 0);
    cr_assert_eq(role_of("w-1.key"), WIRE_ROLE_WORKER);
    cr_assert_not(refresh(), "told once");
}

static void write_store(const char *text)
{
    FILE *file = fopen(in_folder(KEYS_NAME_STORE), "w");

    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

/* Nobody is let in, and nobody thrown out, by a file that cannot be believed. */
Test(coordinator_keys, a_damaged_store_changes_nothing)
{
    write_store("layermesh-store 1\nserial 99\nkey * admin * 0 0 0 - -\n");
    cr_assert_not(refresh());
    cr_assert_eq(role_of("w-1.key"), WIRE_ROLE_WORKER);
    cr_assert_eq(role_of("app.key"), WIRE_ROLE_CLIENT);
    write_store("");
    cr_assert_not(refresh());
    cr_assert_eq(role_of("w-1.key"), WIRE_ROLE_WORKER);
}

Test(coordinator_keys, a_store_that_others_may_read_changes_nothing_until_it_is_mended)
{
    issue("w-2", WIRE_ROLE_WORKER, 0);
    cr_assert_eq(chmod(in_folder(KEYS_NAME_STORE), 0644), 0);
    cr_assert_not(refresh());
    cr_assert_eq(role_of("w-2.key"), 0);
    cr_assert_eq(chmod(in_folder(KEYS_NAME_STORE), 0600), 0);
    cr_assert(refresh());
    cr_assert_eq(role_of("w-2.key"), WIRE_ROLE_WORKER);
}

Test(coordinator_keys, no_store_is_no_coordinator)
{
    struct coordinator_keys *none = NULL;

    cr_assert_eq(coordinator_keys_new(context, in_folder("none"), &none, &err), BASE_NOT_FOUND);
    cr_assert_null(none);
}

/* ---- enrolment ---- */

/* The bearer of a fresh token for names that fit. */
static struct net_sender bearer_of(const char *name)
{
    char line[KEYS_TOKEN_BYTES];
    struct keys_token token;
    struct net_sender who = {.role = WIRE_ROLE_JOIN};

    cr_assert_eq(keys_token_issue(
                     folder, WIRE_ROLE_WORKER, name, keys_now_s() + 60, "tcp://h:1", line, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(keys_token_parse(line, &token, &err), BASE_OK);
    memcpy(who.public_key, token.key.public_key, LIMIT_KEY_BYTES);
    return who;
}

static bool enrol(
    const struct net_sender *who, const char *name, const char *key, struct wire_message *ret)
{
    struct wire_enrol message = {.node_id = ""};

    (void)snprintf(message.node_id, sizeof(message.node_id), "%s", name);
    (void)snprintf(message.public_key, sizeof(message.public_key), "%s", key);
    return coordinator_keys_enrol(keys, who, &message, ret);
}

Test(coordinator_keys, a_newcomer_is_admitted_at_once)
{
    const struct net_sender who = bearer_of("*");
    struct wire_message reply;
    struct net_key key;

    cr_assert_eq(net_key_make(&key, &err), BASE_OK);
    (void)coordinator_keys_refresh(keys, base_clock_ms());
    cr_assert(enrol(&who, "new-1", key.public_key, &reply));
    cr_assert_eq(reply.kind, WIRE_ENROLLED);
    cr_assert_eq(reply.enrolled.role, WIRE_ROLE_WORKER);
    cr_assert_str_eq(
        reply.enrolled.router_public_key, identity_of(KEYS_NAME_ROUTER).key.public_key);
    cr_assert(coordinator_keys_refresh(keys, base_clock_ms()), "it has to knock again");
    cr_assert_eq(coordinator_keys_role(keys, key.public_key), WIRE_ROLE_WORKER);
    /* Its answer got lost. */
    cr_assert(enrol(&who, "new-1", key.public_key, &reply));
    cr_assert_eq(reply.kind, WIRE_ENROLLED);
}

static void expect_refusal(
    const struct net_sender *who, const char *name, const char *key, int code)
{
    struct wire_message reply;

    cr_assert_not(enrol(who, name, key, &reply), "%s", name);
    cr_assert_eq(reply.kind, WIRE_ERROR);
    cr_assert_eq(reply.error.code, code, "%s: %s", name, reply.error.text);
    cr_assert_str_eq(reply.error.node, name);
    cr_assert_neq(reply.error.text[0], 0);
    (void)refresh();
    cr_assert_eq(coordinator_keys_role(keys, key), 0);
}

Test(coordinator_keys, who_may_not_enrol)
{
    const struct net_sender named = bearer_of("gpu-*");
    struct net_sender stranger = {.role = WIRE_ROLE_JOIN};
    struct wire_message reply;
    struct net_key first, second;

    cr_assert_eq(net_key_make(&first, &err), BASE_OK);
    cr_assert_eq(net_key_make(&second, &err), BASE_OK);
    memcpy(stranger.public_key, second.public_key, LIMIT_KEY_BYTES);
    expect_refusal(&stranger, "gpu-1", first.public_key, BASE_DENIED);
    memcpy(stranger.public_key, identity_of("w-1.key").key.public_key, LIMIT_KEY_BYTES);
    expect_refusal(&stranger, "gpu-1", first.public_key, BASE_DENIED); /* a key is no token */
    expect_refusal(&named, "cpu-1", first.public_key, BASE_DENIED);
    cr_assert_eq(net_refusals(context, NET_REFUSED_TOKEN), 3);
    /* Every name at once, or no key: not even a try. */
    expect_refusal(&named, "gpu-*", first.public_key, BASE_INVALID);
    expect_refusal(&named, "gpu-1", "no key", BASE_INVALID);
    cr_assert_eq(net_refusals(context, NET_REFUSED_TOKEN), 3);
    cr_assert(enrol(&named, "gpu-1", first.public_key, &reply), "the token was lost by all that");
    expect_refusal(&named, "gpu-2", second.public_key, BASE_DENIED);
    cr_assert_eq(net_refusals(context, NET_REFUSED_TOKEN), 4);
}

/* Somebody else's key under a new name would be two nodes in one. */
Test(coordinator_keys, a_key_that_is_known_is_not_enrolled_again)
{
    const struct net_sender who = bearer_of("*");
    const struct keys_identity known = identity_of("w-1.key");
    struct wire_message reply;

    cr_assert_not(enrol(&who, "other", known.key.public_key, &reply));
    cr_assert_eq(reply.error.code, BASE_DENIED);
    cr_assert_not(enrol(&who, "w-1", identity_of("app.key").key.public_key, &reply));
    (void)refresh();
    cr_assert_eq(role_of("w-1.key"), WIRE_ROLE_WORKER);
    cr_assert_eq(role_of("app.key"), WIRE_ROLE_CLIENT);
}
