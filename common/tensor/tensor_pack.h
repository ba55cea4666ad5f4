/* Rows between the layout of files and that of the kernels (tensor_kernels.h). Internal. */
#ifndef TENSOR_PACK_H
#define TENSOR_PACK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of sixteen packed rows; 0 when the type or the columns are not possible. */
size_t tensor_pack_group_bytes(uint32_t type, size_t column_count);

/* A row as in a file into one lane of its group, and back as floats: the same bits as
 * tensor_dequantize_row(). */
void tensor_pack_row(
    uint32_t type, size_t column_count, const uint8_t *row, size_t lane, uint8_t *group);
void tensor_unpack_row(
    uint32_t type, size_t column_count, const uint8_t *group, size_t lane, float *y);

#endif
