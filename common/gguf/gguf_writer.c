/* Files written under other names first and renamed when they are whole. */
#include "gguf_writer.h"
#include "gguf_builder.h"

#include "base_alloc.h"
#include "base_err.h"
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX          ".gguf"
#define TEMPORARY_BYTES 40 /* of ".tmp-1234-0" */
#define TEMPORARY_TRIES 100
#define PART_TEXT       64                 /* bytes of "-00001-of-00002.gguf" */
#define FLUSH_BYTES     ((size_t)32 << 20) /* written between two hints to start writing back */

struct part {
    char *path;      /* what it will be called */
    char *temporary; /* what it is called now; NULL: not there */
    size_t tensor_first;
    size_t tensor_count;
};

struct gguf_writer {
    const struct gguf_builder *builder;
    struct part *parts;
    size_t part_count;
    size_t part;       /* being written */
    size_t tensor;     /* next to be written to, over all parts */
    uint64_t written;  /* of that tensor */
    uint64_t position; /* in the file */
    uint64_t flushed;  /* of the file, on its way to disk */
    int fd;
};

static int io_error(struct base_error *err, const char *path, const char *what)
{
    return base_error_set(err, BASE_IO, "%s: %s: %s", gguf_path_tail(path), what, strerror(errno));
}

void gguf_writer_destroy(struct gguf_writer **self_p)
{
    struct gguf_writer *self = *self_p;

    if (self == NULL)
        return;
    if (self->fd >= 0)
        (void)close(self->fd);
    for (size_t i = 0; self->parts != NULL && i < self->part_count; i++) {
        if (self->parts[i].temporary != NULL)
            (void)unlink(self->parts[i].temporary);
        base_free(self->parts[i].temporary);
        base_free(self->parts[i].path);
    }
    base_free(self->parts);
    base_free(self);
    *self_p = NULL;
}

/* Shares the tensors out. With parts NULL it only counts. */
static size_t cut(const struct gguf_builder *builder, uint64_t part_bytes_max, struct part *parts)
{
    size_t tensor_count = gguf_builder_tensor_count(builder);
    size_t count = 1;
    size_t first = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < tensor_count; i++) {
        uint64_t more = gguf_builder_tensor_bytes(builder, i);
        if (part_bytes_max > 0 && i > first &&
            (more > part_bytes_max || bytes > part_bytes_max - more)) {
            count++;
            first = i;
            bytes = 0;
        }
        bytes += more;
        if (parts != NULL) {
            parts[count - 1].tensor_first = first;
            parts[count - 1].tensor_count = i + 1 - first;
        }
    }
    return count;
}

/* path, or PREFIX-00001-of-00002.gguf. NULL when memory fails. */
static char *part_path(const char *path, size_t number, size_t count)
{
    size_t length = strlen(path);
    size_t suffix = strlen(SUFFIX);
    char *text = base_alloc(length + PART_TEXT + 1);

    if (text == NULL)
        return NULL;
    memcpy(text, path, length + 1);
    if (count <= 1)
        return text;
    if (length > suffix && strcmp(path + length - suffix, SUFFIX) == 0)
        length -= suffix;
    (void)snprintf(text + length, PART_TEXT, "-%05zu-of-%05zu" SUFFIX, number + 1, count);
    return text;
}

static int write_all(
    struct gguf_writer *self, const void *data, size_t bytes, struct base_error *err)
{
    const uint8_t *next = data;

    while (bytes > 0) {
        ssize_t count = write(self->fd, next, bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return io_error(err, self->parts[self->part].path, "write");
        next += count;
        bytes -= (size_t)count;
        self->position += (uint64_t)count;
    }
    /* Write back as we go, so that the end is no long wait. */
    if (self->position - self->flushed >= FLUSH_BYTES) {
        (void)sync_file_range(self->fd, (off64_t)self->flushed,
            (off64_t)(self->position - self->flushed), SYNC_FILE_RANGE_WRITE);
        self->flushed = self->position;
    }
    return BASE_OK;
}

static int pad(struct gguf_writer *self, struct base_error *err)
{
    static const uint8_t zeros[GGUF_BUILDER_ALIGNMENT];
    size_t over = (size_t)(self->position % GGUF_BUILDER_ALIGNMENT);

    return over == 0 ? BASE_OK : write_all(self, zeros, GGUF_BUILDER_ALIGNMENT - over, err);
}

/* Makes the temporary file of the part at hand, under a name that nobody else has. */
static int create(struct gguf_writer *self, struct base_error *err)
{
    struct part *part = &self->parts[self->part];
    size_t bytes = strlen(part->path) + TEMPORARY_BYTES;

    part->temporary = base_alloc(bytes);
    if (part->temporary == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(part->path));
    for (unsigned i = 0; i < TEMPORARY_TRIES && self->fd < 0; i++) {
        (void)snprintf(part->temporary, bytes, "%s.tmp-%ld-%u", part->path, (long)getpid(), i);
        self->fd = open(part->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (self->fd < 0 && errno != EEXIST)
            break;
    }
    if (self->fd >= 0)
        return BASE_OK;
    int rc = io_error(err, part->path, "create");
    base_free(part->temporary);
    part->temporary = NULL;
    return rc;
}

static int reserve(struct gguf_writer *self, size_t header_bytes, struct base_error *err)
{
    const struct part *part = &self->parts[self->part];
    uint64_t bytes = header_bytes + GGUF_BUILDER_ALIGNMENT;

    for (size_t i = 0; i < part->tensor_count; i++)
        bytes += gguf_builder_tensor_bytes(self->builder, part->tensor_first + i) +
                 GGUF_BUILDER_ALIGNMENT;
    if (bytes > INT64_MAX)
        return base_error_set(err, BASE_TOO_BIG, "%s: too long", gguf_path_tail(part->path));
    /* Only a full disk matters here; that a file system cannot reserve does not. */
    if (fallocate(self->fd, FALLOC_FL_KEEP_SIZE, 0, (off64_t)bytes) != 0 &&
        (errno == ENOSPC || errno == EFBIG))
        return io_error(err, part->path, "reserve space");
    return BASE_OK;
}

static int start_part(struct gguf_writer *self, struct base_error *err)
{
    const struct part *part = &self->parts[self->part];
    struct gguf_builder_part of = {.part_number = (uint32_t)self->part,
        .part_count = (uint32_t)self->part_count,
        .tensor_first = part->tensor_first,
        .tensor_count = part->tensor_count};
    uint8_t *header = NULL;
    size_t bytes = 0;
    int rc = gguf_builder_header(self->builder, &of, &header, &bytes, err);

    if (rc != BASE_OK)
        return rc;
    self->position = 0;
    self->flushed = 0;
    rc = create(self, err);
    if (rc == BASE_OK)
        rc = reserve(self, bytes, err);
    if (rc == BASE_OK)
        rc = write_all(self, header, bytes, err);
    base_free(header);
    /* A file without tensors ends with its metadata. */
    return rc == BASE_OK && part->tensor_count > 0 ? pad(self, err) : rc;
}

static int end_part(struct gguf_writer *self, struct base_error *err)
{
    const char *path = self->parts[self->part].path;
    int fd = self->fd;

    /* Gives back what was reserved and not used. */
    int rc = ftruncate(fd, (off_t)self->position) == 0 ? BASE_OK : io_error(err, path, "truncate");
    if (rc == BASE_OK && fsync(fd) != 0)
        rc = io_error(err, path, "fsync");
    self->fd = -1;
    if (close(fd) != 0 && rc == BASE_OK)
        rc = io_error(err, path, "close");
    return rc;
}

int gguf_writer_new(const char *path, const struct gguf_builder *builder, uint64_t part_bytes_max,
    struct gguf_writer **ret_writer, struct base_error *err)
{
    size_t count = cut(builder, part_bytes_max, NULL);
    struct gguf_writer *self;
    int rc = gguf_builder_check(builder, err);

    if (rc != BASE_OK)
        return rc;
    if (count > GGUF_PARTS_MAX)
        return base_error_set(err, BASE_TOO_BIG, "%s: %zu parts, at most %d", gguf_path_tail(path),
            count, GGUF_PARTS_MAX);
    self = base_alloc_zeroed(1, sizeof(*self));
    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(path));
    self->fd = -1;
    self->builder = builder;
    self->part_count = count;
    self->parts = base_alloc_zeroed(count, sizeof(*self->parts));
    bool ok = self->parts != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        self->parts[i].path = part_path(path, i, count);
        ok = self->parts[i].path != NULL;
    }
    if (ok) {
        (void)cut(builder, part_bytes_max, self->parts);
        rc = start_part(self, err);
    } else {
        rc = base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(path));
    }
    if (rc == BASE_OK)
        *ret_writer = self;
    else
        gguf_writer_destroy(&self);
    return rc;
}

/* Behind the last byte of a tensor: padding, and the next part where this one is full. */
static int end_tensor(struct gguf_writer *self, struct base_error *err)
{
    const struct part *part = &self->parts[self->part];
    int rc = pad(self, err);

    self->tensor++;
    self->written = 0;
    if (rc != BASE_OK || self->tensor < part->tensor_first + part->tensor_count ||
        self->part + 1 == self->part_count)
        return rc;
    rc = end_part(self, err);
    if (rc != BASE_OK)
        return rc;
    self->part++;
    return start_part(self, err);
}

int gguf_writer_append(
    struct gguf_writer *self, const void *data, size_t bytes, struct base_error *err)
{
    const uint8_t *next = data;

    while (bytes > 0) {
        uint64_t left = gguf_builder_tensor_bytes(self->builder, self->tensor) - self->written;
        size_t take = left < bytes ? (size_t)left : bytes;
        if (take == 0)
            return base_error_set(err, BASE_INVALID, "%s: more data than tensors",
                gguf_path_tail(gguf_writer_path(self)));
        int rc = write_all(self, next, take, err);
        next += take;
        bytes -= take;
        self->written += take;
        if (rc == BASE_OK && take == left)
            rc = end_tensor(self, err);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

/* Makes the new names last: they are in the folder's own data. */
static int sync_folder(const char *path, struct base_error *err)
{
    char *copy = base_strdup(path);
    int rc = BASE_OK;

    if (copy == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(path));
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems know no such thing. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        rc = io_error(err, path, "fsync of the folder");
    if (fd >= 0)
        (void)close(fd);
    base_free(copy);
    return rc;
}

int gguf_writer_finish(struct gguf_writer *self, struct base_error *err)
{
    size_t tensors = gguf_builder_tensor_count(self->builder);
    int rc;

    if (self->tensor < tensors)
        return base_error_set(err, BASE_INVALID, "%s: data of %zu tensors is missing",
            gguf_path_tail(gguf_writer_path(self)), tensors - self->tensor);
    rc = end_part(self, err);
    /* The first part comes last: it is the one that is opened. */
    for (size_t i = self->part_count; i-- > 0 && rc == BASE_OK;) {
        struct part *part = &self->parts[i];
        if (rename(part->temporary, part->path) != 0)
            return io_error(err, part->path, "rename");
        base_free(part->temporary);
        part->temporary = NULL;
    }
    return rc == BASE_OK ? sync_folder(gguf_writer_path(self), err) : rc;
}

const char *gguf_writer_path(const struct gguf_writer *self)
{
    return self->parts[0].path;
}
