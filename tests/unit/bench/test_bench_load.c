#include "bench_load.h"

#include "base_err.h"
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void remove_folder(const char *folder)
{
    char path[512];
    DIR *entries = opendir(folder);

    for (const struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        (void)snprintf(path, sizeof(path), "%s/%.255s", folder, entry->d_name);
        (void)unlink(path);
    }
    if (entries != NULL)
        (void)closedir(entries);
    (void)rmdir(folder);
}

Test(bench_load, loads_with_and_without_packed_weights)
{
    char folder[] = "bench-load-XXXXXX";
    struct base_error err = {0};
    double seconds = 0;

    cr_assert_not_null(mkdtemp(folder));
    int rc = bench_load(DEMO_MODEL, NULL, &seconds, &err);
    if (rc == BASE_OK)
        rc = bench_load_warm(DEMO_MODEL, folder, &err);
    double cached_seconds = 0;
    if (rc == BASE_OK)
        rc = bench_load(DEMO_MODEL, folder, &cached_seconds, &err);
    remove_folder(folder);
    cr_assert_eq(rc, BASE_OK, "%s", err.text);
    cr_assert_gt(seconds, 0);
    cr_assert_gt(cached_seconds, 0);
}

Test(bench_load, a_cache_that_cannot_be_and_a_model_that_is_not_are_errors)
{
    struct base_error err = {0};
    double seconds = 0;

    cr_assert_neq(bench_load("/nonexistent.gguf", NULL, &seconds, &err), BASE_OK);
    cr_assert(strstr(err.text, "/nonexistent.gguf") != NULL, "%s", err.text);
    err = (struct base_error){0};
    cr_assert_neq(bench_load_warm(DEMO_MODEL, "/dev/null/folder", &err), BASE_OK);
    cr_assert(strstr(err.text, "/dev/null/folder") != NULL, "%s", err.text);
}
