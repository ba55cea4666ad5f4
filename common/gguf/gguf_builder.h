/*
 * A GGUF header in the making: metadata pairs and tensor table. The bytes it gives are a file's,
 * so that what is written and what is shown as a view (gguf_view.h) is one description.
 *
 * The functions that add return nothing: the first failure (memory, a name or key given twice, a
 * name that is too long, sizes that overflow) is kept and returned by gguf_builder_check() and by
 * all that uses the builder. Used by one thread. Format: ggml's docs/gguf.md, version 3.
 */
#ifndef GGUF_BUILDER_H
#define GGUF_BUILDER_H

#include "gguf.h"

#define GGUF_BUILDER_ALIGNMENT 32u /* of tensor data */

struct gguf_builder;

/* Returns BASE_OK and a builder freed with gguf_builder_destroy(), or BASE_NOMEM. */
int gguf_builder_new(struct gguf_builder **ret_builder);
/* Frees and nulls. Accepts a pointer to NULL. */
void gguf_builder_destroy(struct gguf_builder **self_p);

/* BASE_OK, or the first failure since the start with *err filled. */
int gguf_builder_check(const struct gguf_builder *self, struct base_error *err);

/* One pair each. Texts are copied. */
void gguf_builder_u32(struct gguf_builder *self, const char *key, uint32_t value);
void gguf_builder_f32(struct gguf_builder *self, const char *key, float value);
void gguf_builder_bool(struct gguf_builder *self, const char *key, bool value);
void gguf_builder_string(struct gguf_builder *self, const char *key, const char *text);
void gguf_builder_text(
    struct gguf_builder *self, const char *key, const char *text, size_t bytes); /* any bytes */

/* An array of count elements of fixed size (data: little-endian, one after the other), or of
 * strings: that many gguf_builder_element() calls follow and nothing else in between. */
void gguf_builder_array(struct gguf_builder *self, const char *key,
    enum gguf_value_type element_type, size_t count, const void *data);
void gguf_builder_strings(struct gguf_builder *self, const char *key, size_t count);
void gguf_builder_element(struct gguf_builder *self, const char *text, size_t bytes);

/* The pair at index of another file, as it stands there. */
void gguf_builder_copy(struct gguf_builder *self, const struct gguf *from, size_t index);

bool gguf_builder_has(const struct gguf_builder *self, const char *key);

/* One row of the tensor table; data follows in the order of these calls.
 *   dimensions  [dimension_count], [0] the row length */
void gguf_builder_tensor(struct gguf_builder *self, const char *name, uint32_t type,
    uint32_t dimension_count, const uint64_t *dimensions);
size_t gguf_builder_tensor_count(const struct gguf_builder *self);
uint64_t gguf_builder_tensor_bytes(const struct gguf_builder *self, size_t index);

/*
 * The header of a file: of all that was added, or of one part of a split model (part_count > 1),
 * where part_number counts from 0, the tensors are [tensor_first, tensor_first + tensor_count) and
 * only part 0 has the metadata. Without padding behind it. Returns BASE_OK and memory freed with
 * base_free(), or a failure.
 */
struct gguf_builder_part {
    uint32_t part_number;
    uint32_t part_count; /* 0 or 1: not split */
    size_t tensor_first;
    size_t tensor_count;
};
int gguf_builder_header(const struct gguf_builder *self, const struct gguf_builder_part *part,
    uint8_t **ret_data, size_t *ret_bytes, struct base_error *err);

#endif
