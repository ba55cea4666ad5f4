/*
 * How a daemon comes to its settings: one table of options (base_options.h) read from flags, from
 * environment variables, from a YAML file and from its own defaults, in this order of strength;
 * and the start of every daemon's main(), which is the same for all of them. Main thread only.
 *
 * The file is one flat mapping, its keys the long names of the options: "batch-tokens: 96". A list
 * may be a YAML sequence. What is unknown, given twice, or not of the option's type is refused with
 * file and line. Anchors, aliases, tags and a second document are refused: they are no settings.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "base_options.h"
#include <stdint.h>

struct base_error;
struct config_text;

/* What every daemon can be told. Zeroed and then config_init(). */
struct config {
    const char *file; /* NULL: none */
    bool check, print;
    const char *log_level, *log_format;
    const char *admin_listen;
    struct config_text *texts; /* strings of the file; owned */
};

#define CONFIG_OPTION_COUNT 6

void config_init(struct config *self);

/* Frees what strings of the file point to: at the very end of main(). */
void config_release(struct config *self);

/* Appends the rows of struct config to a table; *ret has room for CONFIG_OPTION_COUNT. */
void config_options(struct config *self, struct base_option *ret);

/* A daemon, for config_start(). */
struct config_program {
    const char *name;   /* "layermesh-router" */
    const char *prefix; /* of its variables: "LAYERMESH_ROUTER_" */
    const char *usage;  /* arguments and a sentence, for --help */
    /* What no single row can tell: NULL, or returns BASE_OK or an error with *err filled. */
    int (*check)(const void *settings, struct base_error *err);
};

/*
 * Reads all sources, sets up the log, and does what needs no daemon: --help, --check,
 * --print-config, errors on stderr. Returns true to go on; false: end with *ret_exit (0, or 2 for
 * a wrong setting).
 */
bool config_start(struct config *self, const struct config_program *program,
    const struct base_option *options, size_t option_count, const void *settings, int argc,
    char **argv, int *ret_exit);

/*
 * Reads a file into the options; strings are kept in self. Returns BASE_OK, or BASE_IO,
 * BASE_TOO_BIG, BASE_MALFORMED, BASE_INVALID or BASE_NOMEM with *err as "FILE:LINE: reason".
 */
int config_read_file(struct config *self, const char *path, const struct base_option *options,
    size_t option_count, struct base_error *err);

/* The same from memory; name is for errors. */
int config_read_text(struct config *self, const char *name, const char *text, size_t bytes,
    const struct base_option *options, size_t option_count, struct base_error *err);

/* Prints all settings with their values as a file that can be read again, each with what it is,
 * its range and its other names. Run without flags and variables this is the reference. */
void config_print(const char *program, const char *prefix, const struct base_option *options,
    size_t option_count, FILE *out);

#endif
