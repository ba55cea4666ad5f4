/*
 * A struct gguf that no GGUF file stands behind: header from a builder, rows from a function. All
 * of gguf.h works on it. Tensor offsets are those of the file that would be written.
 */
#ifndef GGUF_VIEW_H
#define GGUF_VIEW_H

#include "gguf.h"

struct gguf_builder;

/* Where rows come from. Any thread calls read_rows and advise, several at a time. */
struct gguf_source {
    void *context;
    /* As gguf_read_rows(), with the index of the tensor; the rows exist. */
    int (*read_rows)(void *context, size_t tensor, uint64_t row_first, uint64_t row_count,
        uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err);
    void (*advise)(void *context, size_t tensor, bool needed); /* or NULL */
    void (*release)(void *context);                            /* at gguf_close(); or NULL */
};

/*
 * Makes a view of what builder holds (borrowed). path is what messages call it; identity is mixed
 * into the fingerprint: something that differs when the data behind the rows does. source is
 * copied; its context is the view's after success and stays the caller's on failure. Returns
 * BASE_OK and a file closed with gguf_close(), or BASE_MALFORMED, BASE_INVALID, BASE_UNSUPPORTED
 * or BASE_NOMEM.
 */
int gguf_open_view(const struct gguf_builder *builder, const char *path,
    const struct gguf_source *source, const void *identity, size_t identity_bytes,
    struct gguf **ret_file, struct base_error *err);

#endif
