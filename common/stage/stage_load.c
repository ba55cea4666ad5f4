/* Building a stage: weights (shared where a previous stage has them), cache, buffers. */
#include "stage_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "kv.h"
#include "tensor_pool.h"
#include <sys/mman.h>

#define BUFFER_ALIGNMENT 64u
#define HUGE_PAGE_BYTES  ((size_t)2 << 20)
/* Less than this is packed sooner by one thread than others are started. */
#define PARALLEL_BYTES ((uint64_t)8 << 20)

static size_t payload_bytes_max(const struct model_config *config, size_t tokens)
{
    size_t top =
        config->vocab_size < LIMIT_TOP_LOGITS_MAX ? config->vocab_size : LIMIT_TOP_LOGITS_MAX;
    size_t row = config->vocab_size * sizeof(float);

    if (top * 2 * sizeof(float) > row)
        row = top * 2 * sizeof(float);
    if (config->embedding_length * sizeof(float) > row)
        row = config->embedding_length * sizeof(float);
    /* What does not fit in one frame could not be sent anyway. A single row always fits. */
    return tokens * row < LIMIT_TENSOR_BYTES ? tokens * row : LIMIT_TENSOR_BYTES;
}

/* Columns of the widest matrix that takes what is between two products. */
static size_t inner_columns_max(const struct model_config *config)
{
    size_t columns = (size_t)config->head_count * config->head_dim;

    return config->feed_forward_length > columns ? config->feed_forward_length : columns;
}

/* Cuts buffers from one block; from NULL it only counts. */
struct carver {
    uint8_t *memory;
    size_t used;
};

static void *carve(struct carver *self, size_t count, size_t item_bytes)
{
    size_t at = self->used;

    self->used += (count * item_bytes + BUFFER_ALIGNMENT - 1) & ~(size_t)(BUFFER_ALIGNMENT - 1);
    return self->memory == NULL ? NULL : self->memory + at;
}

/* One head in one page. The options have been checked: it cannot fail. */
static struct tensor_attention_layout head_layout(
    const struct model_config *config, const struct stage_options *options)
{
    struct tensor_attention_layout layout = {0};

    (void)tensor_attention_layout_init(
        &layout, options->kv_type, options->page_tokens, config->head_dim, config->head_dim);
    return layout;
}

/* Of each thread that there could be. */
static size_t scratch_bytes(const struct model_config *config, const struct stage_options *options)
{
    struct tensor_attention_layout layout = head_layout(config, options);

    return stage_attention_scratch_floats(&layout) * sizeof(float);
}

static size_t own_bytes(const struct model_config *config)
{
    return (size_t)config->embedding_length * 2 * sizeof(float);
}

static void carve_expert_buffers(
    const struct model_config *config, size_t tokens, struct carver *c, struct stage_buffers *b)
{
    size_t chosen = tokens * config->expert_used_count;

    b->router = carve(c, tokens * config->expert_count, sizeof(float));
    b->chosen = carve(c, chosen, sizeof(uint32_t));
    b->chosen_weights = carve(c, chosen, sizeof(float));
    b->chosen_logits = carve(c, chosen, sizeof(float));
    b->expert_first = carve(c, config->expert_count + 1, sizeof(uint32_t));
    b->expert_tokens = carve(c, chosen, sizeof(uint32_t));
    b->expert_input = carve(c, tokens * config->embedding_length, sizeof(float));
    b->expert_output = carve(c, tokens * config->embedding_length, sizeof(float));
}

/* Lays out all buffers in memory (NULL: counts only) and returns their bytes. Sizes cannot
 * overflow: dimensions are bounded by the model file, the others by base_limits.h. */
static size_t carve_buffers(const struct model_config *config, const struct stage_options *options,
    uint8_t *memory, struct stage_buffers *ret_buffers)
{
    struct carver c = {memory, 0};
    size_t tokens = options->batch_tokens_max;
    size_t heads = tokens * config->head_count * config->head_dim;
    size_t kv_heads = tokens * config->kv_head_count * config->head_dim;
    size_t head_rows = tokens < STAGE_HEAD_ROWS ? tokens : STAGE_HEAD_ROWS;
    size_t f = sizeof(float);
    struct tensor_attention_layout layout = head_layout(config, options);
    struct stage_buffers b = {0};

    b.x = carve(&c, tokens * config->embedding_length, f);
    b.normed = carve(&c, tokens * config->embedding_length, f);
    b.projected = carve(&c, tokens * config->embedding_length, f);
    b.q = carve(&c, heads, f);
    b.k = carve(&c, kv_heads, f);
    b.v = carve(&c, kv_heads, f);
    b.attention = carve(&c, heads, f);
    b.gate = carve(&c, tokens * config->feed_forward_length, f);
    b.up = carve(&c, tokens * config->feed_forward_length, f);
    b.cos_sin = carve(&c, config->rope_count * tokens * 2 * config->rotary_dim, f);
    b.tokens = carve(&c, tokens, sizeof(*b.tokens));
    if (options->has_head) {
        b.rows = carve(&c, tokens, sizeof(*b.rows));
        b.row_tokens = carve(&c, tokens, sizeof(*b.row_tokens));
        b.logits = carve(&c, head_rows * config->vocab_size, f);
        b.payload = carve(&c, payload_bytes_max(config, tokens), 1);
    }
    if (config->expert_count > 0)
        carve_expert_buffers(config, tokens, &c, &b);
    b.attention_blocks = carve(&c, stage_attention_blocks_max(config, options->batch_tokens_max),
        sizeof(*b.attention_blocks));
    b.partials = carve(
        &c, stage_attention_slots(config, options), tensor_attention_state_floats(&layout) * f);
    b.attention_scratch = carve(&c, STAGE_THREADS_MAX, scratch_bytes(config, options));
    b.own = carve(&c, STAGE_THREADS_MAX, own_bytes(config));
    *ret_buffers = b;
    return c.used;
}

/* Each thread may have a single token to itself, which takes the place of two. */
static size_t outer_tokens(const struct stage_options *options)
{
    size_t own = (size_t)2 * STAGE_THREADS_MAX;

    return options->batch_tokens_max > own ? options->batch_tokens_max : own;
}

static int alloc_buffers(struct stage *self, struct base_error *err)
{
    struct stage_buffers *b = &self->buffers;
    size_t bytes = carve_buffers(self->config, &self->options, NULL, b);

    bool large = bytes >= HUGE_PAGE_BYTES;
    self->memory = base_alloc_aligned(bytes, large ? HUGE_PAGE_BYTES : BUFFER_ALIGNMENT);
    if (self->memory == NULL)
        return base_error_set(
            err, BASE_NOMEM, "stage: no memory for %zu bytes of activations", bytes);
    if (large) /* only advice */
        (void)madvise(self->memory, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_HUGEPAGE);
    (void)carve_buffers(self->config, &self->options, self->memory, b);
    self->payload_bytes_max = payload_bytes_max(self->config, self->options.batch_tokens_max);
    int rc = tensor_input_new(
        outer_tokens(&self->options), self->config->embedding_length, &self->outer);
    if (rc == BASE_OK)
        rc = tensor_input_new(
            self->options.batch_tokens_max, inner_columns_max(self->config), &self->inner);
    return rc == BASE_OK ? rc : base_error_set(err, rc, "stage: activations: no memory");
}

static struct kv_options cache_options(
    const struct model_config *config, const struct stage_options *options)
{
    return (struct kv_options){
        .layer_count = options->layer_count,
        .kv_head_count = config->kv_head_count,
        .head_dim = config->head_dim,
        .page_tokens = options->page_tokens,
        .page_count = options->page_count,
        .type = options->kv_type,
    };
}

/* A tied model needs the embedding matrix on both ends. */
static bool needs_embedding(const struct model_config *config, const struct stage_options *options)
{
    return options->embeds || (options->has_head && config->tied_output);
}

static uint64_t weight_bytes(const struct model *model, const struct stage_options *options)
{
    const struct model_config *config = model_get_config(model);
    uint64_t bytes = 0;

    if (needs_embedding(config, options))
        bytes += stage_unit_bytes(model, 0, options->fast_float);
    for (uint32_t i = 0; i < options->layer_count; i++)
        bytes += stage_unit_bytes(model, options->layer_first + i + 1, options->fast_float);
    if (options->has_head)
        bytes += stage_unit_bytes(model, config->layer_count + 1, options->fast_float);
    return bytes;
}

/* 8-bit activations: per block of 32 the numbers, a scale and two start values. */
static uint64_t prepared_bytes(uint64_t tokens, uint64_t columns)
{
    return (tokens + 3) * ((columns + 31) / 32) * (32 + 3 * sizeof(float));
}

int stage_cost(const struct model *model, const struct stage_options *options,
    uint64_t *ret_weight_bytes, uint64_t *ret_kv_bytes, uint64_t *ret_activation_bytes)
{
    const struct model_config *config = model_get_config(model);
    struct kv_options cache = cache_options(config, options);
    struct stage_buffers buffers;
    uint64_t kv = 0;
    int rc = stage_check_options(model, options, NULL);

    if (rc == BASE_OK)
        rc = kv_bytes(&cache, &kv, NULL);
    if (rc != BASE_OK)
        return rc;
    uint64_t activations = carve_buffers(config, options, NULL, &buffers);
    activations += prepared_bytes(options->batch_tokens_max, config->embedding_length);
    activations += prepared_bytes(options->batch_tokens_max, inner_columns_max(config));
    /* Only the threads there are touch what is theirs. */
    uint64_t scratch = scratch_bytes(config, options) + own_bytes(config);
    activations -= STAGE_THREADS_MAX * scratch;
    activations += tensor_pool_default_threads() * scratch;
    *ret_weight_bytes = weight_bytes(model, options);
    *ret_kv_bytes = kv;
    *ret_activation_bytes = activations;
    return BASE_OK;
}

/* The unit that a previous stage holds, or NULL. */
static struct stage_unit *find_unit(
    const struct stage *previous, const struct model *model, uint32_t index, bool fast_float)
{
    struct stage_unit *found = NULL;

    if (previous == NULL)
        return NULL;
    if (previous->embedding != NULL && previous->embedding->index == index)
        found = previous->embedding;
    if (previous->head != NULL && previous->head->index == index)
        found = previous->head;
    for (uint32_t i = 0; i < previous->options.layer_count; i++)
        if (previous->blocks[i]->index == index)
            found = previous->blocks[i];
    return found != NULL && found->model == model && found->fast_float == fast_float ? found : NULL;
}

/* The weights that this load must read, so that progress can reach 1. */
static uint64_t missing_bytes(const struct stage *self, const struct stage *previous)
{
    const struct stage_options *o = &self->options;
    uint32_t last = self->config->layer_count + 1;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i <= last; i++) {
        bool block = i > o->layer_first && i <= o->layer_first + o->layer_count;
        bool wanted = (i == 0 && needs_embedding(self->config, o)) || (i == last && o->has_head) ||
                      (block && i < last);
        if (wanted && find_unit(previous, self->model, i, o->fast_float) == NULL)
            bytes += stage_unit_bytes(self->model, i, false);
    }
    return bytes;
}

static int take_unit(struct stage *self, const struct stage *previous, uint32_t index,
    struct stage_load_progress *progress, struct stage_unit **ret_unit, struct base_error *err)
{
    bool fast_float = self->options.fast_float;
    struct stage_unit *found = find_unit(previous, self->model, index, fast_float);

    if (found != NULL) {
        *ret_unit = stage_unit_share(found);
        return BASE_OK;
    }
    return stage_unit_load(self->model, index, fast_float, progress, ret_unit, err);
}

static int load_units(struct stage *self, const struct stage *previous,
    struct stage_load_progress *progress, struct base_error *err)
{
    const struct stage_options *o = &self->options;
    int rc = BASE_OK;

    self->blocks = base_alloc_zeroed(o->layer_count, sizeof(struct stage_unit *));
    if (self->blocks == NULL)
        return base_error_set(err, BASE_NOMEM, "stage: no memory");
    if (needs_embedding(self->config, o))
        rc = take_unit(self, previous, 0, progress, &self->embedding, err);
    for (uint32_t i = 0; i < o->layer_count && rc == BASE_OK; i++)
        rc = take_unit(self, previous, o->layer_first + i + 1, progress, &self->blocks[i], err);
    if (rc == BASE_OK && o->has_head)
        rc = take_unit(self, previous, self->config->layer_count + 1, progress, &self->head, err);
    return rc;
}

static uint64_t products_of(struct tensor_matrix *const *matrices, size_t count)
{
    uint64_t products = 0;

    for (size_t i = 0; i < count; i++)
        if (matrices[i] != NULL)
            products +=
                (uint64_t)tensor_matrix_rows(matrices[i]) * tensor_matrix_columns(matrices[i]);
    return products;
}

/* One expert is as large as another. */
static uint64_t products_per_token(const struct stage *self)
{
    uint64_t products = 0;

    for (uint32_t i = 0; i < self->options.layer_count; i++) {
        const struct stage_unit *unit = self->blocks[i];
        products += products_of(unit->matrices, MODEL_MATRICES);
        if (unit->expert_count > 0)
            products += self->config->expert_used_count *
                        products_of(unit->matrices + model_expert(MODEL_MATRICES, 0), 3);
    }
    return products;
}

int stage_load(struct model *model, const struct stage_options *options,
    const struct stage *previous, stage_progress_fn *progress, void *progress_context,
    struct stage **ret_stage, struct base_error *err)
{
    struct stage_load_progress state = {.progress = progress,
        .context = progress_context,
        .pack_cache = options->pack_cache,
        .map_weights = options->map_weights};
    int rc = stage_check_options(model, options, err);

    if (rc != BASE_OK)
        return rc;
    struct stage *self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "stage: no memory");
    self->model = model;
    self->config = model_get_config(model);
    self->options = *options;
    state.bytes_total = missing_bytes(self, previous);
    /* What is cheap and may fail goes first. */
    struct kv_options cache = cache_options(self->config, options);
    rc = kv_new(&cache, &self->kv, err);
    if (rc == BASE_OK)
        rc = alloc_buffers(self, err);
    if (rc == BASE_OK)
        rc = stage_rope_init(self, err);
    /* Without threads it takes longer, and nothing else. */
    if (rc == BASE_OK && state.bytes_total >= PARALLEL_BYTES)
        (void)tensor_pool_new(tensor_pool_default_threads(), &state.pool);
    if (rc == BASE_OK)
        rc = load_units(self, previous, &state, err);
    tensor_pool_destroy(&state.pool);
    if (rc == BASE_OK) {
        self->products_per_token = products_per_token(self);
        *ret_stage = self;
    } else {
        stage_destroy(&self);
    }
    return rc;
}

void stage_destroy(struct stage **self_p)
{
    struct stage *self = *self_p;

    if (self == NULL)
        return;
    for (uint32_t i = 0; self->blocks != NULL && i < self->options.layer_count; i++)
        stage_unit_release(&self->blocks[i]);
    base_free(self->blocks);
    stage_unit_release(&self->embedding);
    stage_unit_release(&self->head);
    kv_destroy(&self->kv);
    base_free(self->memory);
    tensor_input_destroy(&self->outer);
    tensor_input_destroy(&self->inner);
    base_free(self->frequencies);
    base_free(self);
    *self_p = NULL;
}

const struct stage_options *stage_get_options(const struct stage *self)
{
    return &self->options;
}
