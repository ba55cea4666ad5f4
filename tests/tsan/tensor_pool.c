/* Many runs on many pools with no framework around: the program for the thread sanitizer.
 * Prints nothing; the exit status is the number of failed checks. */
#include "tensor_pool.h"
#include "base_err.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define THREADS_MAX 8

struct tally {
    uint64_t sum_of_others; /* plain memory: the run itself must order these accesses */
    uint64_t counts[THREADS_MAX];
};

static void count(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct tally *tally = context;
    tally->counts[thread_index] += 1 + thread_count;
}

static int stress(uint32_t thread_count, unsigned int runs, bool idle_between)
{
    struct tensor_pool *pool;
    struct tally tally;

    if (tensor_pool_new(thread_count, &pool) != BASE_OK)
        return 1;
    memset(&tally, 0, sizeof(tally));
    for (unsigned int i = 0; i < runs; i++) {
        tensor_pool_run(pool, count, &tally);
        for (uint32_t t = 0; t < thread_count; t++)
            tally.sum_of_others += tally.counts[t];
        memset(tally.counts, 0, sizeof(tally.counts));
        if (idle_between && i % 50 == 0) /* long enough for all to fall asleep */
            (void)nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    tensor_pool_destroy(&pool);
    uint64_t expected = (uint64_t)runs * thread_count * (1 + thread_count);
    if (tally.sum_of_others != expected)
        (void)fprintf(stderr, "%u threads: some index was missed or repeated\n", thread_count);
    return tally.sum_of_others != expected;
}

/* Phases of one run: each reads what its neighbours wrote in the phase before. */
struct phases {
    struct tensor_pool *pool;
    uint64_t cells[2][THREADS_MAX];
    uint32_t count;
    bool wrong[THREADS_MAX];
};

static void pass_on(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct phases *self = context;

    for (uint32_t phase = 0; phase < self->count; phase++) {
        const uint64_t *before = self->cells[phase % 2];
        uint64_t *after = self->cells[(phase + 1) % 2];
        uint64_t sum = 0;
        for (uint32_t t = 0; t < thread_count; t++)
            sum += before[t] - before[0];
        self->wrong[thread_index] |= sum != 0;
        after[thread_index] = before[(thread_index + 1) % thread_count] + 1;
        tensor_pool_barrier(self->pool);
    }
}

static int stress_barrier(uint32_t thread_count, uint32_t phase_count)
{
    struct phases self = {.count = phase_count};
    int failures = 0;

    if (tensor_pool_new(thread_count, &self.pool) != BASE_OK)
        return 1;
    for (int run = 0; run < 20; run++)
        tensor_pool_run(self.pool, pass_on, &self);
    for (uint32_t t = 0; t < thread_count; t++)
        failures += self.wrong[t] || self.cells[phase_count % 2][t] != 20u * phase_count;
    tensor_pool_destroy(&self.pool);
    if (failures != 0)
        (void)fprintf(stderr, "%u threads: a barrier let one pass too early\n", thread_count);
    return failures;
}

int main(void)
{
    int failures = 0;

    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++)
        failures += stress_barrier(threads, threads <= 2 ? 2000 : 100);

    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++)
        failures += stress(threads, threads <= 2 ? 20000 : 500, false);
    failures += stress(2, 1000, true);
    failures += stress(5, 500, true);
    for (int i = 0; i < 50; i++) /* created and destroyed at once */
        failures += stress(3, 0, false) + stress(3, 1, false);
    return failures;
}
