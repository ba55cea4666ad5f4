/* Side files as JSON, bounded before jansson sees them. */
#include "hf_json.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_fd(int fd, size_t bytes, char *text, size_t *ret_bytes)
{
    size_t done = 0;

    while (done < bytes) {
        ssize_t count = read(fd, text + done, bytes - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return BASE_IO;
        if (count == 0)
            break;
        done += (size_t)count;
    }
    text[done] = '\0';
    *ret_bytes = done;
    return BASE_OK;
}

static int read_open(int fd, const char *name, size_t bytes_max, char **ret_text, size_t *ret_bytes,
    struct base_error *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return base_error_set(err, BASE_IO, "%s: not a regular file", name);
    if ((uint64_t)status.st_size > bytes_max)
        return base_error_set(err, BASE_TOO_BIG, "%s: %llu bytes, at most %zu", name,
            (unsigned long long)status.st_size, bytes_max);
    char *text = base_alloc((size_t)status.st_size + 1);
    if (text == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", name);
    if (read_fd(fd, (size_t)status.st_size, text, ret_bytes) != BASE_OK) {
        base_free(text);
        return base_error_set(err, BASE_IO, "%s: read: %s", name, strerror(errno));
    }
    *ret_text = text;
    return BASE_OK;
}

int hf_read_text(const char *folder, const char *name, size_t bytes_max, char **ret_text,
    size_t *ret_bytes, struct base_error *err)
{
    size_t length = strlen(folder) + strlen(name) + 2;
    char *path = base_alloc(length);
    int rc;

    if (path == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", name);
    (void)snprintf(path, length, "%s/%s", folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        rc = read_open(fd, gguf_path_tail(path), bytes_max, ret_text, ret_bytes, err);
        (void)close(fd);
    } else if (errno == ENOENT) {
        rc = BASE_NOT_FOUND;
    } else {
        rc = base_error_set(err, BASE_IO, "%s: open: %s", gguf_path_tail(path), strerror(errno));
    }
    base_free(path);
    return rc;
}

/* Deepest nesting; what stands in strings does not count. */
static size_t depth_of(const char *text, size_t bytes)
{
    size_t depth = 0;
    size_t deepest = 0;
    bool quoted = false;

    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
    }
    return deepest;
}

int hf_parse_json(
    const char *text, size_t bytes, const char *name, json_t **ret_json, struct base_error *err)
{
    json_error_t why;

    if (depth_of(text, bytes) > LIMIT_JSON_DEPTH)
        return base_error_set(
            err, BASE_TOO_BIG, "%s: nested deeper than %d", name, LIMIT_JSON_DEPTH);
    json_t *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (json == NULL)
        return base_error_set(err, BASE_MALFORMED, "%s: byte %d: %s", name, why.position, why.text);
    *ret_json = json;
    return BASE_OK;
}

int hf_read_json(const char *folder, const char *name, size_t bytes_max, json_t **ret_json,
    struct base_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    int rc = hf_read_text(folder, name, bytes_max, &text, &bytes, err);

    if (rc != BASE_OK)
        return rc;
    rc = hf_parse_json(text, bytes, name, ret_json, err);
    base_free(text);
    if (rc == BASE_OK && !json_is_object(*ret_json)) {
        json_decref(*ret_json);
        *ret_json = NULL;
        rc = base_error_set(err, BASE_MALFORMED, "%s: not an object", name);
    }
    return rc;
}

static const json_t *find(const struct hf_object *self, const char *key)
{
    const json_t *value = json_object_get(self->json, key);

    return json_is_null(value) ? NULL : value;
}

bool hf_has(const struct hf_object *self, const char *key)
{
    return find(self, key) != NULL;
}

int hf_get_u32(const struct hf_object *self, const char *key, uint32_t *value)
{
    const json_t *found = find(self, key);

    if (found == NULL)
        return BASE_OK;
    /* Some files have whole numbers as floats. */
    double number = json_is_number(found) ? json_number_value(found) : -1;
    if (!(number >= 0) || number > UINT32_MAX || floor(number) != number)
        return base_error_set(self->err, BASE_MALFORMED, "%s: %s: not an integer within 0..%u",
            self->file, key, UINT32_MAX);
    *value = (uint32_t)number;
    return BASE_OK;
}

int hf_get_float(const struct hf_object *self, const char *key, double *value)
{
    const json_t *found = find(self, key);

    if (found == NULL)
        return BASE_OK;
    double number = json_number_value(found);
    if (!json_is_number(found) || !isfinite((float)number))
        return base_error_set(self->err, BASE_MALFORMED, "%s: %s: not a number", self->file, key);
    *value = number;
    return BASE_OK;
}

int hf_get_bool(const struct hf_object *self, const char *key, bool *value)
{
    const json_t *found = find(self, key);

    if (found == NULL)
        return BASE_OK;
    if (!json_is_boolean(found))
        return base_error_set(
            self->err, BASE_MALFORMED, "%s: %s: neither true nor false", self->file, key);
    *value = json_is_true(found);
    return BASE_OK;
}

int hf_get_text(const struct hf_object *self, const char *key, const char **value)
{
    const json_t *found = find(self, key);

    if (found == NULL)
        return BASE_OK;
    if (!json_is_string(found))
        return base_error_set(self->err, BASE_MALFORMED, "%s: %s: not a text", self->file, key);
    *value = json_string_value(found);
    return BASE_OK;
}
