/* The loader thread: loads stages while the old one goes on serving. */
#ifndef WORKER_LOADER_H
#define WORKER_LOADER_H

#include "stage.h"

struct base_queue;
struct model;
struct worker_loader;
struct worker_stage;

/* Starts the thread. model and events are borrowed; loads end as WORKER_EVENT_LOADED in events,
 * unless they were superseded. */
int worker_loader_new(struct model *model, struct base_queue *events, struct worker_loader **ret,
    struct base_error *err);

/* Gives up what is being loaded and ends the thread. Accepts a pointer to NULL. */
void worker_loader_destroy(struct worker_loader **self_p);

/* Loads a stage for epoch, giving up an older load. Layers of the stage loaded last are shared.
 * Returns BASE_OK, BASE_FULL or BASE_NOMEM. */
int worker_loader_load(
    struct worker_loader *self, uint64_t epoch, const struct stage_options *options);

/* Gives up what is being loaded, and the stage loaded last. */
void worker_loader_forget(struct worker_loader *self);

/* Drops *stage_p (may be NULL) on the loader's thread: freeing gigabytes takes time. */
void worker_loader_drop(struct worker_loader *self, struct worker_stage **stage_p);

#endif
