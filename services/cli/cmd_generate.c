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
    double typical_p, top_n_sigma, xtc_probability, xtc_threshold, dynatemp_range,
        dynatemp_exponent;
    double dry_multiplier, dry_base;
    const char *stop_ids_text, *suppress_text;
    struct base_option_list stops, biases, breakers;
    bool ignore_eos, json, has_logprobs;
    uint32_t logprobs;
    /* as sent */
    struct lmesh_generate_options options;
    uint32_t *ids, *stop_ids, *suppress;
    struct cli_chat chat;
    struct lmesh_logit_bias logit_biases[BASE_OPTION_LIST_MAX];
    struct cli_answer answers[LIMIT_CHOICES];
    uint32_t choice_count, shown; /* shown: the choice whose text is being printed */
    int output_errno;             /* why the text could not be written; 0: it could */
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

#define OPTION_ROWS 48

/* What to continue, and how far. */
static size_t prompt_rows(struct generate *self, struct base_option *ret)
{
    struct lmesh_generate_options *o = &self->options;
    const struct base_option rows[] = {
        TEXT("prompt", 'p', BASE_OPTION_STRING, &self->prompt, "TEXT", "text to continue"),
        TEXT("ids", 0, BASE_OPTION_STRING, &self->ids_text, "1,2,3", "token ids to continue"),
        TEXT("chat", 0, BASE_OPTION_STRING, &self->chat_path, "FILE",
            "JSON list of messages, or {\"messages\": [...]}, to answer"),
        NUMBER("max-tokens", 'n', BASE_OPTION_U32, &o->max_tokens, 0, 0, "MAX",
            "most tokens to make; 0: to the end of the context"),
        NUMBER("choices", 0, BASE_OPTION_U32, &o->choices, 1, LIMIT_CHOICES, "COUNT",
            "answers to the prompt; number i is made with seed + i"),
        TEXT("stop", 0, BASE_OPTION_LIST, &self->stops, "STR",
            "end before this text; may be repeated"),
        TEXT("stop-ids", 0, BASE_OPTION_STRING, &self->stop_ids_text, "1,2,3",
            "tokens that end the answer as an end token does"),
        TEXT("ignore-eos", 0, BASE_OPTION_FLAG, &self->ignore_eos, NULL,
            "go on where the model would end"),
        NUMBER("min-tokens", 0, BASE_OPTION_U32, &o->min_tokens, 0, 0, "MIN",
            "no end token and no stop id before so many"),
        NUMBER("deadline-ms", 0, BASE_OPTION_U32, &o->deadline_ms, 0, 0, "MS",
            "fail when not done by then; 0: none"),
        NUMBER("logprobs", 0, BASE_OPTION_U32, &self->logprobs, 0, LIMIT_TOP_LOGPROBS, "N",
            "print each token with its log-probability and the N likeliest"),
        NUMBER("top-logprobs", 0, BASE_OPTION_U32, &o->top_logprobs, 0, LIMIT_TOP_LOGPROBS, "N",
            "with --json: the N likeliest tokens at each position, ids only"),
        TEXT("json", 0, BASE_OPTION_FLAG, &self->json, NULL, "print one object at the end"),
    };

    memcpy(ret, rows, sizeof(rows));
    return sizeof(rows) / sizeof(rows[0]);
}

/* How logits become a token, in the order in which it happens. */
static size_t sampler_rows(struct generate *self, struct base_option *ret)
{
    struct lmesh_generate_options *o = &self->options;
    const struct base_option rows[] = {
        TEXT("logit-bias", 0, BASE_OPTION_LIST, &self->biases, "ID=BIAS",
            "added to a token's logit, -inf bans it; may be repeated"),
        TEXT("suppress", 0, BASE_OPTION_STRING, &self->suppress_text, "1,2,3",
            "tokens that are never chosen"),
        NUMBER("repeat-penalty", 0, BASE_OPTION_F64, &self->repeat_penalty, 0, 100, "X",
            "divides the logits of recent tokens; 0 or 1: off"),
        NUMBER("repeat-last-n", 0, BASE_OPTION_U32, &o->repeat_last_n, 0, 0, "N",
            "tokens that the penalties look back on; 0: 64"),
        NUMBER("presence-penalty", 0, BASE_OPTION_F64, &self->presence_penalty, -100, 100, "X",
            "taken from the logit of a recent token"),
        NUMBER("frequency-penalty", 0, BASE_OPTION_F64, &self->frequency_penalty, -100, 100, "X",
            "the same for each time it occurred"),
        NUMBER("dry-multiplier", 0, BASE_OPTION_F64, &self->dry_multiplier, 0, 100, "X",
            "DRY: taken from a token that would go on with a repeat; 0: off"),
        NUMBER("dry-base", 0, BASE_OPTION_F64, &self->dry_base, 0, 100, "X",
            "DRY: times this for each token of the repeat; 0: 1.75"),
        NUMBER("dry-allowed-length", 0, BASE_OPTION_U32, &o->dry_allowed_length, 0, 0, "N",
            "DRY: shorter repeats are free; 0: 2"),
        NUMBER("dry-penalty-last-n", 0, BASE_OPTION_U32, &o->dry_last_n, 0, 0, "N",
            "DRY: tokens looked back on; 0: 8192"),
        TEXT("dry-sequence-breaker", 0, BASE_OPTION_LIST, &self->breakers, "STR",
            "DRY: a token with this text ends a repeat; may be repeated"),
        NUMBER("top-n-sigma", 0, BASE_OPTION_F64, &self->top_n_sigma, 0, 1000, "N",
            "draw from those within N standard deviations of the best logit; 0: off"),
        NUMBER("top-k", 0, BASE_OPTION_U32, &o->top_k, 0, 0, "K", "draw from the K best; 0: off"),
        NUMBER("typical", 0, BASE_OPTION_F64, &self->typical_p, 0, 1, "P",
            "draw from the most typical that together have P; 0: off"),
        NUMBER("top-p", 0, BASE_OPTION_F64, &self->top_p, 0, 1, "P",
            "draw from the best that together have P; 0: off"),
        NUMBER("min-p", 0, BASE_OPTION_F64, &self->min_p, 0, 1, "P",
            "draw from those that have P times the best one's; 0: off"),
        NUMBER("min-keep", 0, BASE_OPTION_U32, &o->min_keep, 0, 0, "N",
            "typical, top-p, min-p and XTC leave so many"),
        NUMBER("xtc-probability", 0, BASE_OPTION_F64, &self->xtc_probability, 0, 1, "P",
            "XTC: how often the likely ones but the last are left out; 0: off"),
        NUMBER("xtc-threshold", 0, BASE_OPTION_F64, &self->xtc_threshold, 0, 1, "P",
            "XTC: which are the likely ones; 0: 0.1"),
        NUMBER("temperature", 0, BASE_OPTION_F64, &self->temperature, 0, 100, "T", "0: greedy"),
        NUMBER("dynatemp-range", 0, BASE_OPTION_F64, &self->dynatemp_range, 0, 100, "R",
            "temperature from T - R to T + R, by the entropy; 0: off"),
        NUMBER("dynatemp-exp", 0, BASE_OPTION_F64, &self->dynatemp_exponent, 0, 100, "X",
            "exponent of the entropy for that; 0: 1"),
        NUMBER("seed", 0, BASE_OPTION_U64, &o->seed, 0, 0, "S", "of the random numbers"),
    };

    memcpy(ret, rows, sizeof(rows));
    return sizeof(rows) / sizeof(rows[0]);
}

static void take_options(struct generate *self)
{
    struct lmesh_generate_options *o = &self->options;

    o->temperature = (float)self->temperature;
    o->top_p = (float)self->top_p;
    o->min_p = (float)self->min_p;
    o->repeat_penalty = (float)self->repeat_penalty;
    o->presence_penalty = (float)self->presence_penalty;
    o->frequency_penalty = (float)self->frequency_penalty;
    o->typical_p = (float)self->typical_p;
    o->top_n_sigma = (float)self->top_n_sigma;
    o->xtc_probability = (float)self->xtc_probability;
    o->xtc_threshold = (float)self->xtc_threshold;
    o->dynatemp_range = (float)self->dynatemp_range;
    o->dynatemp_exponent = (float)self->dynatemp_exponent;
    o->dry_multiplier = (float)self->dry_multiplier;
    o->dry_base = (float)self->dry_base;
    o->dry_breakers = self->breakers.items;
    o->dry_breaker_count = self->breakers.count;
    o->ignore_eos = self->ignore_eos;
    o->stops = self->stops.items;
    o->stop_count = self->stops.count;
    o->logit_biases = self->logit_biases;
    if (self->logprobs != UINT32_MAX) {
        self->has_logprobs = true;
        o->token_bytes = 1;
        if (o->top_logprobs < self->logprobs)
            o->top_logprobs = self->logprobs;
    }
    self->choice_count = o->choices;
}

static bool parse_command_line(struct generate *self, int argc, char **argv, int *ret_exit)
{
    struct base_option rows[OPTION_ROWS];
    const struct base_option client_rows[] = {CLI_CLIENT_OPTIONS(&self->client)};
    size_t count = prompt_rows(self, rows);

    self->options.max_tokens = 128;
    self->options.choices = 1;
    self->logprobs = UINT32_MAX; /* not given */
    count += sampler_rows(self, rows + count);
    memcpy(rows + count, client_rows, sizeof(client_rows));
    count += sizeof(client_rows) / sizeof(client_rows[0]);
    if (!cli_parse_options(self->command, rows, count, argc, argv, NULL, ret_exit))
        return false;
    take_options(self);
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
    if (self->stop_ids_text != NULL &&
        cli_parse_ids(self->stop_ids_text, &self->stop_ids, &o->stop_id_count, &err) != BASE_OK)
        return cli_usage(self->command, "--stop-ids: %s", err.text);
    o->stop_ids = self->stop_ids;
    if (self->suppress_text != NULL &&
        cli_parse_ids(self->suppress_text, &self->suppress, &o->suppress_count, &err) != BASE_OK)
        return cli_usage(self->command, "--suppress: %s", err.text);
    o->suppress = self->suppress;
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
static void show_progress(const struct generate *self, const struct lmesh_part *part)
{
    bool is_text_seen = !self->json && isatty(STDOUT_FILENO);
    bool is_end = part->finish != LMESH_FINISH_NONE && part->choices_open == 0;
    size_t tokens = 0;

    if (!isatty(STDERR_FILENO) || (is_text_seen && !is_end))
        return;
    for (uint32_t i = 0; i < self->choice_count; i++)
        tokens += self->answers[i].token_count;
    (void)fprintf(stderr, "%s%zu tokens", is_text_seen ? "\n" : "\r", tokens);
    if (is_end)
        (void)fprintf(stderr, ", first after %.0f ms, %.1f tokens/s\n",
            self->answers[0].last.ttft_ms,
            part->total_ms > 0 ? (double)tokens * 1000.0 / part->total_ms : 0.0);
}

/* What has come of a choice and is not printed yet. Returns false when stdout fails. */
static bool print_text(struct generate *self, struct cli_answer *answer)
{
    size_t bytes = answer->text_bytes - answer->text_shown;

    if (bytes == 0)
        return true;
    size_t written = fwrite(answer->text + answer->text_shown, 1, bytes, stdout);
    answer->text_shown = answer->text_bytes;
    return written == bytes && fflush(stdout) == 0;
}

/* The line before a choice's text, when there are several. */
static bool print_heading(const struct generate *self, uint32_t choice)
{
    if (self->choice_count == 1)
        return true;
    return printf("%s--- choice %u ---\n", choice > 0 ? "\n" : "", choice) > 0;
}

/*
 * Choices are written at the same time, but printed one after the other: the first one as it comes,
 * each of the others as far as it is when those before it are done.
 */
static bool print_choices(struct generate *self)
{
    while (self->shown < self->choice_count) {
        struct cli_answer *answer = &self->answers[self->shown];
        if (!print_text(self, answer))
            return false;
        if (answer->last.finish == LMESH_FINISH_NONE)
            return true;
        if (self->has_logprobs) {
            (void)printf("\n");
            cli_answer_print_tokens(answer);
        }
        if (++self->shown < self->choice_count && !print_heading(self, self->shown))
            return false;
    }
    return true;
}

/* Reads the answers to their end, or to their failure. */
static int receive(struct generate *self, struct lmesh_request *request)
{
    const struct lmesh_part *part = NULL;

    if (!self->json)
        (void)print_heading(self, 0);
    do {
        int code = cli_client_next(request, &part);
        if (code != LMESH_OK)
            return code;
        if (part->choice >= self->choice_count)
            continue; /* not asked for */
        cli_answer_add(&self->answers[part->choice], part);
        if (!self->json && !print_choices(self)) {
            self->output_errno = errno; /* nobody reads on: the request is given up */
            return LMESH_OK;
        }
        show_progress(self, part);
    } while (part->finish == LMESH_FINISH_NONE || part->choices_open > 0);
    return LMESH_OK;
}

static bool print_json(const struct generate *self)
{
    unsigned form = (self->options.top_logprobs > 0 ? CLI_ANSWER_TOPS : 0u) |
                    (self->has_logprobs ? CLI_ANSWER_TOKENS : 0u);

    return cli_json_print(self->choice_count == 1
                              ? cli_answer_json(&self->answers[0], form)
                              : cli_answers_json(self->answers, self->choice_count, form));
}

/* One choice that failed while others did not is a failure too. */
static int report_choices(const struct generate *self)
{
    size_t tokens = 0;
    bool is_cancelled = false;

    for (uint32_t i = 0; i < self->choice_count; i++) {
        const struct cli_answer *answer = &self->answers[i];
        if (answer->last.finish == LMESH_FINISH_ERROR)
            return cli_fail(self->command, "choice %u: %s", i, answer->error);
        is_cancelled |= answer->last.finish == LMESH_FINISH_CANCELLED;
        tokens += answer->token_count;
    }
    if (is_cancelled)
        return cli_fail(self->command, "cancelled after %zu tokens", tokens);
    return CLI_EXIT_OK;
}

static int report(struct generate *self, int code)
{
    if (self->output_errno != 0)
        return cli_fail(self->command, "writing to stdout: %s", strerror(self->output_errno));
    if (code != LMESH_OK && !cli_interrupt_seen())
        return cli_fail(self->command, "%s", lmesh_client_error(self->client.client));
    if (self->json && !print_json(self))
        return cli_fail(self->command, "the answer could not be printed");
    int exit_status = cli_finish(self->command);
    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    if (code != LMESH_OK)
        return cli_fail(self->command, "cancelled after %zu tokens", self->answers[0].token_count);
    return report_choices(self);
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
    static struct generate self; /* large: an answer for each choice */
    int exit_status = CLI_EXIT_OK;

    self = (struct generate){.command = command};
    if (!parse_command_line(&self, argc, argv, &exit_status))
        return exit_status;
    for (uint32_t i = 0; i < self.choice_count; i++) {
        cli_answer_init(&self.answers[i]);
        self.answers[i].last.choice = i;
        self.answers[i].with_tokens = self.has_logprobs;
    }
    exit_status = read_prompt(&self);
    if (exit_status == CLI_EXIT_OK)
        exit_status = ask(&self);
    cli_client_close(&self.client);
    for (uint32_t i = 0; i < self.choice_count; i++)
        cli_answer_release(&self.answers[i]);
    cli_chat_release(&self.chat);
    base_free(self.ids);
    base_free(self.stop_ids);
    base_free(self.suppress);
    return exit_status;
}
