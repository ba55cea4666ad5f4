/* The low-level GGUF writer. */
#include "tiny_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tiny_put(struct tiny_bytes *self, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    if (self->count + bytes > self->capacity) {
        self->capacity = (self->count + bytes) * 2;
        self->data = realloc(self->data, self->capacity);
        if (self->data == NULL) {
            (void)fputs("tiny_gguf: out of memory\n", stderr);
            exit(1);
        }
    }
    if (data != NULL)
        memcpy(self->data + self->count, data, bytes);
    else
        memset(self->data + self->count, 0, bytes);
    self->count += bytes;
}

void tiny_put_u32(struct tiny_bytes *self, uint32_t value)
{
    tiny_put(self, &value, sizeof(value));
}

void tiny_put_u64(struct tiny_bytes *self, uint64_t value)
{
    tiny_put(self, &value, sizeof(value));
}

void tiny_put_string(struct tiny_bytes *self, const char *text)
{
    tiny_put_u64(self, strlen(text));
    tiny_put(self, text, strlen(text));
}

void tiny_put_header(
    struct tiny_bytes *self, uint32_t version, uint64_t tensor_count, uint64_t entry_count)
{
    tiny_put(self, "GGUF", 4);
    tiny_put_u32(self, version);
    tiny_put_u64(self, tensor_count);
    tiny_put_u64(self, entry_count);
}

void tiny_put_key(struct tiny_bytes *self, const char *key, uint32_t value_type)
{
    tiny_put_string(self, key);
    tiny_put_u32(self, value_type);
}

void tiny_put_key_u32(struct tiny_bytes *self, const char *key, uint32_t value)
{
    tiny_put_key(self, key, 4);
    tiny_put_u32(self, value);
}

void tiny_put_key_f32(struct tiny_bytes *self, const char *key, float value)
{
    tiny_put_key(self, key, 6);
    tiny_put(self, &value, sizeof(value));
}

void tiny_put_key_bool(struct tiny_bytes *self, const char *key, bool value)
{
    uint8_t byte = value;

    tiny_put_key(self, key, 7);
    tiny_put(self, &byte, 1);
}

void tiny_put_key_string(struct tiny_bytes *self, const char *key, const char *value)
{
    tiny_put_key(self, key, 8);
    tiny_put_string(self, value);
}

void tiny_put_key_array(
    struct tiny_bytes *self, const char *key, uint32_t element_type, uint64_t count)
{
    tiny_put_key(self, key, 9);
    tiny_put_u32(self, element_type);
    tiny_put_u64(self, count);
}

void tiny_put_tensor(struct tiny_bytes *self, const char *name, uint32_t type,
    const uint64_t *dimensions, uint32_t dimension_count, uint64_t offset)
{
    tiny_put_string(self, name);
    tiny_put_u32(self, dimension_count);
    tiny_put(self, dimensions, dimension_count * sizeof(*dimensions));
    tiny_put_u32(self, type);
    tiny_put_u64(self, offset);
}
