/* Runs a fuzz harness over every file of a corpus folder, so that old findings stay fixed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return -1;
    long size = ftell(file);
    rewind(file);
    /* An exact heap block, so that a read past the end is seen by the sanitizer. */
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    int rc = -1;
    if (data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size)
        rc = LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    (void)fclose(file);
    return rc;
}

int main(int argc, char **argv)
{
    unsigned count = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            (void)fprintf(stderr, "%s: no such corpus\n", argv[i]);
            return 1;
        }
        for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            (void)snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            if (replay_file(path) != 0) {
                (void)fprintf(stderr, "%s: could not be replayed\n", path);
                return 1;
            }
            count++;
        }
        (void)closedir(folder);
    }
    (void)printf("replayed %u files\n", count);
    return count > 0 ? 0 : 1; /* an empty corpus checks nothing */
}
