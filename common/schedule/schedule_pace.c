#include "schedule_pace.h"

#include "base_assert.h"

#define POINTS_MAX 20u /* the newest point weighs at least 1 / this */
#define OFF_MIN    0.5 /* tokens from the mean: what is nearer says nothing about the slope */
#define ENOUGH     8u /* points together that tell more than those alone do: first steps are slow */
#define STALE      500u /* steps alone, after which points together tell nothing any more */
#define GAIN_MIN   0.03 /* a smaller one is not worth leaving one micro-batch a stage */

static void line_add(struct schedule_line *line, double tokens, double us)
{
    if (line->count < POINTS_MAX)
        line->count++;
    double weight = 1.0 / line->count, off = tokens - line->mean_tokens;
    double off_us = us - line->mean_us;
    line->mean_tokens += weight * off;
    line->mean_us += weight * off_us;
    if (off > -OFF_MIN && off < OFF_MIN)
        return;
    double keep = 1.0 - weight;
    line->variance = keep * (line->variance + weight * off * off);
    line->covariance = keep * (line->covariance + weight * off * off_us);
}

static bool line_has_slope(const struct schedule_line *line)
{
    return line->variance > 0.0;
}

/* No step costs less for having more tokens, nor the first token less than nothing. */
static double line_slope(const struct schedule_line *line)
{
    double slope = line_has_slope(line) ? line->covariance / line->variance : 0.0;
    double most = line->mean_tokens > 0.0 ? line->mean_us / line->mean_tokens : 0.0;
    return slope < 0.0 ? 0.0 : slope > most ? most : slope;
}

/* other: lends its level when line has too few points, and its slope when it has none. */
static double line_at(const struct schedule_line *line, uint32_t enough,
    const struct schedule_line *other, double tokens)
{
    const struct schedule_line *level = line->count >= enough || other->count == 0 ? line : other;
    double slope = line_slope(line_has_slope(line) ? line : other);
    double us = level->mean_us + slope * (tokens - level->mean_tokens);
    return us > 0.0 ? us : 0.0;
}

/* Whoever takes turns learns nothing of the other way, and would never leave it after a bad moment. */
static void forget_together(struct schedule_pace *self)
{
    for (size_t i = 0; i < self->stage_count; i++)
        self->stages[i].together.count = 0;
}

/* Near the least: nobody waits longer than for the links when all is well, and a number that is too
 * high would keep everything busy, with nobody alone to find out. */
static void links_add(struct schedule_pace *self, double us)
{
    if (!self->has_links || us < self->links_us)
        self->links_us = us;
    else
        self->links_us += (us - self->links_us) / POINTS_MAX;
    self->has_links = true;
}

void schedule_pace_observe(struct schedule_pace *self, uint32_t tokens, const uint32_t *stage_us,
    size_t stage_count, uint64_t round_us)
{
    if (stage_count != self->stage_count || tokens == 0 || tokens > LIMIT_BATCH_SEQUENCES_MAX)
        return;
    uint64_t busy_us = 0;
    for (size_t i = 0; i < stage_count; i++) {
        struct schedule_stage_pace *stage = &self->stages[i];
        line_add(round_us > 0 ? &stage->alone : &stage->together, tokens, stage_us[i]);
        busy_us += stage_us[i];
    }
    if (round_us == 0)
        self->alone_streak = 0;
    else if (++self->alone_streak % STALE == 0)
        forget_together(self);
    if (round_us >= busy_us && round_us > 0)
        links_add(self, (double)(round_us - busy_us));
}

/* How long all sequences take for a token each, as `groups` micro-batches. */
static double round_of(const struct schedule_pace *self, uint32_t sequences, uint32_t groups)
{
    double size = (double)sequences / groups, slowest = 0.0;
    double through = self->links_us;
    for (size_t i = 0; i < self->stage_count; i++) {
        const struct schedule_line *alone = &self->stages[i].alone;
        const struct schedule_line *together = &self->stages[i].together;
        double us = groups == 1 ? line_at(alone, 1, together, size)
                                : line_at(together, ENOUGH, alone, size);
        through += us;
        if (us > slowest)
            slowest = us;
    }
    return slowest * groups > through ? slowest * groups : through;
}

static bool is_known(const struct schedule_pace *self)
{
    for (size_t i = 0; i < self->stage_count; i++)
        if (!line_has_slope(&self->stages[i].alone) && !line_has_slope(&self->stages[i].together))
            return false;
    return self->has_links;
}

uint32_t schedule_pace_groups(const struct schedule_pace *self, uint32_t sequences)
{
    base_assert(self->stage_count >= 1 && self->stage_count <= LIMIT_STAGES_MAX);
    uint32_t stages = (uint32_t)self->stage_count;
    if (sequences < 2 || !is_known(self))
        return stages;
    uint32_t best = stages < sequences ? stages : sequences;
    double least = round_of(self, sequences, best) * (1.0 - GAIN_MIN);
    for (uint32_t groups = 1; groups <= stages + 1 && groups <= sequences; groups++) {
        double us = round_of(self, sequences, groups);
        if (us < least) {
            best = groups;
            least = us;
        }
    }
    return best;
}
