/* Headers from a builder: what was put in is what the reader finds, and mistakes are refused. */
#include "gguf_builder.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <string.h>

static const uint64_t shape[] = {64, 3};

static void fill(struct gguf_builder *builder)
{
    const int32_t numbers[] = {-1, 2, 3};

    gguf_builder_string(builder, "general.architecture", "llama");
    gguf_builder_u32(builder, "a.u32", 7);
    gguf_builder_f32(builder, "a.f32", 0.5f);
    gguf_builder_bool(builder, "a.bool", true);
    gguf_builder_array(builder, "a.numbers", GGUF_VALUE_I32, 3, numbers);
    gguf_builder_strings(builder, "a.strings", 2);
    gguf_builder_element(builder, "one", 3);
    gguf_builder_element(builder, "", 0);
    gguf_builder_text(builder, "a.text", "x\0y", 3);
}

/* Opens the header as a file; there are no tensors, so it is whole. */
static struct gguf *open_header(const struct gguf_builder *builder, uint8_t **ret_data)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    size_t bytes = 0;

    cr_assert_eq(
        gguf_builder_header(builder, NULL, ret_data, &bytes, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_open_memory(*ret_data, bytes, "built", &file, &err), BASE_OK, "%s", err.text);
    return file;
}

static void expect_filled(const struct gguf *file)
{
    struct base_error err = {0};
    struct gguf_array array;
    struct gguf_string text;
    uint32_t u32 = 0;
    float f32 = 0;
    bool flag = false;
    int64_t number = 0;

    cr_expect_eq(gguf_get_u32(file, "a.u32", &u32, &err), BASE_OK);
    cr_expect_eq(u32, 7);
    cr_expect_eq(gguf_get_f32(file, "a.f32", &f32, &err), BASE_OK);
    cr_expect_eq(f32, 0.5f);
    cr_expect_eq(gguf_get_bool(file, "a.bool", &flag, &err), BASE_OK);
    cr_expect(flag);
    cr_expect_eq(gguf_get_array(file, "a.numbers", &array, &err), BASE_OK);
    cr_expect_eq(array.count, 3);
    cr_expect(gguf_array_next_i64(&array, &number));
    cr_expect_eq(number, -1);
    cr_expect_eq(gguf_get_array(file, "a.strings", &array, &err), BASE_OK);
    cr_expect(gguf_array_next_string(&array, &text));
    cr_expect(text.bytes == 3 && memcmp(text.data, "one", 3) == 0);
    cr_expect(gguf_array_next_string(&array, &text));
    cr_expect_eq(text.bytes, 0);
    cr_expect_eq(gguf_get_string(file, "a.text", &text, &err), BASE_OK);
    cr_expect(text.bytes == 3 && memcmp(text.data, "x\0y", 3) == 0);
}

Test(gguf_builder, pairs_come_back)
{
    struct gguf_builder *builder = NULL;
    struct gguf_builder *copy = NULL;
    struct gguf_pair pair;
    uint8_t *data = NULL;
    uint8_t *copied = NULL;

    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    fill(builder);
    cr_assert(gguf_builder_has(builder, "a.text"));
    cr_assert_not(gguf_builder_has(builder, "a.tex"));
    struct gguf *file = open_header(builder, &data);
    expect_filled(file);
    cr_assert_eq(gguf_pair_count(file), 7);
    cr_assert(gguf_pair_at(file, 4, &pair));
    cr_assert_eq(pair.type, GGUF_VALUE_ARRAY);
    cr_assert_eq(pair.element_type, GGUF_VALUE_I32);
    cr_assert_eq(pair.count, 3);
    cr_assert_not(gguf_pair_at(file, 7, &pair));
    /* Pair by pair into another. */
    cr_assert_eq(gguf_builder_new(&copy), BASE_OK);
    for (size_t i = 0; i < gguf_pair_count(file); i++)
        gguf_builder_copy(copy, file, i);
    struct gguf *second = open_header(copy, &copied);
    expect_filled(second);
    cr_assert_eq(gguf_fingerprint(file), gguf_fingerprint(second), "the same bytes");
    gguf_close(&file);
    gguf_close(&second);
    gguf_builder_destroy(&builder);
    gguf_builder_destroy(&copy);
    gguf_builder_destroy(&copy);
    base_free(data);
    base_free(copied);
}

/* What one mistake leads to. */
static void expect_failure(void (*mistake)(struct gguf_builder *), int code, const char *what)
{
    struct gguf_builder *builder = NULL;
    struct base_error err = {0};
    uint8_t *data = NULL;
    size_t bytes = 0;

    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    mistake(builder);
    /* What comes after does not hide it. */
    gguf_builder_u32(builder, "later", 1);
    cr_expect_eq(gguf_builder_header(builder, NULL, &data, &bytes, &err), code);
    cr_expect_null(data);
    cr_expect_not_null(strstr(err.text, what), "%s", err.text);
    gguf_builder_destroy(&builder);
}

static void key_twice(struct gguf_builder *b)
{
    gguf_builder_u32(b, "k", 1);
    gguf_builder_u32(b, "k", 2);
}

static void empty_key(struct gguf_builder *b)
{
    gguf_builder_u32(b, "", 1);
}

static void string_missing(struct gguf_builder *b)
{
    gguf_builder_strings(b, "k", 2);
    gguf_builder_element(b, "x", 1);
}

static void string_of_nothing(struct gguf_builder *b)
{
    gguf_builder_element(b, "x", 1);
}

static void array_of_strings(struct gguf_builder *b)
{
    gguf_builder_array(b, "k", GGUF_VALUE_STRING, 1, "x");
}

static void half_a_block(struct gguf_builder *b)
{
    const uint64_t odd[] = {33, 2};
    gguf_builder_tensor(b, "t", GGUF_Q8_0, 2, odd);
}

static void no_such_type(struct gguf_builder *b)
{
    gguf_builder_tensor(b, "t", 77, 2, shape);
}

static void too_large(struct gguf_builder *b)
{
    const uint64_t huge[] = {UINT64_C(1) << 40, UINT64_C(1) << 40};
    gguf_builder_tensor(b, "t", GGUF_F32, 2, huge);
}

static void long_name(struct gguf_builder *b)
{
    gguf_builder_tensor(
        b, "0123456789012345678901234567890123456789012345678901234567890123", GGUF_F32, 2, shape);
}

Test(gguf_builder, mistakes)
{
    expect_failure(key_twice, BASE_INVALID, "twice");
    expect_failure(empty_key, BASE_INVALID, "no key");
    expect_failure(string_missing, BASE_INVALID, "lacks 1 string");
    expect_failure(string_of_nothing, BASE_INVALID, "no array");
    expect_failure(array_of_strings, BASE_INVALID, "fixed size");
    expect_failure(half_a_block, BASE_INVALID, "33");
    expect_failure(no_such_type, BASE_INVALID, "unknown");
    expect_failure(too_large, BASE_INVALID, "t:");
    expect_failure(long_name, BASE_INVALID, "name");
}

Test(gguf_builder, allocation_failures)
{
    unsigned long failed = 0;
    int rc;

    do {
        struct gguf_builder *builder = NULL;
        uint8_t *data = NULL;
        size_t bytes = 0;
        base_alloc_fail_from(++failed);
        rc = gguf_builder_new(&builder);
        if (rc == BASE_OK) {
            fill(builder);
            gguf_builder_tensor(builder, "t", GGUF_F32, 2, shape);
            rc = gguf_builder_header(builder, NULL, &data, &bytes, NULL);
        }
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
        cr_assert_eq(rc == BASE_OK, data != NULL);
        gguf_builder_destroy(&builder);
        base_free(data);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 4);
}
