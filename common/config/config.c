#include "config.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_log.h"
#include "config_internal.h"
#include <stdlib.h>
#include <string.h>

void config_init(struct config *self)
{
    *self = (struct config){.log_level = "info", .log_format = "text", .admin_listen = "auto"};
}

void config_release(struct config *self)
{
    while (self->texts != NULL) {
        struct config_text *text = self->texts;
        self->texts = text->next;
        base_free(text);
    }
}

const char *config_keep(struct config *self, const char *text, size_t bytes)
{
    struct config_text *kept = base_alloc(sizeof(*kept) + bytes + 1);

    if (kept == NULL)
        return NULL;
    memcpy(kept->text, text, bytes);
    kept->text[bytes] = '\0';
    kept->next = self->texts;
    self->texts = kept;
    return kept->text;
}

void config_options(struct config *self, struct base_option *ret)
{
    const struct base_option rows[CONFIG_OPTION_COUNT] = {
        {"admin-listen", 0, BASE_OPTION_STRING, &self->admin_listen, 0, 0, "ADDRESS", NULL,
            "Port for /metrics, /healthz and /readyz: HOST:PORT, auto (loopback, the usual port or "
            "a free one) or off."},
        {"log-level", 0, BASE_OPTION_STRING, &self->log_level, 0, 0, "LEVEL", NULL,
            "error, warn, info or debug."},
        {"log-format", 0, BASE_OPTION_STRING, &self->log_format, 0, 0, "FORMAT", NULL,
            "text or json; one line per event on stderr."},
        {.name = "config",
            .type = BASE_OPTION_STRING,
            .target = &self->file,
            .value_name = "FILE",
            .help = "YAML file with any of these settings; flags and variables win over it.",
            .command_only = true},
        {.name = "check",
            .type = BASE_OPTION_FLAG,
            .target = &self->check,
            .help = "Check all settings and exit.",
            .command_only = true},
        {.name = "print-config",
            .type = BASE_OPTION_FLAG,
            .target = &self->print,
            .help = "Print all settings as such a file and exit.",
            .command_only = true},
    };

    memcpy(ret, rows, sizeof(rows));
}

/* The file must be known before anything else is read. NULL: none. */
static const char *find_file(int argc, char **argv)
{
    const char *file = NULL;

    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            file = argv[++i];
        else if (strncmp(argv[i], "--config=", 9) == 0)
            file = argv[i] + 9;
    }
    return file;
}

static int read_all(struct config *self, const struct config_program *program,
    const struct base_option *options, size_t option_count, int argc, char **argv,
    struct base_error *err)
{
    const char *file = find_file(argc, argv);
    int next;
    int rc = file == NULL ? BASE_OK : config_read_file(self, file, options, option_count, err);

    if (rc == BASE_OK)
        rc = base_options_environment(options, option_count, program->prefix, err);
    if (rc == BASE_OK)
        rc = base_options_parse(options, option_count, argc, argv, 0, &next, err);
    return rc;
}

static int set_up_log(
    const struct config *self, const struct config_program *program, struct base_error *err)
{
    enum base_log_level level;
    enum base_log_format format;

    if (base_log_level_parse(self->log_level, &level) != BASE_OK)
        return base_error_set(
            err, BASE_INVALID, "log-level '%s': error, warn, info or debug", self->log_level);
    if (base_log_format_parse(self->log_format, &format) != BASE_OK)
        return base_error_set(err, BASE_INVALID, "log-format '%s': text or json", self->log_format);
    base_log_init(program->name, level);
    base_log_set_format(format);
    return BASE_OK;
}

bool config_start(struct config *self, const struct config_program *program,
    const struct base_option *options, size_t option_count, const void *settings, int argc,
    char **argv, int *ret_exit)
{
    struct base_error err = {0};

    base_log_init(program->name, BASE_LOG_INFO);
    int rc = read_all(self, program, options, option_count, argc, argv, &err);
    *ret_exit = EXIT_SUCCESS;
    if (rc == BASE_CANCELLED) {
        (void)printf("usage: %s %s\n\n", program->name, program->usage);
        base_options_help(options, option_count, program->prefix, stdout);
        return false;
    }
    if (rc == BASE_OK && self->print) {
        config_print(program->name, program->prefix, options, option_count, stdout);
        return false;
    }
    if (rc == BASE_OK)
        rc = set_up_log(self, program, &err);
    if (rc == BASE_OK && program->check != NULL)
        rc = program->check(settings, &err);
    if (rc != BASE_OK) {
        (void)fprintf(stderr, "%s: %s\n", program->name, err.text);
        *ret_exit = 2;
        return false;
    }
    return !self->check;
}
