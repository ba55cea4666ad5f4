/* Models of random weights in the shapes of real ones, for benchmarks. */
#ifndef CLI_SYNTH_H
#define CLI_SYNTH_H

#include <stdbool.h>
#include <stdint.h>

struct base_error;
struct cli_recipe;
struct cli_shape;

/* By name ("1b"); NULL: there is none. */
const struct cli_shape *cli_shape_find(const char *name);
/* "tiny, 110m, ...": for messages. Static. */
const char *cli_shape_names(void);

struct cli_synth_options {
    const char *target;
    const struct cli_shape *shape;
    const struct cli_recipe *recipe;
    uint32_t context; /* positions that the model says it takes */
    uint64_t seed;
};

/* Writes the file; the same options give the same bytes. *ret_bytes: of weights. Returns BASE_OK,
 * BASE_IO, BASE_NOMEM, or BASE_CANCELLED after SIGINT, with nothing there. */
int cli_synth(const struct cli_synth_options *options, uint64_t *ret_bytes, struct base_error *err);

#endif
