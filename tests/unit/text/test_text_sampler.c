#include "text_number.h"
#include "text_sampler.h"
#include "text_test.h"
#include <math.h>

Test(text_sampler, philox_gives_the_known_answers)
{
    /* Random123's kat_vectors: counter, key, result. */
    static const uint32_t rows[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
            0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
            0x94fdcceb, 0x5001e420, 0x24126ea1},
    };

    for (size_t i = 0; i < 3; i++) {
        uint32_t result[4];
        text_philox(rows[i], rows[i] + 4, result);
        cr_assert_arr_eq(result, rows[i] + 6, sizeof(result));
    }
}

Test(text_sampler, random_numbers_depend_on_seed_and_position_only)
{
    double sum = 0;

    cr_assert_eq(text_random(0, 0),
        (double)(0x6627e8d5u >> 5) / 134217728.0 + (double)(0xe169c58du >> 6) / 9007199254740992.0);
    cr_assert_neq(text_random(1, 0), text_random(0, 0));
    cr_assert_neq(text_random(0, 1), text_random(0, 0));
    cr_assert_neq(text_random(1ull << 32, 0), text_random(0, 0));
    cr_assert_neq(text_random(0, 1ull << 32), text_random(0, 0));
    for (uint64_t i = 0; i < 10000; i++) {
        double r = text_random(42, i);
        cr_assert(r >= 0 && r < 1);
        sum += r;
    }
    cr_assert_float_eq(sum / 10000, 0.5, 0.01);
}

Test(text_sampler, exp_is_exact_to_the_last_bits)
{
    uint64_t state = 3;

    cr_assert_eq(text_exp(0.0), 1.0);
    cr_assert_eq(text_exp(-INFINITY), 0.0);
    cr_assert_eq(text_exp(-1e300), 0.0);
    cr_assert_eq(text_exp(NAN), 0.0);
    for (int i = 0; i < 100000; i++) {
        double x = -(double)text_test_random(&state) / 2147483648.0 * (i % 2 == 0 ? 700.0 : 3.0);
        cr_assert_float_eq(text_exp(x) / exp(x), 1.0, 1e-15, "%.17g", x);
    }
}

Test(text_sampler, exp_of_many_is_exp_of_each)
{
    const double odd[TEXT_EXP_LANES] = {
        0.0, -INFINITY, -708.0, -708.1, NAN, 1.0, INFINITY, -1e-300};
    uint64_t state = 9;

    for (int round = 0; round < 20000; round++) {
        double values[TEXT_EXP_LANES], expected[TEXT_EXP_LANES];
        for (int i = 0; i < TEXT_EXP_LANES; i++) {
            values[i] = round == 0 ? odd[i]
                                   : -(double)text_test_random(&state) / 2147483648.0 *
                                         (round % 2 == 0 ? 400.0 : 3.0);
            expected[i] = text_exp(values[i]);
        }
        text_exp_lanes(values);
        cr_assert_eq(memcmp(values, expected, sizeof(values)), 0, "round %d", round);
    }
}

/* Candidates with the ids 0, 1, 2... */
static size_t fill(struct text_candidate *candidates, const float *logits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        candidates[i] = (struct text_candidate){(uint32_t)i, logits[i]};
    return count;
}

static uint32_t pick(const struct text_sampling *sampling, const float *logits, size_t count,
    const uint32_t *history, size_t history_count, uint64_t position)
{
    struct text_candidate candidates[64];

    fill(candidates, logits, count);
    return text_sample(sampling, candidates, count, history, history_count, NULL, 0, position);
}

/* Which ids are drawn at all over many positions, as a bit mask. */
static uint64_t drawn(const struct text_sampling *sampling, const float *logits, size_t count)
{
    uint64_t mask = 0;

    for (uint64_t position = 0; position < 3000; position++)
        mask |= 1ull << pick(sampling, logits, count, NULL, 0, position);
    return mask;
}

Test(text_sampler, greedy_takes_the_first_of_the_largest)
{
    struct text_sampling greedy = {.top_k = 3, .top_p = 0.1f, .seed = 9};
    const float ties[] = {1, 5, 5, 2}, odd[] = {NAN, -INFINITY, -3, NAN};
    const float none[] = {-INFINITY, NAN};
    struct text_candidate backwards[] = {{3, 2}, {2, 5}, {1, 5}, {0, 1}};

    cr_assert_eq(pick(&greedy, ties, 4, NULL, 0, 0), 1);
    cr_assert_eq(text_sample(&greedy, backwards, 4, NULL, 0, NULL, 0, 0), 1);
    cr_assert_eq(pick(&greedy, odd, 4, NULL, 0, 0), 2);
    cr_assert_eq(pick(&greedy, none, 2, NULL, 0, 0), 0);
    greedy.temperature = NAN;
    cr_assert_eq(pick(&greedy, ties, 4, NULL, 0, 0), 1);
}

Test(text_sampler, draws_follow_the_probabilities)
{
    struct text_sampling sampling = {.temperature = 1, .seed = 5};
    const float logits[] = {0, 0.69314718f, -0.69314718f, -INFINITY}; /* 2 : 4 : 1 : 0 */
    int counts[4] = {0};

    for (uint64_t position = 0; position < 7000; position++)
        counts[pick(&sampling, logits, 4, NULL, 0, position)]++;
    cr_assert(
        abs(counts[0] - 2000) < 120 && abs(counts[1] - 4000) < 120, "%d %d", counts[0], counts[1]);
    cr_assert(abs(counts[2] - 1000) < 120 && counts[3] == 0, "%d %d", counts[2], counts[3]);
    sampling.temperature = 0.5f; /* 4 : 16 : 1 */
    memset(counts, 0, sizeof(counts));
    for (uint64_t position = 0; position < 2100; position++)
        counts[pick(&sampling, logits, 4, NULL, 0, position)]++;
    cr_assert(abs(counts[0] - 400) < 70 && abs(counts[2] - 100) < 40);
    cr_assert_eq(pick(&sampling, logits, 4, NULL, 0, 77), pick(&sampling, logits, 4, NULL, 0, 77));
}

/*
 * Over many positions each token comes as often as its probability says: the chi-square statistic
 * of a seed that is fixed, so that the outcome is too, against its 99.9 % quantile.
 */
static double chi_square(const struct text_sampling *sampling, const float *logits,
    const double *shares, size_t count, int draws)
{
    int counts[64] = {0};
    double statistic = 0, total = 0;

    for (size_t i = 0; i < count; i++)
        total += shares[i];
    for (int position = 0; position < draws; position++)
        counts[pick(sampling, logits, count, NULL, 0, (uint64_t)position)]++;
    for (size_t i = 0; i < count; i++) {
        double expected = draws * shares[i] / total;
        if (expected > 0)
            statistic += pow(counts[i] - expected, 2) / expected;
        else
            cr_assert_eq(counts[i], 0, "%zu was cut", i);
    }
    return statistic;
}

Test(text_sampler, draws_pass_a_chi_square_test)
{
    float logits[24];
    double shares[24];
    struct text_sampling s = {.temperature = 0.7f, .seed = 1};

    for (int i = 0; i < 24; i++) {
        logits[i] = (float)((i * 7) % 24) / 8.0f;
        shares[i] = exp((double)logits[i] / 0.7);
    }
    cr_expect_lt(chi_square(&s, logits, shares, 24, 20000), 49.7); /* 23 degrees of freedom */
    s.seed = UINT64_C(1) << 63;
    cr_expect_lt(chi_square(&s, logits, shares, 24, 20000), 49.7);
    s.top_k = 8; /* the 8 best, as likely among themselves as before */
    for (int i = 0; i < 24; i++)
        shares[i] = (i * 7) % 24 >= 16 ? shares[i] : 0;
    cr_expect_lt(chi_square(&s, logits, shares, 24, 20000), 24.3); /* 7 */
    /* Half of the time XTC takes all but the eighth away; the others keep their shares. */
    s.xtc_probability = 0.5f;
    s.xtc_threshold = 0.01f;
    double total = 0;
    for (int i = 0; i < 24; i++)
        total += shares[i];
    for (int i = 0; i < 24; i++)
        shares[i] = shares[i] / total / 2 + ((i * 7) % 24 == 16 ? 0.5 : 0);
    cr_expect_lt(chi_square(&s, logits, shares, 24, 20000), 24.3);
}

/* An even choice is drawn at temperature + range, a sure one at temperature - range. */
Test(text_sampler, dynamic_temperature_follows_the_entropy)
{
    struct text_sampling s = {.temperature = 1, .dynatemp_range = 1, .seed = 6};
    const float sure[] = {0, 400}, even[] = {3, 3, 3, 3};
    float some[24];
    double shares[24], entropy = 0, total = 0;

    for (uint64_t position = 0; position < 300; position++)
        cr_assert_eq(pick(&s, sure, 2, NULL, 0, position), 1);
    cr_expect_lt(chi_square(&s, even, (const double[]){1, 1, 1, 1}, 4, 8000), 16.3);
    s.dynatemp_exponent = 0.5f;
    for (int i = 0; i < 24; i++) {
        some[i] = (float)i / 6.0f;
        total += shares[i] = exp((double)some[i]);
    }
    for (int i = 0; i < 24; i++)
        entropy -= shares[i] / total * log(shares[i] / total);
    double temperature = 2 * pow(entropy / log(24), 0.5);
    for (int i = 0; i < 24; i++)
        shares[i] = exp((double)some[i] / temperature);
    cr_expect_lt(chi_square(&s, some, shares, 24, 20000), 49.7);
}

/* Each pair of neighbours in the chain, with numbers for which the other order differs. */
Test(text_sampler, order_of_the_chain)
{
    const float logits[] = {logf(0.1f), logf(0.4f), logf(0.2f), logf(0.3f)};
    const float wide[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4.2f};
    struct text_sampling s = {.temperature = 1, .top_n_sigma = 1, .top_k = 10};

    /* sigma of all eleven is 1.57; of the ten best alike 1.6, of the two best 0.1 */
    cr_expect_eq(drawn(&s, wide, 11), 0x600);
    s.top_k = 2;
    cr_expect_eq(drawn(&s, wide, 11), 0x600, "top-n-sigma is before top-k");
    /* top-k leaves 4/7 and 3/7, of which the second is the typical one; of all it is 0.3 */
    s = (struct text_sampling){.temperature = 1, .top_k = 2, .typical_p = 0.1f};
    cr_expect_eq(drawn(&s, logits, 4), 0x2, "typical is behind top-k");
    s.top_k = 0;
    cr_expect_eq(drawn(&s, logits, 4), 0x8);
    /* typical leaves 0.3 and 0.2; top-p of 0.55 then only the first */
    s = (struct text_sampling){.temperature = 1, .typical_p = 0.45f, .top_p = 0.55f};
    cr_expect_eq(drawn(&s, logits, 4), 0x8, "top-p is behind typical");
    /* XTC sees what min-p left: without it, the last one above the threshold is another */
    s = (struct text_sampling){
        .temperature = 1, .min_p = 0.6f, .xtc_probability = 1, .xtc_threshold = 0.15f};
    cr_expect_eq(drawn(&s, logits, 4), 0x8, "XTC is behind min-p");
    /* XTC before the temperature: at 5 all would be above the threshold */
    s = (struct text_sampling){.temperature = 5, .xtc_probability = 1, .xtc_threshold = 0.25f};
    cr_expect_eq(drawn(&s, logits, 4), 0xd, "the temperature is behind XTC");
    /* A minimum to keep for each of them. */
    s = (struct text_sampling){.temperature = 1, .top_p = 0.01f, .min_keep = 3};
    cr_expect_eq(drawn(&s, logits, 4), 0xe);
    s = (struct text_sampling){.temperature = 1, .min_p = 0.99f, .min_keep = 2};
    cr_expect_eq(drawn(&s, logits, 4), 0xa);
    s = (struct text_sampling){.temperature = 1, .xtc_probability = 1, .min_keep = 3};
    cr_expect_eq(drawn(&s, logits, 4), 0xf);
}

/* The draw takes the first whose running sum exceeds r times the total, in falling order. */
Test(text_sampler, a_draw_is_the_inverse_of_the_running_sum)
{
    struct text_sampling sampling = {.temperature = 1, .seed = 11};
    const float logits[] = {0, 1.0986123f}; /* 1/4 and 3/4, the second comes first */

    for (uint64_t position = 0; position < 500; position++) {
        double r = text_random(11, position);
        if (fabs(r - 0.75) > 1e-6)
            cr_assert_eq(pick(&sampling, logits, 2, NULL, 0, position), r < 0.75 ? 1 : 0);
    }
}

Test(text_sampler, cuts_keep_what_they_should)
{
    const float logits[] = {logf(0.1f), logf(0.4f), logf(0.2f), logf(0.3f)};
    struct text_sampling sampling = {.temperature = 1, .top_k = 2};

    cr_expect_eq(drawn(&sampling, logits, 4), 0xa);
    sampling.top_k = 100;
    cr_expect_eq(drawn(&sampling, logits, 4), 0xf);
    sampling = (struct text_sampling){.temperature = 1, .top_p = 0.69f};
    cr_expect_eq(drawn(&sampling, logits, 4), 0xa);
    sampling.top_p = 0.71f; /* the one that crosses the limit is kept */
    cr_expect_eq(drawn(&sampling, logits, 4), 0xe);
    sampling.top_p = 0.0001f;
    cr_expect_eq(drawn(&sampling, logits, 4), 0x2);
    sampling.top_p = 1.0f;
    cr_expect_eq(drawn(&sampling, logits, 4), 0xf);
    sampling = (struct text_sampling){.temperature = 1, .min_p = 0.49f}; /* of 0.4: 0.196 */
    cr_expect_eq(drawn(&sampling, logits, 4), 0xe);
    sampling.min_p = 2.0f;
    cr_expect_eq(drawn(&sampling, logits, 4), 0x2);
    /* top-p looks at what top-k left, min-p at the probabilities before the temperature. */
    sampling = (struct text_sampling){.temperature = 1, .top_k = 2, .top_p = 0.57f};
    cr_expect_eq(drawn(&sampling, logits, 4), 0x2);
    sampling = (struct text_sampling){.temperature = 20, .min_p = 0.8f};
    cr_expect_eq(drawn(&sampling, logits, 4), 0x2);
    /* Exactly half, reached by the first: a prefix whose share equals top_p is enough. */
    sampling = (struct text_sampling){.temperature = 1, .top_p = 0.5f};
    cr_expect_eq(drawn(&sampling, (const float[]){0, 0}, 2), 0x1);
}

Test(text_sampler, penalties_biases_and_bans)
{
    struct text_sampling greedy = {.repeat_penalty = 2};
    const float logits[] = {4, 3, -1, -1.5f};
    const uint32_t history[] = {9, 2, 0, 0};
    const uint32_t banned[] = {1, 0};
    struct text_candidate candidates[4];

    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 1);             /* 4 / 2 */
    cr_expect_eq(pick(&greedy, logits + 2, 2, (uint32_t[]){0}, 1, 0), 1); /* -1 * 2 < -1.5 */
    greedy = (struct text_sampling){.frequency_penalty = 0.49f};
    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 0); /* 4 - 2 * 0.49 */
    greedy.frequency_penalty = 0.51f;
    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 1);
    greedy.repeat_last_n = 1; /* sees one of the two */
    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 0);
    greedy = (struct text_sampling){.presence_penalty = 0.9f};
    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 0); /* once, however often */
    greedy.presence_penalty = 1.1f;
    cr_expect_eq(pick(&greedy, logits, 4, history, 4, 0), 1);

    static const struct text_logit_bias biases[] = {{2, 6}, {0, -INFINITY}, {77, 100}};
    greedy = (struct text_sampling){.biases = biases, .bias_count = 3};
    cr_expect_eq(pick(&greedy, logits, 4, NULL, 0, 0), 2);
    greedy = (struct text_sampling){0};
    fill(candidates, logits, 4);
    cr_expect_eq(text_sample(&greedy, candidates, 4, NULL, 0, banned, 2, 0), 2);
}

/* The default window is 64 tokens, and a long one is counted right over many candidates. */
Test(text_sampler, penalty_windows)
{
    enum { VOCAB = 5000, HISTORY = 300 };
    static struct text_candidate candidates[VOCAB];
    static uint32_t history[HISTORY];
    struct text_sampling greedy = {.presence_penalty = 10};

    for (uint32_t i = 0; i < HISTORY; i++)
        history[i] = i * 13;
    for (int window = 0; window < 2; window++) {
        greedy.repeat_last_n = window == 0 ? 0 : 200;
        for (uint32_t i = 0; i < VOCAB; i++) /* the last of the history is the best, and so on */
            candidates[i] =
                (struct text_candidate){i, i % 13 == 0 && i <= 299 * 13 ? (float)i : -99};
        uint32_t expected = (HISTORY - 1 - (window == 0 ? 64 : 200)) * 13;
        greedy.presence_penalty = 1e6f;
        cr_expect_eq(
            text_sample(&greedy, candidates, VOCAB, history, HISTORY, NULL, 0, 0), expected);
    }
}

Test(text_sampler, how_many_candidates_are_needed)
{
    static const struct text_logit_bias up = {1, 0.5f}, down[] = {{1, -1}, {2, 0}};
    const uint32_t history[100] = {0};
    struct text_sampling s = {0};

#define NEEDED(banned, limit) text_candidates_needed(&s, history, 100, banned, 1000, limit)
    cr_expect_eq(NEEDED(0, 2048), 1);
    cr_expect_eq(NEEDED(3, 2048), 4);
    s.repeat_penalty = 1.1f;
    cr_expect_eq(NEEDED(0, 2048), 65);
    cr_expect_eq(NEEDED(0, 64), 0);
    s.repeat_penalty = 0.9f; /* lifts */
    cr_expect_eq(NEEDED(0, 2048), 0);
    s = (struct text_sampling){.presence_penalty = -1};
    cr_expect_eq(NEEDED(0, 2048), 0);
    s = (struct text_sampling){.temperature = 1};
    cr_expect_eq(NEEDED(0, 2048), 0);
    s.top_p = 0.9f;
    cr_expect_eq(NEEDED(0, 2048), 0);
    s.top_k = 40;
    cr_expect_eq(NEEDED(0, 2048), 40);
    s.top_k = 5000;
    cr_expect_eq(NEEDED(0, 2048), 1000); /* all there are */
    cr_expect_eq(NEEDED(0, 999), 0);
    s = (struct text_sampling){.biases = &up, .bias_count = 1};
    cr_expect_eq(NEEDED(0, 2048), 0);
    s = (struct text_sampling){.biases = down, .bias_count = 2};
    cr_expect_eq(NEEDED(0, 2048), 2);
    s.repeat_penalty = 1.5f;
    s.repeat_last_n = UINT32_MAX;
    cr_expect_eq(NEEDED(0, 2048), 102);
    s = (struct text_sampling){.temperature = 1, .top_k = 10, .typical_p = 0.5f, .min_p = 0.1f};
    s.xtc_probability = 1;
    s.dynatemp_range = 0.5f;
    cr_expect_eq(NEEDED(0, 2048), 10); /* all of these look at what top-k leaves */
    s.dry_multiplier = 1;              /* one token that came 99 times before */
    cr_expect_eq(NEEDED(0, 2048), 10 + 98);
    s.dry_last_n = 20;
    cr_expect_eq(NEEDED(0, 2048), 10 + 18);
    s.top_n_sigma = 1; /* looks at the spread of all logits, before top-k */
    cr_expect_eq(NEEDED(0, 2048), 0);
    s.temperature = 0;
    cr_expect_eq(NEEDED(0, 2048), 1 + 18);
#undef NEEDED
}

#define VOCAB 300

static float random_float(uint64_t *state, float low, float high)
{
    return low + (high - low) * (float)(text_test_random(state) % 1000) / 1000.0f;
}

static struct text_sampling random_sampling(uint64_t *state, struct text_logit_bias *biases)
{
    struct text_sampling s = {.seed = text_test_random(state)};
    uint32_t kind = text_test_random(state);

    if ((kind & 3) != 0)
        s.temperature = random_float(state, 0.01f, 3.0f);
    if ((kind & 0xc) != 0)
        s.top_k = text_test_random(state) % 50;
    if ((kind & 0x10) != 0)
        s.top_p = random_float(state, 0.0f, 1.0f);
    if ((kind & 0x20) != 0)
        s.min_p = random_float(state, 0.0f, 0.5f);
    if ((kind & 0x40) != 0)
        s.repeat_penalty = random_float(state, 1.0f, 2.0f);
    if ((kind & 0x80) != 0)
        s.presence_penalty = random_float(state, 0.0f, 2.0f);
    if ((kind & 0x100) != 0)
        s.frequency_penalty = random_float(state, 0.0f, 1.0f);
    s.repeat_last_n = (kind & 0x200) != 0 ? text_test_random(state) % 100 : 0;
    s.bias_count = (kind & 0x400) != 0 ? text_test_random(state) % 4 : 0;
    for (size_t i = 0; i < s.bias_count; i++)
        biases[i] = (struct text_logit_bias){
            text_test_random(state) % VOCAB, random_float(state, -5.0f, 0.0f)};
    s.biases = biases;
    if ((kind & 0x800) != 0)
        s.typical_p = random_float(state, 0.0f, 1.0f);
    if ((kind & 0x3000) == 0)
        s.top_n_sigma = random_float(state, 0.0f, 3.0f);
    if ((kind & 0x4000) != 0)
        s.xtc_probability = random_float(state, 0.0f, 1.0f);
    if ((kind & 0x8000) != 0)
        s.xtc_threshold = random_float(state, 0.0f, 0.3f);
    if ((kind & 0x10000) != 0)
        s.dynatemp_range = random_float(state, 0.0f, 1.0f);
    if ((kind & 0x20000) != 0)
        s.dynatemp_exponent = random_float(state, 0.2f, 2.0f);
    if ((kind & 0x40000) != 0)
        s.dry_multiplier = random_float(state, 0.1f, 2.0f);
    if ((kind & 0x180000) == 0)
        s.min_keep = text_test_random(state) % 8;
    return s;
}

static int by_rank(const void *a_void, const void *b_void)
{
    const struct text_candidate *a = a_void, *b = b_void;

    if (a->logit != b->logit)
        return a->logit > b->logit ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/*
 * Over random logits with many ties and random settings: the fewest candidates allowed, the full
 * row in order and the full row shuffled give the same token.
 */
Test(text_sampler, a_part_gives_what_the_whole_gives)
{
    uint64_t state = 7;
    int parts = 0;

    for (int round = 0; round < 4000; round++) {
        static struct text_candidate row[VOCAB], mixed[VOCAB], top[VOCAB];
        struct text_logit_bias biases[4];
        uint32_t history[80], banned[3];
        struct text_sampling s = random_sampling(&state, biases);
        size_t history_count = text_test_random(&state) % 80;
        size_t banned_count = text_test_random(&state) % 4;

        for (uint32_t i = 0; i < VOCAB; i++)
            row[i] = (struct text_candidate){
                i, (float)((int)(text_test_random(&state) % 200) - 100) / 8.0f};
        for (size_t i = 0; i < history_count; i++)
            history[i] = text_test_random(&state) % (round % 2 == 0 ? VOCAB + 20 : 3);
        for (size_t i = 0; i < banned_count; i++)
            banned[i] = text_test_random(&state) % VOCAB;
        memcpy(mixed, row, sizeof(row));
        for (uint32_t i = VOCAB - 1; i > 0; i--) {
            uint32_t k = text_test_random(&state) % (i + 1);
            struct text_candidate swap = mixed[i];
            mixed[i] = mixed[k];
            mixed[k] = swap;
        }
        memcpy(top, row, sizeof(row));
        qsort(top, VOCAB, sizeof(top[0]), by_rank);
        uint32_t needed =
            text_candidates_needed(&s, history, history_count, banned_count, VOCAB, VOCAB);
        uint32_t expected = text_sample(
            &s, row, VOCAB, history, history_count, banned, banned_count, (uint64_t)round);
        cr_assert_eq(text_sample(&s, mixed, VOCAB, history, history_count, banned, banned_count,
                         (uint64_t)round),
            expected, "shuffled, round %d", round);
        if (needed == 0)
            continue;
        cr_assert_eq(text_sample(&s, top, needed, history, history_count, banned, banned_count,
                         (uint64_t)round),
            expected, "%u candidates, round %d", needed, round);
        parts++;
    }
    cr_assert_gt(parts, 1000);
}
