#include "net_testing.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

Test(net_context, signals_arrive_on_the_descriptor_and_nowhere_else)
{
    struct net_context *context = new_context();
    struct net_poll_item item = {.fd = net_context_signal_fd(context)};
    static const int signals[] = {SIGTERM, SIGINT};

    for (size_t i = 0; i < 2; i++) {
        char info[256];
        cr_assert_eq(net_poll(&item, 1, 0), 0);
        cr_assert_not(item.ready);
        cr_assert_eq(kill(getpid(), signals[i]), 0);
        cr_assert_eq(net_poll(&item, 1, WAIT_MS), 1);
        cr_assert(item.ready);
        cr_assert_gt(read(item.fd, info, sizeof(info)), 0);
    }
    /* Blocked: neither ends the process, and neither is reported. */
    cr_assert_eq(kill(getpid(), SIGHUP), 0);
    cr_assert_eq(kill(getpid(), SIGPIPE), 0);
    cr_assert_eq(net_poll(&item, 1, 0), 0);
    net_context_destroy(&context);
    cr_assert_null(context);
    net_context_destroy(&context);
}

static void *blocked_here(void *set)
{
    (void)pthread_sigmask(SIG_BLOCK, NULL, set);
    return NULL;
}

Test(net_context, threads_made_later_take_no_signal)
{
    struct net_context *context = new_context();
    pthread_t thread;
    sigset_t set;

    cr_assert_eq(pthread_create(&thread, NULL, blocked_here, &set), 0);
    (void)pthread_join(thread, NULL);
    cr_assert(sigismember(&set, SIGINT) && sigismember(&set, SIGTERM) &&
              sigismember(&set, SIGHUP) && sigismember(&set, SIGPIPE));
    net_context_destroy(&context);
}

static void *wait_to_be_cancelled(void *unused)
{
    for (;;)
        (void)pause();
    return unused;
}

/* OpenBLAS starts its threads when it is loaded, before main(). */
Test(net_context, a_thread_that_was_there_before_passes_signals_on)
{
    pthread_t thread;

    cr_assert_eq(pthread_create(&thread, NULL, wait_to_be_cancelled, NULL), 0);
    struct net_context *context = new_context();
    struct net_poll_item item = {.fd = net_context_signal_fd(context)};
    for (int i = 0; i < 3; i++) {
        char info[256];
        cr_assert_eq(pthread_kill(thread, SIGTERM), 0);
        cr_assert_eq(net_poll(&item, 1, WAIT_MS), 1);
        cr_assert_gt(read(item.fd, info, sizeof(info)), 0);
    }
    cr_assert_eq(pthread_kill(thread, SIGHUP), 0); /* ends nobody */
    cr_assert_eq(pthread_cancel(thread), 0);
    (void)pthread_join(thread, NULL);
    net_context_destroy(&context);
}

Test(net_context, a_library_leaves_its_host_alone)
{
    struct net_context *context = NULL;
    struct sigaction before, after;
    sigset_t mask_before, mask_after;

    (void)sigaction(SIGINT, NULL, &before);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask_before);
    cr_assert_eq(net_context_new_library(&context, NULL), BASE_OK);
    struct net_socket *router = new_router(context, NET_PLANE_CLIENT);
    cr_assert_eq(net_context_signal_fd(context), -1);
    (void)sigaction(SIGINT, NULL, &after);
    (void)pthread_sigmask(SIG_BLOCK, NULL, &mask_after);
    cr_assert_eq(before.sa_handler, after.sa_handler);
    for (int number = 1; number < 32; number++)
        cr_assert_eq(sigismember(&mask_before, number), sigismember(&mask_after, number));
    net_close(&router);
    net_context_destroy(&context);
}

Test(net_context, several_live_side_by_side)
{
    struct net_context *one = new_context(), *two = new_context(), *library = NULL;

    cr_assert_eq(net_context_new_library(&library, NULL), BASE_OK);
    struct net_socket *router = new_router(two, NET_PLANE_CONTROL);
    net_context_destroy(&one);
    struct net_socket *dealer = new_dealer(library, NET_PLANE_CONTROL, net_endpoint(router));
    cr_assert_eq(send_credit(dealer, NULL, 7), BASE_OK);
    (void)expect_credit(router, 7);
    net_close(&dealer);
    net_close(&router);
    net_context_destroy(&two);
    net_context_destroy(&library);
}

Test(net_context, ends_though_messages_are_unsent)
{
    static const enum net_plane planes[] = {NET_PLANE_CONTROL, NET_PLANE_DATA, NET_PLANE_CLIENT};

    for (size_t i = 0; i < 3; i++) {
        struct net_context *reader = new_context(), *writer = new_context();
        struct net_socket *router = new_router(reader, planes[i]);
        struct net_socket *dealer = new_dealer(writer, planes[i], net_endpoint(router));
        while (send_credit(dealer, NULL, 1) == BASE_OK)
            ; /* until the queues are full: nobody reads */
        const uint64_t start_ms = base_clock_ms();
        net_close(&dealer);
        net_context_destroy(&writer);
        net_close(&router);
        net_context_destroy(&reader);
        cr_assert_lt(base_clock_ms() - start_ms, 3000);
    }
}

/* Registered first, so run last; sanitizers have nothing to say about threads that still run. */
static void leave(void)
{
    _exit(0);
}

Test(net_context, exit_with_open_sockets_does_not_hang)
{
    const int pid = fork();

    if (pid == 0) {
        (void)alarm(10);
        (void)atexit(leave);
        struct net_context *context = new_context();
        (void)new_router(context, NET_PLANE_CONTROL);
        exit(1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}
