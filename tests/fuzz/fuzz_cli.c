/* What is typed at the command line. The first byte picks the parser. */
#include "base_alloc.h"
#include "base_err.h"
#include "cli_parse.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void parse_text(char parser, const char *text)
{
    struct base_error err = {0};
    struct lmesh_logit_bias bias = {0};
    uint32_t *ids = NULL;
    size_t count = 0;

    if (parser == 'b') {
        (void)cli_parse_logit_bias(text, &bias, &err);
        return;
    }
    int rc = cli_parse_ids(text, &ids, &count, &err);
    if ((rc == BASE_OK) != (count > 0) || (rc == BASE_OK) != (err.text[0] == '\0'))
        abort();
    base_free(ids);
}

static void parse_chat(const char *text, size_t bytes)
{
    struct base_error err = {0};
    struct cli_chat chat = {0};
    int rc = cli_parse_chat(text, bytes, &chat, &err);

    if ((rc == BASE_OK) != (chat.count > 0) || (rc == BASE_OK) != (err.text[0] == '\0'))
        abort();
    for (size_t i = 0; i < chat.count; i++)
        if (strlen(chat.messages[i].role) == 0 || strlen(chat.messages[i].content) > bytes)
            abort();
    cli_chat_release(&chat);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    if (data[0] == 'c') {
        parse_chat((const char *)data + 1, bytes - 1);
        return 0;
    }
    char *text = malloc(bytes);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = '\0';
    parse_text((char)data[0], text);
    free(text);
    return 0;
}
