#include "cli_answer.h"

#include "base_alloc.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

void cli_answer_init(struct cli_answer *self)
{
    *self =
        (struct cli_answer){.ids = json_array(), .logprobs = json_array(), .tops = json_array()};
}

void cli_answer_release(struct cli_answer *self)
{
    json_decref(self->ids);
    json_decref(self->logprobs);
    json_decref(self->tops);
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
    }
    self->token_count += part->token_count;
    self->last = *part;
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

json_t *cli_answer_json(const struct cli_answer *self, bool with_tops)
{
    if (self->is_out_of_memory)
        return NULL;
    json_t *object = json_pack("{s:O, s:s%, s:O, s:s, s:{s:I, s:I}, s:{s:o, s:o, s:o}}", "ids",
        self->ids, "text", self->text != NULL ? self->text : "", self->text_bytes, "logprobs",
        self->logprobs, "finish_reason", finish_name(self->last.finish), "usage", "prompt_tokens",
        (json_int_t)self->last.prompt_tokens, "completion_tokens",
        (json_int_t)self->last.completion_tokens, "timings", "ttft_ms",
        cli_json_real(self->last.ttft_ms), "total_ms", cli_json_real(self->last.total_ms),
        "tokens_per_second", cli_json_real(cli_answer_tokens_per_second(self)));
    if (object != NULL && with_tops && json_object_set(object, "top_logprobs", self->tops) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
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
