/* Whose steps and hellos a worker takes: those of the key that the plan has before it. */
#include "worker_recorder.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct recorder recorder;

static void start(void)
{
    recorder_start(&recorder);
    recorder_register(&recorder, 0);
    recorder.has_keys = true;
}

static void stop(void)
{
    recorder_stop(&recorder);
}

TestSuite(worker_hop, .init = start, .fini = stop);

/* From now on messages come over a connection of this node's key; NULL: over a plain one. */
static void speak_as(const char *node)
{
    recorder.sender_key[0] = 0;
    if (node != NULL)
        recorder_key(node, recorder.sender_key);
}

/* Serves stage index of 3 in this epoch, with the previous hop there. */
static void serve(uint64_t epoch, size_t index)
{
    char previous[LIMIT_NAME_BYTES] = "router";

    if (index > 0)
        (void)snprintf(previous, sizeof(previous), "w%zu", index - 1);
    speak_as(previous);
    recorder_serve(&recorder, epoch, 3, index);
    cr_assert(recorder.is_taken);
}

static void step(uint64_t epoch, uint64_t batch_id, size_t index)
{
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = epoch,
            .batch_id = batch_id,
            .token_count = 3,
            .first_page = 2,
            .embedding_length = index == 0 ? 0 : RECORDER_WIDTH});
}

/* Nothing came of what was said last. */
static void expect_nothing(const char *who)
{
    cr_assert_not(recorder.is_taken, "%s", who);
    cr_assert_eq(recorder.count, 0, "%s: %zu calls", who, recorder.count);
}

Test(worker_hop, the_first_stage_takes_steps_of_the_router_only)
{
    const char *const others[] = {"me", "w1", "w2", "spare", "router2"};

    serve(3, 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        speak_as(others[i]);
        step(3, 1, 0);
        expect_nothing(others[i]);
    }
    speak_as("router");
    step(3, 1, 0);
    cr_assert(recorder.is_taken);
    cr_assert_eq(recorder_last(&recorder, RECORDER_RUN)->batch_id, 1);
}

Test(worker_hop, a_later_stage_takes_steps_of_the_stage_before_only)
{
    const char *const others[] = {"router", "w0", "me", "spare"};

    serve(3, 2);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        speak_as(others[i]);
        step(3, 1, 2);
        expect_nothing(others[i]);
    }
    speak_as("w1");
    step(3, 1, 2);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

/* A hello under the right name takes the link over; under another key it must not. */
Test(worker_hop, a_hello_with_anothers_key_does_not_take_the_link)
{
    serve(3, 1);
    speak_as("spare");
    recorder_hello(&recorder, 6, 3, "w0", 50);
    expect_nothing("spare");
    speak_as("w0");
    step(3, 1, 1);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1, "the real link lost its credit");
}

/* An error for it would make the router give up the real step of that number. */
Test(worker_hop, a_step_of_a_stranger_without_credit_is_no_error_to_the_router)
{
    serve(3, 0);
    speak_as("w2");
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 1, .peer = 9, .token_count = 3, .first_page = 2});
    expect_nothing("w2");
}

Test(worker_hop, a_plan_that_is_not_active_yet_is_bound_too)
{
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_PREPARE, 3, 0);
    worker_loaded(recorder.worker, 0, 4, RECORDER_PAGES, NULL);
    recorder_clear(&recorder);
    speak_as("w1");
    recorder_hello(&recorder, 6, 4, "router", 1);
    expect_nothing("w1");
    step(4, 1, 0);
    expect_nothing("w1");
    cr_assert_eq(worker_epoch(recorder.worker), 0);
    speak_as("router");
    recorder_hello(&recorder, 5, 4, "router", 1);
    step(4, 1, 0);
    cr_assert_eq(worker_epoch(recorder.worker), 4);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

/* After a failover another worker is before us: the lost one's key is worth nothing any more. */
Test(worker_hop, a_new_epoch_brings_a_new_key)
{
    serve(3, 2);
    speak_as("router"); /* of epoch 5 "me" is the second stage of three, behind w0 */
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 3, 1);
    worker_loaded(recorder.worker, 0, 5, RECORDER_PAGES, NULL);
    speak_as("w1");
    recorder_clear(&recorder);
    step(3, 1, 2);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1, "the plan that serves goes on");
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_ACTIVE, 3, 1);
    recorder_clear(&recorder);
    step(5, 1, 1);
    expect_nothing("w1");
    speak_as("w0");
    recorder_hello(&recorder, 8, 5, "w0", 50);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 5,
            .batch_id = 1,
            .peer = 8,
            .token_count = 3,
            .first_page = 2,
            .embedding_length = RECORDER_WIDTH});
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

/* As before keys were bound: whoever sends it, the router hears that the epoch is over. */
Test(worker_hop, a_late_step_of_an_old_epoch_is_stale)
{
    serve(3, 0);
    step(2, 9, 0);
    cr_assert(recorder.is_taken);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 0);
    cr_assert_eq(
        recorder_last(&recorder, RECORDER_ROUTER)->message.step_error.error.code, BASE_STALE);
}

Test(worker_hop, without_keys_connections_and_names_decide_as_ever)
{
    recorder.has_keys = false;
    speak_as(NULL);
    recorder_serve(&recorder, 3, 3, 0);
    step(3, 1, 0);
    cr_assert(recorder.is_taken);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

/* A key where the plan has none: who holds it was never asked to be there. */
Test(worker_hop, a_plan_without_a_key_takes_none)
{
    recorder.has_keys = false;
    speak_as(NULL);
    recorder_serve(&recorder, 3, 3, 0);
    speak_as("router");
    step(3, 1, 0);
    expect_nothing("router");
}
