/*
 * From logits to a token. Order of samplers (as users of llama.cpp and OpenAI's API expect):
 * logit bias, penalties, DRY, bans, top-n-sigma, top-k, typical, top-p, min-p, XTC, temperature
 * (fixed or dynamic), draw. With a temperature of 0 the best one after DRY and bans is taken and
 * none of the samplers behind them matters.
 *
 * A draw is a pure function of (seed, position, history, candidates): random numbers are
 * Philox4x32-10 keyed by seed with position as counter (Salmon et al., SC'11), so neither retries
 * nor the history of calls change it. Hence no mirostat: its state depends on the logits of all
 * earlier tokens, so that it could not be rebuilt from the tokens alone.
 */
#ifndef TEXT_SAMPLER_H
#define TEXT_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DRY looks back on so many tokens at most. */
#define TEXT_DRY_WINDOW 8192

struct text_stop;
struct text_tokenizer;

struct text_logit_bias {
    uint32_t id;
    float bias;
};

/* Zero switches a sampler off, and gives a parameter of one that is on its usual value. */
struct text_sampling {
    float temperature;
    float dynatemp_range;    /* temperature +- range, by the entropy of what is left */
    float dynatemp_exponent; /* 0: 1 */
    uint32_t top_k;
    float top_p, min_p;
    float typical_p;   /* 0 or 1: off */
    float top_n_sigma; /* keeps logits within so many standard deviations of the largest */
    uint32_t min_keep; /* typical, top-p, min-p and XTC leave so many at least; 0: 1 */
    float xtc_probability;
    float xtc_threshold;    /* 0: 0.1; above 0.5 XTC does nothing */
    float repeat_penalty;   /* 0 or 1: off */
    uint32_t repeat_last_n; /* 0: 64 */
    float presence_penalty, frequency_penalty;
    float dry_multiplier;
    float dry_base;              /* 0: 1.75 */
    uint32_t dry_allowed_length; /* repeats shorter than this are free; 0: 2 */
    uint32_t dry_last_n;         /* 0: TEXT_DRY_WINDOW */
    const uint8_t *dry_breakers; /* bit id: the token ends a repeat; NULL: none does */
    size_t dry_breaker_ids;      /* ids that have a bit */
    uint64_t seed;
    const struct text_logit_bias *biases;
    size_t bias_count;
};

/* Uniform in [0, 1) with 53 bits, for this seed and position. */
double text_random(uint64_t seed, uint64_t position);

/*
 * How many of the largest raw logits suffice to sample exactly as from all of them, given that at
 * most banned_count further ids are banned; 0: the full row is needed (a bias or penalty could
 * lift a token from below, or a sampler looks at the whole distribution). history as below.
 */
uint32_t text_candidates_needed(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, size_t banned_count, uint32_t vocab_size, uint32_t limit);

/*
 * Which tokens end a repeat for DRY: those whose text contains one of these strings. count 0: the
 * usual ones, newline, colon, quote and asterisk. Returns BASE_OK with one bit for each id of the
 * vocabulary, freed with base_free(), or BASE_NOMEM.
 */
int text_dry_breakers_new(const struct text_tokenizer *tokenizer, const struct text_stop *breakers,
    size_t count, uint8_t **ret_bits);

/* One token's logit. */
struct text_candidate {
    uint32_t id;
    float logit;
};

/*
 * Samples. candidates [count] is reordered and changed: raw logits descending by (logit, lower id
 * first) or, for a full row, in any order. history: prompt and generated tokens so far. banned:
 * ids that may not be chosen (ignore_eos). position: of the token to be chosen. Returns the id.
 * count >= 1. A logit that is not a number counts as minus infinity; when every candidate is banned
 * the lowest id is returned all the same. Deterministic on every host; allocates nothing.
 */
uint32_t text_sample(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count, uint64_t position);

#endif
