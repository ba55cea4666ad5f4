#include "cli_answer.h"
#include "cli_command.h"
#include "cli_vocabulary.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include "text_tokenizer.h"

static int print_ids(const struct cli_command *command, const struct text_ids *ids, bool is_json)
{
    if (!is_json) {
        for (size_t i = 0; i < ids->count; i++)
            (void)printf("%s%u", i > 0 ? " " : "", ids->ids[i]);
        (void)printf("\n");
        return cli_finish(command);
    }
    json_t *list = json_array();
    for (size_t i = 0; i < ids->count; i++)
        (void)json_array_append_new(list, json_integer(ids->ids[i]));
    if (!cli_json_print(json_pack("{s:o}", "ids", list)))
        return cli_fail(command, "the result could not be printed");
    return cli_finish(command);
}

int cmd_tokenize(const struct cli_command *command, int argc, char **argv)
{
    const char *model_path = NULL;
    bool no_special = false, json = false;
    const struct base_option options[] = {
        {.name = "model",
            .type = BASE_OPTION_STRING,
            .target = &model_path,
            .value_name = "FILE",
            .help = "GGUF file whose tokenizer is used"},
        {.name = "no-special",
            .type = BASE_OPTION_FLAG,
            .target = &no_special,
            .help = "do not add the tokens that begin or end a text"},
        {.name = "json",
            .type = BASE_OPTION_FLAG,
            .target = &json,
            .help = "print {\"ids\":[...]}"},
    };
    struct cli_vocabulary vocabulary = {0};
    struct text_ids ids = {0};
    struct base_error err = {0};
    char *text = NULL;
    size_t bytes = 0;
    int exit_status = CLI_EXIT_OK;

    if (!cli_parse_options(
            command, options, sizeof(options) / sizeof(options[0]), argc, argv, NULL, &exit_status))
        return exit_status;
    if (model_path == NULL)
        return cli_usage(command, "--model is missing");

    int rc = cli_vocabulary_open(model_path, &vocabulary, &err);
    if (rc == BASE_OK) {
        text = cli_read_file(NULL, LIMIT_PROMPT_BYTES, &bytes, &err);
        rc = text != NULL ? BASE_OK : err.code;
    }
    if (rc == BASE_OK)
        rc = text_encode(vocabulary.tokenizer, text, bytes,
            TEXT_PARSE_SPECIAL | (no_special ? 0u : TEXT_ADD_SPECIAL), &ids, &err);
    exit_status =
        rc == BASE_OK ? print_ids(command, &ids, json) : cli_fail(command, "%s", err.text);
    text_ids_release(&ids);
    base_free(text);
    cli_vocabulary_close(&vocabulary);
    return exit_status;
}
