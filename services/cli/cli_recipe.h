/* Which type each tensor of a converted model gets. Names and mixtures are those that users of
 * llama.cpp know: output (a tied embedding) and some of attn_v and ffn_down get more bits. */
#ifndef CLI_RECIPE_H
#define CLI_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

struct gguf;
struct gguf_tensor;
struct cli_recipe;

/* By name ("q4_k_m", any case); NULL: there is none. */
const struct cli_recipe *cli_recipe_find(const char *name);
/* "f32, f16, ...": for messages. Static. */
const char *cli_recipe_names(void);

uint32_t cli_recipe_file_type(const struct cli_recipe *self); /* general.file_type */

/* The type of one tensor of model. recipe NULL: the type that it has. Rows that are no whole number
 * of blocks get a type with smaller blocks, or F16. */
uint32_t cli_recipe_type(
    const struct cli_recipe *self, const struct gguf *model, const struct gguf_tensor *tensor);

/* Whether a tensor is one that types are chosen for: a matrix, and no router or position table. */
bool cli_recipe_applies(const struct gguf_tensor *tensor);

#endif
