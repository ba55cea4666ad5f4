/*
 * Speed of one whole stage, without mesh: seconds to load, tokens a second of prefill (one chunked
 * prompt) and of decode at several batch sizes and depths. One JSON line per row on stdout; nothing
 * is asserted.
 *
 *     bench-stage --model MODEL [--threads N] [--prompt TOKENS] [--steps N] [--depth POSITIONS]
 *                 [--kv-type f32|f16|int8] [--pack-cache DIR [--map]] [--batch-max N]
 */
#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "base_limits.h"
#include "base_options.h"
#include "model.h"
#include "stage.h"
#include "tensor_attention.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include <stdio.h>
#include <stdlib.h>

#define BATCH_MAX 16u

struct settings {
    const char *model, *kv_type, *pack_cache;
    uint32_t threads, prompt_tokens, decode_steps, depth, batch_max;
    bool map_weights;
};

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

static int measure(struct bench *self, const struct settings *s, struct base_error *err)
{
    int rc = prefill(self, 1, s->prompt_tokens, err); /* warms caches and pages */

    uint64_t start_us = base_clock_us();
    if (rc == BASE_OK)
        rc = prefill(self, 1, s->prompt_tokens, err);
    if (rc == BASE_OK)
        report("prefill", 1, s->prompt_tokens, base_clock_us() - start_us);
    for (uint32_t batch = 1; rc == BASE_OK && batch <= s->batch_max; batch *= 2) {
        rc = prefill(self, batch, s->depth, err);
        start_us = base_clock_us();
        for (uint32_t step = 0; rc == BASE_OK && step < s->decode_steps; step++)
            rc = run(self, batch, s->depth + step, 1, true, err);
        if (rc == BASE_OK)
            report("decode", batch, (uint64_t)s->decode_steps * batch, base_clock_us() - start_us);
    }
    return rc;
}

static int open_bench(struct bench *self, const struct settings *s, struct base_error *err)
{
    uint32_t kv_type = 0, positions = s->depth + s->decode_steps;
    int rc = tensor_attention_type_parse(s->kv_type, &kv_type);

    if (rc != BASE_OK)
        return base_error_set(err, rc, "--kv-type %s", s->kv_type);
    rc = model_open(s->model, &self->model, err);
    if (rc != BASE_OK)
        return rc;
    const struct model_config *config = model_get_config(self->model);
    if (positions < s->prompt_tokens)
        positions = s->prompt_tokens;
    if (positions > config->context_length)
        return base_error_set(err, BASE_INVALID, "%u positions, but the context is %u", positions,
            config->context_length);
    self->vocab_size = config->vocab_size;
    self->pages_per_sequence = (positions + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS;
    const struct stage_options options = {
        .layer_first = 0,
        .layer_count = config->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = LIMIT_PAGE_TOKENS,
        .page_count = s->batch_max * self->pages_per_sequence,
        .batch_tokens_max = LIMIT_BATCH_TOKENS_MAX,
        .context_length = positions,
        .kv_type = kv_type,
        .pack_cache = s->pack_cache,
        .map_weights = s->map_weights,
    };
    self->pages = base_alloc_array(options.page_count, sizeof(*self->pages));
    if (self->pages == NULL)
        return base_error_set(err, BASE_NOMEM, "page table");
    for (uint32_t p = 0; p < options.page_count; p++)
        self->pages[p] = p;
    rc = tensor_pool_new(s->threads, &self->pool);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "%u threads", s->threads);
    uint64_t start_us = base_clock_us();
    rc = stage_load(self->model, &options, NULL, NULL, NULL, &self->stage, err);
    tensor_pool_pin(self->pool); /* behind loading, which makes threads */
    if (rc == BASE_OK)
        (void)printf(
            "{\"what\":\"load\",\"seconds\":%.3f}\n", (double)(base_clock_us() - start_us) / 1e6);
    return rc;
}

int main(int argc, char **argv)
{
    struct settings s = {.threads = tensor_pool_default_threads(),
        .prompt_tokens = 256,
        .decode_steps = 32,
        .depth = 16,
        .batch_max = BATCH_MAX,
        .kv_type = "f16"};
    const struct base_option rows[] = {
        {"model", 'm', BASE_OPTION_STRING, &s.model, 0, 0, "FILE", NULL, "Model file."},
        {"threads", 't', BASE_OPTION_U32, &s.threads, 1, 256, "N", NULL, "Compute threads."},
        {"prompt", 0, BASE_OPTION_U32, &s.prompt_tokens, 1, LIMIT_CONTEXT_TOKENS_MAX, "TOKENS",
            NULL, "Tokens of the prompt."},
        {"steps", 0, BASE_OPTION_U32, &s.decode_steps, 1, 100000, "N", NULL, "Steps of decode."},
        {"depth", 0, BASE_OPTION_U32, &s.depth, 1, LIMIT_CONTEXT_TOKENS_MAX, "POSITIONS", NULL,
            "Positions in the cache before decode."},
        {"batch-max", 0, BASE_OPTION_U32, &s.batch_max, 1, BATCH_MAX, "N", NULL,
            "Largest batch of decode: 1, 2, 4, 8, 16."},
        {"kv-type", 0, BASE_OPTION_STRING, &s.kv_type, 0, 0, "TYPE", NULL, "f32, f16 or int8."},
        {"pack-cache", 0, BASE_OPTION_STRING, &s.pack_cache, 0, 0, "DIR", NULL,
            "Folder of packed weights."},
        {"map", 0, BASE_OPTION_FLAG, &s.map_weights, 0, 0, NULL, NULL, "Map it."},
    };
    struct bench bench = {0};
    struct base_error err = {0};
    int next = 0;
    int rc = base_options_parse(rows, sizeof(rows) / sizeof(rows[0]), argc, argv, 0, &next, &err);

    if (rc == BASE_OK && s.model == NULL)
        rc = base_error_set(&err, BASE_INVALID, "--model FILE is required");
    if (rc == BASE_OK)
        rc = open_bench(&bench, &s, &err);
    if (rc == BASE_OK)
        rc = measure(&bench, &s, &err);
    if (rc != BASE_OK)
        (void)fprintf(stderr, "bench-stage: %s\n", err.text);
    stage_destroy(&bench.stage);
    tensor_pool_destroy(&bench.pool);
    model_close(&bench.model);
    base_free(bench.pages);
    return rc == BASE_OK ? 0 : 1;
}
