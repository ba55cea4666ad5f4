/* How long it takes to load a whole model. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

struct base_error;

/*
 * Seconds of one stage_load() with every layer of the model of path, in a process of its own, so
 * that no memory of an earlier one helps. pack_cache: as in stage.h; NULL: the weights are packed
 * again. To be called while this process has one thread. Returns BASE_OK or what stage_load()
 * returned.
 */
int bench_load(
    const char *path, const char *pack_cache, double *ret_seconds, struct base_error *err);

/* The same to fill pack_cache. BASE_NOT_FOUND: nothing is there afterwards. */
int bench_load_warm(const char *path, const char *pack_cache, struct base_error *err);

#endif
