#include "worker_loader.h"

#include "base_alloc.h"
#include "base_clock.h"
#include "base_err.h"
#include "base_log.h"
#include "base_queue.h"
#include "model.h"
#include "worker_compute.h"
#include "worker_event.h"
#include "worker_machine.h"
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define REQUESTS_MAX         64
#define PROGRESS_INTERVAL_MS 50u

enum request_kind {
    REQUEST_LOAD,
    REQUEST_FORGET,
    REQUEST_DROP,
    REQUEST_STOP,
};

struct request {
    enum request_kind kind;
    uint64_t epoch;
    struct stage_options options;
    struct worker_stage *stage; /* DROP; owned */
};

struct worker_loader {
    struct model *model;
    struct base_queue *events;
    struct base_queue *requests;
    pthread_t thread;
    atomic_uint_fast64_t wanted;   /* epoch of the newest load that was asked for; 0: none */
    struct worker_stage *newest;   /* loaded last; loader thread only */
    uint64_t loading, progress_ms; /* loader thread only */
    struct request stop;
};

static bool on_progress(void *context, double progress)
{
    struct worker_loader *self = context;

    if (atomic_load(&self->wanted) != self->loading)
        return false;
    uint64_t now_ms = base_clock_ms();
    if (now_ms - self->progress_ms < PROGRESS_INTERVAL_MS ||
        base_queue_count(self->events) >= WORKER_EVENTS_OTHERS)
        return true;
    struct worker_event *event = worker_event_new(WORKER_EVENT_PROGRESS);
    if (event != NULL) {
        self->progress_ms = now_ms;
        event->epoch = self->loading;
        event->progress = progress;
        (void)worker_event_push(self->events, &event); /* the next one will do */
    }
    return true;
}

/*
 * A stage that does not fit in what memory there is now is mapped from the pack cache: the system
 * reads it again and again, and lets go of what it needs the memory for. It works, slowly.
 */
static bool must_map(struct worker_loader *self, const struct stage_options *options)
{
    uint64_t weights = 0, kv = 0, activations = 0, available = worker_machine_memory();

    if (options->pack_cache == NULL || available == 0 ||
        stage_cost(self->model, options, &weights, &kv, &activations) != BASE_OK ||
        weights <= available)
        return false;
    base_log(BASE_LOG_WARN, "weights-mapped",
        "weight_bytes=%" PRIu64 " available_bytes=%" PRIu64 " reads_per_step_bytes=%" PRIu64
        ": each step reads from the disk what memory cannot hold",
        weights, available, weights);
    return true;
}

/* Ends in stage or in fault. */
static void load_stage(
    struct worker_loader *self, const struct request *request, struct worker_event *event)
{
    const struct stage *previous = self->newest == NULL ? NULL : worker_stage_get(self->newest);
    struct base_error err = {0};
    struct stage *stage = NULL;

    struct stage_options options = request->options;

    options.map_weights = must_map(self, &options);
    self->loading = request->epoch;
    self->progress_ms = base_clock_ms();
    int rc = stage_load(self->model, &options, previous, on_progress, self, &stage, &err);
    if (rc == BASE_OK) {
        event->stage = worker_stage_new(
            &stage, request->epoch, model_get_config(self->model)->embedding_length);
        if (event->stage == NULL)
            rc = base_error_set(&err, BASE_NOMEM, "no memory for a stage");
    }
    if (rc != BASE_OK) {
        worker_fault_set(&event->fault, &err);
        event->fault.code = rc;
        return;
    }
    worker_stage_drop(&self->newest);
    self->newest = worker_stage_hold(event->stage);
}

static void load(struct worker_loader *self, const struct request *request)
{
    struct worker_event *event;

    if (atomic_load(&self->wanted) != request->epoch)
        return;
    event = worker_event_new(WORKER_EVENT_LOADED);
    if (event == NULL)
        return; /* the coordinator sees no progress and plans again */
    event->epoch = request->epoch;
    load_stage(self, request, event);
    if (atomic_load(&self->wanted) == request->epoch)
        (void)worker_event_push(self->events, &event);
    else
        worker_event_destroy(&event);
}

static void *loader_main(void *context)
{
    struct worker_loader *self = context;

    for (;;) {
        struct request *request = base_queue_pop_wait(self->requests, -1);
        if (request == NULL)
            continue;
        if (request->kind == REQUEST_STOP)
            return NULL;
        if (request->kind == REQUEST_LOAD)
            load(self, request);
        else if (request->kind == REQUEST_FORGET)
            worker_stage_drop(&self->newest);
        worker_stage_drop(&request->stage);
        base_free(request);
    }
}

static int push(struct worker_loader *self, const struct request *request)
{
    struct request *copy = base_alloc(sizeof(*copy));

    if (copy == NULL)
        return BASE_NOMEM;
    *copy = *request;
    int rc = base_queue_push(self->requests, copy);
    if (rc != BASE_OK)
        base_free(copy);
    return rc;
}

int worker_loader_new(struct model *model, struct base_queue *events, struct worker_loader **ret,
    struct base_error *err)
{
    struct worker_loader *self = base_alloc_zeroed(1, sizeof(*self));

    if (self == NULL)
        return base_error_set(err, BASE_NOMEM, "loader thread");
    self->model = model;
    self->events = events;
    atomic_init(&self->wanted, 0);
    int rc = base_queue_new(REQUESTS_MAX, &self->requests);
    if (rc != BASE_OK) {
        base_free(self);
        return base_error_set(err, rc, "queue of the loader thread");
    }
    int error = pthread_create(&self->thread, NULL, loader_main, self);
    if (error != 0) {
        base_queue_destroy(&self->requests);
        base_free(self);
        return base_error_set(err, BASE_IO, "loader thread: %s", strerror(error));
    }
    *ret = self;
    return BASE_OK;
}

void worker_loader_destroy(struct worker_loader **self_p)
{
    struct worker_loader *self = *self_p;

    if (self == NULL)
        return;
    atomic_store(&self->wanted, 0);
    /* What waits is not wanted any more, and leaves room to say so. */
    for (struct request *request = base_queue_pop(self->requests); request != NULL;
         request = base_queue_pop(self->requests)) {
        worker_stage_drop(&request->stage);
        base_free(request);
    }
    self->stop.kind = REQUEST_STOP;
    (void)base_queue_push(self->requests, &self->stop);
    (void)pthread_join(self->thread, NULL);
    worker_stage_drop(&self->newest);
    base_queue_destroy(&self->requests);
    base_free(self);
    *self_p = NULL;
}

int worker_loader_load(
    struct worker_loader *self, uint64_t epoch, const struct stage_options *options)
{
    const struct request request = {.kind = REQUEST_LOAD, .epoch = epoch, .options = *options};

    atomic_store(&self->wanted, epoch);
    return push(self, &request);
}

void worker_loader_forget(struct worker_loader *self)
{
    const struct request request = {.kind = REQUEST_FORGET};

    atomic_store(&self->wanted, 0);
    (void)push(self, &request); /* else the next load replaces it */
}

void worker_loader_drop(struct worker_loader *self, struct worker_stage **stage_p)
{
    const struct request request = {.kind = REQUEST_DROP, .stage = *stage_p};

    if (*stage_p == NULL)
        return;
    if (push(self, &request) == BASE_OK)
        *stage_p = NULL;
    else
        worker_stage_drop(stage_p);
}
