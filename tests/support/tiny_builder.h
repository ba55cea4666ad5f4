/* Shared by the files that make tiny models. */
#ifndef TINY_BUILDER_H
#define TINY_BUILDER_H

#include "tiny_gguf.h"

enum { TINY_F32 = 0, TINY_F16 = 1, TINY_BF16 = 30, TINY_MXFP4 = 39 };

struct tiny_family;

struct tiny_builder {
    struct tiny_gguf_options options; /* without zeros */
    const struct tiny_family *family;
    struct tiny_bytes entries;
    struct tiny_bytes table;
    struct tiny_bytes data;
    uint64_t entry_count;
    uint64_t tensor_count;
    uint64_t random;
};

/* tiny_weights.c: count numbers of a type, within limit, in blocks of random bits. */
void tiny_put_weights(struct tiny_builder *self, uint32_t type, uint64_t count, float limit);
/* Elements of a type's block. */
uint32_t tiny_block(uint32_t type);

/* Tensors. A vector's numbers are base plus a little, in F32. A matrix is of the options' type
 * where its columns are whole blocks, else F16; depth 1, or a number of experts. */
void tiny_add_vector(
    struct tiny_builder *self, const char *name, uint64_t count, uint64_t rows, float base);
void tiny_add_matrix(struct tiny_builder *self, const char *name, uint64_t columns, uint64_t rows,
    uint64_t depth, float limit);

/* tiny_family.c: what differs by family. */
const struct tiny_family *tiny_family_find(const char *name); /* NULL: ends the program */
const char *tiny_family_architecture(const struct tiny_family *family);
bool tiny_family_encodes(const struct tiny_family *family);
uint32_t tiny_family_rotary(const struct tiny_family *family, uint32_t head_dim);
bool tiny_family_longrope(const struct tiny_family *family);
void tiny_add_layer(struct tiny_builder *self, uint32_t layer);
/* Metadata beside the sizes. Returns nothing; counts its entries. */
void tiny_add_family_entries(struct tiny_builder *self);

#endif
