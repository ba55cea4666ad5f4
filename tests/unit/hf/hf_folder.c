#include "hf_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];

static void need(int ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

void hf_folder_make(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/layermesh-hf-XXXXXX");
    need(mkdtemp(folder) != NULL, "mkdtemp");
}

void hf_folder_remove(void)
{
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    char path[512];

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            (void)unlink(path);
    }
    if (directory != NULL)
        (void)closedir(directory);
    (void)rmdir(folder);
}

const char *hf_folder_path(void)
{
    return folder;
}

void hf_folder_write(const char *name, const void *data, size_t bytes)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    need(file != NULL, path);
    need(bytes == 0 || fwrite(data, 1, bytes, file) == bytes, path);
    need(fclose(file) == 0, path);
}

void hf_folder_text(const char *name, const char *text)
{
    hf_folder_write(name, text, strlen(text));
}

uint8_t *hf_folder_weights(const char *header, size_t data_bytes, size_t *ret_bytes)
{
    size_t length = strlen(header);
    uint64_t padded = (length + 7) / 8 * 8;
    uint8_t *data = malloc(8 + (size_t)padded + data_bytes);

    need(data != NULL, "malloc");
    memcpy(data, &padded, 8);
    memset(data + 8, ' ', (size_t)padded);
    memcpy(data + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        data[8 + padded + i] = (uint8_t)(i % 251);
    *ret_bytes = 8 + (size_t)padded + data_bytes;
    return data;
}
