/* Whose results and errors the router takes: those of the keys that the plan in force has. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "router_fixture.h"
#include "router_metrics.h"

TestSuite(router_hop);

static const uint32_t PROMPT[4] = {3, 1, 4, 1};

static void key_of(const char *node, char ret[LIMIT_KEY_BYTES])
{
    memset(ret, 'k', LIMIT_KEY_BYTES - 1);
    memcpy(ret, node, strlen(node));
    ret[LIMIT_KEY_BYTES - 1] = 0;
}

/* A plan of two stages with the keys of these nodes; NULL: plain. */
static void plan(struct fixture *mesh, uint64_t epoch, const char *first, const char *last)
{
    struct wire_stage stages[2] = {{.node_id = "a", .endpoint = "inproc://a", .layer_count = 1},
        {.node_id = "b", .endpoint = "inproc://b", .layer_first = 1, .layer_count = 1}};
    struct wire_message message = {.kind = WIRE_PLAN,
        .plan = {.epoch = epoch,
            .state = WIRE_PLAN_ACTIVE,
            .stages = stages,
            .stage_count = 2,
            .router_node_id = "router-a",
            .page_tokens = LIMIT_PAGE_TOKENS,
            .page_count = 8,
            .context_length = 512,
            .vocab_size = mesh->vocab_size}};
    fixture_plan(mesh, epoch - 1, 8); /* resets the stage of the fixture */
    while (mesh->step_count > 0)
        fixture_lose(mesh);
    if (first != NULL)
        key_of(first, stages[0].public_key);
    if (last != NULL)
        key_of(last, stages[1].public_key);
    router_coordinator_message(mesh->router, mesh->now_us, &message);
    cr_assert_eq(mesh->linked_epoch, epoch);
}

static struct fixture *start(const char *first, const char *last)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    plan(mesh, 2, first, last);
    struct wire_message request = fixture_generate(7, PROMPT, 4, 6);
    fixture_send(mesh, 1, &request);
    cr_assert_eq(mesh->step_count, 1);
    return mesh;
}

static bool say(struct fixture *mesh, const char *node, const struct wire_message *message)
{
    char key[LIMIT_KEY_BYTES] = "";
    if (node != NULL)
        key_of(node, key);
    return router_data_message(mesh->router, mesh->now_us, key, message, NULL, 0);
}

static struct wire_message result_of(const struct fixture *mesh)
{
    return (struct wire_message){.kind = WIRE_RESULT,
        .result = {.epoch = mesh->steps[0].step.epoch, .batch_id = mesh->steps[0].step.batch_id}};
}

static struct wire_message error_of(const struct fixture *mesh)
{
    return (struct wire_message){.kind = WIRE_STEP_ERROR,
        .step_error = {.epoch = mesh->steps[0].step.epoch,
            .batch_id = mesh->steps[0].step.batch_id,
            .error = {.code = BASE_STALE}}};
}

static uint64_t gave_up(struct fixture *mesh)
{
    const struct router_metrics *metrics = router_get_metrics(mesh->router);
    return metrics_get(&metrics->steps_lost) + metrics_get(&metrics->steps_refused);
}

static void finish(struct fixture *mesh, const char *node)
{
    uint32_t expected[FIXTURE_TOKENS];
    struct fixture_answer *answer = fixture_answer_of(mesh, 1, 7);
    key_of(node, mesh->sender_key);
    fixture_run(mesh);
    fixture_greedy(PROMPT, 4, 6, expected);
    cr_assert_eq(answer->final_count, 1);
    cr_assert_eq(answer->final.finish_reason, WIRE_FINISH_LENGTH);
    cr_assert_eq(answer->id_count, 6);
    cr_assert_eq(memcmp(answer->ids, expected, 6 * sizeof(expected[0])), 0);
    fixture_destroy(mesh);
}

Test(router_hop, a_result_comes_from_the_last_stage_only)
{
    struct fixture *mesh = start("a", "b");
    const struct wire_message forged = result_of(mesh);
    cr_assert_not(say(mesh, "a", &forged), "the first stage");
    cr_assert_not(say(mesh, "spare", &forged), "no stage at all");
    cr_assert_eq(gave_up(mesh), 0, "a forged result was looked at");
    finish(mesh, "b");
}

Test(router_hop, an_error_comes_from_any_stage_of_the_plan)
{
    struct fixture *mesh = start("a", "b");
    const struct wire_message error = error_of(mesh);
    cr_assert_not(say(mesh, "spare", &error));
    cr_assert_eq(gave_up(mesh), 0);
    cr_assert(say(mesh, "a", &error));
    cr_assert_eq(gave_up(mesh), 1);
    fixture_destroy(mesh);
}

/* The spare that took the last stage over speaks for it now, and the lost worker does not. */
Test(router_hop, a_failover_hands_the_right_on)
{
    struct fixture *mesh = start("a", "b");
    const struct wire_message late = result_of(mesh);
    plan(mesh, 4, "a", "c");
    cr_assert_eq(mesh->step_count, 1);
    const struct wire_message forged = result_of(mesh);
    cr_assert_not(say(mesh, "b", &forged), "the lost worker");
    cr_assert(say(mesh, "b", &late), "what is late is dropped, as ever, and no offence");
    cr_assert_eq(gave_up(mesh), 0);
    finish(mesh, "c");
}

Test(router_hop, one_stage_is_first_and_last)
{
    struct router_options options = fixture_options();
    struct fixture *mesh = fixture_new(&options, NULL);
    fixture_plan(mesh, 1, 8);
    struct wire_message request = fixture_generate(7, PROMPT, 4, 6);
    fixture_send(mesh, 1, &request);
    const struct wire_message forged = result_of(mesh);
    cr_assert_not(say(mesh, "a", &forged), "the plan has no key there, so none may speak for it");
    cr_assert_eq(gave_up(mesh), 0);
    fixture_destroy(mesh);
}

Test(router_hop, plain_connections_say_what_they_like)
{
    struct fixture *mesh = start("a", "b");
    const struct wire_message error = error_of(mesh);
    cr_assert(say(mesh, NULL, &error));
    cr_assert_eq(gave_up(mesh), 1);
    fixture_destroy(mesh);
}

Test(router_hop, without_a_plan_nothing_is_looked_at)
{
    struct fixture *mesh = start("a", "b");
    const struct wire_message late = result_of(mesh);
    fixture_plan_state(mesh, 9, WIRE_PLAN_UNAVAILABLE, "a");
    cr_assert(say(mesh, "spare", &late));
    cr_assert_eq(gave_up(mesh), 0);
    fixture_destroy(mesh);
}
