/* Numbers that are the same on every host. Private to this module. */
#ifndef TEXT_NUMBER_H
#define TEXT_NUMBER_H

#include <stdint.h>

/* Philox4x32 with 10 rounds: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11. */
void text_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t ret[4]);

/* e^x for x <= 0 to about one unit in the last place, 0 below -708. The C library's exp() differs
 * in the last bit between versions, and with it the token drawn. */
double text_exp(double x);

/* Each of the values becomes what text_exp() gives for it; several times faster. */
#define TEXT_EXP_LANES 8
void text_exp_lanes(double values[TEXT_EXP_LANES]);

/* Natural logarithm of a positive finite x to about one unit in the last place; likewise. */
double text_log(double x);

#endif
