#include "base_alloc.h"
#include "base_err.h"
#include "coordinator_admin.h"
#include "coordinator_metrics.h"
#include "test_coordinator_support.h"

TestSuite(coordinator_admin, .init = test_init, .fini = test_end);

static struct coordinator_census census;
static char text[512];

static void look(const char *words)
{
    coordinator_take_census(mesh.self, mesh.now_ms, &census, text, sizeof(text));
    cr_assert(strstr(text, words), "'%s' is not in '%s'", words, text);
}

Test(coordinator_admin, the_census_follows_a_plan_from_nothing_to_its_loss)
{
    mesh.options.stage_count = 2;
    mesh.options.min_workers = 2;
    test_start();
    look("0 of at least 2 workers");
    test_router(0);
    test_worker(1);
    test_worker(2);
    look("2 of at least 2 workers");
    cr_assert(census.spare == 2 && census.routers == 1 && !census.serves);
    test_pass(300, (uint64_t[]){100, 0});
    look("being loaded");
    cr_assert_eq(census.loading, 2);
    test_all_ready();
    look("is in force: 2 stages");
    cr_assert(census.ready == 2 && census.serves && census.epoch > 0 && census.kv_pages == 16);
    mesh.now_ms += 500;
    look("in force");
    cr_assert_geq(census.silence_ms, 500);

    const struct coordinator_metrics *metrics = coordinator_get_metrics(mesh.self);
    cr_assert_eq(metrics_get(&metrics->plans[COORDINATOR_PLAN_FIRST]), 1);
    cr_assert_eq(metrics_get(&metrics->activated), 1);
    cr_assert_eq(metrics_get(&metrics->joined), 2);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 2);
    look("waiting: ");
    cr_assert(census.lost == 1 && !census.serves);
    cr_assert_eq(metrics_get(&metrics->lost_workers), 1);
    cr_assert_eq(metrics_get(&metrics->plans[COORDINATOR_PLAN_FORCED]), 1);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 100);
    cr_assert_eq(metrics_get(&metrics->lost_routers), 1);
    coordinator_peer_gone(mesh.self, mesh.now_ms, 1);
    look("waiting: ");
    cr_assert_eq(metrics_get(&metrics->unavailable), 1);
}

Test(coordinator_admin, every_cell_has_a_name)
{
    static struct coordinator_admin admin;
    struct metrics *metrics = NULL;
    struct base_error err = {0};
    char *all = NULL;
    size_t bytes = 0;

    test_start();
    test_worker(1);
    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(
        coordinator_admin_register(&admin, mesh.self, metrics, &err), BASE_OK, "%s", err.text);
    coordinator_admin_update(&admin, mesh.self, mesh.now_ms);
    cr_assert_eq(metrics_text(metrics, &all, &bytes), BASE_OK);
    const char *const lines[] = {"\nlayermesh_workers{state=\"spare\"} 1\n",
        "\nlayermesh_workers{state=\"lost\"} 0\n", "\nlayermesh_plan_in_force 0\n",
        "\nlayermesh_plans_total{cause=\"again\"} 0\n", "\nlayermesh_workers_joined_total 1\n",
        "\nlayermesh_peers_lost_total{role=\"router\"} 0\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert(strstr(all, lines[i]), "%s is not in\n%s", lines[i], all);
    base_free(all);
    metrics_destroy(&metrics);
}
