#include "cli_command.h"

#include "base_alloc.h"
#include "base_err.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

static volatile sig_atomic_t interrupt_seen;

static void print_reason(const struct cli_command *command, const char *format, va_list arguments)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "layermesh %s: ", command->name);
    (void)vfprintf(stderr, format, arguments);
    (void)fprintf(stderr, "\n");
}

int cli_fail(const struct cli_command *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_reason(command, format, arguments);
    va_end(arguments);
    return CLI_EXIT_FAILED;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_reason(command, format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "usage: layermesh %s %s\n", command->name, command->arguments);
    return CLI_EXIT_USAGE;
}

bool cli_parse_options(const struct cli_command *command, const struct base_option *options,
    size_t option_count, int argc, char **argv, int *ret_next, int *ret_exit)
{
    struct base_error err = {0};
    int next = 0;
    int rc = base_options_parse(options, option_count, argc, argv, ret_next != NULL, &next, &err);

    if (rc == BASE_CANCELLED) {
        (void)printf("usage: layermesh %s %s\n\n%s\n\n", command->name, command->arguments,
            command->summary);
        base_options_help(options, option_count, NULL, stdout);
        *ret_exit = cli_finish(command);
        return false;
    }
    if (rc == BASE_OK && ret_next == NULL && next < argc)
        rc = base_error_set(&err, BASE_INVALID, "unexpected argument '%s'", argv[next]);
    if (rc != BASE_OK) {
        *ret_exit = cli_usage(command, "%s", err.text);
        return false;
    }
    if (ret_next != NULL)
        *ret_next = next;
    return true;
}

bool cli_parse_words(const struct cli_command *command, const struct base_option *options,
    size_t option_count, int argc, char **argv, const char **words, size_t word_max,
    size_t *ret_word_count, int *ret_exit)
{
    size_t count = 0;

    for (;;) {
        int next = argc;
        if (!cli_parse_options(command, options, option_count, argc, argv, &next, ret_exit))
            return false;
        if (next >= argc)
            break;
        if (count == word_max) {
            *ret_exit = cli_usage(command, "'%s' is one word too many", argv[next]);
            return false;
        }
        words[count++] = argv[next];
        /* The word takes the place of the command's name, which is skipped. */
        argv += next;
        argc -= next;
    }
    *ret_word_count = count;
    return true;
}

int cli_finish(const struct cli_command *command)
{
    bool was_bad = ferror(stdout) != 0; /* errno is of something later then */

    if (fflush(stdout) != 0)
        return cli_fail(command, "writing to stdout: %s", strerror(errno));
    return was_bad ? cli_fail(command, "writing to stdout failed") : CLI_EXIT_OK;
}

static void note_interrupt(int number)
{
    interrupt_seen = 1;
}

void cli_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = note_interrupt};

    /* Without SA_RESTART, so that a wait ends; once, so that a second signal kills. */
    action.sa_flags = (int)SA_RESETHAND;
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupt_seen(void)
{
    return interrupt_seen != 0;
}

static char *read_stream(
    FILE *file, const char *name, size_t bytes_max, size_t *ret_bytes, struct base_error *err)
{
    size_t capacity = 65536, used = 0;
    char *data = base_alloc(capacity);

    while (data != NULL) {
        used += fread(data + used, 1, capacity - used - 1, file);
        if (ferror(file)) {
            (void)base_error_set(err, BASE_IO, "reading %s: %s", name, strerror(errno));
            break;
        }
        if (used > bytes_max) {
            (void)base_error_set(err, BASE_TOO_BIG, "%s is longer than %zu bytes", name, bytes_max);
            break;
        }
        if (feof(file)) {
            data[used] = '\0';
            *ret_bytes = used;
            return data;
        }
        if (used + 1 < capacity)
            continue;
        char *larger = base_realloc_array(data, capacity, 2);
        if (larger == NULL) {
            (void)base_error_set(err, BASE_NOMEM, "no memory to read %s", name);
            break;
        }
        data = larger;
        capacity *= 2;
    }
    if (data == NULL)
        (void)base_error_set(err, BASE_NOMEM, "no memory to read %s", name);
    base_free(data);
    return NULL;
}

char *cli_read_file(const char *path, size_t bytes_max, size_t *ret_bytes, struct base_error *err)
{
    if (path == NULL)
        return read_stream(stdin, "stdin", bytes_max, ret_bytes, err);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        (void)base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    char *data = read_stream(file, path, bytes_max, ret_bytes, err);
    (void)fclose(file);
    return data;
}
