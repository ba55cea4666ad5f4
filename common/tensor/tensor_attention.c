#include "tensor_attention.h"
#include "base_alloc.h"
#include "base_assert.h"
#include "base_bytes.h"
#include "base_err.h"
#include "tensor_attention_kernels.h"
#include "tensor_kernels.h"
#include "tensor_ops.h"
#include "tensor_type.h"
#include <math.h>
#include <string.h>

#define PANEL          32u /* positions of keys, or elements of values, side by side */
#define SECTION_BYTES  64u /* each part of a page begins at a multiple */
#define STATE_EXTRA    16u /* floats behind the values of a state: maximum, sum, and room */
#define GATHERED_BYTES ((size_t)GROUP * sizeof(float)) /* for each element of a key */
#define GROUP          16u /* positions, or elements, that the kernels take together */

static const struct tensor_attention_kernels *kernels_get(void)
{
    return tensor_kernels_get()->attention;
}

static const struct {
    const char *name;
    uint32_t type;
} cache_types[] = {{"f32", TENSOR_F32}, {"f16", TENSOR_F16}, {"int8", TENSOR_Q8_0}};

#define CACHE_TYPES (sizeof(cache_types) / sizeof(cache_types[0]))

const char *tensor_attention_type_name(uint32_t type)
{
    for (size_t i = 0; i < CACHE_TYPES; i++)
        if (cache_types[i].type == type)
            return cache_types[i].name;
    return NULL;
}

int tensor_attention_type_parse(const char *name, uint32_t *ret_type)
{
    for (size_t i = 0; i < CACHE_TYPES; i++)
        if (strcmp(cache_types[i].name, name) == 0) {
            *ret_type = cache_types[i].type;
            return BASE_OK;
        }
    return BASE_INVALID;
}

bool tensor_attention_type_supported(uint32_t type)
{
    return tensor_attention_type_name(type) != NULL;
}

/* Puts a section of rows * row_bytes bytes behind what is there. */
static bool add_section(struct tensor_attention_layout *self, size_t rows, size_t row_bytes)
{
    size_t bytes;

    if (!base_mul_size(rows, row_bytes, &bytes) ||
        !base_add_size(bytes, SECTION_BYTES - 1, &bytes) ||
        !base_add_size(self->bytes, bytes / SECTION_BYTES * SECTION_BYTES, &bytes))
        return false;
    self->bytes = bytes;
    return true;
}

int tensor_attention_layout_init(struct tensor_attention_layout *self, uint32_t type,
    uint32_t page_tokens, uint32_t key_dim, uint32_t value_dim)
{
    struct tensor_attention_layout made = {
        .type = type, .page_tokens = page_tokens, .key_dim = key_dim, .value_dim = value_dim};
    bool ok = tensor_attention_type_supported(type) && page_tokens != 0 && key_dim != 0 &&
              value_dim != 0 && value_dim <= UINT32_MAX - 15 &&
              (page_tokens & (page_tokens - 1)) == 0;

    if (!ok)
        return BASE_INVALID;
    size_t scale_bytes = type == TENSOR_Q8_0 ? sizeof(float) : 0;
    made.element_bytes = type == TENSOR_F32 ? 4 : type == TENSOR_F16 ? 2 : 1;
    made.value_stride = (value_dim + 15) / 16 * 16;
    ok = add_section(&made, page_tokens, (size_t)key_dim * made.element_bytes);
    made.key_scales = made.bytes;
    ok = ok && add_section(&made, page_tokens, scale_bytes);
    made.values = made.bytes;
    ok = ok && add_section(&made, page_tokens, (size_t)made.value_stride * made.element_bytes);
    made.value_scales = made.bytes;
    ok = ok && add_section(&made, page_tokens, scale_bytes);
    if (!ok)
        return BASE_INVALID;
    *self = made;
    return BASE_OK;
}

static uint32_t key_panel(const struct tensor_attention_layout *layout)
{
    return layout->page_tokens < PANEL ? layout->page_tokens : PANEL;
}

/* Element i of the key in a slot. */
static size_t key_offset(const struct tensor_attention_layout *layout, uint32_t slot, size_t i)
{
    uint32_t wide = key_panel(layout);

    return (((size_t)(slot / wide) * layout->key_dim + i) * wide + slot % wide) *
           layout->element_bytes;
}

/* Element i of the value in a slot; those of a panel lie behind each other. */
static size_t value_offset(const struct tensor_attention_layout *layout, uint32_t slot, size_t i)
{
    size_t first = i / PANEL * PANEL, left = layout->value_stride - first;

    return layout->values +
           (first * layout->page_tokens + slot * (left < PANEL ? left : PANEL) + i - first) *
               layout->element_bytes;
}

static size_t value_panel_bytes(const struct tensor_attention_layout *layout)
{
    return (size_t)PANEL * layout->page_tokens * layout->element_bytes;
}

/* What codes are made with, and what they then stand for. */
struct int8_scale {
    float scale, inverse;
};

/* With an infinity or a NaN inside the scale is NaN, and so is all that it scales. */
static struct int8_scale int8_scale_of(const float *x, size_t count)
{
    float most = 0;
    bool finite = true;

    for (size_t i = 0; i < count; i++) {
        finite = finite && isfinite(x[i]);
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    }
    if (!finite)
        return (struct int8_scale){NAN, 0};
    if (most < 0x1p-120f) /* the division would overflow */
        return (struct int8_scale){0, 0};
    return (struct int8_scale){most / 127.0f, 127.0f / most};
}

static void store_f16(const float *x, size_t count, uint8_t *y, size_t step)
{
    uint16_t halves[64];

    for (size_t first = 0; first < count; first += 64) {
        size_t part = count - first < 64 ? count - first : 64;
        kernels_get()->store_f16(x + first, part, halves);
        for (size_t i = 0; i < part; i++, y += step)
            memcpy(y, &halves[i], sizeof(halves[i]));
    }
}

/* x [count] to y with step bytes from element to element. */
static void store_elements(
    uint32_t type, float inverse, const float *x, size_t count, uint8_t *y, size_t step)
{
    if (type == TENSOR_F16)
        store_f16(x, count, y, step);
    else if (type == TENSOR_F32)
        for (size_t i = 0; i < count; i++, y += step)
            memcpy(y, &x[i], sizeof(x[i]));
    else
        for (size_t i = 0; i < count; i++, y += step)
            *y = inverse > 0 ? (uint8_t)(int8_t)lrintf(x[i] * inverse) : 0;
}

void tensor_attention_store(const struct tensor_attention_layout *layout, uint8_t *page,
    uint32_t slot, const float *k, const float *v)
{
    size_t bytes = layout->element_bytes;
    struct int8_scale key = {0}, value = {0};

    base_assert(slot < layout->page_tokens);
    if (layout->type == TENSOR_Q8_0) {
        key = int8_scale_of(k, layout->key_dim);
        value = int8_scale_of(v, layout->value_dim);
        base_store_f32(page + layout->key_scales + slot * sizeof(float), key.scale);
        base_store_f32(page + layout->value_scales + slot * sizeof(float), value.scale);
    }
    store_elements(layout->type, key.inverse, k, layout->key_dim,
        page + key_offset(layout, slot, 0), key_panel(layout) * bytes);
    for (uint32_t i = 0; i < layout->value_dim; i += PANEL) {
        uint32_t left = layout->value_dim - i, count = left < PANEL ? left : PANEL;
        store_elements(
            layout->type, value.inverse, v + i, count, page + value_offset(layout, slot, i), bytes);
    }
    for (uint32_t i = layout->value_dim; i < layout->value_stride; i++)
        memset(page + value_offset(layout, slot, i), 0, bytes);
}

static float element_of(const struct tensor_attention_layout *layout, const uint8_t *p, float scale)
{
    if (layout->type == TENSOR_F16)
        return tensor_f16_to_f32(base_load_u16(p));
    if (layout->type == TENSOR_F32)
        return base_load_f32(p);
    return (float)(int8_t)*p * scale;
}

void tensor_attention_load(const struct tensor_attention_layout *layout, const uint8_t *page,
    uint32_t slot, float *k, float *v)
{
    float key_scale = 1, value_scale = 1;

    base_assert(slot < layout->page_tokens);
    if (layout->type == TENSOR_Q8_0) {
        key_scale = base_load_f32(page + layout->key_scales + slot * sizeof(float));
        value_scale = base_load_f32(page + layout->value_scales + slot * sizeof(float));
    }
    for (size_t i = 0; i < layout->key_dim; i++)
        k[i] = element_of(layout, page + key_offset(layout, slot, i), key_scale);
    for (size_t i = 0; i < layout->value_dim; i++)
        v[i] = element_of(layout, page + value_offset(layout, slot, i), value_scale);
}

size_t tensor_attention_state_floats(const struct tensor_attention_layout *layout)
{
    return layout->value_stride + STATE_EXTRA;
}

static float *state_maximum(const struct tensor_attention_layout *layout, float *state)
{
    return state + layout->value_stride;
}

static float *state_sum(const struct tensor_attention_layout *layout, float *state)
{
    return state + layout->value_stride + 1;
}

static size_t query_floats(const struct tensor_attention_layout *layout)
{
    return ((size_t)layout->key_dim + GROUP - 1) / GROUP * GROUP * TENSOR_ATTENTION_ROWS;
}

static bool gathers(const struct tensor_attention_layout *layout)
{
    return layout->page_tokens < GROUP;
}

/* Scratch: scores, packed queries, and for small pages a gathered group of keys with its scales. */
size_t tensor_attention_scratch_floats(const struct tensor_attention_layout *layout)
{
    return (size_t)TENSOR_ATTENTION_ROWS * TENSOR_ATTENTION_STRIDE + query_floats(layout) +
           (gathers(layout) ? GROUP * ((size_t)layout->key_dim + 1) : 0);
}

void tensor_attention_begin(const struct tensor_attention_layout *layout, float *state)
{
    memset(state, 0, tensor_attention_state_floats(layout) * sizeof(float));
    *state_maximum(layout, state) = -INFINITY;
}

/* What a split works on. */
struct split {
    const struct tensor_attention_cache *cache;
    const struct tensor_attention_kernels *kernels;
    uint32_t start;                        /* its first position */
    uint32_t first[TENSOR_ATTENTION_ROWS]; /* seen by each row, within the split and counted */
    uint32_t end[TENSOR_ATTENTION_ROWS];   /* from its start; equal: nothing */
    uint32_t row_count;
    bool streams;  /* the pages come from memory, not from a cache */
    float *states; /* [TENSOR_ATTENTION_ROWS, state_floats] */
    float *scores; /* [TENSOR_ATTENTION_ROWS, TENSOR_ATTENTION_STRIDE] */
    float *q;      /* [key_dim / GROUP, TENSOR_ATTENTION_ROWS, GROUP] */
    float *gathered;
};

static const uint8_t *page_of(const struct tensor_attention_cache *cache, uint32_t position)
{
    uint32_t page = position / cache->layout.page_tokens;

    return cache->memory + cache->pages[page] * cache->page_bytes;
}

/* What is read after the keys of a position's page: those of the next one, and behind the last one
 * of the split the values of its first. */
static const uint8_t *keys_after(
    const struct tensor_attention_cache *cache, uint32_t start, uint32_t position)
{
    uint32_t next = (position / cache->layout.page_tokens + 1) * cache->layout.page_tokens;

    if (next < cache->position_count && next < start + TENSOR_ATTENTION_SPLIT)
        return page_of(cache, next);
    return page_of(cache, start) + cache->layout.values;
}

/* What is read after the values of a position's page: those of the next one, and behind the last
 * one of the split the keys of the next split. */
static const uint8_t *values_after(
    const struct tensor_attention_cache *cache, uint32_t start, uint32_t position)
{
    uint32_t next = (position / cache->layout.page_tokens + 1) * cache->layout.page_tokens;

    if (next >= cache->position_count)
        return page_of(cache, position) + cache->layout.values;
    return page_of(cache, next) +
           (next < start + TENSOR_ATTENTION_SPLIT ? cache->layout.values : 0);
}

/* Elements of one row that the kernels use one after the other share a cache line. */
static void pack_queries(const struct split *self, const struct tensor_attention_row *rows)
{
    size_t dim = self->cache->layout.key_dim;

    if (self->row_count < TENSOR_ATTENTION_ROWS)
        memset(self->q, 0, query_floats(&self->cache->layout) * sizeof(float));
    for (uint32_t r = 0; r < self->row_count; r++) {
        float *to = self->q + (size_t)r * GROUP;
        size_t i = 0;
        for (; i + GROUP <= dim; i += GROUP, to += TENSOR_ATTENTION_ROWS * GROUP)
            memcpy(to, rows[r].q + i, GROUP * sizeof(float));
        memcpy(to, rows[r].q + i, (dim - i) * sizeof(float));
    }
}

/* A group of positions that lie in several pages, side by side as in a large page. */
static void gather_keys(const struct split *self, uint32_t position, float *ret_scales)
{
    const struct tensor_attention_layout *layout = &self->cache->layout;
    uint8_t *to = (uint8_t *)(void *)self->gathered;
    size_t bytes = layout->element_bytes;

    memset(to, 0, layout->key_dim * GATHERED_BYTES);
    for (uint32_t lane = 0; lane < GROUP; lane++) {
        uint32_t at = position + lane;
        ret_scales[lane] = 0;
        if (at >= self->cache->position_count)
            continue;
        const uint8_t *page = page_of(self->cache, at);
        uint32_t slot = at % layout->page_tokens;
        for (size_t i = 0; i < layout->key_dim; i++)
            memcpy(to + (i * GROUP + lane) * bytes, page + key_offset(layout, slot, i), bytes);
        if (layout->type == TENSOR_Q8_0)
            ret_scales[lane] = base_load_f32(page + layout->key_scales + slot * sizeof(float));
    }
}

/* Scores of all rows for the positions [first, end) of the split, in whole groups. */
static void score(const struct split *self, uint32_t first, uint32_t end)
{
    const struct tensor_attention_cache *cache = self->cache;
    const struct tensor_attention_layout *layout = &cache->layout;
    uint32_t page_tokens = gathers(layout) ? GROUP : layout->page_tokens;
    uint32_t at = first / GROUP * GROUP;
    struct tensor_attention_scores args = {.type = layout->type,
        .panel_groups = page_tokens < PANEL ? 1 : PANEL / GROUP,
        .dim = layout->key_dim,
        .q = self->q,
        .row_count = self->row_count,
        .scale = cache->scale};

    while (at < end) {
        uint32_t position = self->start + at, slot = position % page_tokens;
        uint32_t room = page_tokens - slot, count = end - at < room ? end - at : room;
        args.group_first = slot / GROUP;
        args.group_count = (count + GROUP - 1) / GROUP;
        args.scores = self->scores + at;
        if (gathers(layout)) {
            float *scales = self->gathered + (size_t)layout->key_dim * GROUP;
            gather_keys(self, position - slot, scales);
            args.keys = (const uint8_t *)self->gathered;
            args.scales = scales + slot;
        } else {
            args.keys = page_of(cache, position);
            args.next = self->streams ? keys_after(cache, self->start, position) : NULL;
            args.scales = (const float *)(const void *)(args.keys + layout->key_scales) + slot;
        }
        self->kernels->scores(&args);
        at += (uint32_t)args.group_count * GROUP;
    }
}

/* Scores to weights, maxima and sums. */
static void soften(const struct split *self)
{
    const struct tensor_attention_cache *cache = self->cache;
    float most[TENSOR_ATTENTION_ROWS], sum[TENSOR_ATTENTION_ROWS];
    const struct tensor_attention_rows args = {.scores = self->scores,
        .row_count = self->row_count,
        .first = self->first,
        .end = self->end,
        .most = most,
        .sum = sum};

    for (uint32_t r = 0; r < self->row_count && cache->softcap > 0; r++) {
        float *scores = self->scores + (size_t)r * TENSOR_ATTENTION_STRIDE + self->first[r];
        tensor_softcap(scores, self->end[r] - self->first[r], cache->softcap, scores);
    }
    self->kernels->soften(&args);
    for (uint32_t r = 0; r < self->row_count; r++) {
        float *state = self->states + r * tensor_attention_state_floats(&cache->layout);
        if (self->first[r] == self->end[r])
            continue;
        *state_maximum(&cache->layout, state) = most[r];
        *state_sum(&cache->layout, state) = sum[r];
    }
}

/* Adds the values of [first, end), counted from the split's start, to the rows from row on. */
static void add_values(
    const struct split *self, uint32_t first, uint32_t end, uint32_t row, uint32_t row_count)
{
    const struct tensor_attention_cache *cache = self->cache;
    const struct tensor_attention_layout *layout = &cache->layout;
    struct tensor_attention_values args = {.type = layout->type,
        .panel_bytes = value_panel_bytes(layout),
        .vector_count = layout->value_stride / GROUP,
        .row_count = row_count,
        .sum_stride = tensor_attention_state_floats(layout)};

    args.sums = self->states + row * args.sum_stride;
    for (uint32_t at = first; at < end;) {
        args.weights = self->scores + (size_t)row * TENSOR_ATTENTION_STRIDE + at;
        args.piece_count = 0;
        while (at < end && args.piece_count < TENSOR_ATTENTION_PIECES) {
            uint32_t slot = (self->start + at) % layout->page_tokens;
            uint32_t room = layout->page_tokens - slot, count = end - at < room ? end - at : room;
            args.pieces[args.piece_count++] = (struct tensor_attention_piece){
                .values = page_of(cache, self->start + at) + layout->values,
                .next = self->streams ? values_after(cache, self->start, self->start + at) : NULL,
                .slot = slot,
                .count = count};
            at += count;
        }
        self->kernels->values(&args);
    }
}

/* The scale of a value goes into its weight. */
static void scale_weights(const struct split *self, uint32_t row)
{
    const struct tensor_attention_layout *layout = &self->cache->layout;
    float *weights = self->scores + (size_t)row * TENSOR_ATTENTION_STRIDE;
    uint32_t at = self->first[row], end = self->end[row];

    while (at < end) {
        uint32_t slot = (self->start + at) % layout->page_tokens;
        uint32_t room = layout->page_tokens - slot, count = end - at < room ? end - at : room;
        const uint8_t *page = page_of(self->cache, self->start + at);
        const float *scales = (const float *)(const void *)(page + layout->value_scales);
        self->kernels->multiply(weights + at, scales + slot, count);
        at += count;
    }
}

/* Rows see different positions at the ends of their spans only: what all see goes through the wide
 * kernel, the rest row by row, so that no row ever touches a position that it does not see. */
static void sum_values(const struct split *self)
{
    uint32_t low = 0, high = TENSOR_ATTENTION_SPLIT;

    for (uint32_t r = 0; r < self->row_count; r++) {
        low = self->first[r] > low ? self->first[r] : low;
        high = self->end[r] < high ? self->end[r] : high;
    }
    bool shared = low < high;
    for (uint32_t r = 0; r < self->row_count; r++)
        if (self->first[r] < (shared ? low : self->end[r]))
            add_values(self, self->first[r], shared ? low : self->end[r], r, 1);
    if (!shared)
        return;
    add_values(self, low, high, 0, self->row_count);
    for (uint32_t r = 0; r < self->row_count; r++)
        if (high < self->end[r])
            add_values(self, high, self->end[r], r, 1);
}

void tensor_attention_split(const struct tensor_attention_cache *cache,
    const struct tensor_attention_row *rows, uint32_t row_count, uint32_t split, float *states,
    float *scratch)
{
    struct split self = {.cache = cache,
        .kernels = kernels_get(),
        .start = split * TENSOR_ATTENTION_SPLIT,
        .row_count = row_count,
        /* A full tile of several tokens is one of many that read these pages one after another. */
        .streams = row_count < TENSOR_ATTENTION_ROWS || rows[0].end == rows[row_count - 1].end,
        .states = states,
        .scores = scratch};
    uint32_t first = TENSOR_ATTENTION_SPLIT, end = 0;

    base_assert(row_count >= 1 && row_count <= TENSOR_ATTENTION_ROWS);
    self.q = self.scores + (size_t)TENSOR_ATTENTION_ROWS * TENSOR_ATTENTION_STRIDE;
    self.gathered = self.q + query_floats(&cache->layout);
    for (uint32_t r = 0; r < TENSOR_ATTENTION_ROWS; r++) {
        tensor_attention_begin(
            &cache->layout, states + r * tensor_attention_state_floats(&cache->layout));
        if (r >= row_count)
            continue;
        base_assert(rows[r].first < rows[r].end && rows[r].end <= cache->position_count);
        uint32_t from = rows[r].first > self.start ? rows[r].first - self.start : 0;
        uint32_t to = rows[r].end > self.start ? rows[r].end - self.start : 0;
        self.end[r] = to < TENSOR_ATTENTION_SPLIT ? to : TENSOR_ATTENTION_SPLIT;
        self.first[r] = from < self.end[r] ? from : self.end[r];
        if (self.first[r] == self.end[r])
            continue;
        first = self.first[r] < first ? self.first[r] : first;
        end = self.end[r] > end ? self.end[r] : end;
    }
    if (first >= end)
        return;
    pack_queries(&self, rows);
    score(&self, first, end);
    soften(&self);
    for (uint32_t r = 0; r < row_count && cache->layout.type == TENSOR_Q8_0; r++)
        scale_weights(&self, r);
    sum_values(&self);
}

void tensor_attention_merge(
    const struct tensor_attention_layout *layout, float *state, const float *partial)
{
    float most = state[layout->value_stride], other = partial[layout->value_stride];
    float common = other > most ? other : most;

    if (!isfinite(other)) /* it saw nothing */
        return;
    float a = tensor_exp(most - common), b = tensor_exp(other - common);
    kernels_get()->blend(state, a, partial, b, layout->value_stride);
    *state_maximum(layout, state) = common;
    *state_sum(layout, state) =
        *state_sum(layout, state) * a + partial[layout->value_stride + 1] * b;
}

void tensor_attention_finish(
    const struct tensor_attention_layout *layout, float *state, const float *sink, float *y)
{
    float most = *state_maximum(layout, state), sum = *state_sum(layout, state), factor = 1;

    if (sink != NULL) {
        float common = *sink > most ? *sink : most;
        factor = tensor_exp(most - common);
        sum = sum * factor + tensor_exp(*sink - common);
    }
    for (uint32_t i = 0; i < layout->value_dim; i++)
        y[i] = state[i] * factor / sum;
}
