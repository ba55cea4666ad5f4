#include "cli_answer.h"

#include "base_alloc.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_answer_init(struct cli_answer *self)
{
    *self = (struct cli_answer){.ids = json_array(),
        .logprobs = json_array(),
        .tops = json_array(),
        .tokens = json_array()};
}

void cli_answer_release(struct cli_answer *self)
{
    json_decref(self->ids);
    json_decref(self->logprobs);
    json_decref(self->tops);
    json_decref(self->tokens);
    base_free(self->text);
    *self = (struct cli_answer){0};
}

json_t *cli_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *make_tops(const struct lmesh_token *token)
{
    json_t *list = json_array();

    for (size_t i = 0; i < token->top_count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:I, s:o}", "id", (json_int_t)token->tops[i].id, "logprob",
                      cli_json_real((double)token->tops[i].logprob)));
    return list;
}

/* {"id", "token", "bytes", "logprob"}; what is no whole character shows as U+FFFD in "token". */
static json_t *make_token(uint32_t id, float logprob, const char *bytes, size_t byte_count)
{
    static const char replacement[] = "\xef\xbf\xbd";
    json_t *numbers = json_array();
    json_t *text = json_stringn(bytes, byte_count);

    for (size_t i = 0; i < byte_count; i++)
        (void)json_array_append_new(numbers, json_integer((unsigned char)bytes[i]));
    if (text == NULL)
        text = json_string(replacement);
    return json_pack("{s:I, s:o, s:o, s:o}", "id", (json_int_t)id, "token", text, "bytes", numbers,
        "logprob", cli_json_real((double)logprob));
}

/* A token with its alternatives. */
static json_t *make_full_token(const struct lmesh_token *token)
{
    json_t *object = make_token(token->id, token->logprob, token->bytes, token->byte_count);
    json_t *tops = json_array();

    for (size_t i = 0; i < token->top_count; i++) {
        const struct lmesh_top_logprob *top = &token->tops[i];
        (void)json_array_append_new(
            tops, make_token(top->id, top->logprob, top->bytes, top->byte_count));
    }
    (void)json_object_set_new(object, "top_logprobs", tops);
    return object;
}

static bool add_text(struct cli_answer *self, const struct lmesh_part *part)
{
    size_t needed = self->text_bytes + part->text_bytes + 1;

    if (needed > self->text_capacity) {
        char *larger = base_realloc_array(self->text, needed, 2);
        if (larger == NULL)
            return false;
        self->text = larger;
        self->text_capacity = needed * 2;
    }
    memcpy(self->text + self->text_bytes, part->text, part->text_bytes);
    self->text_bytes += part->text_bytes;
    self->text[self->text_bytes] = '\0';
    return true;
}

void cli_answer_add(struct cli_answer *self, const struct lmesh_part *part)
{
    bool is_kept = part->text == NULL || add_text(self, part);

    for (size_t i = 0; i < part->token_count; i++) {
        const struct lmesh_token *token = &part->tokens[i];
        is_kept &= json_array_append_new(self->ids, json_integer(token->id)) == 0;
        is_kept &=
            json_array_append_new(self->logprobs, cli_json_real((double)token->logprob)) == 0;
        is_kept &= json_array_append_new(self->tops, make_tops(token)) == 0;
        if (self->with_tokens)
            is_kept &= json_array_append_new(self->tokens, make_full_token(token)) == 0;
    }
    self->token_count += part->token_count;
    self->last = *part;
    if (part->finish == LMESH_FINISH_ERROR)
        (void)snprintf(self->error, sizeof(self->error), "%s", part->error);
    if (!is_kept)
        self->is_out_of_memory = true;
}

double cli_answer_tokens_per_second(const struct cli_answer *self)
{
    if (!(self->last.total_ms > 0))
        return 0;
    return self->last.completion_tokens * 1000.0 / self->last.total_ms;
}

static const char *finish_name(enum lmesh_finish finish)
{
    switch (finish) {
    case LMESH_FINISH_STOP:
        return "stop";
    case LMESH_FINISH_LENGTH:
        return "length";
    case LMESH_FINISH_CANCELLED:
    case LMESH_FINISH_NONE: /* given up before its end came */
        return "cancelled";
    case LMESH_FINISH_ERROR:
        break;
    }
    return "error";
}

static json_t *make_timings(const struct cli_answer *self)
{
    return json_pack("{s:o, s:o, s:o}", "ttft_ms", cli_json_real(self->last.ttft_ms), "total_ms",
        cli_json_real(self->last.total_ms), "tokens_per_second",
        cli_json_real(cli_answer_tokens_per_second(self)));
}

static json_t *make_usage(const struct cli_answer *self)
{
    return json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)self->last.prompt_tokens,
        "completion_tokens", (json_int_t)self->last.completion_tokens);
}

/* Sets a new value; false when there is no memory for it. */
static bool set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value) == 0;
}

json_t *cli_answer_json(const struct cli_answer *self, unsigned form)
{
    if (self->is_out_of_memory)
        return NULL;
    json_t *object = json_pack("{s:O, s:s%, s:O, s:s, s:o, s:o}", "ids", self->ids, "text",
        self->text != NULL ? self->text : "", self->text_bytes, "logprobs", self->logprobs,
        "finish_reason", finish_name(self->last.finish), "usage", make_usage(self), "timings",
        make_timings(self));
    bool is_whole = object != NULL;

    if (is_whole && (form & CLI_ANSWER_TOPS) != 0)
        is_whole = json_object_set(object, "top_logprobs", self->tops) == 0;
    if (is_whole && (form & CLI_ANSWER_TOKENS) != 0)
        is_whole = json_object_set(object, "tokens", self->tokens) == 0;
    if (is_whole && (form & CLI_ANSWER_CHOICE) != 0)
        is_whole = set(object, "index", json_integer(self->last.choice)) &&
                   set(object, "shared_tokens", json_integer(self->last.shared_tokens));
    if (is_whole && self->error[0] != '\0')
        is_whole = set(object, "error", json_string(self->error));
    if (is_whole)
        return object;
    json_decref(object);
    return NULL;
}

json_t *cli_answers_json(const struct cli_answer *answers, size_t count, unsigned form)
{
    json_t *choices = json_array();
    json_int_t completion_tokens = 0, shared_tokens = 0;
    double total_ms = 0;

    for (size_t i = 0; i < count; i++) {
        json_t *choice = cli_answer_json(&answers[i], form | CLI_ANSWER_CHOICE);
        if (choice == NULL || json_array_append_new(choices, choice) != 0) {
            json_decref(choices);
            return NULL;
        }
        completion_tokens += answers[i].last.completion_tokens;
        shared_tokens += answers[i].last.shared_tokens;
        total_ms = fmax(total_ms, answers[i].last.total_ms);
    }
    return json_pack("{s:o, s:{s:I, s:I, s:I}, s:{s:o}}", "choices", choices, "usage",
        "prompt_tokens", (json_int_t)answers[0].last.prompt_tokens, "completion_tokens",
        completion_tokens, "shared_tokens", shared_tokens, "timings", "total_ms",
        cli_json_real(total_ms));
}

static void print_row(const json_t *token, const char *indent)
{
    char *text = json_dumps(json_object_get(token, "token"), JSON_ENCODE_ANY);

    (void)printf("%s%8lld %12.6f  %s\n", indent, json_integer_value(json_object_get(token, "id")),
        json_number_value(json_object_get(token, "logprob")), text != NULL ? text : "?");
    free(text);
}

void cli_answer_print_tokens(const struct cli_answer *self)
{
    for (size_t i = 0; i < json_array_size(self->tokens); i++) {
        const json_t *token = json_array_get(self->tokens, i);
        const json_t *tops = json_object_get(token, "top_logprobs");
        print_row(token, "");
        for (size_t k = 0; k < json_array_size(tops); k++)
            print_row(json_array_get(tops, k), "    ");
    }
}

bool cli_json_print(json_t *document)
{
    if (document == NULL)
        return false;
    bool is_printed = json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) == 0 &&
                      putchar('\n') != EOF;
    json_decref(document);
    return is_printed;
}
