/* Files and split files from the writer: they open, and nothing is there before they are whole. */
#include "gguf_builder.h"
#include "gguf_writer.h"

#include "base_err.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TENSORS 5
#define FLOATS  9 /* of each: 36 bytes, so that padding counts */

static char folder[64];
static char path[128];

static void make_folder(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/layermesh-gguf-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/m.gguf", folder);
}

/* Removes all and returns how many files there were. */
static int count_and_remove(void)
{
    DIR *dir = opendir(folder);
    char name[400];
    int count = 0;

    cr_assert_not_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", folder, entry->d_name);
        cr_assert_eq(unlink(name), 0);
        count++;
    }
    (void)closedir(dir);
    return count;
}

static void remove_folder(void)
{
    (void)count_and_remove();
    (void)rmdir(folder);
}

TestSuite(gguf_writer, .init = make_folder, .fini = remove_folder);

static struct gguf_builder *five_tensors(void)
{
    struct gguf_builder *builder = NULL;
    const uint64_t shape[] = {FLOATS};
    char name[8];

    cr_assert_eq(gguf_builder_new(&builder), BASE_OK);
    gguf_builder_string(builder, "general.architecture", "llama");
    for (int i = 0; i < TENSORS; i++) {
        (void)snprintf(name, sizeof(name), "t%d", i);
        gguf_builder_tensor(builder, name, GGUF_F32, 1, shape);
    }
    return builder;
}

/* All values of all tensors: tensor * 100 + element. */
static void all_values(float values[TENSORS * FLOATS])
{
    for (int i = 0; i < TENSORS * FLOATS; i++)
        values[i] = (float)(i / FLOATS * 100 + i % FLOATS);
}

/* Appends in pieces that fit nothing. */
static void append_all(struct gguf_writer *writer, size_t piece)
{
    float values[TENSORS * FLOATS];
    struct base_error err = {0};

    all_values(values);
    for (size_t at = 0; at < sizeof(values); at += piece) {
        size_t bytes = sizeof(values) - at < piece ? sizeof(values) - at : piece;
        cr_assert_eq(gguf_writer_append(writer, (const uint8_t *)values + at, bytes, &err), BASE_OK,
            "%s", err.text);
    }
}

static void expect_model(const char *file_path)
{
    struct base_error err = {0};
    struct gguf *file = NULL;
    float values[TENSORS * FLOATS];
    struct gguf_string text;
    char name[8];

    all_values(values);
    cr_assert_eq(gguf_open(file_path, &file, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_tensor_count(file), TENSORS);
    cr_assert_eq(gguf_get_string(file, "general.architecture", &text, &err), BASE_OK);
    for (int i = 0; i < TENSORS; i++) {
        const uint8_t *rows = NULL;
        (void)snprintf(name, sizeof(name), "t%d", i);
        const struct gguf_tensor *tensor = gguf_tensor_find(file, name);
        cr_assert_not_null(tensor);
        cr_assert_eq(gguf_read_rows(file, tensor, 0, 1, NULL, &rows, &err), BASE_OK);
        cr_assert_eq(memcmp(rows, values + i * FLOATS, FLOATS * sizeof(float)), 0, "%s", name);
    }
    gguf_close(&file);
}

Test(gguf_writer, one_file)
{
    struct gguf_builder *builder = five_tensors();
    struct gguf_writer *writer = NULL;
    struct base_error err = {0};
    struct stat status;

    for (size_t piece = 1; piece < 200; piece += 33) {
        cr_assert_eq(gguf_writer_new(path, builder, 0, &writer, &err), BASE_OK, "%s", err.text);
        append_all(writer, piece);
        cr_assert_eq(gguf_writer_append(writer, "x", 1, &err), BASE_INVALID);
        cr_assert_neq(access(path, F_OK), 0, "not before it is whole");
        cr_assert_eq(gguf_writer_finish(writer, &err), BASE_OK, "%s", err.text);
        gguf_writer_destroy(&writer);
        expect_model(path);
        /* Nothing of what was reserved stays. */
        cr_assert_eq(stat(path, &status), 0);
        cr_assert_lt(status.st_size, 600);
        cr_assert_eq(count_and_remove(), 1);
    }
    gguf_builder_destroy(&builder);
}

Test(gguf_writer, split)
{
    struct gguf_builder *builder = five_tensors();
    struct gguf_writer *writer = NULL;
    struct base_error err = {0};
    char first[200];

    /* Two tensors fit in a part. */
    cr_assert_eq(
        gguf_writer_new(path, builder, 2 * FLOATS * 4, &writer, &err), BASE_OK, "%s", err.text);
    append_all(writer, 50);
    cr_assert_eq(gguf_writer_finish(writer, &err), BASE_OK, "%s", err.text);
    (void)snprintf(first, sizeof(first), "%s/m-00001-of-00003.gguf", folder);
    cr_assert_str_eq(gguf_writer_path(writer), first);
    gguf_writer_destroy(&writer);
    expect_model(first);
    cr_assert_eq(count_and_remove(), 3);
    /* One at least in each, however small the limit. */
    cr_assert_eq(gguf_writer_new(path, builder, 1, &writer, &err), BASE_OK, "%s", err.text);
    append_all(writer, 1000);
    cr_assert_eq(gguf_writer_finish(writer, &err), BASE_OK, "%s", err.text);
    expect_model(gguf_writer_path(writer));
    gguf_writer_destroy(&writer);
    cr_assert_eq(count_and_remove(), 5);
    gguf_builder_destroy(&builder);
}

Test(gguf_writer, nothing_stays_of_what_was_not_finished)
{
    struct gguf_builder *builder = five_tensors();
    struct gguf_writer *writer = NULL;
    struct base_error err = {0};
    float values[2 * FLOATS] = {0};

    cr_assert_eq(gguf_writer_new(path, builder, 1, &writer, &err), BASE_OK, "%s", err.text);
    cr_assert_eq(gguf_writer_append(writer, values, sizeof(values), &err), BASE_OK);
    cr_assert_eq(gguf_writer_finish(writer, &err), BASE_INVALID);
    cr_assert_not_null(strstr(err.text, "3 tensors"), "%s", err.text);
    gguf_writer_destroy(&writer);
    gguf_writer_destroy(&writer);
    cr_assert_eq(count_and_remove(), 0);
    gguf_builder_destroy(&builder);
}

Test(gguf_writer, old_file_stays_until_it_is_replaced)
{
    struct gguf_builder *builder = five_tensors();
    struct gguf_writer *writer = NULL;
    struct base_error err = {0};

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(gguf_writer_new(path, builder, 0, &writer, &err), BASE_OK, "%s", err.text);
        append_all(writer, 64);
        if (i > 0)
            expect_model(path);
        cr_assert_eq(gguf_writer_finish(writer, &err), BASE_OK, "%s", err.text);
        gguf_writer_destroy(&writer);
        expect_model(path);
    }
    cr_assert_eq(count_and_remove(), 1);
    gguf_builder_destroy(&builder);
}

Test(gguf_writer, what_cannot_be_written)
{
    struct gguf_builder *builder = five_tensors();
    struct gguf_writer *writer = NULL;
    struct base_error err = {0};

    cr_assert_eq(gguf_writer_new("/nonexistent/m.gguf", builder, 0, &writer, &err), BASE_IO);
    cr_assert_not_null(strstr(err.text, "/nonexistent/m.gguf"), "%s", err.text);
    cr_assert_null(writer);
    gguf_builder_u32(builder, "general.architecture", 1);
    cr_assert_eq(gguf_writer_new(path, builder, 0, &writer, &err), BASE_INVALID);
    cr_assert_eq(count_and_remove(), 0);
    gguf_builder_destroy(&builder);
}
