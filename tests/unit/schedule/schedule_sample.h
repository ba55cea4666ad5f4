/* Schedules and sequences that the tests of schedule.h begin with. */
#ifndef SCHEDULE_SAMPLE_H
#define SCHEDULE_SAMPLE_H

#include <criterion/criterion.h>

#include "base_err.h"
#include "schedule.h"

static inline struct schedule *new_schedule(
    uint32_t batch_tokens, uint32_t running, uint32_t waiting)
{
    struct schedule_options options = {.batch_tokens = batch_tokens,
        .running_max = running,
        .waiting_max = waiting,
        .result_bytes = 1 << 20};
    struct schedule *schedule = NULL;
    cr_assert_eq(schedule_new(&options, &schedule), BASE_OK);
    return schedule;
}

static inline struct schedule_sequence sequence_of(
    uint64_t arrival, uint32_t length, uint32_t limit)
{
    return (struct schedule_sequence){
        .length = length, .limit = limit, .arrival = arrival, .row_bytes = 8};
}

#endif
