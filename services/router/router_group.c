/* What the choices of one GENERATE have in common. */
#include "router_internal.h"

#include <math.h>
#include <string.h>

#include "base_alloc.h"

void router_group_release(struct router_group **group_p)
{
    struct router_group *group = *group_p;
    *group_p = NULL;
    if (group == NULL || --group->references > 0)
        return;
    base_free(group->biases);
    base_free(group->dry_breakers);
    base_free(group->banned);
    base_free(group);
}

/* Biases as asked for, then the suppressed tokens. */
static int take_biases(const struct router *self, struct router_group *group,
    const struct wire_generate *generate, struct base_error *err)
{
    const struct wire_sampling *wire = &generate->sampling;
    size_t count = wire->logit_bias_count + generate->suppress_count;
    if (count == 0)
        return BASE_OK;
    group->biases = base_alloc_array(count, sizeof(*group->biases));
    if (group->biases == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for %zu logit biases", count);
    for (size_t i = 0; i < count; i++) {
        bool is_bias = i < wire->logit_bias_count;
        uint32_t id = is_bias ? wire->logit_biases[i].token_id
                              : generate->suppress[i - wire->logit_bias_count];
        if (self->plan.active && id >= self->plan.vocab_size)
            return base_error_set(err, BASE_INVALID, "%s token %u; ids end at %u",
                is_bias ? "logit bias for" : "suppressed", id, self->plan.vocab_size - 1);
        group->biases[i] =
            (struct text_logit_bias){id, is_bias ? wire->logit_biases[i].bias : -INFINITY};
    }
    group->sampling.biases = group->biases;
    group->sampling.bias_count = count;
    return BASE_OK;
}

static int take_banned(const struct router *self, struct router_group *group,
    const struct wire_generate *generate, struct base_error *err)
{
    size_t count = self->end_id_count + generate->stop_id_count;
    if (count == 0)
        return BASE_OK;
    group->banned = base_alloc_array(count, sizeof(*group->banned));
    if (group->banned == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for %zu stop ids", count);
    if (self->end_id_count > 0)
        memcpy(group->banned, self->end_ids, self->end_id_count * sizeof(*group->banned));
    if (generate->stop_id_count > 0)
        memcpy(group->banned + self->end_id_count, generate->stop_ids,
            generate->stop_id_count * sizeof(*group->banned));
    group->end_count = self->end_id_count;
    group->banned_count = count;
    return BASE_OK;
}

static int take_breakers(struct router *self, struct router_group *group,
    const struct wire_sampling *wire, struct base_error *err)
{
    struct text_stop breakers[LIMIT_DRY_BREAKERS];
    size_t count = wire->dry_breaker_count;
    int rc = BASE_OK;
    if (wire->dry_multiplier == 0.0f || self->tokenizer == NULL)
        return BASE_OK;
    if (count > LIMIT_DRY_BREAKERS)
        return base_error_set(err, BASE_TOO_BIG, "more than %d DRY breakers", LIMIT_DRY_BREAKERS);
    for (size_t i = 0; i < count; i++)
        breakers[i] = (struct text_stop){
            .data = (const char *)wire->dry_breakers[i].data, .bytes = wire->dry_breakers[i].bytes};
    if (count > 0)
        rc = text_dry_breakers_new(self->tokenizer, breakers, count, &group->dry_breakers);
    else if (self->dry_breakers == NULL)
        rc = text_dry_breakers_new(self->tokenizer, NULL, 0, &self->dry_breakers);
    if (rc != BASE_OK)
        return base_error_set(err, rc, "no memory for the DRY breakers");
    group->sampling.dry_breakers = count > 0 ? group->dry_breakers : self->dry_breakers;
    group->sampling.dry_breaker_ids = text_vocab_size(self->tokenizer);
    return BASE_OK;
}

static struct text_sampling sampling_of(const struct wire_sampling *wire)
{
    return (struct text_sampling){.temperature = wire->temperature,
        .dynatemp_range = wire->dynatemp_range,
        .dynatemp_exponent = wire->dynatemp_exponent,
        .top_k = wire->top_k,
        .top_p = wire->top_p,
        .min_p = wire->min_p,
        .typical_p = wire->typical_p,
        .top_n_sigma = wire->top_n_sigma,
        .min_keep = wire->min_keep,
        .xtc_probability = wire->xtc_probability,
        .xtc_threshold = wire->xtc_threshold,
        .repeat_penalty = wire->repeat_penalty,
        .repeat_last_n = wire->repeat_last_n,
        .presence_penalty = wire->presence_penalty,
        .frequency_penalty = wire->frequency_penalty,
        .dry_multiplier = wire->dry_multiplier,
        .dry_base = wire->dry_base,
        .dry_allowed_length = wire->dry_allowed_length,
        .dry_last_n = wire->dry_last_n,
        .seed = wire->seed};
}

int router_group_new(struct router *self, const struct wire_generate *generate,
    struct router_group **ret_group, struct base_error *err)
{
    struct router_group *group = base_alloc_zeroed(1, sizeof(*group));
    if (group == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for a request");
    group->references = 1;
    group->max_tokens = generate->max_tokens;
    group->min_tokens = generate->min_tokens;
    group->ignore_eos = generate->ignore_eos;
    group->top_logprobs = generate->sampling.top_logprobs;
    group->token_bytes = generate->sampling.token_bytes;
    group->sampling = sampling_of(&generate->sampling);
    int rc = take_biases(self, group, generate, err);
    if (rc == BASE_OK)
        rc = take_banned(self, group, generate, err);
    if (rc == BASE_OK)
        rc = take_breakers(self, group, &generate->sampling, err);
    if (rc != BASE_OK) {
        router_group_release(&group);
        return rc;
    }
    *ret_group = group;
    return BASE_OK;
}
