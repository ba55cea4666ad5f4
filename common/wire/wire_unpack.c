/*
 * protobuf-c takes as much heap as a hostile body asks for (tens of times its size), so it gets
 * an allocator that ends at a budget. Each block is preceded by its size: protobuf-c keeps no
 * length of strings, and without one an embedded NUL would cut a string silently.
 */
#include "wire_internal.h"

#include "base_alloc.h"
#include <string.h>

#define HEADER_BYTES 16u

struct capped {
    struct base_arena *arena;
    int code; /* why the last request was refused */
};

static void *capped_alloc(void *data, size_t bytes)
{
    struct capped *self = data;
    const size_t left = self->arena->bytes_max - self->arena->used_bytes;
    unsigned char *block = NULL;
    size_t whole;

    if (!base_add_size(bytes, HEADER_BYTES, &whole) || whole > left)
        self->code = BASE_TOO_BIG;
    else if ((block = base_arena_alloc(self->arena, whole)) == NULL)
        self->code = BASE_NOMEM;
    if (block == NULL)
        return NULL;
    memcpy(block, &bytes, sizeof(bytes));
    return block + HEADER_BYTES;
}

/* Everything goes back at once with the arena. */
static void capped_free(void *data, void *memory)
{
    (void)data;
    (void)memory;
}

const void *wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
    size_t bytes, struct base_arena *heap, int *ret_code)
{
    struct capped capped = {.arena = heap, .code = BASE_MALFORMED};
    ProtobufCAllocator allocator = {capped_alloc, capped_free, &capped};

    heap->bytes_max = bytes * LIMIT_UNPACK_FACTOR;
    if (heap->bytes_max < LIMIT_UNPACK_BYTES_MIN)
        heap->bytes_max = LIMIT_UNPACK_BYTES_MIN;
    const void *message = protobuf_c_message_unpack(descriptor, &allocator, bytes, data);
    if (message == NULL)
        *ret_code = capped.code;
    return message;
}

size_t wire_unpacked_string_bytes(const char *text)
{
    size_t bytes;

    if (text == protobuf_c_empty_string)
        return 0;
    memcpy(&bytes, text - HEADER_BYTES, sizeof(bytes));
    return bytes - 1;
}
