#include "fake_router.h"

#include "base_alloc.h"
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_router router;
static struct lmesh_client *client;

static void set_up(void)
{
    fake_router_open(&router);
    cr_assert_eq(lmesh_client_new(router.endpoint, &client), LMESH_OK);
}

static void tear_down(void)
{
    lmesh_client_destroy(&client);
    fake_router_close(&router);
}

TestSuite(sdk_client, .init = set_up, .fini = tear_down, .timeout = 30);

static struct lmesh_request *start(void)
{
    const struct lmesh_generate_options options = {.prompt = "Hi"};
    struct lmesh_request *request = NULL;

    cr_assert_eq(lmesh_generate(client, &options, &request), LMESH_OK);
    return request;
}

/* Starts a request and waits until the router has it. */
static struct lmesh_request *start_running(uint64_t *ret_id)
{
    struct lmesh_request *request = start();

    *ret_id = fake_router_expect(&router, WIRE_GENERATE, request)->generate.request_id;
    return request;
}

static const struct lmesh_part *next_part(struct lmesh_request *request)
{
    const struct lmesh_part *part = NULL;

    cr_assert_eq(lmesh_next(request, 3000, &part), LMESH_OK, "%s", lmesh_client_error(client));
    return part;
}

Test(sdk_client, streams_tokens_and_ends)
{
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    fake_router_send_token(&router, id, 0, 41, "He");
    const struct lmesh_part *part = next_part(request);
    cr_assert_str_eq(part->text, "He");
    cr_assert_eq(part->text_bytes, 2);
    cr_assert_eq(part->token_count, 1);
    cr_assert_eq(part->tokens[0].id, 41);
    cr_assert_eq(part->tokens[0].logprob, -0.25f);
    cr_assert_eq(part->tokens[0].top_count, 2);
    cr_assert_eq(part->tokens[0].tops[1].id, 42);
    cr_assert_eq(part->finish, LMESH_FINISH_NONE);

    fake_router_send_token(&router, id, 1, 43, "");
    fake_router_send_final(&router, id, WIRE_FINISH_LENGTH, NULL);
    part = next_part(request);
    cr_assert_str_eq(part->text, "");
    cr_assert_eq(part->tokens[0].id, 43);
    part = next_part(request);
    cr_assert_eq(part->finish, LMESH_FINISH_LENGTH);
    cr_assert_eq(part->prompt_tokens, 3);
    cr_assert_eq(part->completion_tokens, 2);
    cr_assert_eq(part->ttft_ms, 1.5);
    cr_assert_eq(part->total_ms, 4.0);
    cr_assert_eq(part->resume_count, 1);
    cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_INVALID);
    lmesh_request_destroy(&request);
    cr_assert_null(request);
}

Test(sdk_client, keeps_what_arrives_for_other_requests)
{
    uint64_t first_id = 0, second_id = 0;
    struct lmesh_request *first = start_running(&first_id);
    struct lmesh_request *second = start_running(&second_id);

    cr_assert_neq(first_id, second_id);
    fake_router_send_token(&router, second_id, 0, 20, "b");
    fake_router_send_token(&router, first_id, 0, 10, "a");
    fake_router_send_final(&router, second_id, WIRE_FINISH_STOP, NULL);
    fake_router_send_token(&router, first_id, 1, 11, "c");
    fake_router_send_final(&router, first_id, WIRE_FINISH_STOP, NULL);
    cr_assert_eq(next_part(first)->tokens[0].id, 10);
    cr_assert_eq(next_part(first)->tokens[0].id, 11);
    cr_assert_eq(next_part(first)->finish, LMESH_FINISH_STOP);
    cr_assert_eq(next_part(second)->tokens[0].id, 20);
    cr_assert_eq(next_part(second)->finish, LMESH_FINISH_STOP);
    lmesh_request_destroy(&first);
    lmesh_request_destroy(&second);
}

static void send_choice(uint64_t id, uint32_t choice, uint32_t sequence, uint32_t token)
{
    const struct wire_top_logprob top = {
        .token_id = 9, .logprob = -3, .piece = {(const uint8_t *)"\xc3", 1}};
    const struct wire_token_part part = {.token_id = token,
        .logprob = -0.5f,
        .top = &top,
        .top_count = 1,
        .piece = {(const uint8_t *)"ab", 2}};
    const struct wire_message message = {.kind = WIRE_PARTIAL,
        .partial = {.request_id = id,
            .sequence = sequence,
            .choice = choice,
            .tokens = &part,
            .token_count = 1}};

    fake_router_send(&router, &message, NULL, 0);
}

static void send_choice_end(
    uint64_t id, uint32_t choice, uint32_t choices_open, const struct wire_fault *fault)
{
    struct wire_message message = {.kind = WIRE_FINAL,
        .final = {.request_id = id,
            .finish_reason = fault != NULL ? WIRE_FINISH_ERROR : WIRE_FINISH_STOP,
            .choice = choice,
            .choices_open = choices_open,
            .shared_tokens = 64,
            .total_completion_tokens = 20}};

    if (fault != NULL)
        message.final.error = *fault;
    fake_router_send(&router, &message, NULL, 0);
}

static struct lmesh_request *start_choices(uint32_t choices, uint64_t *ret_id)
{
    const struct lmesh_generate_options options = {.prompt = "Hi", .choices = choices};
    struct lmesh_request *request = NULL;

    cr_assert_eq(lmesh_generate(client, &options, &request), LMESH_OK);
    *ret_id = fake_router_expect(&router, WIRE_GENERATE, request)->generate.request_id;
    return request;
}

Test(sdk_client, choices_are_numbered_each_for_itself_and_end_one_by_one)
{
    const struct wire_fault fault = {.code = BASE_UNAVAILABLE, .text = "no room"};
    uint64_t id = 0;
    struct lmesh_request *request = start_choices(3, &id);

    send_choice(id, 2, 0, 7);
    const struct lmesh_part *part = next_part(request);
    cr_assert_eq(part->choice, 2);
    cr_assert_eq(part->tokens[0].byte_count, 2);
    cr_assert_eq(memcmp(part->tokens[0].bytes, "ab", 2), 0);
    cr_assert_eq(part->tokens[0].tops[0].byte_count, 1);
    cr_assert_eq(part->tokens[0].tops[0].bytes[0], '\xc3');
    send_choice(id, 0, 0, 8);
    send_choice(id, 2, 1, 9);
    cr_assert_eq(next_part(request)->choice, 0);
    cr_assert_eq(next_part(request)->choice, 2);
    send_choice_end(id, 2, 2, NULL);
    part = next_part(request);
    cr_assert_eq(part->finish, LMESH_FINISH_STOP);
    cr_assert_eq(part->choices_open, 2);
    cr_assert_eq(part->shared_tokens, 64);

    send_choice_end(id, 1, 1, &fault); /* alone: the others go on */
    part = next_part(request);
    cr_assert_eq(part->finish, LMESH_FINISH_ERROR);
    cr_assert_eq(part->choice, 1);
    cr_assert_str_eq(part->error, "no room");
    cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_AGAIN);

    cr_assert_eq(lmesh_cancel_choice(request, 3), LMESH_ERR_INVALID);
    cr_assert_eq(lmesh_cancel_choice(request, 0), LMESH_OK);
    const struct wire_cancel *cancel = &fake_router_expect(&router, WIRE_CANCEL, request)->cancel;
    cr_assert(cancel->one_choice && cancel->choice == 0 && cancel->request_id == id);
    send_choice_end(id, 0, 0, NULL);
    part = next_part(request);
    cr_assert_eq(part->choices_open, 0);
    cr_assert_eq(part->total_completion_tokens, 20);
    cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_INVALID);
    lmesh_request_destroy(&request);
}

Test(sdk_client, choices_that_are_refused_fail_as_one)
{
    const struct wire_fault fault = {.code = BASE_FULL, .text = "the queue is full"};
    const struct lmesh_part *part = NULL;
    uint64_t id = 0;
    struct lmesh_request *request = start_choices(3, &id);

    send_choice_end(id, 0, 0, &fault);
    cr_assert_eq(lmesh_next(request, 3000, &part), LMESH_ERR_REFUSED);
    cr_assert_str_eq(lmesh_client_error(client), "the queue is full");
    lmesh_request_destroy(&request);
}

Test(sdk_client, reads_logits_and_logprobs)
{
    const uint32_t ids[] = {5, 6, 7};
    const struct lmesh_score_options options = {
        .ids = ids, .id_count = 3, .all_positions = 1, .want_logits = 1, .want_logprobs = 1};
    const float logits[] = {1, 2, 3, 4, 5, 6}, logprobs[] = {-1, -2};
    struct lmesh_request *request = NULL;

    cr_assert_eq(lmesh_score(client, &options, &request), LMESH_OK);
    const struct wire_message *message = fake_router_expect(&router, WIRE_SCORE, request);
    cr_assert_eq(message->score.id_count, 3);
    cr_assert_eq(message->score.ids[2], 7);
    cr_assert(message->score.all_positions && message->score.want_logits);
    const struct wire_message answer = {.kind = WIRE_PARTIAL,
        .partial = {.request_id = message->score.request_id,
            .first_position = 1,
            .row_count = 2,
            .vocab_size = 3,
            .logprobs = logprobs,
            .logprob_count = 2}};
    fake_router_send(&router, &answer, logits, sizeof(logits));
    const struct lmesh_part *part = next_part(request);
    cr_assert_eq(part->first_position, 1);
    cr_assert_eq(part->row_count, 2);
    cr_assert_eq(part->vocab_size, 3);
    cr_assert_eq(memcmp(part->logits, logits, sizeof(logits)), 0);
    cr_assert_eq(part->logprob_count, 2);
    cr_assert_eq(part->logprobs[1], -2.0f);
    lmesh_request_destroy(&request);
}

Test(sdk_client, reports_an_error_with_its_hop_after_the_text)
{
    const struct wire_fault fault = {
        .code = BASE_UNAVAILABLE, .text = "stage 2 is lost", .node = "w-2"};
    const struct lmesh_part *part = NULL;
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    fake_router_send_token(&router, id, 0, 1, "x");
    fake_router_send_final(&router, id, WIRE_FINISH_ERROR, &fault);
    cr_assert_str_eq(next_part(request)->text, "x");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(lmesh_next(request, 3000, &part), LMESH_ERR_UNAVAILABLE);
        cr_assert_str_eq(lmesh_client_error(client), "stage 2 is lost (at w-2)");
    }
    lmesh_request_destroy(&request);
}

Test(sdk_client, fails_when_a_part_is_missing)
{
    const struct lmesh_part *part = NULL;
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    fake_router_send_token(&router, id, 1, 1, "x");
    cr_assert_eq(lmesh_next(request, 3000, &part), LMESH_ERR_FAILED);
    lmesh_request_destroy(&request);
    cr_assert(fake_router_sees(&router, WIRE_CANCEL, NULL, 3000));
}

Test(sdk_client, cancels_and_still_gets_the_end)
{
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    cr_assert_eq(lmesh_cancel(request), LMESH_OK);
    cr_assert_eq(fake_router_expect(&router, WIRE_CANCEL, request)->cancel.request_id, id);
    fake_router_send_final(&router, id, WIRE_FINISH_CANCELLED, NULL);
    cr_assert_eq(next_part(request)->finish, LMESH_FINISH_CANCELLED);
    lmesh_request_destroy(&request);
}

Test(sdk_client, destroying_a_request_cancels_it)
{
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    lmesh_request_destroy(&request);
    cr_assert_eq(fake_router_expect(&router, WIRE_CANCEL, NULL)->cancel.request_id, id);
    /* What still comes for it is dropped, and the next request is not disturbed. */
    fake_router_send_token(&router, id, 0, 1, "x");
    request = start_running(&id);
    fake_router_send_token(&router, id, 0, 2, "y");
    cr_assert_str_eq(next_part(request)->text, "y");
    lmesh_request_destroy(&request);
}

Test(sdk_client, sends_signs_of_life_while_it_waits)
{
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    cr_assert(fake_router_sees(&router, WIRE_PING, request, 2500));
    cr_assert(fake_router_sees(&router, WIRE_PING, request, 2500));
    lmesh_request_destroy(&request);
}

Test(sdk_client, fails_when_the_router_goes)
{
    const struct lmesh_part *part = NULL;
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    fake_router_send_token(&router, id, 0, 1, "x");
    cr_assert_str_eq(next_part(request)->text, "x");
    net_close(&router.socket);
    cr_assert_eq(lmesh_next(request, 5000, &part), LMESH_ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(lmesh_client_error(client), router.endpoint));
    lmesh_request_destroy(&request);
}

Test(sdk_client, fails_when_the_router_falls_silent)
{
    const struct lmesh_part *part = NULL;
    uint64_t id = 0;
    struct lmesh_request *request = start_running(&id);

    cr_assert_eq(lmesh_next(request, 20000, &part), LMESH_ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(lmesh_client_error(client), "does not answer"));
    lmesh_request_destroy(&request);
}

Test(sdk_client, fails_when_there_is_no_router)
{
    const struct lmesh_part *part = NULL;
    char endpoint[LIMIT_ENDPOINT_BYTES];

    lmesh_client_destroy(&client);
    (void)snprintf(endpoint, sizeof(endpoint), "ipc://%s/nobody", router.directory);
    cr_assert_eq(lmesh_client_new(endpoint, &client), LMESH_OK);
    struct lmesh_request *request = start();
    cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_AGAIN);
    cr_assert_eq(lmesh_next(request, 9000, &part), LMESH_ERR_CONNECT);
    cr_assert_not_null(strstr(lmesh_client_error(client), endpoint));
    lmesh_request_destroy(&request);
}

Test(sdk_client, asks_for_the_status)
{
    const struct wire_message answer = {.kind = WIRE_ROUTER_STATUS,
        .router_status = {.ready = true,
            .plan_epoch = 9,
            .requests_running = 1,
            .requests_waiting = 2,
            .kv_pages_used = 3,
            .kv_pages_total = 4}};
    struct lmesh_status status = {0};
    int code;

    /* The router answers the first question only after it was given up; the second one at once. */
    do
        code = lmesh_status(client, 100, &status);
    while (code == LMESH_ERR_CONNECT);
    cr_assert_eq(code, LMESH_ERR_TIMEOUT);
    cr_assert(fake_router_sees(&router, WIRE_ROUTER_STATUS_QUERY, NULL, 3000));
    fake_router_send(&router, &answer, NULL, 0);
    cr_assert_eq(lmesh_status(client, 3000, &status), LMESH_OK);
    cr_assert(status.ready);
    cr_assert_eq(status.plan_epoch, 9);
    cr_assert_eq(status.requests_running, 1);
    cr_assert_eq(status.requests_waiting, 2);
    cr_assert_eq(status.kv_pages_used, 3);
    cr_assert_eq(status.kv_pages_total, 4);
}

Test(sdk_client, requests_outlive_their_client_harmlessly)
{
    const struct lmesh_part *part = NULL;
    struct lmesh_request *request = start();

    lmesh_client_destroy(&client);
    cr_assert_eq(lmesh_next(request, 0, &part), LMESH_ERR_INVALID);
    cr_assert_eq(lmesh_cancel(request), LMESH_ERR_INVALID);
    lmesh_request_destroy(&request);
}

Test(sdk_client, leaves_signals_alone)
{
    sigset_t mask;
    struct sigaction action;

    cr_assert_eq(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    cr_assert_eq(sigismember(&mask, SIGINT), 0);
    cr_assert_eq(sigismember(&mask, SIGPIPE), 0);
    cr_assert_eq(sigaction(SIGINT, NULL, &action), 0);
    cr_assert(action.sa_handler == SIG_DFL);
    cr_assert_eq(sigaction(SIGTERM, NULL, &action), 0);
    cr_assert(action.sa_handler == SIG_DFL);
}

Test(sdk_client, survives_without_memory)
{
    const struct lmesh_generate_options options = {.prompt = "Hi"};

    for (unsigned long n = 1; n < 12; n++) {
        struct lmesh_request *request = NULL;
        base_alloc_fail_from(n);
        int code = lmesh_generate(client, &options, &request);
        base_alloc_fail_from(0);
        cr_assert(code == LMESH_OK || code == LMESH_ERR_NOMEM, "%d", code);
        cr_assert_eq(code == LMESH_OK, request != NULL);
        lmesh_request_destroy(&request);
    }
}
