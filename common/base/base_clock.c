#include "base_clock.h"

#include <time.h>

uint64_t base_clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t base_clock_ms(void)
{
    return base_clock_us() / 1000u;
}
