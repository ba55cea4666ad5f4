#include "cli_answer.h"
#include "cli_client.h"
#include "cli_command.h"
#include "cli_parse.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct generate {
    const struct cli_command *command;
    struct cli_client client;
    /* as typed */
    const char *prompt, *ids_text, *chat_path;
    double temperature, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty;
    struct base_option_list stops, biases;
    bool ignore_eos, json;
    /* as sent */
    struct lmesh_generate_options options;
    uint32_t *ids;
    struct cli_chat chat;
    struct lmesh_logit_bias logit_biases[BASE_OPTION_LIST_MAX];
    struct cli_answer answer;
    int output_errno; /* why the text could not be written; 0: it could */
};

#define NUMBER(long_name, letter_, type_, target_, min_, max_, value, text)                        \
    {                                                                                              \
        .name = (long_name), .letter = (letter_), .type = (type_), .target = (target_),            \
        .min = (min_), .max = (max_), .value_name = (value), .help = (text)                        \
    }
#define TEXT(long_name, letter_, type_, target_, value, text)                                      \
    {                                                                                              \
        .name = (long_name), .letter = (letter_), .type = (type_), .target = (target_),            \
        .value_name = (value), .help = (text)                                                      \
    }

static bool parse_command_line(struct generate *self, int argc, char **argv, int *ret_exit)
{
    struct lmesh_generate_options *o = &self->options;
    const struct base_option rows[] = {
        TEXT("prompt", 'p', BASE_OPTION_STRING, &self->prompt, "TEXT", "text to continue"),
        TEXT("ids", 0, BASE_OPTION_STRING, &self->ids_text, "1,2,3", "token ids to continue"),
        TEXT("chat", 0, BASE_OPTION_STRING, &self->chat_path, "FILE",
            "JSON list of messages, or {\"messages\": [...]}, to answer"),
        NUMBER("max-tokens", 'n', BASE_OPTION_U32, &o->max_tokens, 0, 0, "MAX",
            "most tokens to make; 0: to the end of the context"),
        NUMBER("temperature", 0, BASE_OPTION_F64, &self->temperature, 0, 100, "T", "0: greedy"),
        NUMBER("top-k", 0, BASE_OPTION_U32, &o->top_k, 0, 0, "K", "draw from the K best; 0: off"),
        NUMBER("top-p", 0, BASE_OPTION_F64, &self->top_p, 0, 1, "P",
            "draw from the best that together have P; 0: off"),
        NUMBER("min-p", 0, BASE_OPTION_F64, &self->min_p, 0, 1, "P",
            "draw from those that have P times the best one's; 0: off"),
        NUMBER("seed", 0, BASE_OPTION_U64, &o->seed, 0, 0, "S", "of the random numbers"),
        TEXT("stop", 0, BASE_OPTION_LIST, &self->stops, "STR",
            "end before this text; may be repeated"),
        TEXT("ignore-eos", 0, BASE_OPTION_FLAG, &self->ignore_eos, NULL,
            "go on where the model would end"),
        NUMBER("repeat-penalty", 0, BASE_OPTION_F64, &self->repeat_penalty, 0, 100, "X",
            "divides the logits of recent tokens; 0 or 1: off"),
        NUMBER("repeat-last-n", 0, BASE_OPTION_U32, &o->repeat_last_n, 0, 0, "N",
            "tokens that the penalties look back on; 0: 64"),
        NUMBER("presence-penalty", 0, BASE_OPTION_F64, &self->presence_penalty, -100, 100, "X",
            "taken from the logit of a recent token"),
        NUMBER("frequency-penalty", 0, BASE_OPTION_F64, &self->frequency_penalty, -100, 100, "X",
            "the same for each time it occurred"),
        TEXT("logit-bias", 0, BASE_OPTION_LIST, &self->biases, "ID=BIAS",
            "added to a token's logit, -inf bans it; may be repeated"),
        NUMBER("top-logprobs", 0, BASE_OPTION_U32, &o->top_logprobs, 0, LIMIT_TOP_LOGPROBS, "N",
            "with --json: the N likeliest tokens at each position"),
        NUMBER("deadline-ms", 0, BASE_OPTION_U32, &o->deadline_ms, 0, 0, "MS",
            "fail when not done by then; 0: none"),
        TEXT("json", 0, BASE_OPTION_FLAG, &self->json, NULL, "print one object at the end"),
        CLI_CLIENT_OPTIONS(&self->client),
    };

    o->max_tokens = 128;
    if (!cli_parse_options(
            self->command, rows, sizeof(rows) / sizeof(rows[0]), argc, argv, NULL, ret_exit))
        return false;
    o->temperature = (float)self->temperature;
    o->top_p = (float)self->top_p;
    o->min_p = (float)self->min_p;
    o->repeat_penalty = (float)self->repeat_penalty;
    o->presence_penalty = (float)self->presence_penalty;
    o->frequency_penalty = (float)self->frequency_penalty;
    o->ignore_eos = self->ignore_eos;
    o->stops = self->stops.items;
    o->stop_count = self->stops.count;
    o->logit_biases = self->logit_biases;
    return true;
}

static int read_chat(struct generate *self)
{
    struct base_error err = {0};
    size_t bytes = 0;
    char *data = cli_read_file(self->chat_path, CLI_CHAT_BYTES_MAX, &bytes, &err);

    if (data == NULL)
        return cli_fail(self->command, "%s", err.text);
    int rc = cli_parse_chat(data, bytes, &self->chat, &err);
    base_free(data);
    if (rc != BASE_OK)
        return cli_fail(self->command, "%s: %s", self->chat_path, err.text);
    self->options.messages = self->chat.messages;
    self->options.message_count = self->chat.count;
    return CLI_EXIT_OK;
}

static int read_prompt(struct generate *self)
{
    struct base_error err = {0};
    struct lmesh_generate_options *o = &self->options;
    int forms = (self->prompt != NULL) + (self->ids_text != NULL) + (self->chat_path != NULL);

    if (forms != 1)
        return cli_usage(self->command, "give exactly one of -p, --ids and --chat");
    for (size_t i = 0; i < self->biases.count; i++)
        if (cli_parse_logit_bias(self->biases.items[i], &self->logit_biases[i], &err) != BASE_OK)
            return cli_usage(self->command, "--logit-bias: %s", err.text);
    o->logit_bias_count = self->biases.count;
    if (self->chat_path != NULL)
        return read_chat(self);
    o->prompt = self->prompt;
    if (self->ids_text == NULL)
        return CLI_EXIT_OK;
    if (cli_parse_ids(self->ids_text, &self->ids, &o->id_count, &err) != BASE_OK)
        return cli_usage(self->command, "--ids: %s", err.text);
    o->ids = self->ids;
    return CLI_EXIT_OK;
}

/* On a terminal that shows the text itself, progress would stand in its middle: only a last line. */
static void show_progress(const struct generate *self, bool is_end)
{
    bool is_text_seen = !self->json && isatty(STDOUT_FILENO);

    if (!isatty(STDERR_FILENO) || (is_text_seen && !is_end))
        return;
    (void)fprintf(stderr, "%s%zu tokens", is_text_seen ? "\n" : "\r", self->answer.token_count);
    if (is_end)
        (void)fprintf(stderr, ", first after %.0f ms, %.1f tokens/s\n", self->answer.last.ttft_ms,
            cli_answer_tokens_per_second(&self->answer));
}

/* Reads the answer to its end, or to its failure. */
static int receive(struct generate *self, struct lmesh_request *request)
{
    const struct lmesh_part *part = NULL;

    do {
        int code = cli_client_next(request, &part);
        if (code != LMESH_OK)
            return code;
        cli_answer_add(&self->answer, part);
        if (!self->json && part->text_bytes > 0 &&
            (fwrite(part->text, 1, part->text_bytes, stdout) != part->text_bytes ||
                fflush(stdout) != 0)) {
            self->output_errno = errno; /* nobody reads on: the request is given up */
            return LMESH_OK;
        }
        show_progress(self, part->finish != LMESH_FINISH_NONE);
    } while (part->finish == LMESH_FINISH_NONE);
    return LMESH_OK;
}

static int report(struct generate *self, int code)
{
    if (self->output_errno != 0)
        return cli_fail(self->command, "writing to stdout: %s", strerror(self->output_errno));
    if (code != LMESH_OK && !cli_interrupt_seen())
        return cli_fail(self->command, "%s", lmesh_client_error(self->client.client));
    if (self->json &&
        !cli_json_print(cli_answer_json(&self->answer, self->options.top_logprobs > 0)))
        return cli_fail(self->command, "the answer could not be printed");
    int exit_status = cli_finish(self->command);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    if (code != LMESH_OK || self->answer.last.finish == LMESH_FINISH_CANCELLED)
        return cli_fail(self->command, "cancelled after %zu tokens", self->answer.token_count);
    return CLI_EXIT_OK;
}

static int ask(struct generate *self)
{
    struct lmesh_request *request = NULL;
    int exit_status = cli_client_open(&self->client, self->command);

    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    cli_interrupt_catch();
    int code = lmesh_generate(self->client.client, &self->options, &request);
    if (code == LMESH_ERR_INVALID)
        return cli_usage(self->command, "%s", lmesh_client_error(self->client.client));
    if (code == LMESH_OK)
        code = receive(self, request);
    exit_status = report(self, code);
    lmesh_request_destroy(&request);
    return exit_status;
}

int cmd_generate(const struct cli_command *command, int argc, char **argv)
{
    struct generate self = {.command = command};
    int exit_status = CLI_EXIT_OK;

    if (!parse_command_line(&self, argc, argv, &exit_status))
        return exit_status;
    cli_answer_init(&self.answer);
    exit_status = read_prompt(&self);
    if (exit_status == CLI_EXIT_OK)
        exit_status = ask(&self);
    cli_client_close(&self.client);
    cli_answer_release(&self.answer);
    cli_chat_release(&self.chat);
    base_free(self.ids);
    return exit_status;
}
