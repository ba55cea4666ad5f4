/* Parts of reading a tokenizer.json that its files share. Private to this module. */
#ifndef TEXT_JSON_H
#define TEXT_JSON_H

#include "text_internal.h"
#include <jansson.h>

struct base_error;

/* A member that is a string: its bytes; NULL when there is none of that type. Borrowed. */
const char *text_json_string(const json_t *object, const char *key, size_t *ret_bytes);

/* "type" of an object, "" when it has none. Borrowed. */
const char *text_json_type(const json_t *object);

/* A member that is true or false; fallback when it is absent or null. */
bool text_json_flag(const json_t *object, const char *key, bool fallback);

/* Each reads one member of the root into *self. null and absent are empty steps. Return BASE_OK,
 * BASE_MALFORMED, BASE_UNSUPPORTED, BASE_TOO_BIG or BASE_NOMEM with where in the file. */
int text_json_normalizer(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err);
int text_json_pre_tokenizer(
    struct text_tokenizer *self, const json_t *node, struct base_error *err);
int text_json_post_processor(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err);
int text_json_decoder(
    struct text_tokenizer *self, const json_t *node, unsigned depth, struct base_error *err);

#endif
