/* Options and batches against what the stage is: everything is checked before anything runs. */
#include "stage_internal.h"

#include "base_bytes.h"
#include "base_err.h"
#include "base_limits.h"
#include "tensor_attention.h"
#include <inttypes.h>

static int check_range(
    const char *name, uint32_t value, uint32_t min, uint32_t max, struct base_error *err)
{
    if (value >= min && value <= max)
        return BASE_OK;
    return base_error_set(err, BASE_INVALID,
        "stage: %s %" PRIu32 " is not within %" PRIu32 "..%" PRIu32, name, value, min, max);
}

int stage_check_options(
    const struct model *model, const struct stage_options *options, struct base_error *err)
{
    const struct model_config *config = model_get_config(model);
    int rc = check_range("layer_first", options->layer_first, 0, config->layer_count - 1, err);

    if (rc == BASE_OK)
        rc = check_range("layer_count", options->layer_count, 1,
            config->layer_count - options->layer_first, err);
    if (rc == BASE_OK)
        rc = check_range("page_count", options->page_count, 1, LIMIT_PAGES_MAX, err);
    if (rc == BASE_OK)
        rc = check_range("page_tokens", options->page_tokens, 1, LIMIT_CONTEXT_TOKENS_MAX, err);
    if (rc == BASE_OK && (options->page_tokens & (options->page_tokens - 1)) != 0)
        rc = base_error_set(err, BASE_INVALID, "stage: page_tokens %" PRIu32 " is no power of two",
            options->page_tokens);
    if (rc == BASE_OK)
        rc = check_range(
            "batch_tokens_max", options->batch_tokens_max, 1, LIMIT_BATCH_TOKENS_MAX, err);
    if (rc == BASE_OK)
        rc = check_range("context_length", options->context_length, 1, config->context_length, err);
    if (rc == BASE_OK && !tensor_attention_type_supported(options->kv_type))
        rc = base_error_set(err, BASE_INVALID,
            "stage: kv_type %" PRIu32 " is none of f32, f16 and int8", options->kv_type);
    if (rc == BASE_OK && options->embeds && options->layer_first != 0)
        rc = base_error_set(
            err, BASE_INVALID, "stage: embeds, but starts at layer %" PRIu32, options->layer_first);
    if (rc == BASE_OK && options->has_head &&
        options->layer_first + options->layer_count != config->layer_count)
        rc = base_error_set(err, BASE_INVALID,
            "stage: has the head, but ends before layer %" PRIu32, config->layer_count);
    return rc;
}

size_t stage_row_bytes(const struct stage *self, enum stage_logits logits, uint32_t top_count)
{
    const struct model_config *config = self->config;

    if (logits == STAGE_LOGITS_TOP)
        return (size_t)top_count * (sizeof(uint32_t) + sizeof(float));
    return sizeof(float) *
           (logits == STAGE_HIDDEN_ALL ? config->embedding_length : (size_t)config->vocab_size);
}

bool stage_wants_all(enum stage_logits logits)
{
    return logits == STAGE_LOGITS_FULL_ALL || logits == STAGE_HIDDEN_ALL;
}

#define fail(index, format, ...)                                                                   \
    base_error_set(err, BASE_INVALID, "sequence %zu: " format, index, __VA_ARGS__)

static int check_positions(const struct stage *self, const struct stage_sequence *sequence,
    size_t index, struct base_error *err)
{
    const struct stage_options *o = &self->options;
    uint32_t context = o->context_length;

    if (sequence->token_count == 0 || sequence->token_count > o->batch_tokens_max)
        return fail(index, "token_count %" PRIu32 " is not within 1..%" PRIu32,
            sequence->token_count, o->batch_tokens_max);
    if (sequence->first_position >= context ||
        sequence->token_count > context - sequence->first_position)
        return fail(index,
            "first_position %" PRIu32 " and token_count %" PRIu32 " pass the context of %" PRIu32,
            sequence->first_position, sequence->token_count, context);
    if (self->config->family->encoder && sequence->first_position > 0)
        return fail(index, "first_position %" PRIu32 ": family %s takes a sequence whole",
            sequence->first_position, self->config->family->name);
    size_t pages =
        (size_t)(sequence->first_position + sequence->token_count - 1) / o->page_tokens + 1;
    if (sequence->page_count < pages || sequence->pages == NULL)
        return fail(index, "%zu pages given, but its positions need %zu",
            sequence->pages == NULL ? 0 : sequence->page_count, pages);
    for (size_t i = 0; i < pages; i++)
        if (sequence->pages[i] >= o->page_count)
            return fail(index, "page %zu has id %" PRIu32 ", but there are %" PRIu32, i,
                sequence->pages[i], o->page_count);
    return BASE_OK;
}

static int check_logits(const struct stage *self, const struct stage_sequence *sequence,
    size_t index, size_t *payload_bytes, struct base_error *err)
{
    uint32_t vocab = self->config->vocab_size;
    uint32_t top_max = vocab < LIMIT_TOP_LOGITS_MAX ? vocab : LIMIT_TOP_LOGITS_MAX;
    size_t rows = 1;

    if (!self->options.has_head || sequence->logits == STAGE_LOGITS_NONE)
        return BASE_OK;
    if (!self->config->has_head && sequence->logits != STAGE_HIDDEN_ALL)
        return fail(index, "logits: family %s has hidden states only", self->config->family->name);
    if (stage_wants_all(sequence->logits))
        rows = sequence->token_count;
    else if (sequence->logits != STAGE_LOGITS_TOP && sequence->logits != STAGE_LOGITS_FULL)
        return fail(index, "logits mode %d is unknown", (int)sequence->logits);
    if (sequence->logits == STAGE_LOGITS_TOP &&
        (sequence->top_count == 0 || sequence->top_count > top_max))
        return fail(
            index, "top_count %" PRIu32 " is not within 1..%" PRIu32, sequence->top_count, top_max);
    /* Rows are at most batch_tokens_max, and one row a few megabytes: no overflow. */
    *payload_bytes += rows * stage_row_bytes(self, sequence->logits, sequence->top_count);
    if (*payload_bytes > self->payload_bytes_max)
        return fail(index, "logits: the batch asks for more than %zu bytes of them",
            self->payload_bytes_max);
    return BASE_OK;
}

static int check_tokens(const struct stage *self, const struct stage_sequence *sequences,
    size_t sequence_count, const uint8_t *tokens, struct base_error *err)
{
    for (size_t i = 0; i < sequence_count; i++)
        for (uint32_t j = 0; j < sequences[i].token_count; j++, tokens += sizeof(uint32_t))
            if (base_load_u32(tokens) >= self->config->vocab_size)
                return fail(i,
                    "token %" PRIu32 " has id %" PRIu32 ", but the vocabulary has %" PRIu32, j,
                    base_load_u32(tokens), self->config->vocab_size);
    return BASE_OK;
}

int stage_check_batch(const struct stage *self, const struct stage_sequence *sequences,
    size_t sequence_count, const void *tokens_or_hidden, size_t input_bytes,
    uint32_t *ret_token_count, struct base_error *err)
{
    uint32_t token_count = 0;
    size_t payload_bytes = 0;
    size_t item_bytes =
        self->options.embeds ? sizeof(uint32_t) : self->config->embedding_length * sizeof(float);
    int rc = BASE_OK;

    if (sequence_count == 0)
        return base_error_set(err, BASE_INVALID, "the batch has no sequences");
    for (size_t i = 0; i < sequence_count && rc == BASE_OK; i++) {
        rc = check_positions(self, &sequences[i], i, err);
        if (rc == BASE_OK)
            rc = check_logits(self, &sequences[i], i, &payload_bytes, err);
        if (rc == BASE_OK &&
            sequences[i].token_count > self->options.batch_tokens_max - token_count)
            rc = fail(i, "token_count: the batch has more than %" PRIu32 " tokens",
                self->options.batch_tokens_max);
        if (rc == BASE_OK)
            token_count += sequences[i].token_count;
    }
    if (rc == BASE_OK && input_bytes != token_count * item_bytes)
        rc = base_error_set(err, BASE_INVALID, "input of %zu bytes, but %" PRIu32 " tokens are %zu",
            input_bytes, token_count, token_count * item_bytes);
    if (rc == BASE_OK && self->options.embeds)
        rc = check_tokens(self, sequences, sequence_count, tokens_or_hidden, err);
    if (rc == BASE_OK)
        *ret_token_count = token_count;
    return rc;
}
