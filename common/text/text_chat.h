/* Chat messages to a prompt. For now ChatML only; another template is a clear error. */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include "text_tokenizer.h"

struct text_chat_message {
    const char *role; /* system, user, assistant */
    const char *content;
    size_t content_bytes;
};

/*
 * Renders the messages and the opening of the assistant's turn, and tokenises: markup becomes
 * control tokens, content never does, whatever is written in it. Appends to *ids. Returns BASE_OK,
 * BASE_UNSUPPORTED when the model's template is not ChatML, BASE_INVALID for an unknown role or an
 * empty list, BASE_TOO_BIG, BASE_NOMEM.
 */
int text_chat_encode(const struct text_tokenizer *tokenizer,
    const struct text_chat_message *messages, size_t message_count, struct text_ids *ids,
    struct base_error *err);

#endif
