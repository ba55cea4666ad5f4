/*
 * A worker is gone and others take over: those that remain keep what they hold where that costs
 * little, so that only the newcomers have to load.
 */
#include "coordinator_core.h"
#include <string.h>

static bool same_worker(const struct wire_stage *a, const struct wire_stage *b)
{
    return a->incarnation == b->incarnation && strcmp(a->node_id, b->node_id) == 0;
}

/* Index of the worker of stage among placement's stages, or -1. */
static int find(const struct coordinator_placement *placement, const struct wire_stage *stage)
{
    for (size_t i = 0; i < placement->stage_count; i++)
        if (same_worker(&placement->stages[i], stage))
            return (int)i;
    return -1;
}

static bool is_comparable(
    const struct coordinator_placement *current, const struct coordinator_placement *placement)
{
    return current->epoch && current->state == WIRE_PLAN_ACTIVE &&
           current->stage_count == placement->stage_count &&
           current->fingerprint == placement->fingerprint &&
           current->kv_tokens == placement->kv_tokens;
}

/* The workers of placement on the stages of current: who was there stays where it was. Returns
 * false when nobody stays. */
static bool rearrange(const struct coordinator_placement *current,
    const struct coordinator_placement *placement, struct coordinator_placement *ret)
{
    size_t newcomer = 0;
    bool stays = false;

    *ret = *placement;
    for (size_t i = 0; i < current->stage_count; i++) {
        const struct wire_stage *stage = &current->stages[i];
        int from = find(placement, stage);

        if (from >= 0) {
            stays = true;
        } else {
            /* As many workers left as came, so there is one. */
            while (find(current, &placement->stages[newcomer]) >= 0)
                newcomer++;
            from = (int)newcomer++;
        }
        /* Whoever it is comes whole, with endpoint and key; only the layers stay. */
        ret->stages[i] = placement->stages[from];
        ret->stages[i].layer_first = stage->layer_first;
        ret->stages[i].layer_count = stage->layer_count;
        ret->stages[i].weight_bytes = stage->weight_bytes;
        ret->stages[i].kv_bytes = stage->kv_bytes;
        ret->without_ms[i] = placement->without_ms[from];
    }
    return stays;
}

void coordinator_keep(struct coordinator *self, struct coordinator_placement *placement)
{
    struct coordinator_placement kept;

    if (!is_comparable(&self->current, placement) || !rearrange(&self->current, placement, &kept))
        return;
    kept.bottleneck_ms = 0;
    for (size_t i = 0; i < kept.stage_count; i++) {
        struct wire_stage *stage = &kept.stages[i];

        if (!coordinator_stage_fits(self, stage))
            return;
        stage->predicted_ms = coordinator_stage_predicted_ms(self, &kept, i, false);
        if (stage->predicted_ms > kept.bottleneck_ms)
            kept.bottleneck_ms = stage->predicted_ms;
    }
    /* The rule of voluntary changes: moving layers has to be worth it. */
    if (placement->bottleneck_ms >= kept.bottleneck_ms * (1 - self->options.min_gain))
        *placement = kept;
}
