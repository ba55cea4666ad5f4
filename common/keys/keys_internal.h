/* Shared by the files of keys/, included by nobody else. */
#ifndef KEYS_INTERNAL_H
#define KEYS_INTERNAL_H

#include "base_err.h"
#include "keys.h"

#define KEYS_FILE_BYTES_MAX 524288
#define KEYS_WORDS_MAX      12

/* Reads a text file that only its owner may read. *ret_text is freed by base_free(); NUL-terminated,
 * without other NULs. ret_stamp may be NULL. */
int keys_text_read(
    const char *path, char **ret_text, struct keys_stamp *ret_stamp, struct base_error *err);

/* Writes path by way of a file beside it, synced; mode 0600. replace: also if path exists. */
int keys_text_write(
    const char *path, const char *text, size_t bytes, bool replace, struct base_error *err);

/* Cuts the next line off *rest into words. Returns their number; -1 at the end. Too many words
 * count as KEYS_WORDS_MAX + 1. */
int keys_next_line(char **rest, char *words[KEYS_WORDS_MAX]);

bool keys_parse_number(const char *text, uint64_t *ret);

#endif
