#include "base_alloc.h"
#include "net_metrics.h"
#include "net_testing.h"
#include <criterion/criterion.h>
#include <string.h>

Test(net_metrics, messages_bytes_and_refusals_of_a_context)
{
    struct net_context *context = NULL;
    struct net_socket *server = NULL, *client = NULL;
    struct metrics *metrics = NULL;
    struct base_error err = {0};
    const struct wire_message question = {.kind = WIRE_STATUS_QUERY};
    struct net_inbound inbound;
    char *text = NULL;
    size_t bytes = 0;

    cr_assert_eq(net_context_new(&context, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(metrics_new(&metrics), BASE_OK);
    cr_assert_eq(net_metrics_register(context, metrics, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(net_bind(context, NET_PLANE_CONTROL, "inproc://metrics", &server, &err), BASE_OK,
        "%s", err.text);
    cr_assert_eq(net_connect(context, NET_PLANE_CONTROL, "inproc://metrics", NULL, &client, &err),
        BASE_OK, "%s", err.text);
    cr_assert_eq(net_send(client, NULL, &question, NULL, &err), BASE_OK, "%s", err.text);
    struct net_poll_item item = {.socket = server};
    cr_assert_eq(net_poll(&item, 1, 10000), 1);
    cr_assert_eq(net_receive(server, &inbound), BASE_OK);
    net_inbound_release(&inbound);
    net_refuse_count(context, NET_REFUSED_RATE, "test");

    cr_assert_eq(metrics_text(metrics, &text, &bytes), BASE_OK);
    const char *const lines[] = {"\nlayermesh_sent_messages_total 1\n",
        "\nlayermesh_received_messages_total 1\n", "\nlayermesh_sent_bytes_total 8\n",
        "\nlayermesh_received_bytes_total 8\n", "\nlayermesh_refused_total{reason=\"rate\"} 1\n",
        "\nlayermesh_refused_total{reason=\"frames\"} 0\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        cr_assert(strstr(text, lines[i]), "%s is not in\n%s", lines[i], text);
    base_free(text);
    metrics_destroy(&metrics);
    net_close(&client);
    net_close(&server);
    net_context_destroy(&context);
}
