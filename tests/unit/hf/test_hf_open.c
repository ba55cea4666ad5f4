/* Folders as a whole: what opens, what the view says, and what cannot be opened. */
#include "gguf.h"
#include "hf.h"
#include "hf_folder.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(hf_open, .init = hf_folder_make, .fini = hf_folder_remove);

static const char *const config =
    "{\"model_type\":\"llama\",\"hidden_size\":64,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":4,\"intermediate_size\":96,\"max_position_embeddings\":512}";

static void write_weights(const char *name)
{
    char header[200];
    size_t bytes = 0;

    (void)snprintf(header, sizeof(header),
        "{\"%s\":{\"dtype\":\"BF16\",\"shape\":[2,4],\"data_offsets\":[0,16]}}", name);
    uint8_t *data = hf_folder_weights(header, 16, &bytes);
    hf_folder_write("model.safetensors", data, bytes);
    free(data);
}

Test(hf_open, view)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    struct gguf_string text = {0};
    const uint8_t *rows = NULL;
    uint8_t buffer[16];

    hf_folder_text("config.json", config);
    write_weights("model.embed_tokens.weight");
    cr_assert_eq(hf_open_model(hf_folder_path(), &file, &err), BASE_OK, "%s", err.text);
    cr_assert_str_eq(gguf_path(file), hf_folder_path());
    cr_assert_eq(gguf_get_string(file, "general.architecture", &text, &err), BASE_OK);
    const struct gguf_tensor *tensor = gguf_tensor_find(file, "token_embd.weight");
    cr_assert_not_null(tensor);
    cr_assert_eq(tensor->type, GGUF_BF16);
    cr_assert_eq(tensor->dimensions[0], 4);
    gguf_advise(file, tensor, true);
    cr_assert_eq(gguf_read_rows(file, tensor, 1, 1, buffer, &rows, &err), BASE_OK);
    cr_assert_eq(rows[0], 8);
    gguf_advise(file, tensor, false);
    cr_assert_eq(rows[7], 15, "dropped pages come back from the file");
    uint64_t fingerprint = gguf_fingerprint(file);
    gguf_close(&file);
    write_weights("lm_head.weight");
    cr_assert_eq(hf_open(hf_folder_path(), &file, &err), BASE_OK, "%s", err.text);
    cr_assert_neq(gguf_fingerprint(file), fingerprint);
    gguf_close(&file);
}

Test(hf_open, what_cannot_be_opened)
{
    struct base_error err = {0};
    struct gguf *file = NULL;

    cr_assert_eq(hf_open(hf_folder_path(), &file, &err), BASE_IO);
    cr_assert_not_null(strstr(err.text, "config.json"), "%s", err.text);
    hf_folder_text("config.json", config);
    cr_assert_eq(hf_open(hf_folder_path(), &file, &err), BASE_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "model.safetensors"), "%s", err.text);
    write_weights("model.mystery.weight");
    cr_assert_eq(hf_open(hf_folder_path(), &file, &err), BASE_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "model.mystery.weight"), "%s", err.text);
    cr_assert_eq(hf_open_model("/nonexistent/model", &file, &err), BASE_IO);
    cr_assert_null(file);
}

Test(hf_open, allocation_failures)
{
    struct gguf *file = NULL;
    unsigned long failed = 0;
    int rc;

    hf_folder_text("config.json", config);
    write_weights("model.embed_tokens.weight");
    do {
        base_alloc_fail_from(++failed);
        rc = hf_open(hf_folder_path(), &file, NULL);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM, "%lu: %s", failed, base_err_name(rc));
        cr_assert_eq(rc == BASE_OK, file != NULL);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 12);
    gguf_close(&file);
}
