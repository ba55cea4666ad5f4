/* Small text files that nobody else may read. */
#include "keys_internal.h"

#include "base_alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_access(const char *path, const struct stat *info, struct base_error *err)
{
    if (!S_ISREG(info->st_mode))
        return base_error_set(err, BASE_DENIED, "%s: is no file", path);
    if ((info->st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return base_error_set(err, BASE_DENIED,
            "%s: has mode %04o; a file with keys must be readable by its owner only (chmod 600)",
            path, (unsigned)(info->st_mode & 07777));
    if (info->st_uid != geteuid() && info->st_uid != 0)
        return base_error_set(err, BASE_DENIED, "%s: belongs to another user", path);
    if (info->st_size > KEYS_FILE_BYTES_MAX)
        return base_error_set(
            err, BASE_MALFORMED, "%s: is over %d bytes", path, KEYS_FILE_BYTES_MAX);
    return BASE_OK;
}

static int read_all(int fd, const char *path, char *text, size_t bytes, struct base_error *err)
{
    for (size_t at = 0; at < bytes;) {
        const ssize_t count = read(fd, text + at, bytes - at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return base_error_set(
                err, BASE_IO, "read %s: %s", path, count < 0 ? strerror(errno) : "ended early");
        at += (size_t)count;
    }
    if (memchr(text, 0, bytes) != NULL)
        return base_error_set(err, BASE_MALFORMED, "%s: is no text", path);
    return BASE_OK;
}

int keys_text_read(
    const char *path, char **ret_text, struct keys_stamp *ret_stamp, struct base_error *err)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return base_error_set(
            err, errno == ENOENT ? BASE_NOT_FOUND : BASE_IO, "%s: %s", path, strerror(errno));
    int rc = BASE_OK;
    char *text = NULL;
    if (fstat(fd, &info) != 0)
        rc = base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
    else
        rc = check_access(path, &info, err);
    if (rc == BASE_OK) {
        text = base_alloc_zeroed((size_t)info.st_size + 1, 1);
        rc = text == NULL ? base_error_set(err, BASE_NOMEM, "%s: no memory", path)
                          : read_all(fd, path, text, (size_t)info.st_size, err);
    }
    (void)close(fd);
    if (rc != BASE_OK) {
        base_free(text);
        return rc;
    }
    if (ret_stamp != NULL)
        *ret_stamp = (struct keys_stamp){info.st_ino, info.st_size, info.st_mtim};
    *ret_text = text;
    return BASE_OK;
}

static bool write_all(int fd, const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const ssize_t count = write(fd, text + at, bytes - at);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        at += (size_t)count;
    }
    return fsync(fd) == 0;
}

/* So that the new name survives a crash, too. */
static void sync_folder(const char *path)
{
    char folder[KEYS_PATH_BYTES];
    const char *slash = strrchr(path, '/');

    (void)snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
        slash == NULL ? "." : path);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

int keys_text_write(
    const char *path, const char *text, size_t bytes, bool replace, struct base_error *err)
{
    char beside[KEYS_PATH_BYTES];
    const int length = snprintf(beside, sizeof(beside), "%s.%ld.new", path, (long)getpid());

    if (length < 0 || (size_t)length >= sizeof(beside))
        return base_error_set(err, BASE_INVALID, "%.40s...: path too long", path);
    (void)unlink(beside);
    const int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return base_error_set(err, BASE_IO, "%s: %s", beside, strerror(errno));
    int rc = BASE_OK;
    if (!write_all(fd, text, bytes))
        rc = base_error_set(err, BASE_IO, "write %s: %s", beside, strerror(errno));
    (void)close(fd);
    if (rc == BASE_OK && replace && rename(beside, path) != 0)
        rc = base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
    if (rc == BASE_OK && !replace && link(beside, path) != 0)
        rc = base_error_set(
            err, errno == EEXIST ? BASE_FULL : BASE_IO, "%s: %s", path, strerror(errno));
    if (rc != BASE_OK || !replace)
        (void)unlink(beside);
    if (rc == BASE_OK)
        sync_folder(path);
    return rc;
}

int keys_next_line(char **rest, char *words[KEYS_WORDS_MAX])
{
    char *line = *rest;
    int count = 0;

    if (line[0] == 0)
        return -1;
    char *end = strchr(line, '\n');
    *rest = end == NULL ? line + strlen(line) : end + 1;
    if (end != NULL)
        *end = 0;
    for (char *at = line; *at != 0;) {
        at += strspn(at, " \t\r");
        if (*at == 0)
            break;
        if (count == KEYS_WORDS_MAX)
            return KEYS_WORDS_MAX + 1;
        words[count++] = at;
        at += strcspn(at, " \t\r");
        if (*at != 0)
            *at++ = 0;
    }
    return count;
}

bool keys_parse_number(const char *text, uint64_t *ret)
{
    uint64_t value = 0;

    if (text[0] == 0 || strlen(text) > 18)
        return false;
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *ret = value;
    return true;
}
