/* A view answers like a file: metadata, tensor table, fingerprint, and rows from its function. */
#include "gguf_builder.h"
#include "gguf_view.h"

#include "base_alloc.h"
#include "base_err.h"
#include <criterion/criterion.h>
#include <string.h>

struct made {
    int released;
    int advised;
    size_t tensor;
};

/* Each float of a row is its row. */
static int read_rows(void *context, size_t tensor, uint64_t row_first, uint64_t row_count,
    uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err)
{
    struct made *made = context;
    float *to = (float *)(void *)buffer;

    made->tensor = tensor;
    if (tensor == 0)
        return base_error_set(err, BASE_IO, "no data for tensor 0");
    for (uint64_t i = 0; i < row_count * 4; i++)
        to[i] = (float)(row_first + i / 4);
    *ret_rows = buffer;
    return BASE_OK;
}

static void advise(void *context, size_t tensor, bool needed)
{
    struct made *made = context;

    made->advised += needed ? 1 : 100;
    made->tensor = tensor;
}

static void release(void *context)
{
    struct made *made = context;

    made->released++;
}

static struct gguf_builder *small_builder(void)
{
    struct gguf_builder *builder = NULL;
    const uint64_t one[] = {32};
    const uint64_t three[] = {4, 2, 3};

    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    gguf_builder_string(builder, "general.architecture", "llama");
    gguf_builder_tensor(builder, "zero", GGUF_Q8_0, 1, one);
    gguf_builder_tensor(builder, "rows", GGUF_F32, 3, three);
    return builder;
}

static struct gguf *open_small(struct made *made, const char *identity)
{
    struct gguf_builder *builder = small_builder();
    struct gguf_source source = {made, read_rows, advise, release};
    struct base_error err = {0};
    struct gguf *file = NULL;

    cr_assert_eq(
        gguf_open_view(builder, "some/folder", &source, identity, strlen(identity), &file, &err),
        BASE_OK, "%s", err.text);
    gguf_builder_destroy(&builder);
    return file;
}

Test(gguf_view, reads_like_a_file)
{
    struct made made = {0};
    struct base_error err = {0};
    struct gguf_string text;
    float buffer[16];
    const uint8_t *rows = NULL;
    struct gguf *file = open_small(&made, "a");

    cr_assert_str_eq(gguf_path(file), "some/folder");
    cr_assert_eq(gguf_get_string(file, "general.architecture", &text, &err), BASE_OK);
    cr_assert_eq(gguf_tensor_count(file), 2);
    const struct gguf_tensor *tensor = gguf_tensor_find(file, "rows");
    cr_assert_not_null(tensor);
    cr_assert_null(tensor->data);
    cr_assert_eq(tensor->bytes, 4 * 2 * 3 * 4);
    cr_assert_eq(gguf_row_count(tensor), 6);
    cr_assert_eq(gguf_read_rows(file, tensor, 2, 4, (uint8_t *)buffer, &rows, &err), BASE_OK, "%s",
        err.text);
    cr_assert_eq(rows, (uint8_t *)buffer);
    cr_assert_eq(buffer[0], 2.0f);
    cr_assert_eq(buffer[15], 5.0f);
    cr_assert_eq(made.tensor, 1);
    cr_assert_eq(gguf_read_rows(file, tensor, 3, 4, (uint8_t *)buffer, &rows, &err), BASE_INVALID);
    tensor = gguf_tensor_find(file, "zero");
    cr_assert_eq(gguf_read_rows(file, tensor, 0, 1, (uint8_t *)buffer, &rows, &err), BASE_IO);
    cr_assert_not_null(strstr(err.text, "tensor 0"));
    gguf_advise(file, tensor, true);
    gguf_advise(file, tensor, false);
    cr_assert_eq(made.advised, 101);
    gguf_close(&file);
    cr_assert_eq(made.released, 1);
}

Test(gguf_view, fingerprint_sees_what_identifies_the_data)
{
    struct made made = {0};
    struct gguf *one = open_small(&made, "a");
    struct gguf *same = open_small(&made, "a");
    struct gguf *other = open_small(&made, "b");

    cr_assert_eq(gguf_fingerprint(one), gguf_fingerprint(same));
    cr_assert_neq(gguf_fingerprint(one), gguf_fingerprint(other));
    gguf_close(&one);
    gguf_close(&same);
    gguf_close(&other);
}

Test(gguf_view, tensor_twice_is_refused)
{
    struct gguf_builder *builder = small_builder();
    struct made made = {0};
    struct gguf_source source = {&made, read_rows, NULL, release};
    const uint64_t one[] = {32};
    struct base_error err = {0};
    struct gguf *file = NULL;

    gguf_builder_tensor(builder, "rows", GGUF_F32, 1, one);
    cr_assert_eq(gguf_open_view(builder, "v", &source, "", 0, &file, &err), BASE_MALFORMED);
    cr_assert_not_null(strstr(err.text, "twice"), "%s", err.text);
    cr_assert_eq(made.released, 0, "the context stays the caller's");
    gguf_builder_destroy(&builder);
}

Test(gguf_view, allocation_failures)
{
    struct gguf_builder *builder = small_builder();
    struct made made = {0};
    struct gguf_source source = {&made, read_rows, NULL, release};
    struct gguf *file = NULL;
    unsigned long failed = 0;
    int rc;

    do {
        base_alloc_fail_from(++failed);
        rc = gguf_open_view(builder, "v", &source, "", 0, &file, NULL);
        base_alloc_fail_from(0);
        cr_assert(rc == BASE_OK || rc == BASE_NOMEM);
        cr_assert_eq(made.released, 0);
    } while (rc != BASE_OK);
    cr_assert_gt(failed, 5);
    gguf_close(&file);
    gguf_builder_destroy(&builder);
}
