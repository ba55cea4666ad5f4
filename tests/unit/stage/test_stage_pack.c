/* The cache of packed weights: the same results from it, and nothing that does not fit is used. */
#include "stage_pack.h"

#include "base_err.h"
#include "base_log.h"
#include "model.h"
#include "stage.h"
#include "tensor_pool.h"
#include "tensor_type.h"
#include "tiny_gguf.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VOCAB = 64, LAYERS = 3 };

static char folder[64], model_path[96], cache[96];
static struct base_error err;

static void remove_all(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    char name[512];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            remove_all(name);
    }
    if (directory != NULL)
        (void)closedir(directory);
    (void)rmdir(path);
}

static void write_model(uint64_t seed, uint32_t wide)
{
    const struct tiny_gguf_options options = {.seed = seed,
        .layer_count = LAYERS,
        .embedding_length = wide,
        .feed_forward = 3 * wide,
        .vocab_size = VOCAB,
        .weight_type = TENSOR_Q8_0};
    const struct timespec times[2] = {{1000000000, 5}, {1000000000, 5}};

    cr_assert_eq(tiny_gguf_write(&options, model_path), 0);
    cr_assert_eq(utimensat(AT_FDCWD, model_path, times, 0), 0);
}

static void setup(void)
{
    base_log_init("test", BASE_LOG_ERROR);
    (void)snprintf(folder, sizeof(folder), "/tmp/stage-pack-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(model_path, sizeof(model_path), "%s/tiny.gguf", folder);
    (void)snprintf(cache, sizeof(cache), "%s/cache", folder);
    write_model(1, 64);
}

static void cleanup(void)
{
    remove_all(folder);
}

TestSuite(stage_pack, .init = setup, .fini = cleanup);

/* Logits of one prompt with the whole model as a stage. */
static int try_model(const char *pack_cache, bool map_weights, float logits[VOCAB])
{
    const struct stage_options options = {.layer_count = LAYERS,
        .embeds = true,
        .has_head = true,
        .page_tokens = 8,
        .page_count = 4,
        .batch_tokens_max = 16,
        .context_length = 32,
        .pack_cache = pack_cache,
        .map_weights = map_weights};
    const uint32_t tokens[] = {3, 1, 4, 1, 5}, pages[] = {0, 1, 2, 3};
    const struct stage_sequence sequence = {0, 5, pages, 4, STAGE_LOGITS_FULL, 0};
    struct stage_output output;
    struct model *model = NULL;
    struct stage *stage = NULL;

    cr_assert_eq(model_open(model_path, &model, &err), BASE_OK, "%s", err.text);
    int rc = stage_load(model, &options, NULL, NULL, NULL, &stage, &err);
    if (rc == BASE_OK) {
        cr_assert_eq(
            stage_run(stage, NULL, &sequence, 1, tokens, sizeof(tokens), &output, &err), BASE_OK);
        memcpy(logits, output.payload + output.rows[0].offset, VOCAB * sizeof(float));
    }
    stage_destroy(&stage);
    model_close(&model);
    return rc;
}

static void run_model(const char *pack_cache, bool map_weights, float logits[VOCAB])
{
    cr_assert_eq(try_model(pack_cache, map_weights, logits), BASE_OK, "%s", err.text);
}

static void unit_path(uint32_t unit, char path[256])
{
    DIR *directory = opendir(cache);
    struct dirent *entry;
    char end[16];

    (void)snprintf(end, sizeof(end), "-%04u.p16", unit);
    path[0] = '\0';
    cr_assert_not_null(directory);
    while ((entry = readdir(directory)) != NULL)
        if (strstr(entry->d_name, end) != NULL)
            (void)snprintf(path, 256, "%s/%.100s", cache, entry->d_name);
    (void)closedir(directory);
    cr_assert_neq(path[0], '\0');
}

/* What reading a unit of the cache says. */
static int read_unit(uint32_t unit)
{
    struct model *model = NULL;
    const uint8_t *mapping = NULL;
    struct tensor_pool *pool = NULL;

    cr_assert_eq(tensor_pool_new(3, &pool), BASE_OK);
    memset(&err, 0, sizeof(err));
    cr_assert_eq(model_open(model_path, &model, &err), BASE_OK);
    uint8_t *memory = malloc(stage_pack_bytes(model, unit));
    int rc = stage_pack_read(cache, model, unit, pool, memory, &err);
    int mapped = stage_pack_map(cache, model, unit, &mapping, &err);
    cr_assert_eq(rc, mapped);
    if (mapped == BASE_OK) {
        cr_assert_eq(memcmp(memory, mapping, stage_pack_bytes(model, unit)), 0);
        (void)munmap((void *)mapping, stage_pack_bytes(model, unit));
    }
    free(memory);
    model_close(&model);
    tensor_pool_destroy(&pool);
    return rc;
}

static void flip_byte(const char *path, off_t offset)
{
    uint8_t byte = 0;
    int fd = open(path, O_RDWR);

    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x20;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

Test(stage_pack, a_second_start_takes_the_weights_from_there)
{
    float expected[VOCAB], logits[VOCAB];

    run_model(NULL, false, expected);
    cr_assert_eq(read_unit(1), BASE_NOT_FOUND);
    for (int start = 0; start < 2; start++) {
        run_model(cache, false, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
        cr_assert_eq(read_unit(0), BASE_OK);
        cr_assert_eq(read_unit(1), BASE_OK);
        cr_assert_eq(read_unit(LAYERS + 1), BASE_OK);
    }
    run_model(cache, true, logits);
    cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
}

Test(stage_pack, a_first_start_can_map_what_it_has_written)
{
    float expected[VOCAB], logits[VOCAB];

    run_model(NULL, false, expected);
    run_model(cache, true, logits);
    cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
    cr_assert_eq(read_unit(2), BASE_OK);
}

/* The weights in the cache really are what is computed with. */
Test(stage_pack, what_is_read_is_used)
{
    float before[VOCAB], after[VOCAB];
    struct model *model = NULL;

    run_model(cache, false, before);
    cr_assert_eq(model_open(model_path, &model, &err), BASE_OK);
    size_t bytes = stage_pack_bytes(model, 1);
    uint8_t *memory = malloc(bytes);
    cr_assert_eq(stage_pack_read(cache, model, 1, NULL, memory, &err), BASE_OK);
    memory[40] ^= 0x40; /* a weight of q */
    cr_assert_eq(stage_pack_write(cache, model, 1, memory, &err), BASE_OK);
    free(memory);
    model_close(&model);
    run_model(cache, false, after);
    cr_assert_neq(memcmp(before, after, sizeof(before)), 0);
}

Test(stage_pack, what_is_damaged_is_ignored_and_made_anew)
{
    static const off_t places[] = {0, 9, 17, 33, 41, 60, 70, 79, 2 << 20, (2 << 20) + 4321};
    float expected[VOCAB], logits[VOCAB];
    char path[256];

    run_model(cache, false, expected);
    unit_path(1, path);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        flip_byte(path, places[i]);
        cr_assert_eq(read_unit(1), BASE_MALFORMED, "byte %ld", (long)places[i]);
        cr_assert_neq(err.text[0], '\0');
        run_model(cache, i % 2 == 1, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
        cr_assert_eq(read_unit(1), BASE_OK, "written again");
    }
    struct stat whole;
    cr_assert_eq(stat(path, &whole), 0);
    const off_t lengths[] = {0, 50, 4096, 2 << 20, whole.st_size - 1, whole.st_size + 1};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        cr_assert_eq(truncate(path, lengths[i]), 0);
        cr_assert_eq(read_unit(1), BASE_MALFORMED, "length %ld", (long)lengths[i]);
        run_model(cache, false, logits);
        cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
    }
}

/* The same metadata, size and times, but other weights. */
Test(stage_pack, another_model_of_the_same_shape_is_not_taken_for_this_one)
{
    float first[VOCAB], expected[VOCAB], logits[VOCAB];

    run_model(cache, false, first);
    write_model(2, 64);
    cr_assert_eq(read_unit(1), BASE_MALFORMED);
    run_model(NULL, false, expected);
    cr_assert_neq(memcmp(first, expected, sizeof(first)), 0);
    run_model(cache, false, logits);
    cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
}

Test(stage_pack, a_folder_that_cannot_be_made_stops_nothing)
{
    float expected[VOCAB], logits[VOCAB];

    run_model(NULL, false, expected);
    run_model(model_path, false, logits); /* it is a file */
    cr_assert_eq(memcmp(logits, expected, sizeof(logits)), 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Kilobytes that count as data of this process. */
static rlim_t data_bytes(void)
{
    char line[128];
    unsigned long long kilobytes = 0;
    FILE *status = fopen("/proc/self/status", "re");

    cr_assert_not_null(status);
    while (fgets(line, sizeof(line), status) != NULL)
        if (strncmp(line, "VmData:", 7) == 0)
            kilobytes = strtoull(line + 7, NULL, 10);
    (void)fclose(status);
    return (rlim_t)kilobytes * 1024;
}

/* 40 MB of weights, 13 MB a layer; 64 MB for one layer at a time beside activations (30 MB) and the
 * stacks of threads, which is too little for all. */
Test(stage_pack, a_model_larger_than_memory_is_mapped)
{
    const struct rlimit limit = {data_bytes() + ((rlim_t)64 << 20), RLIM_INFINITY};
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    float expected[VOCAB], logits[2][VOCAB];

    write_model(3, 1024);
    cr_assert_eq(setrlimit(RLIMIT_DATA, &limit), 0);
    int without = try_model(NULL, false, expected);
    int first = try_model(cache, true, logits[0]);
    int second = try_model(cache, true, logits[1]);
    cr_assert_eq(setrlimit(RLIMIT_DATA, &none), 0);
    cr_assert_eq(without, BASE_NOMEM);
    cr_assert(first == BASE_OK && second == BASE_OK, "%s", err.text);
    run_model(NULL, false, expected);
    cr_assert_eq(memcmp(logits[0], expected, sizeof(expected)), 0);
    cr_assert_eq(memcmp(logits[1], expected, sizeof(expected)), 0);
}
#endif
