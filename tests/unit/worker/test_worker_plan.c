#include "base_alloc.h"
#include "worker_recorder.h"
#include <criterion/criterion.h>
#include <string.h>

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

TestSuite(worker_plan, .init = start, .fini = stop);

static const struct wire_stage_status *status(void)
{
    const struct recorder_call *call = recorder_last(&recorder, RECORDER_COORDINATOR);

    cr_assert_not_null(call);
    cr_assert_eq(call->message_kind, WIRE_STAGE_STATUS);
    return &call->message.stage_status;
}

Test(worker_plan, loads_reports_and_is_activated)
{
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 3, 1);
    cr_assert_eq(recorder_count(&recorder, RECORDER_LOAD), 1);
    cr_assert_eq(recorder_last(&recorder, RECORDER_LOAD)->epoch, 3);
    cr_assert_eq(recorder_last(&recorder, RECORDER_LOAD)->stage_index, 1);
    cr_assert_eq(status()->state, WIRE_STAGE_LOADING);

    worker_loaded(recorder.worker, 10, 3, RECORDER_PAGES, NULL);
    cr_assert_eq(status()->state, WIRE_STAGE_READY);
    cr_assert_eq(status()->epoch, 3);
    cr_assert_eq(worker_epoch(recorder.worker), 0);
    cr_assert_eq(recorder_count(&recorder, RECORDER_ACTIVATE), 0);

    recorder_plan(&recorder, 20, 3, WIRE_PLAN_ACTIVE, 3, 1);
    cr_assert_eq(worker_epoch(recorder.worker), 3);
    cr_assert_eq(recorder_last(&recorder, RECORDER_ACTIVATE)->epoch, 3);
    const struct recorder_call *link = recorder_last(&recorder, RECORDER_LINK);
    cr_assert_str_eq(link->next, "tcp://127.0.0.1:102");
    cr_assert_str_eq(link->router, "tcp://127.0.0.1:9000");
}

Test(worker_plan, the_last_stage_links_to_the_router_only)
{
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 2, 1);
    worker_loaded(recorder.worker, 0, 3, RECORDER_PAGES, NULL);
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_ACTIVE, 2, 1);
    cr_assert_str_eq(recorder_last(&recorder, RECORDER_LINK)->next, "-");
}

Test(worker_plan, progress_is_told_at_most_every_200_ms)
{
    recorder_plan(&recorder, 1000, 3, WIRE_PLAN_PREPARE, 1, 0);
    recorder_clear(&recorder);
    for (uint64_t ms = 1001; ms <= 1600; ms++)
        worker_load_progress(recorder.worker, ms, 3, (double)(ms - 1000) / 1000);
    cr_assert_eq(recorder.count, 3);
    cr_assert_float_eq(status()->progress, 0.6, 1e-9);
    worker_load_progress(recorder.worker, 3000, 2, 0.9); /* of a load that was given up */
    cr_assert_eq(recorder.count, 3);
}

Test(worker_plan, a_failed_load_is_told_with_reason_and_node)
{
    struct wire_fault error = {.code = BASE_MALFORMED, .text = "blk.3.attn_q: truncated"};

    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 1, 0);
    worker_loaded(recorder.worker, 0, 3, 0, &error);
    cr_assert_eq(status()->state, WIRE_STAGE_FAILED);
    cr_assert_eq(status()->error.code, BASE_MALFORMED);
    cr_assert_str_eq(status()->error.text, "blk.3.attn_q: truncated");
    cr_assert_str_eq(status()->error.node, "me");
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_ACTIVE, 1, 0);
    cr_assert_eq(worker_epoch(recorder.worker), 0);
}

Test(worker_plan, older_epochs_are_ignored_and_resends_do_not_load_twice)
{
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 1, 0);
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_PREPARE, 1, 0);
    recorder_plan(&recorder, 0, 4, WIRE_PLAN_ACTIVE, 1, 0);
    recorder_plan(&recorder, 0, 0, WIRE_PLAN_ACTIVE, 1, 0);
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 1, 0);
    cr_assert_eq(recorder_count(&recorder, RECORDER_LOAD), 1);

    worker_loaded(recorder.worker, 0, 5, RECORDER_PAGES, NULL);
    recorder_clear(&recorder);
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 1, 0);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(status()->state, WIRE_STAGE_READY);

    recorder_plan(&recorder, 0, 5, WIRE_PLAN_ACTIVE, 1, 0);
    recorder_clear(&recorder);
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_ACTIVE, 1, 0);
    cr_assert_eq(recorder.count, 0);
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 1, 0);
    cr_assert_eq(recorder.count, 1);
    cr_assert_eq(status()->state, WIRE_STAGE_READY);
    cr_assert_eq(worker_epoch(recorder.worker), 5);
}

Test(worker_plan, a_newer_plan_supersedes_a_load)
{
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 1, 0);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_PREPARE, 2, 1);
    cr_assert_eq(recorder_last(&recorder, RECORDER_LOAD)->epoch, 6);
    recorder_clear(&recorder);
    worker_loaded(recorder.worker, 0, 5, RECORDER_PAGES, NULL); /* crossed */
    cr_assert_eq(recorder.count, 0);
    worker_loaded(recorder.worker, 0, 6, RECORDER_PAGES, NULL);
    cr_assert_eq(status()->epoch, 6);
}

Test(worker_plan, another_incarnation_of_this_node_is_not_this_worker)
{
    struct wire_stage stage = {.node_id = "me", .incarnation = 8, .layer_count = RECORDER_LAYERS};
    struct wire_message message = {.kind = WIRE_PLAN,
        .plan = {.epoch = 5,
            .state = WIRE_PLAN_PREPARE,
            .fingerprint = 99,
            .stages = &stage,
            .stage_count = 1,
            .page_tokens = 64,
            .page_count = 4}};

    worker_coordinator_message(recorder.worker, 0, &message);
    cr_assert_eq(recorder.count, 0);
}

Test(worker_plan, serves_the_old_plan_until_the_new_one_is_active)
{
    recorder_serve(&recorder, 5, 1, 0);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_PREPARE, 2, 0);
    worker_loaded(recorder.worker, 0, 6, RECORDER_PAGES, NULL);
    recorder_step(
        &recorder, 0, &(struct recorder_step){.epoch = 5, .batch_id = 1, .token_count = 1});
    cr_assert_eq(recorder_last(&recorder, RECORDER_RUN)->epoch, 5);
    cr_assert_eq(worker_pages_used(recorder.worker), 1);

    recorder_plan(&recorder, 0, 6, WIRE_PLAN_ACTIVE, 2, 0);
    cr_assert_eq(worker_epoch(recorder.worker), 6);
    cr_assert_eq(worker_pages_used(recorder.worker), 0);
    recorder_clear(&recorder);
    recorder_ran(&recorder, 1, 5, 1); /* ended after the switch: nobody waits for it */
    cr_assert_eq(recorder.count, 0);
}

Test(worker_plan, a_plan_without_this_worker_takes_the_stage_when_it_is_active)
{
    recorder_serve(&recorder, 5, 1, 0);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_PREPARE, 2, SIZE_MAX);
    cr_assert_eq(worker_epoch(recorder.worker), 5);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_ACTIVE, 2, SIZE_MAX);
    cr_assert_eq(worker_epoch(recorder.worker), 0);
    cr_assert_eq(recorder_last(&recorder, RECORDER_ACTIVATE)->epoch, 0);
    cr_assert_not(worker_is_drained(recorder.worker));
}

Test(worker_plan, a_prepare_without_this_worker_forgets_its_load)
{
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_PREPARE, 2, 0);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_PREPARE, 2, SIZE_MAX);
    recorder_clear(&recorder);
    worker_loaded(recorder.worker, 0, 5, RECORDER_PAGES, NULL);
    cr_assert_eq(recorder.count, 0);
}

Test(worker_plan, an_active_plan_that_was_never_prepared_is_loaded_first)
{
    recorder_plan(&recorder, 0, 5, WIRE_PLAN_ACTIVE, 2, 0);
    cr_assert_eq(recorder_count(&recorder, RECORDER_LOAD), 1);
    cr_assert_eq(worker_epoch(recorder.worker), 0);
    worker_loaded(recorder.worker, 0, 5, RECORDER_PAGES, NULL);
    cr_assert_eq(worker_epoch(recorder.worker), 5);
}

Test(worker_plan, a_router_that_came_later_is_linked)
{
    struct wire_stage stage = {.node_id = "me", .incarnation = 7, .layer_count = RECORDER_LAYERS};
    struct wire_message message = {.kind = WIRE_PLAN,
        .plan = {.epoch = 5,
            .state = WIRE_PLAN_PREPARE,
            .fingerprint = 99,
            .stages = &stage,
            .stage_count = 1,
            .page_tokens = 64,
            .page_count = 4,
            .context_length = 64,
            .embedding_length = RECORDER_WIDTH,
            .vocab_size = 32}};

    worker_coordinator_message(recorder.worker, 0, &message);
    worker_loaded(recorder.worker, 0, 5, 4, NULL);
    message.plan.state = WIRE_PLAN_ACTIVE;
    worker_coordinator_message(recorder.worker, 0, &message);
    cr_assert_str_eq(recorder_last(&recorder, RECORDER_LINK)->router, "");
    memcpy(message.plan.router_endpoint, "ipc:///r", sizeof("ipc:///r"));
    worker_coordinator_message(recorder.worker, 0, &message);
    cr_assert_eq(recorder_count(&recorder, RECORDER_LINK), 2);
    cr_assert_str_eq(recorder_last(&recorder, RECORDER_LINK)->router, "ipc:///r");
    cr_assert_eq(recorder_count(&recorder, RECORDER_ACTIVATE), 1);
}

Test(worker_plan, plans_that_do_not_fit_the_model_fail_without_a_load)
{
    struct wire_stage stage = {.node_id = "me", .incarnation = 7, .layer_count = RECORDER_LAYERS};
    const struct wire_plan good = {.state = WIRE_PLAN_PREPARE,
        .fingerprint = 99,
        .stages = &stage,
        .stage_count = 1,
        .page_tokens = 64,
        .page_count = 4,
        .context_length = 64,
        .embedding_length = RECORDER_WIDTH,
        .vocab_size = 32};
    struct wire_message message = {.kind = WIRE_PLAN, .plan = good};

    for (unsigned fault = 0; fault < 6; fault++) {
        message.plan = good;
        stage.layer_first = 0;
        stage.layer_count = RECORDER_LAYERS;
        message.plan.epoch = 10 + fault;
        switch (fault) {
        case 0:
            message.plan.fingerprint = 98;
            break;
        case 1:
            message.plan.embedding_length++;
            break;
        case 2:
            stage.layer_count++;
            break;
        case 3:
            stage.layer_first = UINT32_MAX;
            break;
        case 4:
            message.plan.page_tokens = 0;
            break;
        default:
            message.plan.page_count = 0;
            break;
        }
        worker_coordinator_message(recorder.worker, 0, &message);
        cr_assert_eq(status()->state, WIRE_STAGE_FAILED, "fault %u", fault);
        cr_assert_eq(status()->epoch, 10 + fault);
        cr_assert_str_eq(status()->error.node, "me");
    }
    cr_assert_eq(recorder_count(&recorder, RECORDER_LOAD), 0);
}

Test(worker_plan, each_failing_allocation_fails_the_stage_only)
{
    for (unsigned long n = 1; n <= 3; n++) {
        base_alloc_fail_from(n);
        recorder_plan(&recorder, 0, n, WIRE_PLAN_PREPARE, 1, 0);
        base_alloc_fail_from(0);
        cr_assert_eq(status()->state, WIRE_STAGE_FAILED, "allocation %lu", n);
        cr_assert_eq(status()->error.code, BASE_NOMEM);
    }
    /* Asked again with memory there, it loads. */
    recorder_plan(&recorder, 0, 3, WIRE_PLAN_PREPARE, 1, 0);
    cr_assert_eq(recorder_count(&recorder, RECORDER_LOAD), 1);
}

Test(worker_plan, an_unavailable_plan_keeps_what_is_loaded)
{
    recorder_serve(&recorder, 5, 1, 0);
    recorder_plan(&recorder, 0, 6, WIRE_PLAN_UNAVAILABLE, 0, SIZE_MAX);
    cr_assert_eq(worker_epoch(recorder.worker), 5);
    cr_assert_eq(recorder_count(&recorder, RECORDER_ACTIVATE), 0);
}
