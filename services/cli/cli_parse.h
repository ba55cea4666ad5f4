/*
 * What a person or a program types at the command line, as hostile input: lists of ids, biases,
 * chats in JSON. Pure functions; any thread.
 */
#ifndef CLI_PARSE_H
#define CLI_PARSE_H

#include "layermesh.h"
#include <stddef.h>
#include <stdint.h>

struct base_error;

/* A chat file may be this long: every byte of the longest prompt escaped, and the markup. */
#define CLI_CHAT_BYTES_MAX (6u * 4194304u + 1048576u)

/*
 * "1,2,3": decimal ids with commas or white space between them. Returns BASE_OK and a list freed
 * with base_free(), or BASE_INVALID (empty list, empty element, sign, letter, id not below
 * LIMIT_VOCAB_MAX; *err names element and position), BASE_TOO_BIG over LIMIT_CONTEXT_TOKENS_MAX
 * ids, BASE_NOMEM.
 */
int cli_parse_ids(const char *text, uint32_t **ret_ids, size_t *ret_count, struct base_error *err);

/* "ID=BIAS"; BIAS is a number or "-inf", which bans the token. Returns BASE_OK or BASE_INVALID. */
int cli_parse_logit_bias(
    const char *text, struct lmesh_logit_bias *ret_bias, struct base_error *err);

/* Messages of a chat; the strings live in owner. */
struct cli_chat {
    struct lmesh_message *messages;
    size_t count;
    void *owner;
};

/*
 * {"messages":[{"role":"user","content":"..."}, ...]} or the bare list; other keys are refused in
 * a message and ignored beside "messages". Returns BASE_OK and a chat released with
 * cli_chat_release(), or BASE_MALFORMED (*err: line, column or message number), BASE_TOO_BIG,
 * BASE_NOMEM.
 */
int cli_parse_chat(
    const char *data, size_t bytes, struct cli_chat *ret_chat, struct base_error *err);

/* Accepts a released or zeroed chat. */
void cli_chat_release(struct cli_chat *self);

#endif
