/* Three producers and one consumer on a small queue: every item arrives once, each producer's in
 * order. The exit status is 1 when a check failed. */
#include "base_queue.h"
#include "base_err.h"
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PRODUCERS          3
#define ITEMS_PER_PRODUCER 20000

struct item {
    int producer;
    unsigned number; /* plain memory: the queue itself must order these accesses */
};

struct producer {
    struct base_queue *queue;
    int index;
};

static void *produce(void *context)
{
    const struct producer *self = context;

    for (unsigned i = 0; i < ITEMS_PER_PRODUCER; i++) {
        struct item *item = malloc(sizeof(*item));
        if (item == NULL)
            return NULL; /* the consumer's count will tell */
        *item = (struct item){.producer = self->index, .number = i};
        while (base_queue_push(self->queue, item) == BASE_FULL)
            sched_yield();
    }
    return NULL;
}

int main(void)
{
    struct base_queue *queue;
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    unsigned next[PRODUCERS] = {0};
    int failed = 0;

    if (base_queue_new(16, &queue) != BASE_OK)
        return 1;
    for (int p = 0; p < PRODUCERS; p++) {
        producers[p] = (struct producer){queue, p};
        if (pthread_create(&threads[p], NULL, produce, &producers[p]) != 0)
            return 1;
    }
    for (unsigned i = 0; i < PRODUCERS * ITEMS_PER_PRODUCER; i++) {
        struct item *item = base_queue_pop_wait(queue, 10000);
        if (item == NULL) {
            (void)fprintf(stderr, "item %u did not come\n", i);
            return 1;
        }
        failed |= item->number != next[item->producer]++;
        free(item);
    }
    for (int p = 0; p < PRODUCERS; p++)
        (void)pthread_join(threads[p], NULL);
    failed |= base_queue_count(queue) != 0;
    base_queue_destroy(&queue);
    return failed;
}
