#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "router_clients.h"

TestSuite(router_clients);

static struct net_peer peer_of(uint32_t id)
{
    struct net_peer peer = {.bytes = 5};
    memcpy(peer.id + 1, &id, sizeof(id));
    return peer;
}

Test(router_clients, a_connection_keeps_its_number)
{
    struct router_clients clients;
    uint64_t forgotten;
    cr_assert_eq(router_clients_init(&clients), BASE_OK);
    struct net_peer a = peer_of(1), b = peer_of(2);
    uint64_t first = router_clients_number(&clients, &a, &forgotten);
    uint64_t second = router_clients_number(&clients, &b, &forgotten);
    cr_assert_neq(first, 0);
    cr_assert_neq(first, second);
    cr_assert_eq(router_clients_number(&clients, &a, &forgotten), first);
    cr_assert_eq(forgotten, 0);
    cr_assert_eq(memcmp(router_clients_find(&clients, second)->id, b.id, 5), 0);
    cr_assert_null(router_clients_find(&clients, 0));
    router_clients_forget(&clients, first);
    cr_assert_null(router_clients_find(&clients, first));
    cr_assert_neq(router_clients_number(&clients, &a, &forgotten), first, "never used again");
    router_clients_release(&clients);
}

Test(router_clients, ids_of_other_length_are_other_connections)
{
    struct router_clients clients;
    uint64_t forgotten;
    cr_assert_eq(router_clients_init(&clients), BASE_OK);
    struct net_peer a = peer_of(0), b = peer_of(0);
    b.bytes = 4;
    uint64_t first = router_clients_number(&clients, &a, &forgotten);
    cr_assert_neq(router_clients_number(&clients, &b, &forgotten), first);
    router_clients_release(&clients);
}

Test(router_clients, the_one_not_heard_of_for_longest_is_forgotten)
{
    struct router_clients clients;
    uint64_t forgotten = 0, numbers[ROUTER_CLIENTS_MAX];
    cr_assert_eq(router_clients_init(&clients), BASE_OK);
    for (uint32_t i = 0; i < ROUTER_CLIENTS_MAX; i++) {
        struct net_peer peer = peer_of(i);
        numbers[i] = router_clients_number(&clients, &peer, &forgotten);
        cr_assert_eq(forgotten, 0);
    }
    struct net_peer peer = peer_of(0);
    cr_assert_eq(router_clients_number(&clients, &peer, &forgotten), numbers[0]);
    peer = peer_of(ROUTER_CLIENTS_MAX);
    router_clients_number(&clients, &peer, &forgotten);
    cr_assert_eq(forgotten, numbers[1]);
    cr_assert_null(router_clients_find(&clients, numbers[1]));
    cr_assert_not_null(router_clients_find(&clients, numbers[0]));
    router_clients_release(&clients);
}

Test(router_clients, failing_memory_is_reported)
{
    struct router_clients clients;
    base_alloc_fail_from(1);
    cr_assert_eq(router_clients_init(&clients), BASE_NOMEM);
    base_alloc_fail_from(0);
    router_clients_release(&clients);
}
