/* Files on disk: split models and what cannot be opened. */
#include "gguf.h"

#include "base_err.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void make_folder(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/layermesh-gguf-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    char path[128];

    for (int i = 1; i <= 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/m-%05d-of-00002.gguf", folder, i);
        (void)unlink(path);
    }
    (void)snprintf(path, sizeof(path), "%s/other.gguf", folder);
    (void)unlink(path);
    (void)rmdir(folder);
}

TestSuite(gguf_open, .init = make_folder, .fini = remove_folder);

static const char *write_file(const char *name, struct tiny_bytes *bytes)
{
    static char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    if (bytes->count > 0)
        cr_assert_eq(fwrite(bytes->data, 1, bytes->count, file), bytes->count);
    cr_assert_eq(fclose(file), 0);
    free(bytes->data);
    memset(bytes, 0, sizeof(*bytes));
    return path;
}

/* Part number (from 0) of count, with one tensor of four floats that hold its number. */
static const char *write_part(
    const char *file, const char *tensor, uint32_t number, uint32_t count, uint32_t tensors)
{
    struct tiny_bytes bytes = {0};
    const uint64_t dimensions[1] = {4};
    const float values[4] = {(float)number, 0, 0, 0};

    tiny_put_header(&bytes, 3, 1, 3);
    tiny_put_key_u32(&bytes, "split.no", number);
    tiny_put_key_u32(&bytes, "split.count", count);
    tiny_put_key_u32(&bytes, "split.tensors.count", tensors);
    tiny_put_tensor(&bytes, tensor, GGUF_F32, dimensions, 1, 0);
    tiny_put(&bytes, NULL, (32 - bytes.count % 32) % 32);
    tiny_put(&bytes, values, sizeof(values));
    return write_file(file, &bytes);
}

static char first_path[128];

static void expect_refused(int code, const char *what)
{
    struct base_error err = {0};
    struct gguf *file = NULL;

    (void)snprintf(first_path, sizeof(first_path), "%s/m-00001-of-00002.gguf", folder);
    int rc = gguf_open(first_path, &file, &err);
    cr_expect_eq(rc, code, "%s: %s", base_err_name(rc), err.text);
    cr_expect_not_null(strstr(err.text, what), "%s", err.text);
    cr_expect_null(file);
}

Test(gguf_open, split_model)
{
    struct base_error err = {0};
    struct gguf *file = NULL;

    (void)write_part("m-00001-of-00002.gguf", "a", 0, 2, 2);
    (void)write_part("m-00002-of-00002.gguf", "b", 1, 2, 2);
    (void)snprintf(first_path, sizeof(first_path), "%s/m-00001-of-00002.gguf", folder);
    cr_assert_eq(gguf_open(first_path, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_tensor_count(file), 2);
    float value = -1;
    memcpy(&value, gguf_tensor_find(file, "b")->data, sizeof(value));
    cr_assert_eq(value, 1.0f);
    memcpy(&value, gguf_tensor_find(file, "a")->data, sizeof(value));
    cr_assert_eq(value, 0.0f);
    gguf_close(&file);
}

Test(gguf_open, split_models_that_do_not_fit_together)
{
    (void)write_part("m-00001-of-00002.gguf", "a", 0, 2, 2);
    expect_refused(BASE_IO, "m-00002-of-00002.gguf");
    (void)write_part("m-00002-of-00002.gguf", "b", 0, 2, 2);
    expect_refused(BASE_MALFORMED, "split.no");
    (void)write_part("m-00002-of-00002.gguf", "b", 1, 3, 2);
    expect_refused(BASE_MALFORMED, "split.count");
    (void)write_part("m-00002-of-00002.gguf", "a", 1, 2, 2);
    expect_refused(BASE_MALFORMED, "twice");
    (void)write_part("m-00002-of-00002.gguf", "b", 1, 2, 2);
    (void)write_part("m-00001-of-00002.gguf", "a", 0, 2, 3);
    expect_refused(BASE_MALFORMED, "split.tensors.count");
    (void)write_part("m-00001-of-00002.gguf", "a", 1, 2, 2);
    expect_refused(BASE_MALFORMED, "open the first part");
    (void)write_part("m-00001-of-00002.gguf", "a", 0, 100000, 2);
    expect_refused(BASE_TOO_BIG, "split.count");
    (void)write_part("m-00001-of-00002.gguf", "a", 0, 3, 2);
    expect_refused(BASE_MALFORMED, "-00001-of-00003.gguf");
}

Test(gguf_open, what_is_no_model)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    struct tiny_bytes bytes = {0};

    cr_assert_eq(gguf_open("/nonexistent/m.gguf", &file, &err), BASE_IO);
    cr_assert_not_null(strstr(err.text, "/nonexistent/m.gguf"));
    cr_assert_eq(gguf_open(folder, &file, &err), BASE_IO);
    cr_assert_not_null(strstr(err.text, "regular file"), "%s", err.text);
    const char *path = write_file("other.gguf", &bytes);
    cr_assert_eq(gguf_open(path, &file, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "empty"), "%s", err.text);
}

Test(gguf_open, fingerprint_sees_metadata_not_weights)
{
    struct tiny_gguf_options options = {.seed = 1};
    struct base_error err = {0};
    struct gguf *file = NULL;
    uint64_t fingerprints[3];

    for (int i = 0; i < 3; i++) {
        size_t bytes = 0;
        options.seed = (uint64_t)i;
        options.context_length = i == 2 ? 128 : 256;
        uint8_t *data = tiny_gguf_build(&options, &bytes);
        cr_assert_eq(gguf_open_memory(data, bytes, "m", &file, &err), BASE_OK);
        fingerprints[i] = gguf_fingerprint(file);
        gguf_close(&file);
        free(data);
    }
    cr_assert_eq(fingerprints[0], fingerprints[1], "weights differ only");
    cr_assert_neq(fingerprints[0], fingerprints[2], "metadata differs");
}
