/*
 * A model file from an attacker: open it, understand it, and, when that works, load it and run one
 * token. A file cannot describe tensors longer than itself, so what is allocated is bounded by its
 * size; the cache and the batch are kept small here.
 */
#include "base_err.h"
#include "gguf.h"
#include "model.h"
#include "stage.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_all(const struct gguf *file)
{
    const char *keys[] = {"tokenizer.ggml.tokens", "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type", "tokenizer.ggml.merges"};
    struct base_error err = {0};
    struct gguf_array array;
    struct gguf_string text;
    int64_t integer;
    float real;
    size_t used = 0;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (gguf_get_array(file, keys[i], &array, &err) != BASE_OK)
            continue;
        while (gguf_array_next_string(&array, &text))
            used += text.bytes > 0 && text.data[text.bytes - 1] == 'x';
        while (gguf_array_next_i64(&array, &integer))
            used += integer == 1;
        while (gguf_array_next_f32(&array, &real))
            used += real > 0;
    }
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(file, i);
        const uint8_t *rows = NULL;
        if (gguf_read_rows(file, tensor, 0, gguf_row_count(tensor), NULL, &rows, &err) == BASE_OK)
            used += rows[0] + rows[tensor->bytes - 1];
    }
    if (used == SIZE_MAX) /* so that the reads are not thrown away */
        abort();
}

static void run_one_token(struct model *model)
{
    const struct model_config *config = model_get_config(model);
    struct stage_options options = {
        .layer_count = config->layer_count,
        .embeds = true,
        .has_head = true,
        .page_tokens = 4,
        .page_count = 1,
        .batch_tokens_max = 1,
        .context_length = config->context_length < 4 ? config->context_length : 4,
    };
    const uint32_t page = 0;
    const uint32_t token = config->vocab_size - 1;
    const struct stage_sequence sequence = {
        0, 1, &page, 1, config->has_head ? STAGE_LOGITS_TOP : STAGE_HIDDEN_ALL, 1};
    struct base_error err = {0};
    struct stage_output output;
    struct stage *stage = NULL;

    if (stage_load(model, &options, NULL, NULL, NULL, &stage, &err) == BASE_OK)
        (void)stage_run(stage, NULL, &sequence, 1, &token, sizeof(token), &output, &err);
    stage_destroy(&stage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    struct model *model = NULL;

    if (gguf_open_memory(data, bytes, "fuzz.gguf", &file, &err) != BASE_OK)
        return 0;
    read_all(file);
    if (model_open_gguf(&file, &model, &err) == BASE_OK)
        run_one_token(model);
    model_close(&model);
    gguf_close(&file);
    return 0;
}
