/* What a model is, what it costs, and how a cluster would hold it. */
#include "cli_answer.h"
#include "cli_command.h"
#include "cli_inspect.h"

#include "base_err.h"
#include "gguf.h"
#include "hf.h"
#include "model.h"
#include <stdio.h>
#include <string.h>

struct settings {
    const char *workers;
    bool json;
};

static int read_settings(const struct cli_command *command, int argc, char **argv,
    struct settings *s, const char **ret_path, int *ret_exit)
{
    const struct base_option options[] = {
        {.name = "workers",
            .type = BASE_OPTION_STRING,
            .target = &s->workers,
            .value_name = "SIZES",
            .help = "memory of the workers to plan for, such as 16GiB,8GiB,8GiB"},
        {.name = "json", .type = BASE_OPTION_FLAG, .target = &s->json, .help = "print JSON"},
    };
    size_t word_count = 0;

    if (!cli_parse_words(command, options, sizeof(options) / sizeof(options[0]), argc, argv,
            ret_path, 1, &word_count, ret_exit))
        return BASE_CANCELLED;
    if (word_count == 1)
        return BASE_OK;
    *ret_exit = cli_usage(command, "%s", "a model is wanted");
    return BASE_CANCELLED;
}

int cmd_inspect(const struct cli_command *command, int argc, char **argv)
{
    struct settings s = {NULL, false};
    struct base_error err = {0}, unsupported = {0};
    struct cli_cluster cluster = {0};
    struct gguf *file = NULL;
    struct model *model = NULL;
    const char *path = NULL;
    int exit_status = CLI_EXIT_OK;

    if (read_settings(command, argc, argv, &s, &path, &exit_status) != BASE_OK)
        return exit_status;
    if (s.workers != NULL && cli_cluster_parse(s.workers, &cluster, &err) != BASE_OK)
        return cli_usage(command, "%s", err.text);
    if (hf_open_model(path, &file, &err) != BASE_OK)
        return cli_fail(command, "%s", err.text);
    /* What cannot be served can still be looked at. */
    (void)model_open_gguf(&file, &model, &unsupported);
    json_t *report = cli_inspect(model != NULL ? model_file(model) : file, model, &cluster);
    if (report != NULL && model == NULL)
        (void)json_object_set_new(report, "unsupported", json_string(unsupported.text));
    bool printed = report != NULL;
    if (printed && !s.json)
        cli_inspect_print(report);
    else if (printed)
        printed = cli_json_print(json_incref(report));
    json_decref(report);
    model_close(&model);
    gguf_close(&file);
    if (!printed)
        return cli_fail(command, "the result could not be printed");
    exit_status = cli_finish(command);
    return unsupported.code == BASE_OK ? exit_status : cli_fail(command, "%s", unsupported.text);
}
