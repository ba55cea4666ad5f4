#include "base_log.h"

#include "base_err.h"
#include "base_log_line.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *log_program = "layermesh";
static enum base_log_level log_level = BASE_LOG_INFO;
static enum base_log_format log_format = BASE_LOG_TEXT;

#define FIELDS_BYTES 1024 /* of one event; what does not fit is left out */
/* Not above PIPE_BUF, so that one write is one line in a pipe as well. */
#define LINE_BYTES 4096

void base_log_init(const char *program, enum base_log_level level)
{
    log_program = program;
    log_level = level;
}

void base_log_set_format(enum base_log_format format)
{
    log_format = format;
}

int base_log_level_parse(const char *text, enum base_log_level *ret_level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *ret_level = (enum base_log_level)i;
            return BASE_OK;
        }
    }
    return BASE_INVALID;
}

int base_log_format_parse(const char *text, enum base_log_format *ret_format)
{
    bool is_json = strcmp(text, "json") == 0;

    if (!is_json && strcmp(text, "text") != 0)
        return BASE_INVALID;
    *ret_format = is_json ? BASE_LOG_JSON : BASE_LOG_TEXT;
    return BASE_OK;
}

/* "2026-01-31T23:59:59.123Z" */
static void format_time(char *ret, size_t bytes)
{
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(ret, bytes, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(ret + used, bytes - used, ".%03ldZ", now.tv_nsec / 1000000);
}

void base_log(enum base_log_level level, const char *event, const char *format, ...)
{
    char line[LINE_BYTES], fields[FIELDS_BYTES], time[40];
    va_list args;
    int head;

    if (level > log_level)
        return;
    va_start(args, format);
    (void)base_log_fields(fields, sizeof(fields), format, args);
    va_end(args);
    format_time(time, sizeof(time));
    if (log_format == BASE_LOG_JSON)
        head = snprintf(line, sizeof(line),
            "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"pid\":%ld,\"message\":\"%s\"",
            time, level_names[level], log_program, (long)getpid(), event);
    else
        head = snprintf(line, sizeof(line), "%s %s %s[%ld] %s%s%s", time, level_names[level],
            log_program, (long)getpid(), event, fields[0] != '\0' ? " " : "", fields);
    if (head < 0 || (size_t)head > sizeof(line) - 3)
        return;
    size_t used = (size_t)head;
    if (log_format == BASE_LOG_JSON) {
        used += base_log_json(line + used, sizeof(line) - used - 2, fields);
        line[used++] = '}';
    }
    line[used] = '\n';
    /* One write per line, so lines of several threads or daemons do not mix. */
    (void)!write(STDERR_FILENO, line, used + 1);
}
