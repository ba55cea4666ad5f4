/* Shared by the files of gguf/ only. */
#ifndef GGUF_INTERNAL_H
#define GGUF_INTERNAL_H

#include "gguf.h"
#include "gguf_view.h"

#define GGUF_NAME_BYTES      64 /* tensor names, with the NUL */
#define GGUF_METADATA_OFFSET 24 /* of the first key */

/* One metadata pair; everything points into the mapping and has been checked. */
struct gguf_entry {
    struct gguf_string key;
    uint32_t type;
    uint32_t element_type; /* of an array */
    uint64_t count;        /* elements of an array, else 1 */
    const uint8_t *value;  /* scalar, string with its length, or first element */
    const uint8_t *end;
    uint64_t file_offset; /* of the key */
};

/* Open addressing over indices into an array of named things. */
struct gguf_table {
    uint32_t *slots; /* index + 1; 0: free */
    size_t slot_count;
};

/* One file of a split model (a plain model has one). */
struct gguf_part {
    char *path;
    const uint8_t *data;
    size_t bytes;
    size_t header_bytes; /* up to the end of the tensor table */
    bool mapped;
    bool owned; /* data came from base_alloc() */
    bool view;  /* data is the header alone; tensors have no place in it */
    struct gguf_entry *entries;
    size_t entry_count;
    struct gguf_table keys;
};

struct gguf {
    struct gguf_part *parts;
    size_t part_count;
    struct gguf_tensor *tensors;
    char (*names)[GGUF_NAME_BYTES]; /* of tensors, same index */
    size_t tensor_count;
    struct gguf_table tensor_names;
    uint64_t fingerprint;
    struct gguf_source source; /* of a view; read_rows NULL: a file */
};

/* Bytes of a scalar value type; 0 for strings, arrays and unknown types. */
size_t gguf_value_bytes(uint32_t type);

/* Room for count names. Returns BASE_OK or BASE_NOMEM. */
int gguf_table_init(struct gguf_table *self, size_t count);

/*
 * Finds the slot of a name. same() says whether index is the one looked for. Returns the slot,
 * holding index + 1 or 0. The table is never full.
 */
typedef bool gguf_same_fn(const void *context, size_t index, struct gguf_string name);
uint32_t *gguf_table_slot(const struct gguf_table *self, struct gguf_string name,
    gguf_same_fn *same, const void *context);

const struct gguf_entry *gguf_part_find(const struct gguf_part *part, const char *key);
bool gguf_tensor_same(const void *context, size_t index, struct gguf_string name);

/* An integer of any type; false when the value type is none. *ret_negative for values below 0. */
bool gguf_entry_integer(const struct gguf_entry *entry, uint64_t *ret_value, bool *ret_negative);

/* A zeroed file object with one part that has path. NULL when memory fails. */
struct gguf *gguf_new(const char *path);

/* XXH3-64 over the headers of all parts, each seeding the next; the first is seeded with seed. */
uint64_t gguf_hash_headers(const struct gguf *self, uint64_t seed);

/*
 * Parses the header of a part whose path, data and bytes are set: fills entries and keys, appends
 * its tensors to self. On failure what was filled stays for gguf_close().
 */
int gguf_parse_part(struct gguf *self, struct gguf_part *part, struct base_error *err);

#endif
