/* Views: a header from a builder, parsed like a file's, so that the same checks hold. */
#include "gguf_view.h"
#include "gguf_builder.h"
#include "gguf_internal.h"

#include "base_err.h"
#include <xxhash.h>

int gguf_open_view(const struct gguf_builder *builder, const char *path,
    const struct gguf_source *source, const void *identity, size_t identity_bytes,
    struct gguf **ret_file, struct base_error *err)
{
    struct gguf *self = gguf_new(path);
    uint8_t *data = NULL;
    int rc;

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "%s: no memory", gguf_path_tail(path));
    struct gguf_part *part = &self->parts[0];
    rc = gguf_builder_header(builder, NULL, &data, &part->bytes, err);
    if (rc == BASE_OK) {
        part->data = data;
        part->owned = true;
        part->view = true;
        rc = gguf_parse_part(self, part, err);
    }
    if (rc != BASE_OK) {
        gguf_close(&self);
        return rc;
    }
    self->fingerprint = gguf_hash_headers(self, XXH3_64bits(identity, identity_bytes));
    self->source = *source;
    *ret_file = self;
    return BASE_OK;
}
