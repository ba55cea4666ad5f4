/* Opening and closing: mapping, split files, lookup tables. */
#include "gguf.h"
#include "gguf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define PATH_TAIL_BYTES 120u

const char *gguf_path_tail(const char *path)
{
    size_t length = strlen(path);

    return length > PATH_TAIL_BYTES ? path + (length - PATH_TAIL_BYTES) : path;
}

int gguf_table_init(struct gguf_table *self, size_t count)
{
    size_t slot_count = 16;

    while (slot_count / 2 < count)
        slot_count *= 2;
    self->slots = base_alloc_zeroed(slot_count, sizeof(*self->slots));
    self->slot_count = self->slots == NULL ? 0 : slot_count;
    return self->slots == NULL ? BASE_NOMEM : BASE_OK;
}

uint32_t *gguf_table_slot(
    const struct gguf_table *self, struct gguf_string name, gguf_same_fn *same, const void *context)
{
    size_t mask = self->slot_count - 1;
    size_t i = (size_t)XXH3_64bits(name.data, name.bytes) & mask;

    while (self->slots[i] != 0 && !same(context, self->slots[i] - 1, name))
        i = (i + 1) & mask;
    return &self->slots[i];
}

static void part_release(struct gguf_part *part)
{
    if (part->mapped)
        (void)munmap((void *)part->data, part->bytes);
    if (part->owned)
        base_free((void *)part->data);
    base_free(part->path);
    base_free(part->entries);
    base_free(part->keys.slots);
}

void gguf_close(struct gguf **self_p)
{
    struct gguf *self = *self_p;

    if (self == NULL)
        return;
    if (self->source.release != NULL)
        self->source.release(self->source.context);
    for (size_t i = 0; i < self->part_count; i++)
        part_release(&self->parts[i]);
    base_free(self->parts);
    base_free(self->tensors);
    base_free(self->names);
    base_free(self->tensor_names.slots);
    base_free(self);
    *self_p = NULL;
}

static int part_map(struct gguf_part *part, struct base_error *err)
{
    struct stat status;
    const char *path = gguf_path_tail(part->path);
    int rc = BASE_OK;
    int fd = open(part->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return base_error_set(err, BASE_IO, "%s: open: %s", path, strerror(errno));
    if (fstat(fd, &status) != 0) {
        rc = base_error_set(err, BASE_IO, "%s: stat: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        rc = base_error_set(err, BASE_IO, "%s: not a regular file", path);
    } else if (status.st_size <= 0) {
        rc = base_error_set(err, BASE_MALFORMED, "%s: byte 0: magic: the file is empty", path);
    } else {
        part->bytes = (size_t)status.st_size;
        void *data = mmap(NULL, part->bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            rc = base_error_set(err, BASE_IO, "%s: mmap: %s", path, strerror(errno));
        } else {
            part->data = data;
            part->mapped = true;
        }
    }
    (void)close(fd);
    return rc;
}

struct gguf *gguf_new(const char *path)
{
    struct gguf *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return NULL;
    self->parts = base_alloc_zeroed(1, sizeof(*self->parts));
    if (self->parts != NULL) {
        self->part_count = 1;
        self->parts[0].path = base_strdup(path);
    }
    if (self->parts == NULL || self->parts[0].path == NULL)
        gguf_close(&self);
    return self;
}

/* An integer of the split description; absent: *ret_value stays. */
static int part_integer(
    const struct gguf_part *part, const char *key, uint64_t *ret_value, struct base_error *err)
{
    const struct gguf_entry *entry = gguf_part_find(part, key);
    bool negative = false;

    if (entry == NULL)
        return BASE_OK;
    if (!gguf_entry_integer(entry, ret_value, &negative) || negative)
        return base_error_set(err, BASE_MALFORMED, "%s: byte %llu: %s: not a count",
            gguf_path_tail(part->path), (unsigned long long)entry->file_offset, key);
    return BASE_OK;
}

/* Checks that a part says of itself what its place in the file name says. */
static int part_check(
    const struct gguf_part *part, uint64_t number, uint64_t count, struct base_error *err)
{
    uint64_t found_number = UINT64_MAX;
    uint64_t found_count = 0;
    int rc = part_integer(part, "split.no", &found_number, err);

    if (rc == BASE_OK)
        rc = part_integer(part, "split.count", &found_count, err);
    if (rc != BASE_OK)
        return rc;
    if (found_number == number && found_count == count)
        return BASE_OK;
    if (number == 0 && found_number != UINT64_MAX)
        return base_error_set(err, BASE_MALFORMED,
            "%s: split.no: this is part %llu of %llu; open the first part",
            gguf_path_tail(part->path), (unsigned long long)(found_number + 1),
            (unsigned long long)found_count);
    return base_error_set(err, BASE_MALFORMED,
        "%s: split.no, split.count: %lld of %llu, but part %llu of %llu was expected",
        gguf_path_tail(part->path), (long long)found_number, (unsigned long long)found_count,
        (unsigned long long)number, (unsigned long long)count);
}

/* "<prefix>-00002-of-00003.gguf" from the first part's path. NULL when memory fails. */
static char *part_path(const char *first, size_t suffix_bytes, unsigned number, unsigned count)
{
    size_t prefix_bytes = strlen(first) - suffix_bytes;
    char *path = base_strdup(first);

    if (path != NULL)
        (void)snprintf(path + prefix_bytes, suffix_bytes + 1, "-%05u-of-%05u.gguf", number, count);
    return path;
}

static int open_parts(struct gguf *self, uint64_t count, struct base_error *err)
{
    char suffix[32];
    const char *first = self->parts[0].path;
    int rc = part_check(&self->parts[0], 0, count, err);

    if (rc != BASE_OK)
        return rc;
    if (count > GGUF_PARTS_MAX)
        return base_error_set(err, BASE_TOO_BIG, "%s: split.count: %llu parts, at most %d",
            gguf_path_tail(first), (unsigned long long)count, GGUF_PARTS_MAX);
    size_t suffix_bytes =
        (size_t)snprintf(suffix, sizeof(suffix), "-00001-of-%05u.gguf", (unsigned)count);
    if (strlen(first) < suffix_bytes || strcmp(first + strlen(first) - suffix_bytes, suffix) != 0)
        return base_error_set(err, BASE_MALFORMED,
            "%s: the first part of a split model must be named <prefix>%s", gguf_path_tail(first),
            suffix);
    void *parts = base_realloc_array(self->parts, (size_t)count, sizeof(*self->parts));
    if (parts == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(first));
    self->parts = parts;
    for (unsigned i = 1; i < count; i++) {
        struct gguf_part *part = &self->parts[i];
        memset(part, 0, sizeof(*part));
        self->part_count = i + 1;
        part->path = part_path(self->parts[0].path, suffix_bytes, i + 1, (unsigned)count);
        if (part->path == NULL)
            return base_error_set(err, BASE_NOMEM, "part %u: no memory", i + 1);
        rc = part_map(part, err);
        if (rc == BASE_OK)
            rc = gguf_parse_part(self, part, err);
        if (rc == BASE_OK)
            rc = part_check(part, i, count, err);
        if (rc != BASE_OK)
            return rc;
    }
    uint64_t tensor_count = self->tensor_count;
    rc = part_integer(&self->parts[0], "split.tensors.count", &tensor_count, err);
    if (rc == BASE_OK && tensor_count != self->tensor_count)
        rc = base_error_set(err, BASE_MALFORMED,
            "%s: split.tensors.count: %llu, but the parts hold %zu",
            gguf_path_tail(self->parts[0].path), (unsigned long long)tensor_count,
            self->tensor_count);
    return rc;
}

uint64_t gguf_hash_headers(const struct gguf *self, uint64_t seed)
{
    uint64_t hash = seed;

    /* Each part's hash seeds the next, so that order counts. */
    for (size_t i = 0; i < self->part_count; i++)
        hash = XXH3_64bits_withSeed(
            self->parts[i].data, self->parts[i].header_bytes, (XXH64_hash_t)hash);
    return hash;
}

static int file_open(struct gguf **self_p, bool from_memory, struct base_error *err)
{
    struct gguf *self = *self_p;
    uint64_t count = 1;
    int rc = gguf_parse_part(self, &self->parts[0], err);

    if (rc == BASE_OK)
        rc = part_integer(&self->parts[0], "split.count", &count, err);
    if (rc == BASE_OK && count > 1) {
        if (from_memory)
            rc = base_error_set(err, BASE_UNSUPPORTED,
                "%s: split.count: a split model cannot be opened from memory", gguf_path(self));
        else
            rc = open_parts(self, count, err);
    }
    if (rc == BASE_OK)
        self->fingerprint = gguf_hash_headers(self, 0);
    else
        gguf_close(self_p);
    return rc;
}

int gguf_open(const char *path, struct gguf **ret_file, struct base_error *err)
{
    struct gguf *self = gguf_new(path);

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(path));
    int rc = part_map(&self->parts[0], err);
    if (rc == BASE_OK)
        rc = file_open(&self, false, err);
    if (rc == BASE_OK)
        *ret_file = self;
    else
        gguf_close(&self);
    return rc;
}

int gguf_open_memory(const uint8_t *data, size_t bytes, const char *name, struct gguf **ret_file,
    struct base_error *err)
{
    struct gguf *self = gguf_new(name);

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(name));
    self->parts[0].data = data;
    self->parts[0].bytes = bytes;
    int rc = file_open(&self, true, err);
    if (rc == BASE_OK)
        *ret_file = self;
    return rc;
}

const char *gguf_path(const struct gguf *self)
{
    return self->parts[0].path;
}

uint64_t gguf_fingerprint(const struct gguf *self)
{
    return self->fingerprint;
}

size_t gguf_tensor_count(const struct gguf *self)
{
    return self->tensor_count;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *self, size_t index)
{
    return index < self->tensor_count ? &self->tensors[index] : NULL;
}

bool gguf_tensor_same(const void *context, size_t index, struct gguf_string name)
{
    const struct gguf *self = context;
    const char *found = self->names[index];

    return strlen(found) == name.bytes && memcmp(found, name.data, name.bytes) == 0;
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *self, const char *name)
{
    struct gguf_string text = {name, strlen(name)};
    const uint32_t *slot = gguf_table_slot(&self->tensor_names, text, gguf_tensor_same, self);

    return *slot == 0 ? NULL : &self->tensors[*slot - 1];
}

uint64_t gguf_row_count(const struct gguf_tensor *tensor)
{
    return tensor->dimensions[1] * tensor->dimensions[2] * tensor->dimensions[3];
}

size_t gguf_row_bytes(const struct gguf_tensor *tensor)
{
    uint64_t rows = gguf_row_count(tensor);

    return rows == 0 ? 0 : (size_t)(tensor->bytes / rows);
}

int gguf_read_rows(const struct gguf *self, const struct gguf_tensor *tensor, uint64_t row_first,
    uint64_t row_count, uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err)
{
    uint64_t rows = gguf_row_count(tensor);

    if (row_first > rows || row_count > rows - row_first)
        return base_error_set(err, BASE_INVALID, "%s: %s: rows %llu + %llu, but there are %llu",
            gguf_path_tail(gguf_path(self)), tensor->name, (unsigned long long)row_first,
            (unsigned long long)row_count, (unsigned long long)rows);
    if (self->source.read_rows != NULL)
        return self->source.read_rows(self->source.context, (size_t)(tensor - self->tensors),
            row_first, row_count, buffer, ret_rows, err);
    *ret_rows = tensor->data + row_first * gguf_row_bytes(tensor);
    return BASE_OK;
}

void gguf_advise(const struct gguf *self, const struct gguf_tensor *tensor, bool needed)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)tensor->data;
    uintptr_t end = first + (size_t)tensor->bytes;

    if (self->source.advise != NULL)
        self->source.advise(self->source.context, (size_t)(tensor - self->tensors), needed);
    if (!self->parts[0].mapped)
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
