#include "base_alloc.h"
#include "worker_recorder.h"
#include <criterion/criterion.h>

static struct recorder recorder;

static void start(void)
{
    recorder_start(&recorder);
    recorder_register(&recorder, 0);
}

static void stop(void)
{
    recorder_stop(&recorder);
}

TestSuite(worker_step, .init = start, .fini = stop);

static void step(uint64_t epoch, uint64_t batch_id)
{
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = epoch, .batch_id = batch_id, .token_count = 3, .first_page = 2});
}

static void assert_refused(uint64_t epoch, uint64_t batch_id, int code)
{
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_ROUTER);

    cr_assert_not_null(call);
    cr_assert_eq(call->message_kind, WIRE_STEP_ERROR);
    cr_assert_eq(call->epoch, epoch);
    cr_assert_eq(call->batch_id, batch_id);
    cr_assert_eq(
        call->message.step_error.error.code, code, "%s", call->message.step_error.error.text);
    cr_assert_str_eq(call->message.step_error.error.node, "me");
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 0);
}

static uint32_t granted(void)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < recorder.count; i++) {
        if (recorder.calls[i].kind == RECORDER_GRANT)
            sum += recorder.calls[i].message.credit.count;
    }
    return sum;
}

Test(worker_step, runs_and_passes_on_what_came)
{
    recorder_serve(&recorder, 3, 2, 0);
    step(3, 4);
    cr_assert_eq(recorder_last(&recorder, RECORDER_RUN)->batch_id, 4);
    cr_assert_eq(recorder_count(&recorder, RECORDER_NEXT), 0);
    recorder_ran(&recorder, 9, 3, 4);
    const struct recorder_call *next = recorder_last(&recorder, RECORDER_NEXT);
    cr_assert_eq(next->epoch, 3);
    cr_assert_eq(next->batch_id, 4);
    cr_assert_eq(next->message.step.token_count, 3);
    cr_assert_eq(next->message.step.embedding_length, RECORDER_WIDTH);
    cr_assert_eq(next->message.step.sequence_count, 1);
    cr_assert_eq(next->first_page, 2);
    cr_assert_eq(next->message.step.hop_count, 1);
    cr_assert_eq(next->last_hop_us, 4000);
    cr_assert_eq(recorder_count(&recorder, RECORDER_ROUTER), 0);
}

Test(worker_step, the_last_stage_answers_the_router)
{
    struct wire_row_result row = {.sequence_id = 1, .position = 2, .logits = WIRE_LOGITS_TOP};
    struct worker_run_result result = {
        .epoch = 3, .batch_id = 4, .compute_us = 70, .rows = &row, .row_count = 1};

    recorder_serve(&recorder, 3, 2, 1);
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 4, .token_count = 3, .embedding_length = RECORDER_WIDTH});
    worker_ran(recorder.worker, 1, &result);
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_ROUTER);
    cr_assert_eq(call->message_kind, WIRE_RESULT);
    cr_assert_eq(call->batch_id, 4);
    cr_assert_eq(call->message.result.row_count, 1);
    cr_assert_eq(call->last_hop_us, 70);
    cr_assert_eq(recorder_count(&recorder, RECORDER_NEXT), 0);
}

Test(worker_step, a_failed_run_is_told_to_the_router_and_the_next_step_runs)
{
    struct worker_run_result result = {
        .epoch = 3, .batch_id = 4, .error = {.code = BASE_INVALID, .text = "token id 99"}};

    recorder_serve(&recorder, 3, 2, 0);
    step(3, 4);
    step(3, 5);
    worker_ran(recorder.worker, 1, &result);
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_ROUTER);
    cr_assert_eq(call->message_kind, WIRE_STEP_ERROR);
    cr_assert_eq(call->batch_id, 4);
    cr_assert_str_eq(call->message.step_error.error.text, "token id 99");
    cr_assert_str_eq(call->message.step_error.error.node, "me");
    cr_assert_eq(recorder_count(&recorder, RECORDER_NEXT), 0);
    recorder_ran(&recorder, 2, 3, 5);
    cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->batch_id, 5);
    cr_assert_eq(granted(), 2);
}

Test(worker_step, other_epochs_are_refused)
{
    step(1, 1);
    assert_refused(1, 1, BASE_STALE);
    recorder_serve(&recorder, 3, 1, 0);
    step(2, 1);
    assert_refused(2, 1, BASE_STALE);
    step(4, 1);
    assert_refused(4, 1, BASE_STALE);
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_PREPARE, 1, 0);
    recorder_hello(&recorder, 5, 4, "router", 1);
    step(4, 2); /* still loading */
    assert_refused(4, 2, BASE_STALE);
    cr_assert_eq(worker_epoch(recorder.worker), 3);
}

Test(worker_step, a_step_of_the_prepared_plan_activates_it)
{
    recorder_serve(&recorder, 3, 1, 0);
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_PREPARE, 2, 1);
    worker_loaded(recorder.worker, 0, 4, RECORDER_PAGES, NULL);
    recorder_hello(&recorder, 6, 4, "w0", 50);
    cr_assert_eq(granted(), 4);
    recorder_clear(&recorder);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 4,
            .batch_id = 1,
            .peer = 6,
            .token_count = 1,
            .embedding_length = RECORDER_WIDTH});
    cr_assert_eq(worker_epoch(recorder.worker), 4);
    cr_assert_eq(recorder.calls[0].kind, RECORDER_ACTIVATE);
    cr_assert_eq(recorder.calls[1].kind, RECORDER_LINK);
    cr_assert_eq(recorder.calls[2].kind, RECORDER_COORDINATOR);
    cr_assert_eq(recorder.calls[3].kind, RECORDER_RUN);
    cr_assert_eq(recorder.count, 4);
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_ACTIVE, 2, 1); /* arrives late: nothing to do */
    cr_assert_eq(recorder.count, 4);
    step(3, 9);
    cr_assert_eq(
        recorder_last(&recorder, RECORDER_ROUTER)->message.step_error.error.code, BASE_STALE);
}

Test(worker_step, a_bad_step_of_the_prepared_plan_does_not_activate_it)
{
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_PREPARE, 1, 0);
    worker_loaded(recorder.worker, 0, 4, RECORDER_PAGES, NULL);
    step(4, 1); /* no hello */
    assert_refused(4, 1, BASE_FULL);
    recorder_hello(&recorder, 5, 4, "router", 1);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 4, .batch_id = 2, .token_count = 1, .tensor_bytes = 5});
    assert_refused(4, 2, BASE_INVALID);
    cr_assert_eq(worker_epoch(recorder.worker), 0);
}

Test(worker_step, a_second_copy_is_dropped_and_its_credit_given_back)
{
    recorder_serve(&recorder, 3, 1, 0);
    step(3, 4);
    recorder_clear(&recorder);
    step(3, 4);
    step(3, 2);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 0);
    cr_assert_eq(recorder_count(&recorder, RECORDER_ROUTER), 0);
    cr_assert_eq(granted(), 2);
    /* A new epoch starts counting anew. */
    recorder_serve(&recorder, 4, 1, 0);
    step(4, 1);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

Test(worker_step, malformed_steps_are_refused_and_leave_nothing)
{
    static const uint32_t bad_page[] = {1, RECORDER_PAGES};
    const struct recorder_step bad[] = {
        {.token_count = 1, .tensor_bytes = 8},
        {.token_count = 2, .tensor_bytes = 4},
        {.token_count = 1, .embedding_length = RECORDER_WIDTH},
        {.token_count = 1, .embedding_length = 1},
        {.token_count = 1, .first_page = RECORDER_PAGES},
        {.token_count = 2, .first_position = 511},
        {.token_count = 1, .first_position = 600},
        {.token_count = 1, .released = bad_page, .released_count = 2},
        {.released = bad_page, .released_count = 2},
        {.tensor_bytes = 4},
    };

    recorder_serve(&recorder, 3, 2, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct recorder_step one = bad[i];
        one.epoch = 3;
        one.batch_id = i + 1;
        recorder_clear(&recorder);
        recorder_step(&recorder, 0, &one);
        assert_refused(3, i + 1, BASE_INVALID);
        cr_assert_eq(granted(), 1, "case %zu", i);
        cr_assert_eq(worker_pages_used(recorder.worker), 0);
    }
    recorder_clear(&recorder);
    step(3, 1); /* and no id was used up */
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

Test(worker_step, a_sum_that_lies_and_missing_pages_are_refused)
{
    uint32_t page = 0;
    struct wire_sequence sequence = {.token_count = 65, .pages = &page, .page_count = 1};
    struct wire_message message = {.kind = WIRE_STEP,
        .step = {.epoch = 3,
            .batch_id = 1,
            .token_count = 65,
            .sequences = &sequence,
            .sequence_count = 1}};
    static const uint32_t tokens[65];
    const struct worker_origin from = {.peer = 5, .public_key = ""};

    recorder_serve(&recorder, 3, 2, 0);
    worker_data_message(recorder.worker, 0, &from, &message, tokens, 65 * 4);
    assert_refused(3, 1, BASE_INVALID);
    sequence.token_count = 3;
    worker_data_message(recorder.worker, 0, &from, &message, tokens, 65 * 4);
    assert_refused(3, 1, BASE_INVALID);
    sequence.token_count = 0;
    message.step.token_count = 0;
    worker_data_message(recorder.worker, 0, &from, &message, NULL, 0);
    assert_refused(3, 1, BASE_INVALID);
}

Test(worker_step, hidden_states_of_another_width_are_refused)
{
    recorder_serve(&recorder, 3, 2, 1);
    recorder_step(
        &recorder, 0, &(struct recorder_step){.epoch = 3, .batch_id = 1, .token_count = 1});
    assert_refused(3, 1, BASE_INVALID);
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 2, .token_count = 1, .embedding_length = RECORDER_WIDTH * 2});
    assert_refused(3, 2, BASE_INVALID);
}

Test(worker_step, pages_are_counted_once_and_released_before_they_are_taken)
{
    static const uint32_t released[] = {2, 3, 9};

    recorder_serve(&recorder, 3, 1, 0);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 3, .batch_id = 1, .token_count = 130, .first_page = 2});
    cr_assert_eq(worker_pages_used(recorder.worker), 3);
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 2, .first_position = 130, .token_count = 1, .first_page = 2});
    cr_assert_eq(worker_pages_used(recorder.worker), 3);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 3,
            .batch_id = 3,
            .token_count = 1,
            .first_page = 2,
            .released = released,
            .released_count = 3});
    cr_assert_eq(worker_pages_used(recorder.worker), 2);
}

Test(worker_step, a_step_without_work_passes_but_overtakes_nothing)
{
    static const uint32_t released[] = {0};
    const struct recorder_step release = {
        .epoch = 3, .batch_id = 6, .released = released, .released_count = 1};

    recorder_serve(&recorder, 3, 2, 0);
    step(3, 5);
    recorder_step(&recorder, 0, &release);
    step(3, 7);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 2);
    cr_assert_eq(recorder_count(&recorder, RECORDER_NEXT), 0);
    recorder_clear(&recorder);
    recorder_ran(&recorder, 1, 3, 5);
    cr_assert_eq(recorder_count(&recorder, RECORDER_NEXT), 2);
    const struct recorder_call *next = recorder_last(&recorder, RECORDER_NEXT);
    cr_assert_eq(next->batch_id, 6);
    cr_assert_eq(next->message.step.released_page_count, 1);
    cr_assert_eq(next->message.step.token_count, 0);
    recorder_ran(&recorder, 2, 3, 7);
    cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->batch_id, 7);

    recorder_clear(&recorder);
    recorder_step(&recorder, 3,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 8, .released = released, .released_count = 1});
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 0);
    cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->batch_id, 8);
    cr_assert_eq(granted(), 1);
}

Test(worker_step, a_step_without_work_ends_at_the_router)
{
    static const uint32_t released[] = {0};

    recorder_serve(&recorder, 3, 1, 0);
    recorder_step(&recorder, 0,
        &(struct recorder_step){
            .epoch = 3, .batch_id = 1, .released = released, .released_count = 1});
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_ROUTER);
    cr_assert_eq(call->message_kind, WIRE_RESULT);
    cr_assert_eq(call->message.result.row_count, 0);
    cr_assert_eq(call->message.result.hop_count, 1);
}

Test(worker_step, the_window_is_enforced_and_comes_back_step_by_step)
{
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 2, 0);
    worker_loaded(recorder.worker, 0, 3, RECORDER_PAGES, NULL);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_ACTIVE, 2, 0);
    recorder_clear(&recorder);
    recorder_hello(&recorder, 5, 3, "router", 1);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(recorder.calls[0].peer, 5);
    cr_assert_eq(granted(), 4);
    for (uint64_t id = 1; id <= 4; id++)
        step(3, id);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 4);
    recorder_clear(&recorder);
    step(3, 5);
    assert_refused(3, 5, BASE_FULL);
    recorder_ran(&recorder, 1, 3, 1);
    cr_assert_eq(granted(), 1);
    step(3, 6);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

Test(worker_step, a_stranger_may_not_send)
{
    recorder_serve(&recorder, 3, 2, 1);
    recorder_hello(&recorder, 8, 3, "w1", 51);
    recorder_hello(&recorder, 8, 3, "w0", 51);
    recorder_hello(&recorder, 8, 2, "w0", 50);
    cr_assert_eq(recorder.count, 0);
    recorder_step(&recorder, 0,
        &(struct recorder_step){.epoch = 3,
            .batch_id = 1,
            .peer = 8,
            .token_count = 1,
            .embedding_length = RECORDER_WIDTH});
    assert_refused(3, 1, BASE_FULL);
}

Test(worker_step, a_new_connection_gets_the_room_that_is_left)
{
    recorder_serve(&recorder, 3, 1, 0);
    step(3, 1);
    step(3, 2);
    recorder_clear(&recorder);
    recorder_hello(&recorder, 9, 3, "router", 1);
    cr_assert_eq(recorder.calls[0].peer, 9);
    cr_assert_eq(granted(), 1);
    step(3, 3); /* from the connection that was replaced */
    assert_refused(3, 3, BASE_FULL);
    recorder_clear(&recorder);
    recorder_ran(&recorder, 1, 3, 1);
    recorder_ran(&recorder, 1, 3, 2);
    cr_assert_eq(granted(), 2);
    cr_assert_eq(recorder_last(&recorder, RECORDER_GRANT)->peer, 9);
}

Test(worker_step, results_that_nobody_asked_for_are_ignored)
{
    recorder_ran(&recorder, 0, 3, 1);
    recorder_serve(&recorder, 3, 1, 0);
    recorder_ran(&recorder, 0, 3, 1);
    step(3, 1);
    step(3, 2);
    recorder_clear(&recorder);
    recorder_ran(&recorder, 0, 3, 2);
    recorder_ran(&recorder, 0, 2, 1);
    cr_assert_eq(recorder.count, 0);
}

Test(worker_step, a_step_that_compute_refuses_fails_in_its_turn)
{
    struct worker_run_result refused = {
        .epoch = 3, .batch_id = 2, .error = {.code = BASE_FULL, .text = "no room"}};

    recorder_serve(&recorder, 3, 2, 0);
    step(3, 1);
    step(3, 2);
    step(3, 3);
    recorder_clear(&recorder);
    worker_ran(recorder.worker, 1, &refused);
    cr_assert_eq(recorder.count, 0);
    recorder_ran(&recorder, 2, 3, 1);
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_ROUTER);
    cr_assert_eq(call->message_kind, WIRE_STEP_ERROR);
    cr_assert_eq(call->batch_id, 2);
    cr_assert_eq(call->message.step_error.error.code, BASE_FULL);
    cr_assert_eq(granted(), 2);
    recorder_ran(&recorder, 3, 3, 3);
    cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->batch_id, 3);
}

Test(worker_step, without_memory_a_step_is_refused)
{
    recorder_serve(&recorder, 3, 1, 0);
    base_alloc_fail_from(1);
    step(3, 1);
    base_alloc_fail_from(0);
    assert_refused(3, 1, BASE_NOMEM);
    cr_assert_eq(granted(), 1);
    step(3, 1);
    cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
}

Test(worker_step, the_ring_goes_round_many_times)
{
    recorder_serve(&recorder, 3, 2, 0);
    for (uint64_t id = 1; id <= 1000; id++) {
        recorder_clear(&recorder);
        step(3, id);
        cr_assert_eq(recorder_count(&recorder, RECORDER_RUN), 1);
        if (id > 2) {
            recorder_ran(&recorder, id, 3, id - 2);
            cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->batch_id, id - 2);
            cr_assert_eq(recorder_last(&recorder, RECORDER_NEXT)->first_page, 2);
        }
    }
}
