#include "base_alloc.h"
#include "base_err.h"
#include "tensor_pool.h"
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct visits {
    _Atomic uint32_t of_index[256];
    _Atomic uint32_t wrong;
    uint32_t expected_count;
};

static void visit(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct visits *visits = context;

    if (thread_count != visits->expected_count || thread_index >= thread_count)
        atomic_fetch_add(&visits->wrong, 1);
    else
        atomic_fetch_add(&visits->of_index[thread_index], 1);
}

Test(tensor_pool, every_index_runs_once_per_call)
{
    static const uint32_t thread_counts[] = {1, 2, 3, 4, 7};

    for (size_t i = 0; i < 5; i++) {
        struct tensor_pool *pool;
        static struct visits visits;
        uint32_t runs = thread_counts[i] <= 2 ? 5000 : 1000;

        memset(&visits, 0, sizeof(visits));
        visits.expected_count = thread_counts[i];
        cr_assert_eq(tensor_pool_new(thread_counts[i], &pool), BASE_OK);
        cr_assert_eq(tensor_pool_threads(pool), thread_counts[i]);
        for (uint32_t run = 1; run <= runs; run++) {
            tensor_pool_run(pool, visit, &visits);
            for (uint32_t t = 0; t < thread_counts[i]; t++)
                cr_assert_eq(visits.of_index[t], run);
        }
        cr_assert_eq(visits.wrong, 0);
        tensor_pool_destroy(&pool);
        cr_assert_null(pool);
    }
}

struct phases {
    struct tensor_pool *pool;
    _Atomic uint32_t reached;
    _Atomic uint32_t early;
};

static void three_phases(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct phases *self = context;

    (void)thread_index;
    for (uint32_t phase = 1; phase <= 3; phase++) {
        atomic_fetch_add(&self->reached, 1);
        tensor_pool_barrier(self->pool);
        if (atomic_load(&self->reached) < phase * thread_count)
            atomic_fetch_add(&self->early, 1);
        tensor_pool_barrier(self->pool);
    }
}

Test(tensor_pool, no_thread_passes_a_barrier_before_all_are_there)
{
    for (uint32_t threads = 1; threads <= 5; threads++) {
        struct phases phases = {0};
        cr_assert_eq(tensor_pool_new(threads, &phases.pool), BASE_OK);
        for (uint32_t run = 0; run < 500; run++) {
            atomic_store(&phases.reached, 0);
            tensor_pool_run(phases.pool, three_phases, &phases);
            cr_assert_eq(phases.reached, 3 * threads);
        }
        cr_assert_eq(phases.early, 0);
        tensor_pool_destroy(&phases.pool);
    }
    tensor_pool_barrier(NULL);
}

static double processor_seconds(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

Test(tensor_pool, an_idle_pool_takes_no_processor_time)
{
    struct tensor_pool *pool;
    static struct visits visits = {.expected_count = 4};

    cr_assert_eq(tensor_pool_new(4, &pool), BASE_OK);
    tensor_pool_run(pool, visit, &visits);
    (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    double before = processor_seconds();
    (void)nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    cr_assert_lt(processor_seconds() - before, 0.03);
    tensor_pool_run(pool, visit, &visits); /* and wakes up again */
    for (uint32_t t = 0; t < 4; t++)
        cr_assert_eq(visits.of_index[t], 2);
    tensor_pool_destroy(&pool);
}

Test(tensor_pool, bad_counts_and_lack_of_memory_are_reported)
{
    struct tensor_pool *pool = NULL;

    cr_assert_eq(tensor_pool_new(0, &pool), BASE_INVALID);
    cr_assert_eq(tensor_pool_new(257, &pool), BASE_INVALID);
    for (unsigned long n = 1; n <= 2; n++) {
        base_alloc_fail_from(n);
        cr_assert_eq(tensor_pool_new(2, &pool), BASE_NOMEM);
        base_alloc_fail_from(0);
        cr_assert_null(pool);
    }
    tensor_pool_destroy(&pool);
}

Test(tensor_pool, the_default_is_at_least_one)
{
    cr_assert_geq(tensor_pool_default_threads(), 1);
    cr_assert_leq(tensor_pool_default_threads(), 256);
}
