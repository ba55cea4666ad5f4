/*
 * Settings as a table: one row per option gives its flag, its environment variable, its key in a
 * configuration file (read by the module config), range errors, --help and the reference, so that
 * the documentation cannot drift from the parser. A stronger source replaces what a weaker one
 * said, whatever the order: flag, environment, file, default. Main thread only.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct base_error;

enum base_option_type {
    BASE_OPTION_FLAG,   /* target: bool; on the command line the name alone, or =true, =false */
    BASE_OPTION_STRING, /* target: const char *; borrows argv or the environment */
    BASE_OPTION_U32,    /* target: uint32_t, within min..max */
    BASE_OPTION_U64,    /* target: uint64_t, within min..max */
    BASE_OPTION_F64,    /* target: double, within min..max */
    BASE_OPTION_BYTES,  /* target: uint64_t; accepts KiB, MiB, GiB, KB, MB, GB */
    BASE_OPTION_LIST,   /* target: struct base_option_list; may be given several times */
};

#define BASE_OPTION_LIST_MAX 64

/* Where a value comes from; a later one wins. */
enum base_option_source {
    BASE_OPTION_FROM_DEFAULT,
    BASE_OPTION_FROM_FILE,
    BASE_OPTION_FROM_ENVIRONMENT,
    BASE_OPTION_FROM_COMMAND_LINE,
};

struct base_option_list {
    const char *items[BASE_OPTION_LIST_MAX]; /* borrowed from argv, environment or file */
    size_t count;
    enum base_option_source source; /* of the items: all are of one */
};

struct base_option {
    const char *name; /* long name without "--" */
    char letter;      /* short name, or 0 */
    enum base_option_type type;
    void *target;            /* holds the default before parsing */
    double min, max;         /* for numbers; both 0: unbounded */
    const char *value_name;  /* "FILE", "N", "MS"; NULL for flags */
    const char *environment; /* variable; NULL: none, or as base_option_variable() makes it */
    const char *help;        /* one sentence */
    bool command_only;       /* what to do rather than a setting: no variable, not in a file */
};

/* The row of a long name, or NULL. */
const struct base_option *base_option_find(
    const struct base_option *options, size_t option_count, const char *name, size_t name_length);

/*
 * Sets one value; text is borrowed for strings and lists (items of a list are added one by one).
 * Flags take 1, 0, true or false. where ("--port", "file.yaml:3: port") begins the error. Returns
 * BASE_OK or BASE_INVALID with *err filled.
 */
int base_option_set(const struct base_option *option, enum base_option_source source,
    const char *text, const char *where, struct base_error *err);

/*
 * The row's environment variable: its own; else, with a prefix, "LAYERMESH_ROUTER_" and
 * "max-running" make LAYERMESH_ROUTER_MAX_RUNNING; else none (""). prefix may be NULL.
 */
void base_option_variable(
    const struct base_option *option, const char *prefix, char *ret, size_t bytes);

/* Reads the variables of all rows; empty ones count as absent. As base_option_set(). */
int base_options_environment(const struct base_option *options, size_t option_count,
    const char *prefix, struct base_error *err);

/*
 * Reads the rows' own variables, then argv[1..]; stops at "--" (skipped) or, when stop_at_word is set, at the first word
 * that is no option. *ret_next: index of the first argument left over. Words that are no
 * options are an error unless stop_at_word. Returns BASE_OK, BASE_INVALID with *err filled
 * (name, value, allowed range), or BASE_CANCELLED when --help was asked for.
 */
int base_options_parse(const struct base_option *options, size_t option_count, int argc,
    char **argv, int stop_at_word, int *ret_next, struct base_error *err);

/* Prints one aligned row per option, with unit, default and environment variable. prefix may be
 * NULL. */
void base_options_help(
    const struct base_option *options, size_t option_count, const char *prefix, FILE *out);

/* "16GiB" to bytes. Returns BASE_OK or BASE_INVALID. */
int base_bytes_parse(const char *text, unsigned long long *ret_bytes);

#endif
