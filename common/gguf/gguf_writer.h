/*
 * Writes a GGUF file, or the parts of a split one, of any size in bounded memory: header first,
 * then tensor data as it comes. The files appear under their names when all is written and on
 * disk; before that, and after a failure, there is nothing (a killed process leaves files named
 * PATH.tmp-PID-N). Used by one thread.
 */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf_builder;
struct gguf_writer;

/*
 * Starts to write what builder describes (borrowed until the writer is gone). part_bytes_max: 0
 * for one file at path; otherwise a part takes tensors until their data would be longer than this
 * (at least one each), and the files are named PREFIX-00001-of-0000N.gguf, where path is
 * PREFIX.gguf. Space is reserved where the file system can. An existing file stays until it is
 * replaced. Returns BASE_OK and a writer freed with gguf_writer_destroy(), BASE_INVALID, BASE_IO,
 * BASE_TOO_BIG (more than GGUF_PARTS_MAX parts) or BASE_NOMEM.
 */
int gguf_writer_new(const char *path, const struct gguf_builder *builder, uint64_t part_bytes_max,
    struct gguf_writer **ret_writer, struct base_error *err);

/* Removes what was not finished, frees and nulls. Accepts a pointer to NULL. */
void gguf_writer_destroy(struct gguf_writer **self_p);

/* The next bytes of tensor data, in the order of the table, cut anywhere; padding is added.
 * Returns BASE_OK, BASE_INVALID (more than the table says), BASE_IO or BASE_NOMEM. */
int gguf_writer_append(
    struct gguf_writer *self, const void *data, size_t bytes, struct base_error *err);

/* Checks that all data was given, brings it to disk and gives the files their names. Returns
 * BASE_OK, BASE_INVALID (data is missing) or BASE_IO. */
int gguf_writer_finish(struct gguf_writer *self, struct base_error *err);

/* The path of the (first) file once it is finished. Borrowed from the writer. */
const char *gguf_writer_path(const struct gguf_writer *self);

#endif
