#include "base_alloc.h"
#include "base_err.h"
#include "worker_admin.h"
#include "worker_recorder.h"
#include <criterion/criterion.h>
#include <string.h>

static struct recorder recorder;
static struct worker_metrics cells;

static bool ready(const char *words)
{
    char text[256];
    bool is_ready = worker_is_ready(recorder.worker, text, sizeof(text));

    cr_assert(strstr(text, words), "'%s' is not in '%s'", words, text);
    return is_ready;
}

Test(worker_admin, ready_as_spare_and_as_stage_but_not_in_between)
{
    recorder_start(&recorder);
    cr_assert_not(ready("not registered"));
    recorder_register(&recorder, 0);
    cr_assert(ready("spare"));
    recorder_plan(&recorder, 1, 3, WIRE_PLAN_PREPARE, 2, 0);
    cr_assert_not(ready("loading"));
    worker_load_progress(recorder.worker, 2, 3, 0.4);
    cr_assert_not(ready("40 %"));
    worker_loaded(recorder.worker, 3, 3, RECORDER_PAGES, NULL);
    recorder_plan(&recorder, 4, 3, WIRE_PLAN_ACTIVE, 2, 0);
    cr_assert(ready("of epoch 3"));
    /* The next plan is loaded while this one serves. */
    recorder_plan(&recorder, 5, 4, WIRE_PLAN_PREPARE, 2, 1);
    cr_assert(ready("of epoch 3"));
    worker_drain(recorder.worker, 6);
    cr_assert_not(ready("draining"));
    recorder_stop(&recorder);
}

Test(worker_admin, a_load_that_failed_is_told)
{
    const struct wire_fault fault = {.code = BASE_IO, .text = "disk on fire"};

    recorder_start(&recorder);
    recorder_register(&recorder, 0);
    recorder_plan(&recorder, 1, 3, WIRE_PLAN_PREPARE, 2, 0);
    worker_loaded(recorder.worker, 3, 3, 0, &fault);
    cr_assert_not(ready("disk on fire"));
    recorder_stop(&recorder);
}

Test(worker_admin, gauges_follow_the_stage)
{
    recorder_start(&recorder);
    recorder_register(&recorder, 0);
    worker_gauges(recorder.worker, &cells);
    cr_assert_eq(metrics_gauge_get(&cells.epoch), 0);
    recorder_serve(&recorder, 7, 1, 0);
    const struct recorder_step step = {
        .epoch = 7, .batch_id = 1, .peer = 5, .token_count = 3, .first_page = 1};
    recorder_step(&recorder, 10, &step);
    worker_gauges(recorder.worker, &cells);
    cr_assert_eq(metrics_gauge_get(&cells.epoch), 7);
    cr_assert_eq(metrics_gauge_get(&cells.queued), 1);
    cr_assert_eq(metrics_gauge_get(&cells.pages_used), 1);
    cr_assert_gt(metrics_gauge_get(&cells.layers), 0);
    recorder_ran(&recorder, 20, 7, 1);
    worker_gauges(recorder.worker, &cells);
    cr_assert_eq(metrics_gauge_get(&cells.queued), 0);
    recorder_stop(&recorder);
}

Test(worker_admin, every_cell_has_a_name)
{
    static struct worker_admin admin;
    struct metrics *metrics = NULL;
    struct base_error err = {0};
    char *text = NULL;
    size_t bytes = 0;

    recorder_start(&recorder);
    recorder_register(&recorder, 0);
    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(worker_admin_register(&admin, metrics, &err), BASE_OK, "%s", err.text);
    metrics_add(&admin.cells.busy_us, 1500000);
    worker_admin_update(&admin, recorder.worker, 5, true);
    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_OK);
    const char *const lines[] = {"\nlayermesh_busy_seconds_total 1.500000\n",
        "\nlayermesh_ready 1\n", "\nlayermesh_coordinator_up 1\n",
        "\nlayermesh_stage_loads_total{outcome=\"failed\"} 0\n", "\nlayermesh_stage_layers 0\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert(strstr(text, lines[i]), "%s is not in\n%s", lines[i], text);
    base_free(text);
    metrics_destroy(&metrics);
    recorder_stop(&recorder);
}
