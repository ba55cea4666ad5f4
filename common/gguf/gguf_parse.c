/* The header of one file: metadata pairs and tensor table, every length checked before use. */
#include "gguf_internal.h"

#include "base_alloc.h"
#include "base_bytes.h"
#include "base_err.h"
#include <inttypes.h>
#include <string.h>

#define HEADER_MAGIC           0x46554747u /* "GGUF" */
#define ALIGNMENT_DEFAULT      32u
#define ALIGNMENT_MAX          (1u << 24)
#define ENTRY_FILE_BYTES_MIN   14u /* key length, one letter, type, one byte */
#define TENSOR_FILE_BYTES_MIN  33u /* name length, one letter, dimension count, one, type, offset */
#define METADATA_KEY_BYTES_MAX 65535u

/* A position in a part; every read is checked against its end. */
struct reader {
    const struct gguf_part *part;
    size_t offset;
    struct base_error *err;
};

static size_t reader_left(const struct reader *self)
{
    return self->part->bytes - self->offset;
}

/* Text of every complaint: file, byte offset, field. */
#define reader_fail(self, code, at, field, format, ...)                                            \
    base_error_set((self)->err, code, "%s: byte %zu: %s: " format,                                 \
        gguf_path_tail((self)->part->path), (size_t)(at), field, __VA_ARGS__)

static int reader_take(
    struct reader *self, size_t bytes, const char *field, const uint8_t **ret_bytes)
{
    if (bytes > reader_left(self))
        return reader_fail(self, BASE_MALFORMED, self->offset, field,
            "needs %zu bytes, but the file ends after %zu", bytes, reader_left(self));
    *ret_bytes = self->part->data + self->offset;
    self->offset += bytes;
    return BASE_OK;
}

static int reader_u32(struct reader *self, const char *field, uint32_t *ret_value)
{
    const uint8_t *bytes = NULL;
    int rc = reader_take(self, sizeof(uint32_t), field, &bytes);

    if (rc == BASE_OK)
        *ret_value = base_load_u32(bytes);
    return rc;
}

static int reader_u64(struct reader *self, const char *field, uint64_t *ret_value)
{
    const uint8_t *bytes = NULL;
    int rc = reader_take(self, sizeof(uint64_t), field, &bytes);

    if (rc == BASE_OK)
        *ret_value = base_load_u64(bytes);
    return rc;
}

static int reader_string(struct reader *self, const char *field, struct gguf_string *ret_string)
{
    uint64_t length = 0;
    size_t at = self->offset;
    int rc = reader_u64(self, field, &length);

    if (rc != BASE_OK)
        return rc;
    if (length > reader_left(self))
        return reader_fail(self, BASE_MALFORMED, at, field,
            "length %" PRIu64 " is more than the %zu bytes that follow", length, reader_left(self));
    ret_string->data = (const char *)self->part->data + self->offset;
    ret_string->bytes = (size_t)length;
    self->offset += (size_t)length;
    return BASE_OK;
}

/* A count of things of which each takes at least item_bytes_min. */
static int reader_count(
    struct reader *self, const char *field, size_t item_bytes_min, size_t *ret_count)
{
    uint64_t count = 0;
    size_t at = self->offset;
    int rc = reader_u64(self, field, &count);

    if (rc != BASE_OK)
        return rc;
    /* Indices are stored in 32 bits. */
    if (count > reader_left(self) / item_bytes_min || count >= UINT32_MAX)
        return reader_fail(self, BASE_MALFORMED, at, field,
            "%" PRIu64 " do not fit in the %zu bytes that follow", count, reader_left(self));
    *ret_count = (size_t)count;
    return BASE_OK;
}

/* The file's own text in a message: cut, and only what prints. */
static const char *printable(struct gguf_string text, char ret_text[GGUF_NAME_BYTES])
{
    size_t count = text.bytes < GGUF_NAME_BYTES - 1 ? text.bytes : GGUF_NAME_BYTES - 1;

    for (size_t i = 0; i < count; i++)
        ret_text[i] = (text.data[i] >= 0x20 && text.data[i] < 0x7f) ? text.data[i] : '?';
    ret_text[count] = '\0';
    return ret_text;
}

static int parse_array(struct reader *reader, const char *field, struct gguf_entry *entry)
{
    size_t at = reader->offset;
    int rc = reader_u32(reader, field, &entry->element_type);

    if (rc == BASE_OK)
        rc = reader_u64(reader, field, &entry->count);
    if (rc != BASE_OK)
        return rc;
    if (entry->element_type == GGUF_VALUE_ARRAY)
        return reader_fail(reader, BASE_UNSUPPORTED, at, field, "%s", "array of arrays");
    if (entry->element_type >= GGUF_VALUE_TYPES)
        return reader_fail(reader, BASE_MALFORMED, at, field, "unknown element type %" PRIu32,
            entry->element_type);
    size_t item_bytes =
        entry->element_type == GGUF_VALUE_STRING ? 8 : gguf_value_bytes(entry->element_type);
    if (entry->count > reader_left(reader) / item_bytes)
        return reader_fail(reader, BASE_MALFORMED, at, field,
            "%" PRIu64 " elements do not fit in the %zu bytes that follow", entry->count,
            reader_left(reader));
    entry->value = reader->part->data + reader->offset;
    if (entry->element_type != GGUF_VALUE_STRING) {
        reader->offset += (size_t)entry->count * item_bytes;
        return BASE_OK;
    }
    for (uint64_t i = 0; i < entry->count; i++) {
        struct gguf_string element;
        rc = reader_string(reader, field, &element);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

static int parse_value(struct reader *reader, const char *field, struct gguf_entry *entry)
{
    size_t at = reader->offset;
    int rc = reader_u32(reader, field, &entry->type);

    if (rc != BASE_OK)
        return rc;
    entry->count = 1;
    entry->value = reader->part->data + reader->offset;
    if (entry->type == GGUF_VALUE_ARRAY) {
        rc = parse_array(reader, field, entry);
    } else if (entry->type == GGUF_VALUE_STRING) {
        struct gguf_string text;
        rc = reader_string(reader, field, &text);
    } else if (entry->type < GGUF_VALUE_TYPES) {
        const uint8_t *value = NULL;
        rc = reader_take(reader, gguf_value_bytes(entry->type), field, &value);
        if (rc == BASE_OK && entry->type == GGUF_VALUE_BOOL && *value > 1)
            rc = reader_fail(reader, BASE_MALFORMED, at + 4, field, "bool is %u", *value);
    } else {
        rc = reader_fail(
            reader, BASE_MALFORMED, at, field, "unknown value type %" PRIu32, entry->type);
    }
    entry->end = reader->part->data + reader->offset;
    return rc;
}

static bool entry_same(const void *context, size_t index, struct gguf_string name)
{
    const struct gguf_part *part = context;
    struct gguf_string key = part->entries[index].key;

    return key.bytes == name.bytes && memcmp(key.data, name.data, key.bytes) == 0;
}

static int parse_entry(struct reader *reader, struct gguf_part *part)
{
    char field[GGUF_NAME_BYTES];
    struct gguf_entry *entry = &part->entries[part->entry_count];
    size_t at = reader->offset;
    int rc = reader_string(reader, "metadata key", &entry->key);

    if (rc != BASE_OK)
        return rc;
    if (entry->key.bytes == 0 || entry->key.bytes > METADATA_KEY_BYTES_MAX)
        return reader_fail(reader, BASE_MALFORMED, at, "metadata key",
            "length %zu is not within 1..%u", entry->key.bytes, METADATA_KEY_BYTES_MAX);
    entry->file_offset = at;
    rc = parse_value(reader, printable(entry->key, field), entry);
    if (rc != BASE_OK)
        return rc;
    uint32_t *slot = gguf_table_slot(&part->keys, entry->key, entry_same, part);
    if (*slot != 0)
        return reader_fail(reader, BASE_MALFORMED, at, field, "%s", "key appears twice");
    *slot = (uint32_t)++part->entry_count;
    return BASE_OK;
}

const struct gguf_entry *gguf_part_find(const struct gguf_part *part, const char *key)
{
    struct gguf_string name = {key, strlen(key)};
    const uint32_t *slot = gguf_table_slot(&part->keys, name, entry_same, part);

    return *slot == 0 ? NULL : &part->entries[*slot - 1];
}

static int parse_metadata(struct reader *reader, struct gguf_part *part, size_t count)
{
    int rc = gguf_table_init(&part->keys, count);

    part->entries = base_alloc_zeroed(count > 0 ? count : 1, sizeof(*part->entries));
    if (rc != BASE_OK || part->entries == NULL)
        return base_error_set(reader->err, BASE_NOMEM, "%s: metadata_kv_count: no memory for %zu",
            gguf_path_tail(part->path), count);
    for (size_t i = 0; i < count && rc == BASE_OK; i++)
        rc = parse_entry(reader, part);
    return rc;
}

static int parse_name(struct reader *reader, char ret_name[GGUF_NAME_BYTES])
{
    struct gguf_string name;
    size_t at = reader->offset;
    int rc = reader_string(reader, "tensor name", &name);

    if (rc != BASE_OK)
        return rc;
    if (name.bytes == 0 || name.bytes >= GGUF_NAME_BYTES)
        return reader_fail(reader, BASE_MALFORMED, at, "tensor name",
            "length %zu is not within 1..%d", name.bytes, GGUF_NAME_BYTES - 1);
    if (memchr(name.data, '\0', name.bytes) != NULL)
        return reader_fail(reader, BASE_MALFORMED, at, "tensor name", "%s", "holds a zero byte");
    memcpy(ret_name, name.data, name.bytes);
    ret_name[name.bytes] = '\0';
    return BASE_OK;
}

/* Dimensions to a byte count; the tensor's type is known to have a block layout. */
static int tensor_size(
    struct reader *reader, struct gguf_tensor *tensor, const char *field, size_t at)
{
    uint32_t block_elements = 0;
    uint32_t block_bytes = 0;
    size_t elements = 1;

    if (!gguf_type_block(tensor->type, &block_elements, &block_bytes)) {
        const char *name = gguf_type_name(tensor->type);
        return reader_fail(reader, BASE_UNSUPPORTED, at, field, "tensor type %" PRIu32 "%s%s",
            tensor->type, name != NULL ? " " : " is unknown", name != NULL ? name : "");
    }
    for (uint32_t i = 0; i < tensor->dimension_count; i++) {
        if (tensor->dimensions[i] == 0 || tensor->dimensions[i] > SIZE_MAX ||
            !base_mul_size(elements, (size_t)tensor->dimensions[i], &elements))
            return reader_fail(reader, BASE_MALFORMED, at, field,
                "dimension %" PRIu32 " is %" PRIu64, i, tensor->dimensions[i]);
    }
    if (tensor->dimensions[0] % block_elements != 0)
        return reader_fail(reader, BASE_MALFORMED, at, field,
            "rows of %" PRIu64 " are no whole number of %s blocks of %" PRIu32,
            tensor->dimensions[0], gguf_type_name(tensor->type), block_elements);
    size_t bytes = 0;
    if (!base_mul_size(elements / block_elements, block_bytes, &bytes))
        return reader_fail(
            reader, BASE_MALFORMED, at, field, "%zu elements are too many", elements);
    tensor->bytes = bytes;
    return BASE_OK;
}

static int parse_tensor(struct reader *reader, struct gguf *self)
{
    struct gguf_tensor *tensor = &self->tensors[self->tensor_count];
    char *name = self->names[self->tensor_count];
    size_t at = reader->offset;
    int rc = parse_name(reader, name);

    if (rc != BASE_OK)
        return rc;
    struct gguf_string text = {name, strlen(name)};
    char field[GGUF_NAME_BYTES];
    (void)printable(text, field);
    rc = reader_u32(reader, field, &tensor->dimension_count);
    if (rc != BASE_OK)
        return rc;
    if (tensor->dimension_count == 0 || tensor->dimension_count > GGUF_DIMENSIONS_MAX)
        return reader_fail(reader, BASE_MALFORMED, at, field,
            "dimension count %" PRIu32 " is not within 1..%d", tensor->dimension_count,
            GGUF_DIMENSIONS_MAX);
    for (uint32_t i = 0; i < GGUF_DIMENSIONS_MAX && rc == BASE_OK; i++) {
        tensor->dimensions[i] = 1;
        if (i < tensor->dimension_count)
            rc = reader_u64(reader, field, &tensor->dimensions[i]);
    }
    if (rc == BASE_OK)
        rc = reader_u32(reader, field, &tensor->type);
    if (rc == BASE_OK)
        rc = reader_u64(reader, field, &tensor->file_offset);
    if (rc == BASE_OK)
        rc = tensor_size(reader, tensor, field, at);
    if (rc != BASE_OK)
        return rc;
    tensor->name = name;
    tensor->table_offset = at;
    uint32_t *slot = gguf_table_slot(&self->tensor_names, text, gguf_tensor_same, self);
    if (*slot != 0)
        return reader_fail(reader, BASE_MALFORMED, at, field, "%s", "tensor appears twice");
    *slot = (uint32_t)++self->tensor_count;
    return BASE_OK;
}

/* Makes room for count more tensors. Names move, so earlier tensors' pointers are set anew, and
 * the name table is built for the new total. */
static int tensors_reserve(struct gguf *self, size_t count)
{
    size_t total = self->tensor_count + count;

    if (total >= UINT32_MAX)
        return BASE_NOMEM;
    void *tensors = base_realloc_array(self->tensors, total + 1, sizeof(*self->tensors));
    if (tensors == NULL)
        return BASE_NOMEM;
    self->tensors = tensors;
    void *names = base_realloc_array(self->names, total + 1, sizeof(*self->names));
    if (names == NULL)
        return BASE_NOMEM;
    self->names = names;
    for (size_t i = 0; i < self->tensor_count; i++)
        self->tensors[i].name = self->names[i];
    base_free(self->tensor_names.slots);
    self->tensor_names.slots = NULL;
    if (gguf_table_init(&self->tensor_names, total) != BASE_OK)
        return BASE_NOMEM;
    for (size_t i = 0; i < self->tensor_count; i++) {
        struct gguf_string text = {self->names[i], strlen(self->names[i])};
        *gguf_table_slot(&self->tensor_names, text, gguf_tensor_same, self) = (uint32_t)(i + 1);
    }
    return BASE_OK;
}

static int parse_alignment(
    struct reader *reader, const struct gguf_part *part, uint32_t *ret_alignment)
{
    const struct gguf_entry *entry = gguf_part_find(part, "general.alignment");
    uint64_t value = ALIGNMENT_DEFAULT;
    bool negative = false;

    if (entry != NULL && !gguf_entry_integer(entry, &value, &negative))
        return reader_fail(reader, BASE_MALFORMED, entry->file_offset, "general.alignment",
            "%s is no integer", gguf_value_name(entry->type));
    if (negative || value == 0 || value > ALIGNMENT_MAX || (value & (value - 1)) != 0)
        return reader_fail(reader, BASE_MALFORMED, entry == NULL ? 0 : entry->file_offset,
            "general.alignment", "%s%" PRIu64 " is no power of two within 1..%u",
            negative ? "-" : "", value, ALIGNMENT_MAX);
    *ret_alignment = (uint32_t)value;
    return BASE_OK;
}

/* Turns offsets within the data section into pointers, once it is known where that starts. */
static int place_tensors(
    struct reader *reader, struct gguf *self, size_t tensor_first, uint32_t alignment)
{
    const struct gguf_part *part = reader->part;
    size_t start = 0;
    size_t total = 0;

    if (!base_add_size(part->header_bytes, alignment - 1, &start))
        return reader_fail(reader, BASE_MALFORMED, part->header_bytes, "tensor data", "%s",
            "start is past the end of memory");
    start &= ~(size_t)(alignment - 1);
    for (size_t i = tensor_first; i < self->tensor_count; i++) {
        struct gguf_tensor *tensor = &self->tensors[i];
        char field[GGUF_NAME_BYTES];
        size_t at = 0;
        size_t end = 0;
        struct gguf_string text = {tensor->name, strlen(tensor->name)};
        (void)printable(text, field);
        if (tensor->file_offset % alignment != 0)
            return reader_fail(reader, BASE_MALFORMED, tensor->table_offset, field,
                "data offset %" PRIu64 " is not a multiple of %" PRIu32, tensor->file_offset,
                alignment);
        bool fits = base_add_size(start, (size_t)tensor->file_offset, &at) &&
                    base_add_size(at, (size_t)tensor->bytes, &end);
        tensor->file_offset = at;
        tensor->data = NULL;
        if (fits && part->view)
            continue;
        if (!fits || end > part->bytes)
            return reader_fail(reader, BASE_MALFORMED, tensor->table_offset, field,
                "data at %zu and %" PRIu64 " bytes reach past the end of the file, %zu", at,
                tensor->bytes, part->bytes);
        /* Copies of the tensors can then never need more than the file is long. */
        if (!base_add_size(total, (size_t)tensor->bytes, &total) || total > part->bytes)
            return reader_fail(reader, BASE_MALFORMED, tensor->table_offset, field,
                "tensors overlap: together they are longer than the file, %zu", part->bytes);
        tensor->data = part->data + at;
    }
    return BASE_OK;
}

static int parse_version(struct reader *reader)
{
    uint32_t magic = 0;
    uint32_t version = 0;
    int rc = reader_u32(reader, "magic", &magic);

    if (rc == BASE_OK && magic != HEADER_MAGIC)
        rc = reader_fail(
            reader, BASE_MALFORMED, 0, "magic", "0x%08" PRIx32 " is not \"GGUF\"", magic);
    if (rc == BASE_OK)
        rc = reader_u32(reader, "version", &version);
    if (rc != BASE_OK)
        return rc;
    if ((version & 0xffffu) == 0 && version != 0)
        return reader_fail(reader, BASE_UNSUPPORTED, 4, "version", "%s",
            "the file is big-endian; convert it to little-endian");
    if (version != 2 && version != 3)
        return reader_fail(reader, BASE_UNSUPPORTED, 4, "version",
            "%" PRIu32 ", but only 2 and 3 are supported", version);
    return BASE_OK;
}

int gguf_parse_part(struct gguf *self, struct gguf_part *part, struct base_error *err)
{
    struct reader reader = {part, 0, err};
    size_t tensor_count = 0;
    size_t entry_count = 0;
    size_t tensor_first = self->tensor_count;
    uint32_t alignment = 0;
    int rc = parse_version(&reader);

    if (rc == BASE_OK)
        rc = reader_count(&reader, "tensor_count", TENSOR_FILE_BYTES_MIN, &tensor_count);
    if (rc == BASE_OK)
        rc = reader_count(&reader, "metadata_kv_count", ENTRY_FILE_BYTES_MIN, &entry_count);
    if (rc == BASE_OK)
        rc = parse_metadata(&reader, part, entry_count);
    if (rc == BASE_OK)
        rc = parse_alignment(&reader, part, &alignment);
    if (rc != BASE_OK)
        return rc;
    /* The metadata may have eaten what the count was checked against. */
    if (tensor_count > reader_left(&reader) / TENSOR_FILE_BYTES_MIN)
        return reader_fail(&reader, BASE_MALFORMED, 8, "tensor_count",
            "%zu do not fit in the %zu bytes after the metadata", tensor_count,
            reader_left(&reader));
    if (tensors_reserve(self, tensor_count) != BASE_OK)
        return base_error_set(err, BASE_NOMEM, "%s: tensor_count: no memory for %zu",
            gguf_path_tail(part->path), tensor_count);
    for (size_t i = 0; i < tensor_count && rc == BASE_OK; i++)
        rc = parse_tensor(&reader, self);
    if (rc != BASE_OK)
        return rc;
    part->header_bytes = reader.offset;
    return place_tensors(&reader, self, tensor_first, alignment);
}
