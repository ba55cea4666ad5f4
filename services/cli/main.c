/* layermesh: one program for people and scripts; each sub-command has its own file. */
#include "cli_command.h"

#include "layermesh.h"
#include <string.h>

static int show_version(const struct cli_command *command, int argc, char **argv)
{
    int exit_status = CLI_EXIT_OK;

    if (cli_parse_options(command, NULL, 0, argc, argv, NULL, &exit_status)) {
        (void)printf("layermesh %s\n", lmesh_version());
        return cli_finish(command);
    }
    return exit_status;
}

static int show_help(const struct cli_command *command, int argc, char **argv);

static const struct cli_command commands[] = {
    {"local", "--model FILE --workers N [--spares S] [--threads T] -- CMD...",
        "Starts a private mesh of real daemons, runs CMD against it, stops everything.", cmd_local},
    {"generate", "(-p TEXT | --ids 1,2,3 | --chat FILE.json) [-n MAX] [options]",
        "Continues a prompt or answers a chat.", cmd_generate},
    {"score", "--ids 1,2,3 [--all] [--logits FILE] [--json]",
        "Says how likely given tokens are; writes logits.", cmd_score},
    {"tokenize", "--model FILE [--no-special] [--json] < TEXT", "Turns text on stdin into ids.",
        cmd_tokenize},
    {"detokenize", "--model FILE --ids 1,2,3", "Turns ids into text.", cmd_detokenize},
    {"healthcheck", "[--ready] (URL | --admin HOST:PORT)",
        "Asks a daemon's admin port: exit status 0 when it is well.", cmd_healthcheck},
    {"status", "[--json]", "Shows workers, their stages and the requests.", cmd_status},
    {"plan", "[--explain] [--json]", "Shows which worker holds which layers, and why.", cmd_plan},
    {"convert", "SOURCE OUT.gguf [--type TYPE] [--split SIZE] [--force]",
        "Writes a Hugging Face folder or a GGUF file as a GGUF file.", cmd_convert},
    {"quantize", "SOURCE OUT.gguf --type TYPE [--split SIZE] [--force]",
        "Writes a model with other weight types.", cmd_convert},
    {"inspect", "MODEL [--workers SIZES] [--json]",
        "Shows what a model is, what it costs, and how a cluster would hold it.", cmd_inspect},
    {"synth", "OUT.gguf [--shape NAME] [--type TYPE] [--seed N] [--force]",
        "Writes a model of random weights, for benchmarks.", cmd_synth},
    {"bench", "kernels|stage|compare [options]",
        "Measures this machine with a model, alone or beside a peer.", cmd_bench},
    {"keys", "init | issue NAME --role ROLE | list | revoke NAME | token --role ROLE [options]",
        "Makes, lists and ends the keys of a mesh; makes join tokens.", cmd_keys},
    {"version", "", "Prints the version.", show_version},
    {"help", "", "Prints this text.", show_help},
};

static void print_commands(FILE *out)
{
    (void)fprintf(out, "usage: layermesh COMMAND [options]\n\n");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        (void)fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    (void)fprintf(out, "\n'layermesh COMMAND --help' lists the options of a command.\n");
}

static int show_help(const struct cli_command *command, int argc, char **argv)
{
    print_commands(stdout);
    return cli_finish(command);
}

static const char *without_dashes(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ? "help"
           : strcmp(word, "--version") == 0                       ? "version"
                                                                  : word;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_commands(stderr);
        return CLI_EXIT_USAGE;
    }
    const char *name = without_dashes(argv[1]);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    (void)fprintf(stderr, "layermesh: there is no command '%s'\n\n", argv[1]);
    print_commands(stderr);
    return CLI_EXIT_USAGE;
}
