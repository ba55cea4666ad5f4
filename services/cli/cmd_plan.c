#include "cli_admin.h"
#include "cli_answer.h"
#include "cli_command.h"

#include <inttypes.h>
#include <string.h>

static const char *plan_state_name(int state)
{
    switch (state) {
    case WIRE_PLAN_PREPARE:
        return "prepare";
    case WIRE_PLAN_ACTIVE:
        return "active";
    case WIRE_PLAN_UNAVAILABLE:
        return "unavailable";
    default:
        return "none";
    }
}

static json_t *make_worker(const struct wire_worker_row *row)
{
    json_t *first = row->has_stage ? json_integer(row->layer_first) : json_null();
    json_t *last = row->has_stage
                       ? json_integer((json_int_t)row->layer_first + row->layer_count - 1)
                       : json_null();

    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:f, s:s}", "id", row->node_id,
        "state", cli_worker_state_name(row->state), "first_layer", first, "last_layer", last,
        "weight_bytes", (json_int_t)row->weight_bytes, "kv_bytes", (json_int_t)row->kv_bytes,
        "memory_bytes", (json_int_t)row->memory_bytes, "predicted_ms",
        cli_json_real(row->predicted_ms), "measured_ms", cli_json_real(row->measured_ms),
        "load_progress", row->load_progress, "reason", row->reason);
}

static bool print_json(const struct wire_status_reply *reply)
{
    json_t *workers = json_array();

    for (size_t i = 0; i < reply->worker_count; i++)
        (void)json_array_append_new(workers, make_worker(&reply->workers[i]));
    return cli_json_print(json_pack("{s:I, s:s, s:s, s:o, s:{s:s, s:s, s:I}, s:o, s:s}",
        "plan_epoch", (json_int_t)reply->plan_epoch, "state", plan_state_name(reply->plan_state),
        "reason", reply->plan_reason, "bottleneck_ms", cli_json_real(reply->bottleneck_ms), "model",
        "name", reply->model.name, "architecture", reply->model.architecture, "layers",
        (json_int_t)reply->model.layer_count, "workers", workers, "error", reply->error.text));
}

static void print_stage(const struct wire_worker_row *row, bool explain)
{
    (void)printf("  %-16s layers %3u-%-3u  weights %9.2f MiB  KV %9.2f MiB  predicted %8.3f ms  ",
        row->node_id, row->layer_first, row->layer_first + row->layer_count - 1,
        (double)row->weight_bytes / 1048576, (double)row->kv_bytes / 1048576, row->predicted_ms);
    if (row->measured_ms > 0)
        (void)printf("measured %8.3f ms", row->measured_ms);
    else
        (void)printf("not measured yet");
    if (row->state == WIRE_WORKER_LOADING)
        (void)printf("  loading %.0f %%", row->load_progress * 100);
    if (explain && row->reason[0] != '\0')
        (void)printf("\n  %-16s why: %s", "", row->reason);
    (void)printf("\n");
}

static bool is_serving(const struct wire_worker_row *row)
{
    return row->has_stage && row->layer_count > 0 && row->state != WIRE_WORKER_LOST;
}

/* Stages in the order of their layers, then who holds none and why. */
static void print_text(const struct wire_status_reply *reply, bool explain)
{
    uint32_t next_layer = 0;

    (void)printf("plan %" PRIu64 ": %s", reply->plan_epoch, plan_state_name(reply->plan_state));
    if (reply->model.layer_count > 0)
        (void)printf(", model %s (%s, %u layers)",
            reply->model.name[0] != '\0' ? reply->model.name : "without a name",
            reply->model.architecture, reply->model.layer_count);
    (void)printf("\n");
    for (size_t round = 0; round < reply->worker_count; round++) {
        for (size_t i = 0; i < reply->worker_count; i++) {
            const struct wire_worker_row *row = &reply->workers[i];
            if (!is_serving(row) || row->layer_first != next_layer)
                continue;
            print_stage(row, explain);
            next_layer += row->layer_count;
            break;
        }
    }
    for (size_t i = 0; explain && i < reply->worker_count; i++) {
        const struct wire_worker_row *row = &reply->workers[i];
        if (!is_serving(row))
            (void)printf("  %-16s no layers (%s): %s\n", row->node_id,
                cli_worker_state_name(row->state), row->reason);
    }
    if (reply->bottleneck_ms > 0)
        (void)printf("slowest stage, predicted: %.3f ms\n", reply->bottleneck_ms);
    if (explain && reply->plan_reason[0] != '\0')
        (void)printf("why this plan: %s\n", reply->plan_reason);
    if (reply->error.text[0] != '\0')
        (void)printf("error: %s\n", reply->error.text);
}

int cmd_plan(const struct cli_command *command, int argc, char **argv)
{
    struct cli_admin admin = {.timeout_ms = CLI_ADMIN_TIMEOUT_MS};
    bool json = false, explain = false;
    const struct base_option options[] = {
        {.name = "explain",
            .type = BASE_OPTION_FLAG,
            .target = &explain,
            .help = "say why, and name the workers without layers"},
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
            print_text(reply, explain);
        if (json && !print_json(reply))
            exit_status = cli_fail(command, "the plan could not be printed");
        else
            exit_status = cli_finish(command);
    }
    cli_admin_close(&admin);
    return exit_status;
}
