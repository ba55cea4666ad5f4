/* The coordinator's list of keys, as a file that is replaced whole. */
#include "keys_internal.h"

#include "base_alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD          "layermesh-store"
#define VERSION       "1"
#define ROW_WORDS     9
#define ROW_BYTES_MAX 320
#define KEEP_TOKENS_S 604800u
#define NONE          "-"

int keys_path(
    const char *folder, const char *name, char ret_path[KEYS_PATH_BYTES], struct base_error *err)
{
    const int length = snprintf(ret_path, KEYS_PATH_BYTES, "%s/%s", folder, name);

    if (length > 0 && length < KEYS_PATH_BYTES)
        return BASE_OK;
    return base_error_set(err, BASE_INVALID, "%.40s...: path too long", folder);
}

/* "-" is none. */
static bool take_key(char *out, const char *word, bool required)
{
    if (!required && strcmp(word, NONE) == 0)
        return true;
    if (!net_key_is_text(word))
        return false;
    memcpy(out, word, LIMIT_KEY_BYTES);
    return true;
}

/* key PUBLIC ROLE NAME ISSUED EXPIRES REVOKED GRANTS USED-BY */
static bool take_row(char *words[KEYS_WORDS_MAX], int count, struct keys_row *ret)
{
    if (count != ROW_WORDS || strcmp(words[0], "key") != 0 || !keys_is_name(words[3]) ||
        !take_key(ret->public_key, words[1], true) || !net_role_parse(words[2], &ret->role) ||
        !keys_parse_number(words[4], &ret->issued_s) ||
        !keys_parse_number(words[5], &ret->expires_s) ||
        !keys_parse_number(words[6], &ret->revoked_s) || !take_key(ret->used_by, words[8], false))
        return false;
    memcpy(ret->name, words[3], strlen(words[3]) + 1);
    return strcmp(words[7], NONE) == 0 || net_role_parse(words[7], &ret->grants);
}

static int parse(const char *path, char *text, struct keys_store *ret, struct base_error *err)
{
    char *words[KEYS_WORDS_MAX];
    int line = 2;
    int count = keys_next_line(&text, words);

    if (count != 2 || strcmp(words[0], HEAD) != 0 || strcmp(words[1], VERSION) != 0)
        return base_error_set(
            err, BASE_MALFORMED, "%s: does not start with '%s %s'", path, HEAD, VERSION);
    count = keys_next_line(&text, words);
    if (count != 2 || strcmp(words[0], "serial") != 0 || !keys_parse_number(words[1], &ret->serial))
        return base_error_set(err, BASE_MALFORMED, "%s: line 2 is no serial", path);
    while ((count = keys_next_line(&text, words)) >= 0) {
        line++;
        if (count == 0)
            continue;
        if (ret->count == LIMIT_KEYS_MAX)
            return base_error_set(err, BASE_TOO_BIG, "%s: over %d keys", path, LIMIT_KEYS_MAX);
        if (!take_row(words, count, &ret->rows[ret->count++]))
            return base_error_set(err, BASE_MALFORMED, "%s: line %d is not valid", path, line);
    }
    return BASE_OK;
}

int keys_store_read(const char *folder, struct keys_store *ret, struct keys_stamp *ret_stamp,
    struct base_error *err)
{
    char path[KEYS_PATH_BYTES];
    char *text = NULL;
    struct keys_store store = {.serial = 0};
    int rc = keys_path(folder, KEYS_NAME_STORE, path, err);

    if (rc == BASE_OK)
        rc = keys_text_read(path, &text, ret_stamp, err);
    if (rc != BASE_OK)
        return rc;
    store.rows = base_alloc_zeroed(LIMIT_KEYS_MAX, sizeof(*store.rows));
    rc = store.rows == NULL ? base_error_set(err, BASE_NOMEM, "%s: no memory", path)
                            : parse(path, text, &store, err);
    base_free(text);
    if (rc == BASE_OK)
        *ret = store;
    else
        keys_store_release(&store);
    return rc;
}

void keys_store_release(struct keys_store *self)
{
    base_free(self->rows);
    *self = (struct keys_store){.serial = 0};
}

bool keys_store_changed(const char *folder, const struct keys_stamp *stamp)
{
    char path[KEYS_PATH_BYTES];
    struct stat info;

    return keys_path(folder, KEYS_NAME_STORE, path, NULL) != BASE_OK || stat(path, &info) != 0 ||
           info.st_ino != stamp->inode || info.st_size != stamp->bytes ||
           info.st_mtim.tv_sec != stamp->changed.tv_sec ||
           info.st_mtim.tv_nsec != stamp->changed.tv_nsec;
}

int keys_store_lock(const char *folder, bool wait, int *ret_lock, struct base_error *err)
{
    char path[KEYS_PATH_BYTES];
    int rc = keys_path(folder, "lock", path, err);

    if (rc != BASE_OK)
        return rc;
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (fd < 0)
        return base_error_set(err, BASE_IO, "%s: %s", path, strerror(errno));
    if (flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB) != 0) {
        rc = base_error_set(
            err, errno == EWOULDBLOCK ? BASE_AGAIN : BASE_IO, "%s: %s", path, strerror(errno));
        (void)close(fd);
        return rc;
    }
    *ret_lock = fd;
    return BASE_OK;
}

void keys_store_unlock(int lock)
{
    (void)close(lock);
}

int keys_store_write(const char *folder, struct keys_store *self, struct base_error *err)
{
    char path[KEYS_PATH_BYTES];
    const size_t capacity = (self->count + 1) * ROW_BYTES_MAX;
    int rc = keys_path(folder, KEYS_NAME_STORE, path, err);

    if (rc != BASE_OK)
        return rc;
    char *text = base_alloc(capacity);
    if (text == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", path);
    self->serial++;
    size_t used =
        (size_t)snprintf(text, capacity, HEAD " " VERSION "\nserial %" PRIu64 "\n", self->serial);
    for (size_t i = 0; i < self->count; i++) {
        const struct keys_row *row = &self->rows[i];
        used += (size_t)snprintf(text + used, capacity - used,
            "key %s %s %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %s\n", row->public_key,
            net_role_name(row->role), row->name, row->issued_s, row->expires_s, row->revoked_s,
            row->grants == 0 ? NONE : net_role_name(row->grants),
            row->used_by[0] == 0 ? NONE : row->used_by);
    }
    rc = keys_text_write(path, text, used, true, err);
    base_free(text);
    return rc;
}

bool keys_row_is_admitted(const struct keys_row *row, uint64_t now_s)
{
    return row->revoked_s == 0 && (row->expires_s == 0 || row->expires_s > now_s);
}

static bool is_old_token(const struct keys_row *row, uint64_t now_s)
{
    return row->role == WIRE_ROLE_JOIN && row->expires_s != 0 &&
           row->expires_s + KEEP_TOKENS_S < now_s;
}

struct keys_row *keys_store_add(struct keys_store *self, uint64_t now_s, struct base_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->count; i++)
        if (!is_old_token(&self->rows[i], now_s))
            self->rows[kept++] = self->rows[i];
    self->count = kept;
    if (self->count == LIMIT_KEYS_MAX) {
        (void)base_error_set(err, BASE_FULL, "the store has %d keys, its most", LIMIT_KEYS_MAX);
        return NULL;
    }
    struct keys_row *row = &self->rows[self->count++];
    *row = (struct keys_row){.issued_s = now_s};
    return row;
}

struct keys_row *keys_store_find_name(
    struct keys_store *self, enum wire_role role, const char *name, uint64_t now_s)
{
    for (size_t i = 0; i < self->count; i++)
        if (self->rows[i].role == role && strcmp(self->rows[i].name, name) == 0 &&
            keys_row_is_admitted(&self->rows[i], now_s))
            return &self->rows[i];
    return NULL;
}

struct keys_row *keys_store_find_key(struct keys_store *self, const char *public_key)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->rows[i].public_key, public_key) == 0)
            return &self->rows[i];
    return NULL;
}

size_t keys_store_admitted(const struct keys_store *self, uint64_t now_s, uint32_t mask,
    struct wire_admitted *out, uint64_t *ret_until_s)
{
    size_t count = 0;

    *ret_until_s = 0;
    for (size_t i = 0; i < self->count; i++) {
        const struct keys_row *row = &self->rows[i];
        if (!keys_row_is_admitted(row, now_s) || (mask != 0 && (mask & 1u << row->role) == 0))
            continue;
        if (row->expires_s != 0 && (*ret_until_s == 0 || row->expires_s < *ret_until_s))
            *ret_until_s = row->expires_s;
        out[count] = (struct wire_admitted){.role = row->role};
        memcpy(out[count].public_key, row->public_key, LIMIT_KEY_BYTES);
        memcpy(out[count].name, row->name, LIMIT_NAME_BYTES);
        count++;
    }
    return count;
}
