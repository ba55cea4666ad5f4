/*
 * Packed weights of one unit on disk, so that a second start need not pack again. One file per unit
 * in a folder that workers may share:
 *   header  4096 bytes: struct of numbers below with its own checksum
 *   data    at 2 MiB: the packed matrices as they are in memory, one behind the other at multiples
 *           of 64 bytes
 * The file is used only when everything fits: model fingerprint, size and time of the model file,
 * samples of its weights, layout of each matrix, length, and the XXH3 of all data. It is written
 * under another name and renamed when whole. Loader's threads only.
 */
#ifndef STAGE_PACK_H
#define STAGE_PACK_H

#include <stddef.h>
#include <stdint.h>

struct base_error;
struct model;
struct tensor_pool;

#define STAGE_PACK_ALIGNMENT ((size_t)64)

/* Bytes of a unit's packed matrices one behind the other; index as in model_get_layer(). 0 when it
 * has none, or sizes do not fit. */
size_t stage_pack_bytes(const struct model *model, uint32_t index);

/* Reads a unit, on a pool (NULL: the caller alone), into memory [stage_pack_bytes()]. Returns BASE_OK; BASE_NOT_FOUND when there is no
 * file; BASE_MALFORMED (not what it should be: what) or BASE_IO with *err filled. The content of
 * memory is then undefined. */
int stage_pack_read(const char *folder, const struct model *model, uint32_t index,
    struct tensor_pool *pool, uint8_t *memory, struct base_error *err);

/* The same as a mapping of the file, to be ended with munmap(). */
int stage_pack_map(const char *folder, const struct model *model, uint32_t index,
    const uint8_t **ret_memory, struct base_error *err);

/* Writes a unit. Makes the folder. Returns BASE_OK, BASE_UNSUPPORTED when the model is no single
 * file, or BASE_IO with *err filled; then there is no file. */
int stage_pack_write(const char *folder, const struct model *model, uint32_t index,
    const uint8_t *memory, struct base_error *err);

#endif
