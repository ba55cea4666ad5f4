/* Time for the *_io.c files. Cores never call it: they take now_ms from the event. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Monotonic clock. Never jumps; no relation to the time of day. */
uint64_t base_clock_ms(void);
uint64_t base_clock_us(void);

#endif
