/* Problems for the tests of plan/. */
#ifndef TEST_PLAN_SUPPORT_H
#define TEST_PLAN_SUPPORT_H

#include "plan.h"
#include <string.h>

#define MIB UINT64_C(1048576)

struct test_problem {
    struct plan_problem problem;
    struct plan_worker workers[LIMIT_WORKERS_MAX];
    struct plan_layer layers[PLAN_LAYERS_MAX];
};

/* Equal workers with much memory, equal blocks of 1 MiB; head and embedding of 1 MiB. */
static inline void test_problem_init(struct test_problem *ret, size_t workers, size_t blocks)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < workers; i++)
        ret->workers[i] = (struct plan_worker){
            .memory_bytes = 4096 * MIB,
            .rates = {{.weight_type = 8, .gops = 100, .gigabytes_per_s = 10}},
            .rate_count = 1,
            .slowdown = 1,
        };
    for (size_t i = 0; i < blocks + 2; i++)
        ret->layers[i] = (struct plan_layer){
            .weight_type = 8,
            .weight_bytes = MIB,
            .operations_per_token = 2 * MIB,
            .kv_bytes_per_token = i == 0 || i == blocks + 1 ? 0 : 256,
        };
    ret->problem = (struct plan_problem){
        .workers = ret->workers,
        .worker_count = workers,
        .layers = ret->layers,
        .layer_count = blocks + 2,
        .embedding_length = 256,
        .batch_tokens = 8,
        .context_tokens = 128,
        .kv_tokens = 1024,
        .activation_bytes = MIB,
        .memory_reserve = 0.08,
        .stage_overhead_ms = 0.01,
    };
}

/* splitmix64 */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint64_t test_random_range(uint64_t *state, uint64_t low, uint64_t high)
{
    return low + test_random(state) % (high - low + 1);
}

#endif
