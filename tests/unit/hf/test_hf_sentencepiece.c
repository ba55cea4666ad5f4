/* tokenizer.model files made by hand, cut and broken. */
#include "gguf_builder.h"
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Three pieces: <unk> of type 2, "a" with score -1.5, <0x41> of type 6; BPE; no leading space. */
static const uint8_t model[] = {0x0a, 9, 0x0a, 5, '<', 'u', 'n', 'k', '>', 0x18, 2, /**/
    0x0a, 8, 0x0a, 1, 'a', 0x15, 0, 0, 0xc0, 0xbf,                                  /**/
    0x0a, 10, 0x0a, 6, '<', '0', 'x', '4', '1', '>', 0x18, 6,                       /**/
    0x12, 2, 0x18, 2, /**/ 0x1a, 2, 0x18, 0};

static int read_model(const uint8_t *data, size_t bytes, struct gguf **ret_file,
    uint8_t **ret_header, struct base_error *err)
{
    struct gguf_builder *builder = NULL;
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    size_t header_bytes = 0;

    cr_assert_not_null(copy);
    memcpy(copy, data, bytes);
    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    int rc = hf_read_sentencepiece(copy, bytes, builder, err);
    if (rc == BASE_OK && ret_file != NULL) {
        cr_assert_eq(gguf_builder_header(builder, NULL, ret_header, &header_bytes, err), BASE_OK);
        cr_assert_eq(gguf_open_memory(*ret_header, header_bytes, "t", ret_file, err), BASE_OK);
    }
    gguf_builder_destroy(&builder);
    free(copy);
    return rc;
}

Test(hf_sentencepiece, pieces)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    uint8_t *header = NULL;
    struct gguf_array array;
    struct gguf_string text = {0};
    bool prefix = true;
    float score = 0;
    int64_t type = 0;
    uint32_t unknown = 9;

    cr_assert_eq(read_model(model, sizeof(model), &file, &header, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_get_array(file, "tokenizer.ggml.tokens", &array, &err), BASE_OK);
    cr_assert_eq(array.count, 3);
    cr_assert(gguf_array_next_string(&array, &text) && gguf_array_next_string(&array, &text));
    cr_assert(text.bytes == 1 && text.data[0] == 'a');
    cr_assert_eq(gguf_get_array(file, "tokenizer.ggml.scores", &array, &err), BASE_OK);
    cr_assert(gguf_array_next_f32(&array, &score) && gguf_array_next_f32(&array, &score));
    cr_assert_eq(score, -1.5f);
    cr_assert_eq(gguf_get_array(file, "tokenizer.ggml.token_type", &array, &err), BASE_OK);
    const int64_t types[] = {2, 1, 6};
    for (int i = 0; i < 3; i++)
        cr_assert(gguf_array_next_i64(&array, &type) && type == types[i]);
    cr_assert_eq(gguf_get_bool(file, "tokenizer.ggml.add_space_prefix", &prefix, &err), BASE_OK);
    cr_assert_not(prefix);
    cr_assert_eq(gguf_get_u32(file, "tokenizer.ggml.unknown_token_id", &unknown, &err), BASE_OK);
    cr_assert_eq(unknown, 0);
    gguf_close(&file);
    base_free(header);
}

Test(hf_sentencepiece, cut_and_flipped)
{
    struct base_error err = {0};
    uint8_t copy[sizeof(model)];

    for (size_t keep = 0; keep < sizeof(model); keep++)
        cr_expect_neq(read_model(model, keep, NULL, NULL, &err), BASE_NOMEM, "kept %zu", keep);
    cr_assert_eq(read_model(model, 0, NULL, NULL, &err), BASE_MALFORMED);
    cr_assert_eq(read_model(model, 5, NULL, NULL, &err), BASE_MALFORMED);
    for (size_t bit = 0; bit < 8 * sizeof(model); bit++) {
        memcpy(copy, model, sizeof(model));
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        (void)read_model(copy, sizeof(copy), NULL, NULL, &err);
    }
}

Test(hf_sentencepiece, unigram_is_refused)
{
    struct base_error err = {0};
    uint8_t copy[sizeof(model)];

    memcpy(copy, model, sizeof(model));
    copy[sizeof(model) - 5] = 1;
    cr_assert_eq(read_model(copy, sizeof(copy), NULL, NULL, &err), BASE_UNSUPPORTED);
    cr_assert_not_null(strstr(err.text, "model_type 1"), "%s", err.text);
}
