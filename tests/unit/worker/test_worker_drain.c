#include "worker_recorder.h"
#include <criterion/criterion.h>
#include <stdio.h>

static struct recorder recorder;

static void start(void)
{
    recorder_start(&recorder);
}

static void stop(void)
{
    recorder_stop(&recorder);
}

TestSuite(worker_drain, .init = start, .fini = stop);

static enum wire_kind last_kind(void)
{
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_COORDINATOR);

    return call == NULL ? 0 : call->message_kind;
}

static void tell_drain(const char *node)
{
    struct wire_message message = {.kind = WIRE_DRAIN};

    (void)snprintf(message.drain.node_id, LIMIT_NAME_BYTES, "%s", node);
    worker_coordinator_message(recorder.worker, 0, &message);
}

Test(worker_drain, without_a_stage_it_says_goodbye_at_once)
{
    recorder_register(&recorder, 0);
    worker_drain(recorder.worker, 1);
    cr_assert(worker_is_drained(recorder.worker));
    cr_assert_eq(last_kind(), WIRE_GOODBYE);
    cr_assert_eq(recorder_last(&recorder, RECORDER_COORDINATOR)->message.goodbye.incarnation, 7);
    worker_drain(recorder.worker, 2);
    worker_tick(recorder.worker, 9999);
    cr_assert_eq(recorder.count, 1);
}

Test(worker_drain, asks_and_serves_until_the_stage_moved)
{
    recorder_register(&recorder, 0);
    recorder_serve(&recorder, 3, 1, 0);
    worker_drain(recorder.worker, 10);
    cr_assert_eq(last_kind(), WIRE_DRAIN);
    cr_assert_not(worker_is_drained(recorder.worker));
    recorder_step(
        &recorder, 20, &(struct recorder_step){.epoch = 3, .batch_id = 1, .token_count = 1});
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
    worker_tick(recorder.worker, 600);
    cr_assert_eq(recorder_last(&recorder, RECORDER_COORDINATOR)->message.heartbeat.state,
        WIRE_WORKER_DRAINING);
    recorder_plan(&recorder, 700, 4, WIRE_PLAN_PREPARE, 1, SIZE_MAX);
    cr_assert_not(worker_is_drained(recorder.worker));
    recorder_plan(&recorder, 800, 4, WIRE_PLAN_ACTIVE, 1, SIZE_MAX);
    cr_assert(worker_is_drained(recorder.worker));
    cr_assert_eq(last_kind(), WIRE_GOODBYE);
}

Test(worker_drain, ends_when_the_coordinator_says_so)
{
    recorder_register(&recorder, 0);
    recorder_serve(&recorder, 3, 1, 0);
    worker_drain(recorder.worker, 10);
    tell_drain("somebody-else");
    cr_assert_not(worker_is_drained(recorder.worker));
    tell_drain("me");
    cr_assert(worker_is_drained(recorder.worker));
    cr_assert_eq(last_kind(), WIRE_GOODBYE);
}

Test(worker_drain, a_load_that_is_taken_away_ends_it)
{
    recorder_register(&recorder, 0);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 1, 0);
    worker_drain(recorder.worker, 10);
    cr_assert_not(worker_is_drained(recorder.worker));
    recorder_plan(&recorder, 20, 4, WIRE_PLAN_PREPARE, 1, SIZE_MAX);
    cr_assert(worker_is_drained(recorder.worker));
}

Test(worker_drain, is_asked_again_from_a_coordinator_that_came_back)
{
    recorder_register(&recorder, 0);
    recorder_serve(&recorder, 3, 1, 0);
    worker_connected(recorder.worker, 10);
    worker_drain(recorder.worker, 20);
    cr_assert_eq(last_kind(), WIRE_REGISTER); /* not heard before it is registered */
    struct wire_message registered = {.kind = WIRE_REGISTERED};
    worker_coordinator_message(recorder.worker, 30, &registered);
    cr_assert_eq(last_kind(), WIRE_DRAIN);
}
