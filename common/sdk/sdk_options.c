/* What the caller asks for, checked and copied. The router drops what is malformed without an
 * answer, so nothing malformed may leave here. */
#include "sdk_client.h"

#include "base_alloc.h"
#include "base_clock.h"
#include <math.h>
#include <string.h>

static int invalid(struct lmesh_client *client, const char *what)
{
    return sdk_client_fail(client, LMESH_ERR_INVALID, "%s", what);
}

static int out_of_memory(struct lmesh_client *client)
{
    return sdk_client_fail(client, LMESH_ERR_NOMEM, "out of memory, or the request is too big");
}

static bool is_within(float value, float min, float max)
{
    return value >= min && value <= max; /* false for NaN */
}

static int check_sampling(struct lmesh_client *client, const struct lmesh_generate_options *options)
{
    if (!is_within(options->temperature, 0, 100))
        return invalid(client, "temperature must lie in 0..100");
    if (!is_within(options->top_p, 0, 1))
        return invalid(client, "top_p must lie in 0..1");
    if (!is_within(options->min_p, 0, 1))
        return invalid(client, "min_p must lie in 0..1");
    if (!is_within(options->repeat_penalty, 0, 100))
        return invalid(client, "repeat_penalty must lie in 0..100");
    if (!is_within(options->presence_penalty, -100, 100) ||
        !is_within(options->frequency_penalty, -100, 100))
        return invalid(client, "presence_penalty and frequency_penalty must lie in -100..100");
    if (!is_within(options->typical_p, 0, 1) || !is_within(options->xtc_probability, 0, 1) ||
        !is_within(options->xtc_threshold, 0, 1))
        return invalid(client, "typical_p, xtc_probability and xtc_threshold must lie in 0..1");
    if (!is_within(options->top_n_sigma, 0, 1000))
        return invalid(client, "top_n_sigma must lie in 0..1000");
    if (!is_within(options->dynatemp_range, 0, 100) ||
        !is_within(options->dynatemp_exponent, 0, 100))
        return invalid(client, "dynatemp_range and dynatemp_exponent must lie in 0..100");
    if (!is_within(options->dry_multiplier, 0, 100) || !is_within(options->dry_base, 0, 100))
        return invalid(client, "dry_multiplier and dry_base must lie in 0..100");
    if (options->choices > LIMIT_CHOICES)
        return invalid(client, "more than 128 choices");
    if (options->stop_id_count > LIMIT_STOP_IDS)
        return invalid(client, "more than 64 stop ids");
    if (options->suppress_count > LIMIT_LOGIT_BIASES)
        return invalid(client, "more than 1024 suppressed tokens");
    if (options->top_logprobs > LIMIT_TOP_LOGPROBS)
        return invalid(client, "top_logprobs must be at most 20");
    if (options->logit_bias_count > LIMIT_LOGIT_BIASES)
        return invalid(client, "more than 1024 logit biases");
    for (size_t i = 0; i < options->logit_bias_count; i++)
        if (isnan(options->logit_biases[i].bias))
            return invalid(client, "a logit bias is not a number");
    return LMESH_OK;
}

static int copy_sampling(
    struct lmesh_request *request, const struct lmesh_generate_options *options)
{
    struct wire_sampling *sampling = &request->message.generate.sampling;
    struct wire_logit_bias *biases =
        base_arena_alloc_zeroed(&request->arena, options->logit_bias_count, sizeof(*biases));
    if (biases == NULL)
        return out_of_memory(request->client);

    for (size_t i = 0; i < options->logit_bias_count; i++)
        biases[i] = (struct wire_logit_bias){
            options->logit_biases[i].token_id, options->logit_biases[i].bias};
    *sampling = (struct wire_sampling){.temperature = options->temperature,
        .top_k = options->top_k,
        .top_p = options->top_p,
        .min_p = options->min_p,
        .repeat_penalty = options->repeat_penalty,
        .repeat_last_n = options->repeat_last_n,
        .presence_penalty = options->presence_penalty,
        .frequency_penalty = options->frequency_penalty,
        .seed = options->seed,
        .logit_biases = biases,
        .logit_bias_count = options->logit_bias_count,
        .top_logprobs = options->top_logprobs,
        .typical_p = options->typical_p,
        .min_keep = options->min_keep,
        .top_n_sigma = options->top_n_sigma,
        .dynatemp_range = options->dynatemp_range,
        .dynatemp_exponent = options->dynatemp_exponent,
        .xtc_probability = options->xtc_probability,
        .xtc_threshold = options->xtc_threshold,
        .dry_multiplier = options->dry_multiplier,
        .dry_base = options->dry_base,
        .dry_allowed_length = options->dry_allowed_length,
        .dry_last_n = options->dry_last_n,
        .token_bytes = options->token_bytes != 0};
    return LMESH_OK;
}

/* Copies count strings of 1 to 256 bytes each; what names one of them. */
static int copy_strings(struct lmesh_request *request, const char *const *strings, size_t count,
    size_t count_max, const char *what, const struct wire_bytes **ret)
{
    if (count > count_max)
        return sdk_client_fail(
            request->client, LMESH_ERR_INVALID, "more than %zu %ss", count_max, what);
    struct wire_bytes *copies = base_arena_alloc_zeroed(&request->arena, count, sizeof(*copies));
    if (copies == NULL)
        return out_of_memory(request->client);

    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(strings[i]);
        if (bytes == 0 || bytes > LIMIT_STOP_BYTES)
            return sdk_client_fail(
                request->client, LMESH_ERR_INVALID, "a %s must have 1 to 256 bytes", what);
        copies[i].data = base_arena_copy(&request->arena, strings[i], bytes);
        copies[i].bytes = bytes;
        if (copies[i].data == NULL)
            return out_of_memory(request->client);
    }
    *ret = copies;
    return LMESH_OK;
}

static int copy_some_ids(
    struct lmesh_request *request, const uint32_t *ids, size_t count, const uint32_t **ret)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] >= LIMIT_VOCAB_MAX)
            return sdk_client_fail(request->client, LMESH_ERR_INVALID,
                "%u is no token id: they end at %d", ids[i], LIMIT_VOCAB_MAX - 1);
    *ret = base_arena_copy(&request->arena, ids, count * sizeof(*ids));
    return *ret != NULL ? LMESH_OK : out_of_memory(request->client);
}

/* What ends an answer, what never comes, and what ends a repeat. */
static int copy_stops(struct lmesh_request *request, const struct lmesh_generate_options *options)
{
    struct wire_generate *generate = &request->message.generate;
    int code = copy_strings(request, options->stops, options->stop_count, LIMIT_STOP_STRINGS,
        "stop string", &generate->stops);

    generate->stop_count = options->stop_count;
    if (code == LMESH_OK)
        code = copy_strings(request, options->dry_breakers, options->dry_breaker_count,
            LIMIT_DRY_BREAKERS, "DRY breaker", &generate->sampling.dry_breakers);
    generate->sampling.dry_breaker_count = options->dry_breaker_count;
    if (code == LMESH_OK && options->stop_id_count > 0)
        code =
            copy_some_ids(request, options->stop_ids, options->stop_id_count, &generate->stop_ids);
    generate->stop_id_count = options->stop_id_count;
    if (code == LMESH_OK && options->suppress_count > 0)
        code =
            copy_some_ids(request, options->suppress, options->suppress_count, &generate->suppress);
    generate->suppress_count = options->suppress_count;
    return code;
}

static int copy_ids(struct lmesh_request *request, const uint32_t *ids, size_t count,
    const uint32_t **ret_ids, size_t *ret_count)
{
    if (count == 0)
        return invalid(request->client, "the list of ids is empty");
    if (count > LIMIT_CONTEXT_TOKENS_MAX)
        return sdk_client_fail(
            request->client, LMESH_ERR_INVALID, "more than %d ids", LIMIT_CONTEXT_TOKENS_MAX);
    *ret_ids = base_arena_copy(&request->arena, ids, count * sizeof(*ids));
    if (*ret_ids == NULL)
        return out_of_memory(request->client);
    *ret_count = count;
    return LMESH_OK;
}

static int copy_text(struct lmesh_request *request, const char *text, size_t bytes,
    size_t *total_bytes, struct wire_bytes *ret)
{
    *total_bytes += bytes;
    if (bytes > LIMIT_PROMPT_BYTES || *total_bytes > LIMIT_PROMPT_BYTES)
        return sdk_client_fail(request->client, LMESH_ERR_INVALID,
            "the prompt is longer than %d bytes", LIMIT_PROMPT_BYTES);
    ret->data = base_arena_copy(&request->arena, text, bytes);
    ret->bytes = bytes;
    return ret->data != NULL ? LMESH_OK : out_of_memory(request->client);
}

static bool is_role(const char *role)
{
    return role != NULL && (strcmp(role, "system") == 0 || strcmp(role, "user") == 0 ||
                               strcmp(role, "assistant") == 0);
}

static int copy_messages(
    struct lmesh_request *request, const struct lmesh_generate_options *options)
{
    struct wire_generate *generate = &request->message.generate;
    size_t total_bytes = 0;

    if (options->message_count == 0 || options->message_count > LIMIT_CHAT_MESSAGES)
        return invalid(request->client, "a chat must have 1 to 1024 messages");
    struct wire_chat_message *messages =
        base_arena_alloc_zeroed(&request->arena, options->message_count, sizeof(*messages));
    if (messages == NULL)
        return out_of_memory(request->client);

    for (size_t i = 0; i < options->message_count; i++) {
        const struct lmesh_message *from = &options->messages[i];
        if (!is_role(from->role) || from->content == NULL)
            return sdk_client_fail(request->client, LMESH_ERR_INVALID,
                "message %zu: role must be system, user or assistant, content a text", i);
        memcpy(messages[i].role, from->role, strlen(from->role) + 1);
        int code = copy_text(
            request, from->content, strlen(from->content), &total_bytes, &messages[i].content);
        if (code != LMESH_OK)
            return code;
    }
    generate->messages = messages;
    generate->message_count = options->message_count;
    return LMESH_OK;
}

static int copy_prompt(struct lmesh_request *request, const struct lmesh_generate_options *options)
{
    struct wire_generate *generate = &request->message.generate;
    int forms = (options->prompt != NULL) + (options->ids != NULL) + (options->messages != NULL);
    size_t total_bytes = 0;

    if (forms != 1)
        return invalid(request->client, "give exactly one of prompt, ids and messages");
    if (options->ids != NULL) {
        generate->prompt_kind = WIRE_PROMPT_IDS;
        return copy_ids(
            request, options->ids, options->id_count, &generate->ids, &generate->id_count);
    }
    if (options->messages != NULL) {
        generate->prompt_kind = WIRE_PROMPT_CHAT;
        return copy_messages(request, options);
    }
    generate->prompt_kind = WIRE_PROMPT_TEXT;
    size_t bytes = options->prompt_bytes > 0 ? options->prompt_bytes : strlen(options->prompt);
    return copy_text(request, options->prompt, bytes, &total_bytes, &generate->text);
}

/* An empty request of client, or NULL with *ret_code. */
static struct lmesh_request *start(struct lmesh_client *client, int *ret_code)
{
    *ret_code = LMESH_ERR_INVALID;
    if (client == NULL || client->socket == NULL)
        return NULL;
    struct lmesh_request *request = base_alloc_zeroed(1, sizeof(*request));
    if (request == NULL) {
        *ret_code = out_of_memory(client);
        return NULL;
    }
    request->client = client;
    request->id = ++client->last_id;
    request->created_ms = base_clock_ms();
    base_arena_init(&request->arena, SDK_REQUEST_BYTES_MAX);
    base_arena_init(&request->part_arena, SDK_INBOX_BYTES_MAX);
    request->next = client->requests;
    client->requests = request;
    return request;
}

/* Sends the finished message, or gives the half-made request back. */
static int finish(struct lmesh_request *request, int code, struct lmesh_request **ret_request)
{
    if (code != LMESH_OK) {
        lmesh_request_destroy(&request);
        return code;
    }
    sdk_client_pump(request->client, request);
    *ret_request = request;
    return LMESH_OK;
}

int lmesh_generate(struct lmesh_client *client, const struct lmesh_generate_options *options,
    struct lmesh_request **ret_request)
{
    int code;

    if (options == NULL || ret_request == NULL)
        return LMESH_ERR_INVALID;
    struct lmesh_request *request = start(client, &code);
    if (request == NULL)
        return code;
    request->message.kind = WIRE_GENERATE;
    request->choices = options->choices > 1 ? options->choices : 1;
    request->message.generate = (struct wire_generate){.request_id = request->id,
        .choices = options->choices,
        .min_tokens = options->min_tokens,
        .max_tokens = options->max_tokens,
        .ignore_eos = options->ignore_eos != 0,
        .deadline_ms = options->deadline_ms};
    code = check_sampling(client, options);
    if (code == LMESH_OK)
        code = copy_sampling(request, options);
    if (code == LMESH_OK)
        code = copy_stops(request, options);
    if (code == LMESH_OK)
        code = copy_prompt(request, options);
    return finish(request, code, ret_request);
}

int lmesh_score(struct lmesh_client *client, const struct lmesh_score_options *options,
    struct lmesh_request **ret_request)
{
    int code;

    if (options == NULL || ret_request == NULL)
        return LMESH_ERR_INVALID;
    struct lmesh_request *request = start(client, &code);
    if (request == NULL)
        return code;
    request->message.kind = WIRE_SCORE;
    request->message.score = (struct wire_score){.request_id = request->id,
        .all_positions = options->all_positions != 0,
        .want_logits = options->want_logits != 0,
        .want_logprobs = options->want_logprobs != 0,
        .deadline_ms = options->deadline_ms};
    code = copy_ids(request, options->ids, options->id_count, &request->message.score.ids,
        &request->message.score.id_count);
    return finish(request, code, ret_request);
}
