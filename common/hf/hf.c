/* Opening a folder: config, weights, tokenizer, and the view of them. */
#include "hf_internal.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "gguf_builder.h"
#include "gguf_view.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define QUANTIZATION_VERSION 2 /* of the block layouts, as GGUF files say it */

/* What a view needs as long as it is open. */
struct folder {
    struct hf_weights *weights;
    struct hf_config config;
    struct hf_outputs outputs;
};

static void folder_release(void *context)
{
    struct folder *self = context;

    if (self == NULL)
        return;
    hf_outputs_release(&self->outputs);
    hf_config_release(&self->config);
    hf_weights_close(&self->weights);
    base_free(self);
}

static int folder_read_rows(void *context, size_t tensor, uint64_t row_first, uint64_t row_count,
    uint8_t *buffer, const uint8_t **ret_rows, struct base_error *err)
{
    const struct folder *self = context;

    return hf_read_rows(&self->outputs.items[tensor], row_first, row_count, buffer, ret_rows, err);
}

static void folder_advise(void *context, size_t tensor, bool needed)
{
    const struct folder *self = context;
    const struct hf_output *output = &self->outputs.items[tensor];

    for (size_t i = 0; i < output->source_count; i++)
        hf_weights_advise(self->weights, output->sources[i], needed);
    if (output->scales != NULL)
        hf_weights_advise(self->weights, output->scales, needed);
}

/* The folder's own name, as the model's. */
static void put_name(struct gguf_builder *builder, const char *folder)
{
    char *path = realpath(folder, NULL);
    const char *name = path != NULL ? strrchr(path, '/') : NULL;

    if (name != NULL && name[1] != '\0')
        gguf_builder_string(builder, "general.name", name + 1);
    free(path);
}

/* The type that most weights have. */
static uint32_t file_type(const struct hf_outputs *outputs)
{
    static const struct {
        uint32_t type, file_type;
    } rows[] = {{GGUF_F32, 0}, {GGUF_F16, 1}, {GGUF_BF16, 32}, {GGUF_MXFP4, 38}};
    uint64_t most = 0;
    uint32_t found = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t elements = 0;
        for (size_t j = 0; j < outputs->count; j++) {
            const struct hf_output *o = &outputs->items[j];
            uint64_t count = 1;
            for (uint32_t k = 0; k < o->dimension_count; k++)
                count *= o->dimensions[k];
            elements += o->type == rows[i].type ? count : 0;
        }
        if (elements > most) {
            most = elements;
            found = rows[i].file_type;
        }
    }
    return found;
}

/* How sentence-transformers makes one vector of all: GGUF's 1 mean, 2 first, 3 last. */
static int put_pooling(const char *path, const struct hf_config *config,
    struct gguf_builder *builder, struct base_error *err)
{
    static const struct {
        const char *flag;
        uint32_t pooling;
    } rows[] = {{"pooling_mode_mean_tokens", 1}, {"pooling_mode_cls_token", 2},
        {"pooling_mode_lasttoken", 3}};
    json_t *json = NULL;
    char key[96];
    int rc = hf_read_json(path, "1_Pooling/config.json", LIMIT_CONFIG_JSON_BYTES, &json, err);

    if (rc != BASE_OK)
        return rc == BASE_NOT_FOUND ? BASE_OK : rc;
    (void)snprintf(key, sizeof(key), "%s.pooling_type", config->family->gguf);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (json_is_true(json_object_get(json, rows[i].flag)) && !gguf_builder_has(builder, key))
            gguf_builder_u32(builder, key, rows[i].pooling);
    json_decref(json);
    return BASE_OK;
}

static int fill(struct folder *self, const char *path, const json_t *config,
    struct gguf_builder *builder, struct base_error *err)
{
    int rc = hf_read_config(config, builder, &self->config, err);

    if (rc == BASE_OK)
        rc = put_pooling(path, &self->config, builder, err);
    if (rc == BASE_OK)
        put_name(builder, path);
    if (rc == BASE_OK)
        rc = hf_weights_open(path, &self->weights, err);
    if (rc == BASE_OK)
        rc = hf_map_tensors(self->weights, &self->config, &self->outputs, err);
    if (rc != BASE_OK)
        return rc;
    gguf_builder_u32(builder, "general.file_type", file_type(&self->outputs));
    gguf_builder_u32(builder, "general.quantization_version", QUANTIZATION_VERSION);
    for (size_t i = 0; i < self->outputs.count; i++) {
        const struct hf_output *o = &self->outputs.items[i];
        gguf_builder_tensor(builder, o->name, o->type, o->dimension_count, o->dimensions);
    }
    return hf_read_tokenizer(path, config, builder, err);
}

int hf_open(const char *path, struct gguf **ret_file, struct base_error *err)
{
    struct folder *self = base_alloc_zeroed(1, sizeof(*self));
    struct gguf_builder *builder = NULL;
    json_t *config = NULL;
    int rc = self != NULL ? gguf_builder_new(&builder) : BASE_NOMEM;

    if (rc != BASE_OK)
        (void)base_error_set(err, rc, "no memory");
    if (rc == BASE_OK)
        rc = hf_read_json(path, "config.json", LIMIT_CONFIG_JSON_BYTES, &config, err);
    if (rc == BASE_NOT_FOUND)
        rc = base_error_set(err, BASE_IO, "config.json: there is none");
    if (rc == BASE_OK)
        rc = fill(self, path, config, builder, err);
    if (rc == BASE_OK) {
        struct gguf_source source = {self, folder_read_rows, folder_advise, folder_release};
        uint64_t identity = hf_weights_identity(self->weights);
        rc = gguf_open_view(builder, path, &source, &identity, sizeof(identity), ret_file, err);
    }
    json_decref(config);
    gguf_builder_destroy(&builder);
    if (rc != BASE_OK) {
        folder_release(self);
        (void)base_error_prepend(err, rc, "%s", gguf_path_tail(path));
    }
    return rc;
}

int hf_open_model(const char *path, struct gguf **ret_file, struct base_error *err)
{
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return hf_open(path, ret_file, err);
    return gguf_open(path, ret_file, err);
}
