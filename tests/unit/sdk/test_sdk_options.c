#include "fake_router.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(sdk_options, .timeout = 30);

Test(sdk_options, carries_everything_that_was_asked_for)
{
    struct fake_router router;
    struct lmesh_client *client = NULL;
    struct lmesh_request *request = NULL;
    const struct lmesh_message messages[] = {{"system", "Be brief."}, {"user", "Hi"}};
    const struct lmesh_logit_bias biases[] = {{7, -1.5f}, {8, -INFINITY}};
    const char *const stops[] = {"\n\n", "END"};
    const uint32_t ids[] = {21, 22};
    const struct lmesh_generate_options options = {.messages = messages,
        .message_count = 2,
        .max_tokens = 11,
        .temperature = 0.5f,
        .top_k = 12,
        .top_p = 0.25f,
        .min_p = 0.125f,
        .repeat_penalty = 1.5f,
        .repeat_last_n = 13,
        .presence_penalty = -0.5f,
        .frequency_penalty = 0.75f,
        .seed = UINT64_MAX - 1,
        .logit_biases = biases,
        .logit_bias_count = 2,
        .stops = stops,
        .stop_count = 2,
        .ignore_eos = 1,
        .top_logprobs = 5,
        .deadline_ms = 9000,
        .choices = 3,
        .token_bytes = 1,
        .dry_multiplier = 0.875f,
        .dry_base = 1.25f,
        .dry_allowed_length = 14,
        .dry_last_n = 15,
        .dry_breakers = stops,
        .dry_breaker_count = 1,
        .top_n_sigma = 1.125f,
        .typical_p = 0.625f,
        .xtc_probability = 0.375f,
        .xtc_threshold = 0.0625f,
        .dynatemp_range = 0.3125f,
        .dynatemp_exponent = 1.75f,
        .min_keep = 16,
        .min_tokens = 17,
        .stop_ids = ids,
        .stop_id_count = 2,
        .suppress = ids + 1,
        .suppress_count = 1};

    fake_router_open(&router);
    cr_assert_eq(lmesh_client_new(router.endpoint, &client), LMESH_OK);
    cr_assert_eq(lmesh_generate(client, &options, &request), LMESH_OK);
    const struct wire_generate *got =
        &fake_router_expect(&router, WIRE_GENERATE, request)->generate;
    cr_assert_eq(got->prompt_kind, WIRE_PROMPT_CHAT);
    cr_assert_eq(got->message_count, 2);
    cr_assert_str_eq(got->messages[0].role, "system");
    cr_assert_eq(got->messages[1].content.bytes, 2);
    cr_assert_eq(memcmp(got->messages[1].content.data, "Hi", 2), 0);
    cr_assert_eq(got->max_tokens, 11);
    cr_assert_eq(got->sampling.temperature, 0.5f);
    cr_assert_eq(got->sampling.top_k, 12);
    cr_assert_eq(got->sampling.top_p, 0.25f);
    cr_assert_eq(got->sampling.min_p, 0.125f);
    cr_assert_eq(got->sampling.repeat_penalty, 1.5f);
    cr_assert_eq(got->sampling.repeat_last_n, 13);
    cr_assert_eq(got->sampling.presence_penalty, -0.5f);
    cr_assert_eq(got->sampling.frequency_penalty, 0.75f);
    cr_assert_eq(got->sampling.seed, UINT64_MAX - 1);
    cr_assert_eq(got->sampling.logit_bias_count, 2);
    cr_assert_eq(got->sampling.logit_biases[0].token_id, 7);
    cr_assert(isinf(got->sampling.logit_biases[1].bias));
    cr_assert_eq(got->sampling.top_logprobs, 5);
    cr_assert_eq(got->stop_count, 2);
    cr_assert_eq(memcmp(got->stops[1].data, "END", 3), 0);
    cr_assert(got->ignore_eos);
    cr_assert_eq(got->deadline_ms, 9000);
    cr_assert_eq(got->choices, 3);
    cr_assert(got->sampling.token_bytes);
    cr_assert_eq(got->sampling.dry_multiplier, 0.875f);
    cr_assert_eq(got->sampling.dry_base, 1.25f);
    cr_assert_eq(got->sampling.dry_allowed_length, 14);
    cr_assert_eq(got->sampling.dry_last_n, 15);
    cr_assert_eq(got->sampling.dry_breaker_count, 1);
    cr_assert_eq(memcmp(got->sampling.dry_breakers[0].data, "\n\n", 2), 0);
    cr_assert_eq(got->sampling.top_n_sigma, 1.125f);
    cr_assert_eq(got->sampling.typical_p, 0.625f);
    cr_assert_eq(got->sampling.xtc_probability, 0.375f);
    cr_assert_eq(got->sampling.xtc_threshold, 0.0625f);
    cr_assert_eq(got->sampling.dynatemp_range, 0.3125f);
    cr_assert_eq(got->sampling.dynatemp_exponent, 1.75f);
    cr_assert_eq(got->sampling.min_keep, 16);
    cr_assert_eq(got->min_tokens, 17);
    cr_assert_eq(got->stop_id_count, 2);
    cr_assert_eq(got->stop_ids[1], 22);
    cr_assert_eq(got->suppress_count, 1);
    cr_assert_eq(got->suppress[0], 22);
    lmesh_request_destroy(&request);
    lmesh_client_destroy(&client);
    fake_router_close(&router);
}

static struct lmesh_client *open_client(void)
{
    struct lmesh_client *client = NULL;

    cr_assert_eq(lmesh_client_new("ipc:///tmp/lmesh-nobody", &client), LMESH_OK);
    return client;
}

Test(sdk_options, refuses_bad_sampling)
{
    const struct lmesh_logit_bias nan_bias = {1, NAN};
    const uint32_t bad_id = LIMIT_VOCAB_MAX;
    const char *const empty = "";
    const struct lmesh_generate_options bad[] = {
        {.prompt = "a", .temperature = -1},
        {.prompt = "a", .temperature = NAN},
        {.prompt = "a", .temperature = INFINITY},
        {.prompt = "a", .top_p = 1.5f},
        {.prompt = "a", .min_p = -0.1f},
        {.prompt = "a", .repeat_penalty = -1},
        {.prompt = "a", .presence_penalty = 101},
        {.prompt = "a", .frequency_penalty = NAN},
        {.prompt = "a", .top_logprobs = LIMIT_TOP_LOGPROBS + 1},
        {.prompt = "a", .logit_biases = &nan_bias, .logit_bias_count = 1},
        {.prompt = "a", .typical_p = 1.5f},
        {.prompt = "a", .xtc_probability = -1},
        {.prompt = "a", .xtc_threshold = NAN},
        {.prompt = "a", .top_n_sigma = -1},
        {.prompt = "a", .dynatemp_range = INFINITY},
        {.prompt = "a", .dynatemp_exponent = -1},
        {.prompt = "a", .dry_multiplier = 101},
        {.prompt = "a", .dry_base = NAN},
        {.prompt = "a", .choices = LIMIT_CHOICES + 1},
        {.prompt = "a", .stop_ids = &bad_id, .stop_id_count = 1},
        {.prompt = "a", .suppress = &bad_id, .suppress_count = 1},
        {.prompt = "a", .stop_ids = &bad_id, .stop_id_count = LIMIT_STOP_IDS + 1},
        {.prompt = "a", .suppress = &bad_id, .suppress_count = LIMIT_LOGIT_BIASES + 1},
        {.prompt = "a", .dry_breakers = &empty, .dry_breaker_count = 1},
        {.prompt = "a", .dry_breakers = &empty, .dry_breaker_count = LIMIT_DRY_BREAKERS + 1},
        {.prompt = "a", .logit_biases = &nan_bias, .logit_bias_count = LIMIT_LOGIT_BIASES + 1},
    };
    struct lmesh_client *client = open_client();

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lmesh_request *request = NULL;
        cr_assert_eq(lmesh_generate(client, &bad[i], &request), LMESH_ERR_INVALID, "row %zu", i);
        cr_assert_null(request);
        cr_assert_neq(lmesh_client_error(client)[0], '\0');
    }
    lmesh_client_destroy(&client);
}

Test(sdk_options, refuses_bad_prompts_and_stops)
{
    static char long_stop[LIMIT_STOP_BYTES + 2];
    static const char *many_stops[LIMIT_STOP_STRINGS + 1];
    const uint32_t id = 1;
    const struct lmesh_message odd_role = {"tool", "x"}, no_role = {NULL, "x"},
                               no_content = {"user", NULL};
    const char *const empty_stop = "";
    const char *const stop = long_stop;
    const struct lmesh_generate_options bad[] = {
        {0},
        {.prompt = "a", .ids = &id, .id_count = 1},
        {.ids = &id},
        {.ids = &id, .id_count = LIMIT_CONTEXT_TOKENS_MAX + 1},
        {.prompt = "a", .prompt_bytes = LIMIT_PROMPT_BYTES + 1},
        {.messages = &odd_role, .message_count = 1},
        {.messages = &no_role, .message_count = 1},
        {.messages = &no_content, .message_count = 1},
        {.messages = &odd_role},
        {.messages = &odd_role, .message_count = LIMIT_CHAT_MESSAGES + 1},
        {.prompt = "a", .stops = &empty_stop, .stop_count = 1},
        {.prompt = "a", .stops = &stop, .stop_count = 1},
        {.prompt = "a", .stops = many_stops, .stop_count = LIMIT_STOP_STRINGS + 1},
    };
    struct lmesh_client *client = open_client();

    memset(long_stop, 'x', sizeof(long_stop) - 1);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lmesh_request *request = NULL;
        cr_assert_eq(lmesh_generate(client, &bad[i], &request), LMESH_ERR_INVALID, "row %zu", i);
        cr_assert_null(request);
    }
    lmesh_client_destroy(&client);
}

Test(sdk_options, refuses_bad_endpoints)
{
    static const char *const bad[] = {"", "router", "udp://127.0.0.1:1", "tcp://10.1.2.3:5000"};

    (void)unsetenv("LAYERMESH_ROUTER");
    (void)unsetenv("LAYERMESH_INSECURE");
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        const char *endpoint = i == sizeof(bad) / sizeof(bad[0]) ? NULL : bad[i];
        struct lmesh_client *client = NULL;
        struct lmesh_status status;
        cr_assert_eq(lmesh_client_new(endpoint, &client), LMESH_ERR_INVALID, "row %zu", i);
        cr_assert_neq(lmesh_client_error(client)[0], '\0');
        cr_assert_eq(lmesh_status(client, 0, &status), LMESH_ERR_INVALID);
        lmesh_client_destroy(&client);
    }
}

Test(sdk_options, goes_to_another_machine_in_the_clear_only_when_told)
{
    struct lmesh_client *client = NULL;

    (void)setenv("LAYERMESH_INSECURE", "yes", 1);
    cr_assert_eq(lmesh_client_new("tcp://192.0.2.1:5000", &client), LMESH_ERR_INVALID);
    lmesh_client_destroy(&client);
    (void)setenv("LAYERMESH_INSECURE", "1", 1);
    cr_assert_eq(lmesh_client_new("tcp://192.0.2.1:5000", &client), LMESH_OK);
    lmesh_client_destroy(&client);
}
