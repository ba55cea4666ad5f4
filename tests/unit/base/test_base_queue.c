#include "base_err.h"
#include "base_queue.h"
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

static void *produce(void *context)
{
    for (uintptr_t i = 1; i <= 10000; i++) {
        while (base_queue_push(context, (void *)i) == BASE_FULL)
            sched_yield();
    }
    return NULL;
}

Test(base_queue, order_survives_a_small_queue_and_two_threads)
{
    struct base_queue *queue;
    pthread_t thread;

    cr_assert_eq(base_queue_new(8, &queue), BASE_OK);
    pthread_create(&thread, NULL, produce, queue);
    for (uintptr_t i = 1; i <= 10000; i++)
        cr_assert_eq((uintptr_t)base_queue_pop_wait(queue, -1), i);
    pthread_join(thread, NULL);
    cr_assert_null(base_queue_pop_wait(queue, 0));
    base_queue_destroy(&queue);
    cr_assert_null(queue);
}

Test(base_queue, the_descriptor_is_readable_while_items_are_inside)
{
    struct base_queue *queue;
    int item;

    cr_assert_eq(base_queue_new(2, &queue), BASE_OK);
    struct pollfd wait = {.fd = base_queue_fd(queue), .events = POLLIN};
    cr_assert_eq(poll(&wait, 1, 0), 0);
    base_queue_push(queue, &item);
    base_queue_push(queue, &item);
    cr_assert_eq(base_queue_push(queue, &item), BASE_FULL);
    cr_assert_eq(poll(&wait, 1, 0), 1);
    cr_assert_eq(base_queue_pop(queue), &item);
    cr_assert_eq(poll(&wait, 1, 0), 1);
    cr_assert_eq(base_queue_pop(queue), &item);
    cr_assert_eq(poll(&wait, 1, 0), 0);
    base_queue_destroy(&queue);
}
