/* The sub-commands, and how each of them reports and ends. Main thread only. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base_options.h"
#include <stdbool.h>
#include <stddef.h>

/* Exit codes; a contract with scripts. */
enum cli_exit {
    CLI_EXIT_OK = 0,
    CLI_EXIT_FAILED = 1, /* the reason is on stderr */
    CLI_EXIT_USAGE = 2,
};

struct cli_command {
    const char *name;
    const char *arguments; /* behind the name in the usage line */
    const char *summary;
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

/* argv[0] is the sub-command's name. Each returns the exit status of the process. */
int cmd_bench(const struct cli_command *command, int argc, char **argv);
int cmd_convert(const struct cli_command *command, int argc, char **argv); /* and quantize */
int cmd_detokenize(const struct cli_command *command, int argc, char **argv);
int cmd_generate(const struct cli_command *command, int argc, char **argv);
int cmd_inspect(const struct cli_command *command, int argc, char **argv);
int cmd_keys(const struct cli_command *command, int argc, char **argv);
int cmd_healthcheck(const struct cli_command *command, int argc, char **argv);
int cmd_local(const struct cli_command *command, int argc, char **argv);
int cmd_plan(const struct cli_command *command, int argc, char **argv);
int cmd_score(const struct cli_command *command, int argc, char **argv);
int cmd_status(const struct cli_command *command, int argc, char **argv);
int cmd_synth(const struct cli_command *command, int argc, char **argv);
int cmd_tokenize(const struct cli_command *command, int argc, char **argv);

/* "layermesh <name>: reason" on stderr. Return CLI_EXIT_FAILED and CLI_EXIT_USAGE. */
int cli_fail(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int cli_usage(const struct cli_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Parses a command's options. Returns true to go on; false when the command ends here with
 * *ret_exit (help was printed, or the usage was wrong and stderr says how). ret_next NULL:
 * arguments behind the options are an error.
 */
bool cli_parse_options(const struct cli_command *command, const struct base_option *options,
    size_t option_count, int argc, char **argv, int *ret_next, int *ret_exit);

/* Likewise with up to word_max words that are no options, before, behind or between these. */
bool cli_parse_words(const struct cli_command *command, const struct base_option *options,
    size_t option_count, int argc, char **argv, const char **words, size_t word_max,
    size_t *ret_word_count, int *ret_exit);

/* Whether all that was printed arrived: flushes stdout. Returns CLI_EXIT_OK or CLI_EXIT_FAILED. */
int cli_finish(const struct cli_command *command);

/* From now on SIGINT and SIGTERM only set a flag, the second one ends the process. */
void cli_interrupt_catch(void);
bool cli_interrupt_seen(void);

/*
 * Reads a file to its end, at most bytes_max; path NULL: stdin. Returns a block freed with
 * base_free() with a NUL behind its *ret_bytes bytes, or NULL with the reason in *err.
 */
char *cli_read_file(const char *path, size_t bytes_max, size_t *ret_bytes, struct base_error *err);

#endif
