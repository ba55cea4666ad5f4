#include "cli_parse.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Digits at *text_p as an id; moves *text_p behind them. */
static bool read_id(const char **text_p, uint32_t *ret_id)
{
    const char *text = *text_p;
    uint32_t value = 0;

    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++) {
        value = value * 10 + (uint32_t)(*text - '0');
        if (value >= LIMIT_VOCAB_MAX)
            return false;
    }
    *text_p = text;
    *ret_id = value;
    return true;
}

static const char *skip_space(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* An upper bound of the ids in text: each but the last is followed by a separator. */
static size_t count_elements(const char *text)
{
    size_t count = 1;

    for (; *text != '\0'; text++)
        count += *text == ',' || isspace((unsigned char)*text);
    return count;
}

int cli_parse_ids(const char *text, uint32_t **ret_ids, size_t *ret_count, struct base_error *err)
{
    const char *next = skip_space(text);
    size_t capacity = count_elements(next);
    size_t count = 0;

    if (*next == '\0')
        return base_error_set(err, BASE_INVALID, "the list of ids is empty");
    if (capacity > LIMIT_CONTEXT_TOKENS_MAX)
        capacity = LIMIT_CONTEXT_TOKENS_MAX;
    uint32_t *ids = base_alloc_array(capacity, sizeof(*ids));
    if (ids == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for %zu ids", capacity);

    for (;;) {
        if (count == LIMIT_CONTEXT_TOKENS_MAX) {
            base_free(ids);
            return base_error_set(err, BASE_TOO_BIG, "more than %d ids", LIMIT_CONTEXT_TOKENS_MAX);
        }
        const char *element = next;
        bool is_good = read_id(&next, &ids[count]);
        const char *behind = skip_space(next);
        /* Between two ids stands one comma, or white space only. */
        is_good = is_good && (*behind == '\0' || *behind == ',' || behind > next);
        if (!is_good) {
            base_free(ids);
            return base_error_set(err, BASE_INVALID,
                "id number %zu, '%.20s', is not a whole number below %d", count + 1, element,
                LIMIT_VOCAB_MAX);
        }
        count++;
        if (*behind == '\0')
            break;
        next = *behind == ',' ? skip_space(behind + 1) : behind;
    }
    *ret_ids = ids;
    *ret_count = count;
    return BASE_OK;
}

int cli_parse_logit_bias(
    const char *text, struct lmesh_logit_bias *ret_bias, struct base_error *err)
{
    const char *next = text;
    uint32_t id = 0;
    char *end;

    if (!read_id(&next, &id) || *next != '=' || next[1] == '\0' || isspace((unsigned char)next[1]))
        return base_error_set(err, BASE_INVALID, "'%.40s' is not of the form ID=BIAS", text);
    double bias = strtod(next + 1, &end);
    bool is_ban = isinf(bias) && bias < 0;
    if (*end != '\0' || end == next + 1 || (!is_ban && !(fabs(bias) <= 1e6)))
        return base_error_set(err, BASE_INVALID,
            "'%.40s': the bias must be a number from -1000000 to 1000000 or -inf", text);
    *ret_bias = (struct lmesh_logit_bias){id, (float)bias};
    return BASE_OK;
}

/* ---- chats ---- */

static bool is_role(const char *role)
{
    return strcmp(role, "system") == 0 || strcmp(role, "user") == 0 ||
           strcmp(role, "assistant") == 0;
}

/* The strings of one message, borrowed from its object. */
static int read_message(
    const json_t *object, size_t index, struct lmesh_message *ret_message, struct base_error *err)
{
    const char *role = json_string_value(json_object_get(object, "role"));
    const char *content = json_string_value(json_object_get(object, "content"));

    if (!json_is_object(object))
        return base_error_set(err, BASE_MALFORMED, "message %zu is not an object", index);
    if (role == NULL || !is_role(role))
        return base_error_set(err, BASE_MALFORMED,
            "message %zu: role must be \"system\", \"user\" or \"assistant\"", index);
    if (content == NULL)
        return base_error_set(err, BASE_MALFORMED, "message %zu: content must be a string", index);
    if (json_object_size(object) != 2)
        return base_error_set(
            err, BASE_MALFORMED, "message %zu has keys beside role and content", index);
    *ret_message = (struct lmesh_message){role, content};
    return BASE_OK;
}

static int read_messages(const json_t *list, struct cli_chat *ret_chat, struct base_error *err)
{
    size_t count = json_array_size(list);

    if (!json_is_array(list))
        return base_error_set(
            err, BASE_MALFORMED, "expected a list of messages or {\"messages\": [...]}");
    if (count == 0)
        return base_error_set(err, BASE_MALFORMED, "the list of messages is empty");
    if (count > LIMIT_CHAT_MESSAGES)
        return base_error_set(
            err, BASE_TOO_BIG, "%zu messages; at most %d are allowed", count, LIMIT_CHAT_MESSAGES);
    ret_chat->messages = base_alloc_zeroed(count, sizeof(*ret_chat->messages));
    if (ret_chat->messages == NULL)
        return base_error_set(err, BASE_NOMEM, "no memory for %zu messages", count);
    ret_chat->count = count;
    for (size_t i = 0; i < count; i++) {
        int rc = read_message(json_array_get(list, i), i, &ret_chat->messages[i], err);
        if (rc != BASE_OK)
            return rc;
    }
    return BASE_OK;
}

int cli_parse_chat(
    const char *data, size_t bytes, struct cli_chat *ret_chat, struct base_error *err)
{
    struct cli_chat chat = {0};
    json_error_t where;

    if (bytes > CLI_CHAT_BYTES_MAX)
        return base_error_set(
            err, BASE_TOO_BIG, "chat of %zu bytes; at most %u", bytes, CLI_CHAT_BYTES_MAX);
    json_t *root = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL)
        return base_error_set(
            err, BASE_MALFORMED, "line %d, column %d: %s", where.line, where.column, where.text);
    chat.owner = root;
    int rc =
        read_messages(json_is_object(root) ? json_object_get(root, "messages") : root, &chat, err);
    if (rc != BASE_OK) {
        cli_chat_release(&chat);
        return rc;
    }
    *ret_chat = chat;
    return BASE_OK;
}

void cli_chat_release(struct cli_chat *self)
{
    base_free(self->messages);
    if (self->owner != NULL)
        json_decref(self->owner);
    *self = (struct cli_chat){0};
}
