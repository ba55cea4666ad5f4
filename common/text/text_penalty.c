#include "text_penalty.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_cut.h"
#include "text_stream.h"
#include <math.h>
#include <string.h>

#define REPEAT_LAST_N_DEFAULT 64
#define DRY_BASE_DEFAULT      1.75
#define DRY_ALLOWED_DEFAULT   2u
#define DRY_PENALTY_MAX       1e30 /* no logit stands up to it, and it overflows nothing */

/* Index of id in candidates sorted by id, or count. */
static size_t find_id(const struct text_candidate *candidates, size_t count, uint32_t id)
{
    size_t low = 0, high = count;

    if (id < count && candidates[id].id == id)
        return id;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (candidates[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && candidates[low].id == id ? low : count;
}

/*
 * Tables of what history says of ids are of fixed size: candidates come in stretches. Index of id
 * in such a stretch, or count.
 */
enum { STRETCH = 1024 };

static size_t find_in_stretch(const struct text_candidate *part, size_t count, uint32_t id)
{
    uint32_t first = part[0].id, last = part[count - 1].id;

    if (id < first || id > last)
        return count;
    return last - first == count - 1 ? id - first : find_id(part, count, id);
}

/* ---- penalties ---- */

static bool repeats(const struct text_sampling *sampling)
{
    return sampling->repeat_penalty != 0.0f && sampling->repeat_penalty != 1.0f;
}

static bool penalises(const struct text_sampling *sampling)
{
    return repeats(sampling) || sampling->presence_penalty != 0.0f ||
           sampling->frequency_penalty != 0.0f;
}

static size_t window_count(const struct text_sampling *sampling, size_t history_count)
{
    size_t window = sampling->repeat_last_n > 0 ? sampling->repeat_last_n : REPEAT_LAST_N_DEFAULT;

    return window < history_count ? window : history_count;
}

static float penalised(const struct text_sampling *sampling, float logit, uint32_t times)
{
    if (repeats(sampling))
        logit = logit <= 0.0f ? logit * sampling->repeat_penalty : logit / sampling->repeat_penalty;
    return logit - ((float)times * sampling->frequency_penalty + sampling->presence_penalty);
}

static void penalise(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *window, size_t window_tokens)
{
    uint32_t times[STRETCH];

    for (size_t base = 0; base < count; base += STRETCH) {
        struct text_candidate *part = candidates + base;
        size_t part_count = count - base < STRETCH ? count - base : STRETCH;

        memset(times, 0, sizeof(times));
        for (size_t i = 0; i < window_tokens; i++) {
            size_t at = find_in_stretch(part, part_count, window[i]);
            if (at < part_count)
                times[at]++;
        }
        for (size_t i = 0; i < part_count; i++) {
            if (times[i] > 0)
                part[i].logit = penalised(sampling, part[i].logit, times[i]);
        }
    }
}

/* ---- DRY ---- */

/* Tokens that would go on with a repeat, and how long that repeat is already. */
struct dry {
    size_t count;
    struct {
        uint32_t id;
        uint32_t length;
    } rows[TEXT_DRY_WINDOW];
};

static bool breaks(const struct text_sampling *sampling, uint32_t id)
{
    return sampling->dry_breakers != NULL && id < sampling->dry_breaker_ids &&
           (sampling->dry_breakers[id / 8] >> (id % 8) & 1) != 0;
}

static bool contains(const char *text, size_t bytes, const struct text_stop *what)
{
    for (size_t at = 0; at + what->bytes <= bytes; at++)
        if (memcmp(text + at, what->data, what->bytes) == 0)
            return true;
    return false;
}

int text_dry_breakers_new(const struct text_tokenizer *tokenizer, const struct text_stop *breakers,
    size_t count, uint8_t **ret_bits)
{
    static const struct text_stop usual[] = {{"\n", 1}, {":", 1}, {"\"", 1}, {"*", 1}};
    size_t vocab = text_vocab_size(tokenizer);
    uint8_t *bits = base_alloc_zeroed(vocab / 8 + 1, 1);

    if (bits == NULL)
        return BASE_NOMEM;
    if (count == 0) {
        breakers = usual;
        count = sizeof(usual) / sizeof(usual[0]);
    }
    for (uint32_t id = 0; id < vocab; id++) {
        size_t bytes;
        const char *piece = text_piece(tokenizer, id, &bytes);
        for (size_t i = 0; i < count; i++)
            if (contains(piece, bytes, &breakers[i]))
                bits[id / 8] |= (uint8_t)(1u << (id % 8));
    }
    *ret_bits = bits;
    return BASE_OK;
}

static uint32_t allowed_length(const struct text_sampling *sampling)
{
    return sampling->dry_allowed_length > 0 ? sampling->dry_allowed_length : DRY_ALLOWED_DEFAULT;
}

/* How many of the newest tokens a repeat may consist of: those behind the newest breaker. */
static size_t repeat_limit(
    const struct text_sampling *sampling, const uint32_t *window, size_t count)
{
    size_t length = 0;

    while (length < count && !breaks(sampling, window[count - 1 - length]))
        length++;
    return length;
}

/*
 * For each earlier place, how far the text that ends there is the text that ends now: the
 * Z-function of the window read backwards, in time in proportion to its length.
 */
static void dry_find(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, struct dry *ret)
{
    uint16_t same[TEXT_DRY_WINDOW];
    size_t count = sampling->dry_last_n > 0 && sampling->dry_last_n < TEXT_DRY_WINDOW
                       ? sampling->dry_last_n
                       : TEXT_DRY_WINDOW;
    size_t left = 0, right = 0;

    ret->count = 0;
    if (count > history_count)
        count = history_count;
    const uint32_t *window = history + (history_count - count);
    size_t longest = repeat_limit(sampling, window, count);
    if (longest < allowed_length(sampling))
        return;
#define BACK(i) window[count - 1 - (i)]
    for (size_t i = 1; i < count; i++) {
        size_t length = 0;
        if (i < right)
            length = same[i - left] < right - i ? same[i - left] : right - i;
        while (i + length < count && BACK(length) == BACK(i + length))
            length++;
        same[i] = (uint16_t)length;
        if (i + length > right) {
            left = i;
            right = i + length;
        }
        if (length > longest)
            length = longest;
        if (length < allowed_length(sampling))
            continue;
        ret->rows[ret->count].id = BACK(i - 1);
        ret->rows[ret->count++].length = (uint32_t)length;
    }
#undef BACK
}

static double dry_penalty(const struct text_sampling *sampling, uint32_t length)
{
    double base = sampling->dry_base != 0.0f ? (double)sampling->dry_base : DRY_BASE_DEFAULT;
    double penalty = (double)sampling->dry_multiplier;

    for (uint32_t i = allowed_length(sampling); i < length && penalty < DRY_PENALTY_MAX; i++)
        penalty *= base;
    return penalty < DRY_PENALTY_MAX ? penalty : DRY_PENALTY_MAX;
}

static void dry_apply(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const struct dry *dry)
{
    uint32_t longest[STRETCH];

    for (size_t base = 0; base < count && dry->count > 0; base += STRETCH) {
        struct text_candidate *part = candidates + base;
        size_t part_count = count - base < STRETCH ? count - base : STRETCH;

        memset(longest, 0, sizeof(longest));
        for (size_t i = 0; i < dry->count; i++) {
            size_t at = find_in_stretch(part, part_count, dry->rows[i].id);
            if (at < part_count && dry->rows[i].length > longest[at])
                longest[at] = dry->rows[i].length;
        }
        for (size_t i = 0; i < part_count; i++) {
            if (longest[i] > 0)
                part[i].logit = (float)((double)part[i].logit - dry_penalty(sampling, longest[i]));
        }
    }
}

/* ---- all of them ---- */

size_t text_penalty_lowered(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, bool *ret_lifts)
{
    size_t lowered = 0;
    struct dry dry;

    *ret_lifts = false;
    if (penalises(sampling)) {
        *ret_lifts = (repeats(sampling) && sampling->repeat_penalty < 1.0f) ||
                     !(sampling->presence_penalty >= 0.0f) ||
                     !(sampling->frequency_penalty >= 0.0f);
        lowered += window_count(sampling, history_count);
    }
    if (sampling->dry_multiplier > 0.0f) {
        dry_find(sampling, history, history_count, &dry);
        lowered += dry.count;
    }
    for (size_t i = 0; i < sampling->bias_count; i++) {
        *ret_lifts |= !(sampling->biases[i].bias <= 0.0f);
        lowered += sampling->biases[i].bias < 0.0f;
    }
    return lowered;
}

void text_penalty_apply(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count)
{
    struct dry dry;

    text_cut_sort_by_id(candidates, count);
    for (size_t i = 0; i < sampling->bias_count; i++) {
        size_t at = find_id(candidates, count, sampling->biases[i].id);
        if (at < count)
            candidates[at].logit += sampling->biases[i].bias;
    }
    if (penalises(sampling)) {
        size_t window = window_count(sampling, history_count);
        if (window > 0)
            penalise(sampling, candidates, count, history + (history_count - window), window);
    }
    if (sampling->dry_multiplier > 0.0f) {
        dry_find(sampling, history, history_count, &dry);
        dry_apply(sampling, candidates, count, &dry);
    }
    for (size_t i = 0; i < banned_count; i++) {
        size_t at = find_id(candidates, count, banned[i]);
        if (at < count)
            candidates[at].logit = -INFINITY;
    }
    for (size_t i = 0; i < count; i++) {
        if (isnan(candidates[i].logit))
            candidates[i].logit = -INFINITY;
    }
}
