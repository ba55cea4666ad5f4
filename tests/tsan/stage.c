/* A stage's phases on one, two and three threads, with no framework around: the program for the
 * thread sanitizer. Every family, whole batches, chunks, and single tokens must give every row the
 * bits that one thread gives it in one batch. Prints failures; the exit status is their number. */
#include "stage.h"
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = 256, VOCAB = 96, SEQUENCES = 2, TOKENS = 9, PAGE = 8, THREADS_MAX = 3 };

static const uint32_t pages[SEQUENCES][2] = {{2, 0}, {3, 1}};

struct subject {
    struct model *model;
    bool whole; /* an encoder: takes each sequence in one batch */
    size_t row_floats;
    struct tensor_pool *pools[THREADS_MAX + 1]; /* by threads */
    struct stage *stage;
};

/* Rows of every token: [SEQUENCES][TOKENS][row_floats] */
static float rows[2][SEQUENCES * TOKENS * WIDE];

static int load(struct subject *self)
{
    const struct stage_options options = {
        .layer_count = model_get_config(self->model)->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = PAGE,
        .page_count = 4,
        .batch_tokens_max = SEQUENCES * TOKENS,
        .context_length = 2 * PAGE,
        .kv_type = TENSOR_F16,
    };
    struct base_error err = {0};

    return stage_load(self->model, &options, NULL, NULL, NULL, &self->stage, &err);
}

/* The same number of tokens of each sequence. */
static int run_batch(struct subject *self, uint32_t threads, uint32_t first, uint32_t count,
    uint32_t sequences, uint32_t sequence_first, float *to)
{
    struct stage_sequence batch[SEQUENCES];
    uint32_t tokens[SEQUENCES * TOKENS];
    struct stage_output output;
    struct base_error err = {0};

    for (uint32_t s = 0; s < sequences; s++) {
        batch[s] = (struct stage_sequence){first, count, pages[sequence_first + s], 2,
            self->whole ? STAGE_HIDDEN_ALL : STAGE_LOGITS_FULL_ALL, 0, 0};
        for (uint32_t i = 0; i < count; i++)
            tokens[s * count + i] = ((sequence_first + s + 3) * 7 + (first + i) * 31) % VOCAB;
    }
    if (stage_run(self->stage, self->pools[threads], batch, sequences, tokens,
            (size_t)sequences * count * sizeof(*tokens), &output, &err) != BASE_OK)
        return 1;
    for (size_t i = 0; i < output.row_count; i++) {
        size_t at =
            (size_t)(sequence_first + output.rows[i].sequence) * TOKENS + output.rows[i].position;
        memcpy(to + at * self->row_floats, output.payload + output.rows[i].offset,
            self->row_floats * sizeof(float));
    }
    return 0;
}

/* In chunks, both sequences in one batch; or, by 0, one token of one sequence at a time. */
static int run_chunks(struct subject *self, uint32_t threads, uint32_t chunk, float *to)
{
    uint32_t step = chunk == 0 ? 1 : chunk;
    int failures = 0;

    for (uint32_t at = 0; at < TOKENS; at += step) {
        uint32_t count = TOKENS - at < step ? TOKENS - at : step;
        if (chunk > 0)
            failures += run_batch(self, threads, at, count, SEQUENCES, 0, to);
        else
            for (uint32_t s = 0; s < SEQUENCES; s++)
                failures += run_batch(self, threads, at, count, 1, s, to);
    }
    return failures;
}

static int compare(struct subject *self, const char *family, uint32_t type)
{
    static const uint32_t chunks[] = {TOKENS, 4, 1, 0};
    size_t bytes = SEQUENCES * TOKENS * self->row_floats * sizeof(float);
    int failures = run_chunks(self, 1, TOKENS, rows[0]);

    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++)
        for (size_t i = 0; i < (self->whole ? 1 : sizeof(chunks) / sizeof(chunks[0])); i++) {
            memset(rows[1], 0xff, bytes);
            bool wrong = run_chunks(self, threads, chunks[i], rows[1]) != 0 ||
                         memcmp(rows[0], rows[1], bytes) != 0;
            if (wrong)
                (void)fprintf(stderr, "%s, type %u: %u threads, chunks of %u: other bits\n", family,
                    type, threads, chunks[i]);
            failures += wrong;
        }
    return failures;
}

static int run_family(struct subject *self, const char *family, uint32_t type)
{
    /* Large enough that a single token wakes the pool. */
    const struct tiny_gguf_options options = {.seed = 7,
        .family = family,
        .weight_type = type,
        .embedding_length = WIDE,
        .feed_forward = 512,
        .head_count = 8,
        .kv_head_count = 4,
        .vocab_size = VOCAB,
        .biases = true};
    struct base_error err = {0};
    struct gguf *file = NULL;
    size_t bytes = 0;
    uint8_t *data = tiny_gguf_build(&options, &bytes);
    int failures = 1;

    if (gguf_open_memory(data, bytes, "tiny", &file, &err) == BASE_OK &&
        model_open_gguf(&file, &self->model, &err) == BASE_OK && load(self) == BASE_OK) {
        const struct model_config *config = model_get_config(self->model);
        self->whole = !config->has_head;
        self->row_floats = self->whole ? config->embedding_length : config->vocab_size;
        failures = compare(self, family, type);
    }
    stage_destroy(&self->stage);
    model_close(&self->model);
    gguf_close(&file);
    free(data);
    return failures;
}

int main(void)
{
    static const uint32_t types[] = {TENSOR_F32, TENSOR_Q8_0, TENSOR_Q4_K};
    struct subject subject = {0};
    int failures = 0;

    for (uint32_t i = 1; i <= THREADS_MAX; i++)
        failures += tensor_pool_new(i, &subject.pools[i]) != BASE_OK;
    for (size_t f = 0; tiny_gguf_families[f] != NULL && failures == 0; f++)
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            failures += run_family(&subject, tiny_gguf_families[f], types[i]);
    for (uint32_t i = 1; i <= THREADS_MAX; i++)
        tensor_pool_destroy(&subject.pools[i]);
    return failures < 100 ? failures : 100;
}
