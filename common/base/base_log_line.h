/*
 * The text of one log line. Arguments may be anything that a peer or a file said, so a line is made
 * in two steps: key=value words in which every argument is escaped, so that no argument can end a
 * line, end a value or begin a field; and from these, where it is asked for, JSON. Any thread.
 */
#ifndef BASE_LOG_LINE_H
#define BASE_LOG_LINE_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Formats as vsnprintf() does, without %n, %ls and positions. Control characters, quotation marks, backslashes
 * and bytes that are no UTF-8 come out as \n, \", \\, \x1b and the like; an argument of %s right
 * behind key= gets quotation marks of its own where it needs them. What does not fit is left out,
 * never half an escape. Returns the length; bytes must be at least 1.
 */
size_t base_log_fields(char *buffer, size_t bytes, const char *format, va_list args);

/*
 * Fields as made above as members of a JSON object, each with a comma before it: key=12 becomes
 * ,"key":12 and key="a b" ,"key":"a b"; words without = are put together as "text". A byte that is
 * no text becomes \u00NN. Returns the length; what does not fit is left out in whole members.
 */
size_t base_log_json(char *buffer, size_t bytes, const char *fields);

#endif
