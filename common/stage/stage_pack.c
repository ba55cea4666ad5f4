#include "stage_pack.h"

#include "base_alloc.h"
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "tensor_matrix.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC        "LMPACK03"
#define DATA_OFFSET  ((size_t)2 << 20)
#define PATH_BYTES   4096
#define SAMPLES      16u /* of each matrix */
#define SAMPLE_BYTES ((size_t)4096)
#define PIECE_BYTES  ((size_t)1 << 20)

/* What must be the same for a file to be used. Little-endian numbers without holes. */
struct pack_header {
    char magic[8];
    uint64_t fingerprint;                                   /* gguf_fingerprint() */
    uint64_t model_bytes, model_seconds, model_nanoseconds; /* of the model file */
    uint64_t unit;
    uint64_t matrices; /* XXH3 of type, layout id, shape and place of each matrix */
    uint64_t samples;  /* XXH3 of pieces of the weights in the model file */
    uint64_t data_bytes;
    uint64_t data;   /* XXH3 of the packed bytes, see hash_data() */
    uint64_t header; /* XXH3 of what stands before */
};

static size_t matrix_count(const struct model_layer *layer)
{
    return model_expert(MODEL_MATRICES, layer->expert_count);
}

static size_t part_bytes(const struct model_part *part)
{
    return tensor_matrix_bytes(
        part->tensor->type, (size_t)part->count, (size_t)part->tensor->dimensions[0]);
}

size_t stage_pack_bytes(const struct model *model, uint32_t index)
{
    const struct model_layer *layer = model_get_layer(model, index);
    size_t bytes = 0;

    for (size_t i = 0; i < matrix_count(layer); i++) {
        if (layer->matrices[i].tensor == NULL)
            continue;
        size_t part = part_bytes(&layer->matrices[i]);
        if (part == 0 || !base_add_size(bytes, part, &bytes) ||
            !base_add_size(bytes, STAGE_PACK_ALIGNMENT - 1, &bytes))
            return 0;
        bytes = bytes / STAGE_PACK_ALIGNMENT * STAGE_PACK_ALIGNMENT;
    }
    return bytes;
}

static uint64_t hash_matrices(const struct model_layer *layer)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < matrix_count(layer); i++) {
        const struct model_part *part = &layer->matrices[i];
        if (part->tensor == NULL)
            continue;
        const uint64_t numbers[] = {i, part->tensor->type, tensor_layout_id(part->tensor->type),
            part->tensor->dimensions[0], part->first, part->count, part->tensor->file_offset};
        hash = XXH3_64bits_withSeed(numbers, sizeof(numbers), hash);
    }
    return hash;
}

/* Files of the same shape and time may hold other weights: a copy that keeps times, a fine-tune. */
static bool hash_samples(const struct model_layer *layer, uint64_t *ret_hash)
{
    uint64_t hash = 0;

    for (size_t i = 0; i < matrix_count(layer); i++) {
        const struct model_part *part = &layer->matrices[i];
        if (part->tensor == NULL)
            continue;
        if (part->tensor->data == NULL)
            return false; /* rows are made on demand: no single file */
        size_t row = tensor_row_bytes(part->tensor->type, (size_t)part->tensor->dimensions[0]);
        const uint8_t *data = part->tensor->data + part->first * row;
        size_t bytes = (size_t)part->count * row;
        size_t piece = bytes < SAMPLE_BYTES ? bytes : SAMPLE_BYTES;
        for (size_t s = 0; s < SAMPLES; s++)
            hash = XXH3_64bits_withSeed(data + (bytes - piece) / (SAMPLES - 1) * s, piece, hash);
    }
    *ret_hash = hash;
    return true;
}

/* All of the header but the data's checksum and its own. */
static int describe(const struct model *model, uint32_t index, struct pack_header *ret_header)
{
    const struct model_layer *layer = model_get_layer(model, index);
    struct pack_header h = {.magic = MAGIC,
        .fingerprint = gguf_fingerprint(model_file(model)),
        .unit = index,
        .matrices = hash_matrices(layer),
        .data_bytes = stage_pack_bytes(model, index)};
    struct stat file;

    if (h.data_bytes == 0 || stat(gguf_path(model_file(model)), &file) != 0 ||
        !S_ISREG(file.st_mode) || !hash_samples(layer, &h.samples))
        return BASE_UNSUPPORTED;
    h.model_bytes = (uint64_t)file.st_size;
    h.model_seconds = (uint64_t)file.st_mtim.tv_sec;
    h.model_nanoseconds = (uint64_t)file.st_mtim.tv_nsec;
    *ret_header = h;
    return BASE_OK;
}

static void name_file(char path[PATH_BYTES], const char *folder, const struct pack_header *header)
{
    (void)snprintf(path, PATH_BYTES, "%.4000s/%016" PRIx64 "-%04u.p16", folder, header->fingerprint,
        (unsigned)header->unit);
}

/* Opens the file of a unit and compares its header. */
static int open_unit(const char *folder, const struct model *model, uint32_t index,
    struct pack_header *ret_header, int *ret_fd, struct base_error *err)
{
    struct pack_header wanted, found;
    struct stat file;
    char path[PATH_BYTES];

    if (describe(model, index, &wanted) != BASE_OK)
        return BASE_NOT_FOUND;
    name_file(path, folder, &wanted);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? BASE_NOT_FOUND
                   : base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
    const char *what = NULL;
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) ||
        pread(fd, &found, sizeof(found), 0) != (ssize_t)sizeof(found))
        what = "no whole header";
    else if (memcmp(found.magic, MAGIC, sizeof(found.magic)) != 0 ||
             found.header != XXH3_64bits(&found, offsetof(struct pack_header, header)))
        what = "the header is damaged, or of another version";
    else if (memcmp(&found, &wanted, offsetof(struct pack_header, data)) != 0)
        what = "made from another model file, or by another version";
    else if ((uint64_t)file.st_size != DATA_OFFSET + found.data_bytes)
        what = "it has not its whole length";
    if (what == NULL) {
        *ret_header = found;
        *ret_fd = fd;
        return BASE_OK;
    }
    (void)close(fd);
    return base_error_set(err, BASE_MALFORMED, "%s: %s", path, what);
}

static int check_data(
    const struct pack_header *header, uint64_t hash, const char *folder, struct base_error *err)
{
    if (hash == header->data)
        return BASE_OK;
    return base_error_set(err, BASE_MALFORMED, "%s: unit %" PRIu64 ": its checksum does not fit",
        folder, header->unit);
}

static bool read_at(int fd, uint8_t *data, size_t bytes, size_t offset)
{
    while (bytes > 0) {
        ssize_t got = pread(fd, data, bytes, (off_t)offset);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        if (got < 0)
            continue;
        data += got;
        bytes -= (size_t)got;
        offset += (size_t)got;
    }
    return true;
}

/* The data's checksum is the sum of those of its pieces, each begun with its number: threads take
 * pieces as they come. */
struct piece_job {
    uint8_t *memory;
    size_t bytes;
    int fd; /* to read them from, or -1 */
    atomic_size_t next;
    _Atomic uint64_t sum;
    atomic_bool failed;
};

static void piece_share(void *context, uint32_t thread_index, uint32_t thread_count)
{
    struct piece_job *job = context;
    size_t piece, offset;

    (void)thread_index;
    (void)thread_count;
    while ((offset = (piece = atomic_fetch_add(&job->next, 1)) * PIECE_BYTES) < job->bytes) {
        size_t bytes = job->bytes - offset < PIECE_BYTES ? job->bytes - offset : PIECE_BYTES;
        if (job->fd >= 0 && !read_at(job->fd, job->memory + offset, bytes, DATA_OFFSET + offset)) {
            atomic_store(&job->failed, true);
            return;
        }
        atomic_fetch_add(&job->sum, XXH3_64bits_withSeed(job->memory + offset, bytes, piece + 1));
    }
}

/* Reads (fd >= 0) and hashes all data. */
static bool hash_data(
    const uint8_t *data, size_t bytes, int fd, struct tensor_pool *pool, uint64_t *ret_hash)
{
    struct piece_job job = {.memory = (uint8_t *)data, .bytes = bytes, .fd = fd};

    if (pool == NULL)
        piece_share(&job, 0, 1);
    else
        tensor_pool_run(pool, piece_share, &job);
    *ret_hash = atomic_load(&job.sum);
    return !atomic_load(&job.failed);
}

int stage_pack_read(const char *folder, const struct model *model, uint32_t index,
    struct tensor_pool *pool, uint8_t *memory, struct base_error *err)
{
    struct pack_header header;
    uint64_t hash = 0;
    int fd = -1;
    int rc = open_unit(folder, model, index, &header, &fd, err);

    if (rc != BASE_OK)
        return rc;
    if (hash_data(memory, (size_t)header.data_bytes, fd, pool, &hash))
        rc = check_data(&header, hash, folder, err);
    else
        rc = base_error_set(err, BASE_IO, "%s: unit %u cannot be read", folder, index);
    (void)close(fd);
    return rc;
}

int stage_pack_map(const char *folder, const struct model *model, uint32_t index,
    const uint8_t **ret_memory, struct base_error *err)
{
    struct pack_header header;
    int fd = -1;
    int rc = open_unit(folder, model, index, &header, &fd, err);

    if (rc != BASE_OK)
        return rc;
    size_t bytes = (size_t)header.data_bytes;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, (off_t)DATA_OFFSET);
    if (memory == MAP_FAILED)
        rc = base_error_set(
            err, BASE_IO, "%s: mapping %zu bytes: %s", folder, bytes, strerror(errno));
    (void)close(fd);
    if (rc != BASE_OK)
        return rc;
    (void)madvise(memory, bytes, MADV_SEQUENTIAL);
    uint64_t hash = 0;
    (void)hash_data(memory, bytes, -1, NULL, &hash);
    rc = check_data(&header, hash, folder, err);
    (void)madvise(memory, bytes, MADV_NORMAL);
    if (rc == BASE_OK)
        *ret_memory = memory;
    else
        (void)munmap(memory, bytes);
    return rc;
}

static bool write_at(int fd, const void *data, size_t bytes, size_t offset)
{
    while (bytes > 0) {
        ssize_t put = pwrite(fd, data, bytes < PIECE_BYTES ? bytes : PIECE_BYTES, (off_t)offset);
        if (put < 0 && errno != EINTR)
            return false;
        if (put <= 0)
            continue;
        data = (const uint8_t *)data + put;
        bytes -= (size_t)put;
        offset += (size_t)put;
    }
    return true;
}

int stage_pack_write(const char *folder, const struct model *model, uint32_t index,
    const uint8_t *memory, struct base_error *err)
{
    struct pack_header header;
    char path[PATH_BYTES], temporary[PATH_BYTES + 32];

    if (describe(model, index, &header) != BASE_OK)
        return BASE_UNSUPPORTED;
    (void)hash_data(memory, (size_t)header.data_bytes, -1, NULL, &header.data);
    header.header = XXH3_64bits(&header, offsetof(struct pack_header, header));
    name_file(path, folder, &header);
    (void)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return base_error_set(err, BASE_IO, "%s: %s", folder, strerror(errno));
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return base_error_set(err, BASE_IO, "%s: %s", temporary, strerror(errno));
    /* What a crash of the machine leaves half-written does not fit its checksum: no fsync(). */
    bool ok = write_at(fd, memory, (size_t)header.data_bytes, DATA_OFFSET) &&
              write_at(fd, &header, sizeof(header), 0) && fchmod(fd, 0644) == 0;
    int error = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        error = errno;
    }
    if (ok && rename(temporary, path) != 0) {
        ok = false;
        error = errno;
    }
    if (ok)
        return BASE_OK;
    (void)unlink(temporary);
    return base_error_set(err, BASE_IO, "%s: %s", temporary, strerror(error));
}
