/* Everything that came for one choice of a request, kept until it is printed. */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include "layermesh.h"
#include <jansson.h>
#include <stdbool.h>

struct cli_answer {
    json_t *ids, *logprobs, *tops, *tokens; /* lists of equal length, tokens perhaps empty */
    char *text;                             /* owned, NUL-terminated */
    size_t text_bytes, text_capacity;
    size_t text_shown; /* bytes of text that are printed */
    size_t token_count;
    char error[256];        /* why this choice failed; "": it did not */
    bool with_tokens;       /* tokens are kept; else that list stays empty */
    bool is_out_of_memory;  /* something could not be kept */
    struct lmesh_part last; /* the final part; its pointers are not valid */
};

/* Starts empty. */
void cli_answer_init(struct cli_answer *self);
void cli_answer_release(struct cli_answer *self);

/* Adds a part of a generate request. */
void cli_answer_add(struct cli_answer *self, const struct lmesh_part *part);

enum cli_answer_form {
    CLI_ANSWER_PLAIN = 0,
    CLI_ANSWER_TOPS = 1,   /* with "top_logprobs" */
    CLI_ANSWER_TOKENS = 2, /* with "tokens": text, bytes and alternatives of each */
    CLI_ANSWER_CHOICE = 4, /* one of several: with "index", "shared_tokens" and maybe "error" */
};

/* The object that `generate --json` prints, freed with json_decref(), or NULL without memory. form:
 * of enum cli_answer_form. */
json_t *cli_answer_json(const struct cli_answer *self, unsigned form);

/* The object for several choices. */
json_t *cli_answers_json(const struct cli_answer *answers, size_t count, unsigned form);

/* The tokens as a table on stdout. */
void cli_answer_print_tokens(const struct cli_answer *self);

/* Tokens made in a second of the whole request, 0 when nothing was measured. */
double cli_answer_tokens_per_second(const struct cli_answer *self);

/* A number, or null when it is none in JSON. */
json_t *cli_json_real(double value);

/* Prints a document and a newline on stdout, drops it. Returns false when it is NULL or stdout
 * fails. */
bool cli_json_print(json_t *document);

#endif
