#include "cli_command.h"
#include "cli_parse.h"
#include "cli_vocabulary.h"

#include "base_alloc.h"
#include "base_err.h"
#include "text_tokenizer.h"

/* The bytes as they are: a token may be half a character, and the next one its other half. */
static int print_text(const struct cli_command *command, const struct cli_vocabulary *vocabulary,
    const uint32_t *ids, size_t count)
{
    size_t vocab_size = text_vocab_size(vocabulary->tokenizer);
    bool is_first = true;

    for (size_t i = 0; i < count; i++)
        if (ids[i] >= vocab_size)
            return cli_fail(command, "id %u: the model has %zu tokens", ids[i], vocab_size);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        const char *piece = text_piece(vocabulary->tokenizer, ids[i], &bytes);
        if (is_first && bytes > 0 && piece[0] == ' ' && vocabulary->drops_first_space) {
            piece++;
            bytes--;
            is_first = false;
        }
        if (bytes > 0)
            is_first = false;
        (void)fwrite(piece, 1, bytes, stdout);
    }
    return cli_finish(command);
}

int cmd_detokenize(const struct cli_command *command, int argc, char **argv)
{
    const char *model_path = NULL, *ids_text = NULL;
    const struct base_option options[] = {
        {.name = "model",
            .type = BASE_OPTION_STRING,
            .target = &model_path,
            .value_name = "FILE",
            .help = "GGUF file whose tokenizer is used"},
        {.name = "ids",
            .type = BASE_OPTION_STRING,
            .target = &ids_text,
            .value_name = "1,2,3",
            .help = "token ids"},
    };
    struct cli_vocabulary vocabulary = {0};
    struct base_error err = {0};
    uint32_t *ids = NULL;
    size_t count = 0;
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    if (model_path == NULL || ids_text == NULL)
        return cli_usage(command, "--model and --ids are needed");
    if (cli_parse_ids(ids_text, &ids, &count, &err) != BASE_OK)
        return cli_usage(command, "--ids: %s", err.text);

    if (cli_vocabulary_open(model_path, &vocabulary, &err) == BASE_OK)
        exit_status = print_text(command, &vocabulary, ids, count);
    else
        exit_status = cli_fail(command, "%s", err.text);
    cli_vocabulary_close(&vocabulary);
    base_free(ids);
    return exit_status;
}
