#include "bench_run.h"

#include "base_alloc.h"
#include "base_assert.h"
#include "base_clock.h"
#include "base_err.h"
#include "base_limits.h"
#include "model.h"
#include "stage.h"
#include "tensor_pool.h"

struct bench_run {
    struct model *model;
    struct stage *stage;
    struct tensor_pool *pool;
    struct bench_run_options options;
    double load_seconds;
    uint32_t vocab_size;
    uint32_t pages_per_sequence;
    uint32_t *pages; /* [sequence_count, pages_per_sequence] */
    uint32_t tokens[LIMIT_BATCH_TOKENS_MAX];
};

static int load(struct bench_run *self, struct base_error *err)
{
    const struct model_config *config = model_get_config(self->model);
    const struct stage_options options = {
        .layer_first = 0,
        .layer_count = config->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = LIMIT_PAGE_TOKENS,
        .page_count = self->options.sequence_count * self->pages_per_sequence,
        .batch_tokens_max = LIMIT_BATCH_TOKENS_MAX,
        .context_length = self->options.positions,
        .kv_type = self->options.kv_type,
        .pack_cache = self->options.pack_cache,
        .map_weights = self->options.map_weights,
    };

    self->vocab_size = config->vocab_size;
    self->pages = base_alloc_array(options.page_count, sizeof(*self->pages));
    if (self->pages == NULL)
        return base_error_set(err, BASE_NOMEM, "bench: page table");
    for (uint32_t p = 0; p < options.page_count; p++)
        self->pages[p] = p;
    int rc = tensor_pool_new(self->options.thread_count, &self->pool);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "bench: %u threads", self->options.thread_count);
    uint64_t start_us = base_clock_us();
    rc = stage_load(self->model, &options, NULL, NULL, NULL, &self->stage, err);
    self->load_seconds = (double)(base_clock_us() - start_us) * 1e-6;
    tensor_pool_pin(self->pool); /* behind loading, which makes threads */
    return rc;
}

int bench_run_open(const char *path, const struct bench_run_options *options,
    struct bench_run **ret_run, struct base_error *err)
{
    if (options->sequence_count == 0 || options->sequence_count > BENCH_SEQUENCES_MAX ||
        options->positions == 0 || options->positions > LIMIT_CONTEXT_TOKENS_MAX)
        return base_error_set(err, BASE_INVALID, "bench: %u sequences of %u positions",
            options->sequence_count, options->positions);
    struct bench_run *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "bench: no memory");
    self->options = *options;
    self->pages_per_sequence = (options->positions + LIMIT_PAGE_TOKENS - 1) / LIMIT_PAGE_TOKENS;
    int rc = model_open(path, &self->model, err);
    if (rc == BASE_OK)
        rc = load(self, err);
    if (rc == BASE_OK)
        *ret_run = self;
    else
        bench_run_close(&self);
    return rc;
}

void bench_run_close(struct bench_run **self_p)
{
    struct bench_run *self = *self_p;

    if (self == NULL)
        return;
    stage_destroy(&self->stage);
    tensor_pool_destroy(&self->pool);
    model_close(&self->model);
    base_free(self->pages);
    base_free(self);
    *self_p = NULL;
}

/* token_count positions of each of sequence_count sequences from sequence_first on. */
static int step(struct bench_run *self, uint32_t sequence_first, uint32_t sequence_count,
    uint32_t first_position, uint32_t token_count, bool logits, struct base_error *err)
{
    struct stage_sequence sequences[BENCH_SEQUENCES_MAX];
    struct stage_output output;
    uint32_t total = sequence_count * token_count;

    for (uint32_t s = 0; s < sequence_count; s++) {
        size_t row = sequence_first + s;
        sequences[s] = (struct stage_sequence){
            .first_position = first_position,
            .token_count = token_count,
            .pages = self->pages + row * self->pages_per_sequence,
            .page_count = self->pages_per_sequence,
            .logits = logits ? STAGE_LOGITS_TOP : STAGE_LOGITS_NONE,
            .top_count = logits ? 1 : 0,
        };
    }
    for (uint32_t t = 0; t < total; t++)
        self->tokens[t] = (first_position * 31 + t * 7 + 3) % self->vocab_size;
    return stage_run(self->stage, self->pool, sequences, sequence_count, self->tokens,
        sizeof(uint32_t) * total, &output, err);
}

int bench_run_prefill(struct bench_run *self, uint32_t sequence, uint32_t first_position,
    uint32_t token_count, double *ret_seconds, struct base_error *err)
{
    uint64_t start_us = base_clock_us();
    int rc = BASE_OK;

    base_assert(sequence < self->options.sequence_count);
    for (uint32_t done = 0; done < token_count && rc == BASE_OK;) {
        uint32_t left = token_count - done;
        uint32_t chunk = left < LIMIT_BATCH_TOKENS_MAX ? left : LIMIT_BATCH_TOKENS_MAX;
        rc = step(self, sequence, 1, first_position + done, chunk, chunk == left, err);
        done += chunk;
    }
    *ret_seconds = (double)(base_clock_us() - start_us) * 1e-6;
    return rc;
}

int bench_run_decode(struct bench_run *self, uint32_t batch, uint32_t first_position,
    uint32_t step_count, double *ret_seconds, struct base_error *err)
{
    uint64_t start_us = base_clock_us();
    int rc = BASE_OK;

    base_assert(batch <= self->options.sequence_count);
    for (uint32_t i = 0; i < step_count && rc == BASE_OK; i++)
        rc = step(self, 0, batch, first_position + i, 1, true, err);
    *ret_seconds = (double)(base_clock_us() - start_us) * 1e-6;
    return rc;
}

void bench_run_get_costs(const struct bench_run *self, struct bench_run_costs *ret_costs)
{
    uint32_t layer_count = model_get_config(self->model)->layer_count;
    struct model_layer_cost cost;

    *ret_costs = (struct bench_run_costs){0};
    for (uint32_t i = 1; i <= layer_count; i++) {
        model_layer_cost(self->model, i, self->options.kv_type, &cost);
        ret_costs->weight_bytes += cost.weight_bytes;
        ret_costs->kv_bytes_per_position += cost.kv_bytes_per_token;
        ret_costs->operations_per_token += cost.operations_per_token;
        if (i == 1)
            ret_costs->weight_type = cost.weight_type;
    }
    model_layer_cost(self->model, layer_count + 1, self->options.kv_type, &cost);
    ret_costs->weight_bytes += cost.weight_bytes;
    ret_costs->operations_per_logit_row = cost.operations_per_token;
}

double bench_run_step_bytes(const struct bench_run_costs *costs, uint32_t batch, double positions)
{
    return (double)costs->weight_bytes + (double)costs->kv_bytes_per_position * positions * batch;
}

double bench_run_load_seconds(const struct bench_run *self)
{
    return self->load_seconds;
}
