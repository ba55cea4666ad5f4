/* convert and quantize: the same work; the first keeps types unless told otherwise. */
#include "cli_answer.h"
#include "cli_command.h"
#include "cli_convert.h"
#include "cli_recipe.h"

#include "base_err.h"
#include "tensor_pool.h"
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 256

struct settings {
    struct cli_convert_options convert;
    const char *type;
    uint64_t split_bytes;
    bool json;
};

static int print_result(
    const struct cli_command *command, const struct cli_convert_result *result, bool is_json)
{
    if (result->note[0] != '\0')
        (void)fprintf(stderr, "layermesh %s: note: %s\n", command->name, result->note);
    if (!is_json) {
        (void)printf("%s: %.1f MiB of weights, from %.1f MiB\n", result->path,
            (double)result->target_bytes / 1048576, (double)result->source_bytes / 1048576);
        return cli_finish(command);
    }
    json_t *json = json_pack("{s:s, s:I, s:I, s:s}", "path", result->path, "target_bytes",
        (json_int_t)result->target_bytes, "source_bytes", (json_int_t)result->source_bytes, "note",
        result->note);
    if (!cli_json_print(json))
        return cli_fail(command, "the result could not be printed");
    return cli_finish(command);
}

static int check(const struct cli_command *command, struct settings *s, size_t word_count)
{
    if (word_count != 2)
        return cli_usage(command, "%s", "a source and a target are wanted");
    if (s->type == NULL && strcmp(command->name, "quantize") == 0)
        return cli_usage(command, "--type is missing (%s)", cli_recipe_names());
    if (s->type != NULL) {
        s->convert.recipe = cli_recipe_find(s->type);
        if (s->convert.recipe == NULL)
            return cli_usage(
                command, "--type %s is unknown (known: %s)", s->type, cli_recipe_names());
    }
    s->convert.part_bytes_max = s->split_bytes;
    return CLI_EXIT_OK;
}

int cmd_convert(const struct cli_command *command, int argc, char **argv)
{
    struct settings s = {.convert = {.threads = tensor_pool_default_threads()}};
    const char *words[2] = {NULL, NULL};
    size_t word_count = 0;
    const struct base_option options[] = {
        {.name = "type",
            .type = BASE_OPTION_STRING,
            .target = &s.type,
            .value_name = "TYPE",
            .help = "weight type or mixture, such as q4_k_m; convert keeps types without it"},
        {.name = "threads",
            .type = BASE_OPTION_U32,
            .target = &s.convert.threads,
            .min = 1,
            .max = THREADS_MAX,
            .value_name = "N",
            .help = "threads that quantise"},
        {.name = "split",
            .type = BASE_OPTION_BYTES,
            .target = &s.split_bytes,
            .value_name = "SIZE",
            .help = "write parts of at most this much weight data"},
        {.name = "force",
            .type = BASE_OPTION_FLAG,
            .target = &s.convert.replace,
            .help = "replace a target that exists"},
        {.name = "quiet",
            .type = BASE_OPTION_FLAG,
            .target = &s.convert.quiet,
            .help = "show no progress"},
        {.name = "json", .type = BASE_OPTION_FLAG, .target = &s.json, .help = "print JSON"},
    };
    struct cli_convert_result result;
    struct base_error err = {0};
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_words(command, options, sizeof(options) / sizeof(options[0]), argc, argv, words,
            2, &word_count, &exit_status))
        return exit_status;
    exit_status = check(command, &s, word_count);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    s.convert.source = words[0];
    s.convert.target = words[1];
    cli_interrupt_catch();
    if (cli_convert(&s.convert, &result, &err) != BASE_OK)
        return cli_fail(command, "%s", err.text);
    return print_result(command, &result, s.json);
}
