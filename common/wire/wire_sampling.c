/* How a client wants its tokens chosen. */
#include "wire_internal.h"

#include "client.pb-c.h"
#include <float.h>
#include <math.h>

const struct wire_bytes *wire_take_strings(struct wire_decoder *self, const char *field,
    const ProtobufCBinaryData *from, size_t count, size_t count_max)
{
    struct wire_bytes *strings = wire_take_rows(self, field, count, count_max, sizeof(*strings));

    for (size_t i = 0; strings != NULL && i < count; i++) {
        strings[i] = wire_take_bytes(self, field, &from[i], LIMIT_STOP_BYTES);
        if (from[i].len == 0)
            wire_fail(self, BASE_MALFORMED, field, "is empty");
    }
    return strings;
}

ProtobufCBinaryData *wire_put_strings(
    struct wire_encoder *self, const struct wire_bytes *from, size_t count, size_t *ret_count)
{
    ProtobufCBinaryData *strings = wire_put_rows(self, count, sizeof(*strings));

    for (size_t i = 0; strings != NULL && i < count; i++)
        strings[i] = wire_put_bytes(from[i]);
    *ret_count = strings != NULL ? count : 0;
    return strings;
}

static void take_samplers(
    struct wire_decoder *self, const Layermesh__V1__Sampling *from, struct wire_sampling *ret)
{
    ret->typical_p = wire_check_float(self, "sampling.typical_p", from->typical_p, 0, 1);
    ret->min_keep = from->min_keep;
    ret->top_n_sigma = wire_check_float(self, "sampling.top_n_sigma", from->top_n_sigma, 0, 1000);
    ret->dynatemp_range =
        wire_check_float(self, "sampling.dynatemp_range", from->dynatemp_range, 0, 100);
    ret->dynatemp_exponent =
        wire_check_float(self, "sampling.dynatemp_exponent", from->dynatemp_exponent, 0, 100);
    ret->xtc_probability =
        wire_check_float(self, "sampling.xtc_probability", from->xtc_probability, 0, 1);
    ret->xtc_threshold =
        wire_check_float(self, "sampling.xtc_threshold", from->xtc_threshold, 0, 1);
    ret->dry_multiplier =
        wire_check_float(self, "sampling.dry_multiplier", from->dry_multiplier, 0, 100);
    ret->dry_base = wire_check_float(self, "sampling.dry_base", from->dry_base, 0, 100);
    ret->dry_allowed_length = from->dry_allowed_length;
    ret->dry_last_n = from->dry_last_n;
    ret->dry_breakers = wire_take_strings(self, "sampling.dry_breakers", from->dry_breakers,
        from->n_dry_breakers, LIMIT_DRY_BREAKERS);
    ret->dry_breaker_count = from->n_dry_breakers;
    ret->token_bytes = from->token_bytes != 0;
}

void wire_take_sampling(struct wire_decoder *self, const struct Layermesh__V1__Sampling *from,
    struct wire_sampling *ret)
{
    if (from == NULL)
        return;
    ret->temperature = wire_check_float(self, "sampling.temperature", from->temperature, 0, 100);
    ret->top_k = from->top_k;
    ret->top_p = wire_check_float(self, "sampling.top_p", from->top_p, 0, 1);
    ret->min_p = wire_check_float(self, "sampling.min_p", from->min_p, 0, 1);
    ret->repeat_penalty =
        wire_check_float(self, "sampling.repeat_penalty", from->repeat_penalty, 0, 100);
    ret->repeat_last_n = from->repeat_last_n;
    ret->presence_penalty =
        wire_check_float(self, "sampling.presence_penalty", from->presence_penalty, -100, 100);
    ret->frequency_penalty =
        wire_check_float(self, "sampling.frequency_penalty", from->frequency_penalty, -100, 100);
    ret->seed = from->seed;
    struct wire_logit_bias *biases = wire_take_rows(
        self, "sampling.logit_biases", from->n_logit_biases, LIMIT_LOGIT_BIASES, sizeof(*biases));
    for (size_t i = 0; biases != NULL && i < from->n_logit_biases; i++) {
        biases[i].token_id = wire_check_u32(self, "sampling.logit_biases.token_id",
            from->logit_biases[i]->token_id, 0, LIMIT_VOCAB_MAX - 1);
        biases[i].bias = wire_check_float(
            self, "sampling.logit_biases.bias", from->logit_biases[i]->bias, -INFINITY, FLT_MAX);
    }
    ret->logit_biases = biases;
    ret->logit_bias_count = from->n_logit_biases;
    ret->top_logprobs =
        wire_check_u32(self, "sampling.top_logprobs", from->top_logprobs, 0, LIMIT_TOP_LOGPROBS);
    take_samplers(self, from, ret);
}

static void put_samplers(
    struct wire_encoder *self, const struct wire_sampling *from, Layermesh__V1__Sampling *pb)
{
    pb->typical_p = from->typical_p;
    pb->min_keep = from->min_keep;
    pb->top_n_sigma = from->top_n_sigma;
    pb->dynatemp_range = from->dynatemp_range;
    pb->dynatemp_exponent = from->dynatemp_exponent;
    pb->xtc_probability = from->xtc_probability;
    pb->xtc_threshold = from->xtc_threshold;
    pb->dry_multiplier = from->dry_multiplier;
    pb->dry_base = from->dry_base;
    pb->dry_allowed_length = from->dry_allowed_length;
    pb->dry_last_n = from->dry_last_n;
    pb->dry_breakers =
        wire_put_strings(self, from->dry_breakers, from->dry_breaker_count, &pb->n_dry_breakers);
    pb->token_bytes = from->token_bytes;
}

Layermesh__V1__Sampling *wire_put_sampling(
    struct wire_encoder *self, const struct wire_sampling *from)
{
    Layermesh__V1__Sampling *pb = wire_put_message(self, &layermesh__v1__sampling__descriptor);

    if (pb == NULL)
        return NULL;
    pb->temperature = from->temperature;
    pb->top_k = from->top_k;
    pb->top_p = from->top_p;
    pb->min_p = from->min_p;
    pb->repeat_penalty = from->repeat_penalty;
    pb->repeat_last_n = from->repeat_last_n;
    pb->presence_penalty = from->presence_penalty;
    pb->frequency_penalty = from->frequency_penalty;
    pb->seed = from->seed;
    put_samplers(self, from, pb);
    pb->logit_biases = wire_put_rows(self, from->logit_bias_count, sizeof(*pb->logit_biases));
    for (size_t i = 0; pb->logit_biases != NULL && i < from->logit_bias_count; i++) {
        Layermesh__V1__LogitBias *bias =
            wire_put_message(self, &layermesh__v1__logit_bias__descriptor);
        if (bias == NULL)
            return pb;
        bias->token_id = from->logit_biases[i].token_id;
        bias->bias = from->logit_biases[i].bias;
        pb->logit_biases[pb->n_logit_biases++] = bias;
    }
    pb->top_logprobs = from->top_logprobs;
    return pb;
}
