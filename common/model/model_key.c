/* Values of metadata within their bounds. Every message names file, byte offset and key. */
#include "model_internal.h"

#include <math.h>
#include <stdio.h>

void model_key(const struct model *self, const char *name, char ret_key[MODEL_KEY_BYTES])
{
    (void)snprintf(ret_key, MODEL_KEY_BYTES, "%s.%s", self->config.family->name, name);
}

int model_read_size(const struct model *self, const char *name, uint32_t otherwise, uint32_t max,
    uint32_t *ret_value, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    uint32_t value = otherwise;

    model_key(self, name, key);
    int rc = gguf_get_u32(self->file, key, &value, err);
    if (rc == BASE_NOT_FOUND && otherwise == MODEL_REQUIRED)
        return model_fail_key(self, BASE_MALFORMED, key, "%s", "the key is missing");
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (value == 0 || value > max)
        return model_fail_key(
            self, BASE_MALFORMED, key, "%" PRIu32 " is not within 1..%" PRIu32, value, max);
    *ret_value = value;
    return BASE_OK;
}

int model_read_count(const struct model *self, const char *name, uint32_t max, uint32_t *ret_value,
    struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    uint32_t value = 0;

    model_key(self, name, key);
    int rc = gguf_get_u32(self->file, key, &value, err);
    if (rc != BASE_OK && rc != BASE_NOT_FOUND)
        return rc;
    if (value > max)
        return model_fail_key(
            self, BASE_MALFORMED, key, "%" PRIu32 " is not within 0..%" PRIu32, value, max);
    *ret_value = value;
    return BASE_OK;
}

static int read_array(const struct model *self, const char *key, uint32_t max,
    struct gguf_array array, uint32_t *ret_values, struct base_error *err)
{
    uint32_t count = self->config.layer_count;

    if (array.count != count)
        return model_fail_key(self, BASE_MALFORMED, key,
            "%" PRIu64 " elements, but there are %" PRIu32 " layers", array.count, count);
    for (uint32_t i = 0; i < count; i++) {
        int64_t value = 0;
        if (!gguf_array_next_i64(&array, &value))
            return model_fail_key(
                self, BASE_MALFORMED, key, "element %" PRIu32 " is no integer", i);
        if (value < 0 || value > (int64_t)max)
            return model_fail_key(self, BASE_MALFORMED, key,
                "element %" PRIu32 ": %" PRId64 " is not within 0..%" PRIu32, i, value, max);
        ret_values[i] = (uint32_t)value;
    }
    return BASE_OK;
}

int model_read_sizes(const struct model *self, const char *name, uint32_t otherwise, uint32_t max,
    uint32_t *ret_values, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    struct gguf_array array;
    uint32_t value = 0;

    model_key(self, name, key);
    if (gguf_get_array(self->file, key, &array, NULL) == BASE_OK)
        return read_array(self, key, max, array, ret_values, err);
    int rc = model_read_size(self, name, otherwise, max, &value, err);
    for (uint32_t i = 0; i < self->config.layer_count && rc == BASE_OK; i++)
        ret_values[i] = value;
    return rc;
}

int model_read_float(
    const struct model *self, const char *name, float min, float *value, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    float found = 0;

    model_key(self, name, key);
    int rc = gguf_get_f32(self->file, key, &found, err);
    if (rc == BASE_NOT_FOUND)
        return BASE_OK;
    if (rc != BASE_OK)
        return rc;
    if (!isfinite(found) || !(found > min))
        return model_fail_key(
            self, BASE_MALFORMED, key, "%g is not a number above %g", (double)found, (double)min);
    *value = found;
    return BASE_OK;
}

int model_read_bool(const struct model *self, const char *name, bool *value, struct base_error *err)
{
    char key[MODEL_KEY_BYTES];
    bool found = false;

    model_key(self, name, key);
    int rc = gguf_get_bool(self->file, key, &found, err);
    if (rc == BASE_OK)
        *value = found;
    return rc == BASE_NOT_FOUND ? BASE_OK : rc;
}
