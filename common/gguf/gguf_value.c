/* Metadata by key, and arrays decoded in place. Ranges were checked when the file was opened. */
#include "gguf_internal.h"

#include "base_bytes.h"
#include "base_err.h"
#include <inttypes.h>

static const struct {
    const char *name;
    size_t bytes;
} value_rows[GGUF_VALUE_TYPES] = {
    [GGUF_VALUE_U8] = {"u8", 1},
    [GGUF_VALUE_I8] = {"i8", 1},
    [GGUF_VALUE_U16] = {"u16", 2},
    [GGUF_VALUE_I16] = {"i16", 2},
    [GGUF_VALUE_U32] = {"u32", 4},
    [GGUF_VALUE_I32] = {"i32", 4},
    [GGUF_VALUE_F32] = {"f32", 4},
    [GGUF_VALUE_BOOL] = {"bool", 1},
    [GGUF_VALUE_STRING] = {"string", 0},
    [GGUF_VALUE_ARRAY] = {"array", 0},
    [GGUF_VALUE_U64] = {"u64", 8},
    [GGUF_VALUE_I64] = {"i64", 8},
    [GGUF_VALUE_F64] = {"f64", 8},
};

size_t gguf_value_bytes(uint32_t type)
{
    return type < GGUF_VALUE_TYPES ? value_rows[type].bytes : 0;
}

const char *gguf_value_name(uint32_t type)
{
    return type < GGUF_VALUE_TYPES ? value_rows[type].name : NULL;
}

/* Any integer type as sign and 64 bits (two's complement when negative). */
static bool load_integer(
    uint32_t type, const uint8_t *bytes, uint64_t *ret_value, bool *ret_negative)
{
    int64_t value = 0;

    switch (type) {
    case GGUF_VALUE_U8:
        value = bytes[0];
        break;
    case GGUF_VALUE_I8:
        value = (int8_t)bytes[0];
        break;
    case GGUF_VALUE_U16:
        value = base_load_u16(bytes);
        break;
    case GGUF_VALUE_I16:
        value = (int16_t)base_load_u16(bytes);
        break;
    case GGUF_VALUE_U32:
        value = base_load_u32(bytes);
        break;
    case GGUF_VALUE_I32:
        value = (int32_t)base_load_u32(bytes);
        break;
    case GGUF_VALUE_U64:
        *ret_value = base_load_u64(bytes);
        *ret_negative = false;
        return true;
    case GGUF_VALUE_I64:
        value = (int64_t)base_load_u64(bytes);
        break;
    default:
        return false;
    }
    *ret_value = (uint64_t)value;
    *ret_negative = value < 0;
    return true;
}

bool gguf_entry_integer(const struct gguf_entry *entry, uint64_t *ret_value, bool *ret_negative)
{
    return load_integer(entry->type, entry->value, ret_value, ret_negative);
}

uint64_t gguf_key_offset(const struct gguf *self, const char *key)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);

    return entry != NULL ? entry->file_offset : GGUF_METADATA_OFFSET;
}

size_t gguf_pair_count(const struct gguf *self)
{
    return self->parts[0].entry_count;
}

bool gguf_pair_at(const struct gguf *self, size_t index, struct gguf_pair *ret_pair)
{
    if (index >= self->parts[0].entry_count)
        return false;
    const struct gguf_entry *entry = &self->parts[0].entries[index];
    *ret_pair = (struct gguf_pair){entry->key, entry->type,
        entry->type == GGUF_VALUE_ARRAY ? entry->element_type : 0, entry->count};
    return true;
}

static int wrong_type(const struct gguf *self, const struct gguf_entry *entry, const char *key,
    const char *wanted, struct base_error *err)
{
    return base_error_set(err, BASE_MALFORMED, "%s: byte %" PRIu64 ": %s: %s, but %s is wanted",
        gguf_path_tail(gguf_path(self)), entry->file_offset, key, gguf_value_name(entry->type),
        wanted);
}

int gguf_get_u32(
    const struct gguf *self, const char *key, uint32_t *ret_value, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);
    uint64_t value = 0;
    bool negative = false;

    if (entry == NULL)
        return BASE_NOT_FOUND;
    if (!gguf_entry_integer(entry, &value, &negative))
        return wrong_type(self, entry, key, "an integer", err);
    if (negative || value > UINT32_MAX)
        return base_error_set(err, BASE_MALFORMED,
            "%s: byte %" PRIu64 ": %s: %s %" PRId64 " is not within 0..%u",
            gguf_path_tail(gguf_path(self)), entry->file_offset, key, gguf_value_name(entry->type),
            (int64_t)value, UINT32_MAX);
    *ret_value = (uint32_t)value;
    return BASE_OK;
}

static bool load_float(uint32_t type, const uint8_t *bytes, float *ret_value)
{
    double wide;

    if (type == GGUF_VALUE_F32) {
        *ret_value = base_load_f32(bytes);
        return true;
    }
    if (type != GGUF_VALUE_F64)
        return false;
    memcpy(&wide, bytes, sizeof(wide));
    *ret_value = (float)wide;
    return true;
}

int gguf_get_f32(const struct gguf *self, const char *key, float *ret_value, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);

    if (entry == NULL)
        return BASE_NOT_FOUND;
    if (!load_float(entry->type, entry->value, ret_value))
        return wrong_type(self, entry, key, "a float", err);
    return BASE_OK;
}

int gguf_get_bool(const struct gguf *self, const char *key, bool *ret_value, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);

    if (entry == NULL)
        return BASE_NOT_FOUND;
    if (entry->type != GGUF_VALUE_BOOL)
        return wrong_type(self, entry, key, "a bool", err);
    *ret_value = entry->value[0] != 0;
    return BASE_OK;
}

/* The string at *bytes; moves *bytes behind it. */
static struct gguf_string load_string(const uint8_t **bytes)
{
    struct gguf_string text = {(const char *)*bytes + 8, (size_t)base_load_u64(*bytes)};

    *bytes += 8 + text.bytes;
    return text;
}

int gguf_get_string(
    const struct gguf *self, const char *key, struct gguf_string *ret_value, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);

    if (entry == NULL)
        return BASE_NOT_FOUND;
    if (entry->type != GGUF_VALUE_STRING)
        return wrong_type(self, entry, key, "a string", err);
    const uint8_t *bytes = entry->value;
    *ret_value = load_string(&bytes);
    return BASE_OK;
}

int gguf_get_array(
    const struct gguf *self, const char *key, struct gguf_array *ret_array, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(&self->parts[0], key);

    if (entry == NULL)
        return BASE_NOT_FOUND;
    if (entry->type != GGUF_VALUE_ARRAY)
        return wrong_type(self, entry, key, "an array", err);
    *ret_array = (struct gguf_array){entry->element_type, entry->count, entry->value, entry->end};
    return BASE_OK;
}

bool gguf_array_next_string(struct gguf_array *array, struct gguf_string *ret_value)
{
    if (array->element_type != GGUF_VALUE_STRING || array->next == array->end)
        return false;
    *ret_value = load_string(&array->next);
    return true;
}

bool gguf_array_next_i64(struct gguf_array *array, int64_t *ret_value)
{
    uint64_t value = 0;
    bool negative = false;

    if (array->next == array->end)
        return false;
    if (array->element_type == GGUF_VALUE_BOOL)
        value = array->next[0] != 0;
    else if (!load_integer(array->element_type, array->next, &value, &negative) ||
             (!negative && value > INT64_MAX))
        return false;
    array->next += gguf_value_bytes(array->element_type);
    *ret_value = (int64_t)value;
    return true;
}

bool gguf_array_next_f32(struct gguf_array *array, float *ret_value)
{
    if (array->next == array->end || !load_float(array->element_type, array->next, ret_value))
        return false;
    array->next += gguf_value_bytes(array->element_type);
    return true;
}
