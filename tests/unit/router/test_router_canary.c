#include <criterion/criterion.h>
#include <string.h>

#include "router_fixture.h"
#include "router_metrics.h"

TestSuite(router_canary);

static const uint32_t PROMPT[8] = {3, 1, 4, 1, 5, 9, 2, 6};

static struct fixture *start(void)
{
    struct router_options options = fixture_options();
    options.canary_ms = 1000;
    return fixture_new(&options, NULL);
}

static bool ready(struct fixture *mesh, const char *words)
{
    char text[256];
    bool is_ready = router_is_ready(mesh->router, mesh->now_us, text, sizeof(text));
    cr_assert(strstr(text, words), "'%s' is not in '%s'", words, text);
    return is_ready;
}

static uint64_t canaries(struct fixture *mesh)
{
    return metrics_get(&router_get_metrics(mesh->router)->canaries_ok);
}

Test(router_canary, ready_is_what_went_round_on_this_plan_lately)
{
    struct fixture *mesh = start();
    cr_assert_not(ready(mesh, "waiting for a plan"));
    fixture_plan(mesh, 1, 10);
    cr_assert_not(ready(mesh, "no token has gone round on plan 1"));
    fixture_wait_ms(mesh, 5);
    cr_assert_not(ready(mesh, "no token has gone round on plan 1")); /* it is on its way */
    cr_assert_eq(mesh->step_count, 1);
    cr_assert(fixture_step_once(mesh));
    cr_assert(ready(mesh, "a token went round on plan 1"));
    fixture_run(mesh); /* its page is given back */
    cr_assert_eq(canaries(mesh), 1);

    fixture_wait_ms(mesh, 900);
    cr_assert_eq(mesh->step_count, 0);
    fixture_wait_ms(mesh, 200);
    cr_assert_eq(mesh->step_count, 1); /* the next one; nobody answers it */
    fixture_wait_ms(mesh, 3000);
    cr_assert_not(ready(mesh, "no token has gone round for"));
    while (fixture_step_once(mesh))
        ;
    cr_assert(ready(mesh, "went round"));

    fixture_plan(mesh, 2, 10);
    cr_assert_not(ready(mesh, "plan 2 yet"));
    fixture_wait_ms(mesh, 5);
    while (fixture_step_once(mesh))
        ;
    cr_assert(ready(mesh, "plan 2"));
    fixture_plan_state(mesh, 3, WIRE_PLAN_UNAVAILABLE, "w-1");
    cr_assert_not(ready(mesh, "unavailable"));
    fixture_destroy(mesh);
}

Test(router_canary, traffic_is_canary_enough)
{
    struct fixture *mesh = start();
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 8, 30);
    fixture_send(mesh, 1, &request);
    for (int i = 0; i < 20; i++) {
        fixture_wait_ms(mesh, 400);
        cr_assert(fixture_step_once(mesh));
        cr_assert(ready(mesh, "went round"));
    }
    cr_assert_leq(canaries(mesh), 1);
    fixture_destroy(mesh);
}

Test(router_canary, nobody_sees_it_and_it_is_no_request)
{
    struct fixture *mesh = start();
    struct wire_router_status status;
    fixture_plan(mesh, 1, 10);
    fixture_wait_ms(mesh, 5);
    cr_assert_eq(mesh->step_count, 1);
    router_status(mesh->router, &status);
    cr_assert_eq(status.requests_running + status.requests_waiting, 0);
    while (fixture_step_once(mesh))
        ;
    const struct router_metrics *metrics = router_get_metrics(mesh->router);
    cr_assert_eq(canaries(mesh), 1);
    cr_assert_eq(mesh->answer_count, 0);
    for (int i = 0; i < ROUTER_OUTCOME_COUNT; i++)
        cr_assert_eq(metrics_get(&metrics->outcomes[i]), 0);
    cr_assert_eq(metrics_histogram_count(&metrics->first_token), 0);
    cr_assert_eq(metrics_histogram_count(&metrics->queue_wait), 0);
    cr_assert_geq(metrics_histogram_count(&metrics->round), 1);

    /* What stands in the pages after it is what stood there before: answers are the same. */
    uint32_t expected[12];
    struct wire_message request = fixture_generate(1, PROMPT, 8, 12);
    fixture_send(mesh, 1, &request);
    fixture_run(mesh);
    fixture_greedy(PROMPT, 8, 12, expected);
    cr_assert_eq(memcmp(fixture_answer_of(mesh, 1, 1)->ids, expected, sizeof(expected)), 0);
    cr_assert_eq(metrics_get(&metrics->outcomes[ROUTER_OUTCOME_LENGTH]), 1);
    cr_assert_eq(metrics_get(&metrics->completion_tokens), 12);
    cr_assert_eq(metrics_histogram_count(&metrics->between_tokens), 11);
    fixture_destroy(mesh);
}

Test(router_canary, none_while_draining_or_where_it_is_switched_off)
{
    struct fixture *mesh = start();
    fixture_plan(mesh, 1, 10);
    router_drain(mesh->router);
    fixture_wait_ms(mesh, 5000);
    cr_assert_eq(mesh->step_count, 0);
    cr_assert_not(ready(mesh, "draining"));
    fixture_destroy(mesh);

    struct router_options options = fixture_options();
    mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 10);
    fixture_wait_ms(mesh, 5000);
    cr_assert_eq(mesh->step_count, 0);
    cr_assert(ready(mesh, "no canary"));
    fixture_destroy(mesh);
}

Test(router_canary, outcomes_of_users_are_counted)
{
    struct fixture *mesh = start();
    const struct router_metrics *metrics = router_get_metrics(mesh->router);
    fixture_plan(mesh, 1, 10);
    struct wire_message request = fixture_generate(1, PROMPT, 8, 30);
    fixture_send(mesh, 1, &request);
    fixture_send(mesh, 1, &request); /* the id is in use */
    cr_assert_eq(metrics_get(&metrics->outcomes[ROUTER_OUTCOME_REFUSED]), 1);
    cr_assert_eq(metrics_get(&metrics->errors[ROUTER_CODE_INVALID]), 1);
    struct wire_message cancel = {.kind = WIRE_CANCEL, .cancel = {.request_id = 1}};
    fixture_send(mesh, 1, &cancel);
    cr_assert_eq(metrics_get(&metrics->outcomes[ROUTER_OUTCOME_CANCELLED]), 1);
    fixture_send(mesh, 2, &request);
    router_client_gone(mesh->router, mesh->now_us, 2);
    cr_assert_eq(metrics_get(&metrics->outcomes[ROUTER_OUTCOME_GONE]), 1);
    request.generate.request_id = 3;
    fixture_send(mesh, 1, &request);
    fixture_step_once(mesh);
    fixture_plan(mesh, 2, 10);
    cr_assert_geq(metrics_get(&metrics->resumes), 1);
    cr_assert_eq(metrics_get(&metrics->plans), 2);
    router_stop(mesh->router, mesh->now_us);
    cr_assert_eq(metrics_get(&metrics->outcomes[ROUTER_OUTCOME_ERROR]), 1);
    cr_assert_eq(metrics_get(&metrics->errors[ROUTER_CODE_UNAVAILABLE]), 1);
    fixture_destroy(mesh);
}
