/* Everything that came for one request, kept until it is printed as one object. */
#ifndef CLI_ANSWER_H
#define CLI_ANSWER_H

#include "layermesh.h"
#include <jansson.h>
#include <stdbool.h>

struct cli_answer {
    json_t *ids, *logprobs, *tops; /* lists of equal length */
    char *text;                    /* owned, NUL-terminated */
    size_t text_bytes, text_capacity;
    size_t token_count;
    bool is_out_of_memory;  /* something could not be kept */
    struct lmesh_part last; /* the final part; its pointers are not valid */
};

/* Starts empty. */
void cli_answer_init(struct cli_answer *self);
void cli_answer_release(struct cli_answer *self);

/* Adds a part of a generate request. */
void cli_answer_add(struct cli_answer *self, const struct lmesh_part *part);

/* The object that `generate --json` prints, freed with json_decref(), or NULL without memory. */
json_t *cli_answer_json(const struct cli_answer *self, bool with_tops);

/* Tokens made in a second of the whole request, 0 when nothing was measured. */
double cli_answer_tokens_per_second(const struct cli_answer *self);

/* A number, or null when it is none in JSON. */
json_t *cli_json_real(double value);

/* Prints a document and a newline on stdout, drops it. Returns false when it is NULL or stdout
 * fails. */
bool cli_json_print(json_t *document);

#endif
