/*
 * Safetensors files, read as hostile input: u64 header length, JSON header, data. Every tensor's
 * type, shape and offsets are checked against each other and the file before use. Data is mapped
 * and not touched here. Format: safetensors' README; index: model.safetensors.index.json.
 */
#ifndef HF_SAFETENSORS_H
#define HF_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

#define HF_DIMENSIONS_MAX 8

enum hf_type { HF_F32, HF_F16, HF_BF16, HF_U8, HF_OTHER };

struct hf_tensor {
    char *name; /* owned by the file set */
    enum hf_type type;
    const char *type_name; /* as in the file, cut if long; owned */
    uint32_t dimension_count;
    uint64_t shape[HF_DIMENSIONS_MAX]; /* slowest first, as in the file; unused: 1 */
    const uint8_t *data;               /* in the mapping, any alignment */
    size_t bytes;
};

/* The weights of a folder: one file, or those that an index names. Immutable once open. */
struct hf_weights;

/* Returns BASE_OK and weights freed with hf_weights_close(), BASE_NOT_FOUND (no such files, with
 * a message), BASE_IO, BASE_MALFORMED, BASE_TOO_BIG or BASE_NOMEM. */
int hf_weights_open(const char *folder, struct hf_weights **ret_weights, struct base_error *err);
void hf_weights_close(struct hf_weights **self_p);

/* One file from memory that stays valid until close (tests, fuzzers). */
int hf_weights_open_memory(const uint8_t *data, size_t bytes, const char *name,
    struct hf_weights **ret_weights, struct base_error *err);

size_t hf_weights_count(const struct hf_weights *self);
const struct hf_tensor *hf_weights_at(const struct hf_weights *self, size_t index); /* by name */
const struct hf_tensor *hf_weights_find(const struct hf_weights *self, const char *name);

/* XXH3-64 over the headers and lengths of all files. */
uint64_t hf_weights_identity(const struct hf_weights *self);

/* Advises the kernel: bytes of a tensor are needed soon (true) or no longer (false). */
void hf_weights_advise(const struct hf_weights *self, const struct hf_tensor *tensor, bool needed);

#endif
