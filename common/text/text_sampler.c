#include "text_sampler.h"

#include "base_assert.h"
#include "text_cut.h"
#include "text_number.h"
#include "text_penalty.h"
#include <math.h>

#define XTC_THRESHOLD_DEFAULT 0.1

/* Uses of random numbers at one position. */
enum stream {
    STREAM_DRAW = 0,
    STREAM_XTC = 1,
};

static double random_of(uint64_t seed, uint64_t position, enum stream stream)
{
    const uint32_t counter[4] = {(uint32_t)position, (uint32_t)(position >> 32), stream, 0};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];

    text_philox(counter, key, words);
    return ((double)(words[0] >> 5) * 67108864.0 + (double)(words[1] >> 6)) / 9007199254740992.0;
}

double text_random(uint64_t seed, uint64_t position)
{
    return random_of(seed, position, STREAM_DRAW);
}

static bool is_greedy(const struct text_sampling *sampling)
{
    return !(sampling->temperature > 0.0f);
}

uint32_t text_candidates_needed(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, size_t banned_count, uint32_t vocab_size, uint32_t limit)
{
    uint64_t needed = is_greedy(sampling) ? 1 : sampling->top_k;
    bool lifts;

    /* top-n-sigma comes before top-k and wants the spread of all logits. */
    if (needed == 0 || (!is_greedy(sampling) && sampling->top_n_sigma > 0.0f))
        return 0;
    /* Every id that is pushed down may leave a hole among the largest; none may be lifted. */
    needed += text_penalty_lowered(sampling, history, history_count, &lifts);
    needed += banned_count;
    if (lifts)
        return 0;
    if (needed > vocab_size)
        needed = vocab_size;
    return needed <= limit ? (uint32_t)needed : 0;
}

static const struct text_candidate *best_of(const struct text_candidate *candidates, size_t count)
{
    const struct text_candidate *best = &candidates[0];

    for (size_t i = 1; i < count; i++) {
        if (text_cut_before(&candidates[i], best))
            best = &candidates[i];
    }
    return best;
}

static bool is_share(float p)
{
    return p > 0.0f && p < 1.0f;
}

static void cut(const struct text_sampling *sampling, struct text_cut *left, uint64_t position)
{
    double threshold =
        sampling->xtc_threshold > 0.0f ? (double)sampling->xtc_threshold : XTC_THRESHOLD_DEFAULT;

    if (sampling->top_n_sigma > 0.0f)
        text_cut_top_n_sigma(left, (double)sampling->top_n_sigma);
    if (sampling->top_k > 0)
        text_cut_top_k(left, sampling->top_k);
    if (is_share(sampling->typical_p))
        text_cut_typical(left, (double)sampling->typical_p, sampling->min_keep);
    if (is_share(sampling->top_p))
        text_cut_top_p(left, (double)sampling->top_p, sampling->min_keep);
    if (sampling->min_p > 0.0f)
        text_cut_min_p(left, (double)sampling->min_p, sampling->min_keep);
    if (sampling->xtc_probability > 0.0f && threshold <= 0.5 &&
        random_of(sampling->seed, position, STREAM_XTC) < (double)sampling->xtc_probability)
        text_cut_xtc(left, threshold, sampling->min_keep);
}

/* Between temperature - range and temperature + range, the higher the less the model is sure. */
static double temperature_of(const struct text_sampling *sampling, struct text_cut *left)
{
    double temperature = (double)sampling->temperature, range = (double)sampling->dynatemp_range;
    double exponent =
        sampling->dynatemp_exponent > 0.0f ? (double)sampling->dynatemp_exponent : 1.0;

    if (!(range > 0.0) || left->count < 2)
        return temperature;
    double low = temperature > range ? temperature - range : 0.0;
    double share = text_cut_entropy_share(left);
    double power = share > 0.0 ? text_exp(exponent * text_log(share)) : 0.0;
    return low + (temperature + range - low) * power;
}

static uint32_t draw(struct text_cut *left, double temperature, double r)
{
    struct text_candidate first = *text_cut_at(left, 0);
    uint32_t id = first.id;
    double sum = 0.0;

    if (!(temperature > 0.0))
        return id;
    double total = text_cut_total(left, temperature);
    for (size_t i = 0; i < left->count; i++) {
        const struct text_candidate *candidate = text_cut_at(left, i);
        double weight = text_cut_weight(candidate, first.logit, temperature);
        if (weight <= 0.0)
            break; /* rounding of the sums left nothing: the last one possible */
        id = candidate->id;
        sum += weight;
        if (sum > r * total)
            break;
    }
    return id;
}

uint32_t text_sample(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count, uint64_t position)
{
    struct text_cut left;

    base_assert(count >= 1);
    text_penalty_apply(sampling, candidates, count, history, history_count, banned, banned_count);
    const struct text_candidate *best = best_of(candidates, count);
    if (is_greedy(sampling) || best->logit == -INFINITY)
        return best->id;

    text_cut_init(&left, candidates, count);
    cut(sampling, &left, position);
    double temperature = temperature_of(sampling, &left);
    return draw(&left, temperature, text_random(sampling->seed, position));
}
