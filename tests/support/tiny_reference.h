/* The forward pass of a Llama in plain double arithmetic, straight from the formulas: slow, and
 * written without the project's kernels. For all weight types, of whose
 * blocks it takes the numbers that they stand for. */
#ifndef TINY_REFERENCE_H
#define TINY_REFERENCE_H

#include <stdint.h>

struct model;

/* Logits [vocab_size] of the last of count tokens. Allocation failure ends the test program. */
void tiny_reference_logits(
    const struct model *model, const uint32_t *tokens, uint32_t count, double *ret_logits);

#endif
