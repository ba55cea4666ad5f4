/*
 * A safetensors file from an attacker: open it, map its tensors as those of several families, and
 * read all rows that come out. The file cannot describe more data than it has, so what is read is
 * bounded by its size.
 */
#include "hf_internal.h"

#include "base_err.h"
#include <stdlib.h>
#include <string.h>

#define ROW_BYTES_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_all(const struct hf_outputs *outputs)
{
    static uint8_t buffer[ROW_BYTES_MAX];
    struct base_error err = {0};
    size_t used = 0;

    for (size_t i = 0; i < outputs->count; i++) {
        const struct hf_output *output = &outputs->items[i];
        uint32_t elements = 1, block_bytes = 1;
        uint64_t rows = 1;
        const uint8_t *row = NULL;
        if (!gguf_type_block(output->type, &elements, &block_bytes))
            abort();
        for (uint32_t j = 1; j < output->dimension_count; j++)
            rows *= output->dimensions[j];
        if (output->dimensions[0] / elements > ROW_BYTES_MAX / block_bytes)
            continue;
        size_t row_bytes = (size_t)output->dimensions[0] / elements * block_bytes;
        for (uint64_t j = 0; j < rows; j++)
            if (hf_read_rows(output, j, 1, buffer, &row, &err) == BASE_OK && row_bytes > 0)
                used += row[row_bytes - 1];
    }
    if (used == SIZE_MAX) /* so that the reads are not thrown away */
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const char *const types[] = {
        "llama", "mixtral", "gemma2", "gpt_oss", "granitemoe", "bert"};
    static const float factors[8];
    struct hf_weights *weights = NULL;
    struct base_error err = {0};

    if (hf_weights_open_memory(data, bytes, "fuzz", &weights, &err) != BASE_OK)
        return 0;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct hf_config config = {.layer_count = 2,
            .head_count = 2,
            .kv_head_count = 1,
            .rotary_dim = 16,
            .expert_count = 2,
            .classifier = i % 2 == 1,
            .rope_factors = (float *)(uintptr_t)factors};
        struct hf_outputs outputs;
        json_t *json = json_pack("{s:s}", "model_type", types[i]);
        struct hf_object object = {"fuzz", json, &err};
        if (hf_family_find(&object, &config.family, &err) == BASE_OK &&
            hf_map_tensors(weights, &config, &outputs, &err) == BASE_OK)
            read_all(&outputs);
        if (config.family != NULL)
            hf_outputs_release(&outputs);
        json_decref(json);
    }
    hf_weights_close(&weights);
    return 0;
}
