/* Rows of GGUF tensors from what the files hold. Sources have any alignment. */
#include "hf_internal.h"

#include "base_bytes.h"
#include "base_err.h"
#include "tensor_type.h"
#include <string.h>

#define MXFP4_BLOCK_BYTES 17u

static size_t element_bytes(enum hf_type type)
{
    return type == HF_F32 ? 4 : type == HF_U8 ? 1 : 2;
}

static float load_element(enum hf_type type, const uint8_t *p)
{
    if (type == HF_F32)
        return base_load_f32(p);
    return type == HF_F16 ? tensor_f16_to_f32(base_load_u16(p))
                          : tensor_bf16_to_f32(base_load_u16(p));
}

/* The row of a source that row of the output is: GGUF's pairs (2i, 2i + 1) of a head were (i,
 * i + half). */
static uint64_t permuted(const struct hf_output *output, uint64_t row)
{
    if (output->heads == 0)
        return row;
    uint64_t head_rows = output->dimensions[output->dimension_count - 1] / output->heads;
    uint64_t head = row / head_rows;
    uint64_t within = row % head_rows;
    return head * head_rows + within % 2 * (head_rows / 2) + within / 2;
}

static void rows_as_f32(
    const struct hf_output *output, const struct hf_tensor *source, uint64_t row, uint8_t *to)
{
    size_t columns = (size_t)output->dimensions[0];
    size_t bytes = element_bytes(source->type);

    for (size_t i = 0; i < columns; i++) {
        /* A vector is one row, and a permutation is then one of its elements. */
        size_t at = output->dimension_count == 1 ? (size_t)permuted(output, i)
                                                 : (size_t)permuted(output, row) * columns + i;
        base_store_f32(to + i * sizeof(float),
            load_element(source->type, source->data + at * bytes) + output->addend);
    }
}

/* One row of a matrix whose columns are the source's slow dimension. */
static void transposed(const struct hf_output *output, const struct hf_tensor *source,
    uint64_t expert, uint64_t row, uint8_t *to)
{
    size_t columns = (size_t)output->dimensions[0];
    size_t width = (size_t)source->shape[2];
    size_t bytes = element_bytes(source->type);
    const uint8_t *from =
        source->data + (expert * columns * width + output->first + row * output->step) * bytes;

    for (size_t i = 0; i < columns; i++)
        memcpy(to + i * bytes, from + i * width * bytes, bytes);
}

static void elements(
    const struct hf_output *output, const struct hf_tensor *source, uint64_t row, uint8_t *to)
{
    size_t columns = (size_t)output->dimensions[0];
    size_t width = (size_t)source->shape[source->dimension_count - 1];
    size_t bytes = element_bytes(source->type);

    for (size_t i = 0; i < columns; i++) {
        size_t at = (size_t)row * width + output->first + i * output->step;
        base_store_f32(
            to + i * sizeof(float), load_element(source->type, source->data + at * bytes));
    }
}

/* Two neighbours in a byte become two that are 16 apart. */
static void mxfp4_row(const struct hf_output *output, uint64_t expert, uint64_t row, uint8_t *to)
{
    const struct hf_tensor *source = output->sources[0];
    size_t blocks = (size_t)output->dimensions[0] / 32;
    size_t at =
        ((size_t)expert * (size_t)source->shape[1] + output->first + (size_t)row * output->step) *
        blocks;

    for (size_t i = 0; i < blocks; i++) {
        const uint8_t *from = source->data + (at + i) * 16;
        uint8_t *block = to + i * MXFP4_BLOCK_BYTES;
        block[0] = output->scales->data[at + i];
        for (size_t j = 0; j < 16; j++) {
            uint8_t low = (uint8_t)(from[j / 2] >> (j % 2 * 4) & 15);
            uint8_t high = (uint8_t)(from[j / 2 + 8] >> (j % 2 * 4) & 15);
            block[1 + j] = (uint8_t)(low | high << 4);
        }
    }
}

static void make_row(const struct hf_output *output, uint64_t row, size_t row_bytes, uint8_t *to)
{
    uint64_t group = output->dimension_count > 2 ? output->dimensions[1] : UINT64_MAX;
    uint64_t expert = row / group;
    uint64_t within = row % group;
    const struct hf_tensor *source =
        output->source_count == 0 ? NULL : output->sources[output->source_count > 1 ? expert : 0];

    switch (output->operation) {
    case HF_ROWS:
        if (output->source_count == 1)
            within = row;
        memcpy(to, source->data + permuted(output, within) * row_bytes, row_bytes);
        break;
    case HF_ROWS_F32:
        rows_as_f32(output, source, row, to);
        break;
    case HF_TRANSPOSE:
        transposed(output, source, expert, within, to);
        break;
    case HF_SLICE:
        within += expert * source->shape[1] + output->first;
        memcpy(to, source->data + (size_t)within * row_bytes, row_bytes);
        break;
    case HF_ELEMENTS:
        elements(output, source, row, to);
        break;
    case HF_MXFP4:
        mxfp4_row(output, expert, within, to);
        break;
    case HF_COMPUTED:
        memcpy(to, output->computed, row_bytes);
        break;
    }
}

int hf_read_rows(const struct hf_output *output, uint64_t row_first, uint64_t row_count,
    uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err)
{
    uint32_t block_elements = 1;
    uint32_t block_bytes = 0;

    if (!gguf_type_block(output->type, &block_elements, &block_bytes))
        return base_error_set(err, BASE_INTERNAL, "%s: no such type", output->name);
    size_t row_bytes = (size_t)output->dimensions[0] / block_elements * block_bytes;
    /* What stands in the file as it is wanted needs no copy. */
    if (output->operation == HF_ROWS && output->heads == 0 && output->source_count == 1) {
        *ret_rows = output->sources[0]->data + (size_t)row_first * row_bytes;
        return BASE_OK;
    }
    for (uint64_t i = 0; i < row_count; i++)
        make_row(output, row_first + i, row_bytes, buffer + (size_t)i * row_bytes);
    *ret_rows = buffer;
    return BASE_OK;
}
