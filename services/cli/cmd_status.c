#include "cli_admin.h"
#include "cli_answer.h"
#include "cli_command.h"

#include <inttypes.h>

/* One worker of {"workers": [...]}; the keys are a contract. */
static json_t *make_worker(const struct wire_worker_row *row)
{
    json_t *first = row->has_stage ? json_integer(row->layer_first) : json_null();
    json_t *last = row->has_stage
                       ? json_integer((json_int_t)row->layer_first + row->layer_count - 1)
                       : json_null();

    return json_pack("{s:s, s:I, s:s, s:s, s:o, s:o, s:I, s:{s:I, s:I}, s:{s:o, s:o}, s:I}", "id",
        row->node_id, "pid", (json_int_t)row->pid, "host", row->host, "state",
        cli_worker_state_name(row->state), "first_layer", first, "last_layer", last, "memory_bytes",
        (json_int_t)row->memory_bytes, "kv_pages", "used", (json_int_t)row->kv_pages_used, "total",
        (json_int_t)row->kv_pages_total, "step_ms", "predicted", cli_json_real(row->predicted_ms),
        "measured", cli_json_real(row->measured_ms), "last_progress_ms",
        (json_int_t)row->last_progress_ms);
}

static bool print_json(const struct wire_status_reply *reply)
{
    json_t *workers = json_array();

    for (size_t i = 0; i < reply->worker_count; i++)
        (void)json_array_append_new(workers, make_worker(&reply->workers[i]));
    return cli_json_print(json_pack("{s:I, s:o, s:{s:I, s:I}}", "plan_epoch",
        (json_int_t)reply->plan_epoch, "workers", workers, "requests", "running",
        (json_int_t)reply->requests_running, "waiting", (json_int_t)reply->requests_waiting));
}

static void print_table(const struct wire_status_reply *reply)
{
    (void)printf("plan %" PRIu64 ", %u running, %u waiting, %u router%s\n\n", reply->plan_epoch,
        reply->requests_running, reply->requests_waiting, reply->router_count,
        reply->router_count == 1 ? "" : "s");
    (void)printf("%-16s %7s %-16s %-9s %-8s %10s %13s %9s %9s\n", "worker", "pid", "host", "state",
        "layers", "memory MiB", "KV pages", "ms pred.", "ms meas.");
    for (size_t i = 0; i < reply->worker_count; i++) {
        const struct wire_worker_row *row = &reply->workers[i];
        char layers[32] = "-", pages[32];
        if (row->has_stage)
            (void)snprintf(layers, sizeof(layers), "%u-%u", row->layer_first,
                row->layer_first + row->layer_count - 1);
        (void)snprintf(pages, sizeof(pages), "%u/%u", row->kv_pages_used, row->kv_pages_total);
        (void)printf("%-16s %7u %-16s %-9s %-8s %10" PRIu64 " %13s %9.3f %9.3f\n", row->node_id,
            row->pid, row->host, cli_worker_state_name(row->state), layers, row->memory_bytes >> 20,
            pages, row->predicted_ms, row->measured_ms);
    }
    if (reply->error.text[0] != '\0')
        (void)printf("\nno plan: %s\n", reply->error.text);
}

int cmd_status(const struct cli_command *command, int argc, char **argv)
{
    struct cli_admin admin = {.timeout_ms = CLI_ADMIN_TIMEOUT_MS};
    bool json = false;
    const struct base_option options[] = {
        {.name = "json", .type = BASE_OPTION_FLAG, .target = &json, .help = "print one object"},
        CLI_ADMIN_OPTIONS(&admin),
    };
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    const struct wire_status_reply *reply = cli_admin_fetch(&admin, command, &exit_status);
    if (reply != NULL) {
        if (!json)
            print_table(reply);
        if (json && !print_json(reply))
            exit_status = cli_fail(command, "the status could not be printed");
        else
            exit_status = cli_finish(command);
    }
    cli_admin_close(&admin);
    return exit_status;
}
