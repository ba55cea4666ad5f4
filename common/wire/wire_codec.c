#include "wire_codec.h"

#include "wire_internal.h"

/* Scratch of one encode: what the largest body costs as protobuf-c structs. */
#define SCRATCH_BYTES_MAX ((size_t)LIMIT_UNPACK_FACTOR * LIMIT_CLIENT_BYTES)

static const struct wire_format *find_in(const struct wire_format *formats, size_t count, int kind)
{
    for (size_t i = 0; i < count; i++) {
        if ((int)formats[i].kind == kind)
            return &formats[i];
    }
    return NULL;
}

const struct wire_format *wire_format_find(int kind)
{
    const struct wire_format *found = find_in(wire_data_formats, wire_data_format_count, kind);

    if (found == NULL)
        found = find_in(wire_control_formats, wire_control_format_count, kind);
    if (found == NULL)
        found = find_in(wire_client_formats, wire_client_format_count, kind);
    if (found == NULL)
        found = find_in(wire_status_formats, wire_status_format_count, kind);
    if (found == NULL)
        found = find_in(wire_key_formats, wire_key_format_count, kind);
    return found;
}

size_t wire_body_bytes_max(enum wire_kind kind)
{
    const struct wire_format *format = wire_format_find((int)kind);
    return format != NULL ? format->bytes_max : 0;
}

bool wire_kind_has_tensor(enum wire_kind kind)
{
    const struct wire_format *format = wire_format_find((int)kind);
    return format != NULL && format->tensor_bytes != NULL;
}

const char *wire_kind_name(enum wire_kind kind)
{
    const struct wire_format *format = wire_format_find((int)kind);
    return format != NULL ? format->name : "UNKNOWN";
}

int wire_decode(enum wire_kind kind, const uint8_t *data, size_t bytes, struct base_arena *arena,
    struct wire_message *ret, struct base_error *err)
{
    const struct wire_format *format = wire_format_find((int)kind);
    struct wire_message message = {.kind = kind};
    struct base_arena heap;
    int rc = BASE_OK;

    if (format == NULL)
        return base_error_set(err, BASE_MALFORMED, "unknown kind %d", (int)kind);
    if (bytes > format->bytes_max)
        return base_error_set(err, BASE_TOO_BIG, "%s: body of %zu bytes, limit %zu", format->name,
            bytes, format->bytes_max);

    base_arena_init(&heap, 0);
    const void *unpacked = wire_unpack(format->descriptor, data, bytes, &heap, &rc);
    if (unpacked == NULL) {
        (void)base_error_set(err, rc, "%s: body of %zu bytes: %s", format->name, bytes,
            rc == BASE_TOO_BIG ? "needs more memory than its size allows" : base_err_text(rc));
    } else if (format->decode != NULL) {
        struct wire_decoder decoder = {.arena = arena, .err = err, .message = format->name};
        format->decode(&decoder, unpacked, &message);
        rc = decoder.rc;
    }
    base_arena_release(&heap);
    if (rc == BASE_OK)
        *ret = message;
    return rc;
}

int wire_encode(const struct wire_message *message, struct base_arena *arena, uint8_t **ret_data,
    size_t *ret_bytes, struct base_error *err)
{
    const struct wire_format *format = wire_format_find((int)message->kind);
    struct wire_encoder encoder = {.no_memory = false};
    uint8_t *data = NULL;
    size_t bytes = 0;
    int rc = BASE_OK;

    if (format == NULL)
        return base_error_set(err, BASE_INVALID, "unknown kind %d", (int)message->kind);

    base_arena_init(&encoder.scratch, SCRATCH_BYTES_MAX);
    ProtobufCMessage *unpacked = wire_put_message(&encoder, format->descriptor);
    if (unpacked != NULL && format->encode != NULL)
        format->encode(&encoder, message, unpacked);
    if (encoder.no_memory) {
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory to encode", format->name);
        goto done;
    }
    bytes = protobuf_c_message_get_packed_size(unpacked);
    if (bytes > format->bytes_max) {
        rc = base_error_set(err, BASE_TOO_BIG, "%s: body of %zu bytes, limit %zu", format->name,
            bytes, format->bytes_max);
        goto done;
    }
    data = base_arena_alloc(arena, bytes);
    if (data == NULL) {
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory for %zu bytes", format->name, bytes);
        goto done;
    }
    (void)protobuf_c_message_pack(unpacked, data);
    *ret_data = data;
    *ret_bytes = bytes;
done:
    base_arena_release(&encoder.scratch);
    return rc;
}

int wire_tensor_check(
    const struct wire_message *message, size_t tensor_bytes, struct base_error *err)
{
    const struct wire_format *format = wire_format_find((int)message->kind);
    uint64_t expected = 0;

    if (format == NULL)
        return base_error_set(err, BASE_MALFORMED, "unknown kind %d", (int)message->kind);
    if (format->tensor_bytes != NULL && !format->tensor_bytes(message, &expected))
        return base_error_set(err, BASE_MALFORMED, "%s: describes a tensor over %d bytes",
            format->name, LIMIT_TENSOR_BYTES);
    if (expected != tensor_bytes)
        return base_error_set(err, BASE_MALFORMED, "%s: tensor frame of %zu bytes, not %llu",
            format->name, tensor_bytes, (unsigned long long)expected);
    return BASE_OK;
}
