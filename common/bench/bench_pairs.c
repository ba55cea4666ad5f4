#include "bench_pairs.h"

#include "base_assert.h"
#include "base_err.h"

int bench_pairs_run(struct bench_pairs *self, size_t count, bench_pairs_fn *measure, void *context,
    struct base_error *err)
{
    base_assert(count > 0 && count <= BENCH_SAMPLES_MAX);
    self->count = 0;
    for (size_t i = 0; i < count; i++) {
        bool turned = i % 2 == 1;
        double before = 0, after = 0;
        int rc = measure(context, turned, &before, err);
        if (rc == BASE_OK)
            rc = measure(context, !turned, &after, err);
        if (rc != BASE_OK)
            return rc;
        self->first[i] = turned ? after : before;
        self->second[i] = turned ? before : after;
        self->count++;
    }
    return BASE_OK;
}

void bench_pairs_ratio(const struct bench_pairs *self, struct bench_ratio *ret)
{
    double ratios[BENCH_SAMPLES_MAX];

    base_assert(self->count > 0);
    for (size_t i = 0; i < self->count; i++)
        ratios[i] = self->first[i] / self->second[i];
    ret->ratio = bench_median(ratios, self->count);
    bench_median_bounds(ratios, self->count, &ret->low, &ret->high);
    ret->first = bench_median(self->first, self->count);
    ret->second = bench_median(self->second, self->count);
}
