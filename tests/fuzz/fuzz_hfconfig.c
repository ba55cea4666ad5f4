/* A config.json from an attacker: to metadata, and the header of a file from that. */
#include "gguf_builder.h"
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct gguf_builder *builder = NULL;
    struct base_error err = {0};
    struct hf_config config;
    struct gguf *file = NULL;
    json_t *json = NULL;
    uint8_t *header = NULL;
    size_t header_bytes = 0;

    if (hf_parse_json((const char *)data, bytes, "fuzz", &json, &err) != BASE_OK)
        return 0;
    if (gguf_builder_new(&builder) != BASE_OK)
        abort();
    if (hf_read_config(json, builder, &config, &err) == BASE_OK &&
        gguf_builder_header(builder, NULL, &header, &header_bytes, &err) == BASE_OK &&
        gguf_open_memory(header, header_bytes, "fuzz", &file, &err) != BASE_OK)
        abort(); /* what was understood makes a file */
    gguf_close(&file);
    base_free(header);
    hf_config_release(&config);
    gguf_builder_destroy(&builder);
    json_decref(json);
    return 0;
}
