/* The settings as a file: the reference, and what a daemon would run with. */
#include "config.h"

#include "config_internal.h"
#include <inttypes.h>
#include <string.h>

#define WIDTH 96

/* Words of text as comment lines. */
static void print_comment(const char *text, FILE *out)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (column == 0 || column + 1 + length > WIDTH) {
            (void)fprintf(out, "%s#", column == 0 ? "" : "\n");
            column = 1;
        }
        (void)fprintf(out, " %.*s", (int)length, text);
        column += 1 + length;
        text += length;
        text += strspn(text, " ");
    }
    (void)fprintf(out, "\n");
}

/* YAML's double-quoted form, which can hold anything. */
static void print_string(const char *text, FILE *out)
{
    (void)fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            (void)fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            (void)fprintf(out, "\\x%02x", (unsigned char)*text);
        else
            (void)fputc(*text, out);
    }
    (void)fputc('"', out);
}

static void print_list(const struct base_option_list *list, FILE *out)
{
    (void)fputc('[', out);
    for (size_t i = 0; i < list->count; i++) {
        (void)fputs(i == 0 ? "" : ", ", out);
        print_string(list->items[i], out);
    }
    (void)fputc(']', out);
}

/* Whether there is a value to print; without, the key is shown as a comment. */
static bool has_value(const struct base_option *option)
{
    if (option->type == BASE_OPTION_STRING)
        return *(const char **)option->target != NULL;
    return option->type != BASE_OPTION_LIST ||
           ((const struct base_option_list *)option->target)->count > 0;
}

static void print_value(const struct base_option *option, FILE *out)
{
    switch (option->type) {
    case BASE_OPTION_FLAG:
        (void)fputs(*(const bool *)option->target ? "true" : "false", out);
        break;
    case BASE_OPTION_STRING:
        print_string(*(const char **)option->target, out);
        break;
    case BASE_OPTION_U32:
        (void)fprintf(out, "%" PRIu32, *(const uint32_t *)option->target);
        break;
    case BASE_OPTION_U64:
    case BASE_OPTION_BYTES:
        (void)fprintf(out, "%" PRIu64, *(const uint64_t *)option->target);
        break;
    case BASE_OPTION_F64:
        (void)fprintf(out, "%.17g", *(const double *)option->target);
        break;
    case BASE_OPTION_LIST:
        print_list(option->target, out);
        break;
    }
}

static void print_names(const struct base_option *option, const char *prefix, FILE *out)
{
    char variable[96];

    base_option_variable(option, prefix, variable, sizeof(variable));
    (void)fprintf(out, "# --%s", option->name);
    if (variable[0] != '\0')
        (void)fprintf(out, ", %s", variable);
    if (option->min != 0 || option->max != 0)
        (void)fprintf(out, "; %.15g to %.15g", option->min, option->max);
    if (option->type == BASE_OPTION_BYTES)
        (void)fprintf(out, "; bytes, or as 16GiB");
    (void)fprintf(out, "\n");
}

void config_print(const char *program, const char *prefix, const struct base_option *options,
    size_t option_count, FILE *out)
{
    (void)fprintf(out, "# Settings of %s.\n", program);
    for (size_t i = 0; i < option_count; i++) {
        const struct base_option *option = &options[i];
        if (option->command_only)
            continue;
        (void)fprintf(out, "\n");
        print_comment(option->help, out);
        print_names(option, prefix, out);
        if (has_value(option)) {
            (void)fprintf(out, "%s: ", option->name);
            print_value(option, out);
            (void)fprintf(out, "\n");
        } else {
            (void)fprintf(out, "# %s: %s\n", option->name, option->value_name);
        }
    }
}
