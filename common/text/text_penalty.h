/* Biases, penalties and bans: what changes logits before any candidate is cut. Private to this
 * module. */
#ifndef TEXT_PENALTY_H
#define TEXT_PENALTY_H

#include "text_sampler.h"

/* At most how many ids a history pushes down; *ret_lifts: some id could rise instead. */
size_t text_penalty_lowered(const struct text_sampling *sampling, const uint32_t *history,
    size_t history_count, bool *ret_lifts);

/* Bias, penalties, DRY and bans; afterwards candidates are sorted by id and no logit is NaN. */
void text_penalty_apply(const struct text_sampling *sampling, struct text_candidate *candidates,
    size_t count, const uint32_t *history, size_t history_count, const uint32_t *banned,
    size_t banned_count);

#endif
