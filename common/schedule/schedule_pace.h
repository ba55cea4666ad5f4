/*
 * Into how many micro-batches it pays to split the sequences that decode, learnt from steps that
 * came back. A step of n tokens takes a stage fixed + slope * n: the fixed part, reading the weights
 * above all, is paid again by each micro-batch. With m of them a round takes as long as the slowest
 * stage needs for all m, or as long as one of them needs through all stages and links, whichever is
 * longer. Fewer leave stages idle, more read the weights more often.
 *
 * Stages that share cores or a memory are faster while the others are idle. So what a stage takes
 * with nothing else in flight is learnt apart, and with it that taking turns can be better.
 */
#ifndef SCHEDULE_PACE_H
#define SCHEDULE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base_limits.h"

/* A line through (tokens, microseconds), in which older points count ever less. */
struct schedule_line {
    uint32_t count; /* of points, as far as it matters */
    double mean_tokens, mean_us, variance, covariance;
};

struct schedule_stage_pace {
    struct schedule_line alone, together; /* with nothing or something else in flight */
};

/* Zeroed: nothing is known, of so many stages. */
struct schedule_pace {
    size_t stage_count;
    struct schedule_stage_pace stages[LIMIT_STAGES_MAX];
    bool has_links;
    double links_us;       /* all of a round that is not a stage's, or waiting for one */
    uint32_t alone_streak; /* steps since the last one that was not alone */
};

/* A step of so many tokens came back. round_us: from sent to returned when nothing else was in
 * flight all that time; 0: something was. Steps larger than decodes come in are not looked at. */
void schedule_pace_observe(struct schedule_pace *self, uint32_t tokens, const uint32_t *stage_us,
    size_t stage_count, uint64_t round_us);

/* Micro-batches for so many sequences: 1..stage_count + 1; one a stage until another number is
 * known to be better. */
uint32_t schedule_pace_groups(const struct schedule_pace *self, uint32_t sequences);

#endif
