/*
 * GGUF v2 and v3, read as hostile input: the file is memory-mapped, every count, length and
 * offset is checked before use, and a failure names the file, the byte offset and the field.
 * Format: ggml's docs/gguf.md. Split files are opened through their first part.
 *
 * An open file is immutable: any thread may read it.
 */
#ifndef GGUF_H
#define GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;
struct gguf;

#define GGUF_DIMENSIONS_MAX 4
#define GGUF_PARTS_MAX      1024 /* files of one split model */

/* Tensor type ids as in the file. Others may appear; gguf_open() accepts those whose block
 * layout gguf_type_block() knows and refuses the rest by name and id. */
enum gguf_type {
    GGUF_F32 = 0,
    GGUF_F16 = 1,
    GGUF_Q4_0 = 2,
    GGUF_Q4_1 = 3,
    GGUF_Q5_0 = 6,
    GGUF_Q5_1 = 7,
    GGUF_Q8_0 = 8,
    GGUF_Q2_K = 10,
    GGUF_Q3_K = 11,
    GGUF_Q4_K = 12,
    GGUF_Q5_K = 13,
    GGUF_Q6_K = 14,
    GGUF_IQ4_NL = 20,
    GGUF_IQ4_XS = 23,
    GGUF_BF16 = 30,
    GGUF_MXFP4 = 39,
};

/* One row of the tensor table. */
struct gguf_tensor {
    const char *name; /* NUL-terminated, borrowed from the file object */
    uint32_t type;
    uint32_t dimension_count;
    uint64_t dimensions[GGUF_DIMENSIONS_MAX]; /* [0] is the row length, the fastest; unused: 1 */
    const uint8_t *data; /* inside the mapping, any alignment; read through gguf_read_rows() */
    uint64_t bytes;
    uint64_t file_offset;  /* of data, in its part */
    uint64_t table_offset; /* of this row, in its part, for messages */
};

/* Value types of metadata, as in the file. */
enum gguf_value_type {
    GGUF_VALUE_U8 = 0,
    GGUF_VALUE_I8 = 1,
    GGUF_VALUE_U16 = 2,
    GGUF_VALUE_I16 = 3,
    GGUF_VALUE_U32 = 4,
    GGUF_VALUE_I32 = 5,
    GGUF_VALUE_F32 = 6,
    GGUF_VALUE_BOOL = 7,
    GGUF_VALUE_STRING = 8,
    GGUF_VALUE_ARRAY = 9,
    GGUF_VALUE_U64 = 10,
    GGUF_VALUE_I64 = 11,
    GGUF_VALUE_F64 = 12,
    GGUF_VALUE_TYPES = 13,
};

struct gguf_string {
    const char *data; /* not NUL-terminated, borrowed from the mapping */
    size_t bytes;
};

/* Elements and bytes of one block of a type, and its name. Return false for unknown types. */
bool gguf_type_block(uint32_t type, uint32_t *ret_elements, uint32_t *ret_bytes);
const char *gguf_type_name(
    uint32_t type); /* "Q8_0"; "type 17" style text is never returned: NULL */

/*
 * Maps and checks path. Touches only the header pages, not tensor data. Returns BASE_OK and a
 * file closed with gguf_close(), or BASE_IO, BASE_MALFORMED, BASE_UNSUPPORTED, BASE_TOO_BIG or
 * BASE_NOMEM with *err filled.
 */
int gguf_open(const char *path, struct gguf **ret_file, struct base_error *err);

/* As gguf_open(), from memory that stays valid until close (tests, fuzzers). */
int gguf_open_memory(const uint8_t *data, size_t bytes, const char *name, struct gguf **ret_file,
    struct base_error *err);

/* Unmaps, frees and nulls. Accepts a pointer to NULL. */
void gguf_close(struct gguf **self_p);

const char *gguf_path(const struct gguf *self);

/* For messages: the end of the path (never so long that it crowds out the rest), and the byte
 * offset of a key, or of the metadata when there is no such key. */
const char *gguf_path_tail(const char *path);
uint64_t gguf_key_offset(const struct gguf *self, const char *key);

/* XXH3-64 over metadata and tensor table of all parts: two files that agree hold the same model
 * layout. Tensor data is not read. */
uint64_t gguf_fingerprint(const struct gguf *self);

size_t gguf_tensor_count(const struct gguf *self);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *self, size_t index);

/* NULL when there is none. */
const struct gguf_tensor *gguf_tensor_find(const struct gguf *self, const char *name);

/* Rows of a tensor, over dimensions 1 to 3, and bytes of one row. */
uint64_t gguf_row_count(const struct gguf_tensor *tensor);
size_t gguf_row_bytes(const struct gguf_tensor *tensor);

/*
 * The bytes of rows [row_first, row_first + row_count), as the type stores them, one after the
 * other: the one way to read tensor data. *ret_rows points into the mapping where the rows lie in
 * a file, else into buffer (the caller's, row_count * gguf_row_bytes() bytes, any alignment), and
 * is good until buffer or the file goes. Any thread. Returns BASE_OK, BASE_INVALID (no such rows),
 * BASE_IO or BASE_NOMEM, with *err filled.
 */
int gguf_read_rows(const struct gguf *self, const struct gguf_tensor *tensor, uint64_t row_first,
    uint64_t row_count, uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err);

/* Advises the kernel: these bytes of the mapping are needed soon (true) or no longer (false). */
void gguf_advise(const struct gguf *self, const struct gguf_tensor *tensor, bool needed);

/*
 * Metadata by key. Each returns BASE_OK, BASE_NOT_FOUND (no message: absence is often fine), or
 * BASE_MALFORMED with *err naming file, key, offset and the type found. Any integer type is
 * accepted where an integer is asked for, if the value fits.
 */
int gguf_get_u32(
    const struct gguf *self, const char *key, uint32_t *ret_value, struct base_error *err);
int gguf_get_f32(
    const struct gguf *self, const char *key, float *ret_value, struct base_error *err);
int gguf_get_bool(
    const struct gguf *self, const char *key, bool *ret_value, struct base_error *err);
int gguf_get_string(const struct gguf *self, const char *key, struct gguf_string *ret_value,
    struct base_error *err);

/* The pairs in the order of the file. key is borrowed; element_type is 0 unless type is array. */
struct gguf_pair {
    struct gguf_string key;
    uint32_t type;         /* enum gguf_value_type */
    uint32_t element_type; /* of an array */
    uint64_t count;        /* elements of an array, else 1 */
};
size_t gguf_pair_count(const struct gguf *self);
bool gguf_pair_at(const struct gguf *self, size_t index, struct gguf_pair *ret_pair);
const char *gguf_value_name(uint32_t type); /* "u32"; NULL when unknown */

/* Arrays: an iterator that decodes elements in place. */
struct gguf_array {
    uint32_t element_type; /* enum gguf_value_type */
    uint64_t count;
    const uint8_t *next; /* private */
    const uint8_t *end;  /* private */
};
int gguf_get_array(
    const struct gguf *self, const char *key, struct gguf_array *ret_array, struct base_error *err);
/* Each consumes one element; false at the end or when the element has another type. */
bool gguf_array_next_string(struct gguf_array *array, struct gguf_string *ret_value);
bool gguf_array_next_i64(struct gguf_array *array, int64_t *ret_value); /* any integer or bool */
bool gguf_array_next_f32(struct gguf_array *array, float *ret_value);

#endif
