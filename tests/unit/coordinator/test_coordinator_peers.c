#include "coordinator_peers.h"
#include <criterion/criterion.h>
#include <string.h>

static struct coordinator_peers peers;

static struct net_peer address_of(unsigned n)
{
    struct net_peer peer = {.bytes = 5};

    peer.id[1] = (uint8_t)(n >> 8);
    peer.id[2] = (uint8_t)n;
    return peer;
}

Test(coordinator_peers, a_connection_keeps_its_handle)
{
    struct net_peer a = address_of(1), b = address_of(2), longer = address_of(1);
    uint64_t handle = coordinator_peers_heard(&peers, &a, "");

    longer.bytes = 6;
    cr_assert_neq(handle, 0);
    cr_assert_neq(coordinator_peers_heard(&peers, &b, ""), handle);
    cr_assert_neq(coordinator_peers_heard(&peers, &longer, ""), handle);
    cr_assert_eq(coordinator_peers_heard(&peers, &a, ""), handle);
    cr_assert_eq(coordinator_peers_find(&peers, handle)->id[2], 1);
    cr_assert_null(coordinator_peers_find(&peers, 0));
    cr_assert_null(coordinator_peers_find(&peers, 99));
}

Test(coordinator_peers, a_handle_is_never_used_again)
{
    struct net_peer a = address_of(1);
    uint64_t handle = coordinator_peers_heard(&peers, &a, "");

    coordinator_peers_forget(&peers, handle);
    coordinator_peers_forget(&peers, 0);
    cr_assert_null(coordinator_peers_find(&peers, handle));
    cr_assert_neq(coordinator_peers_heard(&peers, &a, ""), handle);
}

Test(coordinator_peers, a_full_table_forgets_who_was_silent_longest)
{
    struct net_peer address = address_of(0);
    uint64_t first = coordinator_peers_heard(&peers, &address, ""), second;

    address = address_of(1);
    second = coordinator_peers_heard(&peers, &address, "");
    for (unsigned n = 2; n < COORDINATOR_PEERS_MAX; n++) {
        address = address_of(n);
        (void)coordinator_peers_heard(&peers, &address, "");
    }
    address = address_of(0);
    (void)coordinator_peers_heard(&peers, &address, "");
    address = address_of(9999);
    (void)coordinator_peers_heard(&peers, &address, "");
    cr_assert_not_null(coordinator_peers_find(&peers, first));
    cr_assert_null(coordinator_peers_find(&peers, second));
}
