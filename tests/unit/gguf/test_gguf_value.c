/* Metadata getters: every integer type, ranges, floats, arrays. */
#include "gguf.h"

#include "base_err.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct tiny_bytes bytes;
static struct gguf *file;

/* One pair of a scalar type, then opens it. */
static void open_value(uint32_t type, const void *value, size_t value_bytes)
{
    struct base_error err = {0};

    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key(&bytes, "k", type);
    tiny_put(&bytes, value, value_bytes);
    tiny_put(&bytes, NULL, 32);
    cr_assert_eq(
        gguf_open_memory(bytes.data, bytes.count, "m", &file, &err), BASE_OK, "%s", err.text);
}

static void close_value(void)
{
    gguf_close(&file);
    free(bytes.data);
    memset(&bytes, 0, sizeof(bytes));
}

static int get_u32(uint32_t type, uint64_t value, size_t value_bytes, uint32_t *ret_value)
{
    struct base_error err = {0};

    open_value(type, &value, value_bytes);
    int rc = gguf_get_u32(file, "k", ret_value, &err);
    cr_expect((rc == BASE_OK) == (err.text[0] == '\0'));
    close_value();
    return rc;
}

Test(gguf_value, integers_of_every_type)
{
    const struct {
        uint32_t type;
        size_t bytes;
        uint64_t limit; /* largest value of the type that fits u32 */
        bool has_sign;
    } types[] = {{0, 1, 0xff, false}, {1, 1, 0x7f, true}, {2, 2, 0xffff, false},
        {3, 2, 0x7fff, true}, {4, 4, 0xffffffff, false}, {5, 4, 0x7fffffff, true},
        {10, 8, 0xffffffff, false}, {11, 8, 0xffffffff, true}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        uint32_t value = 0;
        cr_expect_eq(get_u32(types[i].type, 5, types[i].bytes, &value), BASE_OK);
        cr_expect_eq(value, 5);
        cr_expect_eq(get_u32(types[i].type, types[i].limit, types[i].bytes, &value), BASE_OK);
        cr_expect_eq(value, types[i].limit);
        if (types[i].has_sign)
            cr_expect_eq(get_u32(types[i].type, UINT64_MAX, types[i].bytes, &value), BASE_MALFORMED,
                "-1 of type %u", types[i].type);
    }
    uint32_t value = 7;
    cr_expect_eq(get_u32(10, 1ull << 32, 8, &value), BASE_MALFORMED);
    cr_expect_eq(get_u32(7, 1, 1, &value), BASE_MALFORMED, "a bool is no integer");
    cr_expect_eq(get_u32(6, 0, 4, &value), BASE_MALFORMED, "a float is no integer");
    cr_expect_eq(value, 7, "untouched on failure");
}

Test(gguf_value, floats_and_bools)
{
    struct base_error err = {0};
    const double wide = 0.5;
    const float narrow = 0.25f;
    float value = 0;
    bool flag = false;

    open_value(12, &wide, sizeof(wide));
    cr_expect_eq(gguf_get_f32(file, "k", &value, &err), BASE_OK);
    cr_expect_eq(value, 0.5f);
    cr_expect_eq(gguf_get_bool(file, "k", &flag, &err), BASE_MALFORMED);
    close_value();
    open_value(6, &narrow, sizeof(narrow));
    cr_expect_eq(gguf_get_f32(file, "k", &value, &err), BASE_OK);
    cr_expect_eq(value, 0.25f);
    close_value();
    open_value(7, "\1", 1);
    cr_expect_eq(gguf_get_bool(file, "k", &flag, &err), BASE_OK);
    cr_expect(flag);
    cr_expect_eq(gguf_get_f32(file, "k", &value, &err), BASE_MALFORMED);
    cr_expect_eq(gguf_get_bool(file, "other", &flag, &err), BASE_NOT_FOUND);
    close_value();
}

Test(gguf_value, array_of_signed_bytes)
{
    struct base_error err = {0};
    struct gguf_array array;
    int64_t value = 0;

    tiny_put_header(&bytes, 3, 0, 1);
    tiny_put_key_array(&bytes, "k", 1, 3);
    tiny_put(&bytes, "\xff\x00\x7f", 3);
    cr_assert_eq(
        gguf_open_memory(bytes.data, bytes.count, "m", &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_get_array(file, "k", &array, &err), BASE_OK);
    const int64_t expected[] = {-1, 0, 127};
    for (int i = 0; i < 3; i++) {
        cr_assert(gguf_array_next_i64(&array, &value));
        cr_assert_eq(value, expected[i]);
    }
    cr_assert_not(gguf_array_next_i64(&array, &value));
    close_value();
}

Test(gguf_value, type_table)
{
    uint32_t elements = 0;
    uint32_t block = 0;

    cr_assert(gguf_type_block(14, &elements, &block));
    cr_assert(elements == 256 && block == 210);
    cr_assert_str_eq(gguf_type_name(14), "Q6_K");
    cr_assert_null(gguf_type_name(5));
    cr_assert_null(gguf_type_name(UINT32_MAX));
    cr_assert_not(gguf_type_block(42, &elements, &block), "layout not known");
    cr_assert_str_eq(gguf_type_name(42), "Q2_0");
}
