#include "base_options.h"

#include "base_err.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define VARIABLE_BYTES 96 /* a variable's or an option's name */

static const struct {
    const char *suffix;
    unsigned long long factor;
} byte_units[] = {{"", 1}, {"B", 1}, {"K", 1ull << 10}, {"KiB", 1ull << 10}, {"KB", 1000ull},
    {"M", 1ull << 20}, {"MiB", 1ull << 20}, {"MB", 1000000ull}, {"G", 1ull << 30},
    {"GiB", 1ull << 30}, {"GB", 1000000000ull}, {"T", 1ull << 40}, {"TiB", 1ull << 40}};

int base_bytes_parse(const char *text, unsigned long long *ret_bytes)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return BASE_INVALID;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0)
        return BASE_INVALID;
    for (size_t i = 0; i < sizeof(byte_units) / sizeof(byte_units[0]); i++) {
        if (strcmp(end, byte_units[i].suffix) == 0)
            return __builtin_mul_overflow(value, byte_units[i].factor, ret_bytes) ? BASE_INVALID
                                                                                  : BASE_OK;
    }
    return BASE_INVALID;
}

static bool in_range(const struct base_option *option, double value)
{
    return (option->min == 0 && option->max == 0) || (value >= option->min && value <= option->max);
}

static int parse_integer(const struct base_option *option, const char *text, uint64_t limit)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return BASE_INVALID;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value > limit || !in_range(option, (double)value))
        return BASE_INVALID;
    if (option->type == BASE_OPTION_U32)
        *(uint32_t *)option->target = (uint32_t)value;
    else
        *(uint64_t *)option->target = value;
    return BASE_OK;
}

static int parse_real(const struct base_option *option, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(value) || !in_range(option, value))
        return BASE_INVALID;
    *(double *)option->target = value;
    return BASE_OK;
}

static int add_to_list(
    struct base_option_list *list, enum base_option_source source, const char *text)
{
    if (list->source != source)
        list->count = 0;
    list->source = source;
    if (list->count == BASE_OPTION_LIST_MAX)
        return BASE_INVALID;
    list->items[list->count++] = text;
    return BASE_OK;
}

static int parse_switch(const struct base_option *option, const char *text)
{
    bool is_on = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;

    if (!is_on && strcmp(text, "0") != 0 && strcmp(text, "false") != 0)
        return BASE_INVALID;
    *(bool *)option->target = is_on;
    return BASE_OK;
}

static int assign(
    const struct base_option *option, enum base_option_source source, const char *text)
{
    unsigned long long bytes;

    switch (option->type) {
    case BASE_OPTION_FLAG:
        return parse_switch(option, text);
    case BASE_OPTION_STRING:
        *(const char **)option->target = text;
        return BASE_OK;
    case BASE_OPTION_U32:
        return parse_integer(option, text, UINT32_MAX);
    case BASE_OPTION_U64:
        return parse_integer(option, text, UINT64_MAX);
    case BASE_OPTION_F64:
        return parse_real(option, text);
    case BASE_OPTION_BYTES:
        if (base_bytes_parse(text, &bytes) != BASE_OK || !in_range(option, (double)bytes))
            return BASE_INVALID;
        *(uint64_t *)option->target = bytes;
        return BASE_OK;
    case BASE_OPTION_LIST:
        return add_to_list(option->target, source, text);
    }
    return BASE_INVALID;
}

static int refuse(
    const struct base_option *option, const char *where, const char *text, struct base_error *err)
{
    if (option->type == BASE_OPTION_FLAG)
        return base_error_set(
            err, BASE_INVALID, "%s: '%s' is neither true (1) nor false (0)", where, text);
    if (option->type == BASE_OPTION_LIST)
        return base_error_set(
            err, BASE_INVALID, "%s: given more than %d times", where, BASE_OPTION_LIST_MAX);
    if (option->min == 0 && option->max == 0)
        return base_error_set(
            err, BASE_INVALID, "%s: '%s' is not a valid %s", where, text, option->value_name);
    return base_error_set(err, BASE_INVALID, "%s: '%s' is not a %s from %g to %g", where, text,
        option->value_name, option->min, option->max);
}

int base_option_set(const struct base_option *option, enum base_option_source source,
    const char *text, const char *where, struct base_error *err)
{
    return assign(option, source, text) == BASE_OK ? BASE_OK : refuse(option, where, text, err);
}

void base_option_variable(
    const struct base_option *option, const char *prefix, char *ret, size_t bytes)
{
    if (option->environment != NULL)
        (void)snprintf(ret, bytes, "%s", option->environment);
    else if (prefix != NULL && !option->command_only)
        (void)snprintf(ret, bytes, "%s%s", prefix, option->name);
    else
        ret[0] = '\0';
    for (char *c = ret; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

int base_options_environment(const struct base_option *options, size_t option_count,
    const char *prefix, struct base_error *err)
{
    for (size_t i = 0; i < option_count; i++) {
        char name[VARIABLE_BYTES];
        base_option_variable(&options[i], prefix, name, sizeof(name));
        const char *text = name[0] != '\0' ? getenv(name) : NULL;
        if (text == NULL || text[0] == '\0')
            continue;
        int rc = base_option_set(&options[i], BASE_OPTION_FROM_ENVIRONMENT, text, name, err);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

const struct base_option *base_option_find(
    const struct base_option *options, size_t option_count, const char *name, size_t name_length)
{
    for (size_t i = 0; i < option_count; i++)
        if (strlen(options[i].name) == name_length &&
            strncmp(name, options[i].name, name_length) == 0)
            return &options[i];
    return NULL;
}

static const struct base_option *find_word(
    const struct base_option *options, size_t option_count, const char *word, size_t word_length)
{
    if (word[1] == '-')
        return base_option_find(options, option_count, word + 2, word_length - 2);
    for (size_t i = 0; i < option_count && word_length == 2; i++)
        if (options[i].letter != 0 && word[1] == options[i].letter)
            return &options[i];
    return NULL;
}

int base_options_parse(const struct base_option *options, size_t option_count, int argc,
    char **argv, int stop_at_word, int *ret_next, struct base_error *err)
{
    int next = 1;

    if (base_options_environment(options, option_count, NULL, err) != BASE_OK)
        return BASE_INVALID;
    for (; next < argc; next++) {
        const char *word = argv[next];
        if (strcmp(word, "--") == 0) {
            next++;
            break;
        }
        if (word[0] != '-' || word[1] == '\0') {
            if (stop_at_word)
                break;
            return base_error_set(err, BASE_INVALID, "unexpected argument '%s'", word);
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            return BASE_CANCELLED;
        const char *equals = word[1] == '-' ? strchr(word, '=') : NULL;
        size_t name_length = equals ? (size_t)(equals - word) : strlen(word);
        const struct base_option *option = find_word(options, option_count, word, name_length);
        if (option == NULL)
            return base_error_set(
                err, BASE_INVALID, "unknown option '%.*s'", (int)name_length, word);
        const char *value = equals ? equals + 1 : option->type == BASE_OPTION_FLAG ? "1" : NULL;
        if (value == NULL) {
            if (next + 1 >= argc)
                return base_error_set(
                    err, BASE_INVALID, "--%s needs a %s", option->name, option->value_name);
            value = argv[++next];
        }
        char where[VARIABLE_BYTES];
        (void)snprintf(where, sizeof(where), "--%s", option->name);
        int rc = base_option_set(option, BASE_OPTION_FROM_COMMAND_LINE, value, where, err);
        if (rc != BASE_OK)
            return rc;
    }
    *ret_next = next;
    return BASE_OK;
}

static void print_default(const struct base_option *option, FILE *out)
{
    switch (option->type) {
    case BASE_OPTION_STRING:
        if (*(const char **)option->target != NULL)
            (void)fprintf(out, " (default %s)", *(const char **)option->target);
        break;
    case BASE_OPTION_U32:
        (void)fprintf(out, " (default %u)", *(uint32_t *)option->target);
        break;
    case BASE_OPTION_U64:
    case BASE_OPTION_BYTES:
        (void)fprintf(out, " (default %llu)", (unsigned long long)*(uint64_t *)option->target);
        break;
    case BASE_OPTION_F64:
        (void)fprintf(out, " (default %g)", *(double *)option->target);
        break;
    case BASE_OPTION_FLAG:
    case BASE_OPTION_LIST:
        break;
    }
}

void base_options_help(
    const struct base_option *options, size_t option_count, const char *prefix, FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct base_option *option = &options[i];
        char left[64];
        int used = option->letter != 0
                       ? snprintf(left, sizeof(left), "  -%c, --%s", option->letter, option->name)
                       : snprintf(left, sizeof(left), "      --%s", option->name);
        if (option->value_name != NULL && used > 0 && (size_t)used < sizeof(left))
            (void)snprintf(left + used, sizeof(left) - (size_t)used, " %s", option->value_name);
        (void)fprintf(out, "%-34s %s", left, option->help);
        print_default(option, out);
        char variable[VARIABLE_BYTES];
        base_option_variable(option, prefix, variable, sizeof(variable));
        if (variable[0] != '\0')
            (void)fprintf(out, " [%s]", variable);
        (void)fprintf(out, "\n");
    }
}
