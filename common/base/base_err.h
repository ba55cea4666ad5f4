/*
 * One error code set for every module, and the object that carries a reason a
 * person can read. Source for the shape: libuv's errno map.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#define BASE_ERR_MAP(X)                                                                            \
    X(NOMEM, "out of memory")                                                                      \
    X(INVALID, "argument is not valid")                                                            \
    X(MALFORMED, "input is malformed")                                                             \
    X(TOO_BIG, "input exceeds its limit")                                                          \
    X(UNSUPPORTED, "not supported")                                                                \
    X(IO, "input or output failed")                                                                \
    X(NOT_FOUND, "not found")                                                                      \
    X(FULL, "no room left")                                                                        \
    X(AGAIN, "not ready yet")                                                                      \
    X(TIMEOUT, "deadline passed")                                                                  \
    X(CANCELLED, "cancelled")                                                                      \
    X(STALE, "belongs to an older epoch")                                                          \
    X(UNREACHABLE, "peer is not connected")                                                        \
    X(UNAVAILABLE, "no stage can serve this")                                                      \
    X(DENIED, "not permitted")                                                                     \
    X(INTERNAL, "internal error")

enum base_err {
    BASE_OK = 0,
    BASE_ERR_FIRST_ = -100,
#define X(name, text) BASE_##name,
    BASE_ERR_MAP(X)
#undef X
};

#define BASE_ERROR_TEXT_BYTES 320

/* A failure and its reason. Plain data; starts zeroed ({0}); filled on failure only. */
struct base_error {
    int code;                         /* enum base_err */
    char text[BASE_ERROR_TEXT_BYTES]; /* NUL-terminated, cut if longer */
};

/* Text for a code. Never NULL, static storage. */
const char *base_err_text(int code);

/* Short upper-case name of a code ("NOMEM"). Never NULL, static storage. */
const char *base_err_name(int code);

/*
 * Fills *err (may be NULL) and returns code, so that a failure is one line:
 *     return base_error_set(err, BASE_IO, "open %s: %s", path, strerror(errno));
 */
int base_error_set(struct base_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text of *err (may be NULL); returns err->code, or code if NULL. */
int base_error_prepend(struct base_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
