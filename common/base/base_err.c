#include "base_err.h"

#include <stdio.h>
#include <string.h>

const char *base_err_text(int code)
{
    switch (code) {
    case BASE_OK:
        return "ok";
#define X(name, text)                                                                              \
    case BASE_##name:                                                                              \
        return text;
        BASE_ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *base_err_name(int code)
{
    switch (code) {
    case BASE_OK:
        return "OK";
#define X(name, text)                                                                              \
    case BASE_##name:                                                                              \
        return #name;
        BASE_ERR_MAP(X)
#undef X
    default:
        return "UNKNOWN";
    }
}

int base_error_set(struct base_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return code;
}

int base_error_prepend(struct base_error *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    char old[BASE_ERROR_TEXT_BYTES];
    memcpy(old, err->text, sizeof(old));
    va_list args;
    va_start(args, format);
    int length = vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    if (length >= 0 && (size_t)length < sizeof(err->text))
        (void)snprintf(err->text + length, sizeof(err->text) - (size_t)length, ": %s", old);
    if (err->code == BASE_OK)
        err->code = code;
    return err->code;
}
