/* Headers put together in memory. */
#include "gguf_builder.h"
#include "gguf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <string.h>

struct buffer {
    uint8_t *data;
    size_t bytes;
    size_t capacity;
};

struct key_place {
    size_t offset; /* of its text, in metadata */
    size_t bytes;
};

struct builder_tensor {
    char name[GGUF_NAME_BYTES];
    uint32_t type;
    uint32_t dimension_count;
    uint64_t dimensions[GGUF_DIMENSIONS_MAX];
    uint64_t bytes;
};

struct gguf_builder {
    struct buffer metadata;
    struct key_place *keys;
    size_t key_count;
    size_t key_capacity;
    struct builder_tensor *tensors;
    size_t tensor_count;
    size_t tensor_capacity;
    size_t elements_due; /* strings that an array still waits for */
    struct base_error failure;
};

int gguf_builder_new(struct gguf_builder **ret_builder)
{
    struct gguf_builder *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return BASE_NOMEM;
    *ret_builder = self;
    return BASE_OK;
}

void gguf_builder_destroy(struct gguf_builder **self_p)
{
    struct gguf_builder *self = *self_p;

    if (self == NULL)
        return;
    base_free(self->metadata.data);
    base_free(self->keys);
    base_free(self->tensors);
    base_free(self);
    *self_p = NULL;
}

/* Keeps the first failure. */
#define builder_fail(self, why, ...)                                                               \
    ((self)->failure.code == BASE_OK ? (void)base_error_set(&(self)->failure, why, __VA_ARGS__)    \
                                     : (void)0)

int gguf_builder_check(const struct gguf_builder *self, struct base_error *err)
{
    if (self->failure.code != BASE_OK)
        return base_error_set(err, self->failure.code, "%s", self->failure.text);
    if (self->elements_due > 0)
        return base_error_set(
            err, BASE_INVALID, "an array of metadata lacks %zu strings", self->elements_due);
    return BASE_OK;
}

/* items, grown where one more does not fit. NULL when memory fails; the old ones then stay. */
static void *reserve_item(void *items, size_t *capacity, size_t count, size_t item_bytes)
{
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;

    if (count < *capacity)
        return items;
    void *grown = base_realloc_array(items, wanted, item_bytes);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

static bool buffer_put(struct buffer *self, const void *data, size_t bytes)
{
    size_t wanted = 0;

    if (!base_add_size(self->bytes, bytes, &wanted))
        return false;
    if (wanted > self->capacity) {
        size_t capacity = wanted > SIZE_MAX / 2 ? wanted : wanted * 2;
        void *grown = base_realloc_array(self->data, capacity, 1);
        if (grown == NULL)
            return false;
        self->data = grown;
        self->capacity = capacity;
    }
    if (bytes > 0)
        memcpy(self->data + self->bytes, data, bytes);
    self->bytes = wanted;
    return true;
}

static void put(struct gguf_builder *self, const void *data, size_t bytes)
{
    if (self->failure.code != BASE_OK)
        return;
    if (bytes > LIMIT_MODEL_HEADER_BYTES || self->metadata.bytes > LIMIT_MODEL_HEADER_BYTES - bytes)
        builder_fail(self, BASE_TOO_BIG, "metadata of more than %zu bytes",
            (size_t)LIMIT_MODEL_HEADER_BYTES);
    else if (!buffer_put(&self->metadata, data, bytes))
        builder_fail(self, BASE_NOMEM, "metadata: no memory");
}

static void put_u32(struct gguf_builder *self, uint32_t value)
{
    put(self, &value, sizeof(value));
}

static void put_u64(struct gguf_builder *self, uint64_t value)
{
    put(self, &value, sizeof(value));
}

static bool has_key(const struct gguf_builder *self, const char *key, size_t bytes)
{
    for (size_t i = 0; i < self->key_count; i++)
        if (self->keys[i].bytes == bytes &&
            memcmp(self->metadata.data + self->keys[i].offset, key, bytes) == 0)
            return true;
    return false;
}

bool gguf_builder_has(const struct gguf_builder *self, const char *key)
{
    return has_key(self, key, strlen(key));
}

static void put_key(struct gguf_builder *self, const char *key, size_t bytes, uint32_t type)
{
    if (self->elements_due > 0)
        builder_fail(self, BASE_INVALID, "%.*s: an array before it lacks %zu strings", (int)bytes,
            key, self->elements_due);
    if (bytes == 0 || bytes > UINT16_MAX || has_key(self, key, bytes))
        builder_fail(self, BASE_INVALID, "metadata key \"%.*s\" is given twice or no key",
            bytes < 80 ? (int)bytes : 80, key);
    struct key_place *keys =
        reserve_item(self->keys, &self->key_capacity, self->key_count, sizeof(*self->keys));
    if (keys == NULL)
        builder_fail(self, BASE_NOMEM, "metadata: no memory");
    else
        self->keys = keys;
    put_u64(self, bytes);
    put(self, key, bytes);
    if (self->failure.code != BASE_OK)
        return;
    self->keys[self->key_count++] = (struct key_place){self->metadata.bytes - bytes, bytes};
    put_u32(self, type);
}

static void put_scalar(
    struct gguf_builder *self, const char *key, uint32_t type, const void *value, size_t bytes)
{
    put_key(self, key, strlen(key), type);
    put(self, value, bytes);
}

void gguf_builder_u32(struct gguf_builder *self, const char *key, uint32_t value)
{
    put_scalar(self, key, GGUF_VALUE_U32, &value, sizeof(value));
}

void gguf_builder_f32(struct gguf_builder *self, const char *key, float value)
{
    put_scalar(self, key, GGUF_VALUE_F32, &value, sizeof(value));
}

void gguf_builder_bool(struct gguf_builder *self, const char *key, bool value)
{
    uint8_t byte = value ? 1 : 0;

    put_scalar(self, key, GGUF_VALUE_BOOL, &byte, sizeof(byte));
}

void gguf_builder_text(struct gguf_builder *self, const char *key, const char *text, size_t bytes)
{
    put_key(self, key, strlen(key), GGUF_VALUE_STRING);
    put_u64(self, bytes);
    put(self, text, bytes);
}

void gguf_builder_string(struct gguf_builder *self, const char *key, const char *text)
{
    gguf_builder_text(self, key, text, strlen(text));
}

void gguf_builder_array(struct gguf_builder *self, const char *key,
    enum gguf_value_type element_type, size_t count, const void *data)
{
    size_t bytes = 0;
    size_t item_bytes = gguf_value_bytes(element_type);

    if (item_bytes == 0 || !base_mul_size(count, item_bytes, &bytes))
        builder_fail(self, BASE_INVALID, "%s: no array of fixed size", key);
    put_key(self, key, strlen(key), GGUF_VALUE_ARRAY);
    put_u32(self, element_type);
    put_u64(self, count);
    put(self, data, bytes);
}

void gguf_builder_strings(struct gguf_builder *self, const char *key, size_t count)
{
    put_key(self, key, strlen(key), GGUF_VALUE_ARRAY);
    put_u32(self, GGUF_VALUE_STRING);
    put_u64(self, count);
    if (self->failure.code == BASE_OK)
        self->elements_due = count;
}

void gguf_builder_element(struct gguf_builder *self, const char *text, size_t bytes)
{
    if (self->elements_due == 0) {
        builder_fail(self, BASE_INVALID, "a string of no array");
        return;
    }
    self->elements_due--;
    put_u64(self, bytes);
    put(self, text, bytes);
}

void gguf_builder_copy(struct gguf_builder *self, const struct gguf *from, size_t index)
{
    if (index >= from->parts[0].entry_count) {
        builder_fail(self, BASE_INVALID, "no metadata pair %zu", index);
        return;
    }
    const struct gguf_entry *entry = &from->parts[0].entries[index];
    put_key(self, entry->key.data, entry->key.bytes, entry->type);
    if (entry->type == GGUF_VALUE_ARRAY) {
        put_u32(self, entry->element_type);
        put_u64(self, entry->count);
    }
    put(self, entry->value, (size_t)(entry->end - entry->value));
}

/* Bytes of a tensor's data; false when there is no such tensor. */
static bool tensor_bytes(struct builder_tensor *tensor)
{
    uint32_t block_elements = 0;
    uint32_t block_bytes = 0;
    size_t elements = 1;
    size_t bytes = 0;

    if (!gguf_type_block(tensor->type, &block_elements, &block_bytes) ||
        tensor->dimensions[0] % block_elements != 0)
        return false;
    for (uint32_t i = 0; i < tensor->dimension_count; i++)
        if (tensor->dimensions[i] == 0 ||
            !base_mul_size(elements, (size_t)tensor->dimensions[i], &elements))
            return false;
    if (!base_mul_size(elements / block_elements, block_bytes, &bytes))
        return false;
    tensor->bytes = bytes;
    return true;
}

void gguf_builder_tensor(struct gguf_builder *self, const char *name, uint32_t type,
    uint32_t dimension_count, const uint64_t *dimensions)
{
    struct builder_tensor tensor = {.type = type, .dimension_count = dimension_count};
    size_t length = strlen(name);

    if (length == 0 || length >= GGUF_NAME_BYTES || dimension_count == 0 ||
        dimension_count > GGUF_DIMENSIONS_MAX) {
        builder_fail(self, BASE_INVALID, "%.80s: name or number of dimensions", name);
        return;
    }
    memcpy(tensor.name, name, length);
    memcpy(tensor.dimensions, dimensions, dimension_count * sizeof(*dimensions));
    const char *type_name = gguf_type_name(type);
    if (!tensor_bytes(&tensor)) {
        builder_fail(self, BASE_INVALID, "%s: no tensor of type %s with rows of %llu", name,
            type_name != NULL ? type_name : "unknown", (unsigned long long)dimensions[0]);
        return;
    }
    struct builder_tensor *tensors = reserve_item(
        self->tensors, &self->tensor_capacity, self->tensor_count, sizeof(*self->tensors));
    if (tensors == NULL) {
        builder_fail(self, BASE_NOMEM, "tensor table: no memory");
        return;
    }
    self->tensors = tensors;
    self->tensors[self->tensor_count++] = tensor;
}

size_t gguf_builder_tensor_count(const struct gguf_builder *self)
{
    return self->tensor_count;
}

uint64_t gguf_builder_tensor_bytes(const struct gguf_builder *self, size_t index)
{
    return index < self->tensor_count ? self->tensors[index].bytes : 0;
}

static bool encode_text(struct buffer *out, const char *text)
{
    uint64_t bytes = strlen(text);

    return buffer_put(out, &bytes, sizeof(bytes)) && buffer_put(out, text, (size_t)bytes);
}

static bool encode_split_key(struct buffer *out, const char *key, uint32_t type, uint32_t value)
{
    return encode_text(out, key) && buffer_put(out, &type, sizeof(type)) &&
           buffer_put(out, &value, gguf_value_bytes(type));
}

static bool encode_tensor(struct buffer *out, const struct builder_tensor *tensor, uint64_t *offset)
{
    const uint64_t mask = GGUF_BUILDER_ALIGNMENT - 1;
    bool ok = encode_text(out, tensor->name) &&
              buffer_put(out, &tensor->dimension_count, sizeof(tensor->dimension_count)) &&
              buffer_put(out, tensor->dimensions, tensor->dimension_count * sizeof(uint64_t)) &&
              buffer_put(out, &tensor->type, sizeof(tensor->type)) &&
              buffer_put(out, offset, sizeof(*offset));

    *offset += (tensor->bytes + mask) & ~mask;
    return ok;
}

static bool encode(
    const struct gguf_builder *self, const struct gguf_builder_part *part, struct buffer *out)
{
    const uint32_t version = 3;
    bool split = part->part_count > 1;
    bool metadata = part->part_number == 0;
    uint64_t tensor_count = part->tensor_count;
    uint64_t pairs = (metadata ? self->key_count : 0) + (split ? 3u : 0u);
    uint64_t offset = 0;

    if (!buffer_put(out, "GGUF", 4) || !buffer_put(out, &version, sizeof(version)) ||
        !buffer_put(out, &tensor_count, sizeof(tensor_count)) ||
        !buffer_put(out, &pairs, sizeof(pairs)))
        return false;
    if (metadata && !buffer_put(out, self->metadata.data, self->metadata.bytes))
        return false;
    if (split && (!encode_split_key(out, "split.no", GGUF_VALUE_U16, part->part_number) ||
                     !encode_split_key(out, "split.count", GGUF_VALUE_U16, part->part_count) ||
                     !encode_split_key(
                         out, "split.tensors.count", GGUF_VALUE_I32, (uint32_t)self->tensor_count)))
        return false;
    for (size_t i = 0; i < part->tensor_count; i++)
        if (!encode_tensor(out, &self->tensors[part->tensor_first + i], &offset))
            return false;
    return true;
}

int gguf_builder_header(const struct gguf_builder *self, const struct gguf_builder_part *part,
    uint8_t **ret_data, size_t *ret_bytes, struct base_error *err)
{
    struct gguf_builder_part all = {0, 1, 0, self->tensor_count};
    struct buffer out = {0};
    int rc = gguf_builder_check(self, err);

    if (rc != BASE_OK)
        return rc;
    if (part == NULL)
        part = &all;
    if (part->tensor_first > self->tensor_count ||
        part->tensor_count > self->tensor_count - part->tensor_first)
        return base_error_set(err, BASE_INVALID, "no such tensors");
    if (!encode(self, part, &out)) {
        base_free(out.data);
        return base_error_set(err, BASE_NOMEM, "header: no memory");
    }
    *ret_data = out.data;
    *ret_bytes = out.bytes;
    return BASE_OK;
}
