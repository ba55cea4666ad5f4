/* Header and index of safetensors, checked; data stays in the mapping. */
#include "hf_safetensors.h"
#include "hf_json.h"

#include "base_alloc.h"
#include "base_bytes.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define LENGTH_BYTES 8u /* of the header's length */
#define TYPE_BYTES   12 /* of a type's name in messages, with the NUL */
#define WEIGHTS_FILE "model.safetensors"
#define INDEX_FILE   "model.safetensors.index.json"

struct file {
    char *name;
    const uint8_t *data;
    size_t bytes;
    size_t header_bytes;
    bool mapped;
};

struct hf_weights {
    struct file *files;
    size_t file_count;
    struct hf_tensor *tensors; /* by name */
    size_t tensor_count;
    uint64_t identity;
};

static const struct {
    const char *name;
    enum hf_type type;
    uint32_t bits;
} type_rows[] = {
    {"F32", HF_F32, 32},
    {"F16", HF_F16, 16},
    {"BF16", HF_BF16, 16},
    {"U8", HF_U8, 8},
    {"BOOL", HF_OTHER, 8},
    {"I8", HF_OTHER, 8},
    {"F8_E5M2", HF_OTHER, 8},
    {"F8_E4M3", HF_OTHER, 8},
    {"F8_E8M0", HF_OTHER, 8},
    {"F8_E4M3FNUZ", HF_OTHER, 8},
    {"F8_E5M2FNUZ", HF_OTHER, 8},
    {"F4", HF_OTHER, 4},
    {"F6_E2M3", HF_OTHER, 6},
    {"F6_E3M2", HF_OTHER, 6},
    {"I16", HF_OTHER, 16},
    {"U16", HF_OTHER, 16},
    {"I32", HF_OTHER, 32},
    {"U32", HF_OTHER, 32},
    {"I64", HF_OTHER, 64},
    {"U64", HF_OTHER, 64},
    {"F64", HF_OTHER, 64},
    {"C64", HF_OTHER, 64},
};

void hf_weights_close(struct hf_weights **self_p)
{
    struct hf_weights *self = *self_p;

    if (self == NULL)
        return;
    for (size_t i = 0; i < self->file_count; i++) {
        if (self->files[i].mapped)
            (void)munmap((void *)self->files[i].data, self->files[i].bytes);
        base_free(self->files[i].name);
    }
    for (size_t i = 0; i < self->tensor_count; i++)
        base_free(self->tensors[i].name);
    base_free(self->files);
    base_free(self->tensors);
    base_free(self);
    *self_p = NULL;
}

static struct hf_weights *weights_new(size_t file_count)
{
    struct hf_weights *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return NULL;
    self->files = base_alloc_zeroed(file_count, sizeof(*self->files));
    if (self->files == NULL)
        hf_weights_close(&self);
    return self;
}

#define fail(file, tensor_name, code, format, ...)                                                 \
    base_error_set(                                                                                \
        err, code, "%s: %.80s: " format, gguf_path_tail((file)->name), tensor_name, __VA_ARGS__)

static int parse_shape(const struct file *file, const json_t *json, struct hf_tensor *tensor,
    uint64_t *ret_elements, struct base_error *err)
{
    size_t elements = 1;

    if (!json_is_array(json) || json_array_size(json) > HF_DIMENSIONS_MAX)
        return fail(file, tensor->name, BASE_MALFORMED, "shape: not a list of at most %d numbers",
            HF_DIMENSIONS_MAX);
    tensor->dimension_count = (uint32_t)json_array_size(json);
    for (size_t i = 0; i < HF_DIMENSIONS_MAX; i++) {
        const json_t *number = json_array_get(json, i);
        tensor->shape[i] = 1;
        if (i >= tensor->dimension_count)
            continue;
        json_int_t value = json_integer_value(number);
        if (!json_is_integer(number) || value < 0 ||
            !base_mul_size(elements, (size_t)value, &elements))
            return fail(file, tensor->name, BASE_MALFORMED, "shape: element %zu: not a size", i);
        tensor->shape[i] = (uint64_t)value;
    }
    *ret_elements = elements;
    return BASE_OK;
}

static int parse_type(const struct file *file, const json_t *json, struct hf_tensor *tensor,
    uint32_t *ret_bits, struct base_error *err)
{
    const char *name = json_string_value(json);

    for (size_t i = 0; name != NULL && i < sizeof(type_rows) / sizeof(type_rows[0]); i++)
        if (strcmp(type_rows[i].name, name) == 0) {
            tensor->type = type_rows[i].type;
            tensor->type_name = type_rows[i].name;
            *ret_bits = type_rows[i].bits;
            return BASE_OK;
        }
    return fail(file, tensor->name, BASE_UNSUPPORTED, "dtype: \"%.20s\" is unknown",
        name != NULL ? name : "");
}

static int parse_offsets(const struct file *file, const json_t *json, struct hf_tensor *tensor,
    size_t wanted, struct base_error *err)
{
    size_t data_bytes = file->bytes - file->header_bytes;
    const json_t *first = json_array_get(json, 0);
    const json_t *last = json_array_get(json, 1);

    if (json_array_size(json) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return fail(file, tensor->name, BASE_MALFORMED, "data_offsets: %s", "not two integers");
    json_int_t begin = json_integer_value(first);
    json_int_t end = json_integer_value(last);
    if (begin < 0 || end < begin || (uint64_t)end > data_bytes)
        return fail(file, tensor->name, BASE_MALFORMED,
            "data_offsets: %lld to %lld, but the file has %zu bytes of data", (long long)begin,
            (long long)end, data_bytes);
    if ((uint64_t)(end - begin) != wanted)
        return fail(file, tensor->name, BASE_MALFORMED,
            "data_offsets: %lld bytes, but type and shape need %zu", (long long)(end - begin),
            wanted);
    tensor->data = file->data + file->header_bytes + (size_t)begin;
    tensor->bytes = wanted;
    return BASE_OK;
}

static int parse_tensor(
    const struct file *file, const json_t *json, struct hf_tensor *tensor, struct base_error *err)
{
    uint64_t elements = 0;
    uint32_t bits = 0;
    size_t all_bits = 0;

    if (!json_is_object(json))
        return fail(file, tensor->name, BASE_MALFORMED, "%s", "not an object");
    int rc = parse_type(file, json_object_get(json, "dtype"), tensor, &bits, err);
    if (rc == BASE_OK)
        rc = parse_shape(file, json_object_get(json, "shape"), tensor, &elements, err);
    if (rc != BASE_OK)
        return rc;
    if (!base_mul_size((size_t)elements, bits, &all_bits) || all_bits % 8 != 0)
        return fail(file, tensor->name, BASE_MALFORMED,
            "shape: %" PRIu64 " elements of %" PRIu32 " bits", elements, bits);
    return parse_offsets(file, json_object_get(json, "data_offsets"), tensor, all_bits / 8, err);
}

static int by_place(const void *a, const void *b)
{
    const struct hf_tensor *one = a;
    const struct hf_tensor *two = b;

    if (one->data != two->data)
        return one->data < two->data ? -1 : 1;
    return one->bytes < two->bytes ? -1 : one->bytes > two->bytes;
}

/* Data without holes and overlaps, up to the end of the file. Sorts the file's tensors by place. */
static int check_places(
    const struct file *file, struct hf_tensor *tensors, size_t count, struct base_error *err)
{
    const uint8_t *next = file->data + file->header_bytes;

    if (count > 0)
        qsort(tensors, count, sizeof(*tensors), by_place);
    for (size_t i = 0; i < count; i++) {
        if (tensors[i].data != next)
            return fail(file, tensors[i].name, BASE_MALFORMED, "data_offsets: %s of %zu bytes",
                tensors[i].data < next ? "an overlap" : "a hole",
                (size_t)(tensors[i].data < next ? next - tensors[i].data : tensors[i].data - next));
        next += tensors[i].bytes;
    }
    if (next != file->data + file->bytes)
        return base_error_set(err, BASE_MALFORMED, "%s: %zu bytes behind the last tensor",
            gguf_path_tail(file->name), (size_t)(file->data + file->bytes - next));
    return BASE_OK;
}

static int parse_entries(
    struct hf_weights *self, const struct file *file, json_t *root, struct base_error *err)
{
    size_t first = self->tensor_count;
    size_t count = json_object_size(root);
    const char *name;
    json_t *value;

    if (count > LIMIT_MODEL_TENSORS - first)
        return base_error_set(err, BASE_TOO_BIG, "%s: %zu tensors, at most %d in all",
            gguf_path_tail(file->name), count, LIMIT_MODEL_TENSORS);
    void *tensors = base_realloc_array(self->tensors, first + count + 1, sizeof(*self->tensors));
    if (tensors == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(file->name));
    self->tensors = tensors;
    json_object_foreach(root, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        struct hf_tensor *tensor = &self->tensors[self->tensor_count];
        memset(tensor, 0, sizeof(*tensor));
        tensor->name = base_strdup(name);
        if (tensor->name == NULL)
            return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(file->name));
        self->tensor_count++;
        int rc = parse_tensor(file, value, tensor, err);
        if (rc != BASE_OK)
            return rc;
    }
    return check_places(file, self->tensors + first, self->tensor_count - first, err);
}

/* The header of a file whose data and bytes are set; appends its tensors. */
static int parse_file(struct hf_weights *self, struct file *file, struct base_error *err)
{
    const char *name = gguf_path_tail(file->name);
    json_t *root = NULL;

    if (file->bytes < LENGTH_BYTES)
        return base_error_set(err, BASE_MALFORMED, "%s: byte 0: %zu bytes are no safetensors file",
            name, file->bytes);
    uint64_t length = base_load_u64(file->data);
    if (length > LIMIT_SAFETENSORS_HEADER_BYTES)
        return base_error_set(err, BASE_TOO_BIG,
            "%s: byte 0: header of %" PRIu64 " bytes, at most %d", name, length,
            LIMIT_SAFETENSORS_HEADER_BYTES);
    if (length > file->bytes - LENGTH_BYTES)
        return base_error_set(err, BASE_MALFORMED,
            "%s: byte 0: header of %" PRIu64 " bytes, but the file ends after %zu", name, length,
            file->bytes - LENGTH_BYTES);
    file->header_bytes = LENGTH_BYTES + (size_t)length;
    const char *text = (const char *)file->data + LENGTH_BYTES;
    if (length == 0 || text[0] != '{')
        return base_error_set(err, BASE_MALFORMED, "%s: byte 8: header: not an object", name);
    int rc = hf_parse_json(text, (size_t)length, name, &root, err);
    if (rc == BASE_OK)
        rc = parse_entries(self, file, root, err);
    json_decref(root);
    XXH64_hash_t seed = self->identity ^ (XXH64_hash_t)file->bytes;
    self->identity = XXH3_64bits_withSeed(file->data, file->header_bytes, seed);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct hf_tensor *)a)->name, ((const struct hf_tensor *)b)->name);
}

/* Sorts all tensors by name and refuses what appears in two files. */
static int finish(struct hf_weights *self, struct base_error *err)
{
    if (self->tensor_count > 0)
        qsort(self->tensors, self->tensor_count, sizeof(*self->tensors), by_name);
    for (size_t i = 1; i < self->tensor_count; i++)
        if (strcmp(self->tensors[i - 1].name, self->tensors[i].name) == 0)
            return base_error_set(err, BASE_MALFORMED, "%s: %.80s: tensor appears twice",
                gguf_path_tail(self->files[0].name), self->tensors[i].name);
    return BASE_OK;
}

static int map_file(const char *folder, struct file *file, struct base_error *err)
{
    size_t length = strlen(folder) + strlen(file->name) + 2;
    char *path = base_alloc(length);
    struct stat status;
    int rc = BASE_OK;

    if (path == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", file->name);
    (void)snprintf(path, length, "%s/%s", folder, file->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = base_error_set(err, errno == ENOENT ? BASE_NOT_FOUND : BASE_IO, "%s: open: %s",
            gguf_path_tail(path), strerror(errno));
    } else if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        rc = base_error_set(err, BASE_IO, "%s: not a regular file", gguf_path_tail(path));
    } else if (status.st_size > 0) {
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            rc =
                base_error_set(err, BASE_IO, "%s: mmap: %s", gguf_path_tail(path), strerror(errno));
        } else {
            file->data = data;
            file->bytes = (size_t)status.st_size;
            file->mapped = true;
        }
    }
    if (fd >= 0)
        (void)close(fd);
    base_free(path);
    return rc;
}

static int add_file(
    struct hf_weights *self, const char *folder, const char *name, struct base_error *err)
{
    struct file *file = &self->files[self->file_count];

    file->name = base_strdup(name);
    if (file->name == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", name);
    self->file_count++;
    int rc = map_file(folder, file, err);
    return rc == BASE_OK ? parse_file(self, file, err) : rc;
}

static bool known_file(const struct hf_weights *self, const char *name)
{
    for (size_t i = 0; i < self->file_count; i++)
        if (strcmp(self->files[i].name, name) == 0)
            return true;
    return false;
}

/* Opens every file that the map names, once. */
static int open_shards(
    struct hf_weights *self, const char *folder, json_t *map, struct base_error *err)
{
    const char *tensor;
    json_t *value;
    int rc = BASE_OK;

    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        if (name == NULL || name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL ||
            strlen(name) != json_string_length(value))
            return base_error_set(err, BASE_MALFORMED,
                INDEX_FILE ": weight_map: %.80s: not the name of a file", tensor);
        if (known_file(self, name))
            continue;
        if (self->file_count == LIMIT_SAFETENSORS_FILES)
            return base_error_set(
                err, BASE_TOO_BIG, INDEX_FILE ": more than %d files", LIMIT_SAFETENSORS_FILES);
        rc = add_file(self, folder, name, err);
        if (rc != BASE_OK)
            return rc == BASE_NOT_FOUND ? base_error_prepend(err, rc, INDEX_FILE) : rc;
    }
    rc = finish(self, err);
    if (rc != BASE_OK)
        return rc;
    json_object_foreach(map, tensor, value)
    {
        if (hf_weights_find(self, tensor) == NULL)
            return base_error_set(err, BASE_MALFORMED,
                INDEX_FILE ": weight_map: %.80s: no such tensor in %.80s", tensor,
                json_string_value(value));
    }
    return BASE_OK;
}

static int open_index(
    struct hf_weights *self, const char *folder, json_t *index, struct base_error *err)
{
    json_t *map = json_object_get(index, "weight_map");

    if (!json_is_object(map))
        return base_error_set(err, BASE_MALFORMED, INDEX_FILE ": weight_map: not an object");
    return open_shards(self, folder, map, err);
}

int hf_weights_open(const char *folder, struct hf_weights **ret_weights, struct base_error *err)
{
    struct hf_weights *self = weights_new(LIMIT_SAFETENSORS_FILES);
    json_t *index = NULL;

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(folder));
    int rc = hf_read_json(folder, INDEX_FILE, LIMIT_SAFETENSORS_HEADER_BYTES, &index, err);
    if (rc == BASE_OK) {
        rc = open_index(self, folder, index, err);
    } else if (rc == BASE_NOT_FOUND) {
        rc = add_file(self, folder, WEIGHTS_FILE, err);
        if (rc == BASE_OK)
            rc = finish(self, err);
        if (rc == BASE_NOT_FOUND)
            rc = base_error_set(
                err, rc, "%s: neither " WEIGHTS_FILE " nor " INDEX_FILE, gguf_path_tail(folder));
    }
    json_decref(index);
    if (rc == BASE_OK)
        *ret_weights = self;
    else
        hf_weights_close(&self);
    return rc;
}

int hf_weights_open_memory(const uint8_t *data, size_t bytes, const char *name,
    struct hf_weights **ret_weights, struct base_error *err)
{
    struct hf_weights *self = weights_new(1);
    int rc = BASE_NOMEM;

    if (self != NULL) {
        self->file_count = 1;
        self->files[0].name = base_strdup(name);
        self->files[0].data = data;
        self->files[0].bytes = bytes;
    }
    if (self == NULL || self->files[0].name == NULL)
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", name);
    else
        rc = parse_file(self, &self->files[0], err);
    if (rc == BASE_OK)
        rc = finish(self, err);
    if (rc == BASE_OK)
        *ret_weights = self;
    else
        hf_weights_close(&self);
    return rc;
}

size_t hf_weights_count(const struct hf_weights *self)
{
    return self->tensor_count;
}

const struct hf_tensor *hf_weights_at(const struct hf_weights *self, size_t index)
{
    return index < self->tensor_count ? &self->tensors[index] : NULL;
}

static int name_against(const void *key, const void *item)
{
    return strcmp(key, ((const struct hf_tensor *)item)->name);
}

const struct hf_tensor *hf_weights_find(const struct hf_weights *self, const char *name)
{
    return self->tensor_count == 0 ? NULL
                                   : bsearch(name, self->tensors, self->tensor_count,
                                         sizeof(*self->tensors), name_against);
}

uint64_t hf_weights_identity(const struct hf_weights *self)
{
    return self->identity;
}

void hf_weights_advise(const struct hf_weights *self, const struct hf_tensor *tensor, bool needed)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)tensor->data;
    uintptr_t end = first + tensor->bytes;

    if (!self->files[0].mapped)
        return;
    /* Whole pages only: a page shared with a neighbour is fetched, but never given back. */
    if (needed) {
        first &= ~(uintptr_t)(page - 1);
    } else {
        first = (first + page - 1) & ~(uintptr_t)(page - 1);
        end &= ~(uintptr_t)(page - 1);
    }
    if (end > first)
        (void)madvise((void *)first, end - first, needed ? MADV_WILLNEED : MADV_DONTNEED);
}
