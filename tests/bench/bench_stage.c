/*
 * Speed of one whole stage, without mesh: tokens a second of prefill (one chunked prompt) and of
 * decode at several batch sizes. One JSON line per row on stdout; nothing is asserted.
 *
 *     bench-stage MODEL [THREADS [PROMPT_TOKENS [DECODE_STEPS]]]
 */
#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "base_limits.h"
#include "model.h"
#include "stage.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include <stdio.h>
#include <stdlib.h>

#define BATCH_MAX 16u

struct bench {
    struct model *model;
    struct stage *stage;
    struct tensor_pool *pool;
    uint32_t vocab_size;
    uint32_t pages_per_sequence;
    uint32_t *pages; /* [BATCH_MAX, pages_per_sequence] */
};

static int run(struct bench *self, uint32_t sequence_count, uint32_t first_position,
    uint32_t tokens_each, bool logits, struct base_error *err)
{
    struct stage_sequence sequences[BATCH_MAX];
    uint32_t tokens[LIMIT_BATCH_TOKENS_MAX];
    struct stage_output output;

    for (uint32_t s = 0; s < sequence_count; s++) {
        sequences[s] = (struct stage_sequence){
            .first_position = first_position,
            .token_count = tokens_each,
            .pages = self->pages + (size_t)s * self->pages_per_sequence,
            .page_count = self->pages_per_sequence,
            .logits = logits ? STAGE_LOGITS_TOP : STAGE_LOGITS_NONE,
            .top_count = logits ? 1 : 0,
        };
    }
    for (uint32_t t = 0; t < sequence_count * tokens_each; t++)
        tokens[t] = (first_position * 31 + t * 7 + 3) % self->vocab_size;
    return stage_run(self->stage, self->pool, sequences, sequence_count, tokens,
        sizeof(uint32_t) * sequence_count * tokens_each, &output, err);
}

static int prefill(
    struct bench *self, uint32_t sequence_count, uint32_t prompt_tokens, struct base_error *err)
{
    const uint32_t chunk_max = LIMIT_BATCH_TOKENS_MAX / sequence_count;
    int rc = BASE_OK;

    for (uint32_t done = 0; rc == BASE_OK && done < prompt_tokens;) {
        uint32_t chunk = prompt_tokens - done < chunk_max ? prompt_tokens - done : chunk_max;
        rc = run(self, sequence_count, done, chunk, false, err);
        done += chunk;
    }
    return rc;
}

static void report(const char *what, uint32_t batch, uint64_t tokens, uint64_t elapsed_us)
{
    (void)printf("{\"what\":\"%s\",\"batch\":%u,\"tokens\":%llu,\"tokens_per_second\":%.2f}\n",
        what, batch, (unsigned long long)tokens, (double)tokens * 1e6 / (double)elapsed_us);
    (void)fflush(stdout);
}

static int measure(
    struct bench *self, uint32_t prompt_tokens, uint32_t decode_steps, struct base_error *err)
{
    static const uint32_t batches[] = {1, 2, 4, 8, 16};
    int rc = prefill(self, 1, prompt_tokens, err); /* warms caches and pages */

    uint64_t start_us = base_clock_us();
    if (rc == BASE_OK)
        rc = prefill(self, 1, prompt_tokens, err);
    if (rc == BASE_OK)
        report("prefill", 1, prompt_tokens, base_clock_us() - start_us);
    for (size_t b = 0; rc == BASE_OK && b < sizeof(batches) / sizeof(batches[0]); b++) {
        rc = prefill(self, batches[b], 16, err);
        start_us = base_clock_us();
        for (uint32_t step = 0; rc == BASE_OK && step < decode_steps; step++)
            rc = run(self, batches[b], 16 + step, 1, true, err);
        if (rc == BASE_OK)
            report("decode", batches[b], (uint64_t)decode_steps * batches[b],
                base_clock_us() - start_us);
    }
    return rc;
}

static int open_bench(struct bench *self, const char *path, uint32_t threads, uint32_t positions,
    struct base_error *err)
{
    int rc = model_open(path, &self->model, err);

    if (rc != BASE_OK)
        return rc;
    const struct model_config *config = model_get_config(self->model);
    self->vocab_size = config->vocab_size;
    self->pages_per_sequence = (positions + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS;
    const struct stage_options options = {
        .layer_first = 0,
        .layer_count = config->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = LIMIT_PAGE_TOKENS,
        .page_count = BATCH_MAX * self->pages_per_sequence,
        .batch_tokens_max = LIMIT_BATCH_TOKENS_MAX,
        .context_length = positions,
    };
    self->pages = base_alloc_array(options.page_count, sizeof(*self->pages));
    if (self->pages == NULL)
        return base_error_set(err, BASE_NOMEM, "page table");
    for (uint32_t p = 0; p < options.page_count; p++)
        self->pages[p] = p;
    rc = tensor_pool_new(threads, &self->pool);
    return rc != BASE_OK ? base_error_set(err, rc, "%u threads", threads)
                         : stage_load(self->model, &options, NULL, NULL, NULL, &self->stage, err);
}

static uint32_t argument(int argc, char **argv, int index, uint32_t fallback)
{
    return argc > index ? (uint32_t)strtoul(argv[index], NULL, 10) : fallback;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    struct base_error err = {0};

    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench-stage MODEL [THREADS [PROMPT_TOKENS [STEPS]]]\n");
        return 2;
    }
    uint32_t threads = argument(argc, argv, 2, tensor_pool_default_threads());
    uint32_t prompt_tokens = argument(argc, argv, 3, 256);
    uint32_t decode_steps = argument(argc, argv, 4, 32);
    uint32_t positions = prompt_tokens > 16 + decode_steps ? prompt_tokens : 16 + decode_steps;
    int rc = open_bench(&bench, argv[1], threads, positions, &err);
    if (rc == BASE_OK)
        rc = measure(&bench, prompt_tokens, decode_steps, &err);
    if (rc != BASE_OK)
        (void)fprintf(stderr, "bench-stage: %s\n", err.text);
    stage_destroy(&bench.stage);
    tensor_pool_destroy(&bench.pool);
    model_close(&bench.model);
    base_free(bench.pages);
    return rc == BASE_OK ? 0 : 1;
}
