/* A configuration file, and what a stranger may have put into a log line. The first byte picks. */
#include "base_err.h"
#include "base_log_line.h"
#include "config.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_config(const char *text, size_t bytes)
{
    const char *name = NULL;
    bool flag = false;
    uint32_t number = 5;
    uint64_t size = 0;
    double ratio = 0;
    struct base_option_list list = {0};
    struct config config = {0};
    struct base_error err = {0};
    const struct base_option rows[] = {
        {"name", 0, BASE_OPTION_STRING, &name, 0, 0, "NAME", NULL, "n"},
        {"flag", 0, BASE_OPTION_FLAG, &flag, 0, 0, NULL, NULL, "f"},
        {"number", 0, BASE_OPTION_U32, &number, 1, 100, "N", NULL, "n"},
        {"size", 0, BASE_OPTION_BYTES, &size, 0, 0, "BYTES", NULL, "s"},
        {"ratio", 0, BASE_OPTION_F64, &ratio, 0, 1, "X", NULL, "r"},
        {"list", 0, BASE_OPTION_LIST, &list, 0, 0, "X", NULL, "l"},
    };
    int rc = config_read_text(&config, "f", text, bytes, rows, 6, &err);

    if ((rc == BASE_OK) != (err.text[0] == '\0') || number < 1 || number > 100 || ratio < 0 ||
        ratio > 1 || list.count > BASE_OPTION_LIST_MAX)
        abort();
    if (name != NULL && strlen(name) > bytes * 4)
        abort();
    config_release(&config);
}

static size_t format(char *buffer, size_t bytes, const char *text, ...)
{
    va_list args;

    va_start(args, text);
    size_t length = base_log_fields(buffer, bytes, text, args);
    va_end(args);
    return length;
}

/* Whatever the argument: one line, its fields are those of the format, and JSON has no control
 * characters and closes what it opens. */
static void log_line(const char *text)
{
    char fields[512], json[1024];

    if (format(fields, sizeof(fields), "a=%s b=\"%s\" c=%d", text, text, 7) >= sizeof(fields))
        abort();
    size_t length = base_log_json(json, sizeof(json), fields);
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)json[i] < 0x20)
            abort();
        if (in_string && json[i] == '\\')
            i++;
        else if (json[i] == '"')
            in_string = !in_string;
    }
    if (in_string || strchr(fields, '\n') != NULL ||
        strncmp(json, ",\"a\":", length < 5 ? length : 5) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    if (data[0] != 'l') {
        read_config((const char *)data + 1, bytes - 1);
        return 0;
    }
    char *text = malloc(bytes);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    log_line(text);
    free(text);
    return 0;
}
