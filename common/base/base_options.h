/*
 * Command lines as a table: one row per option gives parsing, range errors and --help,
 * so that the documentation cannot drift from the parser. Main thread only.
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

struct base_error;

enum base_option_type {
    BASE_OPTION_FLAG,   /* target: bool; takes no value */
    BASE_OPTION_STRING, /* target: const char *; borrows argv or the environment */
    BASE_OPTION_U32,    /* target: uint32_t, within min..max */
    BASE_OPTION_U64,    /* target: uint64_t, within min..max */
    BASE_OPTION_F64,    /* target: double, within min..max */
    BASE_OPTION_BYTES,  /* target: uint64_t; accepts KiB, MiB, GiB, KB, MB, GB */
    BASE_OPTION_LIST,   /* target: struct base_option_list; may be given several times */
};

#define BASE_OPTION_LIST_MAX 64

struct base_option_list {
    const char *items[BASE_OPTION_LIST_MAX]; /* borrowed from argv */
    size_t count;
};

struct base_option {
    const char *name; /* long name without "--" */
    char letter;      /* short name, or 0 */
    enum base_option_type type;
    void *target;            /* holds the default before parsing */
    double min, max;         /* for numbers; both 0: unbounded */
    const char *value_name;  /* "FILE", "N", "MS"; NULL for flags */
    const char *environment; /* variable read when the option is absent, or NULL; flags: 1 or 0 */
    const char *help;        /* one sentence */
};

/*
 * Parses argv[1..]; stops at "--" (skipped) or, when stop_at_word is set, at the first word
 * that is no option. *ret_next: index of the first argument left over. Words that are no
 * options are an error unless stop_at_word. Returns BASE_OK, BASE_INVALID with *err filled
 * (name, value, allowed range), or BASE_CANCELLED when --help was asked for.
 */
int base_options_parse(const struct base_option *options, size_t option_count, int argc,
    char **argv, int stop_at_word, int *ret_next, struct base_error *err);

/* Prints one aligned row per option, with unit, default and environment variable. */
void base_options_help(const struct base_option *options, size_t option_count, FILE *out);

/* "16GiB" to bytes. Returns BASE_OK or BASE_INVALID. */
int base_bytes_parse(const char *text, unsigned long long *ret_bytes);

#endif
