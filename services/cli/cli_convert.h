/* Models from one file to another: any source, any weight type, in bounded memory. */
#ifndef CLI_CONVERT_H
#define CLI_CONVERT_H

#include <stdbool.h>
#include <stdint.h>

struct base_error;
struct cli_recipe;

struct cli_convert_options {
    const char *source;              /* a GGUF file or a Hugging Face folder */
    const char *target;              /* PATH.gguf */
    const struct cli_recipe *recipe; /* NULL: types stay as they are */
    uint64_t part_bytes_max;         /* of a split target; 0: one file */
    uint32_t threads;
    bool replace; /* an existing target */
    bool quiet;   /* no progress on stderr, which has it only when it is a terminal */
};

struct cli_convert_result {
    uint64_t source_bytes, target_bytes; /* of weights */
    char path[4096];                     /* of the (first) file written */
    char note[320];                      /* what could not be carried over; "" when all was */
};

/* Returns BASE_OK with the target whole on disk, or a failure, BASE_CANCELLED after SIGINT among
 * them, with nothing there. */
int cli_convert(const struct cli_convert_options *options, struct cli_convert_result *ret_result,
    struct base_error *err);

#endif
