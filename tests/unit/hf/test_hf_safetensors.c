/* Safetensors as hostile input, and the index of a sharded model. */
#include "hf_folder.h"
#include "hf_safetensors.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TWO                                                                                        \
    "{\"__metadata__\":{\"format\":\"pt\"},"                                                       \
    "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[8,32]},"                           \
    "\"a\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[0,8]}}"

static int open_copy(
    const uint8_t *data, size_t bytes, struct hf_weights **ret_weights, struct base_error *err)
{
    /* Exactly so many bytes, so that the sanitizer sees a read past the end. */
    uint8_t *copy = malloc(bytes > 0 ? bytes : 1);
    size_t sum = 0;

    cr_assert_not_null(copy);
    memcpy(copy, data, bytes);
    int rc = hf_weights_open_memory(copy, bytes, "w.safetensors", ret_weights, err);
    for (size_t i = 0; rc == BASE_OK && i < hf_weights_count(*ret_weights); i++) {
        const struct hf_tensor *tensor = hf_weights_at(*ret_weights, i);
        for (size_t j = 0; j < tensor->bytes; j++)
            sum += tensor->data[j];
    }
    cr_assert_neq(sum, SIZE_MAX);
    hf_weights_close(ret_weights);
    free(copy);
    return rc;
}

Test(hf_safetensors, tensors)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;
    size_t bytes = 0;
    uint8_t *data = hf_folder_weights(TWO, 32, &bytes);

    cr_assert_eq(hf_weights_open_memory(data, bytes, "w", &weights, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(hf_weights_count(weights), 2);
    const struct hf_tensor *b = hf_weights_find(weights, "b");
    cr_assert_eq(b, hf_weights_at(weights, 1), "by name");
    cr_assert_eq(b->type, HF_F32);
    cr_assert_eq(b->dimension_count, 2);
    cr_assert_eq(b->shape[0], 2);
    cr_assert_eq(b->shape[1], 3);
    cr_assert_eq(b->bytes, 24);
    cr_assert_eq(b->data[0], 8);
    cr_assert_null(hf_weights_find(weights, "c"));
    cr_assert_null(hf_weights_at(weights, 2));
    hf_weights_advise(weights, b, true);
    hf_weights_close(&weights);
    hf_weights_close(&weights);
    free(data);
}

Test(hf_safetensors, truncated_at_every_byte)
{
    size_t bytes = 0;
    uint8_t *data = hf_folder_weights(TWO, 32, &bytes);

    for (size_t keep = 0; keep < bytes; keep++) {
        struct base_error err = {0};
        struct hf_weights *weights = NULL;
        cr_assert_eq(open_copy(data, keep, &weights, &err), BASE_MALFORMED, "kept %zu", keep);
        cr_assert_eq(strncmp(err.text, "w.safetensors: ", 15), 0, "%s", err.text);
    }
    free(data);
}

Test(hf_safetensors, every_bit_of_the_header_flipped)
{
    size_t bytes = 0;
    uint8_t *data = hf_folder_weights(TWO, 32, &bytes);
    size_t refused = 0;

    for (size_t bit = 0; bit < (bytes - 32) * 8; bit++) {
        struct base_error err = {0};
        struct hf_weights *weights = NULL;
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = open_copy(data, bytes, &weights, &err);
        refused += rc != BASE_OK;
        cr_assert(rc == BASE_OK || err.text[0] != '\0');
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_gt(refused, 500);
    free(data);
}

static void expect_refused(const char *header, size_t data_bytes, int code, const char *why)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;
    size_t bytes = 0;
    uint8_t *data = hf_folder_weights(header, data_bytes, &bytes);

    int rc = open_copy(data, bytes, &weights, &err);
    cr_expect_eq(rc, code, "%s: %s: %s", header, base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, why), "%s: %s", header, err.text);
    free(data);
}

#define ONE(dtype, shape, offsets)                                                                 \
    "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

Test(hf_safetensors, what_does_not_fit_together)
{
    expect_refused(ONE("\"F32\"", "[2]", "[0,8]"), 9, BASE_MALFORMED, "1 bytes behind");
    expect_refused(ONE("\"F32\"", "[2]", "[0,8]"), 7, BASE_MALFORMED, "data_offsets");
    expect_refused(ONE("\"F32\"", "[2]", "[0,4]"), 4, BASE_MALFORMED, "need 8");
    expect_refused(ONE("\"F32\"", "[2]", "[8,0]"), 8, BASE_MALFORMED, "data_offsets");
    expect_refused(ONE("\"F32\"", "[2]", "[-8,0]"), 8, BASE_MALFORMED, "data_offsets");
    expect_refused(ONE("\"F32\"", "[2]", "[4,12]"), 12, BASE_MALFORMED, "a hole of 4");
    expect_refused(ONE("\"F32\"", "[-1]", "[0,8]"), 8, BASE_MALFORMED, "shape");
    expect_refused(ONE("\"F32\"", "[1.5]", "[0,8]"), 8, BASE_MALFORMED, "shape");
    expect_refused(
        ONE("\"F32\"", "[4294967296,4294967296,4294967296]", "[0,8]"), 8, BASE_MALFORMED, "shape");
    expect_refused(ONE("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, BASE_MALFORMED, "shape");
    expect_refused(ONE("\"F4\"", "[3]", "[0,1]"), 1, BASE_MALFORMED, "bits");
    expect_refused(ONE("\"F33\"", "[2]", "[0,8]"), 8, BASE_UNSUPPORTED, "F33");
    expect_refused(ONE("7", "[2]", "[0,8]"), 8, BASE_UNSUPPORTED, "dtype");
    expect_refused("{\"t\":7}", 0, BASE_MALFORMED, "not an object");
    expect_refused("[]", 0, BASE_MALFORMED, "not an object");
    expect_refused("{\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                   "\"u\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
        3, BASE_MALFORMED, "an overlap of 1");
    expect_refused("{\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                   "\"t\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
        4, BASE_MALFORMED, "duplicate");
}

Test(hf_safetensors, lengths)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;
    uint8_t data[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};

    cr_assert_eq(open_copy(data, 16, &weights, &err), BASE_TOO_BIG);
    memset(data, 0, 8);
    cr_assert_eq(open_copy(data, 16, &weights, &err), BASE_MALFORMED);
    data[0] = 2;
    cr_assert_eq(open_copy(data, 10, &weights, &err), BASE_OK, "%s", err.text);
}

Test(hf_safetensors, scalars_and_empty_tensors)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;
    size_t bytes = 0;
    uint8_t *data =
        hf_folder_weights("{\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                          "\"e\":{\"dtype\":\"F32\",\"shape\":[3,0],\"data_offsets\":[8,8]}}",
            8, &bytes);

    cr_assert_eq(hf_weights_open_memory(data, bytes, "w", &weights, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(hf_weights_find(weights, "s")->dimension_count, 0);
    cr_assert_eq(hf_weights_find(weights, "e")->bytes, 0);
    hf_weights_close(&weights);
    free(data);
}

Test(hf_safetensors, allocation_failures)
{
    size_t bytes = 0;
    uint8_t *data = hf_folder_weights(TWO, 32, &bytes);
    struct hf_weights *weights = NULL;
    unsigned long failed = 0;
    int rc;

    do {
        base_alloc_fail_from(++failed);
        rc = hf_weights_open_memory(data, bytes, "w", &weights, NULL);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 4);
    hf_weights_close(&weights);
    free(data);
}

TestSuite(hf_index, .init = hf_folder_make, .fini = hf_folder_remove);

static void write_shard(const char *name, const char *tensor)
{
    char header[200];
    size_t bytes = 0;

    (void)snprintf(header, sizeof(header),
        "{\"%s\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", tensor);
    uint8_t *data = hf_folder_weights(header, 2, &bytes);
    hf_folder_write(name, data, bytes);
    free(data);
}

static void expect_index(const char *index, int code, const char *why)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;

    hf_folder_text("model.safetensors.index.json", index);
    int rc = hf_weights_open(hf_folder_path(), &weights, &err);
    cr_expect_eq(rc, code, "%s: %s: %s", index, base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, why), "%s: %s", index, err.text);
    hf_weights_close(&weights);
}

Test(hf_index, shards)
{
    write_shard("one.safetensors", "a");
    write_shard("two.safetensors", "b");
    expect_index(
        "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}", BASE_OK, "");
    expect_index("{\"weight_map\":{\"c\":\"one.safetensors\"}}", BASE_MALFORMED, "c: no such");
    expect_index("{\"weight_map\":{\"a\":\"three.safetensors\"}}", BASE_NOT_FOUND, "three");
    expect_index("{\"weight_map\":{\"a\":\"../one.safetensors\"}}", BASE_MALFORMED, "not the name");
    expect_index("{\"weight_map\":{\"a\":\"/etc/passwd\"}}", BASE_MALFORMED, "not the name");
    expect_index("{\"weight_map\":{\"a\":7}}", BASE_MALFORMED, "not the name");
    expect_index("{\"weight_map\":[]}", BASE_MALFORMED, "weight_map");
    expect_index("{", BASE_MALFORMED, "index.json");
    write_shard("two.safetensors", "a");
    expect_index("{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}",
        BASE_MALFORMED, "twice");
}

Test(hf_index, one_file_or_none)
{
    struct base_error err = {0};
    struct hf_weights *weights = NULL;

    cr_assert_eq(hf_weights_open(hf_folder_path(), &weights, &err), BASE_NOT_FOUND);
    cr_assert_not_null(strstr(err.text, "neither"), "%s", err.text);
    write_shard("model.safetensors", "a");
    cr_assert_eq(hf_weights_open(hf_folder_path(), &weights, &err), BASE_OK, "%s", err.text);
    hf_weights_advise(weights, hf_weights_at(weights, 0), true);
    hf_weights_advise(weights, hf_weights_at(weights, 0), false);
    cr_assert_eq(hf_weights_at(weights, 0)->data[1], 1);
    hf_weights_close(&weights);
}

Test(hf_index, identity_sees_the_headers)
{
    struct hf_weights *weights = NULL;
    uint64_t identity[3];
    const char *const names[] = {"a", "a", "b"};

    for (int i = 0; i < 3; i++) {
        write_shard("model.safetensors", names[i]);
        cr_assert_eq(hf_weights_open(hf_folder_path(), &weights, NULL), BASE_OK);
        identity[i] = hf_weights_identity(weights);
        hf_weights_close(&weights);
    }
    cr_assert_eq(identity[0], identity[1]);
    cr_assert_neq(identity[0], identity[2]);
}
