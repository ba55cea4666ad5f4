#include "base_log.h"

#include "base_err.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char *log_program = "layermesh";
static enum base_log_level log_level = BASE_LOG_INFO;

void base_log_init(const char *program, enum base_log_level level)
{
    log_program = program;
    log_level = level;
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

void base_log(enum base_log_level level, const char *event, const char *format, ...)
{
    char line[1024];
    struct timespec now;
    struct tm utc;
    va_list args;

    if (level > log_level)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &utc);
    int head = snprintf(line + used, sizeof(line) - used, ".%03ldZ %s %s[%ld] %s ",
        now.tv_nsec / 1000000, level_names[level], log_program, (long)getpid(), event);
    if (head < 0)
        return;
    used += (size_t)head;
    if (used < sizeof(line) - 1) {
        va_start(args, format);
        int tail = vsnprintf(line + used, sizeof(line) - used, format, args);
        va_end(args);
        if (tail > 0)
            used += (size_t)tail;
    }
    if (used > sizeof(line) - 2)
        used = sizeof(line) - 2;
    line[used] = '\n';
    /* One write per line, so lines of several threads or daemons do not mix. */
    (void)!write(STDERR_FILENO, line, used + 1);
}
