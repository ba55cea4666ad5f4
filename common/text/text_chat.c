#include "text_chat.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "text_internal.h"
#include <string.h>

/* One encoding in progress. */
struct chat {
    const struct text_tokenizer *tokenizer;
    uint32_t start_id, end_id;
    struct text_ids *ids;
    struct base_error *err;
};

/* The model's template is recognised by its markup; rendering other templates comes later. */
static int find_markup(struct chat *self)
{
    const char *chat_template = text_chat_template(self->tokenizer);
    int64_t start = text_find(self->tokenizer, "<|im_start|>");
    int64_t end = text_find(self->tokenizer, "<|im_end|>");

    if (chat_template != NULL && (strstr(chat_template, "<|im_start|>") == NULL ||
                                     strstr(chat_template, "<|im_end|>") == NULL))
        return base_error_set(self->err, BASE_UNSUPPORTED,
            "chat: the model's template is not ChatML, the only one known so far");
    if (start < 0 || end < 0)
        return base_error_set(self->err, BASE_UNSUPPORTED,
            "chat: the vocabulary has no <|im_start|> and <|im_end|>, so the model does not speak "
            "ChatML, the only chat format known so far");
    self->start_id = (uint32_t)start;
    self->end_id = (uint32_t)end;
    return BASE_OK;
}

static int put_id(struct chat *self, uint32_t id)
{
    if (text_ids_append(self->ids, &id, 1) != BASE_OK)
        return base_error_set(self->err, BASE_NOMEM, "chat: no memory");
    return BASE_OK;
}

static int check(struct chat *self, const struct text_chat_message *messages, size_t message_count)
{
    size_t bytes = 0;

    if (message_count == 0)
        return base_error_set(self->err, BASE_INVALID, "chat: no messages");
    if (message_count > LIMIT_CHAT_MESSAGES)
        return base_error_set(self->err, BASE_TOO_BIG,
            "chat: %zu messages, limit %d (LIMIT_CHAT_MESSAGES)", message_count,
            LIMIT_CHAT_MESSAGES);
    for (size_t i = 0; i < message_count; i++) {
        const char *role = messages[i].role;
        if (strcmp(role, "system") != 0 && strcmp(role, "user") != 0 &&
            strcmp(role, "assistant") != 0)
            return base_error_set(self->err, BASE_INVALID,
                "chat: message %zu: role \"%.64s\" is not system, user or assistant", i, role);
        if (messages[i].content_bytes > LIMIT_PROMPT_BYTES - bytes)
            return base_error_set(self->err, BASE_TOO_BIG,
                "chat: more than %d bytes of content (LIMIT_PROMPT_BYTES)", LIMIT_PROMPT_BYTES);
        bytes += messages[i].content_bytes;
    }
    return BASE_OK;
}

/*
 * Role and content are tokenised as one stretch, as they stand in the rendered text; what the
 * content says in markup stays text, because control tokens are not parsed there.
 */
static int put_message(struct chat *self, const struct text_chat_message *message)
{
    size_t role_bytes = strlen(message->role);
    size_t bytes = role_bytes + 1 + message->content_bytes;
    char *text = base_alloc(bytes);

    if (text == NULL)
        return base_error_set(self->err, BASE_NOMEM, "chat: no memory");
    memcpy(text, message->role, role_bytes);
    text[role_bytes] = '\n';
    if (message->content_bytes > 0)
        memcpy(text + role_bytes + 1, message->content, message->content_bytes);
    int rc = put_id(self, self->start_id);
    if (rc == BASE_OK)
        rc = text_encode(self->tokenizer, text, bytes, 0, self->ids, self->err);
    if (rc == BASE_OK)
        rc = put_id(self, self->end_id);
    if (rc == BASE_OK)
        rc = text_encode(self->tokenizer, "\n", 1, 0, self->ids, self->err);
    base_free(text);
    return rc;
}

int text_chat_encode(const struct text_tokenizer *tokenizer,
    const struct text_chat_message *messages, size_t message_count, struct text_ids *ids,
    struct base_error *err)
{
    static const char answer[] = "assistant\n";
    struct chat chat = {.tokenizer = tokenizer, .ids = ids, .err = err};
    size_t count_before = ids->count;
    int rc = find_markup(&chat);

    if (rc == BASE_OK)
        rc = check(&chat, messages, message_count);
    for (size_t i = 0; rc == BASE_OK && i < tokenizer->prefix.count; i++)
        rc = put_id(&chat, tokenizer->prefix.ids[i]);
    for (size_t i = 0; rc == BASE_OK && i < message_count; i++)
        rc = put_message(&chat, &messages[i]);
    if (rc == BASE_OK)
        rc = put_id(&chat, chat.start_id);
    if (rc == BASE_OK)
        rc = text_encode(tokenizer, answer, sizeof(answer) - 1, 0, ids, err);
    if (rc != BASE_OK)
        ids->count = count_before;
    return rc;
}
