/* Valid messages of every kind with every field set, from a seed. For tests and the fuzz corpus. */
#ifndef WIRE_SAMPLES_H
#define WIRE_SAMPLES_H

#include "base_arena.h"
#include "wire_codec.h"

#define WIRE_SAMPLE_KINDS 29

extern const enum wire_kind wire_sample_kinds[WIRE_SAMPLE_KINDS];

/* xorshift64*; state is never 0. */
uint64_t wire_sample_random(uint64_t *state);
/* first..last, both included. */
uint32_t wire_sample_between(uint64_t *state, uint32_t first, uint32_t last);

/* Fills *ret; what it points to is in arena. */
void wire_sample(
    enum wire_kind kind, uint64_t seed, struct base_arena *arena, struct wire_message *ret);

#endif
