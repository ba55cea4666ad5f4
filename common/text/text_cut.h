/*
 * The candidates that are left, and the samplers that leave fewer of them. Private to this module.
 *
 * Nothing is sorted before somebody asks for a rank, so that a full row of a large vocabulary costs
 * little more than a look at it. Results are a function of the candidates alone: they have to come
 * in order of id.
 */
#ifndef TEXT_CUT_H
#define TEXT_CUT_H

#include "text_sampler.h"

/* In front a heap by logit, behind it those already ranked, the best one last. */
struct text_cut {
    struct text_candidate *items; /* borrowed */
    size_t count, ranked;
};

/* The order of candidates: larger logit first, lower id of equals. */
bool text_cut_before(const struct text_candidate *a, const struct text_candidate *b);

/* candidates [count >= 1], none of them NaN, in order of id. */
void text_cut_init(struct text_cut *self, struct text_candidate *candidates, size_t count);

/* The candidate at this rank, 0 being the best; rank < count. Valid until the next call. */
const struct text_candidate *text_cut_at(struct text_cut *self, size_t rank);

/* e^((logit - best) / temperature): the weight of a candidate beside one with logit best. */
double text_cut_weight(const struct text_candidate *candidate, float best, double temperature);

/* Sum of all weights. */
double text_cut_total(struct text_cut *self, double temperature);

/* Sorts by id; does little when that is the order already. */
void text_cut_sort_by_id(struct text_candidate *candidates, size_t count);

/*
 * Each keeps at least min_keep candidates (0: 1), and they are those that llama.cpp's sampler of
 * the same name keeps.
 */
void text_cut_top_n_sigma(struct text_cut *self, double n);
void text_cut_top_k(struct text_cut *self, size_t k);
void text_cut_typical(struct text_cut *self, double p, size_t min_keep);
void text_cut_top_p(struct text_cut *self, double p, size_t min_keep);
void text_cut_min_p(struct text_cut *self, double p, size_t min_keep);
/* Of those at least as likely as threshold, all but the least likely go. The caller has drawn. */
void text_cut_xtc(struct text_cut *self, double threshold, size_t min_keep);

/* Entropy (natural) of what is left as a share of the largest possible, 0..1; 0 of one. */
double text_cut_entropy_share(struct text_cut *self);

#endif
