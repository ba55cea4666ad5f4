/* The YAML file, read event by event: what is no setting is refused where it stands. */
#include "config.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "config_internal.h"
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define OPTIONS_MAX 128 /* rows of a table */

struct reader {
    struct config *config;
    const char *name; /* of the file */
    const struct base_option *options;
    size_t option_count;
    yaml_parser_t parser;
    yaml_event_t event; /* the present one, if has_event */
    bool has_event;
    size_t seen[OPTIONS_MAX]; /* line of each option; 0: not yet */
};

/* ---- events ---- */

static int fail(struct reader *self, int code, const char *what, struct base_error *err)
{
    return base_error_set(
        err, code, "%s:%zu: %s", self->name, self->event.start_mark.line + 1, what);
}

/* The next event; refused here: what no file of settings needs. */
static int next_event(struct reader *self, struct base_error *err)
{
    if (self->has_event)
        yaml_event_delete(&self->event);
    self->has_event = false;
    if (yaml_parser_parse(&self->parser, &self->event) == 0) {
        const yaml_parser_t *parser = &self->parser;
        if (parser->error == YAML_MEMORY_ERROR)
            return base_error_set(err, BASE_NOMEM, "%s: no memory", self->name);
        return base_error_set(err, BASE_MALFORMED, "%s:%zu: %s", self->name,
            (parser->problem_mark.line != 0 ? parser->problem_mark.line : parser->mark.line) + 1,
            parser->problem != NULL ? parser->problem : "not YAML");
    }
    self->has_event = true;
    switch (self->event.type) {
    case YAML_ALIAS_EVENT:
        return fail(self, BASE_INVALID, "aliases are not taken", err);
    case YAML_SCALAR_EVENT:
        if (self->event.data.scalar.anchor != NULL || self->event.data.scalar.tag != NULL)
            return fail(self, BASE_INVALID, "anchors and tags are not taken", err);
        if (strlen((const char *)self->event.data.scalar.value) != self->event.data.scalar.length)
            return fail(self, BASE_INVALID, "a NUL in a value", err);
        return BASE_OK;
    default:
        return BASE_OK;
    }
}

static int expect(
    struct reader *self, yaml_event_type_t type, const char *what, struct base_error *err)
{
    int rc = next_event(self, err);

    if (rc != BASE_OK || self->event.type == type)
        return rc;
    return fail(self, BASE_INVALID, what, err);
}

/* ---- settings ---- */

static int read_key(struct reader *self, const struct base_option **ret, struct base_error *err)
{
    const char *key = (const char *)self->event.data.scalar.value;
    size_t line = self->event.start_mark.line + 1;
    const struct base_option *option =
        base_option_find(self->options, self->option_count, key, strlen(key));

    if (option == NULL || option->command_only)
        return base_error_set(
            err, BASE_INVALID, "%s:%zu: there is no setting '%.60s'", self->name, line, key);
    size_t *seen = &self->seen[option - self->options];
    if (*seen != 0)
        return base_error_set(err, BASE_INVALID, "%s:%zu: '%s' was set in line %zu already",
            self->name, line, key, *seen);
    *seen = line;
    *ret = option;
    return BASE_OK;
}

/* The present scalar. */
static int set_value(struct reader *self, const struct base_option *option, struct base_error *err)
{
    const char *value = (const char *)self->event.data.scalar.value;
    bool is_plain = self->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    char where[LIMIT_CONFIG_NAME_BYTES];

    (void)snprintf(where, sizeof(where), "%s:%zu: %s", self->name, self->event.start_mark.line + 1,
        option->name);
    if (is_plain && (value[0] == '\0' || strcmp(value, "~") == 0 || strcmp(value, "null") == 0))
        return base_error_set(err, BASE_INVALID, "%s has no value: leave it out instead", where);
    if (option->type == BASE_OPTION_STRING || option->type == BASE_OPTION_LIST) {
        value = config_keep(self->config, value, self->event.data.scalar.length);
        if (value == NULL)
            return base_error_set(err, BASE_NOMEM, "%s: no memory", where);
    }
    return base_option_set(option, BASE_OPTION_FROM_FILE, value, where, err);
}

static int read_value(struct reader *self, const struct base_option *option, struct base_error *err)
{
    int rc = next_event(self, err);

    if (rc != BASE_OK)
        return rc;
    if (self->event.type == YAML_SCALAR_EVENT)
        return set_value(self, option, err);
    if (self->event.type != YAML_SEQUENCE_START_EVENT || option->type != BASE_OPTION_LIST)
        return fail(self, BASE_INVALID, "a single value is wanted here", err);
    while ((rc = next_event(self, err)) == BASE_OK) {
        if (self->event.type == YAML_SEQUENCE_END_EVENT)
            return BASE_OK;
        if (self->event.type != YAML_SCALAR_EVENT)
            return fail(self, BASE_INVALID, "a list of single values is wanted here", err);
        rc = set_value(self, option, err);
        if (rc != BASE_OK)
            return rc;
    }
    return rc;
}

static int read_settings(struct reader *self, struct base_error *err)
{
    int rc;

    while ((rc = next_event(self, err)) == BASE_OK) {
        const struct base_option *option = NULL;
        if (self->event.type == YAML_MAPPING_END_EVENT)
            return BASE_OK;
        if (self->event.type != YAML_SCALAR_EVENT)
            return fail(self, BASE_INVALID, "the name of a setting is wanted here", err);
        rc = read_key(self, &option, err);
        if (rc == BASE_OK)
            rc = read_value(self, option, err);
        if (rc != BASE_OK)
            return rc;
    }
    return rc;
}

static int read_document(struct reader *self, struct base_error *err)
{
    int rc = expect(self, YAML_STREAM_START_EVENT, "not YAML", err);

    if (rc == BASE_OK)
        rc = next_event(self, err);
    if (rc != BASE_OK || self->event.type == YAML_STREAM_END_EVENT) /* comments only */
        return rc;
    rc = expect(self, YAML_MAPPING_START_EVENT, "the file is to be lines of 'name: value'", err);
    if (rc == BASE_OK)
        rc = read_settings(self, err);
    if (rc == BASE_OK)
        rc = expect(self, YAML_DOCUMENT_END_EVENT, "not YAML", err);
    if (rc == BASE_OK)
        rc = expect(self, YAML_STREAM_END_EVENT, "a second document", err);
    return rc;
}

int config_read_text(struct config *self, const char *name, const char *text, size_t bytes,
    const struct base_option *options, size_t option_count, struct base_error *err)
{
    struct reader reader = {
        .config = self, .name = name, .options = options, .option_count = option_count};

    if (option_count > OPTIONS_MAX)
        return base_error_set(err, BASE_INTERNAL, "%s: more than %d options", name, OPTIONS_MAX);
    if (yaml_parser_initialize(&reader.parser) == 0)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", name);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, bytes);
    int rc = read_document(&reader, err);
    if (reader.has_event)
        yaml_event_delete(&reader.event);
    yaml_parser_delete(&reader.parser);
    return rc;
}

int config_read_file(struct config *self, const char *path, const struct base_option *options,
    size_t option_count, struct base_error *err)
{
    FILE *file = fopen(path, "rbe");
    char *text = base_alloc(LIMIT_CONFIG_BYTES + 1);
    int rc = BASE_OK;

    if (file == NULL)
        rc = base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
    else if (text == NULL)
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", path);
    if (rc == BASE_OK) {
        size_t bytes = fread(text, 1, LIMIT_CONFIG_BYTES + 1, file);
        if (ferror(file))
            rc = base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
        else if (bytes > LIMIT_CONFIG_BYTES)
            rc = base_error_set(
                err, BASE_TOO_BIG, "%s: more than %d bytes", path, LIMIT_CONFIG_BYTES);
        else
            rc = config_read_text(self, path, text, bytes, options, option_count, err);
    }
    if (file != NULL)
        (void)fclose(file);
    base_free(text);
    return rc;
}
