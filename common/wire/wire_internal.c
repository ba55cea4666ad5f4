#include "wire_internal.h"

#include "common.pb-c.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void wire_fail(struct wire_decoder *self, int code, const char *field, const char *format, ...)
{
    char reason[128];
    va_list args;

    if (self->rc != BASE_OK)
        return;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    (void)base_error_set(self->err, code, "%s.%s: %s", self->message, field, reason);
    self->rc = code;
}

uint64_t wire_check_u64(
    struct wire_decoder *self, const char *field, uint64_t value, uint64_t min, uint64_t max)
{
    if (value < min || value > max)
        wire_fail(self, BASE_MALFORMED, field, "%llu is not within %llu..%llu",
            (unsigned long long)value, (unsigned long long)min, (unsigned long long)max);
    return self->rc == BASE_OK ? value : min;
}

uint32_t wire_check_u32(
    struct wire_decoder *self, const char *field, uint32_t value, uint32_t min, uint32_t max)
{
    return (uint32_t)wire_check_u64(self, field, value, min, max);
}

int wire_check_enum(struct wire_decoder *self, const char *field, int value, int min, int max)
{
    if (value < min || value > max)
        wire_fail(self, BASE_MALFORMED, field, "%d is no value of it", value);
    return self->rc == BASE_OK ? value : min;
}

double wire_check_real(
    struct wire_decoder *self, const char *field, double value, double min, double max)
{
    if (isnan(value) || value < min || value > max)
        wire_fail(self, BASE_MALFORMED, field, "%g is not within %g..%g", value, min, max);
    return self->rc == BASE_OK ? value : min;
}

float wire_check_float(
    struct wire_decoder *self, const char *field, float value, float min, float max)
{
    return (float)wire_check_real(self, field, (double)value, (double)min, (double)max);
}

/* Length of the character at data, or 0 when it is none. Unicode 15, table 3-7. */
static size_t utf8_char_bytes(const uint8_t *data, size_t left)
{
    const uint8_t lead = data[0];
    uint8_t low = 0x80, high = 0xbf;
    size_t bytes;

    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        bytes = 2;
    else if (lead >= 0xe0 && lead <= 0xef)
        bytes = 3;
    else if (lead >= 0xf0 && lead <= 0xf4)
        bytes = 4;
    else
        return 0;
    /* Overlong forms, surrogates and what is above U+10FFFF show in the second byte. */
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    if (bytes > left || data[1] < low || data[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    }
    return bytes;
}

bool wire_utf8_valid(const uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const size_t length = utf8_char_bytes(data + at, bytes - at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

void wire_take_text(
    struct wire_decoder *self, const char *field, const char *text, char *out, size_t capacity)
{
    const size_t bytes = wire_unpacked_string_bytes(text);

    if (self->rc != BASE_OK)
        return;
    if (bytes >= capacity)
        wire_fail(self, BASE_MALFORMED, field, "%zu bytes, limit %zu", bytes, capacity - 1);
    else if (memchr(text, 0, bytes) != NULL)
        wire_fail(self, BASE_MALFORMED, field, "holds a NUL byte");
    else if (!wire_utf8_valid((const uint8_t *)text, bytes))
        wire_fail(self, BASE_MALFORMED, field, "is not valid UTF-8");
    else
        memcpy(out, text, bytes + 1);
}

void wire_take_node(
    struct wire_decoder *self, const char *field, const char *text, bool required, char *out)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-";

    wire_take_text(self, field, text, out, LIMIT_NAME_BYTES);
    if (self->rc != BASE_OK)
        return;
    if (required && out[0] == 0)
        wire_fail(self, BASE_MALFORMED, field, "is missing");
    else if (out[strspn(out, allowed)] != 0)
        wire_fail(self, BASE_MALFORMED, field, "has a character outside A-Z a-z 0-9 . _ -");
}

void wire_take_key(
    struct wire_decoder *self, const char *field, const char *text, bool required, char *out)
{
    static const char allowed[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  ".-:+=^!/*?&<>()[]{}@%$#";

    wire_take_text(self, field, text, out, LIMIT_KEY_BYTES);
    if (self->rc != BASE_OK || (!required && out[0] == 0))
        return;
    if (strlen(out) != LIMIT_KEY_BYTES - 1 || out[strspn(out, allowed)] != 0)
        wire_fail(self, BASE_MALFORMED, field, "is not a key of 40 characters of Z85");
}

struct wire_bytes wire_take_bytes(
    struct wire_decoder *self, const char *field, const ProtobufCBinaryData *data, size_t bytes_max)
{
    if (data->len > bytes_max)
        wire_fail(self, BASE_MALFORMED, field, "%zu bytes, limit %zu", data->len, bytes_max);
    if (self->rc != BASE_OK || data->len == 0)
        return (struct wire_bytes){.data = NULL};
    struct wire_bytes taken = {
        .data = base_arena_copy(self->arena, data->data, data->len), .bytes = data->len};
    if (taken.data == NULL) {
        wire_fail(self, BASE_NOMEM, field, "no memory");
        taken.bytes = 0;
    }
    return taken;
}

void *wire_take_rows(
    struct wire_decoder *self, const char *field, size_t count, size_t count_max, size_t row_bytes)
{
    if (count > count_max)
        wire_fail(self, BASE_MALFORMED, field, "%zu of them, limit %zu", count, count_max);
    if (self->rc != BASE_OK || count == 0)
        return NULL;
    void *rows = base_arena_alloc_zeroed(self->arena, count, row_bytes);
    if (rows == NULL)
        wire_fail(self, BASE_NOMEM, field, "no memory");
    return rows;
}

const uint32_t *wire_take_u32s(struct wire_decoder *self, const char *field, const uint32_t *values,
    size_t count, size_t count_max, uint32_t value_end)
{
    uint32_t *taken = wire_take_rows(self, field, count, count_max, sizeof(*taken));

    if (taken == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (value_end != 0 && values[i] >= value_end)
            wire_fail(self, BASE_MALFORMED, field, "%u is not below %u", values[i], value_end);
        taken[i] = values[i];
    }
    return taken;
}

/* A name that this version does not know is some newer peer's failure: still a failure. */
static int fault_code(const char *name)
{
    if (strcmp(name, "OK") == 0)
        return BASE_OK;
#define X(code, text)                                                                              \
    if (strcmp(name, #code) == 0)                                                                  \
        return BASE_##code;
    BASE_ERR_MAP(X)
#undef X
    return BASE_INTERNAL;
}

void wire_take_fault(
    struct wire_decoder *self, const Layermesh__V1__Error *error, struct wire_fault *ret)
{
    char name[LIMIT_NAME_BYTES] = "";

    if (error == NULL)
        return;
    wire_take_text(self, "error.code", error->code, name, sizeof(name));
    wire_take_text(self, "error.text", error->text, ret->text, sizeof(ret->text));
    wire_take_node(self, "error.node", error->node, false, ret->node);
    ret->code = fault_code(name);
}

void *wire_put_rows(struct wire_encoder *self, size_t count, size_t item_bytes)
{
    if (count == 0 || self->no_memory)
        return NULL;
    void *rows = base_arena_alloc_zeroed(&self->scratch, count, item_bytes);
    if (rows == NULL)
        self->no_memory = true;
    return rows;
}

void *wire_put_message(struct wire_encoder *self, const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message = wire_put_rows(self, 1, descriptor->sizeof_message);

    if (message != NULL)
        protobuf_c_message_init(descriptor, message);
    return message;
}

ProtobufCBinaryData wire_put_bytes(struct wire_bytes bytes)
{
    return (ProtobufCBinaryData){.len = bytes.bytes, .data = (uint8_t *)bytes.data};
}

uint32_t *wire_put_u32s(const uint32_t *values)
{
    return (uint32_t *)values;
}

void wire_fill_fault(const struct wire_fault *fault, Layermesh__V1__Error *ret)
{
    ret->code = (char *)base_err_name(fault->code);
    ret->text = (char *)fault->text;
    ret->node = (char *)fault->node;
}

Layermesh__V1__Error *wire_put_fault(struct wire_encoder *self, const struct wire_fault *fault)
{
    if (fault->code == BASE_OK)
        return NULL;
    Layermesh__V1__Error *error = wire_put_message(self, &layermesh__v1__error__descriptor);
    if (error != NULL)
        wire_fill_fault(fault, error);
    return error;
}
