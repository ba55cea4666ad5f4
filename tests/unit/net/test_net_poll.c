#include "net_testing.h"
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

Test(net_poll, tells_which_of_many_is_ready)
{
    struct net_context *context = new_context();
    struct net_socket *a = new_router(context, NET_PLANE_CONTROL);
    struct net_socket *b = new_router(context, NET_PLANE_CONTROL);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_CONTROL, net_endpoint(b));
    const int fd = eventfd(0, EFD_NONBLOCK);
    const uint64_t one = 1;
    struct net_poll_item items[] = {{.socket = a}, {.socket = b}, {.socket = dealer, .watch = true},
        {.fd = fd}, {.fd = net_context_signal_fd(context)}};

    items[0].ready = true;
    cr_assert_eq(net_poll(items, 5, 0), 0);
    cr_assert_not(items[0].ready);
    cr_assert_eq(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
    cr_assert_eq(net_poll(items, 5, WAIT_MS), 1);
    cr_assert(items[3].ready && !items[0].ready && !items[1].ready && !items[2].ready);

    struct net_poll_item only = {.socket = b};
    cr_assert_eq(send_credit(dealer, NULL, 1), BASE_OK);
    cr_assert_eq(net_poll(&only, 1, WAIT_MS), 1);
    cr_assert_eq(net_poll(items, 5, WAIT_MS), 2);
    cr_assert(items[1].ready && items[3].ready);
    /* Still ready until it is taken. */
    cr_assert_eq(net_poll(&only, 1, 0), 1);
    (void)expect_credit(b, 1);
    cr_assert_eq(net_poll(&only, 1, 0), 0);
    (void)close(fd);
    net_close(&dealer);
    net_close(&a);
    net_close(&b);
    net_context_destroy(&context);
}

Test(net_poll, ends_at_its_timeout)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_CONTROL);
    struct net_poll_item item = {.socket = router};

    const uint64_t start_ms = base_clock_ms();
    cr_assert_eq(net_poll(&item, 1, 30), 0);
    const uint64_t took_ms = base_clock_ms() - start_ms;
    cr_assert(took_ms >= 25 && took_ms < 3000, "%u ms", (unsigned)took_ms);
    net_close(&router);
    net_context_destroy(&context);
}

static void ignore(int number)
{
    (void)number;
}

static void *interrupt(void *waiter)
{
    (void)usleep(50000); /* the other thread is in its poll by then; earlier is harmless */
    (void)pthread_kill(*(pthread_t *)waiter, SIGUSR1);
    return NULL;
}

Test(net_poll, a_signal_is_no_failure)
{
    struct net_context *context = new_context();
    struct net_socket *router = new_router(context, NET_PLANE_CONTROL);
    struct net_poll_item item = {.socket = router};
    struct sigaction action = {.sa_handler = ignore};
    pthread_t self = pthread_self(), other;

    (void)sigaction(SIGUSR1, &action, NULL);
    cr_assert_eq(pthread_create(&other, NULL, interrupt, &self), 0);
    cr_assert_eq(net_poll(&item, 1, 2000), 0);
    (void)pthread_join(other, NULL);
    struct net_socket *dealer = new_dealer(context, NET_PLANE_CONTROL, net_endpoint(router));
    cr_assert_eq(send_credit(dealer, NULL, 1), BASE_OK);
    (void)expect_credit(router, 1);
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&context);
}
