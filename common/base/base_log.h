/*
 * One line per event on stderr. Text: time level program[pid] event key=value...; or JSON, one
 * object per line with time, level, program, pid, message (the event) and the fields. Arguments are
 * escaped (base_log_line.h), so that what a peer said cannot make a line or a field.
 *
 * Field names that tools look for: request, client, peer, node, epoch, batch, error.
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

enum base_log_format {
    BASE_LOG_TEXT,
    BASE_LOG_JSON,
};

/* Once at start, before threads. program is borrowed for the life of the process. */
void base_log_init(const char *program, enum base_log_level level);

/* Before threads. Text unless set. */
void base_log_set_format(enum base_log_format format);

/* "error", "warn", "info", "debug" to a level. Returns BASE_OK or BASE_INVALID. */
int base_log_level_parse(const char *text, enum base_log_level *ret_level);

/* "text", "json" to a format. Returns BASE_OK or BASE_INVALID. */
int base_log_format_parse(const char *text, enum base_log_format *ret_format);

/* event is one word; format makes "key=value key2=\"%s\"" (may be ""). */
void base_log(enum base_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
