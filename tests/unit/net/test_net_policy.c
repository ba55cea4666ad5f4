/* Who may send what to a socket that we have bound, and under which name. */
#include "net_internal.h"
#include "wire_codec.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define KINDS_TRIED 300 /* a kind is a byte on the wire; what is beyond must not matter */

static const enum wire_role roles[] = {WIRE_ROLE_WORKER, WIRE_ROLE_ROUTER, WIRE_ROLE_ADMIN,
    WIRE_ROLE_CLIENT, WIRE_ROLE_COORDINATOR, WIRE_ROLE_JOIN};
#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

/* What proto/README.md says of each direction, a letter for each role in the order above. */
static const char *senders_of(enum wire_kind kind)
{
    switch (kind) {
    case WIRE_REGISTER:
    case WIRE_HEARTBEAT:
    case WIRE_GOODBYE:
    case WIRE_STEP:
    case WIRE_LINK_HELLO:
        return "wr....";
    case WIRE_STAGE_STATUS:
    case WIRE_RESULT:
    case WIRE_STEP_ERROR:
        return "w.....";
    case WIRE_SUSPECT:
        return ".r....";
    case WIRE_DRAIN:
        return "w.a...";
    case WIRE_STATUS_QUERY:
        return "..a...";
    case WIRE_ENROL:
        return ".....j";
    case WIRE_GENERATE:
    case WIRE_SCORE:
    case WIRE_CANCEL:
    case WIRE_PING:
    case WIRE_ROUTER_STATUS_QUERY:
        return "..ac..";
    case WIRE_ERROR:
        return "wracoj";
    default: /* answers and what the coordinator tells: nobody sends them to a bound socket */
        return "......";
    }
}

static struct net_sender sender_of(enum wire_role role, const char *name)
{
    struct net_sender who = {.role = role};

    memcpy(who.name, name, strlen(name) + 1);
    return who;
}

Test(net_policy, each_role_sends_its_own_kinds)
{
    for (int kind = -1; kind < KINDS_TRIED; kind++) {
        const char *expected = senders_of((enum wire_kind)kind);
        for (size_t i = 0; i < ROLE_COUNT; i++) {
            const struct net_sender who = sender_of(roles[i], "somebody");
            struct base_error err = {0};
            const int rc = net_policy_kind(&who, (enum wire_kind)kind, &err);
            cr_assert_eq(rc, expected[i] != '.' ? BASE_OK : BASE_DENIED, "%s by a %s: %d",
                wire_kind_name((enum wire_kind)kind), net_role_name(roles[i]), rc);
            if (rc != BASE_OK)
                cr_assert(strstr(err.text, "somebody") != NULL &&
                              strstr(err.text, net_role_name(roles[i])) != NULL,
                    "the refusal does not say who: %s", err.text);
            cr_assert_eq(net_policy_kind(&who, (enum wire_kind)kind, NULL), rc);
        }
    }
}

Test(net_policy, a_plain_socket_has_no_roles)
{
    const struct net_sender nobody = {.role = (enum wire_role)0};

    for (int kind = 0; kind < KINDS_TRIED; kind++)
        cr_assert_eq(net_policy_kind(&nobody, (enum wire_kind)kind, NULL), BASE_OK);
}

/* A message of this kind in the name of node, as a worker's. */
static struct wire_message claim(enum wire_kind kind, const char *node)
{
    struct wire_message message = {.kind = kind};
    char *names[] = {message.register_.node_id, message.heartbeat.node_id,
        message.stage_status.node_id, message.goodbye.node_id, message.link_hello.node_id,
        message.drain.node_id};
    const enum wire_kind kinds[] = {WIRE_REGISTER, WIRE_HEARTBEAT, WIRE_STAGE_STATUS, WIRE_GOODBYE,
        WIRE_LINK_HELLO, WIRE_DRAIN};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i] == kind)
            memcpy(names[i], node, strlen(node) + 1);
    if (kind == WIRE_REGISTER)
        message.register_.role = WIRE_ROLE_WORKER;
    return message;
}

static int named(const char *issued_for, enum wire_kind kind, const char *node)
{
    const struct net_sender who = sender_of(WIRE_ROLE_WORKER, issued_for);
    const struct wire_message message = claim(kind, node);

    return net_policy_name(&who, &message, NULL);
}

Test(net_policy, a_key_speaks_for_the_names_that_it_was_issued_for)
{
    static const enum wire_kind kinds[] = {WIRE_REGISTER, WIRE_HEARTBEAT, WIRE_STAGE_STATUS,
        WIRE_GOODBYE, WIRE_LINK_HELLO, WIRE_DRAIN};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const char *kind = wire_kind_name(kinds[i]);
        cr_assert_eq(named("w-1", kinds[i], "w-1"), BASE_OK, "%s", kind);
        cr_assert_eq(named("w-1", kinds[i], "w-2"), BASE_DENIED, "%s", kind);
        cr_assert_eq(named("w-1", kinds[i], "w-11"), BASE_DENIED, "%s", kind);
        cr_assert_eq(named("w-1", kinds[i], "w-"), BASE_DENIED, "%s", kind);
        cr_assert_eq(named("w-1", kinds[i], ""), BASE_DENIED, "%s", kind);
        cr_assert_eq(named("w-1", kinds[i], "w-*"), BASE_DENIED, "%s", kind);
        cr_assert_eq(named("w-*", kinds[i], "w-2"), BASE_OK, "%s", kind);
        cr_assert_eq(named("w-*", kinds[i], "v-2"), BASE_DENIED, "%s", kind);
    }
}

Test(net_policy, messages_without_a_name_are_not_held_against_one)
{
    static const enum wire_kind kinds[] = {
        WIRE_STEP, WIRE_RESULT, WIRE_STEP_ERROR, WIRE_SUSPECT, WIRE_PING, WIRE_ERROR};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        cr_assert_eq(named("w-1", kinds[i], "w-2"), BASE_OK, "%s", wire_kind_name(kinds[i]));
}

Test(net_policy, an_admin_drains_whom_it_likes)
{
    const struct net_sender admin = sender_of(WIRE_ROLE_ADMIN, "admin");
    const struct wire_message drain = claim(WIRE_DRAIN, "w-2");

    cr_assert_eq(net_policy_name(&admin, &drain, NULL), BASE_OK);
}

/* A worker's key that registers as a router would be sent every prompt. */
Test(net_policy, nobody_registers_under_another_role)
{
    struct base_error err = {0};
    struct wire_message message = claim(WIRE_REGISTER, "w-1");
    const struct net_sender worker = sender_of(WIRE_ROLE_WORKER, "w-1"),
                            router = sender_of(WIRE_ROLE_ROUTER, "*");

    cr_assert_eq(net_policy_name(&router, &message, &err), BASE_DENIED);
    message.register_.role = WIRE_ROLE_ROUTER;
    cr_assert_eq(net_policy_name(&router, &message, &err), BASE_OK);
    cr_assert_eq(net_policy_name(&worker, &message, &err), BASE_DENIED);
    cr_assert(
        strstr(err.text, "w-1") != NULL && strstr(err.text, "router") != NULL, "%s", err.text);
}

Test(net_policy, a_plain_socket_has_no_names)
{
    const struct net_sender nobody = {.role = (enum wire_role)0};
    const struct wire_message message = claim(WIRE_HEARTBEAT, "w-2");

    cr_assert_eq(net_policy_name(&nobody, &message, NULL), BASE_OK);
}
