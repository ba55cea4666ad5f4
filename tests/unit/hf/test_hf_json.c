/* Side files: bounds, and fields that are not what they should be. */
#include "hf_folder.h"
#include "hf_json.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <criterion/criterion.h>
#include <string.h>

TestSuite(hf_json, .init = hf_folder_make, .fini = hf_folder_remove);

Test(hf_json, files)
{
    struct base_error err = {0};
    char *text = NULL;
    json_t *json = NULL;
    size_t bytes = 0;

    cr_assert_eq(
        hf_read_text(hf_folder_path(), "absent", 100, &text, &bytes, &err), BASE_NOT_FOUND);
    cr_assert_eq(err.text[0], '\0');
    hf_folder_text("t", "hello");
    cr_assert_eq(hf_read_text(hf_folder_path(), "t", 5, &text, &bytes, &err), BASE_OK);
    cr_assert_eq(bytes, 5);
    cr_assert_str_eq(text, "hello");
    base_free(text);
    cr_assert_eq(hf_read_text(hf_folder_path(), "t", 4, &text, &bytes, &err), BASE_TOO_BIG);
    cr_assert_not_null(strstr(err.text, "5 bytes, at most 4"), "%s", err.text);
    cr_assert_eq(hf_read_text(hf_folder_path(), ".", 4, &text, &bytes, &err), BASE_IO);
    cr_assert_eq(hf_read_json(hf_folder_path(), "t", 100, &json, &err), BASE_MALFORMED);
    hf_folder_text("t", "[1]");
    cr_assert_eq(hf_read_json(hf_folder_path(), "t", 100, &json, &err), BASE_MALFORMED);
    cr_assert_null(json);
    hf_folder_text("t", "{\"a\":1}");
    cr_assert_eq(hf_read_json(hf_folder_path(), "t", 100, &json, &err), BASE_OK);
    json_decref(json);
}

static int parse_nested(size_t depth, const char *inside)
{
    char text[4 * LIMIT_JSON_DEPTH + 64] = "";
    struct base_error err = {0};
    json_t *json = NULL;
    size_t length = 0;

    for (size_t i = 0; i < depth; i++)
        text[length++] = '[';
    memcpy(text + length, inside, strlen(inside));
    length += strlen(inside);
    for (size_t i = 0; i < depth; i++)
        text[length++] = ']';
    int rc = hf_parse_json(text, length, "t", &json, &err);
    json_decref(json);
    return rc;
}

Test(hf_json, depth)
{
    cr_assert_eq(parse_nested(LIMIT_JSON_DEPTH, ""), BASE_OK);
    cr_assert_eq(parse_nested(LIMIT_JSON_DEPTH + 1, ""), BASE_TOO_BIG);
    cr_assert_eq(parse_nested(LIMIT_JSON_DEPTH, "\"[[{\\\"[\""), BASE_OK, "in a text");
    cr_assert_eq(parse_nested(LIMIT_JSON_DEPTH, "[],[],{}"), BASE_TOO_BIG);
    cr_assert_eq(parse_nested(LIMIT_JSON_DEPTH - 1, "[],[],{}"), BASE_OK);
    cr_assert_eq(parse_nested(1, "{\"a\":1,\"a\":2}"), BASE_MALFORMED, "twice");
}

Test(hf_json, fields)
{
    struct base_error err = {0};
    json_t *json = json_loads("{\"n\":7,\"f\":2.0,\"h\":0.5,\"big\":4294967296,\"m\":-1,"
                              "\"t\":\"x\",\"b\":true,\"z\":null,\"huge\":1e300}",
        0, NULL);
    struct hf_object object = {"c.json", json, &err};
    uint32_t number = 9;
    double real = 9;
    bool flag = false;
    const char *text = "?";

    cr_assert_eq(hf_get_u32(&object, "absent", &number), BASE_OK);
    cr_assert_eq(hf_get_u32(&object, "z", &number), BASE_OK);
    cr_assert_eq(number, 9);
    cr_assert(hf_has(&object, "n") && !hf_has(&object, "z") && !hf_has(&object, "absent"));
    cr_assert_eq(hf_get_u32(&object, "n", &number), BASE_OK);
    cr_assert_eq(number, 7);
    cr_assert_eq(hf_get_u32(&object, "f", &number), BASE_OK);
    cr_assert_eq(number, 2);
    const char *const wrong[] = {"h", "big", "m", "t", "b", "huge"};
    for (size_t i = 0; i < 6; i++) {
        cr_expect_eq(hf_get_u32(&object, wrong[i], &number), BASE_MALFORMED);
        cr_expect_not_null(strstr(err.text, wrong[i]), "%s", err.text);
    }
    cr_assert_eq(number, 2);
    cr_assert_eq(hf_get_float(&object, "h", &real), BASE_OK);
    cr_assert_eq(real, 0.5);
    cr_assert_eq(hf_get_float(&object, "huge", &real), BASE_MALFORMED, "no float32");
    cr_assert_eq(hf_get_float(&object, "t", &real), BASE_MALFORMED);
    cr_assert_eq(hf_get_bool(&object, "b", &flag), BASE_OK);
    cr_assert(flag);
    cr_assert_eq(hf_get_bool(&object, "n", &flag), BASE_MALFORMED);
    cr_assert_eq(hf_get_text(&object, "t", &text), BASE_OK);
    cr_assert_str_eq(text, "x");
    cr_assert_eq(hf_get_text(&object, "n", &text), BASE_MALFORMED);
    json_decref(json);
}
