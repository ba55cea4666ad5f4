#include "tensor_pool.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "tensor_cpu.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* About 50 us of looking before a thread asks the kernel to wake it: within a step the next
 * product comes sooner; between steps the cores belong to other processes. */
#define SPIN_COUNT      2000
#define THREADS_MAX     256
#define CACHE_LINE_BYTE 64

struct worker {
    struct tensor_pool *pool;
    uint32_t index;
    pthread_t thread;
};

struct tensor_pool {
    uint32_t thread_count;
    uint32_t started_count; /* threads that destroy must join */
    tensor_pool_fn *fn;     /* written before the generation moves, read after */
    void *context;
    bool stopping;
    struct worker *workers;                               /* thread_count - 1; owned */
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t generation; /* moves once per run */
    _Atomic uint32_t sleeping_count;                      /* workers in the kernel, or going */
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t pending;    /* workers still inside fn */
    _Atomic uint32_t caller_sleeps;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected)
{
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/*
 * Sleeping is announced before the last look at the word and the word is moved before the
 * announcement is read, all sequentially consistent: one of the two sides always sees the other.
 */
static void wait_for_generation(struct tensor_pool *self, uint32_t seen)
{
    for (int i = 0; i < SPIN_COUNT; i++) {
        if (atomic_load_explicit(&self->generation, memory_order_acquire) != seen)
            return;
        spin_pause();
    }
    atomic_fetch_add(&self->sleeping_count, 1);
    while (atomic_load(&self->generation) == seen)
        futex_wait(&self->generation, seen);
    atomic_fetch_sub(&self->sleeping_count, 1);
}

static void wait_for_workers(struct tensor_pool *self)
{
    uint32_t pending;

    for (int i = 0; i < SPIN_COUNT; i++) {
        if (atomic_load_explicit(&self->pending, memory_order_acquire) == 0)
            return;
        spin_pause();
    }
    atomic_store(&self->caller_sleeps, 1);
    while ((pending = atomic_load(&self->pending)) != 0)
        futex_wait(&self->pending, pending);
    atomic_store(&self->caller_sleeps, 0);
}

static void start_generation(struct tensor_pool *self)
{
    atomic_fetch_add(&self->generation, 1);
    if (atomic_load(&self->sleeping_count) != 0)
        futex_wake_all(&self->generation);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct tensor_pool *pool = worker->pool;
    uint32_t seen = 0;

    for (;;) {
        wait_for_generation(pool, seen);
        seen++;
        if (pool->stopping)
            return NULL;
        pool->fn(pool->context, worker->index, pool->thread_count);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps) != 0)
            futex_wake_all(&pool->pending);
    }
}

/* Signals belong to the program's own threads, so workers start with all of them blocked. */
static int start_workers(struct tensor_pool *self)
{
    sigset_t all, before;
    int rc = BASE_OK;

    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return BASE_IO;
    for (uint32_t i = 0; i + 1 < self->thread_count; i++) {
        struct worker *worker = &self->workers[i];
        worker->pool = self;
        worker->index = i + 1;
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            rc = BASE_IO;
            break;
        }
        self->started_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int tensor_pool_new(uint32_t thread_count, struct tensor_pool **ret_pool)
{
    if (thread_count == 0 || thread_count > THREADS_MAX)
        return BASE_INVALID;
    struct tensor_pool *self = base_alloc_aligned(sizeof(*self), CACHE_LINE_BYTE);
    if (self == NULL)
        return BASE_NOMEM;
    *self = (struct tensor_pool){.thread_count = thread_count};
    int rc = BASE_OK;
    if (thread_count > 1) {
        self->workers = base_alloc_zeroed(thread_count - 1, sizeof(*self->workers));
        rc = self->workers == NULL ? BASE_NOMEM : start_workers(self);
    }
    if (rc != BASE_OK)
        tensor_pool_destroy(&self);
    else
        *ret_pool = self;
    return rc;
}

void tensor_pool_destroy(struct tensor_pool **self_p)
{
    struct tensor_pool *self = *self_p;

    if (self == NULL)
        return;
    self->stopping = true;
    start_generation(self);
    for (uint32_t i = 0; i < self->started_count; i++)
        (void)pthread_join(self->workers[i].thread, NULL);
    base_free(self->workers);
    base_free(self);
    *self_p = NULL;
}

uint32_t tensor_pool_threads(const struct tensor_pool *self)
{
    return self->thread_count;
}

uint32_t tensor_pool_default_threads(void)
{
    uint32_t cores = tensor_cpu_affinity_cores();
    uint32_t quota = tensor_cpu_quota_cores("/proc/self/cgroup", "/sys/fs/cgroup");

    if (quota != 0 && quota < cores)
        cores = quota;
    return cores > THREADS_MAX ? THREADS_MAX : cores;
}

void tensor_pool_run(struct tensor_pool *self, tensor_pool_fn *fn, void *context)
{
    if (self->thread_count == 1) {
        fn(context, 0, 1);
        return;
    }
    base_assert(atomic_load_explicit(&self->pending, memory_order_relaxed) == 0);
    self->fn = fn;
    self->context = context;
    atomic_store_explicit(&self->pending, self->thread_count - 1, memory_order_relaxed);
    start_generation(self);
    fn(context, 0, self->thread_count);
    wait_for_workers(self);
}
