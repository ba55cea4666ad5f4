/* JSON files, bounded in size and depth, and fields of objects with messages that name them. */
#ifndef HF_JSON_H
#define HF_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_error;

/* A file that is read as a whole; data has a NUL behind it. Freed with base_free(). Returns BASE_OK,
 * BASE_NOT_FOUND (no message), BASE_IO, BASE_TOO_BIG or BASE_NOMEM. */
int hf_read_text(const char *folder, const char *name, size_t bytes_max, char **ret_text,
    size_t *ret_bytes, struct base_error *err);

/* Text to an object or array, by depth at most LIMIT_JSON_DEPTH; keys that appear twice are
 * refused. name is for messages. Freed with json_decref(). Returns BASE_OK or BASE_MALFORMED. */
int hf_parse_json(
    const char *text, size_t bytes, const char *name, json_t **ret_json, struct base_error *err);

/* Both. BASE_NOT_FOUND without a message when there is no such file; the root is an object. */
int hf_read_json(const char *folder, const char *name, size_t bytes_max, json_t **ret_json,
    struct base_error *err);

/* An object of some file, for messages: "config.json: hidden_size: ...". */
struct hf_object {
    const char *file;
    const json_t *json;
    struct base_error *err;
};

/* Each leaves *value as it was when the key is absent or null. Return BASE_OK or BASE_MALFORMED. */
int hf_get_u32(const struct hf_object *self, const char *key, uint32_t *value);
int hf_get_float(const struct hf_object *self, const char *key, double *value);
int hf_get_bool(const struct hf_object *self, const char *key, bool *value);
int hf_get_text(const struct hf_object *self, const char *key, const char **value); /* borrowed */

/* Whether the key is there and not null. */
bool hf_has(const struct hf_object *self, const char *key);

#endif
