#include "base_alloc.h"
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

TestSuite(worker_membership, .init = start, .fini = stop);

static void tell_error(uint64_t now_ms, int code, const char *text)
{
    struct wire_message message = {.kind = WIRE_ERROR, .error = {.code = code}};

    (void)snprintf(message.error.text, sizeof(message.error.text), "%s", text);
    worker_coordinator_message(recorder.worker, now_ms, &message);
}

static const struct wire_heartbeat *heartbeat(void)
{
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_COORDINATOR);

    cr_assert_not_null(call);
    cr_assert_eq(call->message_kind, WIRE_HEARTBEAT);
    return &call->message.heartbeat;
}

Test(worker_membership, registers_when_connected_and_asks_again_without_answer)
{
    cr_assert_eq(worker_next_tick_ms(recorder.worker), UINT64_MAX);
    worker_connected(recorder.worker, 100);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(recorder.calls[0].message_kind, WIRE_REGISTER);
    cr_assert_str_eq(recorder.calls[0].message.register_.node_id, "me");
    cr_assert_eq(recorder.calls[0].message.register_.incarnation, 7);

    worker_tick(recorder.worker, 101);
    cr_assert_eq(recorder.count, 1);
    worker_tick(recorder.worker, worker_next_tick_ms(recorder.worker));
    cr_assert_eq(recorder.count, 2);
    cr_assert_eq(recorder.calls[1].message_kind, WIRE_REGISTER);
}

Test(worker_membership, beats_at_the_interval_that_it_was_given)
{
    recorder_register(&recorder, 1000);
    worker_tick(recorder.worker, 1000);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(heartbeat()->state, WIRE_WORKER_SPARE);
    cr_assert_eq(heartbeat()->busy_ms, 0);
    cr_assert_eq(heartbeat()->incarnation, 7);
    worker_tick(recorder.worker, 1499);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(worker_next_tick_ms(recorder.worker), 1500);
    worker_tick(recorder.worker, 1500);
    cr_assert_eq(recorder.count, 2);
}

Test(worker_membership, a_hostile_interval_is_bounded)
{
    struct wire_message registered = {
        .kind = WIRE_REGISTERED, .registered = {.heartbeat_interval_ms = UINT32_MAX}};

    worker_connected(recorder.worker, 0);
    worker_coordinator_message(recorder.worker, 0, &registered);
    worker_tick(recorder.worker, 0);
    cr_assert_leq(worker_next_tick_ms(recorder.worker), 60000);
    registered.registered.heartbeat_interval_ms = 1;
    worker_connected(recorder.worker, 10);
    worker_coordinator_message(recorder.worker, 10, &registered);
    worker_tick(recorder.worker, 10);
    cr_assert_geq(worker_next_tick_ms(recorder.worker), 20);
}

Test(worker_membership, tells_state_and_load_of_its_stage)
{
    static const uint32_t released[] = {1};

    recorder_register(&recorder, 0);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 2, 0);
    worker_tick(recorder.worker, 1000);
    cr_assert_eq(heartbeat()->state, WIRE_WORKER_LOADING);
    cr_assert_eq(heartbeat()->plan_epoch, 3);
    recorder_serve(&recorder, 3, 2, 0);

    recorder_step(&recorder, 2000,
        &(struct recorder_step){.epoch = 3, .batch_id = 8, .token_count = 65, .first_page = 1});
    recorder_step(&recorder, 2010,
        &(struct recorder_step){.epoch = 3, .batch_id = 9, .token_count = 1, .first_page = 4});
    worker_tick(recorder.worker, 2250);
    cr_assert_eq(heartbeat()->state, WIRE_WORKER_READY);
    cr_assert_eq(heartbeat()->busy_ms, 250);
    cr_assert_eq(heartbeat()->queue_depth, 2);
    cr_assert_eq(heartbeat()->kv_pages_used, 3);
    cr_assert_eq(heartbeat()->kv_pages_total, RECORDER_PAGES);

    recorder_ran(&recorder, 2300, 3, 8);
    worker_tick(recorder.worker, 2800);
    cr_assert_eq(heartbeat()->busy_ms, 500);
    cr_assert_eq(heartbeat()->last_progress_ms, 500);
    cr_assert_eq(heartbeat()->last_batch_id, 8);
    cr_assert_float_eq(heartbeat()->step_ms, 4.0, 1e-9);
    cr_assert_float_eq(heartbeat()->step_tokens, 65.0, 1e-9);
    cr_assert_float_eq(heartbeat()->step_context, 33.0, 1e-9);

    recorder_ran(&recorder, 2900, 3, 9);
    recorder_step(&recorder, 3000,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 10, .released = released, .released_count = 1});
    worker_tick(recorder.worker, 3400);
    cr_assert_eq(heartbeat()->busy_ms, 0);
    cr_assert_eq(heartbeat()->queue_depth, 0);
    cr_assert_eq(heartbeat()->kv_pages_used, 2);
    cr_assert_eq(heartbeat()->last_batch_id, 10);
}

Test(worker_membership, what_status_shows_is_told_when_it_changes)
{
    recorder_register(&recorder, 0);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 1, 0);
    recorder_clear(&recorder);
    /* Before READY, so that the pages are known when the plan becomes active. */
    worker_loaded(recorder.worker, 10, 3, RECORDER_PAGES, NULL);
    cr_assert_eq(recorder.count, 2);
    cr_assert_eq(recorder.calls[0].message_kind, WIRE_HEARTBEAT);
    cr_assert_eq(recorder.calls[0].message.heartbeat.kv_pages_total, RECORDER_PAGES);
    cr_assert_eq(recorder.calls[1].message_kind, WIRE_STAGE_STATUS);
    recorder_plan(&recorder, 20, 3, WIRE_PLAN_ACTIVE, 1, 0);
    cr_assert_eq(heartbeat()->state, WIRE_WORKER_READY);
    cr_assert_eq(worker_next_tick_ms(recorder.worker), 520);
    recorder_plan(&recorder, 30, 4, WIRE_PLAN_ACTIVE, 1, SIZE_MAX);
    cr_assert_eq(heartbeat()->state, WIRE_WORKER_SPARE);
    cr_assert_eq(heartbeat()->kv_pages_total, 0);
}

Test(worker_membership, busy_is_never_told_as_zero)
{
    recorder_register(&recorder, 0);
    recorder_serve(&recorder, 3, 1, 0);
    recorder_step(
        &recorder, 700, &(struct recorder_step){.epoch = 3, .batch_id = 1, .token_count = 1});
    worker_tick(recorder.worker, 700);
    cr_assert_eq(heartbeat()->busy_ms, 1);
}

Test(worker_membership, registers_again_when_it_is_not_known)
{
    recorder_register(&recorder, 0);
    tell_error(600, BASE_NOT_FOUND, "who are you");
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(recorder.calls[0].message_kind, WIRE_REGISTER);
    /* Answers to heartbeats that crossed it do not make a storm. */
    tell_error(601, BASE_NOT_FOUND, "who are you");
    tell_error(602, BASE_STALE, "old");
    cr_assert_eq(recorder.count, 1);
    cr_assert_null(worker_refusal(recorder.worker));
}

Test(worker_membership, registers_again_with_another_coordinator_and_goes_on_serving)
{
    struct wire_message ack = {
        .kind = WIRE_HEARTBEAT_ACK, .heartbeat_ack = {.coordinator_incarnation = 11}};

    recorder_register(&recorder, 0);
    recorder_serve(&recorder, 4, 1, 0);
    worker_coordinator_message(recorder.worker, 10, &ack);
    cr_assert_eq(recorder.count, 0);
    ack.heartbeat_ack.coordinator_incarnation = 12;
    worker_coordinator_message(recorder.worker, 10, &ack);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(recorder.calls[0].message_kind, WIRE_REGISTER);
    cr_assert_eq(recorder.calls[0].message.register_.plan_epoch, 4);
    recorder_step(
        &recorder, 20, &(struct recorder_step){.epoch = 4, .batch_id = 1, .token_count = 1});
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

Test(worker_membership, says_again_what_may_have_been_lost_with_a_connection)
{
    recorder_register(&recorder, 0);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 2, 1);
    worker_loaded(recorder.worker, 0, 3, RECORDER_PAGES, NULL);
    recorder_clear(&recorder);
    worker_connected(recorder.worker, 50);
    struct wire_message registered = {.kind = WIRE_REGISTERED};
    worker_coordinator_message(recorder.worker, 60, &registered);
    cr_assert_eq(recorder.count, 2);
    cr_assert_eq(recorder.calls[1].message_kind, WIRE_STAGE_STATUS);
    cr_assert_eq(recorder.calls[1].message.stage_status.state, WIRE_STAGE_READY);
}

Test(worker_membership, a_refusal_is_final_and_has_its_reason)
{
    static const int codes[] = {BASE_UNSUPPORTED, BASE_INVALID, BASE_DENIED};

    for (size_t i = 0; i < 3; i++) {
        struct recorder refused;
        recorder_start(&refused);
        worker_connected(refused.worker, 0);
        struct wire_message message = {
            .kind = WIRE_ERROR, .error = {.code = codes[i], .text = "another model"}};
        worker_coordinator_message(refused.worker, 1, &message);
        cr_assert_not_null(worker_refusal(refused.worker));
        cr_assert_eq(worker_refusal(refused.worker)->code, codes[i]);
        cr_assert_str_eq(worker_refusal(refused.worker)->text, "another model");
        recorder_clear(&refused);
        worker_connected(refused.worker, 5000);
        worker_tick(refused.worker, 5000);
        cr_assert_eq(refused.count, 0);
        recorder_stop(&refused);
    }
}

Test(worker_membership, errors_after_registration_are_no_refusal)
{
    recorder_register(&recorder, 0);
    tell_error(1, BASE_INVALID, "something else");
    cr_assert_null(worker_refusal(recorder.worker));
    worker_connected(recorder.worker, 2);
    tell_error(3, BASE_FULL, "64 workers");
    cr_assert_null(worker_refusal(recorder.worker));
    recorder_clear(&recorder);
    worker_tick(recorder.worker, 2002);
    cr_assert_eq(recorder.calls[0].message_kind, WIRE_REGISTER);
}

Test(worker_membership, without_memory_there_is_no_worker)
{
    struct worker_options options = {0};
    struct worker_sink sink = {0};
    struct worker *worker = NULL;

    base_alloc_fail_from(1);
    cr_assert_eq(worker_new(&options, &sink, &worker), BASE_NOMEM);
    base_alloc_fail_from(0);
    cr_assert_null(worker);
    worker_destroy(&worker);
}
