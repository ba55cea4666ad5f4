#include <criterion/criterion.h>
#include <string.h>

#include "base_alloc.h"
#include "base_err.h"
#include "router_admin.h"
#include "router_metrics.h"

static void no_send(void *context, const struct wire_message *message)
{
}

static void no_link(void *context, uint64_t epoch, const char *endpoint, const char *key)
{
}

Test(router_admin, every_cell_has_a_name_and_gauges_follow_the_core)
{
    static struct router_admin admin;
    struct router_options options;
    struct router_sink sink = {.send_coordinator = no_send, .link_first_stage = no_link};
    struct router *router = NULL;
    struct metrics *metrics = NULL;
    struct base_error err = {0};
    char *text = NULL;
    size_t bytes = 0;

    router_options_default(&options);
    cr_assert_eq(router_new(&options, &sink, NULL, &router), BASE_OK);
    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(router_admin_register(&admin, router, metrics, &err), BASE_OK, "%s", err.text);
    struct router_metrics *cells = router_get_metrics(router);
    metrics_add(&cells->outcomes[ROUTER_OUTCOME_GONE], 4);
    metrics_add(&cells->errors[ROUTER_CODE_FULL], 2);
    metrics_observe_us(&cells->hops[63], 70);
    router_admin_update(&admin, router, 1000, true);
    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_OK);
    const char *const lines[] = {"\nlayermesh_requests_total{outcome=\"gone\"} 4\n",
        "\nlayermesh_request_errors_total{code=\"FULL\"} 2\n",
        "\nlayermesh_hop_seconds_count{stage=\"63\"} 1\n", "\nlayermesh_coordinator_up 1\n",
        "\nlayermesh_ready 0\n", "\nlayermesh_canaries_total{outcome=\"failed\"} 0\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert(strstr(text, lines[i]), "%s is not in\n%s", lines[i], text);
    cr_assert_null(strstr(text, "stage=\"0\"")); /* a stage that never answered */
    base_free(text);
    metrics_destroy(&metrics);
    router_destroy(&router);
}
