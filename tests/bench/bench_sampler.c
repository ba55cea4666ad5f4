/* What one token costs in the router: a JSON line for each kind of sampling. */
#include "base_alloc.h"
#include "base_clock.h"
#include "text_sampler.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VOCAB   128256u
#define HISTORY 4096u
#define ROUNDS  20

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

int main(void)
{
    static const struct {
        const char *name;
        struct text_sampling sampling;
    } rows[] = {
        {"greedy", {.temperature = 0}},
        {"temperature", {.temperature = 0.8f}},
        {"top-k 40", {.temperature = 0.8f, .top_k = 40}},
        {"top-p 0.95", {.temperature = 0.8f, .top_p = 0.95f}},
        {"min-p 0.05", {.temperature = 0.8f, .min_p = 0.05f}},
        {"typical 0.9", {.temperature = 0.8f, .typical_p = 0.9f}},
        {"top-n-sigma 1", {.temperature = 0.8f, .top_n_sigma = 1}},
        {"penalties", {.temperature = 0.8f, .top_k = 40, .repeat_penalty = 1.1f}},
        {"dry", {.temperature = 0.8f, .top_k = 40, .dry_multiplier = 0.8f}},
    };
    struct text_candidate *row = base_alloc_array(VOCAB, sizeof(*row));
    struct text_candidate *work = base_alloc_array(VOCAB, sizeof(*work));
    static uint32_t history[HISTORY];
    uint64_t state = 1;

    if (row == NULL || work == NULL)
        return EXIT_FAILURE;
    for (uint32_t i = 0; i < HISTORY; i++)
        history[i] = (uint32_t)(next_random(&state) % 300);
    for (uint32_t i = 0; i < VOCAB; i++) { /* some likely ones above a wide field */
        float u = (float)(next_random(&state) % 100000) / 100000.0f;
        row[i] = (struct text_candidate){i, u * u * u * u * u * u * 24.0f};
    }
    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        uint64_t spent_us = 0, sum = 0;
        for (uint64_t i = 0; i < ROUNDS; i++) {
            memcpy(work, row, VOCAB * sizeof(*row));
            uint64_t started_us = base_clock_us();
            sum += text_sample(&rows[k].sampling, work, VOCAB, history, HISTORY, NULL, 0, i);
            spent_us += base_clock_us() - started_us;
        }
        (void)printf("{\"sampling\":\"%s\",\"vocab\":%u,\"us_per_token\":%.1f,\"sum\":%llu}\n",
            rows[k].name, VOCAB, (double)spent_us / ROUNDS, (unsigned long long)sum);
    }
    base_free(row);
    base_free(work);
    return EXIT_SUCCESS;
}
