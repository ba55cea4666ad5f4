#include "cli_answer.h"
#include "cli_client.h"
#include "cli_command.h"
#include "cli_parse.h"

#include "base_alloc.h"
#include "base_err.h"
#include "base_limits.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct score {
    const struct cli_command *command;
    struct cli_client client;
    const char *ids_text, *logits_path;
    bool all, json;
    struct lmesh_score_options options;
    uint32_t *ids;
    float *logprobs; /* one per id; NAN where none came */
    FILE *file;
    char *temporary_path; /* NULL: file is written in place (a pipe, a device) */
    uint64_t rows;        /* written so far */
};

static bool parse_command_line(struct score *self, int argc, char **argv, int *ret_exit)
{
    const struct base_option rows[] = {
        {.name = "ids",
            .type = BASE_OPTION_STRING,
            .target = &self->ids_text,
            .value_name = "1,2,3",
            .help = "token ids to score"},
        {.name = "all",
            .type = BASE_OPTION_FLAG,
            .target = &self->all,
            .help = "logits of all positions, not of the last only"},
        {.name = "logits",
            .type = BASE_OPTION_STRING,
            .target = &self->logits_path,
            .value_name = "FILE",
            .help = "write logits there: float32, [positions, vocab]"},
        {.name = "json",
            .type = BASE_OPTION_FLAG,
            .target = &self->json,
            .help = "print the log-probability of each token, as one object"},
        {.name = "deadline-ms",
            .type = BASE_OPTION_U32,
            .target = &self->options.deadline_ms,
            .value_name = "MS",
            .help = "fail when not done by then; 0: none"},
        CLI_CLIENT_OPTIONS(&self->client),
    };

    return cli_parse_options(
        self->command, rows, sizeof(rows) / sizeof(rows[0]), argc, argv, NULL, ret_exit);
}

/* ---- the file of logits: complete under its name, or not there ---- */

static int open_logits(struct score *self)
{
    struct stat status;
    size_t bytes = strlen(self->logits_path) + 32;
    bool is_special = stat(self->logits_path, &status) == 0 && !S_ISREG(status.st_mode);

    if (!is_special) {
        self->temporary_path = base_alloc(bytes);
        if (self->temporary_path == NULL)
            return cli_fail(self->command, "out of memory");
        (void)snprintf(
            self->temporary_path, bytes, "%s.%ld.part", self->logits_path, (long)getpid());
    }
    const char *path = is_special ? self->logits_path : self->temporary_path;
    self->file = fopen(path, "wbe");
    if (self->file == NULL) {
        int exit_status = cli_fail(self->command, "%s: %s", path, strerror(errno));
        base_free(self->temporary_path);
        self->temporary_path = NULL;
        return exit_status;
    }
    return CLI_EXIT_OK;
}

/* Gives the file its name when is_good, else removes it. */
static int close_logits(struct score *self, bool is_good)
{
    int exit_status = CLI_EXIT_OK;

    if (self->file == NULL)
        return CLI_EXIT_OK;
    bool is_written = fflush(self->file) == 0 && !ferror(self->file);
    is_written = fclose(self->file) == 0 && is_written;
    self->file = NULL;
    if (is_good && is_written && self->temporary_path != NULL)
        is_written = rename(self->temporary_path, self->logits_path) == 0;
    if (is_good && !is_written)
        exit_status = cli_fail(self->command, "%s: %s", self->logits_path, strerror(errno));
    if ((!is_good || !is_written) && self->temporary_path != NULL)
        (void)unlink(self->temporary_path);
    base_free(self->temporary_path);
    self->temporary_path = NULL;
    return exit_status;
}

/* ---- the answer ---- */

static int take_part(struct score *self, const struct lmesh_part *part)
{
    uint64_t first_row = self->all ? 0 : self->options.id_count - 1;

    for (size_t i = 0; i < part->logprob_count; i++) {
        uint64_t position = (uint64_t)part->first_position + 1 + i;
        if (position < self->options.id_count)
            self->logprobs[position] = part->logprobs[i];
    }
    if (part->logits == NULL || self->file == NULL)
        return CLI_EXIT_OK;
    if (part->first_position != first_row + self->rows)
        return cli_fail(self->command, "logits of position %u came where %" PRIu64 " was expected",
            part->first_position, first_row + self->rows);
    size_t count = (size_t)part->row_count * part->vocab_size;
    if (fwrite(part->logits, sizeof(float), count, self->file) != count)
        return cli_fail(self->command, "%s: %s", self->logits_path, strerror(errno));
    self->rows += part->row_count;
    return CLI_EXIT_OK;
}

static int receive(struct score *self, struct lmesh_request *request)
{
    const struct lmesh_part *part = NULL;
    uint64_t rows_expected = self->all ? self->options.id_count : 1;

    do {
        int code = cli_client_next(request, &part);
        if (code == LMESH_ERR_AGAIN)
            return cli_fail(self->command, "cancelled");
        if (code != LMESH_OK)
            return cli_fail(self->command, "%s", lmesh_client_error(self->client.client));
        int exit_status = take_part(self, part);
        if (exit_status != CLI_EXIT_OK)
            return exit_status;
    } while (part->finish == LMESH_FINISH_NONE);
    if (part->finish == LMESH_FINISH_CANCELLED)
        return cli_fail(self->command, "cancelled");
    if (self->file != NULL && self->rows != rows_expected)
        return cli_fail(self->command, "%" PRIu64 " rows of logits came, %" PRIu64 " were expected",
            self->rows, rows_expected);
    for (size_t i = 1; self->options.want_logprobs && i < self->options.id_count; i++)
        if (isnan(self->logprobs[i]))
            return cli_fail(self->command, "no log-probability came for position %zu", i);
    return CLI_EXIT_OK;
}

static int print_json(const struct score *self)
{
    json_t *ids = json_array(), *logprobs = json_array();

    for (size_t i = 0; i < self->options.id_count; i++) {
        (void)json_array_append_new(ids, json_integer(self->ids[i]));
        (void)json_array_append_new(
            logprobs, i == 0 ? json_null() : cli_json_real((double)self->logprobs[i]));
    }
    if (!cli_json_print(json_pack("{s:o, s:o}", "ids", ids, "logprobs", logprobs)))
        return cli_fail(self->command, "the result could not be printed");
    return cli_finish(self->command);
}

static int print_table(const struct score *self)
{
    double sum = 0;

    (void)printf("position       id      logprob\n%8d %8u            -\n", 0, self->ids[0]);
    for (size_t i = 1; i < self->options.id_count; i++) {
        (void)printf("%8zu %8u %12.6f\n", i, self->ids[i], (double)self->logprobs[i]);
        sum += (double)self->logprobs[i];
    }
    (void)printf("     sum          %12.6f\n", sum);
    return cli_finish(self->command);
}

static int ask(struct score *self)
{
    struct lmesh_request *request = NULL;
    int exit_status = cli_client_open(&self->client, self->command);

    if (exit_status != CLI_EXIT_OK)
        return exit_status;
    cli_interrupt_catch();
    int code = lmesh_score(self->client.client, &self->options, &request);
    if (code != LMESH_OK)
        return cli_fail(self->command, "%s", lmesh_client_error(self->client.client));
    exit_status = receive(self, request);
    lmesh_request_destroy(&request);
    if (exit_status == CLI_EXIT_OK && self->json)
        exit_status = print_json(self);
    else if (exit_status == CLI_EXIT_OK && self->logits_path == NULL)
        exit_status = print_table(self);
    return exit_status;
}

static int prepare(struct score *self)
{
    struct base_error err = {0};

    if (self->ids_text == NULL)
        return cli_usage(self->command, "--ids is missing");
    if (self->all && self->logits_path == NULL)
        return cli_usage(self->command, "--all needs --logits");
    if (cli_parse_ids(self->ids_text, &self->ids, &self->options.id_count, &err) != BASE_OK)
        return cli_usage(self->command, "--ids: %s", err.text);
    self->logprobs = base_alloc_array(self->options.id_count, sizeof(*self->logprobs));
    if (self->logprobs == NULL)
        return cli_fail(self->command, "out of memory");
    for (size_t i = 0; i < self->options.id_count; i++)
        self->logprobs[i] = NAN;
    self->options.ids = self->ids;
    self->options.all_positions = self->all;
    self->options.want_logits = self->logits_path != NULL;
    self->options.want_logprobs = self->json || self->logits_path == NULL;
    return self->logits_path != NULL ? open_logits(self) : CLI_EXIT_OK;
}

int cmd_score(const struct cli_command *command, int argc, char **argv)
{
    struct score self = {.command = command};
    int exit_status = CLI_EXIT_OK;

    if (!parse_command_line(&self, argc, argv, &exit_status))
        return exit_status;
    exit_status = prepare(&self);
    if (exit_status == CLI_EXIT_OK)
        exit_status = ask(&self);
    int close_status = close_logits(&self, exit_status == CLI_EXIT_OK);
    if (exit_status == CLI_EXIT_OK)
        exit_status = close_status;
    cli_client_close(&self.client);
    base_free(self.logprobs);
    base_free(self.ids);
    return exit_status;
}
