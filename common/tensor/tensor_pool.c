#include "tensor_pool.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_err.h"
#include "tensor_cpu.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * A thread that waits looks for a while before it asks the kernel to wake it: within a step the
 * next phase comes sooner; between steps the cores belong to other processes. How long it looks
 * follows what happened to it lately: twice as long after what it waited for came soon, half as long
 * after it did not, so that threads without a core of their own soon stop to get in each other's
 * way. What came soon behind a sleep counts as well: a thread that stopped looking makes all others
 * wait for its waking, and none would begin again.
 */
#define SPIN_MAX            2000u   /* about 50 us */
#define SOON_NS             200000u /* a look of that length, and a waking */
#define SPIN_MIN            16u
#define SPIN_OVERSUBSCRIBED 64u /* the longest, with more threads than cores */
#define THREADS_MAX         256
#define CACHE_LINE_BYTE     64

struct worker {
    struct tensor_pool *pool;
    uint32_t index;
    pthread_t thread;
};

/* A number that moves, and who sleeps until it does. */
struct signal_word {
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t value;
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t sleeping_count; /* in the kernel, or going */
};

struct tensor_pool {
    uint32_t thread_count;
    uint32_t started_count; /* threads that destroy must join */
    uint32_t spin_max;
    tensor_pool_fn *fn; /* written before the generation moves, read after */
    void *context;
    bool stopping;
    struct worker *workers;                            /* thread_count - 1; owned */
    struct signal_word generation;                     /* moves once per run */
    struct signal_word finished;                       /* moves when all workers left fn */
    struct signal_word passed;                         /* moves once per barrier */
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t pending; /* workers still inside fn */
    alignas(CACHE_LINE_BYTE) _Atomic uint32_t arrived; /* threads at the barrier */
};

/* How long this thread looks before it sleeps. */
static _Thread_local uint32_t spin_budget = SPIN_MAX;

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

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void adjust_budget(bool soon)
{
    if (soon)
        spin_budget = spin_budget < SPIN_MAX / 2 ? spin_budget * 2 : SPIN_MAX;
    else
        spin_budget = spin_budget / 2 > SPIN_MIN ? spin_budget / 2 : SPIN_MIN;
}

/* Looks until the word is no longer seen. False when the budget is spent. */
static bool look(const struct signal_word *word, uint32_t seen, uint32_t spin_max)
{
    uint32_t budget = spin_budget < spin_max ? spin_budget : spin_max;

    for (uint32_t i = 0; i < budget; i++) {
        if (atomic_load_explicit(&word->value, memory_order_acquire) != seen)
            return true;
        spin_pause();
    }
    return false;
}

/*
 * Sleeping is announced before the last look at the word and the word is moved before the
 * announcement is read, all sequentially consistent: one of the two sides always sees the other.
 */
static void wait_until_moved(struct signal_word *word, uint32_t seen, uint32_t spin_max)
{
    if (look(word, seen, spin_max)) {
        adjust_budget(true);
        return;
    }
    uint64_t start = now_ns();
    atomic_fetch_add(&word->sleeping_count, 1);
    while (atomic_load(&word->value) == seen)
        futex_wait(&word->value, seen);
    atomic_fetch_sub(&word->sleeping_count, 1);
    adjust_budget(now_ns() - start < SOON_NS);
}

static void move(struct signal_word *word)
{
    atomic_fetch_add(&word->value, 1);
    if (atomic_load(&word->sleeping_count) != 0)
        futex_wake_all(&word->value);
}

static void *worker_main(void *context)
{
    struct worker *worker = context;
    struct tensor_pool *pool = worker->pool;

    for (uint32_t seen = 0;; seen++) {
        wait_until_moved(&pool->generation, seen, pool->spin_max);
        if (pool->stopping)
            return NULL;
        pool->fn(pool->context, worker->index, pool->thread_count);
        if (atomic_fetch_sub_explicit(&pool->pending, 1, memory_order_acq_rel) == 1)
            move(&pool->finished);
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
    self->spin_max = thread_count > tensor_cpu_affinity_cores() ? SPIN_OVERSUBSCRIBED : SPIN_MAX;
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
    move(&self->generation);
    for (uint32_t i = 0; i < self->started_count; i++)
        (void)pthread_join(self->workers[i].thread, NULL);
    base_free(self->workers);
    base_free(self);
    *self_p = NULL;
}

static void pin_one(pthread_t thread, const cpu_set_t *allowed, uint32_t index)
{
    cpu_set_t one;

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, allowed) && index-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void)pthread_setaffinity_np(thread, sizeof(one), &one);
            return;
        }
}

void tensor_pool_pin(struct tensor_pool *self)
{
    cpu_set_t allowed;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
        (uint32_t)CPU_COUNT(&allowed) != self->thread_count)
        return;
    for (uint32_t i = 0; i < self->started_count; i++)
        pin_one(self->workers[i].thread, &allowed, self->workers[i].index);
    pin_one(pthread_self(), &allowed, 0);
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
    uint32_t finished = atomic_load_explicit(&self->finished.value, memory_order_relaxed);
    self->fn = fn;
    self->context = context;
    atomic_store_explicit(&self->pending, self->thread_count - 1, memory_order_relaxed);
    move(&self->generation);
    fn(context, 0, self->thread_count);
    wait_until_moved(&self->finished, finished, self->spin_max);
}

void tensor_pool_barrier(struct tensor_pool *self)
{
    if (self == NULL || self->thread_count == 1)
        return;
    uint32_t seen = atomic_load_explicit(&self->passed.value, memory_order_acquire);
    if (atomic_fetch_add_explicit(&self->arrived, 1, memory_order_acq_rel) + 1 ==
        self->thread_count) {
        atomic_store_explicit(&self->arrived, 0, memory_order_relaxed); /* before the word moves */
        move(&self->passed);
    } else {
        wait_until_moved(&self->passed, seen, self->spin_max);
    }
}
