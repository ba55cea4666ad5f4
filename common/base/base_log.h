/*
 * One line per event on stderr, logfmt: time level program event key=value...
 * Services log; libraries return errors and log at debug at most. Thread-safe.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum base_log_level {
    BASE_LOG_ERROR,
    BASE_LOG_WARN,
    BASE_LOG_INFO,
    BASE_LOG_DEBUG,
};

/* Once at start, before threads. program is borrowed for the life of the process. */
void base_log_init(const char *program, enum base_log_level level);

/* "error", "warn", "info", "debug" to a level. Returns BASE_OK or BASE_INVALID. */
int base_log_level_parse(const char *text, enum base_log_level *ret_level);

/* event is one word; format makes "key=value key2=value2" (may be ""). */
void base_log(enum base_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
