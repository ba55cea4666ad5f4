#include "worker_peers.h"
#include <criterion/criterion.h>

static struct net_peer peer_of(uint8_t first)
{
    struct net_peer peer = {.bytes = 5, .id = {first, 1, 2, 3, 4}};

    return peer;
}

Test(worker_peers, a_connection_keeps_its_number)
{
    static struct worker_peers peers;
    struct net_peer a = peer_of(1), b = peer_of(2), shorter = peer_of(1);

    shorter.bytes = 4;
    uint64_t number = worker_peers_number(&peers, &a);
    cr_assert_neq(number, 0);
    cr_assert_neq(worker_peers_number(&peers, &b), number);
    cr_assert_neq(worker_peers_number(&peers, &shorter), number);
    cr_assert_eq(worker_peers_number(&peers, &a), number);
    cr_assert_eq(worker_peers_find(&peers, number)->id[0], 1);
    cr_assert_null(worker_peers_find(&peers, 0));
    cr_assert_null(worker_peers_find(&peers, 99));
}

Test(worker_peers, the_one_not_heard_of_for_longest_is_forgotten)
{
    static struct worker_peers peers;
    struct net_peer keep = peer_of(0), first = peer_of(1);
    uint64_t keep_number = worker_peers_number(&peers, &keep);
    uint64_t first_number = worker_peers_number(&peers, &first);

    for (unsigned i = 2; i < 2 + WORKER_PEERS_MAX - 1; i++) {
        struct net_peer other = peer_of((uint8_t)i);
        worker_peers_number(&peers, &keep);
        worker_peers_number(&peers, &other);
    }
    cr_assert_not_null(worker_peers_find(&peers, keep_number));
    cr_assert_null(worker_peers_find(&peers, first_number));
    cr_assert_gt(worker_peers_number(&peers, &first), first_number);
}
