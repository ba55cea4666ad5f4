#include "cli_command.h"
#include "cli_recipe.h"
#include "cli_synth.h"

#include "base_err.h"
#include "base_limits.h"
#include <stdio.h>
#include <unistd.h>

int cmd_synth(const struct cli_command *command, int argc, char **argv)
{
    struct cli_synth_options o = {.context = 8192, .seed = 1};
    const char *shape = "1b", *type = "q4_0", *target = NULL;
    bool force = false;
    const struct base_option options[] = {
        {.name = "shape",
            .type = BASE_OPTION_STRING,
            .target = &shape,
            .value_name = "NAME",
            .help = "tiny, 110m, 1b, 3b, 7b, 8b, or moe (8 experts, 2 used)"},
        {.name = "type",
            .type = BASE_OPTION_STRING,
            .target = &type,
            .value_name = "TYPE",
            .help = "weight type or mixture, as for quantize"},
        {.name = "context",
            .type = BASE_OPTION_U32,
            .target = &o.context,
            .min = 1,
            .max = LIMIT_CONTEXT_TOKENS_MAX,
            .value_name = "N",
            .help = "positions that a sequence may have"},
        {.name = "seed",
            .type = BASE_OPTION_U64,
            .target = &o.seed,
            .value_name = "N",
            .help = "of the random weights"},
        {.name = "force",
            .type = BASE_OPTION_FLAG,
            .target = &force,
            .help = "replace a target that exists"},
    };
    struct base_error err = {0};
    size_t word_count = 0;
    uint64_t bytes = 0;
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_words(command, options, sizeof(options) / sizeof(options[0]), argc, argv,
            &target, 1, &word_count, &exit_status))
        return exit_status;
    if (word_count != 1)
        return cli_usage(command, "%s", "a target is wanted");
    o.target = target;
    o.shape = cli_shape_find(shape);
    if (o.shape == NULL)
        return cli_usage(command, "--shape %s is unknown (known: %s)", shape, cli_shape_names());
    o.recipe = cli_recipe_find(type);
    if (o.recipe == NULL)
        return cli_usage(command, "--type %s is unknown (known: %s)", type, cli_recipe_names());
    if (!force && access(target, F_OK) == 0)
        return cli_fail(command, "%s: exists; --force replaces it", target);
    cli_interrupt_catch();
    if (cli_synth(&o, &bytes, &err) != BASE_OK)
        return cli_fail(command, "%s", err.text);
    (void)printf("%s: %.1f MiB of random weights\n", target, (double)bytes / 1048576);
    return cli_finish(command);
}
