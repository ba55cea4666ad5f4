/* Truncated, bit-flipped and handcrafted files: an error with file, byte and field, never a crash. */
#include "gguf.h"

#include "base_alloc.h"
#include "base_err.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *small_model(size_t *ret_bytes)
{
    struct tiny_gguf_options options = {.seed = 1,
        .layer_count = 1,
        .embedding_length = 32,
        .feed_forward = 32,
        .head_count = 2,
        .kv_head_count = 1,
        .vocab_size = 8,
        .weight_type = GGUF_Q8_0};

    return tiny_gguf_build(&options, ret_bytes);
}

/* A copy of exactly so many bytes, so that the sanitizer sees a read past the end. */
static int open_copy(
    const uint8_t *data, size_t bytes, struct gguf **ret_file, struct base_error *err)
{
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);

    cr_assert_not_null(copy);
    memcpy(copy, data, bytes);
    int rc = gguf_open_memory(copy, bytes, "tiny.gguf", ret_file, err);
    if (rc == BASE_OK) {
        for (size_t i = 0; i < gguf_tensor_count(*ret_file); i++) {
            const struct gguf_tensor *tensor = gguf_tensor_at(*ret_file, i);
            cr_assert(tensor->data >= copy && tensor->bytes <= bytes &&
                      (size_t)(tensor->data - copy) <= bytes - tensor->bytes);
        }
        gguf_close(ret_file);
    }
    free(copy);
    return rc;
}

Test(gguf_hostile, whole_model_opens)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    size_t bytes = 0;
    uint8_t *data = small_model(&bytes);

    cr_assert_eq(open_copy(data, bytes, &file, &err), BASE_OK, "%s", err.text);
    free(data);
}

Test(gguf_hostile, truncated_at_every_byte)
{
    size_t bytes = 0;
    uint8_t *data = small_model(&bytes);

    for (size_t keep = 0; keep < bytes; keep++) {
        struct base_error err = {0};
        struct gguf *file = NULL;
        cr_assert_eq(open_copy(data, keep, &file, &err), BASE_MALFORMED, "kept %zu", keep);
        cr_assert_eq(err.code, BASE_MALFORMED);
        cr_assert_eq(strncmp(err.text, "tiny.gguf: byte ", 16), 0, "kept %zu: %s", keep, err.text);
        cr_assert_null(file);
    }
    free(data);
}

Test(gguf_hostile, every_bit_of_the_header_flipped)
{
    size_t bytes = 0;
    uint8_t *data = small_model(&bytes);
    size_t refused = 0;

    /* The header of this model is shorter than this; the rest is weights. */
    for (size_t bit = 0; bit < 1400 * 8; bit++) {
        struct base_error err = {0};
        struct gguf *file = NULL;
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        int rc = open_copy(data, bytes, &file, &err);
        if (rc != BASE_OK) {
            refused++;
            cr_assert_eq(err.code, rc);
            cr_assert_eq(strncmp(err.text, "tiny.gguf: ", 11), 0, "bit %zu: %s", bit, err.text);
            cr_assert_not_null(strstr(err.text, "byte "), "bit %zu: %s", bit, err.text);
        }
        data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    cr_assert_gt(refused, 1000);
    free(data);
}

/* Opens what was put and expects a refusal that says field. */
static void expect_refused(struct tiny_bytes *bytes, int code, const char *field, const char *why)
{
    struct base_error err = {0};
    struct gguf *file = NULL;

    int rc = open_copy(bytes->data, bytes->count, &file, &err);
    cr_expect_eq(rc, code, "%s: got %s: %s", field, base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, field), "%s", err.text);
    cr_expect_not_null(strstr(err.text, why), "%s", err.text);
    free(bytes->data);
    memset(bytes, 0, sizeof(*bytes));
}

Test(gguf_hostile, magic_and_version)
{
    struct tiny_bytes bytes = {0};

    tiny_put(&bytes, "GGML", 4);
    tiny_put(&bytes, NULL, 40);
    expect_refused(&bytes, BASE_MALFORMED, "magic", "GGUF");
    tiny_put_header(&bytes, 1, 0, 0);
    expect_refused(&bytes, BASE_UNSUPPORTED, "version", "1");
    tiny_put_header(&bytes, 4, 0, 0);
    expect_refused(&bytes, BASE_UNSUPPORTED, "version", "4");
    tiny_put_header(&bytes, 0x03000000, 0, 0);
    expect_refused(&bytes, BASE_UNSUPPORTED, "version", "big-endian");
}

Test(gguf_hostile, counts_and_lengths)
{
    struct tiny_bytes bytes = {0};

    tiny_put_header(&bytes, 3, UINT64_MAX, 0);
    expect_refused(&bytes, BASE_MALFORMED, "tensor_count", "do not fit");
    tiny_put_header(&bytes, 3, 0, UINT64_MAX / 14);
    expect_refused(&bytes, BASE_MALFORMED, "metadata_kv_count", "do not fit");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_u64(&bytes, UINT64_MAX - 7); /* key length that wraps the offset */
    tiny_put(&bytes, NULL, 64);
    expect_refused(&bytes, BASE_MALFORMED, "metadata key", "length");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_array(&bytes, "a.key", 4, UINT64_MAX / 4 + 1);
    tiny_put(&bytes, NULL, 64);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "elements");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_array(&bytes, "a.key", 8, 2);
    tiny_put_string(&bytes, "longer");
    tiny_put(&bytes, NULL, 4);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "file ends");
}

Test(gguf_hostile, metadata)
{
    struct tiny_bytes bytes = {0};

    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_array(&bytes, "a.key", 9, 1);
    tiny_put(&bytes, NULL, 32);
    expect_refused(&bytes, BASE_UNSUPPORTED, "a.key", "array of arrays");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key(&bytes, "a.key", 13);
    tiny_put(&bytes, NULL, 32);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "value type 13");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_array(&bytes, "a.key", 77, 0);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "element type 77");
    tiny_put_header(&bytes, 3, 0, 2);
    tiny_put_key_u32(&bytes, "a.key", 1);
    tiny_put_key_u32(&bytes, "a.key", 2);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "twice");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key(&bytes, "a.key", 7);
    tiny_put(&bytes, "\2", 1);
    tiny_put(&bytes, NULL, 32);
    expect_refused(&bytes, BASE_MALFORMED, "a.key", "bool");
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_u32(&bytes, "", 1);
    expect_refused(&bytes, BASE_MALFORMED, "metadata key", "length 0");
    const uint32_t alignments[] = {0, 24, 1u << 31};
    for (size_t i = 0; i < 3; i++) {
        tiny_put_header(&bytes, 3, 0, 1);
        tiny_put_key_u32(&bytes, "general.alignment", alignments[i]);
        expect_refused(&bytes, BASE_MALFORMED, "general.alignment", "power of two");
    }
    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_string(&bytes, "general.alignment", "32");
    expect_refused(&bytes, BASE_MALFORMED, "general.alignment", "string");
}

/* A file of one tensor with so many bytes of data. */
static void put_one_tensor(struct tiny_bytes *bytes, const char *name, uint32_t type,
    const uint64_t *dimensions, uint32_t dimension_count, uint64_t offset, size_t data_bytes)
{
    tiny_put_header(bytes, 3, 1, 0);
    tiny_put_tensor(bytes, name, type, dimensions, dimension_count, offset);
    tiny_put(bytes, NULL, (32 - bytes->count % 32) % 32 + data_bytes);
}

Test(gguf_hostile, tensors)
{
    struct tiny_bytes bytes = {0};
    const uint64_t plain[5] = {32, 2, 1, 1, 1};
    const uint64_t zero[2] = {32, 0};
    const uint64_t huge[4] = {1ull << 32, 1ull << 32, 1, 1};
    const uint64_t wraps[2] = {32, 1ull << 59};
    const uint64_t odd[2] = {33, 2};
    const char *name64 = "0123456789012345678901234567890123456789012345678901234567890123";

    put_one_tensor(&bytes, "t", GGUF_F32, plain, 5, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "dimension count 5");
    put_one_tensor(&bytes, "t", GGUF_F32, plain, 0, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "dimension count 0");
    put_one_tensor(&bytes, "t", GGUF_F32, zero, 2, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "dimension 1 is 0");
    put_one_tensor(&bytes, "t", GGUF_F32, huge, 4, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "dimension 1");
    put_one_tensor(&bytes, "t", GGUF_F32, wraps, 2, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "dimension 1");
    put_one_tensor(&bytes, "t", GGUF_Q8_0, odd, 2, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "Q8_0 blocks");
    put_one_tensor(&bytes, "t", 4711, plain, 2, 0, 1024);
    expect_refused(&bytes, BASE_UNSUPPORTED, "t:", "4711");
    put_one_tensor(&bytes, "t", 41, plain, 2, 0, 1024);
    expect_refused(&bytes, BASE_UNSUPPORTED, "t:", "Q1_0");
    put_one_tensor(&bytes, name64, GGUF_F32, plain, 2, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "tensor name", "length 64");
    put_one_tensor(&bytes, "", GGUF_F32, plain, 2, 0, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "tensor name", "length 0");
    put_one_tensor(&bytes, "t", GGUF_F32, plain, 2, 0, 255);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "past the end");
    put_one_tensor(&bytes, "t", GGUF_F32, plain, 2, 16, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "multiple of 32");
    put_one_tensor(&bytes, "t", GGUF_F32, plain, 2, UINT64_MAX - 31, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "past the end");
    tiny_put_header(&bytes, 3, 2, 0);
    tiny_put_tensor(&bytes, "t", GGUF_F32, plain, 2, 0);
    tiny_put_tensor(&bytes, "t", GGUF_F32, plain, 2, 256);
    tiny_put(&bytes, NULL, 1024);
    expect_refused(&bytes, BASE_MALFORMED, "t:", "twice");
}

Test(gguf_hostile, tensors_out_of_order_and_large_alignment)
{
    struct tiny_bytes bytes = {0};
    struct base_error err = {0};
    struct gguf *file = NULL;
    const uint64_t dimensions[1] = {4};

    tiny_put_header(&bytes, 2, 2, 1);
    tiny_put_key_u32(&bytes, "general.alignment", 256);
    tiny_put_tensor(&bytes, "second", GGUF_F32, dimensions, 1, 256);
    tiny_put_tensor(&bytes, "first", GGUF_F32, dimensions, 1, 0);
    tiny_put(&bytes, NULL, 256 - bytes.count);
    tiny_put(&bytes, "0123456789abcdef", 16);
    tiny_put(&bytes, NULL, 240);
    tiny_put(&bytes, "fedcba9876543210", 16);
    cr_assert_eq(
        gguf_open_memory(bytes.data, bytes.count, "m", &file, &err), BASE_OK, "%s", err.text);
    const struct gguf_tensor *first = gguf_tensor_find(file, "first");
    const struct gguf_tensor *second = gguf_tensor_find(file, "second");
    cr_assert_eq(memcmp(first->data, "0123456789abcdef", 16), 0);
    cr_assert_eq(memcmp(second->data, "fedcba9876543210", 16), 0);
    cr_assert_eq(first->file_offset, 256);
    gguf_close(&file);
    free(bytes.data);
}

Test(gguf_hostile, long_path_keeps_offset_and_field)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    char name[1000];

    memset(name, 'p', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    cr_assert_eq(gguf_open_memory((const uint8_t *)"GGU", 3, name, &file, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "byte 0: magic"), "%s", err.text);
}

Test(gguf_hostile, allocation_failures)
{
    size_t bytes = 0;
    uint8_t *data = small_model(&bytes);
    struct base_error err = {0};
    struct gguf *file = NULL;
    unsigned long failed = 0;
    int rc;

    do {
        base_alloc_fail_from(++failed);
        rc = gguf_open_memory(data, bytes, "tiny.gguf", &file, &err);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
        cr_assert((rc == BASE_OK) == (file != NULL));
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 5);
    gguf_close(&file);
    free(data);
}
