/* Opens the demo model of the repository: a real file, written by another tool. */
#include "gguf.h"

#include "base_err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct gguf *open_demo(void)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    char path[4096];

    const char *root = getenv("LAYERMESH_SOURCE_ROOT");
    cr_assert_not_null(root);
    (void)snprintf(path, sizeof(path), "%s/models/demo/demo-q8_0.gguf", root);
    cr_assert_eq(gguf_open(path, &file, &err), BASE_OK, "%s", err.text);
    return file;
}

Test(gguf_demo, metadata)
{
    struct gguf *file = open_demo();
    struct base_error err = {0};
    struct gguf_string text;
    uint32_t value = 0;
    float real = 0;

    cr_assert_eq(gguf_get_string(file, "general.architecture", &text, &err), BASE_OK);
    cr_assert(text.bytes == 5 && memcmp(text.data, "llama", 5) == 0);
    cr_assert_eq(gguf_get_u32(file, "llama.block_count", &value, &err), BASE_OK);
    cr_assert_eq(value, 12);
    cr_assert_eq(gguf_get_f32(file, "llama.rope.freq_base", &real, &err), BASE_OK);
    cr_assert_eq(real, 10000.0f);
    cr_assert_eq(gguf_get_u32(file, "llama.no_such_key", &value, &err), BASE_NOT_FOUND);
    cr_assert_eq(err.text[0], '\0');
    cr_assert_eq(gguf_get_u32(file, "general.architecture", &value, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "general.architecture"));
    cr_assert_not_null(strstr(err.text, "string"));
    gguf_close(&file);
    cr_assert_null(file);
    gguf_close(&file);
}

Test(gguf_demo, arrays)
{
    struct gguf *file = open_demo();
    struct base_error err = {0};
    struct gguf_array array;
    struct gguf_string token;
    int64_t type = 0;
    size_t count = 0;

    cr_assert_eq(gguf_get_array(file, "tokenizer.ggml.tokens", &array, &err), BASE_OK);
    cr_assert_eq(array.count, 4096);
    cr_assert_not(gguf_array_next_i64(&array, &type), "a string is no integer");
    for (; gguf_array_next_string(&array, &token); count++)
        cr_assert_gt(token.bytes, 0);
    cr_assert_eq(count, 4096);
    cr_assert_eq(gguf_get_array(file, "tokenizer.ggml.token_type", &array, &err), BASE_OK);
    cr_assert_not(gguf_array_next_string(&array, &token), "an integer is no string");
    for (count = 0; gguf_array_next_i64(&array, &type); count++)
        cr_assert(type >= 1 && type <= 6);
    cr_assert_eq(count, 4096);
    gguf_close(&file);
}

Test(gguf_demo, tensors)
{
    struct gguf *file = open_demo();

    const struct gguf_tensor *tensor = gguf_tensor_find(file, "token_embd.weight");
    cr_assert_not_null(tensor);
    cr_assert_eq(tensor->type, GGUF_Q8_0);
    cr_assert_eq(tensor->dimensions[0], 256);
    cr_assert_eq(tensor->dimensions[1], 4096);
    cr_assert_eq(tensor->dimensions[2], 1);
    cr_assert_eq(tensor->bytes, 4096ull * 256 / 32 * 34);
    cr_assert_null(gguf_tensor_find(file, "token_embd"));
    cr_assert_null(gguf_tensor_at(file, gguf_tensor_count(file)));
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        tensor = gguf_tensor_at(file, i);
        cr_assert_eq(gguf_tensor_find(file, tensor->name), tensor);
        gguf_advise(file, tensor, true);
        gguf_advise(file, tensor, false);
        /* Dropped pages come back from the file. */
        cr_assert_geq(tensor->data[tensor->bytes - 1], 0);
    }
    gguf_close(&file);
}

Test(gguf_demo, rows)
{
    struct gguf *file = open_demo();
    struct base_error err = {0};
    const uint8_t *rows = NULL;
    const struct gguf_tensor *tensor = gguf_tensor_find(file, "token_embd.weight");

    cr_assert_eq(gguf_row_count(tensor), 4096);
    cr_assert_eq(gguf_row_bytes(tensor), 256 / 32 * 34);
    cr_assert_eq(gguf_read_rows(file, tensor, 3, 2, NULL, &rows, &err), BASE_OK);
    cr_assert_eq(rows, tensor->data + 3 * (256 / 32 * 34));
    cr_assert_eq(gguf_read_rows(file, tensor, 4096, 0, NULL, &rows, &err), BASE_OK);
    cr_assert_eq(gguf_read_rows(file, tensor, 4095, 2, NULL, &rows, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "token_embd.weight"), "%s", err.text);
    cr_assert_eq(gguf_read_rows(file, tensor, UINT64_MAX, 2, NULL, &rows, &err), BASE_INVALID);
    gguf_close(&file);
}

Test(gguf_demo, fingerprint_is_stable)
{
    struct gguf *one = open_demo();
    struct gguf *two = open_demo();

    cr_assert_neq(gguf_fingerprint(one), 0);
    cr_assert_eq(gguf_fingerprint(one), gguf_fingerprint(two));
    gguf_close(&one);
    gguf_close(&two);
}
